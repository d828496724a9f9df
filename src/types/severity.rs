//! The severity of a syslog message.

use std::fmt;

/// The severity of a syslog message (RFC 5424 section 6.2.1): 0 is the most severe, 7 the least. `Display` writes the name
/// that syslog.conf uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Severity(u8);

impl Severity {
    /// The severity of messages that state none (RFC 3164 section 4.3.3).
    pub const NOTICE: Severity = Severity(5);
    /// The least severe of the failures.
    pub const ERROR: Severity = Severity(3);

    /// The severity in a priority value, which also has the facility.
    pub fn of_priority(priority: u8) -> Severity {
        Severity(priority & 7)
    }

    /// The number of RFC 5424.
    pub fn number(self) -> u8 {
        self.0
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "emerg",
            1 => "alert",
            2 => "crit",
            3 => "err",
            4 => "warning",
            5 => "notice",
            6 => "info",
            _ => "debug",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
