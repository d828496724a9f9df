//! Makes the document of a site.

use super::model::{Bootp, Class, Identifier, Lease, Level, Machine, Pool, Range, Settings, Site, Subnet};
use super::settings::{complete, merged};
use super::{boot, classes, settings};
use crate::config::document::Document;
use crate::config::document::{List, Map, Value};
use crate::import::patterns::{hex, readable};
use crate::import::problems::Problems;
use crate::types::to_colon_hex;

impl Site {
    /// Returns the document. Everything that cannot be written is added to `problems`.
    pub fn document(mut self, problems: &mut Problems) -> Document {
        self.join_machines(problems);
        self.add_server_classes();
        self.share_relays();
        self.check_relays(problems);
        self.check_times(problems);
        self.classes.sort_by_key(|class| class.level);
        let mut document = Document { header: std::mem::take(&mut self.header), ..Document::default() };
        if !self.interfaces.is_empty() {
            document.top.set(
                "interfaces",
                Value::from(
                    self.interfaces.iter().map(|name| Value::from(name.as_str())).collect::<Vec<_>>(),
                ),
            );
        }
        document.dhcp = self.dhcp(problems);
        document.options = settings::options(&self.settings, self.place(), problems);
        document.classes = classes::write(&self, problems);
        for subnet in &self.subnets {
            let map = subnet.write(&self, problems);
            document.subnets.push_translated(map, subnet.comments.clone(), subnet.place);
        }
        for machine in &self.machines {
            let map = machine.write(&self, problems);
            document.machines.push_translated(map, machine.comments.clone(), machine.place);
        }
        document
    }

    /// A relay agent is given once for all subnets of a shared network.
    fn share_relays(&mut self) {
        let mut seen: Vec<(String, std::net::Ipv4Addr)> = Vec::new();
        for subnet in &mut self.subnets {
            let Some(shared) = subnet.shared.clone() else { continue };
            subnet.relays.retain(|relay| !seen.contains(&(shared.clone(), *relay)));
            seen.extend(subnet.relays.iter().map(|relay| (shared.clone(), *relay)));
        }
    }

    /// The clients of a relay agent are in its own network, if that is a subnet here.
    fn check_relays(&mut self, problems: &mut Problems) {
        let networks: Vec<Subnet> =
            self.subnets.iter().map(|subnet| Subnet { pools: Vec::new(), ..subnet.clone() }).collect();
        for subnet in &mut self.subnets {
            let place = subnet.place;
            let others = networks.iter().filter(|other| other.name() != subnet.name()).collect::<Vec<_>>();
            subnet.relays.retain(|relay| match others.iter().find(|other| other.contains(*relay)) {
                None => true,
                Some(other) => {
                    let why = format!("it is in the subnet {}, so its clients are too", other.name());
                    problems.add(place, format!("the relay agent {relay} is not taken: {why}"));
                    false
                }
            });
        }
    }

    /// A place for problems with global settings.
    fn place(&self) -> crate::import::place::Place {
        self.subnets.first().map(|subnet| subnet.place).unwrap_or_default()
    }

    /// A machine with a server, but without a boot file, gets the file of another level from that server.
    fn add_server_classes(&mut self) {
        let has_file = self.classes.iter().any(|class| class.settings.boot_file.is_some())
            || self.subnets.iter().any(|subnet| subnet.settings.boot_file.is_some())
            || self.settings.boot_file.is_some();
        if !has_file {
            return;
        }
        for machine in &mut self.machines {
            let (None, Some(server)) = (&machine.settings.boot_file, machine.settings.next_server) else {
                continue;
            };
            let name = format!("server-{server}");
            if !self.classes.iter().any(|class| class.name == name) {
                self.classes.push(Class {
                    place: machine.place,
                    name: name.clone(),
                    condition: None,
                    is_ignored: false,
                    settings: Settings { next_server: Some(server), ..Settings::default() },
                    level: Level::Machine,
                    options_level: Level::Machine,
                    comments: Vec::new(),
                });
            }
            machine.classes.push(name);
        }
    }

    /// Returns the section `dhcp` without lists and options.
    fn dhcp(&self, problems: &mut Problems) -> Map {
        let mut map = Map::block().with("mode", "server");
        if self.is_authoritative {
            map.set("authoritative", "strict");
        } else {
            map.set("authoritative", false);
        }
        if self.ignores_client_id {
            map.set("match_client_id", false);
        }
        if self.hides_client_id {
            map.set("echo_client_id", false);
        }
        if self.always_broadcast {
            map.set("always_broadcast", true);
        }
        match self.bootp {
            Bootp::Reserved => {}
            Bootp::Dynamic => map.set("bootp", "dynamic"),
            Bootp::Off => map.set("bootp", Value::Text("off".to_owned())),
        }
        if self.conflict_check == Some(false) {
            map.set("conflict_check", Value::Text("off".to_owned()));
        }
        if let Some(time) = self.decline_time {
            map.set("decline_time", settings::seconds(time));
        }
        // Options are a section by themselves, and the lease time is written at the subnets.
        let rest = Settings {
            options: std::collections::BTreeMap::new(),
            lease: Lease::default(),
            ..self.settings.clone()
        };
        settings::write(&mut map, &rest, self.place(), problems);
        map
    }
}

impl Subnet {
    fn write(&self, site: &Site, problems: &mut Problems) -> Map {
        let mut map = Map::new().with("network", self.name());
        let (plain, special): (Vec<&Pool>, Vec<&Pool>) =
            self.pools.iter().partition(|pool| pool.classes.is_empty() && pool.settings.is_empty());
        let ranges: Vec<Value> = plain.iter().flat_map(|pool| pool.ranges.iter().map(range)).collect();
        if !ranges.is_empty() {
            map.set("pool", Value::one_or_list(ranges));
        }
        if !special.is_empty() {
            let mut pools = List::default();
            let lease = merged(self.settings.lease, site.settings.lease);
            special.iter().for_each(|pool| pools.push(pool.write(lease, problems)));
            map.set("pools", pools);
        }
        if !self.classes.is_empty() {
            map.set("class", Value::one_or_list(self.classes.iter().map(String::as_str)));
        }
        if !self.relays.is_empty() {
            let relays = self.relays.iter().map(|address| Value::from(*address)).collect::<Vec<_>>();
            map.set("relays", relays);
        }
        if let Some(shared) = &self.shared {
            map.set("shared_network", shared.as_str());
        }
        let mut own = self.settings.clone();
        own.lease = merged(own.lease, site.settings.lease);
        settings::write(&mut map, &own, self.place, problems);
        map
    }
}

fn range(range: &Range) -> Value {
    if range.first == range.last {
        range.first.into()
    } else {
        format!("{}-{}", range.first, range.last).into()
    }
}

impl Pool {
    /// `below` is the lease time of the subnet.
    fn write(&self, below: Lease, problems: &mut Problems) -> Map {
        let ranges: Vec<Value> = self.ranges.iter().map(range).collect();
        let mut map = Map::new().with("range", Value::one_or_list(ranges));
        if !self.classes.is_empty() {
            map.set("class", Value::one_or_list(self.classes.iter().map(String::as_str)));
        }
        let mut own = self.settings.clone();
        own.lease = complete(own.lease, below);
        if own.renew.take().is_some() | own.rebind.take().is_some() {
            problems.add(self.place, "T1 and T2 are not taken: a pool has no `renew` and `rebind`");
        }
        if own.boot_file.is_some() || own.next_server.is_some() {
            problems.add(
                self.place,
                "the boot file or its server of a pool is taken only for clients that do not boot over the network: \
                 move it to a class or the subnet",
            );
        }
        settings::write(&mut map, &own, self.place, problems);
        map
    }
}

impl Machine {
    fn write(&self, site: &Site, problems: &mut Problems) -> Map {
        let mut map = Map::new();
        if let Some(name) = &self.name {
            map.set("name", name.as_str());
        }
        let macs: Vec<Value> = self
            .identifiers
            .iter()
            .filter_map(
                |id| if let Identifier::Mac(mac) = id { Some(to_colon_hex(mac).into()) } else { None },
            )
            .collect();
        if !macs.is_empty() {
            map.set("mac", Value::one_or_list(macs));
        }
        for id in &self.identifiers {
            match id {
                Identifier::Mac(_) => {}
                Identifier::ClientId(bytes) => map.set("id", text_or_hex(bytes)),
                Identifier::CircuitId(bytes) => map.set("circuit_id", text_or_hex(bytes)),
                Identifier::RemoteId(bytes) => map.set("remote_id", text_or_hex(bytes)),
            }
        }
        if !self.addresses.is_empty() {
            map.set("address", Value::one_or_list(self.addresses.iter().copied()));
        }
        if self.is_ignored {
            map.set("ignore", true);
        }
        if !self.classes.is_empty() {
            map.set("class", Value::one_or_list(self.classes.iter().map(String::as_str)));
        }
        let mut own = self.settings.clone();
        own.lease = complete(own.lease, site.settings.lease);
        if own.renew.take().is_some() | own.rebind.take().is_some() {
            problems.add(self.place, "T1 and T2 are not taken: a machine has no `renew` and `rebind`");
        }
        if let Some(file) = &own.boot_file {
            let server = own.next_server.or_else(|| boot::server_below(site, &self.addresses));
            if let Some(boot) = boot::value(file, server, self.place, problems) {
                map.set("boot", boot);
            }
        }
        settings::write(&mut map, &own, self.place, problems);
        map
    }
}

fn text_or_hex(bytes: &[u8]) -> String {
    readable(bytes).map_or_else(|| hex(bytes), str::to_owned)
}
