//! `lanboot completions`: prints the script that completes lanboot's command line in a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use super::output;

/// Prints the script for the command line `command` in this shell.
pub fn run(mut command: clap::Command, shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "lanboot", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
