//! A finding of `lanboot doctor`, and commands as a shell reads them.

use serde::Serialize;

/// The weight of a finding. Only problems make the command fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Machines do not boot because of it.
    Problem,
    /// Some machines may not boot because of it, or only under some conditions.
    Note,
}

/// Something that would keep machines from booting. The names in JSON are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The kind of the finding, in words joined by `_`.
    pub(super) id: &'static str,
    pub(super) severity: Severity,
    /// The fact that was found, with the names and numbers of this computer.
    pub(super) what: String,
    /// The effect on machines that boot.
    pub(super) why: &'static str,
    /// The shell command that fixes it. If a person must decide, it is the command that shows the choice.
    pub(super) fix: String,
}

impl Finding {
    pub(super) fn problem(id: &'static str, what: String, why: &'static str, fix: String) -> Finding {
        Finding { id, severity: Severity::Problem, what, why, fix }
    }

    pub(super) fn note(id: &'static str, what: String, why: &'static str, fix: String) -> Finding {
        Finding { id, severity: Severity::Note, what, why, fix }
    }
}

/// A word of a shell command: in single quotes unless it has only characters without a meaning for the shell.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_commands_are_quoted_where_the_shell_needs_it() {
        assert_eq!(word("br0.10"), "br0.10");
        assert_eq!(word("a b; rm -rf $HOME"), "'a b; rm -rf $HOME'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word(""), "''");
    }
}
