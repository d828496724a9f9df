//! Changes the pools of the book when the configuration changes. `Engine::replace` calls it. Leases, offers, checks and
//! quarantines stay.
//!
//! A binding belongs to the subnet whose network contains its address. The order of the subnets and their pools never
//! decide that. A binding outside of every subnet is set aside, because its subnet may be configured again.

use std::net::Ipv4Addr;

use crate::lease::binding::{Binding, Holder, Lease, State};
use crate::lease::book::LeaseBook;
use crate::lease::index::{ClientIndex, MachineIndex};
use crate::lease::pool::Pool;
use crate::types::{ClientId, Timestamp};

impl LeaseBook {
    /// Replaces the pools. `match_client_id`: clients are known by the identifier that they send, otherwise by their
    /// hardware address. Returns the addresses of this computer that the new pools contain and the old ones did not.
    ///
    /// The cost is that of a start with the same leases, except for the disk.
    pub fn replace(&mut self, pools: Vec<Pool>, match_client_id: bool) -> Vec<Ipv4Addr> {
        let before = std::mem::replace(&mut self.pools, pools);
        (self.clients, self.machines) = (ClientIndex::default(), MachineIndex::default());
        let mut all: Vec<(Ipv4Addr, Binding)> = self.bindings.drain().chain(self.set_aside.drain()).collect();
        all.iter_mut().for_each(|(address, binding)| self.restore_second(*address, binding));
        let own = std::mem::take(&mut self.own);
        let mut own = self.set_own_addresses(&own);
        own.retain(|address| !before.iter().any(|pool| pool.has(*address)));
        // The order of a start: of two bindings of one client, the last one is found first.
        all.sort_unstable_by_key(|(address, binding)| {
            (binding.state == State::Leased, binding.until, *address)
        });
        for (address, mut binding) in all {
            self.identify(address, &mut binding.holder, match_client_id);
            match self.pool_of(address) {
                Some(_) if binding.state == State::Leased && binding.pending == 0 => {
                    self.put_lease(address, binding);
                }
                None if !binding.leased && binding.state != State::Declined && binding.pending == 0 => {}
                _ => self.put(address, binding),
            }
        }
        own
    }

    /// Makes a binding a lease again that was the second lease of its client. With the new pools and identifiers, it may
    /// belong to another client, or the other lease may be gone. In the store it is still a lease.
    fn restore_second(&mut self, address: Ipv4Addr, binding: &mut Binding) {
        let is_over = |left: &Lease| left.state == State::Released && left.until == Timestamp(0);
        let is_second = binding.state == State::Declined && binding.leased && binding.pending == 0;
        if is_second && self.left_over.get(&address).is_some_and(is_over) {
            self.left_over.remove(&address);
            (binding.state, binding.stored) = (State::Leased, Some(binding.until));
        }
    }

    /// Sets the client identifier of a stored lease to the hardware address, for clients that are known by that alone.
    pub fn know_by_hardware(&mut self, lease: &mut Lease) {
        self.identify(lease.address, &mut lease.holder, false);
    }

    /// Sets the client identifier of `holder`, which has `address`. An identifier that is replaced by the hardware
    /// address is kept for the time when identifiers count again.
    fn identify(&mut self, address: Ipv4Addr, holder: &mut Holder, match_client_id: bool) {
        let Some(of_mac) = holder.mac.map(ClientId::of_mac) else { return };
        if !match_client_id {
            if holder.client != of_mac {
                self.sent_ids.insert(address, holder.clone());
                holder.client = of_mac;
            }
        } else if let Some(sent) = self.sent_ids.remove(&address)
            && sent.mac == holder.mac
            && holder.client == of_mac
        {
            holder.client = sent.client;
        }
    }

    /// Updates a binding that is set aside after `lease` was stored, or could not be stored.
    pub(super) fn update_set_aside(&mut self, lease: &Lease, is_stored: bool) {
        let displaced = self.displaced.get(&lease.address).filter(|_| !is_stored).cloned();
        let Some(binding) = self.set_aside.get_mut(&lease.address) else { return };
        binding.pending = binding.pending.saturating_sub(1);
        if is_stored {
            binding.stored = (lease.state == State::Leased).then_some(lease.until);
        }
        if binding.pending > 0 {
            return;
        }
        // Nothing is promised here any more, so the binding is as the store has it.
        binding.ending = false;
        match (is_stored, displaced, binding.stored) {
            (true, _, _) => {
                (binding.holder, binding.state) = (lease.holder.clone(), lease.state);
                (binding.until, binding.leased) = (lease.until, true);
            }
            (false, Some(displaced), _) => *binding = displaced,
            (false, None, Some(until)) => (binding.state, binding.until) = (State::Leased, until),
            (false, None, None) => (binding.state, binding.until) = (State::Released, Timestamp(0)),
        }
        self.displaced.remove(&lease.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{LeaseChange, Seeker};
    use crate::types::{HardwareAddr, MacAddr};

    const FIRST: &str = "10.0.1.0/24";
    const SECOND: &str = "10.0.2.0/24";

    fn pool(network: &str, range: &str) -> Pool {
        Pool::new(network.parse().unwrap(), vec![range.parse().unwrap()], [])
    }

    fn both() -> Vec<Pool> {
        vec![pool(FIRST, "10.0.1.50-10.0.1.59"), pool(SECOND, "10.0.2.50-10.0.2.59")]
    }

    fn client(n: u8) -> Holder {
        let mac = MacAddr([2, 0, 0, 0, 0, n]);
        Holder {
            client: ClientId::new(1, &mac.0, Some(&[0, n])).unwrap(),
            mac: Some(mac),
            is_boot_stage: false,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// A client that may use every pool.
    fn seeker(holder: &Holder) -> Seeker<'_> {
        Seeker { holder, is_expected: false, may_use: &|_, _| true, avoided: &[] }
    }

    fn lease(address: [u8; 4], n: u8, until: u64) -> Lease {
        let hardware = HardwareAddr::default();
        let (address, until) = (address.into(), at(until));
        Lease { address, holder: client(n), hardware, state: State::Leased, until }
    }

    fn store(book: &mut LeaseBook, lease: &Lease) {
        book.apply(&LeaseChange::Store(lease.clone()));
        book.stored(lease, at(0));
    }

    #[test]
    fn another_order_of_the_subnets_moves_no_lease() {
        let mut book = LeaseBook::new(both());
        for (i, network) in [1, 2].into_iter().enumerate() {
            store(&mut book, &lease([10, 0, network, 50], 1, 100));
            assert_eq!(book.binding_of(i, &client(1), at(1)).unwrap().0, Ipv4Addr::new(10, 0, network, 50));
        }
        let mut turned = both();
        turned.reverse();
        turned.insert(1, pool("10.0.3.0/24", "10.0.3.50-10.0.3.59"));
        assert!(book.replace(turned, true).is_empty());
        for (i, network) in [2, 3, 1].into_iter().enumerate() {
            let found = book.binding_of(i, &client(1), at(1)).map(|(address, _)| address);
            assert_eq!(found, (network != 3).then_some(Ipv4Addr::new(10, 0, network, 50)));
            let new = book.find_address(i, &seeker(&client(9)), None, at(1)).unwrap();
            assert_eq!(new.octets(), [10, 0, network, if network == 3 { 50 } else { 51 }]);
        }
    }

    #[test]
    fn a_subnet_that_comes_back_has_its_leases() {
        let mut book = LeaseBook::new(both());
        let (kept, late) = (lease([10, 0, 2, 50], 1, 100), lease([10, 0, 2, 51], 2, 200));
        store(&mut book, &kept);
        book.apply(&LeaseChange::Store(late.clone()));
        let offer = LeaseChange::Hold {
            address: [10, 0, 2, 52].into(),
            holder: client(3),
            state: State::Offered,
            until: at(30),
        };
        book.apply(&offer);
        book.replace(vec![pool(FIRST, "10.0.1.50-10.0.1.59")], true);
        assert!(book.is_empty() && book.binding(kept.address).is_none());
        book.stored(&late, at(1));
        book.replace(both(), true);
        assert_eq!(book.binding_of(1, &client(1), at(1)).map(|(address, _)| address), Some(kept.address));
        let stored = book.binding(late.address).unwrap();
        assert_eq!((stored.stored_until(), stored.until), (Some(at(200)), at(200)), "stored meanwhile");
        assert!(book.binding([10, 0, 2, 52].into()).is_none(), "an offer is no promise");
    }

    #[test]
    fn a_lease_that_could_not_be_stored_is_no_lease_later() {
        let mut book = LeaseBook::new(both());
        let (first, longer) = (lease([10, 0, 2, 50], 1, 100), lease([10, 0, 2, 50], 1, 200));
        let never = lease([10, 0, 2, 51], 2, 200);
        store(&mut book, &first);
        [&longer, &never].into_iter().for_each(|lease| book.apply(&LeaseChange::Store(lease.clone())));
        book.replace(Vec::new(), true);
        [&longer, &never].into_iter().for_each(|lease| book.not_stored(lease, at(1)));
        book.replace(both(), true);
        assert_eq!(book.binding(first.address).unwrap().stored_until(), Some(at(100)));
        assert!(book.is_free_for(never.address, &client(9), at(1)));
    }

    #[test]
    fn a_smaller_pool_keeps_the_lease_and_gives_no_other_client_the_address() {
        let mut book = LeaseBook::new(both());
        let outside = lease([10, 0, 1, 55], 1, 100);
        store(&mut book, &outside);
        book.replace(vec![pool(FIRST, "10.0.1.50-10.0.1.50")], true);
        assert_eq!(book.binding_of(0, &client(1), at(1)).map(|(address, _)| address), Some(outside.address));
        assert_eq!((book.pool_size(0), book.shares(0, outside.address)), (1, false));
        book.replace(both(), true);
        assert!(book.may_use(0, outside.address, &seeker(&client(1)), at(1)));
        assert!(!book.may_use(0, outside.address, &seeker(&client(2)), at(1)));
    }

    #[test]
    fn an_identifier_counts_again_after_a_time_without() {
        let mut book = LeaseBook::new(both());
        store(&mut book, &lease([10, 0, 1, 50], 1, 100));
        book.replace(both(), false);
        let by_mac = Holder { client: ClientId::of_mac(MacAddr([2, 0, 0, 0, 0, 1])), ..client(1) };
        assert!(
            book.binding_of(0, &by_mac, at(1)).is_some() && book.binding_of(0, &client(1), at(1)).is_none()
        );
        book.replace(both(), true);
        assert!(
            book.binding_of(0, &client(1), at(1)).is_some() && book.binding_of(0, &by_mac, at(1)).is_none()
        );
    }

    #[test]
    fn subnets_that_become_one_link_leave_a_client_one_lease() {
        let mut book = LeaseBook::new(both());
        let (old, new) = (lease([10, 0, 1, 50], 1, 100), lease([10, 0, 2, 50], 1, 200));
        [&old, &new].into_iter().for_each(|lease| store(&mut book, lease));
        book.replace(both().into_iter().map(|pool| pool.on_wire(Some(0))).collect(), true);
        assert_eq!(book.binding(new.address).map(|b| b.state), Some(State::Leased));
        assert!(!book.is_free_for(old.address, &client(2), at(1)), "its client may still use it");
        assert_eq!(book.binding(old.address).map(|b| b.stored), Some(None));
    }

    #[test]
    fn own_addresses_are_reported_once() {
        let mut book = LeaseBook::new(vec![pool(FIRST, "10.0.1.50-10.0.1.59")]);
        assert_eq!(
            book.set_own_addresses(&[[10, 0, 1, 50].into(), [10, 0, 2, 50].into()]),
            [Ipv4Addr::new(10, 0, 1, 50)]
        );
        assert_eq!(book.replace(both(), true), [Ipv4Addr::new(10, 0, 2, 50)]);
        assert!(book.is_own([10, 0, 2, 50].into()) && book.replace(both(), true).is_empty());
        assert_eq!(book.find_address(1, &seeker(&client(1)), None, at(1)), Some([10, 0, 2, 51].into()));
    }
}
