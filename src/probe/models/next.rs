//! The next file that a loader asks for.

use std::fmt;

use super::Protocol;
use crate::types::Escaped;

/// What a loader asks for next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// How.
    pub by: Protocol,
    /// From whom.
    pub server: String,
    /// The first file that it cannot do without.
    pub file: Vec<u8>,
    /// What it then wants, in this order; of a search for a configuration, the last name.
    pub then: Vec<Vec<u8>>,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.file.starts_with(b"/") { "" } else { "/" };
        write!(f, "{}://{}{slash}{}", self.by, self.server, Escaped(&self.file))
    }
}
