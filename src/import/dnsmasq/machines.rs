//! Turns hosts into `machines`, or into classes if `machines` cannot express them.
//!
//! A host is a machine if it has a hardware address or a client id, and no `tag:`. Hosts with wildcards, host names or
//! tags are conditions on clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use super::conditions::{host_name, mac_condition};
use super::effects::Effects;
use super::model::{Host, Model};
use super::networks::Network;
use super::sorted::{HostPattern, Sorted};
use super::tags::Tags;
use super::values::{Hex, duration};
use crate::config::document::{List, Map, Value};
use crate::import::condition::Condition;
use crate::import::field::Pattern;
use crate::import::patterns::{hex, readable};
use crate::import::problems::Problems;
use crate::types::to_colon_hex;

/// The hardware type of Ethernet.
const ETHERNET: u32 = 1;

/// Whether the hardware address is one that `machines` knows.
fn is_ethernet(mac: &Hex) -> bool {
    mac.bytes.len() == 6 && mac.kind.is_none_or(|kind| kind == ETHERNET || kind == 0)
}

/// Sorts the hosts, and reports addresses that config.yaml cannot reserve.
pub(super) fn sort(model: &Model, problems: &mut Problems) -> Sorted {
    let mut sorted = Sorted::default();
    for (index, host) in model.hosts.iter().enumerate() {
        let place = host.origin.place;
        let mut conditions: Vec<Condition> = Vec::new();
        let mut is_machine = host.client_id.is_some();
        for mac in &host.macs {
            if !is_ethernet(mac) {
                problems.add(place, "a hardware address of dhcp-host is not taken: it is not of Ethernet; name the machine by its client id");
            } else if mac.has_wildcard() {
                conditions.push(mac_condition(mac));
            } else {
                is_machine = true;
            }
        }
        if !host.filter.is_empty() {
            let exact = host.macs.iter().filter(|mac| is_ethernet(mac) && !mac.has_wildcard());
            conditions.extend(exact.map(mac_condition));
            let id = host.client_id.as_deref().map(Pattern::exactly);
            conditions.extend(id.map(|id| Condition::Field("client_id".to_owned(), id)));
            is_machine = false;
        }
        if is_machine {
            sorted.machines.push(index);
            sorted.members.extend(host.set.iter().cloned());
        }
        if conditions.is_empty() && host.macs.is_empty() && host.client_id.is_none() {
            match &host.name {
                Some(name) => conditions.push(host_name(name, false)),
                None => {
                    problems.add(place, "dhcp-host is not taken: it names no machine");
                    continue;
                }
            }
        }
        if conditions.is_empty() {
            continue;
        }
        if let Some(address) = host.address.filter(|_| !is_machine) {
            let why = match (host.filter.is_empty(), host.macs.is_empty()) {
                (false, _) => "config.yaml reserves addresses for a machine, not for a machine with tags",
                (_, true) => "config.yaml reserves addresses by MAC address or client id, not by host name",
                (_, false) => {
                    "config.yaml reserves an address for one machine, not for a pattern of MAC addresses"
                }
            };
            problems.add(place, format!("the address {address} of dhcp-host is not taken: {why}"));
        }
        sorted.patterns.push(HostPattern { host: index, condition: Condition::any(conditions) });
    }
    sorted
}

/// Writes `machines`.
pub(super) fn write(
    model: &Model,
    sorted: &Sorted,
    networks: &[Network],
    tags: &Tags,
    mut own: HashMap<usize, Effects>,
    problems: &mut Problems,
) -> List {
    let mut writer = Writer { networks, tags, problems, seen: HashMap::new() };
    let mut list: Vec<(usize, Map)> = Vec::new();
    // Of two hosts with one MAC address, dnsmasq takes the later one.
    for index in sorted.machines.iter().rev() {
        let Some(host) = model.hosts.get(*index) else { continue };
        if let Some(map) = writer.machine(host, model) {
            list.push((*index, map));
        }
    }
    writer.name(model, &mut list);
    let mut machines = List::default();
    for (index, mut map) in list.into_iter().rev() {
        let mut comments =
            model.hosts.get(index).map(|host| host.origin.comments.clone()).unwrap_or_default();
        if let Some(effects) = own.remove(&index) {
            comments.extend(effects.write(&mut map));
        }
        machines.push_translated(
            map,
            comments,
            model.hosts.get(index).and_then(|host| host.origin.place.into()),
        );
    }
    machines
}

struct Writer<'w> {
    networks: &'w [Network],
    tags: &'w Tags,
    problems: &'w mut Problems,
    /// Networks in which each hardware address and client id has a host already; `None` is any network.
    seen: HashMap<Vec<u8>, Vec<Option<usize>>>,
}

impl<'w> Writer<'w> {
    /// The machine of a host; `None` if it cannot be written.
    fn machine(&mut self, host: &Host, model: &Model) -> Option<Map> {
        let place = host.origin.place;
        let mut address = host.address.or_else(|| self.address_by_name(host, model));
        let network = address.and_then(|address| self.network_of(address));
        if let (Some(outside), None) = (address, network) {
            self.problems.add(
                place,
                format!("the address {outside} of dhcp-host is not taken: no dhcp-range is in its network"),
            );
            address = None;
        }
        if let Some(at) = network.and_then(|at| self.networks.get(at))
            && let Some(used) = address.filter(|used| !at.network.has_host(*used))
        {
            let reason = format!(
                "the address {used} of dhcp-host is not taken: no host of {} can have it",
                at.network
            );
            self.problems.add(place, reason);
            address = None;
        }
        let mut macs: Vec<String> = Vec::new();
        for mac in host.macs.iter().filter(|mac| is_ethernet(mac) && !mac.has_wildcard()) {
            let bytes = mac.plain();
            let text = to_colon_hex(&bytes);
            if bytes.iter().all(|byte| *byte == 0) || bytes.first().is_some_and(|byte| byte & 1 == 1) {
                self.problems.add(place, format!("{text} is not taken: it is no address of one machine"));
            } else if self.is_new([&[0u8][..], &bytes].concat(), network) {
                macs.push(text);
            } else {
                self.problems
                    .add(place, format!("{text} is not taken here: dnsmasq takes it from a later dhcp-host"));
            }
        }
        let id = self.client_id(host, network);
        if macs.is_empty() && id.is_none() {
            return None;
        }
        let mut map = Map::new();
        if !macs.is_empty() {
            map.set("mac", Value::one_or_list(macs));
        }
        if let Some(id) = id {
            map.set("id", readable(&id).map_or_else(|| hex(&id), str::to_owned));
        }
        if let Some(address) = address {
            map.set("address", address);
        }
        if host.is_ignored {
            map.set("ignore", true);
        }
        let classes: BTreeSet<&str> =
            host.set.iter().filter_map(|tag| self.tags.class_of_member(tag)).collect();
        if !classes.is_empty() {
            map.set("class", Value::one_or_list(classes));
        }
        if let Some(lease) = host.lease {
            map.set("lease", duration(lease));
        }
        if let Some(name) = &host.name {
            map.set("options", Map::new().with("hostname", name.as_str()));
        }
        Some(map)
    }

    /// The client id of a host, unless a later host has it.
    fn client_id(&mut self, host: &Host, network: Option<usize>) -> Option<Vec<u8>> {
        let id = host.client_id.as_ref()?;
        if self.is_new([&[1u8][..], id].concat(), network) {
            return Some(id.clone());
        }
        let reason = "the client id is not taken here: dnsmasq takes it from a later dhcp-host";
        self.problems.add(host.origin.place, reason);
        None
    }

    /// The address of a host without one, if its name has an address in a hosts file.
    fn address_by_name(&self, host: &Host, model: &Model) -> Option<Ipv4Addr> {
        let address = *model.names.get(&host.name.as_ref()?.to_ascii_lowercase())?;
        let is_free = !model.addresses.contains(&address);
        (is_free && self.network_of(address).is_some()).then_some(address)
    }

    fn network_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.networks.iter().position(|network| network.network.contains(address))
    }

    /// Whether this identity has no host yet that dnsmasq would take in this network.
    fn is_new(&mut self, identity: Vec<u8>, network: Option<usize>) -> bool {
        let seen = self.seen.entry(identity).or_default();
        let is_new = !seen.iter().any(|other| other.is_none() || network.is_none() || *other == network);
        if is_new {
            seen.push(network);
        }
        is_new
    }

    /// Gives machines their host names, as long as those are unique.
    fn name(&self, model: &Model, list: &mut [(usize, Map)]) {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        let name_of = |index: usize| model.hosts.get(index).and_then(|host| host.name.as_deref());
        for (index, _) in list.iter() {
            if let Some(name) = name_of(*index) {
                *count.entry(name).or_default() += 1;
            }
        }
        for (index, map) in list.iter_mut() {
            if let Some(name) = name_of(*index).filter(|name| count.get(name) == Some(&1)) {
                let mut named = Map::new().with("name", name);
                named.extend(std::mem::take(map));
                *map = named;
            }
        }
    }
}
