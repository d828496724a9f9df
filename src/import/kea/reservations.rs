//! Kea's `reservations`.

use std::net::Ipv4Addr;

use super::json::Node;
use super::{Importer, comments, keys};
use crate::import::site::{Identifier, Machine};
use crate::import::standard::hex;

const KEYS: &[&str] = &[
    "hw-address",
    "client-id",
    "circuit-id",
    "duid",
    "flex-id",
    "ip-address",
    "hostname",
    "option-data",
    "client-classes",
    "next-server",
    "server-hostname",
    "boot-file-name",
];
const HOST_NAME: u8 = 12;

impl Importer {
    /// Reads a list of reservations.
    pub(super) fn reservations(&mut self, node: &Node) {
        for item in node.items() {
            keys::check(item, KEYS, &mut self.problems);
            match self.identifier(item) {
                Ok(identifier) => self.machine(item, identifier),
                Err(why) => self.problems.add(item.place, format!("a reservation is not taken: {why}")),
            }
        }
    }

    fn identifier(&self, item: &Node) -> Result<Identifier, String> {
        let kinds = ["hw-address", "client-id", "circuit-id", "duid", "flex-id"];
        let found = kinds.iter().find_map(|kind| Some((*kind, item.get(kind)?.text()?)));
        let Some((kind, text)) = found else { return Err("it has no identifier".to_owned()) };
        if !self.identifiers.iter().any(|known| known == kind) {
            return Err(format!(
                "Kea does not look for {kind}: it is not in \"host-reservation-identifiers\""
            ));
        }
        let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        let bytes = quoted.map(|text| text.as_bytes().to_vec()).or_else(|| hex(text));
        let bytes = bytes.filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| format!("expected hexadecimal digits, found {text:?}"))?;
        match kind {
            "hw-address" => {
                let mac = <[u8; 6]>::try_from(bytes.as_slice());
                mac.map(Identifier::Mac).map_err(|_| {
                    let len = bytes.len();
                    format!("a hardware address of {len} bytes: write the machine's client id under `id`")
                })
            }
            "client-id" => Ok(Identifier::ClientId(bytes)),
            "circuit-id" => Ok(Identifier::CircuitId(bytes)),
            "duid" => Err(format!(
                "lanboot does not look for a DUID {text} whatever the IAID: write the whole client id under `id`"
            )),
            _ => Err("flex-id belongs to a hook library".to_owned()),
        }
    }

    fn machine(&mut self, item: &Node, identifier: Identifier) {
        let mut settings = self.settings(item);
        let host = item.get("hostname").and_then(Node::text).filter(|name| !name.is_empty());
        if let Some(host) = host {
            let name = host.strip_suffix('.').unwrap_or(host);
            settings.options.entry(HOST_NAME).or_insert_with(|| Some(name.as_bytes().to_vec()));
        }
        let mut addresses = Vec::new();
        if let Some(text) = item.get("ip-address").and_then(Node::text).filter(|text| !text.is_empty()) {
            match text.parse() {
                Ok(Ipv4Addr::UNSPECIFIED) => {}
                Ok(address) => addresses.push(address),
                Err(_) => self.problems.add(item.place, format!("{text:?} is no IPv4 address: not taken")),
            }
        }
        let (mut classes, mut is_ignored) = (Vec::new(), false);
        for class in item.get("client-classes").map(Node::items).unwrap_or_default() {
            match class.text() {
                Some("DROP") => is_ignored = true,
                Some("KNOWN" | "ALL") | None => {}
                Some(name) => classes.push(self.need_class(name, item.place)),
            }
        }
        let name = host.map(|host| host.split('.').next().unwrap_or_default().to_owned());
        let name = name.filter(|name| self.names.insert(name.clone()));
        self.site.machines.push(Machine {
            place: item.place,
            name,
            identifiers: vec![identifier],
            addresses,
            is_ignored,
            classes,
            settings,
            comments: comments(item),
        });
    }
}
