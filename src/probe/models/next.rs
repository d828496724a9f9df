//! The next file that a loader requests.

use std::fmt;

use crate::probe::models::verdict::Protocol;
use crate::types::Escaped;

/// The next request of a loader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    pub by: Protocol,
    pub server: String,
    /// The first file that the loader requires.
    pub file: Vec<u8>,
    /// The further files in order. A search for a configuration is represented by its last name.
    pub then: Vec<Vec<u8>>,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.file.starts_with(b"/") { "" } else { "/" };
        write!(f, "{}://{}{slash}{}", self.by, self.server, Escaped(&self.file))
    }
}
