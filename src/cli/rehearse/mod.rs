//! `lanboot rehearse`: predicts the boot of every machine of the configuration. Models of each firmware read the
//! replies that lanboot would send. `check --rehearse` uses it too. It sends no packet and starts no program.

mod chain;
mod clients;
mod route;
mod row;
mod site;
mod view;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use chain::{Ending, Rehearsal, rehearse};
use row::Row;
use site::{Interfaces, Site};
use view::View;

use super::config_file::{LoadError, Loaded, load_file};
use crate::boot::machine_boot::MachineBoot;
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::dhcp::machines::Machine;
use crate::dhcp::settings::Settings;
use crate::probe::models::Firmware;
use crate::types::Arch;

/// The name of a machine without an entry.
const ANY: &str = "any machine";

/// Rehearses the configuration and prints the result. The exit code is 0 if every client boots, 1 if one does not, and
/// 2 if the configuration cannot be read or has problems.
pub fn run(config: Option<&Path>, json: bool) -> ExitCode {
    let loaded = match load_file(config) {
        Ok(loaded) => loaded,
        Err(LoadError::Unreadable(message)) => {
            eprintln!("lanboot: {message}");
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let rows = rows(&loaded.config);
    let failed = rows.iter().any(Row::fails);
    match print(&rows, json) {
        Ok(()) if failed => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe, as in `lanboot rehearse | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lanboot: cannot print the rehearsal: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(rows: &[Row], json: bool) -> io::Result<()> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal();
    let mut out = BufWriter::new(stdout.lock());
    if json {
        let views: Vec<View<'_>> = rows.iter().map(View::of).collect();
        serde_json::to_writer_pretty(&mut out, &views)?;
        writeln!(out)?;
    } else if rows.is_empty() {
        writeln!(out, "nothing to rehearse: the configuration maps no boot file")?;
    } else {
        view::write(rows, colour, &mut out)?;
    }
    out.flush()
}

/// One sentence for every client that would not boot. `check --rehearse` prints them.
pub(super) fn failures(loaded: &Loaded) -> Vec<String> {
    let rows = rows(&loaded.config);
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

/// Rehearses every client of every machine, in every mode that the configuration uses. Clients of a machine that boot
/// like any machine are left out.
fn rows(config: &Config) -> Vec<Row> {
    let Some(settings) = &config.dhcp else { return Vec::new() };
    let interfaces = Interfaces::of_this_computer(config);
    let mut rows = Vec::new();
    for mode in [Mode::Server, Mode::Proxy].into_iter().filter(|mode| settings.modes.has(*mode)) {
        let places = places(settings, mode);
        for place in &places {
            let site = Site::new(config, settings, mode, *place, &interfaces);
            let subnet = place.filter(|_| places.len() > 1).and_then(|place| settings.subnets.get(place));
            let subnet = subnet.map(|subnet| subnet.network.to_string());
            rows.extend(of_machine(&site, settings, None, ANY, subnet.as_deref()));
        }
        let any: Vec<(&str, Arch, Rehearsal)> = rows
            .iter()
            .filter(|row| row.mode == mode)
            .map(|row| (row.client, row.arch, row.rehearsal.clone()))
            .collect();
        let mut own = Vec::new();
        // The models send neither a client id of their own nor option 82.
        for machine in settings.machines.iter().filter(|m| !m.macs.is_empty() || m.uuid.is_some()) {
            let site = Site::new(
                config,
                settings,
                mode,
                place_of(settings, machine).or(places.first().copied().flatten()),
                &interfaces,
            );
            own.extend(of_machine(&site, settings, Some(machine), &machine.name, None));
        }
        own.retain(|row| {
            !any.iter().any(|(client, arch, rehearsal)| {
                (*client, *arch) == (row.client, row.arch) && same(rehearsal, &row.rehearsal)
            })
        });
        rows.extend(own);
    }
    rows
}

/// Whether two boots load the same files and end the same. Server addresses are not compared, because they may be
/// invented.
fn same(one: &Rehearsal, other: &Rehearsal) -> bool {
    let loads = |rehearsal: &Rehearsal| {
        let steps = rehearsal.steps.iter();
        steps.map(|step| (step.who, step.is_ours, step.file.clone())).collect::<Vec<_>>()
    };
    one.ending == other.ending && loads(one) == loads(other)
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
