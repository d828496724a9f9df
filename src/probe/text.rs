//! Text for people made from bytes off the wire.

use crate::types::Escaped;

/// Bytes off the wire as text that cannot drive a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}
