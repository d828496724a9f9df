//! `lanboot doctor`: looks for everything on this computer and its networks that would keep machines from booting, and prints
//! the command that fixes each finding. It changes nothing; of all commands that look, only this one sends a packet, a
//! DHCPDISCOVER.
//!
//! `gather.rs` and `servers.rs` gather facts. The other files judge them, and read nothing but the images folder.

mod boot_files;
mod computer;
mod facts;
mod finding;
mod firewall;
mod gather;
mod network;
mod servers;

use std::process::ExitCode;

use serde::Serialize;

use super::check::computer::firewall::drops;
use super::config_file::{Given, Loaded, load_file, load_or_exit_code};
use super::output;
use crate::server::web::control::control_path;
use facts::By;
use finding::{Finding, Severity};

/// The whole output as JSON.
#[derive(Serialize)]
struct Json<'r> {
    /// Whether there is no problem; there may be notes.
    ok: bool,
    findings: &'r [Finding],
    not_checked: &'r [String],
    /// Checks that the running server cannot make; absent in the output of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_looked_at: Option<Vec<NotLookedAt>>,
}

/// A check that the running server cannot make, because it is confined.
#[derive(Serialize)]
struct NotLookedAt {
    /// The kind of the check.
    id: &'static str,
    why: &'static str,
    /// The command that makes it.
    command: &'static str,
}

/// Runs the command. The exit code is 0 without problems, 1 with problems, and 2 for a wrong configuration.
pub fn run(given: Given<'_>, json: bool) -> ExitCode {
    let loaded = match load_or_exit_code(given) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let (findings, not_checked) = examine(&loaded, By::Command);
    let ok = is_ok(&findings);
    let code = match json {
        true => {
            let not_looked_at = None;
            let view = Json { ok, findings: &findings, not_checked: &not_checked, not_looked_at };
            output::print(&format!("{}\n", serde_json::to_string_pretty(&view).unwrap_or_default()))
        }
        false => output::print(&text(&findings, &not_checked)),
    };
    if ok { code } else { ExitCode::FAILURE }
}

/// Examines this computer for the API of the running server. The configuration is read again, so that findings are about the
/// lines of the file as it is now.
///
/// # Errors
/// The file cannot be read or has problems.
pub(super) fn examine_for_server(given: Given<'_>) -> Result<serde_json::Value, String> {
    let loaded = load_file(given).map_err(|error| error.to_string())?;
    let (findings, not_checked) = examine(&loaded, By::Server);
    let mut not_looked_at = vec![NotLookedAt {
        id: "firewall",
        why: "the running server may not read the rules of the firewall",
        command: "sudo lanboot doctor",
    }];
    if !gather::is_clock_set_by_timesyncd() {
        not_looked_at.push(NotLookedAt {
            id: "clock",
            why: "the running server starts no programs, which show whether a time server sets the clock",
            command: "timedatectl show --property=NTPSynchronized",
        });
    }
    let not_looked_at = Some(not_looked_at);
    let view = Json { ok: is_ok(&findings), findings: &findings, not_checked: &not_checked, not_looked_at };
    serde_json::to_value(view).map_err(|error| error.to_string())
}

fn is_ok(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Problem)
}

/// All findings, problems first, and the checks that were left out.
fn examine(loaded: &Loaded, by: By) -> (Vec<Finding>, Vec<String>) {
    let mut facts = gather::gather(loaded, by);
    let config = &loaded.config;
    let mut findings = network::judge(config, &facts);
    findings.extend(computer::judge(config, &facts));
    if by == By::Command {
        match drops(config) {
            Ok(drops) => findings.extend(firewall::judge(&drops)),
            Err(why) => facts.not_checked.push(format!("firewall: {why}")),
        }
    }
    let is_running = std::os::unix::net::UnixStream::connect(control_path(&config.state)).is_ok();
    findings.extend(boot_files::servers(loaded, &facts, is_running));
    findings.extend(boot_files::loaders(loaded));
    findings.sort_by_key(|finding| finding.severity);
    (findings, facts.not_checked)
}

fn text(findings: &[Finding], not_checked: &[String]) -> String {
    let mut text = String::new();
    for Finding { severity, what, why, fix, .. } in findings {
        let kind = if *severity == Severity::Problem { "problem" } else { "note" };
        text.push_str(&format!("{kind}: {what}\n  why: {why}\n  fix: {fix}\n"));
    }
    for reason in not_checked {
        text.push_str(&format!("not checked: {reason}\n"));
    }
    let problems = findings.iter().filter(|finding| finding.severity == Severity::Problem).count();
    let notes = findings.len() - problems;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    text.push_str(&match (problems, notes) {
        (0, 0) => "nothing found that would keep machines from booting\n".to_owned(),
        _ => format!("{}, {}\n", count(problems, "problem"), count(notes, "note")),
    });
    text
}

#[cfg(test)]
mod tests;
