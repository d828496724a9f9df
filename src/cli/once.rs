//! `lanboot once`: makes a machine start a target at its next boot only. The server stores it in its state folder, and
//! never edits the configuration.

use std::process::ExitCode;

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::ask_server::{Server, segment};
use super::config_file::Given;
use super::output;

/// The arguments of the command.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The machine's MAC address, or its name in `machines`
    #[arg(value_name = "MAC|NAME")]
    machine: String,
    /// The target to start, from `targets` of the configuration
    #[arg(required_unless_present = "clear", conflicts_with = "clear")]
    target: Option<String>,
    /// Forget what was set: the machine boots as usual
    #[arg(long)]
    clear: bool,
}

/// Runs the command. The exit code is 0 for success, 1 if the server refuses or none runs, and 2 for wrong usage.
pub fn run(given: Given<'_>, arguments: &Arguments) -> ExitCode {
    let server = match Server::given(given, "once") {
        Ok(server) => server,
        Err(code) => return code,
    };
    let machine = &arguments.machine;
    let path = format!("/api/v1/machines/{}/once", segment(machine));
    let asked = match &arguments.target {
        Some(target) => server.ask(Method::PUT, &path, Some(&json!({ "target": target }))),
        None => server.ask(Method::DELETE, &path, None),
    };
    let answer: serde_json::Value = match asked {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(code) => return code,
    };
    output::print(&match &arguments.target {
        Some(target) => format!("{machine} starts {target} at its next boot\n"),
        None if answer["cleared"] == false => format!("{machine} boots as usual; nothing was set\n"),
        None => format!("{machine} boots as usual\n"),
    })
}
