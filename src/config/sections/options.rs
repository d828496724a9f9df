//! Reads `options:`: maps option names to codes. `option_values.rs` encodes the values, and `option_limits.rs` checks
//! them.

use crate::config::sections::option_limits::{illegal_value, lacks_default_route, questionable_value};
use crate::config::sections::option_names::{code_by_other_name, unknown_name_hint};
use crate::config::sections::option_values::encode;
use crate::config::syntax::reader::{Reader, one_or_more};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::option_space::{DEFAULT_DATAGRAM, MAX_DATAGRAM, smallest_datagram, smallest_with_overload};
use crate::dhcp::options::{OptionSet, OptionValue};
use crate::wire::option::{Kind, by_code, by_name, code};

/// Options that cannot be configured, because lanboot writes them itself or only clients and relay agents send them.
/// The text says how to get the effect instead.
const NOT_CONFIGURABLE: &[(u8, &str)] = &[
    (0, "0 is padding, not an option"),
    (1, "the mask is that of the subnet's `network:`"),
    (50, "only clients send it; a machine's address is set by `machines[].address`"),
    (51, "lease times are set by `lease:`"),
    (52, "lanboot writes it when it puts options into `file` and `sname`"),
    (53, "lanboot writes it"),
    (54, "lanboot writes the address that the request came to"),
    (55, "only clients send it"),
    (56, "lanboot writes it when it refuses an address"),
    (57, "only clients send it"),
    (58, "it is set by `renew:`, of a subnet or of `dhcp:`"),
    (59, "it is set by `rebind:`, of a subnet or of `dhcp:`"),
    (61, "only clients send it; lanboot echoes it"),
    (77, "only clients send it"),
    (80, "lanboot decides about rapid commit"),
    (81, "lanboot answers it itself"),
    (82, "only relay agents send it; lanboot echoes it"),
    (93, "only clients send it"),
    (94, "only clients send it"),
    (97, "only clients send it; lanboot echoes it"),
    (118, "only clients send it"),
    (175, "lanboot writes it for iPXE"),
    (255, "255 is the end mark, not an option"),
];

/// Names of options in other servers whose value is a key of lanboot, with that key.
const KEYS_INSTEAD: &[(&str, &str)] = &[
    ("next_server", "the key `next_server`, beside `options`"),
    ("server_name", "the key `server_name`, beside `options`"),
    ("filename", "the key `boot_file`, beside `options`"),
    ("boot_file", "the key `boot_file`, beside `options`"),
];

/// Returns the reason why option `code` cannot be configured.
pub fn option_not_configurable(code: u8) -> Option<&'static str> {
    NOT_CONFIGURABLE.iter().find(|(other, _)| *other == code).map(|(_, why)| *why)
}

/// Returns the reason why option `code` cannot have this value, which has a valid length.
pub fn illegal_option_value(code: u8, bytes: &[u8]) -> Option<String> {
    illegal_value(code, &bytes.to_vec().into())
}

/// Reads a mapping of options. Entries with a problem are omitted.
pub(in crate::config) fn options(reader: &mut Reader, node: &Node) -> OptionSet {
    let mut set = OptionSet::default();
    let mut routes = None;
    for (key, value) in reader.entries(node) {
        let Some((code, kind)) = option_named(reader, key.id, &key.value) else { continue };
        if code == code::CLASSLESS_ROUTES {
            routes = Some(key.id);
        }
        let Some(value) = option_value(reader, (key.id, value), code, kind) else { continue };
        if set.insert(code, value).is_some() {
            reader.problem(key.id, format!("option {code} is set twice, under two names"));
        }
    }
    if let Some(id) = routes.filter(|_| lacks_default_route(&set)) {
        let has_router = set.get(code::ROUTER).is_some_and(OptionValue::is_sent);
        reader.routes_without_default.push((id, has_router));
    }
    set
}

/// Reads the value of option `code`; `null` removes the option.
fn option_value(
    reader: &mut Reader,
    (key, node): (u32, &Node),
    code: u8,
    kind: Option<Kind>,
) -> Option<OptionValue> {
    if matches!(node.data, Data::Null) {
        return Some(OptionValue::Removed);
    }
    let encoded = encode(reader, node, kind)?;
    if let Some(problem) = illegal_value(code, &encoded) {
        reader.problem(node.id, problem);
        return None;
    }
    let notes = [length_note(code, &encoded.bytes), questionable_value(code, &encoded.bytes)];
    notes.into_iter().flatten().for_each(|note| reader.note(key, note));
    Some(encoded.into())
}

/// Reads names or codes of options, as a list or alone. The result is sorted and has each code once.
pub(in crate::config) fn option_codes(reader: &mut Reader, node: &Node) -> Vec<u8> {
    let mut codes = Vec::new();
    for item in one_or_more(node) {
        let name = match &item.data {
            Data::Int(number) => number.to_string(),
            _ => match reader.text(item, "the name or number of an option") {
                Some(text) => text.to_owned(),
                None => continue,
            },
        };
        codes.extend(option_named(reader, item.id, &name).map(|(code, _)| code));
    }
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Note about an option that is too long for the replies to some clients, or to all. Those replies omit it.
fn length_note(code: u8, value: &[u8]) -> Option<String> {
    let (len, needed) = (value.len(), smallest_datagram(code, value));
    let over = |most| needed.checked_sub(most).filter(|bytes| *bytes > 0);
    if let Some(bytes) = over(MAX_DATAGRAM) {
        return Some(format!("a value of {len} bytes reaches no client: it must be shorter by {bytes}"));
    }
    let bytes = over(DEFAULT_DATAGRAM)?;
    if smallest_with_overload(code, value) <= DEFAULT_DATAGRAM {
        return Some(format!(
            "a value of {len} bytes reaches programs that boot from the network only if they take messages of {needed} \
             bytes (option 57): it must be shorter by {bytes} for the others"
        ));
    }
    Some(format!(
        "a value of {len} bytes reaches only clients that take messages of {needed} bytes (option 57): it must be \
         shorter by {bytes} for the others"
    ))
}

/// Code and kind of the option with this name or number. The kind is `None` if the code is not registered.
fn option_named(reader: &mut Reader, id: u32, name: &str) -> Option<(u8, Option<Kind>)> {
    let plain = name.to_ascii_lowercase().replace('-', "_");
    if let Some((_, instead)) = KEYS_INSTEAD.iter().find(|(other, _)| *other == plain) {
        reader.problem(id, format!("`{name}` is not an option: use {instead}"));
        return None;
    }
    let code = name.parse::<u8>().ok().or_else(|| by_name(name).map(|row| row.code));
    let meant = code.or_else(|| code_by_other_name(name));
    if let Some((code, instead)) = NOT_CONFIGURABLE.iter().find(|(code, _)| Some(*code) == meant) {
        reader.problem(id, format!("option {code} is not set here: {instead}"));
        return None;
    }
    let Some(code) = code else {
        reader.problem(id, format!("unknown option `{name}`{}", unknown_name_hint(name)));
        return None;
    };
    Some((code, by_code(code).map(|row| row.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::syntax::tree::parse;
    use crate::types::to_hex;

    /// Hexadecimal bytes of each option in `text`.
    fn encoded(text: &str) -> Vec<(u8, String)> {
        let mut reader = Reader::default();
        let set = options(&mut reader, &parse(text).unwrap());
        let problems: Vec<_> = reader.problems.iter().map(|problem| &problem.message).collect();
        assert!(problems.is_empty(), "{text}: {problems:?}");
        set.codes().map(|code| (code, to_hex(set.constant(code).unwrap()))).collect()
    }

    #[track_caller]
    fn one(text: &str, code: u8, hex: &str) {
        assert_eq!(encoded(text), [(code, hex.to_owned())], "{text}");
    }

    #[test]
    fn values_are_encoded_by_the_kind_of_the_option() {
        one("router: 192.168.77.1", 3, "c0a84d01");
        one("dns: [192.168.77.1, 1.1.1.1]", 6, "c0a84d0101010101");
        one("6: 1.1.1.1", 6, "01010101");
        one("0x06: 1.1.1.1", 6, "01010101");
        one(
            "domain-search: [lab.example, a.b.]",
            119,
            "036c6162076578616d706c6500016101620 0".replace(' ', "").as_str(),
        );
        one("time_offset: -3600", 2, "fffff1f0");
        one("arp_cache_timeout: 1m", 35, "0000003c");
        one("arp_cache_timeout: 60", 35, "0000003c");
        one("ip_forwarding: off", 19, "00");
        one("interface_mtu: 1400", 26, "0578");
        one("path_mtu_plateau_table: [68, 1492]", 25, "004405d4");
        one("static_routes: 10.0.0.1 192.168.77.254", 33, "0a000001c0a84dfe");
        one("hostname: node1", 12, "6e6f646531");
        one("224: 'hex:0a:0B 0c'", 224, "0a0b0c");
        one("224: text:é", 224, "c3a9");
    }

    #[test]
    fn rfc3442_routes_carry_only_the_significant_octets() {
        // The examples of RFC 3442, page 4, and the default route.
        one("classless_routes: [{to: 0.0.0.0/0, via: 10.0.0.1}]", 121, "000a000001");
        one("classless_routes: {to: 10.0.0.0/8, via: 10.0.0.1}", 121, "080a0a000001");
        one("classless_routes: [{to: 10.17.0.0/16, via: 10.0.0.1}]", 121, "100a110a000001");
        one("classless_routes: [{to: 10.229.0.128/25, via: 10.0.0.1}]", 121, "190ae500800a000001");
        one("classless_routes: [{to: 10.198.122.47/32, via: 10.0.0.1}]", 121, "200ac67a2f0a000001");
    }

    #[test]
    fn raw_values_may_be_long_but_must_fit_the_kind() {
        let long = encoded(&format!("224: text:{}", "x".repeat(300)));
        assert_eq!(long[0].1.len(), 600);
        let mut reader = Reader::default();
        assert!(options(&mut reader, &parse("dns: hex:010203").unwrap()).codes().next().is_none());
        assert_eq!(reader.problems[0].message, "expected 4 bytes for each address, found 3 bytes");
    }
}
