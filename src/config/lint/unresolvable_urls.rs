//! Finds URLs with a host name that UEFI or a loader cannot resolve. Both resolve it only with a DNS server from the
//! DHCP reply.

use std::net::Ipv4Addr;

use crate::boot::fetch::SERVER;
use crate::boot::plan::Mode;
use crate::config::lint::mapped_files::{MappedFile, Recipient, mapped_files};
use crate::config::problem::Problem;
use crate::config::settings::Config;
use crate::config::sources::Sources;
use crate::dhcp::options::{OptionSet, OptionValue};
use crate::dhcp::settings::Settings;
use crate::types::Ipv4Network;
use crate::wire::option::code;

/// Problems of the configuration from `sources`: URLs of UEFI HTTP boot whose host name clients cannot resolve, because
/// their replies have no DNS server (option 6). EDK2 uses only the DNS servers of the same offer (`HttpBootDhcp4.c`).
/// As a proxy, lanboot cannot check this, because the other DHCP server sends the DNS servers.
pub fn dns_problems(config: &Config, sources: &Sources) -> Vec<Problem> {
    let Some((settings, network)) = network_without_dns(config) else { return Vec::new() };
    let own = |key: &str| {
        let machines = settings.machines.iter().map(|machine| &machine.level.options);
        let classes = settings.classes.iter().map(|class| &class.level.options);
        list_index(key, "machines").and_then(|i| machines.into_iter().nth(i)).is_some_and(has_dns)
            || list_index(key, "dhcp.classes").and_then(|i| classes.into_iter().nth(i)).is_some_and(has_dns)
    };
    let named = mapped_files(config).into_iter().filter(|file| !own(&file.key));
    let problems = named.filter_map(|file| {
        let host = host_name(&file)?;
        let message = format!(
            "UEFI looks up {host:?} only with a DNS server from DHCP: set the option `dns` for {network}, or write an \
             address"
        );
        Some((file.key.clone(), message))
    });
    sources.problems_at(problems)
}

/// Notes about kernels and RAM disks of targets whose host name loaders cannot resolve. iPXE and GRUB know no other DNS
/// servers than those in the reply that their client got. It is no problem, because a class or a machine may have them.
pub fn target_dns_notes(config: &Config, sources: &Sources) -> Vec<Problem> {
    let Some((_, network)) = network_without_dns(config) else { return Vec::new() };
    let urls = config.targets.list.iter().flat_map(|target| {
        let kernel = std::iter::once(("kernel", &target.kernel));
        let initrd = target.initrd.iter().map(|url| ("initrd", url));
        kernel.chain(initrd).map(|(key, url)| (format!("targets.{}.{key}", target.name), url))
    });
    let notes = urls.filter_map(|(key, url)| {
        let host = host_of(url.split_once("://")?.1)?;
        let message = format!(
            "loaders look up {host:?} only with a DNS server from DHCP: set the option `dns` for {network}, or write an \
             address"
        );
        Some((key, message))
    });
    sources.problems_at(notes)
}

/// The settings of the DHCP server, and its first subnet whose clients get no DNS server from the subnet or from
/// `dhcp.options`.
fn network_without_dns(config: &Config) -> Option<(&Settings, Ipv4Network)> {
    let settings = config.dhcp.as_ref().filter(|settings| settings.modes.has(Mode::Server))?;
    let lacking = settings.subnets.iter().find(|subnet| !has_dns(&subnet.level.options));
    Some((settings, lacking.filter(|_| !has_dns(&settings.level.options))?.network))
}

fn has_dns(options: &OptionSet) -> bool {
    options.get(code::DNS).is_some_and(OptionValue::is_sent)
}

/// The host name in the URL from which UEFI loads `file`. Returns `None` if the URL has an address instead, or if
/// UEFI does not load it by HTTP.
fn host_name(file: &MappedFile) -> Option<&str> {
    let by_http = match file.recipient {
        Recipient::Firmware(arch) => arch.is_http() && arch.is_uefi(),
        Recipient::AnyFirmware => true,
        Recipient::Ipxe | Recipient::DefaultScript | Recipient::Bootp => false,
    };
    let (scheme, rest) = file.name.split_once("://").filter(|_| by_http)?;
    let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_http.then(|| host_of(rest))?
}

/// The host name at the beginning of a URL without its scheme. Returns `None` for an address, and for `{server}`.
fn host_of(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    let is_name = host != SERVER && host.parse::<Ipv4Addr>().is_err() && !host.starts_with('[');
    is_name.then_some(host)
}

/// The index in a key that begins with `list[index]`.
fn list_index(key: &str, list: &str) -> Option<usize> {
    key.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}
