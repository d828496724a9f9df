//! The results of the comparison with this computer.

/// The results, as lines for people.
#[derive(Debug, Default)]
pub(in crate::cli::check) struct Findings {
    /// Conditions under which the server does not start, or machines do not boot.
    pub(in crate::cli::check) problems: Vec<Finding>,
    pub(in crate::cli::check) notes: Vec<Finding>,
}

/// A result about one part of this computer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::check) struct Finding {
    /// `interfaces`, `addresses`, `ports`, `folders`, `database` or `firewall`.
    pub(in crate::cli::check) part: &'static str,
    pub(in crate::cli::check) message: String,
}

impl Findings {
    pub(super) fn problem(&mut self, part: &'static str, message: impl ToString) {
        self.problems.push(Finding { part, message: message.to_string() });
    }

    pub(super) fn note(&mut self, part: &'static str, message: impl ToString) {
        self.notes.push(Finding { part, message: message.to_string() });
    }
}
