//! Kea's `subnet4`, `shared-networks` and pools.

use std::net::Ipv4Addr;

use super::json::Node;
use super::{Importer, Lookup, SETTINGS_KEYS, comments, keys};
use crate::import::site::{Pool, Range, Settings, Subnet};

const SUBNET_KEYS: &[&str] = &[
    "subnet",
    "pools",
    "client-class",
    "client-classes",
    "relay",
    "reservations",
    "reservation-mode",
    "reservations-global",
    "reservations-in-subnet",
    "reservations-out-of-pool",
    "t1-percent",
    "t2-percent",
    "authoritative",
    "match-client-id",
];
const POOL_KEYS: &[&str] = &["pool", "option-data", "client-class", "client-classes", "pool-id"];

/// The values that a shared network hands down to its subnets.
#[derive(Clone, Default)]
pub(super) struct Shared {
    name: String,
    settings: Settings,
    relays: Vec<Ipv4Addr>,
    classes: Vec<String>,
}

impl Importer {
    pub(super) fn shared_network(&mut self, node: &Node, lookup: Lookup) {
        let mut taken = SUBNET_KEYS.to_vec();
        taken.extend(SETTINGS_KEYS);
        taken.extend(["name", "subnet4"]);
        keys::check(node, &taken, &mut self.problems);
        self.check_switches(node);
        let shared = Shared {
            name: node.get("name").and_then(Node::text).unwrap_or("shared").to_owned(),
            settings: self.settings(node),
            relays: self.relays(node),
            classes: self.members(node),
        };
        for subnet in node.get("subnet4").map(Node::items).unwrap_or_default() {
            self.subnet(subnet, Some(&shared), lookup.with(node));
        }
    }

    pub(super) fn subnet(&mut self, node: &Node, shared: Option<&Shared>, lookup: Lookup) {
        let mut taken = SUBNET_KEYS.to_vec();
        taken.extend(SETTINGS_KEYS);
        keys::check(node, &taken, &mut self.problems);
        self.check_switches(node);
        let text = node.get("subnet").and_then(Node::text).unwrap_or_default();
        let Some((network, prefix)) = network(text) else {
            self.problems.add(node.place, format!("the subnet {text:?} is not taken: expected 10.0.0.0/24"));
            return;
        };
        let mut settings = self.settings(node);
        let mut relays = self.relays(node);
        let mut classes = self.members(node);
        if let Some(shared) = shared {
            settings.inherit(&shared.settings);
            if relays.is_empty() {
                relays.clone_from(&shared.relays);
            }
            if !shared.classes.is_empty() && !classes.is_empty() && shared.classes != classes {
                let why = "a client must be in a class of the shared network too";
                self.problems.add(node.place, format!("the class of subnet {text} counts alone: {why}"));
            }
            if classes.is_empty() {
                classes.clone_from(&shared.classes);
            }
        }
        self.check_mask(&mut settings, prefix, node);
        let items = node.get("pools").map(Node::items).unwrap_or_default();
        let pools = items.iter().filter_map(|pool| self.pool(pool)).collect();
        self.site.subnets.push(Subnet {
            place: node.place,
            network,
            prefix,
            shared: shared.map(|shared| shared.name.clone()),
            classes,
            relays,
            pools,
            settings,
            comments: comments(node),
        });
        let lookup = lookup.with(node);
        self.uses_global |= lookup.is_global;
        if let Some(list) = node.get("reservations").filter(|list| !list.items().is_empty()) {
            if lookup.is_in_subnet {
                self.reservations(list);
            } else {
                let why = "Kea does not look at them, because \"reservations-in-subnet\" is false";
                self.problems.add(list.place, format!("\"reservations\" are not taken: {why}"));
            }
        }
    }

    /// The mask is that of the network.
    fn check_mask(&mut self, settings: &mut Settings, prefix: u8, node: &Node) {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        if let Some(Some(bytes)) = settings.options.remove(&1)
            && bytes != mask.to_be_bytes()
        {
            self.problems.add(node.place, "option 1 is not taken: lanboot sends the mask of the network");
        }
    }

    /// Names switches that lanboot has only for the whole server.
    fn check_switches(&mut self, node: &Node) {
        let global = [
            ("authoritative", self.site.is_authoritative),
            ("match-client-id", !self.site.ignores_client_id),
        ];
        for (key, value) in global {
            if node.get(key).and_then(Node::bool).is_some_and(|own| own != value) {
                let why = "lanboot has one value for all subnets";
                self.problems.add(node.place, format!("{key:?} of one subnet is not taken: {why}"));
            }
        }
    }

    fn relays(&mut self, node: &Node) -> Vec<Ipv4Addr> {
        let Some(relay) = node.get("relay") else { return Vec::new() };
        let list = relay.get("ip-addresses").map(Node::items).unwrap_or_default();
        let one = relay.get("ip-address").into_iter();
        let mut relays = Vec::new();
        for item in one.chain(list) {
            match item.text().map(str::parse) {
                // Older files have 0.0.0.0 for no relay agent.
                Some(Ok(Ipv4Addr::UNSPECIFIED)) => {}
                Some(Ok(address)) => relays.push(address),
                _ => self.problems.add(item.place, "expected the IPv4 address of a relay agent: not taken"),
            }
        }
        relays
    }

    fn pool(&mut self, node: &Node) -> Option<Pool> {
        keys::check(node, POOL_KEYS, &mut self.problems);
        let text = node.get("pool").and_then(Node::text).unwrap_or_default();
        let Some(range) = range(text) else {
            self.problems.add(node.place, format!("the pool {text:?} is not taken: expected two addresses"));
            return None;
        };
        let settings = self.settings(node);
        let classes = self.members(node);
        Some(Pool { place: node.place, ranges: vec![range], classes, settings })
    }
}

/// Reads `10.0.0.0/24`. Bits of the host are cleared.
fn network(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u8 = prefix.trim().parse().ok().filter(|prefix| *prefix <= 32)?;
    let address: Ipv4Addr = address.trim().parse().ok()?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Some((Ipv4Addr::from(u32::from(address) & mask), prefix))
}

/// Reads `10.0.0.5 - 10.0.0.9` or `10.0.0.0/28`.
fn range(text: &str) -> Option<Range> {
    if let Some((first, last)) = text.split_once('-') {
        let range = Range { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        return (range.first <= range.last).then_some(range);
    }
    let (first, prefix) = network(text)?;
    let size = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Some(Range { first, last: Ipv4Addr::from(u32::from(first) | size) })
}
