//! Converts bytes from the wire into printable text.

use crate::types::Escaped;

/// Escapes bytes so that they cannot control a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}
