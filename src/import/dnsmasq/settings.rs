//! Reads settings that apply to the whole server: interfaces, ports and TFTP.

use super::context::Context;
use super::lines::unhide;
use super::model::Tftp;
use super::values::{fields, number, split};

/// The ports of `dhcp-alternate-port` without a value.
const ALTERNATE_PORTS: (u16, u16) = (1067, 1068);
/// Bytes of the IP, UDP and TFTP headers, by which a block is smaller than the MTU (`tftp.c`).
const TFTP_HEADERS: u32 = 32;

/// Reads the statement `keyword=value`.
///
/// # Errors
/// dnsmasq refuses the value.
pub(super) fn read(context: &mut Context<'_>, keyword: &str, value: &str) -> Result<(), String> {
    let bad = || format!("bad {keyword}: {:?}", unhide(value));
    let place = context.origin.place;
    let settings = &mut context.model.settings;
    let names = || fields(value).into_iter().map(unhide).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    match keyword {
        "dhcp-authoritative" => settings.is_authoritative = true,
        "dhcp-ignore-clid" => settings.ignores_client_id = true,
        "dhcp-no-override" => settings.has_no_override = true,
        "no-ping" => settings.has_no_ping = true,
        "dhcp-alternate-port" => settings.ports = Some(ports(value).ok_or_else(bad)?),
        "port" => settings.dns_port = Some(number(value).ok_or_else(bad)?),
        "interface" => {
            let (patterns, plain): (Vec<String>, Vec<String>) =
                names().into_iter().partition(|name| name.contains('*'));
            settings.interfaces.extend(plain);
            settings.interface_patterns.extend(patterns.into_iter().map(|name| (place, name)));
        }
        "except-interface" => settings.not_interfaces.extend(names().into_iter().map(|name| (place, name))),
        "no-dhcp-interface" | "no-dhcpv4-interface" => {
            settings.no_dhcp.extend(names().into_iter().map(|name| (place, name)));
        }
        "listen-address" => {
            let addresses = names().into_iter().filter(|text| text != "127.0.0.1" && text != "::1");
            let addresses: Vec<String> = addresses.collect();
            if !addresses.is_empty() {
                context.problem(format!(
                    "listen-address={} is not taken: write the interface of the address into `interfaces`",
                    addresses.join(",")
                ));
            }
        }
        "enable-tftp" => enable_tftp(context, value),
        "tftp-root" => {
            let (folder, interface) = split(value);
            match interface {
                Some(_) => {
                    context.problem("tftp-root of one interface is not taken: there is one folder, `images`");
                }
                None => settings.tftp_root = Some(unhide(folder)),
            }
        }
        "tftp-max" => settings.tftp_max = Some(number(value).ok_or_else(bad)?),
        "tftp-mtu" => {
            let mtu: u32 = number(value).ok_or_else(bad)?;
            settings.tftp_block_size = Some(mtu.saturating_sub(TFTP_HEADERS).clamp(512, 65464));
        }
        // A block size of 512 bytes is that of clients without the option.
        "tftp-no-blocksize" => settings.tftp_block_size = Some(512),
        "tftp-port-range" => {
            let (first, last) = split(value);
            let ends: Option<(u16, u16)> = number(first).zip(last.and_then(number));
            let (first, last) = ends.ok_or_else(|| "bad port range".to_owned())?;
            settings.tftp_ports = Some(format!("{}-{}", first.min(last), first.max(last)));
        }
        "tftp-single-port" => settings.tftp_ports = Some("single".to_owned()),
        "dhcp-leasefile" | "dhcp-lease" => settings.lease_file = Some(unhide(value)),
        other => return Err(format!("{other} is not read yet")),
    }
    Ok(())
}

fn ports(value: &str) -> Option<(u16, u16)> {
    if value.is_empty() {
        return Some(ALTERNATE_PORTS);
    }
    let (server, client) = split(value);
    let server: u16 = number(server)?;
    let client = match client {
        Some(client) => number(client)?,
        None => server.checked_add(1)?,
    };
    Some((server, client))
}

/// Reads `enable-tftp`.
fn enable_tftp(context: &mut Context<'_>, value: &str) {
    let interfaces = fields(value).into_iter().filter(|name| !name.is_empty()).map(unhide).collect();
    let origin = context.take_origin();
    context.model.settings.tftp = Some(Tftp { origin, interfaces });
}
