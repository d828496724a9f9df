//! `lanboot token`: prints the token for changes through the web listener, after creating or replacing it.

use std::process::ExitCode;

use super::config_file::{BAD_CONFIG, Given, state_folder};
use super::output;
use crate::api::token;

/// Runs the command. The exit code is 0 for success, 1 if the token cannot be read or stored, and 2 if there is no
/// configuration.
pub fn run(given: Given<'_>, rotate: bool) -> ExitCode {
    let state = match state_folder(given) {
        Ok(state) => state,
        Err(error) => {
            output::print_error(format_args!("lanboot: {error}"));
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let token = if rotate { token::rotate(&state) } else { token::read_or_create(&state) };
    match token {
        Ok(token) => output::print(&format!("{}\n", token.as_str())),
        Err(error) => {
            output::print_error(format_args!("lanboot token: {error}"));
            ExitCode::FAILURE
        }
    }
}
