//! Who is being served, by which thread, and who must give way: limits in all and per client, one transfer for one
//! request however often it comes, and how many errors a network is sent.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::tftp::Limits;

/// A client's port and the address of ours that it asked: what tells transfers apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The client.
    pub peer: SocketAddrV4,
    /// Our address.
    pub local: Ipv4Addr,
}

/// A transfer of a flow: they follow one another, and the serial tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Whose.
    pub flow: Flow,
    /// Which.
    pub serial: u64,
}

/// All transfers under way.
#[derive(Debug)]
pub struct Table {
    entries: HashMap<Flow, Entry>,
    per_client: HashMap<Ipv4Addr, usize>,
    /// Those that acknowledged nothing yet, oldest first: who asked with a forged address is among them.
    unproven: BTreeMap<u64, Flow>,
    next: u64,
    max_transfers: usize,
    max_per_client: usize,
    /// Who gives way must be served by the thread that takes its place: there its port is free at once, and in a range of
    /// ports there may be no other.
    within_thread: bool,
    errors: ErrorRate,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    thread: usize,
    request: u64,
    proven: bool,
    repeated: bool,
    upload: bool,
}

/// Whether a request gets a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It has a place now.
    Admitted {
        /// This one.
        place: Place,
        /// The transfer that had to give way for it, and the thread that has it.
        instead_of: Option<(Place, usize)>,
    },
    /// The transfer that it asks for is under way.
    Duplicate,
    /// There is a place if this thread judges the request: it has who must give way.
    Elsewhere(usize),
    /// All places are taken by clients that get on.
    Full,
}

impl Table {
    /// Empty. `within_thread`: a transfer gives way only to one of its own thread.
    pub fn new(limits: &Limits, within_thread: bool) -> Table {
        Table {
            entries: HashMap::new(),
            per_client: HashMap::new(),
            unproven: BTreeMap::new(),
            next: 0,
            max_transfers: limits.max_transfers.max(1),
            max_per_client: limits.max_per_client.max(1),
            within_thread,
            errors: ErrorRate::default(),
        }
    }

    /// How many.
    pub fn under_way(&self) -> usize {
        self.entries.len()
    }

    /// The thread that has the transfer that `flow` asks for with this request, if it is under way.
    pub fn owner(&self, flow: Flow, request: u64) -> Option<usize> {
        self.entries.get(&flow).filter(|entry| entry.request == request).map(|entry| entry.thread)
    }

    /// Whether the transfer still has its place.
    pub fn has(&self, Place { flow, serial }: Place) -> bool {
        self.entries.get(&flow).is_some_and(|entry| entry.serial == serial)
    }

    /// Whether a transfer of `flow` is under way.
    pub fn has_one(&self, flow: Flow) -> bool {
        self.entries.contains_key(&flow)
    }

    /// Asks for a place for `flow`, whose request datagram has the hash `request`; `thread` will serve it.
    ///
    /// The same request again is a copy made by the network, or the client did not get the answer, which is sent again
    /// anyway: it gets nothing new (T-16). Another request from the same port means that the client has given the first
    /// one up; so does the same one for the second time when the first is getting on, unless that is an upload: of two of
    /// the same name one would be in vain.
    pub fn admit(&mut self, flow: Flow, request: u64, thread: usize) -> Admission {
        let mut instead_of = None;
        if let Some(entry) = self.entries.get_mut(&flow) {
            if entry.request == request && (entry.upload || !(entry.proven && entry.repeated)) {
                entry.repeated |= entry.proven;
                return Admission::Duplicate;
            }
            instead_of = Some((Place { flow, serial: entry.serial }, entry.thread));
        } else if self.per_client.get(flow.peer.ip()).is_some_and(|count| *count >= self.max_per_client) {
            instead_of = self.oldest(thread, |other| other.peer.ip() == flow.peer.ip());
            if instead_of.is_none() {
                return Admission::Full;
            }
        } else if self.entries.len() >= self.max_transfers {
            instead_of = self.oldest(thread, |_| true);
            if instead_of.is_none() {
                return Admission::Full;
            }
        }
        if let Some((other, owner)) = instead_of {
            if self.within_thread && owner != thread {
                return Admission::Elsewhere(owner);
            }
            self.remove(other.flow);
        }
        let serial = self.next;
        self.next += 1;
        let entry = Entry { serial, thread, request, proven: false, repeated: false, upload: false };
        self.entries.insert(flow, entry);
        *self.per_client.entry(*flow.peer.ip()).or_default() += 1;
        self.unproven.insert(serial, flow);
        Admission::Admitted { place: Place { flow, serial }, instead_of }
    }

    /// The client of a transfer acknowledged something.
    pub fn proven(&mut self, Place { flow, serial }: Place) {
        if let Some(entry) = self.entries.get_mut(&flow).filter(|entry| entry.serial == serial) {
            entry.proven = true;
            self.unproven.remove(&serial);
        }
    }

    /// A transfer is an upload: these are bounded by `tftp_upload::MAX_UPLOADS`, and give way to nobody else.
    pub fn is_upload(&mut self, place: Place) {
        self.proven(place);
        if let Some(entry) = self.entries.get_mut(&place.flow).filter(|entry| entry.serial == place.serial) {
            entry.upload = true;
        }
    }

    /// A transfer is over.
    pub fn end(&mut self, Place { flow, serial }: Place) {
        if self.entries.get(&flow).is_some_and(|entry| entry.serial == serial) {
            self.remove(flow);
        }
    }

    /// Whether an error may be sent to `client` at `now`; if so it is counted.
    pub fn may_send_error(&mut self, client: Ipv4Addr, now: Duration) -> bool {
        self.errors.take(client, now)
    }

    /// Who of the `wanted` must give way: the oldest that acknowledged nothing, of `thread` where that matters and there is
    /// one.
    fn oldest(&self, thread: usize, wanted: impl Fn(&Flow) -> bool) -> Option<(Place, usize)> {
        let mut oldest = None;
        for flow in self.unproven.values().filter(|flow| wanted(flow)) {
            let found = self.place(*flow);
            if !self.within_thread || found.is_some_and(|(_, owner)| owner == thread) {
                return found;
            }
            oldest = oldest.or(found);
        }
        oldest
    }

    fn place(&self, flow: Flow) -> Option<(Place, usize)> {
        let entry = self.entries.get(&flow)?;
        Some((Place { flow, serial: entry.serial }, entry.thread))
    }

    fn remove(&mut self, flow: Flow) {
        let Some(entry) = self.entries.remove(&flow) else { return };
        self.unproven.remove(&entry.serial);
        if let Some(count) = self.per_client.get_mut(flow.peer.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(flow.peer.ip());
            }
        }
    }
}

/// Errors sent in the current second, by network of 256 addresses. They answer requests, which may be forged; an error is
/// as long as a request, so what is bounded here is that we are used to hide who floods a network.
#[derive(Debug, Default)]
struct ErrorRate {
    second: u64,
    sent: HashMap<[u8; 3], u32>,
}

impl ErrorRate {
    /// Errors a second to one network. A room of 250 machines, each of which looks for a dozen files that are not there,
    /// gets its 3,000 in three seconds.
    const PER_SECOND: u32 = 1000;
    /// Networks in one second; further ones get no errors. A flood from forged addresses must not fill the memory.
    const NETWORKS: usize = 4096;

    fn take(&mut self, client: Ipv4Addr, now: Duration) -> bool {
        if self.second != now.as_secs() {
            self.second = now.as_secs();
            self.sent.clear();
        }
        let [a, b, c, _] = client.octets();
        if !self.sent.contains_key(&[a, b, c]) && self.sent.len() >= Self::NETWORKS {
            return false;
        }
        let sent = self.sent.entry([a, b, c]).or_default();
        *sent += 1;
        *sent <= Self::PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(max_transfers: usize, max_per_client: usize) -> Table {
        with_limits(max_transfers, max_per_client, false)
    }

    fn with_limits(max_transfers: usize, max_per_client: usize, within_thread: bool) -> Table {
        let (max_block_size, max_window, allow) = (None, 64, Vec::new());
        let limits = Limits { max_block_size, max_window, max_transfers, max_per_client, allow };
        Table::new(&limits, within_thread)
    }

    fn flow(client: u8, port: u16) -> Flow {
        Flow { peer: SocketAddrV4::new([10, 0, 0, client].into(), port), local: [10, 0, 0, 1].into() }
    }

    fn admitted(table: &mut Table, flow: Flow, request: u64) -> Place {
        match table.admit(flow, request, 0) {
            Admission::Admitted { place, instead_of: None } => place,
            other => panic!("{other:?}"),
        }
    }

    /// Who got a place, and whose it was.
    fn gives_way(table: &mut Table, flow: Flow, request: u64) -> (Place, Flow) {
        match table.admit(flow, request, 0) {
            Admission::Admitted { place, instead_of: Some((other, 0)) } => (place, other.flow),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn t_16_the_same_request_again_is_one_transfer() {
        let mut table = table(10, 10);
        let place = admitted(&mut table, flow(2, 7), 1);
        for _ in 0..5 {
            assert_eq!(table.admit(flow(2, 7), 1, 0), Admission::Duplicate, "the answer is on its way");
        }
        table.proven(place);
        assert_eq!(table.admit(flow(2, 7), 1, 0), Admission::Duplicate, "a late copy");
        assert_eq!(gives_way(&mut table, flow(2, 7), 1).1, flow(2, 7), "the client began anew");
        assert_eq!(gives_way(&mut table, flow(2, 7), 2).1, flow(2, 7), "and wants something else");
        table.end(place);
        assert_eq!(table.under_way(), 1, "the end of the first is not the end of the third");
        let other = Flow { local: [10, 0, 0, 99].into(), ..flow(2, 7) };
        admitted(&mut table, other, 1);
    }

    #[test]
    fn t_16_a_write_request_begins_no_second_upload_however_often_it_comes() {
        let mut table = table(10, 10);
        let place = admitted(&mut table, flow(2, 7), 1);
        table.is_upload(place);
        for _ in 0..5 {
            assert_eq!(table.admit(flow(2, 7), 1, 0), Admission::Duplicate);
        }
        assert_eq!(gives_way(&mut table, flow(2, 7), 2).1, flow(2, 7), "the client wants something else");
    }

    #[test]
    fn under_pressure_the_oldest_that_acknowledged_nothing_goes_first() {
        let mut table = table(3, 3);
        let first = admitted(&mut table, flow(1, 1), 1);
        admitted(&mut table, flow(2, 1), 1);
        admitted(&mut table, flow(3, 1), 1);
        table.proven(first);
        assert_eq!(gives_way(&mut table, flow(4, 1), 1).1, flow(2, 1));
        assert_eq!(gives_way(&mut table, flow(5, 1), 1).1, flow(3, 1));
        assert_eq!(table.under_way(), 3);
        table.end(first);
        admitted(&mut table, flow(6, 1), 1);
    }

    #[test]
    fn in_a_range_of_ports_the_oldest_of_the_same_thread_goes_or_another_thread_is_asked() {
        let mut table = with_limits(2, 2, true);
        for (client, thread) in [(1, 0), (2, 1)] {
            let admission = table.admit(flow(client, 1), 1, thread);
            assert!(matches!(admission, Admission::Admitted { instead_of: None, .. }), "{admission:?}");
        }
        assert_eq!(table.admit(flow(3, 1), 1, 2), Admission::Elsewhere(0), "the oldest of all");
        assert_eq!(table.admit(flow(2, 1), 2, 0), Admission::Elsewhere(1), "its own transfer before");
        assert_eq!(table.under_way(), 2, "nobody was put out for that");
        match table.admit(flow(3, 1), 1, 1) {
            Admission::Admitted { instead_of: Some((other, 1)), .. } => assert_eq!(other.flow, flow(2, 1)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_gets_on_is_never_put_out() {
        let mut table = table(2, 2);
        for port in [1, 2] {
            let place = admitted(&mut table, flow(1, port), 1);
            table.proven(place);
        }
        assert_eq!(table.admit(flow(2, 1), 1, 0), Admission::Full);
        assert_eq!(table.under_way(), 2);
    }

    #[test]
    fn one_client_cannot_take_the_places_of_others() {
        let mut table = table(10, 2);
        admitted(&mut table, flow(2, 1), 1);
        admitted(&mut table, flow(1, 1), 1);
        let second = admitted(&mut table, flow(1, 2), 1);
        assert_eq!(gives_way(&mut table, flow(1, 3), 1).1, flow(1, 1), "its own oldest, not another's");
        table.proven(second);
        let (place, other) = gives_way(&mut table, flow(1, 4), 1);
        assert_eq!(other, flow(1, 3));
        table.proven(place);
        assert_eq!(table.admit(flow(1, 5), 1, 0), Admission::Full);
        admitted(&mut table, flow(3, 1), 1);
        table.end(place);
        admitted(&mut table, flow(1, 6), 1);
    }

    #[test]
    fn t_13_errors_to_a_network_are_bounded_in_a_second() {
        let mut rate = ErrorRate::default();
        let second = Duration::from_secs;
        let sent = (0..5000_u32).filter(|i| rate.take([10, 0, 0, (i % 256) as u8].into(), second(7))).count();
        assert_eq!(sent, 1000);
        assert!(rate.take([10, 0, 1, 1].into(), second(7)), "another network");
        assert!(rate.take([10, 0, 0, 1].into(), second(8)), "the next second");
        let networks = (0..10_000_u32).filter(|i| rate.take(Ipv4Addr::from(i << 8), second(9))).count();
        assert_eq!((networks, rate.sent.len()), (ErrorRate::NETWORKS, ErrorRate::NETWORKS));
    }
}
