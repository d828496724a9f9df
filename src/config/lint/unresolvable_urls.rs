//! Boot files by HTTP whose server has a name: UEFI looks it up only if the reply that names it also names a DNS server.

use std::net::Ipv4Addr;

use crate::boot::plan::Mode;
use crate::boot::policy::SERVER;
use crate::config::lint::mapped_files::{Mapped, Target, mapped, problems_at};
use crate::config::{Config, Problem};
use crate::dhcp::options::OptionSet;
use crate::wire::option::code;

/// The URLs of UEFI HTTP boot in `config` that clients cannot reach because they are told no DNS server (option 6), as
/// problems of the file whose `text` it was loaded from. EDK2 looks a name up only at servers of the same offer
/// (`HttpBootDhcp4.c`). Beside another DHCP server that one names them.
pub fn dns_problems(config: &Config, text: &str) -> Vec<Problem> {
    let Some(settings) = config.dhcp.as_ref().filter(|settings| settings.modes.has(Mode::Server)) else {
        return Vec::new();
    };
    let has_dns = |options: &OptionSet| options.contains_key(&code::DNS);
    let lacking = settings.subnets.iter().find(|subnet| !has_dns(&subnet.options));
    let Some(subnet) = lacking.filter(|_| !has_dns(&settings.options)) else { return Vec::new() };
    let own = |key: &str| {
        let machines = settings.machines.iter().map(|machine| &machine.options);
        let classes = settings.classes.iter().map(|class| &class.options);
        place_in(key, "machines").and_then(|i| machines.into_iter().nth(i)).is_some_and(has_dns)
            || place_in(key, "dhcp.classes").and_then(|i| classes.into_iter().nth(i)).is_some_and(has_dns)
    };
    let named = mapped(config).into_iter().filter(|file| !own(&file.key));
    let problems = named.filter_map(|file| {
        let host = host_name(&file)?;
        let message = format!(
            "UEFI looks up {host:?} only if it is told a DNS server: set the option `dns` for {}, or write an address",
            subnet.network
        );
        Some((file.key.clone(), message))
    });
    problems_at(text, problems)
}

/// The name of the server that UEFI is to load `file` from by HTTP, if it has a name and not an address.
fn host_name(file: &Mapped) -> Option<&str> {
    let by_http = match file.to {
        Target::Firmware(arch) => arch.is_http() && arch.is_uefi(),
        Target::AnyFirmware => true,
        Target::Ipxe | Target::DefaultScript | Target::Bootp => false,
    };
    let (scheme, rest) = file.name.split_once("://").filter(|_| by_http)?;
    let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let authority = rest.split(['/', '?', '#']).next().filter(|_| is_http)?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    let is_name = host != SERVER && host.parse::<Ipv4Addr>().is_err() && !host.starts_with('[');
    is_name.then_some(host)
}

/// The number in a key that begins `list[number]`.
fn place_in(key: &str, list: &str) -> Option<usize> {
    key.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}
