//! Reads `host NAME { statement; … }` of `dhcpd.leases`: a machine that was added with OMAPI. It is no lease, so it is not
//! imported, but the command prints an entry of `machines` for it.

use std::net::Ipv4Addr;

use crate::lease::import::lexer::{Flaw, Kind, Token};
use crate::lease::import::values::{MAX_CLIENT_ID, colon_hex, mac_of, parse};
use crate::types::{HardwareAddr, MacAddr, to_hex};

/// A machine in a file of leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub mac: Option<MacAddr>,
    /// The client identifier, with its type byte.
    pub client_id: Option<Vec<u8>>,
    /// Its addresses, at most one in each subnet.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether the entry ends an earlier one of the same name.
    pub is_deleted: bool,
}

impl Host {
    /// Begins the block that is opened by `words` and a `{`.
    pub(super) fn begin(words: &[Token]) -> Host {
        let name = words.get(1).map(|word| String::from_utf8_lossy(&word.bytes).into_owned());
        Host { name: name.unwrap_or_default(), ..Host::default() }
    }

    /// Statements that cannot be read are skipped.
    pub(super) fn statement(&mut self, words: &[Token]) {
        let Some((name, values)) = words.split_first() else { return };
        match (name.bytes.as_slice(), values) {
            (b"hardware", [kind, address]) => {
                self.mac = hardware(kind, address).and_then(|(kind, bytes)| mac_of(kind, bytes.as_bytes()));
            }
            (b"uid", [id]) => self.client_id = client_id(id),
            (b"fixed-address", values) => {
                let one = |value: &Token| parse(value.bytes.strip_suffix(b",").unwrap_or(&value.bytes));
                self.addresses = values.iter().filter_map(one).collect();
            }
            (b"deleted", []) => self.is_deleted = true,
            _ => {}
        }
    }

    /// Whether the block says anything about a machine.
    pub(super) fn is_empty(&self) -> bool {
        self.mac.is_none() && self.client_id.is_none() && self.addresses.is_empty() && !self.is_deleted
    }

    /// The entry of `machines`, as YAML; `None` if nothing recognizes the machine.
    pub fn entry(&self) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let starts = self.name.starts_with(|c: char| c.is_ascii_alphabetic());
        let mut parts = Vec::new();
        if starts && self.name.chars().all(is_plain) {
            parts.push(format!("name: {}", self.name));
        }
        match (self.mac, &self.client_id) {
            (Some(mac), _) => parts.push(format!("mac: \"{mac}\"")),
            (None, Some(id)) => {
                parts.push(format!("id: \"hex:{}\"", to_hex(id)));
            }
            (None, None) => return None,
        }
        match self.addresses.as_slice() {
            [] => {}
            [address] => parts.push(format!("address: {address}")),
            all => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                parts.push(format!("address: [{}]", all.join(", ")));
            }
        }
        Some(format!("- {{{}}}", parts.join(", ")))
    }
}

/// Reads a client identifier. Returns `None` for an empty one.
pub(super) fn client_id(value: &Token) -> Option<Vec<u8>> {
    let bytes = match value.kind {
        Kind::Text => value.bytes.clone(),
        _ => colon_hex(&value.bytes, MAX_CLIENT_ID)?,
    };
    (value.flaw == Flaw::None && bytes.len() <= MAX_CLIENT_ID).then_some(bytes)
}

/// Reads the type of the hardware and its address.
pub(super) fn hardware(kind: &Token, address: &Token) -> Option<(u8, HardwareAddr)> {
    let kind = match kind.bytes.as_slice() {
        b"ethernet" => 1,
        b"token-ring" => 6,
        b"fddi" => 8,
        b"infiniband" => 32,
        other => parse(other.strip_prefix(b"unknown-")?)?,
    };
    Some((kind, HardwareAddr::new(&colon_hex(&address.bytes, 16)?)?))
}
