//! Limits of option values: those that the documents of the options call illegal, and those that many clients do not
//! understand. `options.rs` calls it for each encoded value, so that values in hexadecimal have the same limits.

use crate::config::sections::option_values::Encoded;
use crate::dhcp::options::{OptionSet, OptionValue};
use crate::wire::names;
use crate::wire::option::{Kind, by_code, code};

/// Options whose numbers have a smallest value, with that value (RFC 2132 sections 4 to 6).
const SMALLEST: &[(u8, u32)] = &[
    (code::MAX_DATAGRAM_REASSEMBLY, 576),
    (code::DEFAULT_TTL, 1),
    (code::PATH_MTU_PLATEAU_TABLE, 68),
    (code::INTERFACE_MTU, 68),
    (code::DEFAULT_TCP_TTL, 1),
];

/// Options whose numbers have a closed list of values.
const CHOICES: &[(u8, &[u32], &str)] = &[
    (code::NETBIOS_NODE_TYPE, &[1, 2, 4, 8], "1 (B-node), 2 (P-node), 4 (M-node) or 8 (H-node)"),
    (code::AUTO_CONFIGURE, &[0, 1], "0 or 1"),
];

/// The magic number of PXELINUX (RFC 5071 section 3).
const PXELINUX_MAGIC_NUMBER: &[u8] = &[0xf1, 0x00, 0x74, 0x7e];

/// The problem of a value that the document of option `code` calls illegal.
pub(in crate::config) fn illegal_value(code: u8, value: &Encoded) -> Option<String> {
    let bytes = &value.bytes[..];
    number_problem(code, bytes).or_else(|| match code {
        code::STATIC_ROUTES => static_route_problem(value),
        code::HOSTNAME => host_name_problem(bytes),
        code::SIP_SERVERS => (!is_sip(bytes)).then(|| "expected 0 and domain names, or 1 and addresses (RFC 3361)".into()),
        code::PXELINUX_MAGIC => (bytes != PXELINUX_MAGIC_NUMBER).then(|| "expected hex:f100747e (RFC 5071)".into()),
        code::VENDOR_IDENTIFYING_CLASS | code::VENDOR_IDENTIFYING_INFORMATION => {
            (!has_enterprises(bytes)).then(|| {
                "expected the number of an enterprise in 4 bytes, the length of its data in 1 byte and the data, as often \
                 as needed (RFC 3925)"
                    .into()
            })
        }
        _ => None,
    })
}

fn number_problem(code: u8, bytes: &[u8]) -> Option<String> {
    let kind = by_code(code)?.kind;
    let width = match kind {
        Kind::Bool | Kind::U8 | Kind::U8s => 1,
        Kind::U16 | Kind::U16s => 2,
        _ => return None,
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
    let numbers: Vec<u32> = bytes.chunks_exact(width).map(number).collect();
    if kind == Kind::Bool && numbers.iter().any(|number| *number > 1) {
        return Some("expected 0 or 1".into());
    }
    if let Some((_, least)) = SMALLEST.iter().find(|(of, _)| *of == code)
        && let Some(found) = numbers.iter().find(|number| *number < least)
    {
        return Some(format!("expected a number of at least {least} (RFC 2132), found {found}"));
    }
    if let Some((_, choices, words)) = CHOICES.iter().find(|(of, ..)| *of == code)
        && let Some(found) = numbers.iter().find(|number| !choices.contains(number))
    {
        return Some(format!("expected {words}, found {found}"));
    }
    if code == code::PATH_MTU_PLATEAU_TABLE && !numbers.is_sorted_by(|one, next| one < next) {
        return Some("expected numbers from the smallest to the largest (RFC 2132 section 5.7)".into());
    }
    None
}

/// RFC 2132 section 5.8: 0.0.0.0 is an illegal destination. No router has this address either.
fn static_route_problem(value: &Encoded) -> Option<String> {
    let none = |(i, part): (usize, &[u8])| part == [0; 4] && !value.places.contains(&i.saturating_mul(4));
    value.bytes.chunks_exact(4).enumerate().any(none).then(|| {
        "expected no 0.0.0.0 in a static route (RFC 2132 section 5.8): the default route is the option `router`".into()
    })
}

/// RFC 2132 section 3.14 refers to the letters that host names may have (RFC 1035 section 2.3.1).
fn host_name_problem(bytes: &[u8]) -> Option<String> {
    let name = str::from_utf8(bytes).unwrap_or_default();
    let fits = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    (name.len() > 253 || !name.split('.').all(fits)).then(|| {
        let found = String::from_utf8_lossy(bytes);
        format!("expected a host name of letters, digits and hyphens, found {found:?}")
    })
}

fn is_sip(bytes: &[u8]) -> bool {
    match bytes {
        [0, rest @ ..] => names::read(rest).is_some(),
        [1, rest @ ..] => !rest.is_empty() && rest.len().is_multiple_of(4),
        _ => false,
    }
}

/// Whether the value is a list of enterprise numbers with their data (RFC 3925 sections 3 and 4).
fn has_enterprises(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [_, _, _, _, len, tail @ ..] = rest {
        let Some((_, next)) = tail.split_at_checked(usize::from(*len)) else { return false };
        rest = next;
    }
    rest.is_empty() && !bytes.is_empty()
}

/// A note about a legal value that many clients do not understand.
pub(in crate::config) fn questionable_value(code: u8, bytes: &[u8]) -> Option<String> {
    let spaces = code == code::DOMAIN && bytes.iter().any(|byte| matches!(byte, b' ' | b','));
    spaces.then(|| "this option has one domain name: a list of them goes into `domain_search`".to_owned())
}

/// Whether the set has classless routes without a default route. Clients that ask for them ignore `router` (RFC 3442).
pub(in crate::config) fn lacks_default_route(set: &OptionSet) -> bool {
    let Some(OptionValue::Bytes(bytes) | OptionValue::WithServer { bytes, .. }) =
        set.get(code::CLASSLESS_ROUTES)
    else {
        return false;
    };
    let mut rest = &bytes[..];
    while let [prefix, tail @ ..] = rest {
        if *prefix == 0 {
            return false;
        }
        let len = usize::from(prefix.div_ceil(8)).saturating_add(4);
        rest = tail.get(len..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: u8, bytes: &[u8]) -> bool {
        illegal_value(code, &bytes.to_vec().into()).is_some()
    }

    #[test]
    fn r_30_values_that_rfc_2132_calls_illegal_are_problems() {
        for (code, illegal, legal) in [
            (19, &[2][..], &[1][..]),
            (22, &[2, 63], &[2, 64]),
            (23, &[0], &[1]),
            (25, &[0, 67, 1, 0], &[0, 68, 1, 0]),
            (25, &[1, 0, 0, 68], &[0, 68]),
            (26, &[0, 67], &[0, 68]),
            (33, &[0, 0, 0, 0, 10, 0, 0, 1], &[10, 1, 0, 0, 10, 0, 0, 1]),
            (33, &[10, 1, 0, 0, 0, 0, 0, 0], &[10, 1, 0, 0, 10, 0, 0, 1]),
            (34, &[255], &[0]),
            (37, &[0], &[255]),
            (46, &[3], &[8]),
            (12, b"a b", b"a-b.lab"),
            (12, b"-a", b"a_b"),
            (12, b"a..b", b"9"),
            (116, &[2], &[0]),
            (120, &[2, 1], &[1, 10, 0, 0, 1]),
            (125, &[0, 0, 1, 2, 4, 1], &[0, 0, 1, 2, 1, 4]),
            (208, &[0], &[0xf1, 0, 0x74, 0x7e]),
        ] {
            assert!(problem(code, illegal), "{code} {illegal:?}");
            assert!(!problem(code, legal), "{code} {legal:?}");
        }
    }

    #[test]
    fn our_own_address_in_a_static_route_is_legal() {
        let route = Encoded { bytes: vec![10, 0, 0, 0, 0, 0, 0, 0], places: vec![4] };
        assert_eq!(illegal_value(33, &route), None);
    }
}
