//! `lanboot leases import`: imports the leases of another server, once, before lanboot replaces it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::{Failure, failure, report_losses};
use super::view::View;
use crate::cli::output;
use crate::config::Config;
use crate::lease::Lease;
use crate::lease::import::{Format, Found, Host, Import, Problem, Reader, Reservations, Skipped};
use crate::net::served;
use crate::store::{clock, open};
use crate::types::Escaped;

/// Number of bytes per read.
const CHUNK_SIZE: usize = 64 * 1024;
/// Maximum number of problems that are shown. A file of a wrong format has one on every line.
const MAX_SHOWN: usize = 100;

/// Maximum number of host blocks that are kept.
const MAX_HOSTS: usize = 100_000;

/// Arguments of `leases import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Server that wrote the file [default: recognised by its content]
    #[arg(long, value_name = "SERVER")]
    from: Option<Server>,
    /// dhcpd.leases of ISC dhcpd, or dnsmasq.leases of dnsmasq
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Server {
    /// ISC dhcpd
    Isc,
    /// dnsmasq
    Dnsmasq,
}

/// Result of an import, for JSON. The names are stable.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    /// isc or dnsmasq.
    format: &'static str,
    /// The imported leases, which are now in the store.
    imported: Vec<View>,
    /// Number of entries that were not imported, by reason.
    not_taken: BTreeMap<&'static str, u64>,
    /// Entries of `machines` for the host blocks, as YAML.
    machines: Vec<String>,
    /// Number of entries that could not be read.
    broken: u64,
    /// The first of those, with their positions.
    problems: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    line: u64,
    column: u64,
    message: String,
}

/// The imported leases, and the number of entries that were not imported, by reason.
struct Imported {
    leases: Vec<Lease>,
    not_taken: BTreeMap<Skipped, u64>,
    /// Machines with reservations, which belong into the configuration.
    hosts: Vec<Host>,
}

/// Number of unreadable entries, and the first of them.
#[derive(Default)]
struct Problems {
    count: u64,
    first: Vec<Problem>,
}

pub(super) fn import(config: &Config, arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let settings = config.dhcp.as_ref().filter(|settings| !settings.subnets.is_empty()).ok_or_else(|| {
        failure("the configuration has no subnets, so no client can have a lease: see `dhcp.subnets`")
    })?;
    let path = &arguments.file;
    let fail = |error: io::Error| failure(format!("cannot read {}: {error}", path.display()));
    let mut file = File::open(path).map_err(fail)?;
    let mut chunk = vec![0; CHUNK_SIZE];
    // Read first: if there is nothing to import, no store should be created.
    let mut length = file.read(&mut chunk).map_err(fail)?;
    let format = arguments.from.map_or_else(|| Format::of(&chunk[..length]), Format::from);

    let mut opened = open::open(&config.state, report_losses).map_err(failure)?;
    let (served, _) = served::find(config).map_err(failure)?;
    let book = open::fill_book(settings, std::mem::take(&mut opened.leases), &served.own).book;
    let reservations: Reservations = settings
        .machines
        .iter()
        .flat_map(|machine| {
            let none = machine.macs.is_empty().then_some(None);
            let macs: Vec<_> = machine.macs.iter().copied().map(Some).chain(none).collect();
            let of_address = move |address: &Ipv4Addr| {
                let address = *address;
                macs.clone().into_iter().map(move |mac| (address, mac))
            };
            machine.addresses.iter().flat_map(of_address)
        })
        .collect();
    let mut intake = Import::new(&book, &reservations, opened.clock.now());
    let mut problems = Problems::default();
    let mut entries = 0_u64;
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut take = |found: Found| {
        entries += 1;
        match &found {
            Found::Broken(problem, _) => problems.add(problem),
            // A later block of the same name counts.
            Found::Host(host) if host.is_deleted => _ = hosts.remove(&host.name),
            Found::Host(host) if hosts.len() < MAX_HOSTS => _ = hosts.insert(host.name.clone(), host.clone()),
            _ => {}
        }
        intake.add(found);
    };
    let mut reader = Reader::new(format);
    while length > 0 {
        reader.read(&chunk[..length], &mut take);
        length = file.read(&mut chunk).map_err(fail)?;
    }
    reader.end(&mut take);
    if entries == 0 {
        return Err(failure(format!(
            "there is no lease in {}, which was read as a {}: is it another file, or of another server?",
            path.display(),
            format.file_name()
        )));
    }
    let (taken, not_taken) = intake.finish();
    let hosts = hosts.into_values().collect();
    let imported = Imported { leases: taken, not_taken, hosts };
    opened.store.commit(&imported.leases).map_err(failure)?;
    drop(opened);
    if json {
        write_json(config, path, format, &imported, &problems)?;
    } else {
        write_text(path, &imported)?;
    }
    problems.report(path)
}

impl From<Server> for Format {
    fn from(server: Server) -> Format {
        match server {
            Server::Isc => Format::Isc,
            Server::Dnsmasq => Format::Dnsmasq,
        }
    }
}

impl Problems {
    fn add(&mut self, problem: &Problem) {
        self.count += 1;
        if self.first.len() < MAX_SHOWN {
            self.first.push(problem.clone());
        }
    }

    /// Prints the problems, and fails if there are any.
    fn report(&self, path: &Path) -> Result<(), Failure> {
        for problem in &self.first {
            output::print_error(format_args!("{}:{problem}", path.display()));
        }
        if self.count == 0 {
            return Ok(());
        }
        let (entries, are) = if self.count == 1 { ("entry", "is") } else { ("entries", "are") };
        let count = self.count;
        let more = match self.count > MAX_SHOWN as u64 {
            true => format!(" (the first {MAX_SHOWN} are shown)"),
            false => String::new(),
        };
        Err(failure(format!(
            "{count} {entries} of {} {are} left out, because of the problems above{more}; all others were read",
            path.display()
        )))
    }
}

fn write_text(path: &Path, imported: &Imported) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let count = imported.leases.len();
    let s = if count == 1 { "" } else { "s" };
    writeln!(out, "imported {count} lease{s} from {}", path.display())?;
    for (why, count) in &imported.not_taken {
        writeln!(out, "not taken: {count} {}", why.description())?;
    }
    if !imported.hosts.is_empty() {
        let (count, s) = (imported.hosts.len(), if imported.hosts.len() == 1 { "" } else { "s" });
        writeln!(
            out,
            "not taken: {count} host block{s}; these entries of config.yaml do the same:\nmachines:"
        )?;
        for host in &imported.hosts {
            match host.entry() {
                Some(entry) => writeln!(out, "  {entry}")?,
                None => {
                    writeln!(out, "  # {} has neither `hardware` nor `uid`", Escaped(host.name.as_bytes()))?;
                }
            }
        }
    }
    out.flush()
}

fn write_json(
    config: &Config,
    path: &Path,
    format: Format,
    imported: &Imported,
    problems: &Problems,
) -> io::Result<()> {
    let now = clock::wall();
    let problem_view = |problem: &Problem| ProblemView {
        line: problem.place.line,
        column: problem.place.column,
        message: problem.message.clone(),
    };
    let report = Report {
        file: path,
        format: match format {
            Format::Isc => "isc",
            Format::Dnsmasq => "dnsmasq",
        },
        imported: imported.leases.iter().map(|lease| View::of(lease, config, now)).collect(),
        not_taken: imported.not_taken.iter().map(|(why, count)| (why.name(), *count)).collect(),
        machines: imported.hosts.iter().filter_map(Host::entry).collect(),
        broken: problems.count,
        problems: problems.first.iter().map(problem_view).collect(),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, &report)?;
    writeln!(out)?;
    out.flush()
}
