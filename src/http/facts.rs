//! Decodes the query with which a generated iPXE script reports facts about its machine. `boot::loader::script` writes
//! the request, and `server/http/facts.rs` checks that it comes from that machine.

use std::sync::Arc;

use crate::types::{Hardware, MacAddr, cut};

/// Maximum length of the query in bytes. The longest one that iPXE sends has seven values of 64 bytes (the limit of
/// SMBIOS strings), escaped.
pub const MAX_QUERY: usize = 2048;
/// Maximum number of bytes of one text. SMBIOS recommends at most 64.
const MAX_TEXT: usize = 128;
/// Maximum memory in MiB: 2^52 bytes, the limit of the address space of x86-64.
const MAX_MEMORY: u64 = 1 << 32;

/// The names of the values.
const NAMES: [&str; 11] = [
    "mac",
    "memsize",
    "range0",
    "range1",
    "range2",
    "range3",
    "manufacturer",
    "product",
    "serial",
    "platform",
    "buildarch",
];

/// The query is too long, or does not state the machine's MAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFacts;

/// Returns the MAC of the machine that sent `query`, and its facts. A value that iPXE does not know is empty.
///
/// # Errors
/// [`BadFacts`].
pub fn parse(query: &str) -> Result<(MacAddr, Hardware), BadFacts> {
    if query.len() > MAX_QUERY {
        return Err(BadFacts);
    }
    let (mut mac, mut memory, mut ranges) = (None, None, Vec::new());
    let mut hardware = Hardware::default();
    for (name, value) in pairs(query) {
        match name {
            "mac" => mac = decoded(&value).parse().ok(),
            "memsize" => memory = value.parse().ok(),
            "range0" | "range1" | "range2" | "range3" if !value.is_empty() => ranges.push(range(&value)),
            "manufacturer" => hardware.manufacturer = text(&value),
            "product" => hardware.product = text(&value),
            "serial" => hardware.serial = text(&value),
            "platform" => hardware.platform = text(&value),
            "buildarch" => hardware.buildarch = text(&value),
            _ => {}
        }
    }
    hardware.memory = memory.or_else(|| in_ranges(&ranges)).filter(|mib| (1..=MAX_MEMORY).contains(mib));
    mac.map(|mac| (mac, hardware)).ok_or(BadFacts)
}

/// Maximum number of ranges that the script reports. A machine with as many may have more.
const MAX_RANGES: usize = 4;

/// The memory in these ranges in MiB; `None` if it is not certain.
fn in_ranges(ranges: &[Option<u64>]) -> Option<u64> {
    if ranges.is_empty() || ranges.len() >= MAX_RANGES {
        return None;
    }
    let kib = ranges.iter().try_fold(0_u64, |sum, range| sum.checked_add((*range)?))?;
    Some(kib >> 10)
}

/// The size in KiB of a range of addresses: the first and the last KiB as in SMBIOS type 19, two numbers of 32 bits in
/// hexadecimal, their lowest byte first. `None` if it is not in this form.
fn range(value: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits =
            value.get(from..to).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        u32::from_str_radix(digits?, 16).ok().map(u32::swap_bytes)
    };
    let (first, last) = (number(0, 8)?, number(8, 16)?);
    // All bits set: the addresses are in fields of 64 bits, which follow later.
    let has_64_bits = last == u32::MAX;
    if value.len() != 16 || has_64_bits || last < first {
        return None;
    }
    Some(u64::from(last.abs_diff(first)).saturating_add(1))
}

/// The pairs of names and values. iPXE before 2021 sends an escaped `&` as it is, so a part without a known name belongs
/// to the value before it.
fn pairs(query: &str) -> Vec<(&str, String)> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for part in query.split('&') {
        let pair = part.split_once('=').filter(|(name, _)| NAMES.contains(name));
        match (pair, pairs.last_mut()) {
            (Some((name, value)), _) => pairs.push((name, value.to_owned())),
            (None, Some((_, value))) => {
                value.push('&');
                value.push_str(part);
            }
            (None, None) => {}
        }
    }
    pairs
}

/// The value as a text, without spaces around it; `None` if it is empty.
fn text(value: &str) -> Option<Arc<str>> {
    let value = decoded(value);
    let value = cut(&value, MAX_TEXT).trim();
    (!value.is_empty()).then(|| value.into())
}

/// Decodes `%XX`. A `%` without two digits stays as it is, and bytes that are no UTF-8 become U+FFFD.
fn decoded(value: &str) -> String {
    let mut rest = value.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        let digit = |place: usize| char::from(*after.get(place)?).to_digit(16);
        let escaped = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        match escaped.filter(|_| *byte == b'%') {
            Some(escaped) => {
                bytes.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "mac=52:54:00:12:34:56";

    fn hardware(query: &str) -> Hardware {
        parse(&format!("{MAC}&{query}")).unwrap().1
    }

    #[test]
    fn values_are_decoded() {
        let (mac, hardware) = parse(
            "mac=52:54:00:12:34:56&memsize=511&manufacturer=QEMU&product=Standard%20PC%20(i440FX%20%2B%20PIIX,%201996)&serial=&platform=pcbios&buildarch=i386",
        )
        .unwrap();
        assert_eq!(mac.to_string(), "52:54:00:12:34:56");
        assert_eq!((hardware.memory, hardware.serial.as_deref()), (Some(511), None));
        let texts: Vec<_> = hardware.texts().collect();
        assert_eq!(
            texts,
            [
                ("manufacturer", "QEMU"),
                ("product", "Standard PC (i440FX + PIIX, 1996)"),
                ("platform", "pcbios"),
                ("buildarch", "i386")
            ]
        );
    }

    #[test]
    fn memory_comes_from_smbios_if_ipxe_has_no_memsize() {
        // QEMU with 512 MiB, and with 6 GiB.
        assert_eq!(hardware("memsize=&range0=00000000ffff0700&range1=&range2=&range3=").memory, Some(512));
        let two = "range0=00000000ffff2f00&range1=00004000ffff6f00";
        assert_eq!(hardware(two).memory, Some(6144));
        assert_eq!(hardware(&format!("memsize=6100&{two}")).memory, Some(6100));
        for uncertain in [
            "range0=00000000ffffffff",
            "range0=0000000000000",
            "range0=00000000ffff0700&range1=x",
            "range0=ffff070000000000",
            "range0=00000000ffff0700&range1=00000000ffff0700&range2=00000000ffff0700&range3=00000000ffff0700",
        ] {
            assert_eq!(hardware(uncertain).memory, None, "{uncertain}");
        }
    }

    #[test]
    fn a_query_without_a_mac_or_too_long_is_refused() {
        let long = format!("{MAC}&serial={}", "x".repeat(MAX_QUERY));
        for query in ["", "memsize=512", "mac=", "mac=1&memsize=5", &long] {
            assert_eq!(parse(query), Err(BadFacts), "{}", query.len());
        }
    }

    #[test]
    fn hostile_values_are_bounded() {
        assert_eq!(hardware("memsize=-1").memory, None);
        assert_eq!(hardware("memsize=0").memory, None);
        assert_eq!(hardware("memsize=99999999999999999999999").memory, None);
        let long = hardware(&format!("serial={}", "%C3%A4".repeat(200))).serial.unwrap();
        assert_eq!(long.len(), MAX_TEXT);
        assert_eq!(hardware("serial=a%zz%4").serial.as_deref(), Some("a%zz%4"));
        assert_eq!(hardware("serial=%ff%0a%1b[2J").serial.as_deref(), Some("\u{fffd}\n\u{1b}[2J"));
        assert_eq!(hardware("serial=%20%20").serial, None);
    }

    #[test]
    fn an_ampersand_that_ipxe_no_longer_escapes_belongs_to_the_value() {
        let facts = hardware("manufacturer=A&T=x&product=P");
        assert_eq!((facts.manufacturer.as_deref(), facts.product.as_deref()), (Some("A&T=x"), Some("P")));
    }
}
