//! Reads one statement into the model (`one_opt` in `option.c`).

use std::net::Ipv4Addr;

use super::context::Context;
use super::host;
use super::lines::unhide;
use super::model::{
    Boot, Domain, Model, OptionRule, Prompt, Range, RangeKind, Service, ServiceKind, Setter, Shared, TagIf,
    Tagged, Test,
};
use super::option;
use super::values::{Hex, Tag, address, fields, leading_tags, lease, number, set_name, split, tag_prefix};
use crate::types::Ipv4Network;

/// Reads the statement `keyword=value`.
///
/// # Errors
/// dnsmasq refuses the value.
pub(super) fn read(context: &mut Context<'_>, keyword: &str, value: &str) -> Result<(), String> {
    match keyword {
        "dhcp-range" => range(context, value),
        "dhcp-host" => host::read(context, value),
        "dhcp-option" | "dhcp-option-force" | "dhcp-option-pxe" => dhcp_option(context, keyword, value),
        "dhcp-boot" => boot(context, value),
        "dhcp-match" => {
            let option = option::read(value, true)?;
            if option.is_ipv6 {
                context.problem("dhcp-match is not taken: lanboot has no IPv6");
                return Ok(());
            }
            let tag = option.tags.first().map(|tag| tag.name.clone()).unwrap_or_default();
            set(context, tag, Test::Option(Box::new(option)));
            Ok(())
        }
        "dhcp-name-match" | "dhcp-vendorclass" | "dhcp-userclass" | "dhcp-mac" | "dhcp-circuitid"
        | "dhcp-remoteid" | "dhcp-subscrid" => setter(context, keyword, value),
        "tag-if" => tag_if(context, value),
        "dhcp-ignore" => {
            let tags = all_tags(value);
            let origin = context.take_origin();
            context.model.ignores.push(Tagged { origin, tags });
            Ok(())
        }
        "dhcp-broadcast" | "bootp-dynamic" => {
            let is_for_all = value.is_empty();
            match (keyword, is_for_all) {
                ("dhcp-broadcast", true) => context.model.settings.always_broadcast = true,
                ("bootp-dynamic", true) => context.model.settings.bootp_dynamic = true,
                _ => context.problem(format!(
                    "{keyword} is not taken: in config.yaml it is for all clients or for none, and here it has tags"
                )),
            }
            Ok(())
        }
        "pxe-service" => service(context, value),
        "pxe-prompt" => {
            let (tags, rest) = leading_tags(value);
            let (text, timeout) = split(rest.ok_or("bad pxe-prompt: expected its text")?);
            let timeout = timeout.and_then(number::<u32>).filter(|seconds| *seconds < 255);
            let origin = context.take_origin();
            context.model.prompts.push(Prompt { origin, tags, text: unhide(text), timeout });
            Ok(())
        }
        "shared-network" => shared_network(context, value),
        "domain" | "domain-suffix" => domain(context, value),
        "host-record" => {
            let fields = fields(value);
            let address = fields.iter().find_map(|field| address(field));
            let names =
                fields.iter().take_while(|field| !field.contains(':') && self::address(field).is_none());
            for name in names {
                if let Some(address) = address {
                    context.model.add_name(&unhide(name), address);
                }
            }
            let reason = "host-record is not taken: it is a setting of the DNS server, and lanboot has none";
            context.problems.add_kind(context.origin.place, reason);
            Ok(())
        }
        _ => super::settings::read(context, keyword, value),
    }
}

use super::values::address as parse_address;

/// Adds the names of a hosts file to those that dnsmasq knows.
pub(super) fn hosts_file(model: &mut Model, text: &str) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(parse_address) else { continue };
        words.for_each(|name| model.add_name(name, address));
    }
}

fn all_tags(value: &str) -> Vec<Tag> {
    fields(value).into_iter().map(|field| Tag::read(tag_prefix(field).unwrap_or(field))).collect()
}

fn set(context: &mut Context<'_>, tag: String, test: Test) {
    let origin = context.take_origin();
    context.model.setters.push(Setter { origin, tag, test });
}

fn range(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    const BAD: &str = "bad dhcp-range";
    let is_address = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || b" .:".contains(&byte));
    let (mut filter, mut set, mut rest) = (Vec::new(), None, value);
    while let (field, Some(next)) = split(rest)
        && !is_address(field)
    {
        match tag_prefix(field) {
            Some("") => {}
            Some(tag) => filter.push(Tag::read(tag)),
            None if set.is_some() => return Err("bad dhcp-range: only one tag may be set".to_owned()),
            None => set = Some(set_name(field)),
        }
        rest = next;
    }
    let parts = fields(rest);
    let Some((first, others)) = parts.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err(format!("{BAD}: expected an address and then an address, static or proxy"));
    };
    let Some(first) = address(first) else {
        return match first.contains(':') && first.parse::<std::net::Ipv6Addr>().is_ok() {
            true => {
                context.problem("dhcp-range is not taken: lanboot has no IPv6");
                Ok(())
            }
            false => Err(format!("{BAD}: expected an address, found {:?}", unhide(first))),
        };
    };
    let second = others.first().copied().unwrap_or_default();
    let (kind, last) = match second {
        "static" => (RangeKind::Static, first),
        "proxy" => (RangeKind::Proxy, first),
        _ => match address(second) {
            Some(last) => (RangeKind::Dynamic, last),
            None => {
                return Err(format!(
                    "{BAD}: expected an address, static or proxy, found {:?}",
                    unhide(second)
                ));
            }
        },
    };
    let (first, last) = (first.min(last), first.max(last));
    let mut rest = others.get(1..).unwrap_or_default();
    let mask = rest.first().and_then(|text| address(text));
    if mask.is_some() {
        rest = rest.get(1..).unwrap_or_default();
    }
    let broadcast = mask.and(rest.first().and_then(|text| address(text)));
    if broadcast.is_some() {
        rest = rest.get(1..).unwrap_or_default();
    }
    if let Some(mask) = mask.map(u32::from)
        && u32::from(first) & mask != u32::from(last) & mask
    {
        return Err("inconsistent DHCP range: its ends are in different networks".to_owned());
    }
    let lease = match rest {
        [] => None,
        ["deprecated"] => None,
        [text] => Some(
            lease(text).ok_or_else(|| format!("{BAD}: expected a lease time, found {:?}", unhide(text)))?,
        ),
        _ => return Err(format!("{BAD}: too many fields")),
    };
    let origin = context.take_origin();
    context.model.ranges.push(Range { origin, filter, set, kind, first, last, mask, broadcast, lease });
    Ok(())
}

fn dhcp_option(context: &mut Context<'_>, keyword: &str, value: &str) -> Result<(), String> {
    let option = option::read(value, false)?;
    if option.is_ipv6 {
        context.problem(format!("{keyword} is not taken: lanboot has no IPv6"));
        return Ok(());
    }
    if keyword == "dhcp-option-pxe" {
        context.problem("dhcp-option-pxe is not taken: lanboot writes the options of PXE itself");
        return Ok(());
    }
    let origin = context.take_origin();
    let is_forced = keyword == "dhcp-option-force";
    context.model.options.push(OptionRule { origin, option, is_forced });
    Ok(())
}

fn boot(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    let (tags, rest) = leading_tags(value);
    let (file, rest) = split(rest.ok_or("bad dhcp-boot: expected a boot file")?);
    let (server_name, server) = rest.map_or(("", None), split);
    let server = server.unwrap_or_default();
    let origin = context.take_origin();
    let [file, server_name, server] = [file, server_name, server].map(unhide);
    context.model.boots.push(Boot { origin, tags, file, server_name, server });
    Ok(())
}

fn setter(context: &mut Context<'_>, keyword: &str, value: &str) -> Result<(), String> {
    let (tag, Some(rest)) = split(value) else {
        return Err(format!("bad {keyword}: expected a tag and a value"));
    };
    let tag = set_name(tag);
    let test = match keyword {
        "dhcp-mac" => {
            let text = unhide(rest);
            Test::Mac(
                Hex::read(&text, 16, true)
                    .ok_or_else(|| format!("bad dhcp-mac: {text:?} is no MAC address"))?,
            )
        }
        "dhcp-name-match" if rest.is_empty() => return Err("bad dhcp-name-match: expected a name".to_owned()),
        "dhcp-name-match" => {
            let name = rest.strip_suffix('*');
            Test::HostName { name: unhide(name.unwrap_or(rest)), is_prefix: name.is_some() }
        }
        _ => {
            let text = match split(rest) {
                (_, None) => rest,
                (enterprise, Some(text))
                    if keyword == "dhcp-vendorclass" && enterprise.starts_with("enterprise:") =>
                {
                    text
                }
                _ => return Err(format!("bad {keyword}: expected one value")),
            };
            let is_hex = text.contains(':')
                && text.bytes().any(|byte| byte.is_ascii_hexdigit())
                && text.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit());
            let hex = if is_hex { Hex::read(text, text.len(), false) } else { None };
            let bytes = hex.map_or_else(|| unhide(text).into_bytes(), |hex| hex.plain());
            match keyword {
                "dhcp-vendorclass" => Test::VendorClass(unhide(text)),
                "dhcp-userclass" => Test::UserClass(unhide(text)),
                "dhcp-circuitid" => Test::Relay(1, bytes),
                "dhcp-remoteid" => Test::Relay(2, bytes),
                _ => Test::Relay(6, bytes),
            }
        }
    };
    set(context, tag, test);
    Ok(())
}

fn tag_if(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    let (mut set, mut tags) = (Vec::new(), Vec::new());
    for field in fields(value) {
        match (field.strip_prefix("set:"), field.strip_prefix("tag:")) {
            (Some(tag), _) if !tag.is_empty() => set.push(unhide(tag)),
            (_, Some(tag)) if !tag.is_empty() => tags.push(Tag::read(tag)),
            _ => return Err("bad tag-if: expected set:… and tag:…".to_owned()),
        }
    }
    if set.is_empty() {
        return Err("bad tag-if: expected at least one set:…".to_owned());
    }
    let origin = context.take_origin();
    context.model.tag_ifs.push(TagIf { origin, set, tags });
    Ok(())
}

/// The client systems of `pxe-service`, by their number.
const SYSTEMS: [&str; 12] = [
    "x86PC",
    "PC98",
    "IA64_EFI",
    "Alpha",
    "Arc_x86",
    "Intel_Lean_Client",
    "IA32_EFI",
    "x86-64_EFI",
    "Xscale_EFI",
    "BC_EFI",
    "ARM32_EFI",
    "ARM64_EFI",
];

fn service(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    let (tags, rest) = leading_tags(value);
    let (system, Some(rest)) = rest.map_or(("", None), split) else {
        return Err("bad pxe-service: expected a client system and a menu text".to_owned());
    };
    let known = SYSTEMS.iter().position(|name| name.eq_ignore_ascii_case(system));
    let arch = known.and_then(|at| u16::try_from(at).ok()).or_else(|| number(system));
    let Some(arch) = arch else {
        return Err(format!("bad pxe-service: unknown client system {:?}", unhide(system)));
    };
    let (text, rest) = split(rest);
    let (what, server) = rest.map_or((None, None), |rest| {
        let (what, server) = split(rest);
        (Some(what), server)
    });
    let kind = match what {
        None => ServiceKind::Local,
        Some(what) => match number::<u16>(what) {
            Some(0) => ServiceKind::Local,
            Some(number) => ServiceKind::Type(number),
            None => ServiceKind::File(unhide(what)),
        },
    };
    let origin = context.take_origin();
    let (text, server) = (unhide(text), server.map(unhide));
    context.model.services.push(Service { origin, tags, arch, text, kind, server });
    Ok(())
}

fn shared_network(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    let (at, other) = split(value);
    let other = other.unwrap_or_default();
    let Some(address) = address(other) else {
        if other.parse::<std::net::Ipv6Addr>().is_ok() {
            context.problem("shared-network is not taken: lanboot has no IPv6");
            return Ok(());
        }
        return Err("bad shared-network: expected an interface or address, and an address".to_owned());
    };
    let origin = context.take_origin();
    context.model.shared.push(Shared { origin, at: unhide(at), address });
    Ok(())
}

fn domain(context: &mut Context<'_>, value: &str) -> Result<(), String> {
    let parts = fields(value);
    let name = parts.first().map(|name| unhide(name)).unwrap_or_default();
    if name == "#" {
        context.problem(
            "domain=# is not taken: write the domain of /etc/resolv.conf into `dhcp.options.domain`",
        );
        return Ok(());
    }
    let second = parts.get(1).copied();
    let third = parts.get(2).copied().filter(|text| *text != "local");
    let ends: Option<(Ipv4Addr, Ipv4Addr)> = match (second, third) {
        (None, _) => None,
        (Some(text), None) => match (text.parse::<Ipv4Network>(), address(text)) {
            (Ok(network), _) => Some((network.address(), network.broadcast())),
            (_, Some(address)) => Some((address, address)),
            _ if text.contains(':') => {
                context.problem("domain is not taken: lanboot has no IPv6");
                return Ok(());
            }
            // The domain of an interface, since 2.86.
            _ if !text.contains('/') => {
                context.problem(
                    "domain is not taken: in config.yaml it belongs to a subnet, not to an interface",
                );
                return Ok(());
            }
            _ => return Err(format!("bad domain: {:?} is no network", unhide(text))),
        },
        (Some(first), Some(last)) => match (address(first), address(last)) {
            (Some(first), Some(last)) => Some((first, last)),
            _ if first.contains(':') => {
                context.problem("domain is not taken: lanboot has no IPv6");
                return Ok(());
            }
            _ => return Err("bad domain: expected two addresses".to_owned()),
        },
    };
    let origin = context.take_origin();
    context.model.domains.push(Domain { origin, name, range: ends });
    Ok(())
}
