//! Prints to standard output and standard error, for every command. A reader that closes the pipe ends the output without
//! a message. Decides about colour.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Prints text to standard output, as it is.
pub fn print(text: &str) -> ExitCode {
    finish(io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()))
}

/// Prints a line to standard error. A failure to write has no better place to be reported.
pub fn print_error(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The exit code after output. A closed pipe, as in `lanboot leases | head`, is a success.
pub fn finish(written: io::Result<()>) -> ExitCode {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_error(format_args!("lanboot: cannot write the output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Whether output to `stream` is coloured: only on a terminal that knows colours, and never with `NO_COLOR`
/// (no-color.org: set and not empty).
pub fn is_coloured(stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}
