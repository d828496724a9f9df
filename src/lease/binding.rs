//! Who has an address, in what way and until when; and the changes of that.

use std::net::Ipv4Addr;

use crate::types::{ClientId, HardwareAddr, MacAddr, Timestamp};

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

/// Who has or last had an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Whose it is. Once a booting stage had it, `boots` stays.
    pub holder: Holder,
    /// In what way.
    pub state: State,
    /// When that ends. Past this moment the address is free.
    pub until: Timestamp,
    /// Whether the holder has or had a lease of it, which is more than an offer.
    pub leased: bool,
    /// How many times in a row another machine answered at it.
    pub strikes: u8,
    /// The end that is on stable storage, if the lease is there at all. Nothing later may be promised before a commit.
    pub stored: Option<Timestamp>,
    /// Changes of this address, of whichever client, that are on their way to stable storage.
    pub pending: u16,
    /// Whether its client is about to get another lease in place of this one. Until that is on stable storage no other
    /// client gets the address.
    pub ending: bool,
}

impl Binding {
    /// Whether the client has the address: not if that ended, and not if it is out of use.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.until > now && self.state != State::Declined
    }

    /// Whether its client is no stranger: it has an offer, or it has or had a lease.
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.leased || self.is_live(now)
    }

    /// Until when the lease that it is stands on stable storage, with nothing on its way there that could change it.
    pub fn stored_until(&self) -> Option<Timestamp> {
        self.stored.filter(|_| self.state == State::Leased && self.pending == 0)
    }
}

/// In what way an address is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Held for a client while it is checked that nobody uses it.
    Checking,
    /// Held for the client it was offered to.
    Offered,
    /// Leased.
    Leased,
    /// Somebody else was found to use it; nobody gets it for a while.
    Declined,
    /// Given back.
    Released,
}

/// A lease as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub holder: Holder,
    /// The client's hardware address.
    pub hardware: HardwareAddr,
    /// Leased, declined or released; offers are not stored.
    pub state: State,
    /// When it ends.
    pub until: Timestamp,
}

impl Lease {
    /// The same, given back or ended by hand at `now`.
    pub fn released(&self, now: Timestamp) -> Lease {
        Lease { state: State::Released, until: now, ..self.clone() }
    }
}

/// The end of a lease that never ends (plain BOOTP), which does not move with a clock: the year 10000.
pub const FOREVER: Timestamp = Timestamp(253_402_300_800_000);

/// Whether a lease that ends then never ends.
pub fn is_forever(until: Timestamp) -> bool {
    until >= FOREVER
}

/// A change to the book that a decision asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// Hold an address for a client; in memory only.
    Hold {
        /// The address.
        address: Ipv4Addr,
        /// For whom.
        holder: Holder,
        /// Checking, offered or, to be avoided, declined. Leased for an offer of its own lease to the client, when that
        /// ends sooner, and for a client that takes an offer without a REQUEST.
        state: State,
        /// Until when.
        until: Timestamp,
    },
    /// Forget an offer, or one that was about to be made, because the client took another server's; in memory only.
    Withdraw {
        /// The address.
        address: Ipv4Addr,
        /// For whom it was held.
        holder: Holder,
    },
    /// Remember that a client found no free address, so that it is preferred when it asks again; in memory only.
    TurnAway {
        /// The client.
        client: ClientId,
        /// The time at which it asked.
        at: Timestamp,
    },
    /// Grant, extend, give back or decline a lease. Must be on stable storage before the client is told.
    Store(Lease),
    /// Grant a lease in place of others that the same client has on that wire, because a client has one address there
    /// (RFC 2131 section 2.1). All must be stored in one transaction, before the reply is sent.
    Replace {
        /// The lease that is granted.
        lease: Lease,
        /// The others as they are stored then: released.
        ended: Vec<Lease>,
    },
}
