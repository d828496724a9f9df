//! The error that stops the server from starting.

use std::fmt;

/// The reason why the server could not start, for the administrator: what was attempted, on what, and what to do.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
