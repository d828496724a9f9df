//! Writes the results of a probe: a line for each step and then the verdict, or the same as JSON.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use super::boot::{BootFailure, Client, Outcome};
use super::wire::Destination;
use crate::probe::{Offer, Progress};
use crate::types::to_hex;
use crate::wire::option::{self, Printed, code};

/// Options that are not shown, because the line of the step contains them already or they do not help to find a
/// fault.
const OMITTED_OPTIONS: [u8; 7] = [
    code::MESSAGE_TYPE,
    code::SERVER_IDENTIFIER,
    code::BOOT_FILE_NAME,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::CLIENT_IDENTIFIER,
    code::MACHINE_IDENTIFIER,
];

/// Writes the kind of machine and the interface or server.
pub(super) fn heading(client: &Client, destination: &Destination, out: &mut impl Write) -> io::Result<()> {
    let arch = client.profile.arch.map_or_else(String::new, |arch| format!(" ({arch})"));
    let place = match destination {
        Destination::Interface(interface) => format!("on {}", interface.name),
        Destination::Server(server) => format!("asking {server}"),
    };
    writeln!(out, "{}{arch}, {}, {place}", client.profile.name, client.mac)
}

/// Writes the steps of a boot.
#[derive(Default)]
pub(super) struct Steps {
    /// Options that were already shown. An ACK usually repeats those of the OFFER.
    shown: Vec<Vec<String>>,
}

impl Steps {
    /// Writes a step, and under it the options of an offer if they are new. The failure is left to the verdict.
    pub(super) fn write(
        &mut self,
        at: Duration,
        progress: &Progress,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if matches!(progress, Progress::Failed(_)) {
            return Ok(());
        }
        writeln!(out, "{:>9.3} s  {progress}", at.as_secs_f64())?;
        let (Progress::Offered(offer)
        | Progress::Acknowledged(offer)
        | Progress::BootpReplied(offer)
        | Progress::BootServerAnswered(offer)) = progress
        else {
            return Ok(());
        };
        let options = options(offer);
        if options.is_empty() || self.shown.contains(&options) {
            return Ok(());
        }
        writeln!(out, "{:13}{}", "", options.join(", "))?;
        self.shown.push(options);
        Ok(())
    }
}

/// The options of an offer that are worth showing, with their names, as text.
fn options(offer: &Offer) -> Vec<String> {
    let shown = offer.options.iter().filter(|(code, _)| !OMITTED_OPTIONS.contains(code));
    shown.map(|(code, value)| format!("{} {}", name(code), Printed(code, value))).collect()
}

fn name(code: u8) -> String {
    option::by_code(code).map_or_else(|| format!("option {code}"), |row| row.name.to_owned())
}

/// Writes the result: the file, or the failed step, the reason, and the text on the machine's screen.
pub(super) fn verdict(client: &Client, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let rogues = servers(outcome);
    if let [first, second, ..] = rogues[..] {
        writeln!(
            out,
            "warning: {} DHCP servers give addresses here, {first} and {second}: which one a machine takes is chance",
            rogues.len()
        )?;
    }
    match (&outcome.failure, outcome.digest) {
        (Some(failure), _) => {
            writeln!(out, "failed at {}: {}", failure.step(), failure.why())?;
            match on_screen(client, failure) {
                Some(text) => writeln!(out, "on the machine's screen: {text}"),
                None => Ok(()),
            }
        }
        (None, Some(digest)) => {
            let (file, server) = outcome.file.clone().unwrap_or_default();
            let from = server.map_or_else(String::new, |server| format!(" from {server}"));
            let took = outcome.took.as_secs_f64();
            writeln!(out, "booted: {file}{from}, {} bytes in {took:.3} s", outcome.bytes)?;
            writeln!(out, "SHA-256 {}", to_hex(&digest))
        }
        (None, None) => writeln!(out, "failed: its boot did not end"),
    }
}

/// The servers that offered an address, without duplicates.
fn servers(outcome: &Outcome) -> Vec<Ipv4Addr> {
    let mut servers: Vec<Ipv4Addr> =
        outcome.offers.iter().filter(|offer| !offer.is_proxy()).map(|offer| offer.server).collect();
    servers.sort();
    servers.dedup();
    servers
}

fn on_screen(client: &Client, failure: &BootFailure) -> Option<&'static str> {
    match failure {
        BootFailure::Network(failure) => failure.on_screen(client.profile.firmware),
        BootFailure::Local(..) => None,
    }
}

impl BootFailure {
    /// The step that failed.
    pub(super) fn step(&self) -> &'static str {
        match self {
            BootFailure::Network(failure) => failure.step(),
            BootFailure::Local(step, _) => step,
        }
    }

    /// The reason, as text.
    pub(super) fn why(&self) -> String {
        match self {
            BootFailure::Network(failure) => failure.to_string(),
            BootFailure::Local(_, why) => why.clone(),
        }
    }
}

/// A step, for JSON.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    seconds: f64,
    text: String,
}

impl Line {
    pub(super) fn new(at: Duration, progress: &Progress) -> Line {
        Line { seconds: at.as_secs_f64(), text: progress.to_string() }
    }
}

/// A boot, for JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    firmware: &'static str,
    arch: Option<String>,
    mac: String,
    booted: bool,
    address: Option<Ipv4Addr>,
    dhcp_server: Option<Ipv4Addr>,
    file: Option<String>,
    file_server: Option<Ipv4Addr>,
    bytes: u64,
    sha256: Option<String>,
    seconds: f64,
    failed_step: Option<&'static str>,
    error: Option<String>,
    on_screen: Option<&'static str>,
    offers: Vec<OfferView>,
    steps: Vec<Line>,
}

/// An offer, for JSON.
#[derive(Debug, Serialize)]
struct OfferView {
    server: Ipv4Addr,
    /// `null` for an offer of a proxy.
    address: Option<Ipv4Addr>,
    next_server: Ipv4Addr,
    file: String,
    options: Vec<Value>,
}

/// An option, for JSON.
#[derive(Debug, Serialize)]
struct Value {
    code: u8,
    name: Option<&'static str>,
    value: String,
}

/// The result of a boot, for JSON.
pub(super) fn result(client: &Client, outcome: &Outcome, steps: Vec<Line>) -> Report {
    let (file, file_server) =
        outcome.file.clone().map_or((None, None), |(file, server)| (Some(file), server));
    Report {
        firmware: client.profile.name,
        arch: client.profile.arch.map(|arch| arch.to_string()),
        mac: client.mac.to_string(),
        booted: outcome.booted(),
        address: outcome.lease.map(|(address, _)| address),
        dhcp_server: outcome.lease.map(|(_, server)| server),
        file,
        file_server,
        bytes: outcome.bytes,
        sha256: outcome.digest.map(|digest| to_hex(&digest)),
        seconds: outcome.took.as_secs_f64(),
        failed_step: outcome.failure.as_ref().map(BootFailure::step),
        error: outcome.failure.as_ref().map(BootFailure::why),
        on_screen: outcome.failure.as_ref().and_then(|failure| on_screen(client, failure)),
        offers: outcome.offers.iter().map(offered).collect(),
        steps,
    }
}

fn offered(offer: &Offer) -> OfferView {
    OfferView {
        server: offer.server,
        address: (!offer.is_proxy()).then_some(offer.address),
        next_server: offer.next_server,
        file: crate::types::Escaped(&offer.file).to_string(),
        options: offer
            .options
            .iter()
            .map(|(code, value)| Value {
                code,
                name: option::by_code(code).map(|row| row.name),
                value: Printed(code, value).to_string(),
            })
            .collect(),
    }
}

/// Writes a value as JSON and a line end.
pub(super) fn json(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
