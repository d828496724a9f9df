//! `lanboot rehearse`: predicts the boot of every machine of the configuration. Models of each firmware read the
//! replies that lanboot would send. `check --rehearse` uses it too. It sends no packet and starts no program.

mod chain;
mod clients;
mod groups;
mod parallel;
mod route;
mod row;
mod site;
mod view;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;
use std::process::ExitCode;

use chain::{Ending, Rehearsal, Step, rehearse};
use row::Row;
use site::{Interfaces, Site};
use view::View;

use super::config_file::{Given, LoadError, Loaded, load_file};
use super::output;
use crate::boot::machine_boot::MachineBoot;
use crate::boot::plan::Mode;
use crate::config::{Config, suggestion};
use crate::dhcp::machines::Machine;
use crate::dhcp::settings::Settings;
use crate::probe::models::Firmware;
use crate::types::{Arch, MacAddr};

/// The name of a machine without an entry.
const ANY: &str = "any machine";

/// Rehearses the configuration and prints the result; with `only`, that machine alone. The exit code is 0 if every client
/// boots, 1 if one does not, and 2 if the configuration cannot be read or has problems, or has no such machine.
pub fn run(given: Given<'_>, only: Option<&str>, json: bool) -> ExitCode {
    let loaded = match load_file(given) {
        Ok(loaded) => loaded,
        Err(LoadError::Unreadable(message)) => {
            output::print_error(format_args!("lanboot: {message}"));
            return ExitCode::from(2);
        }
        Err(error) => {
            output::print_error(error);
            return ExitCode::from(2);
        }
    };
    let only = match only.map(|name| machine_named(&loaded, name)).transpose() {
        Ok(only) => only,
        Err(why) => {
            output::print_error(format_args!("lanboot rehearse: {why}"));
            return ExitCode::from(2);
        }
    };
    let rehearsed = rehearse_all(&loaded.config, only);
    let failed = rehearsed.rows.iter().any(Row::fails);
    match print(&rehearsed, json) {
        Ok(()) if failed => ExitCode::FAILURE,
        // The reader closed the pipe, as in `lanboot rehearse | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && failed => ExitCode::FAILURE,
        printed => output::finish(printed),
    }
}

/// The place in `machines` of the machine with this name, MAC address or IP address.
fn machine_named(loaded: &Loaded, name: &str) -> Result<usize, String> {
    let machines = || loaded.config.dhcp.iter().flat_map(|settings| settings.machines.iter());
    let mac = name.parse::<MacAddr>().ok();
    let address = name.parse::<Ipv4Addr>().ok();
    let is_it = |machine: &Machine| {
        machine.name.eq_ignore_ascii_case(name)
            || mac.is_some_and(|mac| machine.macs.contains(&mac))
            || address.is_some_and(|address| machine.addresses.contains(&address))
    };
    machines().position(is_it).ok_or_else(|| {
        let near = suggestion(name, machines().map(|machine| &*machine.name)).unwrap_or_default();
        format!("no machine {name:?} in {}{near}", loaded.path.display())
    })
}

fn print(rehearsed: &Rehearsed, json: bool) -> io::Result<()> {
    let stdout = io::stdout();
    let colour = output::is_coloured(&stdout);
    let mut out = BufWriter::new(stdout.lock());
    let rows = &rehearsed.rows;
    if json {
        let views: Vec<View<'_>> = rows.iter().map(View::of).collect();
        serde_json::to_writer_pretty(&mut out, &views)?;
        writeln!(out)?;
    } else {
        if rows.is_empty() {
            writeln!(out, "nothing to rehearse: the configuration maps no boot file")?;
        } else {
            view::write(rows, colour, &mut out)?;
        }
        if rehearsed.left_out > 0 {
            let (s, boot) = if rehearsed.left_out == 1 { ("", "boots") } else { ("s", "boot") };
            writeln!(
                out,
                "\nleft out: {} machine{s} that {boot} like any machine; `lanboot rehearse NAME` shows one",
                rehearsed.left_out
            )?;
        }
    }
    out.flush()
}

/// One sentence for every client that would not boot. `check --rehearse` prints them.
pub(super) fn failures(loaded: &Loaded) -> Vec<String> {
    let rows = rehearse_all(&loaded.config, None).rows;
    let sentence = |row: &Row| match &row.rehearsal.ending {
        Ending::Fails(trouble) => {
            let client = format!("{} as {} {}", row.machine, row.client, row.arch);
            Some(format!(
                "{client} would not boot: {}: {}. To do: {}",
                trouble.code, trouble.why, trouble.advice
            ))
        }
        _ => None,
    };
    rows.iter().filter_map(sentence).collect()
}

/// The result of a rehearsal.
struct Rehearsed {
    rows: Vec<Row>,
    /// Number of machines that have no row, because they boot like any machine.
    left_out: usize,
}

/// Rehearses every client of every machine, in every mode that the configuration uses. Clients of a machine that boot
/// like any machine are left out. With `only`, all clients of that machine are rehearsed, and no others.
fn rehearse_all(config: &Config, only: Option<usize>) -> Rehearsed {
    let mut rehearsed = Rehearsed { rows: Vec::new(), left_out: 0 };
    let Some(settings) = &config.dhcp else { return rehearsed };
    let interfaces = Interfaces::of_this_computer(config);
    let mut seen: HashSet<String> = HashSet::new();
    for mode in [Mode::Server, Mode::Proxy].into_iter().filter(|mode| settings.modes.has(*mode)) {
        let places = places(settings, mode);
        let mut sites: HashMap<Option<usize>, Site> = HashMap::new();
        let mut site = |place: Option<usize>| {
            let made = || Site::new(config, settings, mode, place, &interfaces);
            sites.entry(place).or_insert_with(made).clone()
        };
        let mut any = Vec::new();
        for place in &places {
            let site = site(*place);
            let subnet = place.filter(|_| places.len() > 1).and_then(|place| settings.subnets.get(place));
            let subnet = subnet.map(|subnet| subnet.network.to_string());
            any.extend(of_machine(&site, settings, None, ANY, subnet.as_deref()));
        }
        let chosen = settings.machines.iter().enumerate().filter(|(i, _)| only.is_none_or(|only| only == *i));
        let chosen: Vec<&Machine> = chosen.map(|(_, machine)| machine).collect();
        // Machines whose entries differ in names and addresses alone boot the same, so one of them is rehearsed.
        let (groups, first) = groups::of(config, settings, &chosen);
        let examples: Vec<(&Machine, Site)> = first
            .into_iter()
            .map(|machine| {
                let place = place_of(settings, machine).or(places.first().copied().flatten());
                (machine, site(place))
            })
            .collect();
        let booted: Vec<Vec<Row>> = parallel::map(&examples, |(machine, site)| {
            let mut rows =
                of_machine(&site.with_machine(machine), settings, Some(machine), &machine.name, None);
            if only.is_none() {
                rows.retain(|row| !any.iter().any(|other| is_alike(other, row)));
            }
            rows
        });
        let of_example = chosen.iter().zip(groups).filter_map(|(machine, group)| {
            let rows = booted.get(group)?.iter();
            Some(rows.map(|row| Row { machine: machine.name.to_string(), ..row.clone() }))
        });
        let own: Vec<Row> = of_example.flatten().collect();
        if only.is_none() {
            rehearsed.rows.extend(any);
        }
        seen.extend(own.iter().map(|row| row.machine.clone()));
        rehearsed.rows.extend(own);
    }
    if only.is_none() {
        rehearsed.left_out = settings.machines.iter().count().saturating_sub(seen.len());
    }
    rehearsed
}

/// Whether two rows show the same client, loading the same files with the same end. Server addresses are not compared,
/// because they may be invented.
fn is_alike(one: &Row, other: &Row) -> bool {
    (one.client, one.arch) == (other.client, other.arch) && same(&one.rehearsal, &other.rehearsal)
}

/// Whether two boots load the same files and end the same.
fn same(one: &Rehearsal, other: &Rehearsal) -> bool {
    let is_same = |(one, other): (&Step, &Step)| {
        (one.who, one.is_ours, &one.file) == (other.who, other.is_ours, &other.file)
    };
    one.steps.len() == other.steps.len()
        && one.ending == other.ending
        && one.steps.iter().zip(&other.steps).all(is_same)
}

/// The subnets in which a machine without an entry gets an address. A proxy does not use subnets.
fn places(settings: &Settings, mode: Mode) -> Vec<Option<usize>> {
    match mode {
        Mode::Proxy => vec![None],
        Mode::Server => {
            let subnets = settings.subnets.iter().enumerate();
            subnets.filter(|(_, subnet)| !subnet.pools.is_empty()).map(|(place, _)| Some(place)).collect()
        }
    }
}

/// The subnet of a machine's reserved address.
fn place_of(settings: &Settings, machine: &Machine) -> Option<usize> {
    let address = *machine.addresses.first()?;
    settings.subnets.iter().position(|subnet| subnet.network.contains(address))
}

fn of_machine(
    site: &Site,
    settings: &Settings,
    machine: Option<&Machine>,
    name: &str,
    subnet: Option<&str>,
) -> Vec<Row> {
    let clients = clients::clients(settings, machine).into_iter();
    let rows = clients.filter_map(|asker| {
        Some(Row {
            machine: name.to_owned(),
            subnet: subnet.map(str::to_owned),
            client: asker.firmware.name(),
            arch: asker.arch,
            mode: site.mode,
            rehearsal: rehearse(site, &asker, machine.is_some())?,
        })
    });
    let mut rows: Vec<Row> = rows.collect();
    // Leave out each iPXE that boots like the first one. Leave out each one that fails too: the firmware of that
    // architecture gets the same file and fails as well.
    let ipxe = Firmware::Ipxe.name();
    let first = rows.iter().find(|row| row.client == ipxe).map(|row| (row.arch, row.rehearsal.clone()));
    rows.retain(|row| {
        let is_new = |(arch, first): &(Arch, Rehearsal)| {
            row.arch == *arch || !row.fails() && !same(first, &row.rehearsal)
        };
        row.client != ipxe || first.as_ref().is_none_or(is_new)
    });
    // One row says that the machine is ignored, whatever its firmware is.
    if machine.is_some() && rows.iter().all(|row| row.rehearsal.ending == Ending::Ignored) {
        rows.truncate(1);
    }
    // A machine with one file has the architecture that the file is for. Leave out the other architectures.
    let has_one_file = machine.is_some_and(|machine| matches!(machine.boot, Some(MachineBoot::File(_))));
    let starts = |row: &Row| {
        !row.does_not_start() && !row.rehearsal.steps.is_empty() && row.client != Firmware::Ipxe.name()
    };
    if has_one_file && rows.iter().any(starts) {
        rows.retain(|row| !row.does_not_start());
    }
    rows
}
