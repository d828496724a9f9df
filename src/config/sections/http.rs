//! Reads `http:`.

use crate::config::settings::Http;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Reader, is_off};
use crate::config::syntax::tree::{Data, Node};

/// Default number of simultaneous connections per client address: enough for a room full of machines behind one NAT.
const DEFAULT_MAX_PER_CLIENT: u32 = 1024;
/// Upper limit of `max_per_client`: the number of connections that the server accepts in total.
const PER_CLIENT_LIMIT: u32 = 8192;

/// Reads `http:`. Returns `None` for `off`, and after a problem.
pub(in crate::config) fn http(reader: &mut Reader, node: Option<&Node>) -> Option<Http> {
    let mut http =
        Http { port: 80, listen: Vec::new(), max_per_client: DEFAULT_MAX_PER_CLIENT, allow: Vec::new() };
    let Some(node) = node else { return Some(http) };
    if is_off(node) {
        return None;
    }
    if !matches!(node.data, Data::Map(_) | Data::Null) {
        reader.expected(node, "off, or a mapping");
        return None;
    }
    let fields = reader.fields(node, Section::Http);
    if let Some(port) = fields.get("port").and_then(|node| reader.number(node, 1..=u16::MAX)) {
        http.port = port;
    }
    if let Some(node) = fields.get("listen") {
        let listen = reader.parse_each(node, "an IPv4 address of this machine");
        http.listen = listen.into_iter().map(|at| at.value).collect();
    }
    if let Some(node) = fields.get("allow") {
        http.allow = reader.parse_each(node, "").into_iter().map(|at| at.value).collect();
    }
    if let Some(most) =
        fields.get("max_per_client").and_then(|node| reader.number(node, 1..=PER_CLIENT_LIMIT))
    {
        http.max_per_client = most;
    }
    Some(http)
}
