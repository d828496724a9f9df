//! Selects the leases of another server's file that are valid here. `lanboot leases import` stores them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use crate::lease::address_map::AddressMap;
use crate::lease::binding::{Lease, State};
use crate::lease::book::LeaseBook;
use crate::lease::import::entry::Found;
use crate::types::{ClientId, MacAddr, Timestamp};

/// The maximum number of addresses in a file: twice what the server was measured with.
const MAX_ADDRESSES: usize = 500_000;

/// The reason why an entry is not imported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Skipped {
    /// A later entry of the same address counts.
    Superseded,
    /// No client has the address: it is free, released or abandoned.
    Free,
    /// The lease has ended.
    Ended,
    /// No subnet contains the address.
    OtherSubnet,
    /// A subnet contains the address, but no pool does, and it is not reserved for this client.
    NotInPool,
    /// The address is reserved for another machine, or the client has a reservation for another address.
    Reserved,
    /// The address is already leased or quarantined here.
    Taken,
    /// The client has another lease in the subnet.
    OtherLease,
    /// The lease is for an IPv6 address.
    Ipv6,
    /// The file has entries for too many addresses.
    TooMany,
}

impl Skipped {
    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Skipped::Superseded => "superseded",
            Skipped::Free => "free",
            Skipped::Ended => "ended",
            Skipped::OtherSubnet => "other_subnet",
            Skipped::NotInPool => "not_in_pool",
            Skipped::Reserved => "reserved",
            Skipped::Taken => "taken",
            Skipped::OtherLease => "other_lease",
            Skipped::Ipv6 => "ipv6",
            Skipped::TooMany => "too_many",
        }
    }

    /// Returns a description that follows a number of entries.
    pub fn description(self) -> &'static str {
        match self {
            Skipped::Superseded => "superseded by a later entry of their address",
            Skipped::Free => "of addresses that no client has",
            Skipped::Ended => "ended",
            Skipped::OtherSubnet => "in none of the subnets",
            Skipped::NotInPool => "in a subnet, but neither in its pool nor reserved for their client",
            Skipped::Reserved => "against a reservation in `machines`: of their address or for their client",
            Skipped::Taken => "of addresses that lanboot has leased or found in use",
            Skipped::OtherLease => "of clients that have another lease in the subnet",
            Skipped::Ipv6 => "of IPv6",
            Skipped::TooMany => "beyond the maximum number of addresses in the file",
        }
    }
}

/// The reserved addresses with the MACs of their machines. A machine may have several MACs, and addresses in several
/// subnets.
#[derive(Clone, Default, Debug)]
pub struct Reservations {
    /// Without a MAC if the machine is known in another way.
    by_address: HashMap<Ipv4Addr, Vec<MacAddr>>,
    by_mac: HashMap<MacAddr, Vec<Ipv4Addr>>,
}

impl FromIterator<(Ipv4Addr, Option<MacAddr>)> for Reservations {
    fn from_iter<I: IntoIterator<Item = (Ipv4Addr, Option<MacAddr>)>>(all: I) -> Reservations {
        let mut found = Reservations::default();
        for (address, mac) in all {
            found.by_address.entry(address).or_default().extend(mac);
            if let Some(mac) = mac {
                found.by_mac.entry(mac).or_default().push(address);
            }
        }
        found
    }
}

/// Collects the entries of a file, then selects the valid leases.
#[derive(Debug)]
pub struct Import<'a> {
    /// The leases that lanboot has granted.
    book: &'a LeaseBook,
    reservations: &'a Reservations,
    now: Timestamp,
    /// The last entry of each address in a subnet.
    last: AddressMap<Option<Lease>>,
    skipped: BTreeMap<Skipped, u64>,
}

impl<'a> Import<'a> {
    /// Starts an import at `now` that keeps all leases of `book`.
    pub fn new(book: &'a LeaseBook, reservations: &'a Reservations, now: Timestamp) -> Import<'a> {
        Import { book, reservations, now, last: AddressMap::default(), skipped: BTreeMap::new() }
    }

    /// Adds the next entry of the file.
    pub fn add(&mut self, found: Found) {
        match found {
            Found::Entry(address, _) if self.book.pool_of(address).is_none() => {
                self.skip(Skipped::OtherSubnet);
            }
            Found::Entry(address, _)
                if self.last.len() >= MAX_ADDRESSES && !self.last.contains_key(&address) =>
            {
                self.skip(Skipped::TooMany);
            }
            Found::Entry(address, lease) => {
                if self.last.insert(address, lease).is_some() {
                    self.skip(Skipped::Superseded);
                }
            }
            Found::Ipv6 => self.skip(Skipped::Ipv6),
            // It is no lease.
            Found::Host(_) => {}
            // The older entry does not count either, because it may belong to another client.
            Found::Broken(_, address) => {
                if address.and_then(|address| self.last.remove(&address)).is_some() {
                    self.skip(Skipped::Superseded);
                }
            }
        }
    }

    fn skip(&mut self, why: Skipped) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Returns the leases to store in the order of their addresses, and the number of skipped entries per reason.
    pub fn finish(mut self) -> (Vec<Lease>, BTreeMap<Skipped, u64>) {
        let mut sound = Vec::new();
        for lease in std::mem::take(&mut self.last).into_values() {
            match lease.ok_or(Skipped::Free).and_then(|lease| self.judge(lease)) {
                Ok(lease) => sound.push(lease),
                Err(why) => self.skip(why),
            }
        }
        // Of several leases of one client, the one that ends last counts. dhcpd keeps those that a client has given up.
        sound.sort_by_key(|lease| (Reverse(lease.until), lease.address));
        let mut clients: HashSet<(Option<usize>, ClientId)> = HashSet::new();
        let mut taken = Vec::new();
        for lease in sound {
            if clients.insert((self.book.pool_of(lease.address), lease.holder.client.clone())) {
                taken.push(lease);
            } else {
                self.skip(Skipped::OtherLease);
            }
        }
        taken.sort_by_key(|lease| lease.address);
        (taken, self.skipped)
    }

    fn judge(&self, lease: Lease) -> Result<Lease, Skipped> {
        let (address, who) = (lease.address, &lease.holder);
        if lease.until <= self.now {
            return Err(Skipped::Ended);
        }
        let subnet = self.book.pool_of(address).ok_or(Skipped::OtherSubnet)?;
        let of_address = self.reservations.by_address.get(&address);
        let for_client = who.mac.and_then(|mac| self.reservations.by_mac.get(&mac));
        let is_elsewhere = |other: &Ipv4Addr| *other != address && self.book.pool_of(*other) == Some(subnet);
        let elsewhere = for_client.is_some_and(|addresses| addresses.iter().any(is_elsewhere));
        let is_of_client = |macs: &Vec<MacAddr>| who.mac.is_some_and(|mac| macs.contains(&mac));
        if elsewhere || of_address.is_some_and(|macs| !is_of_client(macs)) {
            return Err(Skipped::Reserved);
        }
        if of_address.is_none() && !self.book.shares(subnet, address) {
            return Err(Skipped::NotInPool);
        }
        // A quarantined address counts as taken, because a machine was found there.
        let binding = self.book.binding(address);
        if binding.is_some_and(|binding| binding.until > self.now && binding.state != State::Released) {
            return Err(Skipped::Taken);
        }
        match self.book.binding_of(subnet, who, self.now) {
            Some((_, binding)) if binding.is_live(self.now) && binding.state == State::Leased => {
                Err(Skipped::OtherLease)
            }
            _ => Ok(lease),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Holder, LeaseChange, Pool};

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, n)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn lease(address: u8, client: u8, until: u64) -> Lease {
        let holder =
            Holder { client: ClientId::of_mac(mac(client)), mac: Some(mac(client)), is_boot_stage: false };
        let hardware = mac(client).into();
        Lease { address: ip(address), holder, hardware, state: State::Leased, until: at(until) }
    }

    fn entry(lease: Lease) -> Found {
        Found::Entry(lease.address, Some(lease))
    }

    /// Uses a pool of 10.0.0.1 to .99. Address .5 is reserved for machine 5 and .6 for another machine. Client 70 has
    /// .70; client 71 had .71.
    fn finish(found: Vec<Found>) -> (Vec<u8>, Vec<(Skipped, u64)>) {
        let range = "10.0.0.1-10.0.0.99".parse().unwrap();
        let pool = Pool::new("10.0.0.0/24".parse().unwrap(), vec![range], [ip(5), ip(6)]);
        let mut book = LeaseBook::new(vec![pool]);
        book.load(lease(70, 70, 2000));
        book.load(lease(71, 71, 500));
        let declined = Lease { state: State::Declined, ..lease(72, 72, 2000) };
        book.apply(&LeaseChange::Store(declined));
        let reservations = [(ip(5), Some(mac(5))), (ip(6), None)].into_iter().collect();
        let mut import = Import::new(&book, &reservations, at(1000));
        found.into_iter().for_each(|found| import.add(found));
        let (taken, skipped) = import.finish();
        let taken = taken.iter().map(|lease| lease.address.octets()[3]).collect();
        (taken, skipped.into_iter().collect())
    }

    #[test]
    fn the_last_entry_of_an_address_counts() {
        let found = vec![
            entry(lease(1, 1, 1500)),
            entry(lease(2, 2, 1500)),
            entry(lease(1, 3, 1600)),
            Found::Entry(ip(2), None),
        ];
        assert_eq!(finish(found), (vec![1], vec![(Skipped::Superseded, 2), (Skipped::Free, 1)]));
    }

    #[test]
    fn an_unreadable_entry_supersedes_older_ones() {
        let place = super::super::Place { line: 9, column: 1 };
        let broken =
            |address| Found::Broken(super::super::Problem { place, message: String::new() }, address);
        let found =
            vec![entry(lease(1, 1, 1500)), broken(Some(ip(1))), broken(None), entry(lease(2, 2, 1500))];
        assert_eq!(finish(found), (vec![2], vec![(Skipped::Superseded, 1)]));
    }

    #[test]
    fn only_valid_leases_of_a_subnet_are_taken() {
        let elsewhere = Lease { address: Ipv4Addr::new(10, 9, 0, 1), ..lease(1, 1, 1500) };
        let found = vec![entry(elsewhere), entry(lease(1, 1, 1000)), entry(lease(200, 2, 1500)), Found::Ipv6];
        let expected = [Skipped::Ended, Skipped::OtherSubnet, Skipped::NotInPool, Skipped::Ipv6];
        assert_eq!(finish(found), (vec![], expected.map(|why| (why, 1)).to_vec()));
    }

    #[test]
    fn leases_of_lanboot_stay() {
        let found = vec![
            entry(lease(70, 1, 9000)),
            entry(lease(71, 2, 9000)),
            entry(lease(72, 3, 9000)),
            entry(lease(73, 70, 9000)),
            entry(lease(74, 71, 9000)),
        ];
        assert_eq!(finish(found), (vec![71, 74], vec![(Skipped::Taken, 2), (Skipped::OtherLease, 1)]));
    }

    #[test]
    fn reservations_stay_too() {
        let found = vec![entry(lease(5, 9, 9000)), entry(lease(6, 6, 9000)), entry(lease(7, 5, 9000))];
        assert_eq!(finish(found), (vec![], vec![(Skipped::Reserved, 3)]));
        assert_eq!(finish(vec![entry(lease(5, 5, 9000))]), (vec![5], vec![]));
    }

    #[test]
    fn a_machine_with_several_macs_keeps_its_address_with_each() {
        let range = "10.0.0.1-10.0.0.99".parse().unwrap();
        let book = LeaseBook::new(vec![Pool::new("10.0.0.0/24".parse().unwrap(), vec![range], [ip(5)])]);
        let reservations = [(ip(5), Some(mac(5))), (ip(5), Some(mac(6)))].into_iter().collect();
        for (address, client, expected) in [(5, 5, Ok(5)), (5, 6, Ok(5)), (5, 7, Err(())), (8, 6, Err(()))] {
            let mut import = Import::new(&book, &reservations, at(1000));
            import.add(entry(lease(address, client, 9000)));
            let (taken, skipped) = import.finish();
            let found = taken.first().map(|lease| lease.address.octets()[3]).ok_or(());
            assert_eq!(found, expected, "client {client} with {address}");
            assert_eq!(skipped.contains_key(&Skipped::Reserved), expected.is_err());
        }
    }

    #[test]
    fn of_several_leases_of_a_client_the_longest_is_taken() {
        let found = vec![entry(lease(1, 1, 1500)), entry(lease(2, 1, 9000)), entry(lease(3, 1, 1600))];
        assert_eq!(finish(found), (vec![2], vec![(Skipped::OtherLease, 2)]));
    }

    #[test]
    fn d_16_the_number_of_addresses_is_bounded() {
        let book = LeaseBook::new(vec![Pool::new("10.0.0.0/8".parse().unwrap(), vec![], [])]);
        let reservations = Reservations::default();
        let mut import = Import::new(&book, &reservations, at(1000));
        let first = u32::from(ip(0));
        for n in 0..MAX_ADDRESSES as u32 + 5 {
            import.add(Found::Entry(Ipv4Addr::from(first + n), None));
        }
        // An address that is known already needs no more memory.
        import.add(Found::Entry(ip(0), None));
        let (_, skipped) = import.finish();
        assert_eq!((skipped[&Skipped::TooMany], skipped[&Skipped::Superseded]), (5, 1));
    }
}
