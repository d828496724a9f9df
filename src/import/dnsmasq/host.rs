//! Reads `dhcp-host`.

use super::context::Context;
use super::lines::unhide;
use super::model::Host;
use super::values::{Hex, Tag, address, fields, is_host_name, lease, set_name};

/// Reads the value of a `dhcp-host`. The order of the fields does not matter.
///
/// # Errors
/// dnsmasq refuses the value.
pub(super) fn read(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    let mut host = Host::default();
    for field in fields(value) {
        if field.contains(':') {
            with_colon(context, &mut host, field)?;
        } else if let Some(address) = address(field).filter(|_| field.contains('.')) {
            if !context.model.addresses.insert(address) {
                return Err(format!("duplicate dhcp-host IP address {address}"));
            }
            host.address = Some(address);
        } else {
            word(&mut host, field)?;
        }
    }
    host.origin = context.take_origin();
    context.model.hosts.push(host);
    Ok(())
}

/// Reads a MAC address, a client id, a tag or an IPv6 address.
fn with_colon(context: &mut Context<'_>, host: &mut Host, field: &str) -> Result<(), String> {
    let is_id = field.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("id:"));
    if let Some(id) = field.get(3..).filter(|_| is_id) {
        // Without a client id, the machine is its hardware address, which it is in `machines` anyway.
        if !id.starts_with('*') {
            let bytes = match id.contains(':') {
                true => Hex::read(id, usize::MAX, false).ok_or("bad hex constant in the client id")?.plain(),
                false => unhide(id).into_bytes(),
            };
            host.client_id = Some(bytes);
        }
    } else if field.starts_with("net:") || field.starts_with("set:") {
        host.set.push(set_name(field.get(4..).unwrap_or_default()));
    } else if let Some(tag) = field.strip_prefix("tag:") {
        host.filter.push(Tag::read(tag));
    } else if let Some(ipv6) = field.strip_prefix('[') {
        let text = ipv6.split([']', '/']).next().unwrap_or_default();
        if text.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("bad IPv6 address {:?}", unhide(text)));
        }
        context.problem(format!("the address [{text}] of dhcp-host is not taken: lanboot has no IPv6"));
    } else {
        let mac = Hex::read(field, 16, true);
        host.macs
            .push(mac.ok_or_else(|| format!("bad hex constant: {:?} is no MAC address", unhide(field)))?);
    }
    Ok(())
}

/// Reads a lease time, `ignore` or a host name.
fn word(host: &mut Host, field: &str) -> Result<(), String> {
    if field.is_empty() {
        return Ok(());
    }
    let is_time = field.starts_with(|letter: char| letter.is_ascii_digit());
    if let Some(seconds) = lease(field).filter(|_| is_time || field == "infinite") {
        host.lease = Some(seconds);
        return Ok(());
    }
    if field == "ignore" {
        host.is_ignored = true;
        return Ok(());
    }
    let name = unhide(field);
    if !is_host_name(&name) {
        return Err(format!("bad DHCP host name {name:?}"));
    }
    // The domain matters to dnsmasq's DNS server only.
    let host_name = name.split('.').next().unwrap_or_default();
    host.name = Some(host_name.to_owned());
    Ok(())
}
