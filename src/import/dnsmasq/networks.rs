//! Groups the ranges by network. A range without a netmask has that of the interface in dnsmasq; here it is guessed.

use std::net::Ipv4Addr;

use super::model::{Range, RangeKind};
use crate::import::problems::Problems;
use crate::types::Ipv4Network;

/// The prefix of a network whose mask is unknown.
const USUAL_PREFIX: u8 = 24;

/// One network, which becomes a subnet.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub network: Ipv4Network,
    /// Whether no range of it has a netmask.
    pub is_guessed: bool,
    /// Indexes of its ranges.
    pub ranges: Vec<usize>,
}

impl Network {
    /// Whether one of its ranges gives addresses.
    pub fn is_served(&self, ranges: &[Range]) -> bool {
        let range = |index: &usize| ranges.get(*index);
        self.ranges.iter().filter_map(range).any(|range| range.kind != RangeKind::Proxy)
    }
}

/// The networks of `ranges`. `local` are the networks of this computer's interfaces.
pub(super) fn networks(ranges: &[Range], local: &[Ipv4Network], problems: &mut Problems) -> Vec<Network> {
    let explicit: Vec<Option<Ipv4Network>> =
        ranges.iter().map(|range| Ipv4Network::new(range.first, prefix(range.mask?)?)).collect();
    let known: Vec<Ipv4Network> = explicit.iter().flatten().chain(local).copied().collect();
    let mut found: Vec<Network> = Vec::new();
    for (index, (range, explicit)) in ranges.iter().zip(&explicit).enumerate() {
        if range.mask.is_some() && explicit.is_none() {
            let mask = range.mask.unwrap_or(Ipv4Addr::UNSPECIFIED);
            problems.add(range.origin.place, format!("dhcp-range is not taken: {mask} is no netmask"));
            continue;
        }
        let network = explicit.unwrap_or_else(|| guess(range, &known));
        if let Some(same) = found.iter_mut().find(|other| other.network == network) {
            same.ranges.push(index);
            same.is_guessed &= explicit.is_none();
            continue;
        }
        let overlaps = |other: &&Network| {
            other.network.contains(network.address()) || network.contains(other.network.address())
        };
        if let Some(other) = found.iter().find(overlaps) {
            let reason = format!(
                "dhcp-range is not taken: its network {network} overlaps {}: write the netmask of both",
                other.network
            );
            problems.add(range.origin.place, reason);
            continue;
        }
        found.push(Network { network, is_guessed: explicit.is_none(), ranges: vec![index] });
    }
    found
}

/// The number of ones at the front of a netmask; `None` if ones follow a zero.
pub(super) fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}

/// A network that is known otherwise, or the usual one, or the smallest with both ends of the range.
fn guess(range: &Range, known: &[Ipv4Network]) -> Ipv4Network {
    let has_both = |network: &Ipv4Network| network.contains(range.first) && network.contains(range.last);
    if let Some(network) = known.iter().find(|network| network.prefix() > 0 && has_both(network)) {
        return *network;
    }
    let differing = u32::from(range.first) ^ u32::from(range.last);
    let common = u8::try_from(differing.leading_zeros()).unwrap_or(32).min(USUAL_PREFIX);
    let found = Ipv4Network::new(range.first, common);
    found.or_else(|| Ipv4Network::new(range.first, 32)).unwrap_or_else(|| unreachable!("32 is a prefix"))
}

/// The part of a range that hosts of the network may have.
pub(super) fn hosts(range: &Range, network: Ipv4Network) -> Option<(u32, u32)> {
    let (mut first, mut last) = (u32::from(range.first), u32::from(range.last));
    if network.prefix() < 31 {
        first = first.max(u32::from(network.address()).saturating_add(1));
        last = last.min(u32::from(network.broadcast()).saturating_sub(1));
    }
    (first <= last).then_some((first, last))
}
