//! Writes `dhcp.subnets`: the networks with their pools, lease times and options.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::model::{Model, Range, RangeKind};
use super::networks::{Network, hosts};
use super::rules::{Effect, Rule, name_of};
use super::tags::Tags;
use super::values::duration;
use crate::config::document::{List, Map, Value};
use crate::import::condition::Condition;
use crate::import::options;
use crate::import::problems::Problems;

/// dnsmasq's lease time in seconds (`DEFLEASE` in `config.h`).
const DEFAULT_LEASE: u32 = 3600;

/// A pool of a subnet.
#[derive(Clone, PartialEq, Debug)]
struct Pool {
    range: usize,
    class: Option<String>,
    lease: u32,
    options: Map,
    /// First and last address.
    ends: Vec<(u32, u32)>,
}

/// The input of the subnets, and the list of problems.
pub(super) struct Writer<'w> {
    pub model: &'w Model,
    pub networks: &'w [Network],
    pub rules: &'w [Rule],
    pub problems: &'w mut Problems,
}

impl Writer<'_> {
    /// Writes the networks that are served, or all networks for a proxy.
    pub fn write(&mut self, tags: &mut Tags, is_proxy: bool) -> List {
        let mut list = List::default();
        for network in self.networks {
            let is_wanted =
                if is_proxy { !network.is_guessed } else { network.is_served(&self.model.ranges) };
            if !is_wanted {
                continue;
            }
            let (map, comments) = self.subnet(network, tags, is_proxy);
            let origin = self.ranges(network).next().map(|(_, range)| range.origin.place);
            list.push_translated(map, comments, origin.and_then(Into::into));
        }
        list
    }

    fn ranges<'n>(&'n self, network: &'n Network) -> impl Iterator<Item = (usize, &'n Range)> {
        network.ranges.iter().filter_map(|index| Some((*index, self.model.ranges.get(*index)?)))
    }

    fn subnet(&mut self, network: &Network, tags: &mut Tags, is_proxy: bool) -> (Map, Vec<String>) {
        let mut comments: Vec<String> = Vec::new();
        for (_, range) in self.ranges(network) {
            comments.extend(range.origin.comments.iter().cloned());
        }
        if network.is_guessed {
            comments.push(format!(
                "dnsmasq takes the netmask of its interface: /{} is a guess",
                network.network.prefix()
            ));
        }
        let mut map = Map::block().with("network", network.network.to_string());
        if is_proxy {
            return (map, comments);
        }
        let mut pools = self.pools(network, tags);
        let mut subnet_options = self.common_options(network);
        let lease = self.lease(network, &pools);
        for pool in &mut pools {
            let shared: Vec<String> = subnet_options.iter().map(|(key, _)| key.to_owned()).collect();
            shared.iter().for_each(|key| _ = pool.options.remove(key));
        }
        let is_plain = |pool: &Pool| pool.class.is_none() && pool.lease == lease && pool.options.is_empty();
        let range =
            |(first, last): &(u32, u32)| format!("{}-{}", Ipv4Addr::from(*first), Ipv4Addr::from(*last));
        if pools.iter().all(is_plain) {
            let all: Vec<String> = pools.iter().flat_map(|pool| pool.ends.iter().map(range)).collect();
            if !all.is_empty() {
                map.set("pool", Value::one_or_list(all));
            }
        } else {
            let mut list = List::default();
            for pool in &pools {
                for ends in &pool.ends {
                    let mut entry = Map::new().with("range", range(ends));
                    if let Some(class) = &pool.class {
                        entry.set("class", class.as_str());
                    }
                    if pool.lease != lease {
                        entry.set("lease", duration(pool.lease));
                    }
                    if !pool.options.is_empty() {
                        entry.set("options", pool.options.clone());
                    }
                    list.push(entry);
                }
            }
            map.set("pools", list);
        }
        map.set("lease", duration(lease));
        self.share(network, &mut map, &mut subnet_options);
        if !subnet_options.is_empty() {
            map.set("options", subnet_options);
        }
        (map, comments)
    }

    /// The lease time of most pools.
    fn lease(&self, network: &Network, pools: &[Pool]) -> u32 {
        let open = pools.iter().find(|pool| pool.class.is_none());
        let of_pools = open.or(pools.first()).map(|pool| pool.lease);
        let mut of_ranges = self.ranges(network).filter(|(_, range)| range.kind == RangeKind::Static);
        let of_static = of_ranges.next().map(|(_, range)| range.lease.unwrap_or(DEFAULT_LEASE));
        of_static.or(of_pools).unwrap_or(DEFAULT_LEASE)
    }

    /// The pools, those for members of a class first: dnsmasq prefers them.
    fn pools(&mut self, network: &Network, tags: &mut Tags) -> Vec<Pool> {
        let mut pools: Vec<Pool> = Vec::new();
        let ranges: Vec<(usize, Range)> =
            self.ranges(network).map(|(index, range)| (index, range.clone())).collect();
        for (index, range) in ranges.iter().filter(|(_, range)| range.kind == RangeKind::Dynamic) {
            let class = match self.class(range, tags) {
                Ok(class) => class,
                Err(why) => {
                    self.problems.add(range.origin.place, format!("dhcp-range is not taken: {why}"));
                    continue;
                }
            };
            let Some(ends) = hosts(range, network.network) else {
                self.problems
                    .add(range.origin.place, "dhcp-range is not taken: no host can have its addresses");
                continue;
            };
            let options = self.range_options(*index);
            let lease = range.lease.unwrap_or(DEFAULT_LEASE);
            pools.push(Pool { range: *index, class, lease, options, ends: vec![ends] });
        }
        pools.sort_by_key(|pool| pool.class.is_none());
        self.without_overlaps(pools)
    }

    /// Removes addresses that an earlier pool has already.
    fn without_overlaps(&mut self, pools: Vec<Pool>) -> Vec<Pool> {
        let mut done: Vec<Pool> = Vec::new();
        for mut pool in pools {
            for other in &done {
                let is_same =
                    other.class == pool.class && other.lease == pool.lease && other.options == pool.options;
                let before = pool.ends.clone();
                for taken in &other.ends {
                    pool.ends = pool.ends.iter().flat_map(|ends| subtract(*ends, *taken)).collect();
                }
                if pool.ends != before && !is_same {
                    let range = self.model.ranges.get(pool.range);
                    let place = range.map(|range| range.origin.place).unwrap_or_default();
                    self.problems.add(
                        place,
                        "dhcp-range is taken without the addresses that another range has too: an address is in one pool",
                    );
                }
            }
            if !pool.ends.is_empty() {
                done.push(pool);
            }
        }
        done
    }

    /// The class that the clients of a range must be in.
    fn class(&self, range: &Range, tags: &mut Tags) -> Result<Option<String>, String> {
        if range.filter.is_empty() {
            return Ok(None);
        }
        match tags.resolve(&range.filter) {
            Some(resolved) if resolved.ranges.is_none() && resolved.condition == Condition::Never => {
                Err("no client can have all of its tags".to_owned())
            }
            Some(resolved) if resolved.ranges.is_none() && resolved.condition == Condition::Always => {
                Ok(None)
            }
            Some(resolved) if resolved.ranges.is_none() => {
                Ok(Some(tags.class_for(&resolved.condition, &name_of(&range.filter))))
            }
            Some(_) => Err("a range cannot have the tag of a range as its condition".to_owned()),
            None => Err(tags.why_not(&range.filter)),
        }
    }

    /// Options of rules for the tags of this range, and its broadcast address and domain.
    fn range_options(&self, index: usize) -> Map {
        let mut map = Map::new();
        let Some(range) = self.model.ranges.get(index) else { return map };
        if let Some(broadcast) = range.broadcast {
            map.set("broadcast_address", broadcast);
        }
        let is_there = |ranges: &BTreeSet<usize>| ranges.contains(&index);
        for rule in self.rules.iter().filter(|rule| rule.condition == Condition::Always) {
            if let (Effect::Option { code, value, .. }, Some(ranges)) = (&rule.effect, &rule.ranges)
                && is_there(ranges)
            {
                map.set(options::key(*code), value.clone());
            }
        }
        let is_set = self.rules.iter().any(|rule| {
            rule.ranges.is_none()
                && rule.condition == Condition::Always
                && matches!(rule.effect, Effect::Option { code: 15, .. })
        });
        let domain = self.model.domains.iter().rev().find(|domain| {
            domain.range.is_some_and(|(first, last)| first <= range.first && range.last <= last)
        });
        if let Some(domain) = domain.filter(|_| !is_set && map.get("domain").is_none()) {
            map.set("domain", domain.name.as_str());
        }
        map
    }

    /// The options that all ranges of the network have.
    fn common_options(&self, network: &Network) -> Map {
        let mut all = network.ranges.iter().map(|index| self.range_options(*index));
        let first = all.next().unwrap_or_default();
        let others: Vec<Map> = all.collect();
        let is_common = |key: &str, value: &Value| others.iter().all(|map| map.get(key) == Some(value));
        let mut common = Map::new();
        for (key, value) in first.iter().filter(|(key, value)| is_common(key, value)) {
            common.set(key.to_owned(), value.clone());
        }
        common
    }

    /// Adds the name of the wire that the network shares, or the relay agents whose clients are in it.
    fn share(&mut self, network: &Network, map: &mut Map, subnet_options: &mut Map) {
        let mut relays: Vec<Ipv4Addr> = Vec::new();
        for shared in &self.model.shared {
            let at: Option<Ipv4Addr> = shared.at.parse().ok();
            let is_here = network.network.contains(shared.address);
            let other = at.and_then(|at| self.networks.iter().find(|other| other.network.contains(at)));
            match (at, other) {
                (Some(at), Some(_)) if is_here || network.network.contains(at) => {
                    map.set("shared_network", format!("wire-{at}"));
                }
                (Some(at), None) if is_here => relays.push(at),
                (None, _) if is_here => self.problems.add(
                    shared.origin.place,
                    format!(
                        "shared-network is not taken: give this subnet and the one with the address of {} the same \
                         `shared_network`",
                        shared.at
                    ),
                ),
                _ => continue,
            }
            // dnsmasq knows no router for such clients.
            if is_here && subnet_options.get("router").is_none() {
                subnet_options.set("router", Value::Null);
            }
        }
        if !relays.is_empty() {
            map.set("relays", Value::one_or_list(relays));
        }
    }
}

/// The parts of `ends` outside `taken`.
fn subtract((first, last): (u32, u32), taken: (u32, u32)) -> Vec<(u32, u32)> {
    let before = (first, last.min(taken.0.saturating_sub(1)));
    let after = (first.max(taken.1.saturating_add(1)), last);
    if last < taken.0 || taken.1 < first {
        return vec![(first, last)];
    }
    let mut parts = Vec::new();
    if first < taken.0 {
        parts.push(before);
    }
    if taken.1 < last {
        parts.push(after);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_are_cut() {
        assert_eq!(subtract((5, 9), (7, 8)), [(5, 6), (9, 9)]);
        assert_eq!(subtract((5, 9), (1, 5)), [(6, 9)]);
        assert_eq!(subtract((5, 9), (10, 12)), [(5, 9)]);
        assert_eq!(subtract((5, 9), (0, 20)), []);
    }
}
