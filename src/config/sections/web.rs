//! Reads `web:`, the listener of the API and the dashboard.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::settings::{Tls, Web};
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Reader, is_off, one_or_more, size};
use crate::config::syntax::tree::{Data, Node};

/// The port of `listen` if that is left out.
const DEFAULT_PORT: u16 = 8067;
/// Maximum number of addresses, because each one is a socket.
const MAX_LISTEN: usize = 16;
/// Default maximum size of an uploaded image in bytes.
const DEFAULT_MAX_UPLOAD: u64 = 16 << 30;

/// Reads `web:`. Returns the default if the section is missing, and `None` for `off`.
pub(in crate::config) fn web(reader: &mut Reader, node: Option<&Node>) -> Option<Web> {
    let mut web = Web {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))],
        is_listen_given: false,
        tls: None,
        insecure: false,
        allow: Vec::new(),
        names: Vec::new(),
        uploads: false,
        max_upload: DEFAULT_MAX_UPLOAD,
    };
    let Some(node) = node else { return Some(web) };
    if is_off(node) {
        return None;
    }
    if !matches!(node.data, Data::Map(_) | Data::Null) {
        reader.expected(node, "off, or a mapping");
        return None;
    }
    let fields = reader.fields(node, Section::Web);
    web.tls = fields.get("tls").and_then(|node| tls(reader, node));
    if let Some(insecure) = fields.get("insecure").and_then(|node| reader.bool(node)) {
        web.insecure = insecure;
    }
    if let Some(node) = fields.get("allow") {
        web.allow = reader.parse_each(node, "").into_iter().map(|at| at.value).collect();
    }
    if let Some(node) = fields.get("names") {
        web.names = names(reader, node);
    }
    if let Some(uploads) = fields.get("uploads").and_then(|node| reader.bool(node)) {
        web.uploads = uploads;
    }
    if let Some(node) = fields.get("max_upload") {
        match size(node).and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
            Some(bytes) => web.max_upload = bytes,
            None => reader.expected(node, "a size like 4GiB"),
        }
    }
    if let Some(node) = fields.get("listen") {
        web.is_listen_given = true;
        let needs_tls = fields.get("tls").is_none() && !web.insecure;
        web.listen = listen(reader, node, needs_tls);
    }
    Some(web)
}

/// Reads addresses with ports. `needs_tls`: only addresses of loopback are allowed.
fn listen(reader: &mut Reader, node: &Node, needs_tls: bool) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for at in reader.parse_each::<SocketAddr>(node, "an address with a port like 127.0.0.1:8067") {
        let address = at.value;
        if address.port() == 0 {
            reader.problem(at.id, "expected a port from 1 to 65535, found 0");
        } else if addresses.contains(&address) {
            reader.problem(at.id, format!("{address} is given twice"));
        } else if needs_tls && !address.ip().to_canonical().is_loopback() {
            let message = format!(
                "other computers reach {address}, so it needs a certificate: set `web.tls` to {{cert: FILE, key: FILE}}, \
                 or `web.insecure: true` where the network itself is protected"
            );
            reader.problem(at.id, message);
        }
        addresses.push(address);
    }
    let count = one_or_more(node).len();
    if count == 0 {
        reader.problem(node.id, "expected at least one address; `web: off` turns the listener off");
    } else if count > MAX_LISTEN {
        reader.problem(node.id, format!("expected at most {MAX_LISTEN} addresses, found {count}"));
    }
    addresses
}

fn tls(reader: &mut Reader, node: &Node) -> Option<Tls> {
    let fields = reader.fields(node, Section::WebTls);
    let mut file = |key: &str| match fields.get(key) {
        Some(node) => reader.text(node, "the path of a PEM file").map(PathBuf::from),
        None => {
            reader.problem(node.id, format!("`{key}` must be given: the path of a PEM file"));
            None
        }
    };
    let (cert, key) = (file("cert"), file("key"));
    Some(Tls { cert: cert?, key: key? })
}

/// Reads host names, without ports.
fn names(reader: &mut Reader, node: &Node) -> Vec<String> {
    const WHAT: &str = "a host name like boot.example.org";
    let mut names = Vec::new();
    for item in one_or_more(node) {
        let Some(name) = reader.text(item, WHAT) else { continue };
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if is_name {
            names.push(name.to_ascii_lowercase());
        } else {
            reader.expected(item, WHAT);
        }
    }
    names
}
