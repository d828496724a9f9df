//! Bindings of addresses to clients and their transitions. Everything that decisions read is here, in memory; what must
//! survive a restart is also in the store.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::allocate::Pool;
use crate::types::{ClientId, Timestamp};

/// All bindings, by address and by client.
///
/// A binding that has ended stays, so that a client that returns gets its last address, until another client needs
/// the address. So the book never holds more bindings than there are addresses.
#[derive(Debug, Default)]
pub struct LeaseBook {
    pub(super) pools: Vec<Pool>,
    pub(super) bindings: HashMap<Ipv4Addr, Binding>,
    clients: HashMap<(usize, ClientId), Ipv4Addr>,
}

/// Who has or last had an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Whose it is.
    pub client: ClientId,
    /// In what way.
    pub state: State,
    /// When that ends. Past this moment the address is free.
    pub until: Timestamp,
    /// The end that is on stable storage, if the lease is there at all. Nothing later may be promised before a commit.
    pub stored: Option<Timestamp>,
}

/// In what way an address is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
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
    pub client: ClientId,
    /// The client's hardware address, 0 to 16 bytes.
    pub hardware: Vec<u8>,
    /// Leased, declined or released; offers are not stored.
    pub state: State,
    /// When it ends.
    pub until: Timestamp,
}

/// A change to the book that a decision asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// Hold an address for a client; in memory only.
    Offer {
        /// The address.
        address: Ipv4Addr,
        /// For whom.
        client: ClientId,
        /// Until when.
        until: Timestamp,
    },
    /// Forget an offer, because the client took another server's; in memory only.
    Withdraw {
        /// The address.
        address: Ipv4Addr,
        /// For whom it was held.
        client: ClientId,
    },
    /// Grant, extend, give back or decline a lease. Must be on stable storage before the client is told.
    Store(Lease),
}

/// How long an offered address is held for its client. Firmware collects offers for up to 4 s (EDK2) and tries again
/// after 8, 16 and 32 s with a new DISCOVER, which renews the hold.
pub const OFFER_HOLD: Duration = Duration::from_secs(30);

impl LeaseBook {
    /// An empty book over `pools`, one for each subnet and in the subnets' order.
    pub fn new(pools: Vec<Pool>) -> LeaseBook {
        LeaseBook { pools, ..LeaseBook::default() }
    }

    /// Takes in a lease from the store. One outside every subnet of today's configuration is left alone: false.
    pub fn load(&mut self, lease: Lease) -> bool {
        if self.pool_of(lease.address).is_none() {
            return false;
        }
        let binding = Binding {
            client: lease.client,
            state: lease.state,
            until: lease.until,
            stored: Some(lease.until),
        };
        self.put(lease.address, binding);
        true
    }

    /// How many bindings there are, ended ones included.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// What is known of `address`.
    pub fn binding(&self, address: Ipv4Addr) -> Option<&Binding> {
        self.bindings.get(&address)
    }

    /// The address that `client` has or last had in subnet `subnet`, and what is known of it.
    pub fn of_client(&self, subnet: usize, client: &ClientId) -> Option<(Ipv4Addr, &Binding)> {
        let address = *self.clients.get(&(subnet, client.clone()))?;
        Some((address, self.bindings.get(&address)?))
    }

    /// Whether `client` may have `address` as far as other clients are concerned: nobody else holds it and it is not
    /// declined.
    pub fn is_free_for(&self, address: Ipv4Addr, client: &ClientId, now: Timestamp) -> bool {
        match self.bindings.get(&address) {
            Some(binding) if binding.until > now => {
                binding.client == *client && binding.state != State::Declined
            }
            _ => true,
        }
    }

    /// Makes a change. What it says about storage comes later, by [`LeaseBook::stored`] or [`LeaseBook::not_stored`].
    pub fn apply(&mut self, change: &LeaseChange) {
        match change {
            LeaseChange::Offer { address, client, until } => {
                let binding =
                    Binding { client: client.clone(), state: State::Offered, until: *until, stored: None };
                self.put(*address, binding);
            }
            LeaseChange::Withdraw { address, client } => {
                let offer =
                    self.bindings.get(address).filter(|b| b.state == State::Offered && b.client == *client);
                if let Some(offer) = offer {
                    let binding = Binding { state: State::Released, until: Timestamp(0), ..offer.clone() };
                    self.put(*address, binding);
                }
            }
            LeaseChange::Store(lease) => {
                let stored = self.bindings.get(&lease.address).filter(|b| b.client == lease.client);
                let binding = Binding {
                    client: lease.client.clone(),
                    state: lease.state,
                    until: lease.until,
                    stored: stored.and_then(|b| b.stored),
                };
                self.put(lease.address, binding);
            }
        }
    }

    /// `lease` is on stable storage now.
    pub fn stored(&mut self, lease: &Lease) {
        if let Some(binding) = self.bindings.get_mut(&lease.address).filter(|b| b.client == lease.client) {
            binding.stored = Some(lease.until);
        }
    }

    /// `lease` could not be stored: the book falls back to what is on disk, or to an offer if nothing is.
    pub fn not_stored(&mut self, lease: &Lease, now: Timestamp) {
        let Some(binding) = self.bindings.get(&lease.address).filter(|b| b.client == lease.client) else {
            return;
        };
        let (state, until) = match binding.stored {
            Some(until) => (State::Leased, until),
            None => (State::Offered, now.after(OFFER_HOLD)),
        };
        let binding = Binding { state, until, ..binding.clone() };
        self.put(lease.address, binding);
    }

    /// How many addresses of subnet `subnet` are declined at the moment.
    pub fn declined(&self, subnet: usize, now: Timestamp) -> usize {
        self.pools.get(subnet).map_or(0, |pool| pool.declined(now))
    }

    /// The subnet that `address` is in, by its place in the configuration.
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.pools.iter().position(|pool| pool.network.contains(address))
    }

    fn put(&mut self, address: Ipv4Addr, binding: Binding) {
        let Some(subnet) = self.pool_of(address) else { return };
        let pool = &mut self.pools[subnet];
        if let Some(old) = self.bindings.remove(&address) {
            pool.gave(address, &old);
            let key = (subnet, old.client);
            if self.clients.get(&key) == Some(&address) {
                self.clients.remove(&key);
            }
        }
        pool.took(address, &binding);
        self.clients.insert((subnet, binding.client.clone()), address);
        self.bindings.insert(address, binding);
        self.advance(subnet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);

    fn book() -> LeaseBook {
        let network = "192.168.77.0/24".parse().unwrap();
        LeaseBook::new(vec![Pool::new(network, vec!["192.168.77.50-192.168.77.52".parse().unwrap()], [])])
    }

    fn client(n: u8) -> ClientId {
        ClientId::new(1, &[2, 0, 0, 0, 0, n], None).unwrap()
    }

    fn lease(n: u8, until: u64) -> Lease {
        Lease {
            address: A,
            client: client(n),
            hardware: vec![],
            state: State::Leased,
            until: Timestamp::from_seconds(until),
        }
    }

    #[test]
    fn an_offer_holds_the_address_until_it_ends() {
        let mut book = book();
        let until = Timestamp::from_seconds(30);
        book.apply(&LeaseChange::Offer { address: A, client: client(1), until });
        let at = Timestamp::from_seconds;
        assert!(!book.is_free_for(A, &client(2), at(29)));
        assert!(book.is_free_for(A, &client(1), at(29)));
        assert!(book.is_free_for(A, &client(2), at(30)));
        assert_eq!(book.of_client(0, &client(1)).map(|(address, _)| address), Some(A));
    }

    #[test]
    fn only_its_client_withdraws_an_offer_and_no_lease_is_withdrawn() {
        let mut book = book();
        let until = Timestamp::from_seconds(30);
        book.apply(&LeaseChange::Offer { address: A, client: client(1), until });
        book.apply(&LeaseChange::Withdraw { address: A, client: client(2) });
        assert!(!book.is_free_for(A, &client(3), Timestamp(0)));
        book.apply(&LeaseChange::Withdraw { address: A, client: client(1) });
        assert!(book.is_free_for(A, &client(3), Timestamp(0)));
        book.apply(&LeaseChange::Store(lease(1, 60)));
        book.apply(&LeaseChange::Withdraw { address: A, client: client(1) });
        assert!(!book.is_free_for(A, &client(3), Timestamp(0)));
    }

    #[test]
    fn a_lease_that_could_not_be_stored_falls_back_to_what_is_on_disk() {
        let mut book = book();
        let now = Timestamp::from_seconds(10);
        book.apply(&LeaseChange::Store(lease(1, 3600)));
        assert_eq!(book.binding(A).unwrap().stored, None);
        book.not_stored(&lease(1, 3600), now);
        assert_eq!(book.binding(A).unwrap().state, State::Offered);
        assert_eq!(book.binding(A).unwrap().until, now.after(OFFER_HOLD));

        book.apply(&LeaseChange::Store(lease(1, 3600)));
        book.stored(&lease(1, 3600));
        book.apply(&LeaseChange::Store(lease(1, 7200)));
        assert_eq!(book.binding(A).unwrap().stored, Some(Timestamp::from_seconds(3600)));
        book.not_stored(&lease(1, 7200), now);
        assert_eq!(book.binding(A).unwrap().until, Timestamp::from_seconds(3600));
    }

    #[test]
    fn an_address_that_changes_hands_leaves_no_trace_of_its_old_client() {
        let mut book = book();
        book.apply(&LeaseChange::Store(lease(1, 5)));
        book.apply(&LeaseChange::Store(lease(2, 60)));
        assert!(book.of_client(0, &client(1)).is_none());
        assert_eq!(book.len(), 1);
        book.stored(&lease(1, 5));
        assert_eq!(book.binding(A).unwrap().stored, None, "a late report of the old lease changes nothing");
    }

    #[test]
    fn leases_outside_the_configuration_are_left_alone() {
        let mut book = book();
        assert!(!book.load(Lease { address: Ipv4Addr::new(10, 0, 0, 1), ..lease(1, 60) }));
        assert!(book.load(lease(1, 60)));
        assert_eq!(book.binding(A).unwrap().stored, Some(Timestamp::from_seconds(60)));
    }
}
