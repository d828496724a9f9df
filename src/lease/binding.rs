//! Bindings of addresses to clients: the holder, the state, the end, and the changes that decisions ask for.

use std::net::Ipv4Addr;

use crate::types::{ClientId, HardwareAddr, MacAddr, Timestamp};

/// The maximum number of client identifiers with an address at the same time per MAC. One machine has one, a host of
/// containers has several (ipvlan). The limit stops a client that invents identifiers behind one MAC from taking a
/// whole pool.
pub const MAX_CLIENTS_PER_MAC: usize = 32;

/// The holder of an address, or a client that asks for one.
///
/// One machine may send several identifiers while it boots: its firmware the MAC, the installer a UUID, the system a
/// DUID. It keeps one address because an address assigned to a boot stage is found by MAC too, and a boot stage finds
/// the address of any other stage. The price: a second client with the MAC of a machine that once booted from the
/// network, such as an ipvlan container on it, is taken for that machine.
///
/// Two MACs are two machines, even with one identifier, because copies of one system share the identifier created at
/// its installation. A machine whose network card was replaced looks the same; see [`Holder::shares_id`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    pub client: ClientId,
    /// The Ethernet address, if the client has one.
    pub mac: Option<MacAddr>,
    /// Whether the client is firmware or a boot loader.
    pub is_boot_stage: bool,
}

impl Holder {
    /// Whether both are the same machine.
    pub fn is_same_machine(&self, other: &Holder) -> bool {
        let same_id = self.client == other.client;
        match (self.mac, other.mac) {
            (Some(mac), Some(other_mac)) => {
                mac == other_mac && (same_id || self.is_boot_stage || other.is_boot_stage)
            }
            _ => same_id,
        }
    }

    /// Whether the identifier is the client's own MAC, so that the index by MAC finds all its addresses.
    pub(super) fn is_known_by_mac(&self) -> bool {
        self.mac.is_some() && self.mac_in_id() == self.mac
    }

    /// Returns the MAC in the identifier, if its type byte is that of Ethernet.
    pub(super) fn mac_in_id(&self) -> Option<MacAddr> {
        match *self.client.as_bytes() {
            [1, a, b, c, d, e, f] => Some(MacAddr([a, b, c, d, e, f])),
            _ => None,
        }
    }

    /// Whether both have the same client identifier and different MACs: a machine before and after its network card was
    /// replaced, or two copies of one system. In the second case the first one still answers at its address.
    pub fn shares_id(&self, other: &Holder) -> bool {
        self.client == other.client && self.mac.is_some() && other.mac.is_some() && self.mac != other.mac
    }
}

/// The current or last holder of an address, and the state of the address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The holder. `is_boot_stage` stays set once a boot stage had the address.
    pub holder: Holder,
    pub state: State,
    /// The end of the state. After it the address is free.
    pub until: Timestamp,
    /// Whether the holder has or had a lease, not only an offer.
    pub leased: bool,
    /// The number of consecutive times that another machine answered at the address.
    pub conflicts: u8,
    /// The end of the lease on stable storage, if it is stored. No later end may be promised before a commit.
    pub stored: Option<Timestamp>,
    /// The number of changes of this address, for any client, that wait for stable storage.
    pub pending: u16,
    /// Whether the client is getting another lease in place of this one. No other client gets the address until that is
    /// on stable storage.
    pub ending: bool,
}

impl Binding {
    /// Whether the client has the address now: the state has not ended and is not `Declined`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.until > now && self.state != State::Declined
    }

    /// Whether the client has an offer, or has or had a lease.
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.leased || self.is_live(now)
    }

    /// Returns the end of the lease on stable storage, if no waiting change can alter it.
    pub fn stored_until(&self) -> Option<Timestamp> {
        self.stored.filter(|_| self.state == State::Leased && self.pending == 0)
    }
}

/// The state of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Held for a client while the server checks that no machine uses the address.
    Checking,
    /// Held for the client that got the offer.
    Offered,
    Leased,
    /// Another machine uses the address. No client gets it for a while.
    Declined,
    /// Released by its client.
    Released,
}

/// A lease in its stored form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub holder: Holder,
    /// The hardware address of the client, of any type.
    pub hardware: HardwareAddr,
    /// Leased, declined or released. Offers are not stored.
    pub state: State,
    /// The end of the lease.
    pub until: Timestamp,
}

impl Lease {
    /// Returns the lease as released at `now`, by its client or by the administrator.
    pub fn released(&self, now: Timestamp) -> Lease {
        Lease { state: State::Released, until: now, ..self.clone() }
    }
}

/// The end of a lease without end (plain BOOTP): the year 10000. Clock corrections do not move it.
pub const FOREVER: Timestamp = Timestamp(253_402_300_800_000);

/// Whether a lease with this end never ends.
pub fn is_forever(until: Timestamp) -> bool {
    until >= FOREVER
}

/// A change to the book, as decisions return it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// Holds an address for a client. In memory only.
    Hold {
        address: Ipv4Addr,
        holder: Holder,
        /// `Checking`, `Offered`, or `Declined` to avoid an address. `Leased` in two cases: the client is offered its
        /// own lease, which ends sooner; or the client uses an offered address without a REQUEST.
        state: State,
        until: Timestamp,
    },
    /// Drops an offer, or one that was being checked, because the client chose another server. In memory only.
    Withdraw {
        address: Ipv4Addr,
        /// The client that it was held for.
        holder: Holder,
    },
    /// Records that a client found no free address, so that it has priority when it asks again. In memory only.
    RecordExhausted {
        client: ClientId,
        /// The time of its message.
        at: Timestamp,
    },
    /// Grants, extends, releases or declines a lease. It must be on stable storage before the reply is sent.
    Store(Lease),
    /// Grants a lease in place of others that the same client has on that link, because a client has one address there
    /// (RFC 2131 section 2.1). All changes are stored in one transaction before the reply is sent.
    Replace {
        /// The new lease.
        lease: Lease,
        /// The other leases, as released.
        ended: Vec<Lease>,
    },
}
