//! `lanboot status`: shows on one screen what the running server does.

use std::fmt::Write;
use std::process::ExitCode;

use serde::Deserialize;

use super::ask_server::Server;
use super::config_file::Given;
use super::machines::MachineView;
use super::output;
use super::table::{cell, safe, span, table};

/// The route that everything comes from.
const PATH: &str = "/api/v1/status";
/// Maximum number of lines for each list of machines, so that the output fits one screen.
const MAX_MACHINES: usize = 5;
/// Maximum number of lines for the reasons of dropped messages.
const MAX_REASONS: usize = 5;

/// The server's answer. A list that a server does not send is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    version: String,
    uptime_seconds: u64,
    interfaces: Vec<Interface>,
    tftp: Option<Service>,
    http: Option<Service>,
    subnets: Vec<Subnet>,
    dropped: Vec<Drop>,
    booting: Vec<MachineView>,
    failed: Vec<MachineView>,
    changes: Changes,
}

#[derive(Debug, Deserialize)]
struct Interface {
    name: String,
    addresses: Vec<String>,
    mode: String,
}

#[derive(Debug, Deserialize)]
struct Service {
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Subnet {
    network: String,
    size: u64,
    leased: u64,
    offered: u64,
    quarantined: u64,
    free: u64,
}

#[derive(Debug, Deserialize)]
struct Drop {
    reason: String,
    count: u64,
}

/// The changes that were made by a command or the API, and not in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Changes {
    once: Vec<Once>,
    pins: Vec<Pin>,
}

/// A target that a machine starts once.
#[derive(Debug, Deserialize)]
struct Once {
    mac: Option<String>,
    name: Option<String>,
    target: String,
}

/// An address that is reserved for a machine.
#[derive(Debug, Deserialize)]
struct Pin {
    mac: String,
    name: Option<String>,
    address: String,
}

/// Runs the command. The exit code is 0 for success, 1 if no server answers, and 2 if there is no configuration.
pub fn run(given: Given<'_>, json: bool) -> ExitCode {
    let server = match Server::given(given, "status") {
        Ok(server) => server,
        Err(code) => return code,
    };
    if json {
        return server.print_json(PATH);
    }
    match server.read::<Status>(PATH) {
        Ok(status) => output::print(&text(&status)),
        Err(code) => code,
    }
}

fn text(status: &Status) -> String {
    let mut text = format!("lanboot {} runs for {}", safe(&status.version), span(status.uptime_seconds));
    for (name, service) in [("TFTP", &status.tftp), ("HTTP", &status.http)] {
        match service {
            Some(service) => push(&mut text, format_args!(", {name} on port {}", service.port)),
            None => push(&mut text, format_args!(", {name} off")),
        }
    }
    text.push('\n');
    section(&mut text, &interfaces(&status.interfaces));
    section(&mut text, &subnets(&status.subnets));
    section(&mut text, &machines("booting now:", &status.booting));
    section(&mut text, &machines("last failures:", &status.failed));
    section(&mut text, &changes(&status.changes));
    section(&mut text, &dropped(&status.dropped));
    text
}

/// Appends formatted text; writing to a String does not fail.
fn push(text: &mut String, added: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(added);
}

/// Appends an empty line and these lines, unless there are none.
fn section(text: &mut String, lines: &[String]) {
    if !lines.is_empty() {
        push(text, format_args!("\n{}\n", lines.join("\n")));
    }
}

fn interfaces(interfaces: &[Interface]) -> Vec<String> {
    if interfaces.is_empty() {
        return vec!["no interface is served: none of `interfaces` is up and has an address".to_owned()];
    }
    let row = |interface: &Interface| {
        let addresses: Vec<String> = interface.addresses.iter().map(|address| safe(address)).collect();
        [safe(&interface.name), safe(&interface.mode), addresses.join(" ")]
    };
    table(["INTERFACE", "DHCP", "ADDRESSES"], &interfaces.iter().map(row).collect::<Vec<_>>())
}

fn subnets(subnets: &[Subnet]) -> Vec<String> {
    if subnets.is_empty() {
        return Vec::new();
    }
    let row = |subnet: &Subnet| {
        let Subnet { network, size, leased, offered, quarantined, free } = subnet;
        let counts = [size, leased, offered, quarantined, free].map(u64::to_string);
        let [size, leased, offered, quarantined, free] = counts;
        [safe(network), size, leased, offered, quarantined, free]
    };
    let titles = ["SUBNET", "POOL", "LEASED", "OFFERED", "QUARANTINED", "FREE"];
    table(titles, &subnets.iter().map(row).collect::<Vec<_>>())
}

fn machines(title: &str, machines: &[MachineView]) -> Vec<String> {
    if machines.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![title.to_owned()];
    for machine in machines.iter().take(MAX_MACHINES) {
        let name = machine.name.as_deref().or(machine.mac.as_deref());
        let stage = machine.stage.as_deref().map(|stage| format!(" at {}", safe(stage)));
        let verdict = machine.verdict.as_ref().map(|verdict| format!(": {}", verdict.line()));
        lines.push(format!("  {}{}{}", cell(name), stage.unwrap_or_default(), verdict.unwrap_or_default()));
    }
    rest(&mut lines, machines.len(), MAX_MACHINES, "`lanboot machines` lists them");
    lines
}

fn changes(changes: &Changes) -> Vec<String> {
    let once = changes.once.iter().map(|once| {
        let machine = cell(once.name.as_deref().or(once.mac.as_deref()));
        format!("  {machine} starts {} at its next boot", safe(&once.target))
    });
    let pins = changes.pins.iter().map(|pin| {
        format!("  {} is reserved for {}", safe(&pin.address), safe(pin.name.as_deref().unwrap_or(&pin.mac)))
    });
    let count = changes.once.len() + changes.pins.len();
    if count == 0 {
        return Vec::new();
    }
    let mut lines = vec!["set by command or API, not in the configuration:".to_owned()];
    lines.extend(once.chain(pins).take(MAX_MACHINES));
    rest(&mut lines, count, MAX_MACHINES, "`lanboot status --json` lists them");
    lines
}

fn dropped(drops: &[Drop]) -> Vec<String> {
    let mut drops: Vec<&Drop> = drops.iter().filter(|drop| drop.count > 0).collect();
    if drops.is_empty() {
        return Vec::new();
    }
    drops.sort_by_key(|drop| std::cmp::Reverse(drop.count));
    let mut lines = vec!["dropped messages since the start, by reason:".to_owned()];
    lines.extend(
        drops.iter().take(MAX_REASONS).map(|drop| format!("  {:>9} {}", drop.count, safe(&drop.reason))),
    );
    rest(&mut lines, drops.len(), MAX_REASONS, "`lanboot status --json` lists them");
    lines
}

/// Adds a line for entries that are left out.
fn rest(lines: &mut Vec<String>, count: usize, shown: usize, advice: &str) {
    if let Some(more) = count.checked_sub(shown).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more: {advice}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(json: &str) -> String {
        text(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn everything_fits_one_screen() {
        let failed: Vec<String> =
            (0..9).map(|n| format!("{{\"name\": \"node{n}\", \"stage\": \"loader\"}}")).collect();
        let shown = show(&format!(
            r#"{{"version": "0.1.0", "uptime_seconds": 3661, "later": 1,
                "interfaces": [{{"name": "eth1", "addresses": ["192.168.177.101", "10.0.0.1"], "mode": "server"}}],
                "tftp": {{"port": 69, "listen": []}}, "http": null,
                "subnets": [{{"network": "192.168.177.0/24", "size": 151, "leased": 12, "offered": 0,
                              "quarantined": 1, "free": 138}}],
                "dropped": [{{"reason": "ignored", "count": 0}}, {{"reason": "malformed", "count": 7}}],
                "failed": [{}],
                "changes": {{"once": [{{"mac": null, "name": "n1", "target": "debian"}}],
                             "pins": [{{"mac": "52:54:00:12:34:56", "address": "192.168.177.9"}}]}}}}"#,
            failed.join(",")
        ));
        assert_eq!(
            shown,
            "\
lanboot 0.1.0 runs for 1h 1m, TFTP on port 69, HTTP off

INTERFACE  DHCP    ADDRESSES
eth1       server  192.168.177.101 10.0.0.1

SUBNET            POOL  LEASED  OFFERED  QUARANTINED  FREE
192.168.177.0/24  151   12      0        1            138

last failures:
  node0 at loader
  node1 at loader
  node2 at loader
  node3 at loader
  node4 at loader
  and 4 more: `lanboot machines` lists them

set by command or API, not in the configuration:
  n1 starts debian at its next boot
  192.168.177.9 is reserved for 52:54:00:12:34:56

dropped messages since the start, by reason:
          7 malformed
"
        );
        assert!(shown.lines().all(|line| line.len() <= 80) && shown.lines().count() < 24, "{shown}");
    }

    #[test]
    fn a_server_without_interfaces_says_so() {
        assert!(show("{}").contains("no interface is served"));
    }
}
