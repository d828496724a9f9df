//! `lanboot probe`: acts as a network-boot client of any DHCP server, and reports what happened. The client's decisions
//! are in `crate::probe`; this folder has its sockets and its output. It uses nothing of the server, so that it can test it.

mod arguments;
mod boot;
mod http;
mod plan;
mod report;
mod shared_wire;
mod source_address;
mod start_failure;
mod storm;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub use arguments::Arguments;
use boot::Outcome;
use plan::Plan;
use start_failure::StartFailure;
use wire::Wire;

use super::output;

/// Exit code for wrong arguments.
const WRONG_USAGE: u8 = 2;
/// Exit code for a probe that cannot start: the interface, a privilege or a port is missing.
const CANNOT_START: u8 = 3;

/// Runs the command. The exit code is 0 if every machine got its boot file, and 1 if one did not.
pub fn run(arguments: &Arguments) -> ExitCode {
    let refused = |refusal| {
        let (why, code) = match refusal {
            StartFailure::Usage(why) => (format!("{why}; see lanboot probe --help"), WRONG_USAGE),
            StartFailure::Start(why) => (why, CANNOT_START),
        };
        output::print_error(format_args!("lanboot probe: {why}"));
        ExitCode::from(code)
    };
    let plan = match arguments.plan() {
        Ok(plan) => plan,
        Err(refusal) => return refused(refusal),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(StartFailure::Start(format!("cannot start the runtime: {error}"))),
    };
    runtime.block_on(async {
        let wire = match Wire::open(&plan.destination, plan.ports) {
            Ok(wire) => Arc::new(wire),
            Err(why) => return refused(StartFailure::Start(why)),
        };
        let listening = tokio::spawn(Arc::clone(&wire).listen());
        let ran = tokio::select! {
            ran = probe(&plan, &wire) => ran,
            // Dropping the future makes each machine undo its changes to this computer.
            _ = tokio::signal::ctrl_c() => Err(io::Error::other("interrupted")),
        };
        listening.abort();
        match ran {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            // The reader closed the pipe, as in `lanboot probe | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                output::print_error(format_args!("lanboot probe: {error}"));
                ExitCode::FAILURE
            }
        }
    })
}

/// Boots all machines. Returns whether every one booted.
async fn probe(plan: &Plan, wire: &Arc<Wire>) -> io::Result<bool> {
    match plan.storm {
        Some(storm) => storm::run(plan, storm, wire).await,
        None => boot_in_turn(plan, wire).await,
    }
}

async fn boot_in_turn(plan: &Plan, wire: &Arc<Wire>) -> io::Result<bool> {
    let mut results = Vec::new();
    let mut all_booted = true;
    for (number, client) in plan.clients.iter().enumerate() {
        if !plan.json {
            if number > 0 {
                writeln!(io::stdout())?;
            }
            report::heading(client, &plan.destination, &mut io::stdout())?;
        }
        let mut lines = Vec::new();
        let mut shown = report::Steps::default();
        let mut report = |at: Duration, progress: &crate::probe::Progress| {
            if plan.json {
                lines.push(report::Line::new(at, progress));
            } else {
                // A closed output ends the probe at the next line that it writes itself. The current boot is
                // completed.
                let _ = shown.write(at, progress, &mut io::stdout());
            }
        };
        let outcome: Outcome = boot::boot(client, wire, &mut report).await?;
        all_booted &= outcome.booted();
        if plan.json {
            results.push(report::result(client, &outcome, lines));
        } else {
            report::verdict(client, &outcome, &mut io::stdout())?;
        }
    }
    if plan.json {
        report::json(&results, &mut io::stdout())?;
    }
    Ok(all_booted)
}
