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
use super::config_file::{Given, Loaded, load_or_exit_code};
use super::output;
use crate::server::web::control::control_path;
use finding::{Finding, Severity};

/// The whole output as JSON.
#[derive(Serialize)]
struct Json<'r> {
    /// Whether there is no problem; there may be notes.
    ok: bool,
    findings: &'r [Finding],
    not_checked: &'r [String],
}

/// Runs the command. The exit code is 0 without problems, 1 with problems, and 2 for a wrong configuration.
pub fn run(given: Given<'_>, json: bool) -> ExitCode {
    let loaded = match load_or_exit_code(given) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let (findings, not_checked) = examine(&loaded);
    let ok = findings.iter().all(|finding| finding.severity != Severity::Problem);
    let code = match json {
        true => {
            let view = Json { ok, findings: &findings, not_checked: &not_checked };
            output::print(&format!("{}\n", serde_json::to_string_pretty(&view).unwrap_or_default()))
        }
        false => output::print(&text(&findings, &not_checked)),
    };
    if ok { code } else { ExitCode::FAILURE }
}

/// All findings, problems first, and the checks that were left out.
fn examine(loaded: &Loaded) -> (Vec<Finding>, Vec<String>) {
    let mut facts = gather::gather(loaded);
    let config = &loaded.config;
    let mut findings = network::judge(config, &facts);
    findings.extend(computer::judge(config, &facts));
    match drops(config) {
        Ok(drops) => findings.extend(firewall::judge(&drops)),
        Err(why) => facts.not_checked.push(format!("firewall: {why}")),
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
