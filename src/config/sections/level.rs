//! Reads the values that every level can set: `dhcp:`, a subnet, a pool, a class and a machine have the same keys for
//! them. `keys.rs` says which of the keys a section has.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::boot::fetch::SERVER;
use crate::config::sections::options::{option_codes, options};
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Fields, Reader, duration};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::level::{DEFAULT_LEASE, LeaseTime};
use crate::dhcp::level::{INFINITE, LeasePart, Level, NextServer};
use crate::dhcp::options::OptionSet;

/// Maximum length of a server name in bytes: the `sname` field without its trailing NUL.
const MAX_SERVER_NAME: usize = 63;
/// Maximum length of a boot file name in bytes: the `file` field without its trailing NUL.
const MAX_BOOT_FILE: usize = 127;

/// Reads the values of one level.
pub(in crate::config) fn level(reader: &mut Reader, fields: &Fields<'_>) -> Level {
    Level {
        options: fields.get("options").map_or(OptionSet::default(), |node| options(reader, node)),
        always_send: fields.get("always_send").map_or(Vec::new(), |node| option_codes(reader, node)),
        lease: fields.get("lease").map(|node| lease(reader, node)),
        renew: fields.get("renew").and_then(|node| lease_part(reader, node)),
        rebind: fields.get("rebind").and_then(|node| lease_part(reader, node)),
        decline_time: fields.get("decline_time").and_then(|node| reader.seconds(node)).map(|at| at.value),
        next_server: fields.get("next_server").and_then(|node| next_server(reader, node)),
        server_name: fields
            .get("server_name")
            .and_then(|node| header_text(reader, node, "the name of a server", MAX_SERVER_NAME)),
        boot_file: fields
            .get("boot_file")
            .and_then(|node| header_text(reader, node, "the name of a boot file", MAX_BOOT_FILE)),
    }
}

/// The node of the first key that sets a time of leases.
pub(in crate::config) fn times(fields: &Fields<'_>) -> Option<u32> {
    ["rebind", "renew", "lease"].into_iter().find_map(|key| fields.get(key)).map(|node| node.id)
}

/// Reads an address, or `{server}` for our own. 0.0.0.0 leaves `siaddr` empty.
fn next_server(reader: &mut Reader, node: &Node) -> Option<NextServer> {
    if matches!(&node.data, Data::Text(text) if text == SERVER) {
        return Some(NextServer::Ours);
    }
    let at = reader.parse::<Ipv4Addr>(node, "an IPv4 address like 192.168.77.1, or \"{server}\"")?;
    if at.value.is_multicast() || at.value.is_broadcast() {
        reader.problem(at.id, format!("expected the address of a server, found {}", at.value));
        return None;
    }
    Some(NextServer::Address(at.value))
}

/// Reads the text of a header field; `""` leaves the field empty.
fn header_text(reader: &mut Reader, node: &Node, what: &str, longest: usize) -> Option<Arc<str>> {
    if matches!(&node.data, Data::Text(text) if text.is_empty()) {
        return Some("".into());
    }
    let text = reader.text(node, what)?;
    if text.len() > longest {
        reader.problem(node.id, format!("expected {what} of at most {longest} bytes, found {}", text.len()));
        return None;
    }
    Some(text.into())
}

/// Reads a lease time: one time, or `{default, min, max}`. Values with a problem have their default.
fn lease(reader: &mut Reader, node: &Node) -> LeaseTime {
    let with_default =
        |default: Duration| LeaseTime { default, min: default.min(DEFAULT_LEASE.min), max: default };
    if !matches!(node.data, Data::Map(_)) {
        return with_default(lease_seconds(reader, node).unwrap_or(DEFAULT_LEASE.default));
    }
    let fields = reader.fields(node, Section::Lease);
    let mut given = |key| fields.get(key).map(|node| lease_seconds(reader, node));
    let (default, min, max) = (given("default"), given("min"), given("max"));
    let broken = [&default, &min, &max].iter().any(|read| matches!(read, Some(None)));
    let (default, min, max) = (default.flatten(), min.flatten(), max.flatten());
    let mut lease = with_default(default.unwrap_or(DEFAULT_LEASE.default));
    lease.min = min.unwrap_or(lease.min);
    lease.max = max.unwrap_or(lease.max);
    if !broken && (lease.min > lease.default || lease.default > lease.max) {
        let [min, default, max] = [lease.min, lease.default, lease.max].map(shown);
        reader.problem(node.id, format!("expected min <= default <= max, found {min}, {default} and {max}"));
    }
    lease
}

fn shown(time: Duration) -> String {
    if time == INFINITE { "infinite".to_owned() } else { format!("{} s", time.as_secs()) }
}

/// Reads a lease time in whole seconds, or `infinite`.
fn lease_seconds(reader: &mut Reader, node: &Node) -> Option<Duration> {
    if matches!(&node.data, Data::Text(text) if text == "infinite") {
        return Some(INFINITE);
    }
    reader.seconds(node).map(|at| at.value)
}

/// Reads a time, or a percentage of the lease time in steps of 0.1 %.
fn lease_part(reader: &mut Reader, node: &Node) -> Option<LeasePart> {
    const WHAT: &str = "a time like 30m or a percentage of the lease time like 50%";
    let part = match &node.data {
        Data::Text(text) => match text.strip_suffix('%') {
            Some(number) => thousandths(number.trim_end()).map(LeasePart::Thousandths),
            None => duration(text)
                .filter(|time| !time.is_zero() && time.subsec_nanos() == 0 && *time < INFINITE)
                .map(LeasePart::Time),
        },
        _ => None,
    };
    if part.is_none() {
        reader.expected(node, WHAT);
    }
    part
}

/// Reads a percentage above 0 and below 100 with at most one decimal, as thousandths.
fn thousandths(number: &str) -> Option<u16> {
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(tenths) || tenths.len() > 1 {
        return None;
    }
    let whole = whole.parse::<u16>().ok()?.checked_mul(10)?;
    let thousandths = whole.checked_add(tenths.parse().ok()?)?;
    (1..1000).contains(&thousandths).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_at_most_one_decimal() {
        assert_eq!(thousandths("50"), Some(500));
        assert_eq!(thousandths("87.5"), Some(875));
        assert_eq!(thousandths("0.1"), Some(1));
        assert_eq!(thousandths("99.9"), Some(999));
        for text in ["", "0", "100", "87.55", "-1", "+5", ".5", "5.", "5.x", "99999"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
