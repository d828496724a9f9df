//! Who wants or has an address, and which two of them are one machine.

use crate::types::{ClientId, MacAddr};

/// Client identifiers that may have an address at the same time with one MAC. One machine has one, a host of containers
/// some (ipvlan); a client that makes up identifiers must not get a whole pool where the switches let it use one MAC only.
pub const MAX_CLIENTS_PER_MAC: usize = 32;

/// Who wants or has an address.
///
/// One machine may show several identifiers as it boots: its firmware the MAC, the installer a UUID, the system a DUID.
/// So that it keeps one address, what a booting stage got is also found by MAC, and a booting stage finds what any
/// other stage got. The price: a second client with the MAC of a machine that once booted from the network, such as an
/// ipvlan container on it, is taken for that machine.
///
/// Two MACs are two machines, also when they show one identifier: copies of one system share the identifier that it was
/// installed with. A machine whose network card was replaced does that too; see [`Holder::shares_id`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its identity.
    pub client: ClientId,
    /// Its Ethernet address.
    pub mac: Option<MacAddr>,
    /// Whether it is firmware or a boot loader.
    pub boots: bool,
}

impl Holder {
    /// Whether the two are one machine.
    pub fn is(&self, other: &Holder) -> bool {
        let same_id = self.client == other.client;
        match (self.mac, other.mac) {
            (Some(mac), Some(other_mac)) => mac == other_mac && (same_id || self.boots || other.boots),
            _ => same_id,
        }
    }

    /// Whether the identifier is the client's own MAC, so that all that it has is found by that.
    pub(super) fn is_known_by_mac(&self) -> bool {
        self.mac.is_some() && self.mac_in_id() == self.mac
    }

    /// The MAC that the identifier is, if it is one: its type byte is Ethernet's.
    pub(super) fn mac_in_id(&self) -> Option<MacAddr> {
        match *self.client.as_bytes() {
            [1, a, b, c, d, e, f] => Some(MacAddr([a, b, c, d, e, f])),
            _ => None,
        }
    }

    /// Whether the two have one client identifier and different MACs: a machine before and after its network card was
    /// replaced, or two copies of one system. Whether the first one still answers at its address tells them apart.
    pub fn shares_id(&self, other: &Holder) -> bool {
        self.client == other.client && self.mac.is_some() && other.mac.is_some() && self.mac != other.mac
    }
}
