//! Compares the configuration with this computer, for `lanboot check`: interfaces, addresses, ports, folders, the lease
//! database and the firewall. It changes nothing, and never stops another program. Facts that need more rights are notes
//! that begin with `not checked`.

mod findings;
pub(in crate::cli) mod firewall;
mod folders;
mod nftables;
pub(in crate::cli) mod ports;
mod rules;

use std::net::Ipv4Addr;

use crate::boot::plan::Mode;
use crate::cli::config_file::Loaded;
use crate::config::{Config, Interfaces};
use crate::net::interface;
use crate::net::served;

pub(super) use findings::{Finding, Findings};

/// Looks at this computer.
pub(super) fn check(loaded: &Loaded) -> Findings {
    let mut found = Findings::default();
    let config = &loaded.config;
    interfaces(config, &mut found);
    addresses(config, &mut found);
    ports::check(loaded, &mut found);
    ports::check_web(loaded, &mut found);
    folders::check(config, &mut found);
    folders::database(config, &mut found);
    firewall::check(config, &mut found);
    found
}

fn interfaces(config: &Config, found: &mut Findings) {
    const PART: &str = "interfaces";
    let (served, absent) = match served::find_or_fail(config) {
        Ok(there) => there,
        Err(error) => {
            match (&config.interfaces, served::find(config)) {
                // The server needs one interface at its start. Each named one that is absent is a problem below.
                (Interfaces::Named(_), Ok((_, absent))) if !absent.is_empty() => {
                    absent.into_iter().for_each(|why| found.problem(PART, why));
                }
                _ => found.problem(PART, error),
            }
            return;
        }
    };
    absent.into_iter().for_each(|why| found.problem(PART, why));
    let Some(settings) = &config.dhcp else { return };
    for network in served.out_of_reach(settings) {
        let subnet = settings.subnets.iter().find(|subnet| subnet.network == network);
        if subnet.is_some_and(|subnet| subnet.relays.is_empty()) {
            found.note(
                PART,
                format!(
                    "no served interface has an address in {network}: only relay agents reach its clients"
                ),
            );
        }
    }
    for interface in served.with_mode(settings, Mode::Server) {
        let has =
            |address: &Ipv4Addr| settings.subnets.iter().any(|subnet| subnet.network.contains(*address));
        if !interface.addresses.iter().any(has) {
            found.note(
                PART,
                format!(
                    "{} has no address in any of `dhcp.subnets` ({}): its own clients get no address",
                    interface.name,
                    served::listed(interface.addresses.iter())
                ),
            );
        }
    }
}

/// Addresses to listen on, and addresses of this computer that clients could get.
fn addresses(config: &Config, found: &mut Findings) {
    const PART: &str = "addresses";
    let all = match interface::list() {
        Ok(all) => all,
        Err(error) => return found.note(PART, format!("not checked: {error}")),
    };
    let has = |address: &Ipv4Addr| {
        all.iter().any(|interface| {
            interface.addresses.contains(address)
                || interface.loopback && address.is_loopback() && !interface.addresses.is_empty()
        })
    };
    let tftp = config.tftp.iter().flat_map(|tftp| tftp.listen.iter().map(|address| ("tftp.listen", address)));
    let http = config.http.iter().flat_map(|http| http.listen.iter().map(|address| ("http.listen", address)));
    for (key, address) in tftp.chain(http).filter(|(_, address)| !address.is_unspecified() && !has(address)) {
        found.problem(
            PART,
            format!("{address} of `{key}` is on no interface of this computer (`ip address` lists them)"),
        );
    }
    let Some(settings) = config.dhcp.as_ref().filter(|settings| settings.modes.has(Mode::Server)) else {
        return;
    };
    for machine in settings.machines.iter() {
        let own = machine.addresses.iter().filter(|address| has(address) && !address.is_loopback());
        for address in own {
            let message =
                format!("{address} of {} in `machines` is an address of this computer", machine.name);
            found.problem(PART, message);
        }
    }
}
