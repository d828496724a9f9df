//! Reads `syslog:`, the port of the receiver.

use crate::config::syntax::reader::{Reader, is_off};
use crate::config::syntax::tree::{Data, Node};

/// The port of `on` (RFC 5426, RFC 6587).
const PORT: u16 = 514;

/// Reads `syslog:`. Returns `None` for `off`, and after a problem.
pub(in crate::config) fn syslog(reader: &mut Reader, node: Option<&Node>) -> Option<u16> {
    let node = node.filter(|node| !is_off(node))?;
    match &node.data {
        Data::Bool(true) => Some(PORT),
        Data::Text(text) if text == "on" => Some(PORT),
        Data::Int(_) => reader.number(node, 1..=u16::MAX),
        _ => {
            reader.expected(node, "off, on, or a port from 1 to 65535");
            None
        }
    }
}
