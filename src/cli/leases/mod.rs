//! `lanboot leases`: lists and shows leases, releases an address, and imports the leases of another server.
//!
//! Listing reads the database, which works with and without a running server. Releasing an address goes through the
//! running server, because its lease book must agree with the database. Only if no server runs, the command changes
//! the database itself. Importing requires that no server runs.

mod failure;
mod import;
mod view;

use std::cmp::Reverse;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use failure::{Failure, failure, report_losses};
use view::View;

use super::ask_server::{self, Answer};
use super::config_file::{Given, load_or_exit_code};
use super::output;
use crate::config::Config;
use crate::lease::{Lease, State};
use crate::server::web::control::control_path;
use crate::store::{clock, open};
use crate::types::{Ipv4Network, MacAddr};

/// The leases to list.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Filter {
    /// List only leases in this state: leased, declined, released or expired
    #[arg(long, global = true, value_name = "STATE", value_parser = state)]
    only: Option<&'static str>,
    /// List only leases of this subnet, such as 192.168.77.0/24
    #[arg(long, global = true, value_name = "NETWORK", value_parser = network)]
    subnet: Option<Ipv4Network>,
}

fn state(text: &str) -> Result<&'static str, &'static str> {
    let known = view::STATES.iter().find(|state| **state == text);
    known.copied().ok_or("expected leased, declined, released or expired")
}

fn network(text: &str) -> Result<Ipv4Network, String> {
    text.parse().map_err(|error| format!("expected {error}"))
}

/// The subcommands of `lanboot leases`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every lease in the order of addresses (default)
    List,
    /// Show everything about one lease
    Show {
        /// Its address, or its client's MAC address
        #[arg(value_name = "ADDRESS|MAC", value_parser = parse_selector)]
        which: Selector,
    },
    /// End a lease now, so that its address may be given to another client
    Release {
        /// Its address, or its client's MAC address
        #[arg(value_name = "ADDRESS|MAC", value_parser = parse_selector)]
        which: Selector,
    },
    /// Import the leases of ISC dhcpd or dnsmasq, while no lanboot runs
    Import(import::Arguments),
}

/// Selects leases by address or by client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selector {
    Address(Ipv4Addr),
    /// The client's hardware address.
    Mac(MacAddr),
}

fn parse_selector(text: &str) -> Result<Selector, &'static str> {
    let address = text.parse().map(Selector::Address);
    address
        .or_else(|_| text.parse().map(Selector::Mac))
        .map_err(|_| "expected an IPv4 address like 192.168.77.50 or a MAC address like 52:54:00:12:34:56")
}

impl Selector {
    fn is(self, lease: &Lease) -> bool {
        match self {
            Selector::Address(address) => lease.address == address,
            Selector::Mac(mac) => view::mac_of(lease) == Some(mac),
        }
    }

    fn name(self) -> String {
        match self {
            Selector::Address(address) => address.to_string(),
            Selector::Mac(mac) => mac.to_string(),
        }
    }
}

/// Runs the command. The exit code is 0 for success, 1 for a failure (no such lease, the server refused, an entry
/// cannot be read), and 2 for a wrong configuration.
pub fn run(mut given: Given<'_>, command: Option<Command>, mut filter: Filter, json: bool) -> ExitCode {
    // `--only` was called `--state` before that named the state folder, and scripts still write `--state leased`.
    if let Some(old) = given.state.and_then(|text| state(text.to_str()?).ok()) {
        given.state = None;
        filter.only = filter.only.or(Some(old));
    }
    let config = match load_or_exit_code(given) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let done = match command.unwrap_or(Command::List) {
        Command::List => list(&config, filter, json),
        Command::Show { which } => show(&config, which, json),
        Command::Release { which } => release(&config, which, json),
        Command::Import(arguments) => import::import(&config, &arguments, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Message(why)) => {
            output::print_error(format_args!("lanboot leases: {why}"));
            ExitCode::FAILURE
        }
        // A reader such as `head` has closed the pipe.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            output::print_error(format_args!("lanboot leases: cannot write the output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn list(config: &Config, filter: Filter, json: bool) -> Result<(), Failure> {
    let (leases, now) = (read(config)?, clock::wall());
    let mut views: Vec<View> = leases.iter().map(|lease| View::of(lease, config, now)).collect();
    let all = views.len();
    views.retain(|view| view.is_in(filter.only, filter.subnet));
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        view::write_json(&views, &mut out)?;
    } else if views.is_empty() {
        let which = if all > 0 { format!(" like that among {all}") } else { String::new() };
        writeln!(out, "no leases{which} in {}", config.state.display())?;
    } else {
        view::write_table(&views, output::is_coloured(&io::stdout()), &mut out)?;
        writeln!(out, "{}", view::summary(&views))?;
    }
    Ok(out.flush()?)
}

fn show(config: &Config, which: Selector, json: bool) -> Result<(), Failure> {
    let (leases, now) = (find(config, which)?, clock::wall());
    let views: Vec<View> = leases.iter().map(|lease| View::of(lease, config, now)).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        view::write_json(&views, &mut out)?;
    } else {
        view::write_details(&views, &mut out)?;
    }
    Ok(out.flush()?)
}

fn release(config: &Config, which: Selector, json: bool) -> Result<(), Failure> {
    let now = clock::wall();
    let mut leases = find(config, which)?;
    leases.retain(|lease| lease.until > now && lease.state != State::Released);
    if leases.is_empty() {
        return Err(failure(format!("{} is free already", which.name())));
    }
    let addresses: Vec<Ipv4Addr> = leases.iter().map(|lease| lease.address).collect();
    if !release_by_server(config, &addresses).map_err(failure)? {
        release_on_disk(config, &addresses).map_err(failure)?;
    }
    let mut out = io::stdout().lock();
    let ended: Vec<Lease> = leases.iter().map(|lease| lease.released(now)).collect();
    if json {
        let views: Vec<View> = ended.iter().map(|lease| View::of(lease, config, now)).collect();
        return Ok(view::write_json(&views, &mut out)?);
    }
    for lease in ended {
        writeln!(out, "released {} ({})", lease.address, view::hardware(&lease))?;
    }
    Ok(())
}

/// Reads all stored leases. Losses are reported on standard error.
fn read(config: &Config) -> Result<Vec<Lease>, Failure> {
    let (leases, losses) = open::read(&config.state).map_err(failure)?;
    losses.iter().for_each(|line| output::print_error(format_args!("lanboot leases: {line}")));
    Ok(leases)
}

/// The leases that match: one, or several of a client that was in several subnets.
fn find(config: &Config, which: Selector) -> Result<Vec<Lease>, Failure> {
    let mut leases = read(config)?;
    leases.retain(|lease| which.is(lease));
    // The newest first.
    leases.sort_by_key(|lease| Reverse(lease.until));
    if leases.is_empty() {
        return Err(failure(format!("no lease of {} in {}", which.name(), config.state.display())));
    }
    Ok(leases)
}

/// Asks the running server to release these addresses. Returns false if no server runs.
fn release_by_server(config: &Config, addresses: &[Ipv4Addr]) -> Result<bool, String> {
    for address in addresses {
        match ask_server::post(&config.state, &format!("/leases/{address}/release"))? {
            Answer::NoServer => return Ok(false),
            Answer::Done(_) => {}
            Answer::Refused(why) => return Err(format!("the server does not free {address}: {why}")),
        }
    }
    Ok(true)
}

/// Releases these addresses in the database, which no server has open.
fn release_on_disk(config: &Config, addresses: &[Ipv4Addr]) -> Result<(), String> {
    let mut opened = open::open(&config.state, report_losses).map_err(|error| {
        let socket = control_path(&config.state);
        format!("{error} (no server answers at {})", socket.display())
    })?;
    let now = opened.clock.now();
    let meant = |lease: &&Lease| addresses.contains(&lease.address) && lease.until > now;
    let ended: Vec<Lease> = opened.leases.iter().filter(meant).map(|lease| lease.released(now)).collect();
    opened.store.commit(&ended).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_selected_by_address_or_mac() {
        assert_eq!(parse_selector("10.0.0.1"), Ok(Selector::Address(Ipv4Addr::new(10, 0, 0, 1))));
        assert_eq!(parse_selector("0200.0000.0009"), Ok(Selector::Mac(MacAddr([2, 0, 0, 0, 0, 9]))));
        assert!(parse_selector("node1").is_err());
    }
}
