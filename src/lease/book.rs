//! The lease book: all bindings in memory, and their state changes. Decisions read only the book; leases that must
//! survive a restart are in the store too.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::address_map::AddressMap;
use crate::lease::binding::{Binding, Holder, Lease, LeaseChange, State};
use crate::lease::index::{ClientIndex, MachineIndex};
use crate::lease::offers::Offers;
use crate::lease::pool::Pool;
use crate::types::{HardwareAddr, Timestamp};

/// All bindings, indexed by address and by client.
///
/// A binding stays after it has ended, until another client needs the address, so that a returning client gets its last
/// address. Therefore the book never holds more bindings than there are addresses.
#[derive(Debug, Default)]
pub struct LeaseBook {
    pub(super) pools: Vec<Pool>,
    pub(super) bindings: AddressMap<Binding>,
    pub(super) clients: ClientIndex,
    pub(super) machines: MachineIndex,
    pub(super) offers: Offers,
    /// Leases on stable storage whose address is being assigned to another client of the same machine. They become
    /// valid again if that cannot be stored. There are never more of them than leases that wait for the
    /// store.
    pub(super) displaced: AddressMap<Binding>,
    /// Leases on stable storage that have ended in memory, because a RELEASE or DECLINE could not be stored or need not
    /// be. They are ended in the store together with the next lease of their client.
    pub(super) left_over: AddressMap<Lease>,
    /// All addresses of this computer.
    pub(super) own: Vec<Ipv4Addr>,
    /// Bindings outside of every subnet: of stored leases, and of subnets that were configured before. There are never
    /// more of them than the store has leases, apart from those that wait for the store.
    pub(super) set_aside: AddressMap<Binding>,
    /// Holders with the identifiers that they sent, while the book knows clients by their hardware address instead.
    pub(super) sent_ids: AddressMap<Holder>,
}

/// The time for which an offered address is held. Firmware collects offers for up to 4 s (EDK2) and retries after 8, 16
/// and 32 s with a new DISCOVER, which renews the hold.
pub const OFFER_HOLD: Duration = Duration::from_secs(30);

impl LeaseBook {
    /// Makes an empty book over `pools`, one per subnet in the order of the subnets.
    pub fn new(pools: Vec<Pool>) -> LeaseBook {
        LeaseBook { pools, ..LeaseBook::default() }
    }

    /// Loads a lease from the store. If one client has several leases on one link, as older versions stored them, only
    /// the one that ends last stays valid. Returns false if no subnet of the configuration contains the address. The lease
    /// is then set aside for [`LeaseBook::replace`].
    pub fn load(&mut self, lease: Lease) -> bool {
        let Lease { address, holder, state, until, .. } = lease;
        let leased = matches!(state, State::Leased | State::Released);
        let stored = (state == State::Leased).then_some(until);
        let binding =
            Binding { holder, state, until, leased, conflicts: 0, stored, pending: 0, ending: false };
        self.put_lease(address, binding);
        self.pool_of(address).is_some()
    }

    /// Puts a binding of the store into the book. Of several leases of one client on one link, the one that ends last
    /// stays valid.
    pub(super) fn put_lease(&mut self, address: Ipv4Addr, mut binding: Binding) {
        if let Some(subnet) = self.pool_of(address).filter(|_| binding.state == State::Leased) {
            let others = self.leases_on_link(subnet, &binding.holder).filter(|(other, _)| *other != address);
            let others: Vec<_> = others.map(|(other, b)| (other, b.clone())).collect();
            for (other, stored) in others {
                if stored.until >= binding.until {
                    binding = self.second_lease(address, binding);
                } else {
                    let second = self.second_lease(other, stored);
                    self.put(other, second);
                }
            }
        }
        self.put(address, binding);
    }

    /// The second stored lease of one client. The client may use either address, so no other client gets this one before
    /// the lease ends, or before the client takes the other address, which ends this lease in the store.
    fn second_lease(&mut self, address: Ipv4Addr, binding: Binding) -> Binding {
        let Binding { holder, until, .. } = binding.clone();
        let hardware = holder.mac.map(HardwareAddr::from).unwrap_or_default();
        let over = Lease { address, holder, hardware, state: State::Leased, until };
        self.record_left_over(over.released(Timestamp(0)));
        Binding { state: State::Declined, stored: None, ..binding }
    }

    /// Returns the number of bindings, including ended ones.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    pub fn binding(&self, address: Ipv4Addr) -> Option<&Binding> {
        self.bindings.get(&address)
    }

    /// Whether no other client holds `address`, and it is not declined.
    pub fn is_free_for(&self, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        match self.bindings.get(&address) {
            Some(binding) if binding.until > now => {
                binding.holder.is_same_machine(holder) && binding.state != State::Declined
            }
            _ => true,
        }
    }

    /// Returns the change that turns an address under check into an offer, after no machine answered there. Returns
    /// `None` if the address is no longer held for the check.
    pub fn checked(&self, address: Ipv4Addr, now: Timestamp) -> Option<LeaseChange> {
        let binding = self.bindings.get(&address).filter(|b| b.state == State::Checking && b.until > now)?;
        let holder = binding.holder.clone();
        Some(LeaseChange::Hold { address, holder, state: State::Offered, until: now.after(OFFER_HOLD) })
    }

    /// Returns the change that takes an address from its holder, and from all clients until `until`. It is used when
    /// the address is in use but too many addresses of the pool are declined already. In memory only.
    pub fn avoid(&self, address: Ipv4Addr, until: Timestamp) -> Option<LeaseChange> {
        let holder = self.bindings.get(&address)?.holder.clone();
        Some(LeaseChange::Hold { address, holder, state: State::Declined, until })
    }

    /// Applies a change. The result of storing it follows later through [`LeaseBook::stored`] or
    /// [`LeaseBook::not_stored`].
    pub fn apply(&mut self, change: &LeaseChange) {
        match change {
            LeaseChange::Hold { address, holder, state, until } => {
                let old = self.bindings.get(address);
                let untaken = old
                    .filter(|b| b.state == State::Offered && !b.leased && !b.holder.is_same_machine(holder));
                if let Some(offer) = untaken {
                    self.offers.record_reclaimed(*address, offer.holder.clone(), offer.until);
                }
                let (conflicts, pending) = old.map_or((0, 0), |b| (b.conflicts, b.pending));
                let goes_on =
                    *state == State::Leased && old.is_some_and(|b| b.holder.is_same_machine(holder));
                let stored = old.filter(|_| goes_on).and_then(|b| b.stored);
                let (holder, state, until) = (holder.clone(), *state, *until);
                let leased = state == State::Leased;
                let ending = false;
                // A lease whose commit is pending will be in the store too. A lease that has ended there can be forgotten.
                let may_be_stored = |b: &&Binding| {
                    let waiting = (b.state == State::Leased && b.pending > 0).then_some(b.until);
                    b.stored.max(waiting).is_some_and(|end| end > self.offers.now())
                };
                let dropped = old.filter(may_be_stored).filter(|_| !goes_on).cloned();
                if let Some(old) = dropped {
                    let hardware = old.holder.mac.map(HardwareAddr::from).unwrap_or_default();
                    let (holder, state) = (old.holder, State::Released);
                    let until = Timestamp(0);
                    self.record_left_over(Lease { address: *address, holder, hardware, state, until });
                }
                self.put(
                    *address,
                    Binding { holder, state, until, leased, conflicts, stored, pending, ending },
                );
            }
            LeaseChange::Withdraw { address, holder } => {
                let offered = |b: &&Binding| {
                    matches!(b.state, State::Checking | State::Offered) && b.holder.is_same_machine(holder)
                };
                if let Some(offer) = self.bindings.get(address).filter(offered) {
                    let binding = Binding { state: State::Released, until: Timestamp(0), ..offer.clone() };
                    self.put(*address, binding);
                }
            }
            LeaseChange::RecordExhausted { client, at } => self.offers.record_exhausted(client, *at),
            LeaseChange::Store(lease) => self.apply_lease(lease),
            LeaseChange::Replace { lease, ended } => {
                ended.iter().for_each(|lease| self.begin_ending(lease));
                self.apply_lease(lease);
            }
        }
    }

    /// Counts that a machine other than the holder answered at `address`. The next quarantine is twice as long.
    pub fn count_conflict(&mut self, address: Ipv4Addr) {
        if let Some(binding) = self.bindings.get_mut(&address) {
            binding.conflicts = binding.conflicts.saturating_add(1);
        }
    }

    fn apply_lease(&mut self, lease: &Lease) {
        let old = self.bindings.get(&lease.address);
        let own = old.filter(|b| b.holder.is_same_machine(&lease.holder));
        let conflicts = old.map_or(0, |b| b.conflicts);
        let conflicts = match lease.state {
            // A quarantine that is ended early was a mistake.
            State::Released if old.is_some_and(|b| b.state == State::Declined) => 0,
            // A client that extends its lease has had the address without conflicts.
            State::Leased if own.is_some_and(|b| b.state == State::Leased) => 0,
            _ => conflicts,
        };
        let stored = own.and_then(|b| b.stored);
        let pending = old.map_or(0, |b| b.pending).saturating_add(1);
        let Lease { address, holder, state, until, .. } = lease.clone();
        // The address passes from another client of the same machine, or from the same machine's former network card.
        let passes = |b: &&Binding| {
            let is_in_use = b.until > self.offers.now();
            b.holder.shares_id(&holder) || (is_in_use && !b.holder.is_same_machine(&holder))
        };
        let displaced = old.filter(|b| b.stored_until().is_some()).filter(passes).cloned();
        // A shortened lease keeps its old end until the new one is stored and the reply is sent.
        let old_end = own.filter(|b| b.state == State::Leased && state == State::Leased).map(|b| b.until);
        let until = old_end.map_or(until, |old_end| old_end.max(until));
        let leased = state == State::Leased;
        self.put(
            address,
            Binding { holder, state, until, leased, conflicts, stored, pending, ending: false },
        );
        if let Some(displaced) = displaced {
            self.displaced.insert(address, displaced);
        }
    }

    /// Returns the number of declined addresses in subnet `subnet` at `now`.
    pub fn declined(&self, subnet: usize, now: Timestamp) -> usize {
        self.pools.get(subnet).map_or(0, |pool| pool.declined(now))
    }

    /// Returns the number of the subnet that contains `address`, in the order of the configuration.
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<usize> {
        subnet_of(&self.pools, address)
    }

    pub(super) fn put(&mut self, address: Ipv4Addr, mut binding: Binding) {
        let Some(subnet) = self.pool_of(address) else {
            self.set_aside.insert(address, binding);
            return;
        };
        if let Some(old) = self.bindings.get(&address) {
            self.pools[subnet].remove(address, old);
            let is_same = old.holder.is_same_machine(&binding.holder);
            binding.holder.is_boot_stage |= old.holder.is_boot_stage && is_same;
            binding.leased |= old.leased && is_same;
            let leaves_index = old.holder.client != binding.holder.client || binding.holder.is_known_by_mac();
            if leaves_index && !old.holder.is_known_by_mac() {
                self.clients.remove(subnet, &old.holder.client, address);
            }
            if old.holder.mac != binding.holder.mac || binding.holder.mac.is_none() {
                self.machines.remove(subnet, &old.holder, address);
            }
        }
        self.pools[subnet].insert(address, &binding);
        let is_known_by_mac = binding.holder.is_known_by_mac();
        self.bindings.insert(address, binding);
        let pools = &self.pools;
        if !is_known_by_mac {
            self.clients.insert(subnet, address, &self.bindings, |address| subnet_of(pools, address));
        }
        self.machines.insert(subnet, address, &self.bindings, |address| subnet_of(pools, address));
        self.advance(subnet, address);
    }
}

fn subnet_of(pools: &[Pool], address: Ipv4Addr) -> Option<usize> {
    pools.iter().position(|pool| pool.network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClientId;

    const A: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);

    fn book() -> LeaseBook {
        let network = "192.168.77.0/24".parse().unwrap();
        LeaseBook::new(vec![Pool::new(network, vec!["192.168.77.50-192.168.77.52".parse().unwrap()], [])])
    }

    fn client(n: u8) -> Holder {
        let mac = crate::types::MacAddr([2, 0, 0, 0, 0, n]);
        Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false }
    }

    fn offer(n: u8, until: Timestamp) -> LeaseChange {
        LeaseChange::Hold { address: A, holder: client(n), state: State::Offered, until }
    }

    fn lease(n: u8, until: u64) -> Lease {
        Lease {
            address: A,
            holder: client(n),
            hardware: HardwareAddr::default(),
            state: State::Leased,
            until: Timestamp::from_seconds(until),
        }
    }

    #[test]
    fn an_offer_holds_the_address_until_it_ends() {
        let mut book = book();
        let until = Timestamp::from_seconds(30);
        book.apply(&offer(1, until));
        let at = Timestamp::from_seconds;
        assert!(!book.is_free_for(A, &client(2), at(29)));
        assert!(book.is_free_for(A, &client(1), at(29)));
        assert!(book.is_free_for(A, &client(2), at(30)));
        assert_eq!(book.binding_of(0, &client(1), at(0)).map(|(address, _)| address), Some(A));
    }

    #[test]
    fn only_offers_are_withdrawn_by_their_client() {
        let mut book = book();
        let until = Timestamp::from_seconds(30);
        book.apply(&offer(1, until));
        book.apply(&LeaseChange::Withdraw { address: A, holder: client(2) });
        assert!(!book.is_free_for(A, &client(3), Timestamp(0)));
        book.apply(&LeaseChange::Withdraw { address: A, holder: client(1) });
        assert!(book.is_free_for(A, &client(3), Timestamp(0)));
        book.apply(&LeaseChange::Store(lease(1, 60)));
        book.apply(&LeaseChange::Withdraw { address: A, holder: client(1) });
        assert!(!book.is_free_for(A, &client(3), Timestamp(0)));
    }

    #[test]
    fn a_failed_store_restores_the_stored_lease() {
        let mut book = book();
        let now = Timestamp::from_seconds(10);
        book.apply(&LeaseChange::Store(lease(1, 3600)));
        assert_eq!(book.binding(A).unwrap().stored, None);
        book.not_stored(&lease(1, 3600), now);
        assert_eq!(book.binding(A).unwrap().state, State::Offered);
        assert_eq!(book.binding(A).unwrap().until, now.after(OFFER_HOLD));

        book.apply(&LeaseChange::Store(lease(1, 3600)));
        book.stored(&lease(1, 3600), Timestamp(0));
        book.apply(&LeaseChange::Store(lease(1, 7200)));
        assert_eq!(book.binding(A).unwrap().stored, Some(Timestamp::from_seconds(3600)));
        book.not_stored(&lease(1, 7200), now);
        assert_eq!(book.binding(A).unwrap().until, Timestamp::from_seconds(3600));
    }

    #[test]
    fn a_reassigned_address_forgets_its_old_client() {
        let mut book = book();
        book.apply(&LeaseChange::Store(lease(1, 5)));
        book.apply(&LeaseChange::Store(lease(2, 60)));
        assert!(book.binding_of(0, &client(1), Timestamp(0)).is_none());
        assert_eq!(book.len(), 1);
        book.stored(&lease(1, 5), Timestamp(0));
        assert_eq!(book.binding(A).unwrap().stored, None, "a late report of the old lease changes nothing");
    }

    #[test]
    fn leases_outside_the_configuration_are_left_alone() {
        let mut book = book();
        assert!(!book.load(Lease { address: Ipv4Addr::new(10, 0, 0, 1), ..lease(1, 60) }));
        assert!(book.load(lease(1, 60)));
        assert_eq!(book.binding(A).unwrap().stored, Some(Timestamp::from_seconds(60)));
    }

    #[test]
    fn one_machine_keeps_one_address_through_all_stages() {
        let (mut book, mut never_booted) = (book(), book());
        let now = Timestamp::from_seconds(10);
        let firmware = Holder { is_boot_stage: true, ..client(1) };
        let duid = ClientId::new(1, &[2, 0, 0, 0, 0, 1], Some(b"\xffduid")).unwrap();
        let system = Holder { client: duid, ..client(1) };
        let leased = |holder: &Holder| LeaseChange::Store(Lease { holder: holder.clone(), ..lease(1, 3600) });
        book.apply(&leased(&firmware));
        assert!(book.is_free_for(A, &system, now), "the same machine");
        assert_eq!(book.binding_of(0, &system, now).map(|(address, _)| address), Some(A));
        book.apply(&leased(&system));
        assert_eq!(book.binding_of(0, &firmware, now).map(|(address, _)| address), Some(A), "it boots again");
        let other_system = Holder { client: ClientId::from_stored(b"\xffother").unwrap(), ..client(1) };
        assert!(book.is_free_for(A, &other_system, now), "it was reinstalled");
        never_booted.apply(&leased(&system));
        assert!(!never_booted.is_free_for(A, &other_system, now), "two clients that never booted stay two");
    }

    #[test]
    fn strikes_count_until_a_client_extends_its_lease() {
        let mut book = book();
        let declined = |until| LeaseChange::Store(Lease { state: State::Declined, ..lease(1, until) });
        for (i, until) in [100, 200, 300].into_iter().enumerate() {
            book.apply(&declined(until));
            assert_eq!(
                usize::from(book.binding(A).unwrap().conflicts),
                i,
                "the word of a client is no conflict"
            );
            book.count_conflict(A);
            assert_eq!(usize::from(book.binding(A).unwrap().conflicts), i + 1);
            book.apply(&offer(2, Timestamp::from_seconds(until + 1)));
            book.apply(&LeaseChange::Store(lease(2, until + 1)));
        }
        book.apply(&LeaseChange::Store(lease(2, 900)));
        assert_eq!(book.binding(A).unwrap().conflicts, 0);
    }
}
