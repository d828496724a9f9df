//! The failure of a command about leases.

use std::io;

use crate::cli::output;
use crate::store::Findings;

/// The reason why a command failed.
pub(super) enum Failure {
    Message(String),
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// A failure with this message.
pub(super) fn failure(why: impl ToString) -> Failure {
    Failure::Message(why.to_string())
}

/// Reports losses on standard error. A missing database is not worth a message in a command.
pub(super) fn report_losses(findings: &Findings) {
    findings.losses.iter().for_each(|line| output::print_error(format_args!("lanboot leases: {line}")));
}
