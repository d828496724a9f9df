//! `lanboot capture`: the packets of a machine's last boot as a pcap file.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hyper::Method;
use serde::Deserialize;

use super::ask_server::{Server, segment};
use super::config_file::Given;
use super::output;
use super::why::by_address;

/// The arguments of the command.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The machine's MAC address, its name in `machines`, or its IP address
    #[arg(value_name = "MAC|NAME|IP")]
    machine: String,
    /// Write to this file; `-` is standard output [default: standard output, unless that is a terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The part of a machine's details that this command reads.
#[derive(Deserialize)]
struct Details {
    boots: Vec<Boot>,
}

#[derive(Deserialize)]
struct Boot {
    id: String,
    started: String,
}

/// Runs the command. The exit code is 0 for success, and 1 if no packets are known, no server runs or the file cannot be
/// written.
pub fn run(given: Given<'_>, arguments: &Arguments) -> ExitCode {
    match capture(given, arguments) {
        Ok(code) | Err(code) => code,
    }
}

fn capture(given: Given<'_>, arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let server = Server::given(given, "capture")?;
    let file = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
    if file.is_none() && io::stdout().is_terminal() {
        return Err(server.fail("standard output is a terminal: write to a file with `-o FILE.pcap`"));
    }
    let machine = by_address(&server, &arguments.machine)?;
    let details: Details = server.read(&format!("/api/v1/machines/{}", segment(&machine)))?;
    let Some(boot) = details.boots.first() else {
        return Err(server.fail(&format!("no boot of {machine} is known: start it from the network first")));
    };
    let path = format!("/api/v1/boots/{}/pcap", segment(&boot.id));
    let packets = server.ask(Method::GET, &path, None)?;
    let Some(file) = file else {
        let written = io::stdout().lock().write_all(&packets).and_then(|()| io::stdout().flush());
        return Ok(output::finish(written));
    };
    let written = File::create(file).and_then(|mut open| open.write_all(&packets));
    let shown = file.display();
    written.map_err(|error| server.fail(&format!("cannot write {shown}: {error}")))?;
    output::print_error(format_args!(
        "wrote the packets of the boot of {} to {shown}: open it with `wireshark {shown}` or `tcpdump -nr {shown}`",
        boot.started
    ));
    Ok(ExitCode::SUCCESS)
}
