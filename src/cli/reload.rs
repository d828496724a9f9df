//! `lanboot reload`: checks the configuration file, then makes the running server use it. `systemctl reload` runs it, and
//! SIGHUP makes the server do the same.

use std::io::{self, Write};
use std::process::ExitCode;

use super::ask_server::{self, Answer};
use super::config_file::{BAD_CONFIG, Given, LoadError, load_file};
use super::output;
use crate::server::web::control::control_path;

/// Runs the command. The exit code is 0 if the server uses the file now, 1 if it keeps the configuration that it has, and
/// 2 if the file cannot be read.
pub fn run(given: Given<'_>) -> ExitCode {
    let loaded = match load_file(given) {
        Ok(loaded) => loaded,
        Err(error @ LoadError::Unreadable(_)) => {
            output::print_error(format_args!("lanboot: {error}"));
            return ExitCode::from(BAD_CONFIG);
        }
        Err(error @ LoadError::Problems { .. }) => {
            output::print_error(error);
            return ExitCode::FAILURE;
        }
    };
    let state = &loaded.config.state;
    let why = match ask_server::post(state, "/reload") {
        Ok(Answer::Done(_)) => {
            // A closed pipe is not an error.
            let _ = writeln!(io::stdout(), "{}: the server uses it now", loaded.path.display());
            return ExitCode::SUCCESS;
        }
        Ok(Answer::Refused(problems)) => {
            format!("{problems}\nlanboot reload: the server keeps the configuration that it has")
        }
        Ok(Answer::NoServer) => format!(
            "lanboot reload: no server answers at {}; if `state` was changed, restart the server, or name the folder that \
             it uses with --state",
            control_path(state).display()
        ),
        Err(why) => format!("lanboot reload: {why}"),
    };
    output::print_error(why);
    ExitCode::FAILURE
}
