//! The standard options by the names of Kea (`std_option_defs.h`) and dhcpd (`tables.c`), and the encoding of values.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::types::from_hex;

/// One field of an option's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Atom {
    Bool,
    U8,
    U16,
    U32,
    I8,
    I16,
    I32,
    Text,
    /// A name in DNS form (RFC 1035 section 3.1).
    Name,
    /// Several names in DNS form.
    Names,
    Ip,
    Ip6,
    /// An IPv6 prefix: its length, and then all of its bytes.
    Prefix6,
    /// Bytes in hexadecimal digits.
    Binary,
    /// A length of one byte, and that many bytes.
    Tuple,
    /// A port set: the length of its number in bits, and the number (RFC 7597).
    Psid,
    /// Suboptions only.
    Empty,
}

/// The form of an option's value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Format {
    pub atoms: Vec<Atom>,
    /// The index of the first atom of those that may repeat.
    pub repeat: Option<usize>,
}

impl Format {
    pub fn one(atom: Atom) -> Format {
        Format { atoms: vec![atom], repeat: None }
    }

    /// Returns the atom of the value with this index.
    pub fn atom(&self, index: usize) -> Option<Atom> {
        match self.atoms.get(index) {
            Some(atom) => Some(*atom),
            None => {
                let first = self.repeat?;
                let period = self.atoms.len().checked_sub(first).filter(|period| *period > 0)?;
                self.atoms.get(first + (index - first) % period).copied()
            }
        }
    }
}

/// A standard option: its code, the names in Kea and dhcpd, and the form in the letters of dhcpd's `tables.c`. A `-` is
/// for the same name as in Kea, or for none.
type Row = (u8, &'static str, &'static str, &'static str);

const TABLE: &[Row] = &[
    (1, "subnet-mask", "-", "I"),
    (2, "time-offset", "-", "l"),
    (3, "routers", "-", "IA"),
    (4, "time-servers", "-", "IA"),
    (5, "name-servers", "ien116-name-servers", "IA"),
    (6, "domain-name-servers", "-", "IA"),
    (7, "log-servers", "-", "IA"),
    (8, "cookie-servers", "-", "IA"),
    (9, "lpr-servers", "-", "IA"),
    (10, "impress-servers", "-", "IA"),
    (11, "resource-location-servers", "-", "IA"),
    (12, "host-name", "-", "t"),
    (13, "boot-size", "-", "S"),
    (14, "merit-dump", "-", "t"),
    (15, "domain-name", "-", "t"),
    (16, "swap-server", "-", "I"),
    (17, "root-path", "-", "t"),
    (18, "extensions-path", "-", "t"),
    (19, "ip-forwarding", "-", "f"),
    (20, "non-local-source-routing", "-", "f"),
    (21, "policy-filter", "-", "IIA"),
    (22, "max-dgram-reassembly", "-", "S"),
    (23, "default-ip-ttl", "-", "B"),
    (24, "path-mtu-aging-timeout", "-", "L"),
    (25, "path-mtu-plateau-table", "-", "SA"),
    (26, "interface-mtu", "-", "S"),
    (27, "all-subnets-local", "-", "f"),
    (28, "broadcast-address", "-", "I"),
    (29, "perform-mask-discovery", "-", "f"),
    (30, "mask-supplier", "-", "f"),
    (31, "router-discovery", "-", "f"),
    (32, "router-solicitation-address", "-", "I"),
    (33, "static-routes", "-", "IIA"),
    (34, "trailer-encapsulation", "-", "f"),
    (35, "arp-cache-timeout", "-", "L"),
    (36, "ieee802-3-encapsulation", "-", "f"),
    (37, "default-tcp-ttl", "-", "B"),
    (38, "tcp-keepalive-interval", "-", "L"),
    (39, "tcp-keepalive-garbage", "-", "f"),
    (40, "nis-domain", "-", "t"),
    (41, "nis-servers", "-", "IA"),
    (42, "ntp-servers", "-", "IA"),
    (43, "vendor-encapsulated-options", "-", "E"),
    (44, "netbios-name-servers", "-", "IA"),
    (45, "netbios-dd-server", "-", "IA"),
    (46, "netbios-node-type", "-", "B"),
    (47, "netbios-scope", "-", "t"),
    (48, "font-servers", "-", "IA"),
    (49, "x-display-manager", "-", "IA"),
    (50, "dhcp-requested-address", "-", "I"),
    (51, "dhcp-lease-time", "-", "L"),
    (52, "dhcp-option-overload", "-", "B"),
    (53, "dhcp-message-type", "-", "B"),
    (54, "dhcp-server-identifier", "-", "I"),
    (55, "dhcp-parameter-request-list", "-", "BA"),
    (56, "dhcp-message", "-", "t"),
    (57, "dhcp-max-message-size", "-", "S"),
    (58, "dhcp-renewal-time", "-", "L"),
    (59, "dhcp-rebinding-time", "-", "L"),
    (60, "vendor-class-identifier", "-", "t"),
    (61, "dhcp-client-identifier", "-", "X"),
    (62, "nwip-domain-name", "nwip-domain", "t"),
    (63, "nwip-suboptions", "-", "X"),
    (64, "nisplus-domain-name", "nisplus-domain", "t"),
    (65, "nisplus-servers", "-", "IA"),
    (66, "tftp-server-name", "-", "t"),
    (67, "boot-file-name", "bootfile-name", "t"),
    (68, "mobile-ip-home-agent", "-", "IA"),
    (69, "smtp-server", "-", "IA"),
    (70, "pop-server", "-", "IA"),
    (71, "nntp-server", "-", "IA"),
    (72, "www-server", "-", "IA"),
    (73, "finger-server", "-", "IA"),
    (74, "irc-server", "-", "IA"),
    (75, "streettalk-server", "-", "IA"),
    (76, "streettalk-directory-assistance-server", "-", "IA"),
    (77, "user-class", "-", "X"),
    (78, "slp-directory-agent", "-", "fIa"),
    (79, "slp-service-scope", "-", "ft"),
    (80, "rapid-commit", "-", "E"),
    (81, "fqdn", "-", "X"),
    (82, "dhcp-agent-options", "relay-agent-information", "X"),
    (85, "nds-servers", "-", "IA"),
    (86, "nds-tree-name", "-", "t"),
    (87, "nds-context", "-", "t"),
    (88, "bcms-controller-names", "-", "D"),
    (89, "bcms-controller-address", "-", "IA"),
    (90, "authenticate", "-", "X"),
    (91, "client-last-transaction-time", "-", "L"),
    (92, "associated-ip", "-", "IA"),
    (93, "client-system", "pxe-system-type", "SA"),
    (94, "client-ndi", "pxe-interface-id", "BBB"),
    (97, "uuid-guid", "pxe-client-id", "BX"),
    (98, "uap-servers", "-", "t"),
    (99, "geoconf-civic", "-", "X"),
    (100, "pcode", "-", "t"),
    (101, "tcode", "-", "t"),
    (108, "v6-only-preferred", "-", "L"),
    (112, "netinfo-server-address", "-", "IA"),
    (113, "netinfo-server-tag", "-", "t"),
    (114, "v4-captive-portal", "default-url", "t"),
    (116, "auto-config", "-", "B"),
    (117, "name-service-search", "-", "SA"),
    (118, "subnet-selection", "-", "I"),
    (119, "domain-search", "-", "D"),
    (124, "vivco-suboptions", "vivco", "X"),
    (125, "vivso-suboptions", "vivso", "X"),
    (136, "pana-agent", "-", "IA"),
    (137, "v4-lost", "-", "d"),
    (138, "capwap-ac-v4", "-", "IA"),
    (141, "sip-ua-cs-domains", "-", "D"),
    (142, "ipv4-address-andsf", "-", "IA"),
    (143, "v4-sztp-redirect", "-", "X"),
    (146, "rdnss-selection", "-", "BIID"),
    (150, "-", "tftp-server-address", "IA"),
    (159, "v4-portparams", "-", "BP"),
    (160, "-", "v4-captive-portal", "t"),
    (212, "option-6rd", "-", "BB6Ia"),
    (213, "v4-access-domain", "-", "d"),
];

/// Returns the code and form of the option that Kea calls `name`.
pub(super) fn kea(name: &str) -> Option<(u8, Format)> {
    TABLE.iter().find(|row| row.1 == name && name != "-").map(|row| (row.0, format(row.3)))
}

/// Returns the code and form of the option that dhcpd calls `name`.
pub(super) fn isc(name: &str) -> Option<(u8, Format)> {
    let is_named = |row: &&Row| row.2 == name || row.2 == "-" && row.1 == name;
    TABLE.iter().filter(|_| name != "-").find(is_named).map(|row| (row.0, format(row.3)))
}

/// Returns the form of the standard option `code`.
pub(super) fn by_code(code: u8) -> Option<Format> {
    TABLE.iter().find(|row| row.0 == code).map(|row| format(row.3))
}

fn format(letters: &str) -> Format {
    let mut form = Format::default();
    for letter in letters.chars() {
        let atom = match letter {
            'A' => {
                form.repeat = Some(0);
                continue;
            }
            'a' => {
                form.repeat = Some(form.atoms.len().saturating_sub(1));
                continue;
            }
            'I' => Atom::Ip,
            '6' => Atom::Ip6,
            'l' => Atom::I32,
            'L' => Atom::U32,
            'S' => Atom::U16,
            'B' => Atom::U8,
            'f' => Atom::Bool,
            't' => Atom::Text,
            'd' => Atom::Name,
            'D' => Atom::Names,
            'P' => Atom::Psid,
            'E' => Atom::Empty,
            _ => Atom::Binary,
        };
        form.atoms.push(atom);
    }
    form
}

/// Encodes one value. An error says what was expected.
pub(super) fn encode(atom: Atom, text: &str) -> Result<Vec<u8>, &'static str> {
    let number = |low: i64, high: i64, what: &'static str| {
        let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => text.parse::<i64>().ok(),
        };
        parsed.filter(|number| (low..=high).contains(number)).map(i64::to_be_bytes).ok_or(what)
    };
    let last = |bytes: [u8; 8], count: usize| bytes.get(8 - count..).unwrap_or_default().to_vec();
    Ok(match atom {
        Atom::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => vec![1],
            "false" | "off" | "0" => vec![0],
            _ => return Err("true or false"),
        },
        Atom::U8 => last(number(0, 255, "a number from 0 to 255")?, 1),
        Atom::I8 => last(number(-128, 127, "a number from -128 to 127")?, 1),
        Atom::U16 => last(number(0, 65_535, "a number from 0 to 65535")?, 2),
        Atom::I16 => last(number(-32_768, 32_767, "a number from -32768 to 32767")?, 2),
        Atom::U32 => last(number(0, i64::from(u32::MAX), "a number of 32 bits")?, 4),
        Atom::I32 => last(number(i64::from(i32::MIN), i64::from(i32::MAX), "a number of 32 bits")?, 4),
        Atom::Text => text.as_bytes().to_vec(),
        Atom::Name => name(text).ok_or("a domain name")?,
        Atom::Names => {
            let names: Option<Vec<Vec<u8>>> = text.split_ascii_whitespace().map(name).collect();
            names.ok_or("domain names")?.concat()
        }
        Atom::Ip => text.parse::<Ipv4Addr>().map_err(|_| "an IPv4 address")?.octets().to_vec(),
        Atom::Ip6 => text.parse::<Ipv6Addr>().map_err(|_| "an IPv6 address")?.octets().to_vec(),
        Atom::Prefix6 => prefix6(text).ok_or("an IPv6 prefix")?,
        Atom::Binary => hex(text).ok_or("hexadecimal digits")?,
        Atom::Tuple => {
            let length = u8::try_from(text.len()).map_err(|_| "a text of at most 255 bytes")?;
            [&[length], text.as_bytes()].concat()
        }
        Atom::Psid => psid(text).ok_or("a port set like 3/4")?,
        Atom::Empty if text.is_empty() => Vec::new(),
        Atom::Empty => return Err("no value"),
    })
}

/// Encodes a DNS name as in RFC 1035 section 3.1.
pub(super) fn name(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Some(vec![0]);
    }
    for label in text.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

fn prefix6(text: &str) -> Option<Vec<u8>> {
    let (address, length) = text.split_once('/')?;
    let length: u8 = length.trim().parse().ok().filter(|length| *length <= 128)?;
    let address: Ipv6Addr = address.trim().parse().ok()?;
    let octets = address.octets();
    Some([&[length], octets.get(..usize::from(length.div_ceil(8)))?].concat())
}

fn psid(text: &str) -> Option<Vec<u8>> {
    let (number, length) = text.split_once('/')?;
    let length: u8 = length.trim().parse().ok().filter(|length| *length <= 16)?;
    let number: u16 = number.trim().parse().ok()?;
    let shifted = number.checked_shl(u32::from(16u8.saturating_sub(length))).unwrap_or(0);
    Some([&[length][..], &shifted.to_be_bytes()].concat())
}

/// Decodes hexadecimal digits, with `0x` before them, or with `:` or spaces between the bytes.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.contains([':', ' ']) {
        let parts = digits.split([':', ' ']).filter(|part| !part.is_empty());
        let byte = |part: &str| if part.len() <= 2 { u8::from_str_radix(part, 16).ok() } else { None };
        return parts.map(byte).collect();
    }
    let padded = if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("0{digits}") };
    from_hex(&padded)
}

/// Encodes suboptions: code, length and value of each. A value of more than 255 bytes is `None`.
pub(super) fn suboptions<'v>(values: impl IntoIterator<Item = (u8, &'v [u8])>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (code, value) in values {
        bytes.push(code);
        bytes.push(u8::try_from(value.len()).ok()?);
        bytes.extend_from_slice(value);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_name_the_same_codes() {
        assert_eq!(kea("domain-name-servers").map(|(code, _)| code), Some(6));
        assert_eq!(isc("bootfile-name").map(|(code, _)| code), Some(67));
        assert_eq!(isc("boot-file-name"), None);
        assert_eq!((kea("-"), isc("-")), (None, None));
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn values_are_encoded_by_their_form() {
        let (_, form) = isc("static-routes").unwrap();
        assert_eq!((form.atom(0), form.atom(5)), (Some(Atom::Ip), Some(Atom::Ip)));
        let (_, form) = kea("slp-directory-agent").unwrap();
        assert_eq!(
            (form.atom(0), form.atom(1), form.atom(2)),
            (Some(Atom::Bool), Some(Atom::Ip), Some(Atom::Ip))
        );
        assert_eq!(Format::one(Atom::U8).atom(1), None);
        assert_eq!(encode(Atom::I32, "-3600"), Ok(vec![255, 255, 241, 240]));
        assert_eq!(encode(Atom::U16, "0x10"), Ok(vec![0, 16]));
        assert_eq!(encode(Atom::U8, "256"), Err("a number from 0 to 255"));
        assert_eq!(encode(Atom::Name, "a.bc."), Ok(b"\x01a\x02bc\0".to_vec()));
        assert_eq!(encode(Atom::Psid, "3/4"), Ok(vec![4, 0x30, 0]));
        assert_eq!(hex("0:1:ff"), Some(vec![0, 1, 255]));
        assert_eq!(hex("0xabc"), Some(vec![0x0a, 0xbc]));
        assert_eq!(hex("xyz"), None);
        assert_eq!(suboptions([(1, &b"ab"[..])]), Some(vec![1, 2, b'a', b'b']));
    }
}
