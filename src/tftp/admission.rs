//! Admission of transfers: limits in all and per client, one transfer per request however often the request arrives,
//! eviction of silent transfers, and a limit of errors per network.
//!
//! The workers of `server/tftp/` share one [`TransferTable`] and ask it for each request. It holds no sockets and reads no
//! clock.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::tftp::settings::Limits;
use crate::types::limit_key;

/// The addresses that identify a transfer: the client's port, and the server address that it sent the request to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    pub peer: SocketAddr,
    pub local: IpAddr,
}

impl Flow {
    /// The key of the limits per client.
    fn client(&self) -> IpAddr {
        limit_key(self.peer.ip())
    }
}

/// The identity of a transfer. Transfers of one flow follow each other; the serial number distinguishes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferId {
    pub flow: Flow,
    pub serial: u64,
}

/// The maximum number of silent transfers per client address, which limits the cost of a flood from there. Transfers
/// that make progress do not count, so that many machines may share one address (NAT).
pub const MAX_SILENT: usize = 16;

/// All running transfers.
#[derive(Debug)]
pub struct TransferTable {
    entries: HashMap<Flow, Entry>,
    /// By [`limit_key`].
    clients: HashMap<IpAddr, Client>,
    /// The transfers of all clients that may be evicted.
    waiting: Waiting,
    next: u64,
    max_transfers: usize,
    max_per_client: usize,
    /// Whether a transfer may be evicted only for a new one of the same thread. With a range of ports, the evicted
    /// transfer's port is free at once only in its own thread, and there may be no other port.
    within_thread: bool,
    errors: ErrorRate,
}

/// Transfers that may be evicted, by time; the first one has been silent for longest. Transfers whose client is later
/// than usual have the time of the last progress. Transfers without any acknowledgement, whose client address may be
/// forged, have the time of their start.
type Waiting = BTreeMap<(Duration, u64), Flow>;

#[derive(Debug, Default)]
struct Client {
    transfers: usize,
    waiting: Waiting,
    /// The number of transfers that have been silent for long.
    silent: usize,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    thread: usize,
    request: u64,
    is_proven: bool,
    is_repeated: bool,
    is_upload: bool,
    /// The key in [`Waiting`], if the transfer is there.
    waits_since: Option<Duration>,
    /// Whether the transfer has been silent for long.
    silent: bool,
}

/// The decision about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The transfer may start.
    Admitted {
        id: TransferId,
        /// The transfer that was evicted for it, with the thread that serves it.
        evicted: Option<(TransferId, usize)>,
    },
    /// The requested transfer is already running.
    Duplicate,
    /// Another thread, with this number, must decide: it serves the transfer that has to be evicted.
    OtherWorker(usize),
    /// The limit is reached, and all transfers make progress.
    Full,
}

impl TransferTable {
    /// Makes an empty table. With `within_thread`, a transfer is evicted only for one of the same thread.
    pub fn new(limits: &Limits, within_thread: bool) -> TransferTable {
        TransferTable {
            entries: HashMap::new(),
            clients: HashMap::new(),
            waiting: Waiting::new(),
            next: 0,
            max_transfers: limits.max_transfers.max(1),
            max_per_client: limits.max_per_client.max(1),
            within_thread,
            errors: ErrorRate::default(),
        }
    }

    /// Changes the limits on the number of transfers. Running transfers beyond a lower limit continue.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.max_transfers = limits.max_transfers.max(1);
        self.max_per_client = limits.max_per_client.max(1);
    }

    /// Returns the number of running transfers.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Returns the thread that serves the transfer of `flow` with this request, if it is running.
    pub fn worker_of(&self, flow: Flow, request: u64) -> Option<usize> {
        self.entries.get(&flow).filter(|entry| entry.request == request).map(|entry| entry.thread)
    }

    /// Whether the transfer is still in the table.
    pub fn has(&self, TransferId { flow, serial }: TransferId) -> bool {
        self.entries.get(&flow).is_some_and(|entry| entry.serial == serial)
    }

    /// Whether a transfer of `flow` is running.
    pub fn has_flow(&self, flow: Flow) -> bool {
        self.entries.contains_key(&flow)
    }

    /// Decides at `now` about a request of `flow`, whose datagram has the hash `request`, for a transfer served by
    /// `thread`. If the limit is reached, the transfer that was silent for longest is evicted.
    ///
    /// A repeated request is a duplicate made by the network, or a retry because the answer was lost; the answer is
    /// retransmitted anyway, so no new transfer starts (T-16). Another request from the same port means that the client
    /// gave up the first one. So does a second repetition when the transfer has made progress. Uploads are the
    /// exception to that, because of two uploads of one name only one could succeed.
    pub fn admit(&mut self, flow: Flow, request: u64, thread: usize, now: Duration) -> Admission {
        let mut evicted = None;
        let client = self.clients.get(&flow.client());
        if let Some(entry) = self.entries.get_mut(&flow) {
            if entry.request == request && (entry.is_upload || !(entry.is_proven && entry.is_repeated)) {
                entry.is_repeated |= entry.is_proven;
                return Admission::Duplicate;
            }
            evicted = Some((TransferId { flow, serial: entry.serial }, entry.thread));
        } else if let Some(client) = client.filter(|client| client.transfers >= self.max_per_client) {
            evicted = self.longest(&client.waiting, thread);
            if evicted.is_none() {
                return Admission::Full;
            }
        } else if self.entries.len() >= self.max_transfers {
            evicted = self.longest(&self.waiting, thread);
            if evicted.is_none() {
                return Admission::Full;
            }
        }
        if let Some((other, owner)) = evicted {
            if self.within_thread && owner != thread {
                return Admission::OtherWorker(owner);
            }
            self.remove(other.flow);
        }
        let serial = self.next;
        self.next += 1;
        let entry = Entry {
            serial,
            thread,
            request,
            is_proven: false,
            is_repeated: false,
            is_upload: false,
            waits_since: None,
            silent: false,
        };
        self.entries.insert(flow, entry);
        self.clients.entry(flow.client()).or_default().transfers += 1;
        self.wait(flow, Some(now), false);
        Admission::Admitted { id: TransferId { flow, serial }, evicted }
    }

    /// Records that the client of a transfer acknowledged something, for the first time or after a silence.
    pub fn record_progress(&mut self, id: TransferId) {
        if let Some(entry) = self.entry(id) {
            entry.is_proven = true;
            self.wait(id.flow, None, false);
        }
    }

    /// Records that the client of a transfer has been silent since `since`, which is later than usual; `long` says that
    /// it counts as silent. Returns the longest silent transfer of the same address if it has to end now, with the
    /// thread that serves it.
    pub fn record_silence(
        &mut self,
        id: TransferId,
        since: Duration,
        long: bool,
    ) -> Option<(TransferId, usize)> {
        if self.entry(id)?.is_upload {
            return None;
        }
        self.wait(id.flow, Some(since), long);
        let client = self.clients.get(&id.flow.client()).filter(|client| client.silent > MAX_SILENT)?;
        // Transfers that their thread has not yet found silent do not end, or too many would remain.
        let is_silent = |flow: &&Flow| self.entries.get(*flow).is_some_and(|entry| entry.silent);
        let first = *client.waiting.values().find(is_silent)?;
        let longest = self.id(first);
        self.remove(first);
        longest
    }

    /// Ends the longest silent transfer of `thread` and gives its port to `id`. This happens when other programs use
    /// ports of the range, so that there are fewer ports than the limit.
    pub fn reclaim_port(&mut self, id: TransferId, thread: usize) -> Option<TransferId> {
        let may_go = |flow: &&Flow| {
            **flow != id.flow
                && self.entries.get(*flow).is_some_and(|entry| entry.thread == thread && !entry.is_upload)
        };
        let flow = *self.waiting.values().find(may_go)?;
        let (other, _) = self.id(flow)?;
        self.remove(flow);
        Some(other)
    }

    /// Marks a transfer as an upload. `server/tftp/upload_slots.rs` limits uploads, so they are never evicted for downloads.
    pub fn mark_upload(&mut self, id: TransferId) {
        self.record_progress(id);
        if let Some(entry) = self.entry(id) {
            entry.is_upload = true;
        }
    }

    /// Records that an upload is stored. It stays in the table only to detect copies of its request, so it is evicted
    /// first.
    pub fn mark_stored(&mut self, id: TransferId) {
        if self.entry(id).is_some() {
            self.wait(id.flow, Some(Duration::ZERO), false);
        }
    }

    /// Removes a transfer that has ended.
    pub fn end(&mut self, id: TransferId) {
        if self.entry(id).is_some() {
            self.remove(id.flow);
        }
    }

    /// Whether an error may be sent to `client` at `now`. If so, the error is counted.
    pub fn may_send_error(&mut self, client: IpAddr, now: Duration) -> bool {
        self.errors.take(client, now)
    }

    /// Returns the first of `waiting`. With `within_thread`, prefers one of `thread`.
    fn longest(&self, waiting: &Waiting, thread: usize) -> Option<(TransferId, usize)> {
        let mut longest = None;
        for flow in waiting.values() {
            let found = self.id(*flow);
            if !self.within_thread || found.is_some_and(|(_, owner)| owner == thread) {
                return found;
            }
            longest = longest.or(found);
        }
        longest
    }

    fn entry(&mut self, TransferId { flow, serial }: TransferId) -> Option<&mut Entry> {
        self.entries.get_mut(&flow).filter(|entry| entry.serial == serial)
    }

    fn id(&self, flow: Flow) -> Option<(TransferId, usize)> {
        let entry = self.entries.get(&flow)?;
        Some((TransferId { flow, serial: entry.serial }, entry.thread))
    }

    /// Sets or clears the time from which the transfer of `flow` may be evicted.
    fn wait(&mut self, flow: Flow, since: Option<Duration>, silent: bool) {
        let Some(entry) = self.entries.get_mut(&flow) else { return };
        let client = self.clients.entry(flow.client()).or_default();
        if let Some(before) = std::mem::replace(&mut entry.waits_since, since) {
            self.waiting.remove(&(before, entry.serial));
            client.waiting.remove(&(before, entry.serial));
        }
        if let Some(since) = since {
            self.waiting.insert((since, entry.serial), flow);
            client.waiting.insert((since, entry.serial), flow);
        }
        client.silent -= usize::from(std::mem::replace(&mut entry.silent, silent));
        client.silent += usize::from(silent);
    }

    fn remove(&mut self, flow: Flow) {
        self.wait(flow, None, false);
        if self.entries.remove(&flow).is_none() {
            return;
        }
        if let Some(client) = self.clients.get_mut(&flow.client()) {
            client.transfers -= 1;
            if client.transfers == 0 {
                self.clients.remove(&flow.client());
            }
        }
    }
}

/// The number of errors sent in the current second, by network: /24 of IPv4, /64 of IPv6. Errors answer requests, whose source may be forged.
/// An error is no longer than a request, so the limit only keeps a flood from being hidden behind this server.
#[derive(Debug, Default)]
struct ErrorRate {
    second: u64,
    sent: HashMap<IpAddr, u32>,
}

impl ErrorRate {
    /// The maximum number of errors per second to one network. A room of 250 machines that each look for a dozen
    /// missing files gets its 3,000 errors in three seconds.
    const PER_SECOND: u32 = 1000;
    /// The maximum number of networks per second; others get no errors. A flood from forged addresses must not fill the
    /// memory.
    const NETWORKS: usize = 4096;

    fn take(&mut self, client: IpAddr, now: Duration) -> bool {
        if self.second != now.as_secs() {
            self.second = now.as_secs();
            self.sent.clear();
        }
        let network = match limit_key(client) {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                [a, b, c, 0].into()
            }
            network => network,
        };
        if !self.sent.contains_key(&network) && self.sent.len() >= Self::NETWORKS {
            return false;
        }
        let sent = self.sent.entry(network).or_default();
        *sent += 1;
        *sent <= Self::PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(60);

    fn table(max_transfers: usize, max_per_client: usize) -> TransferTable {
        with_limits(max_transfers, max_per_client, false)
    }

    fn with_limits(max_transfers: usize, max_per_client: usize, within_thread: bool) -> TransferTable {
        let (max_block_size, max_window, allow) = (None, 64, Vec::new());
        let limits = Limits { max_block_size, max_window, max_transfers, max_per_client, allow };
        TransferTable::new(&limits, within_thread)
    }

    fn flow(client: u8, port: u16) -> Flow {
        Flow { peer: SocketAddr::from(([10, 0, 0, client], port)), local: [10, 0, 0, 1].into() }
    }

    fn admitted(table: &mut TransferTable, flow: Flow, request: u64) -> TransferId {
        match table.admit(flow, request, 0, NOW) {
            Admission::Admitted { id, evicted: None } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Admits a request. Returns the new transfer, and the flow of the evicted one.
    fn evicted_for(table: &mut TransferTable, flow: Flow, request: u64) -> (TransferId, Flow) {
        match table.admit(flow, request, 0, NOW) {
            Admission::Admitted { id, evicted: Some((other, 0)) } => (id, other.flow),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn t_16_a_repeated_request_is_one_transfer() {
        let mut table = table(10, 10);
        let id = admitted(&mut table, flow(2, 7), 1);
        for _ in 0..5 {
            assert_eq!(table.admit(flow(2, 7), 1, 0, NOW), Admission::Duplicate, "the answer is on its way");
        }
        table.record_progress(id);
        assert_eq!(table.admit(flow(2, 7), 1, 0, NOW), Admission::Duplicate, "a late copy");
        assert_eq!(evicted_for(&mut table, flow(2, 7), 1).1, flow(2, 7), "the client started again");
        assert_eq!(evicted_for(&mut table, flow(2, 7), 2).1, flow(2, 7), "and wants something else");
        table.end(id);
        assert_eq!(table.count(), 1, "the end of the first is not the end of the third");
        let other = Flow { local: [10, 0, 0, 99].into(), ..flow(2, 7) };
        admitted(&mut table, other, 1);
    }

    #[test]
    fn t_16_a_repeated_write_request_is_one_upload() {
        let mut table = table(10, 10);
        let id = admitted(&mut table, flow(2, 7), 1);
        table.mark_upload(id);
        for _ in 0..5 {
            assert_eq!(table.admit(flow(2, 7), 1, 0, NOW), Admission::Duplicate);
        }
        assert_eq!(evicted_for(&mut table, flow(2, 7), 2).1, flow(2, 7), "the client wants something else");
    }

    #[test]
    fn the_oldest_unacknowledged_transfer_is_evicted_first() {
        let mut table = table(3, 3);
        let first = admitted(&mut table, flow(1, 1), 1);
        admitted(&mut table, flow(2, 1), 1);
        admitted(&mut table, flow(3, 1), 1);
        table.record_progress(first);
        assert_eq!(evicted_for(&mut table, flow(4, 1), 1).1, flow(2, 1));
        assert_eq!(evicted_for(&mut table, flow(5, 1), 1).1, flow(3, 1));
        assert_eq!(table.count(), 3);
        table.end(first);
        admitted(&mut table, flow(6, 1), 1);
    }

    #[test]
    fn with_a_port_range_eviction_stays_within_a_thread() {
        let mut table = with_limits(2, 2, true);
        for (client, thread) in [(1, 0), (2, 1)] {
            let admission = table.admit(flow(client, 1), 1, thread, NOW);
            assert!(matches!(admission, Admission::Admitted { evicted: None, .. }), "{admission:?}");
        }
        assert_eq!(table.admit(flow(3, 1), 1, 2, NOW), Admission::OtherWorker(0), "the oldest of all");
        assert_eq!(table.admit(flow(2, 1), 2, 0, NOW), Admission::OtherWorker(1), "its own transfer before");
        assert_eq!(table.count(), 2, "no transfer was evicted");
        match table.admit(flow(3, 1), 1, 1, NOW) {
            Admission::Admitted { evicted: Some((other, 1)), .. } => assert_eq!(other.flow, flow(2, 1)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_transfer_with_progress_is_never_evicted() {
        let mut table = table(2, 2);
        for port in [1, 2] {
            let id = admitted(&mut table, flow(1, port), 1);
            table.record_progress(id);
        }
        assert_eq!(table.admit(flow(2, 1), 1, 0, NOW), Admission::Full);
        assert_eq!(table.count(), 2);
    }

    #[test]
    fn one_client_cannot_evict_others() {
        let mut table = table(10, 2);
        admitted(&mut table, flow(2, 1), 1);
        admitted(&mut table, flow(1, 1), 1);
        let second = admitted(&mut table, flow(1, 2), 1);
        assert_eq!(evicted_for(&mut table, flow(1, 3), 1).1, flow(1, 1), "its own oldest, not another's");
        table.record_progress(second);
        let (id, other) = evicted_for(&mut table, flow(1, 4), 1);
        assert_eq!(other, flow(1, 3));
        table.record_progress(id);
        assert_eq!(table.admit(flow(1, 5), 1, 0, NOW), Admission::Full);
        admitted(&mut table, flow(3, 1), 1);
        table.end(id);
        admitted(&mut table, flow(1, 6), 1);
    }

    #[test]
    fn s_03_the_longest_silent_transfer_is_evicted() {
        let mut table = table(3, 3);
        let at = Duration::from_secs;
        let ids: Vec<TransferId> = (1..=3).map(|client| admitted(&mut table, flow(client, 1), 1)).collect();
        ids.iter().for_each(|id| table.record_progress(*id));
        assert_eq!(table.admit(flow(9, 1), 1, 0, NOW), Admission::Full, "all get on");
        assert_eq!(table.record_silence(ids[1], at(50), false), None);
        assert_eq!(table.record_silence(ids[0], at(55), false), None);
        assert_eq!(evicted_for(&mut table, flow(9, 1), 1).1, flow(2, 1), "silent for longest");
        table.record_progress(ids[0]);
        assert_eq!(evicted_for(&mut table, flow(8, 1), 1).1, flow(9, 1), "the first is heard again");
        assert_eq!(table.record_silence(ids[1], at(50), false), None, "it is over");
        assert_eq!(table.count(), 3);
    }

    #[test]
    fn s_03_silent_transfers_per_address_are_bounded() {
        let mut table = table(1000, 1000);
        let active: Vec<TransferId> = (1..=200).map(|port| admitted(&mut table, flow(1, port), 1)).collect();
        active.iter().for_each(|id| table.record_progress(*id));
        let silent: Vec<TransferId> =
            (301..=330).map(|port| admitted(&mut table, flow(1, port), 1)).collect();
        let mut ended = Vec::new();
        for (n, id) in silent.iter().enumerate() {
            table.record_progress(*id);
            assert_eq!(
                table.record_silence(*id, Duration::from_millis(n as u64), false),
                None,
                "not for long yet"
            );
            ended.extend(table.record_silence(*id, Duration::from_millis(n as u64), true));
        }
        let ended: Vec<Flow> = ended.into_iter().map(|(id, _)| id.flow).collect();
        assert_eq!(ended, (301..=314).map(|port| flow(1, port)).collect::<Vec<_>>(), "the longest silent");
        assert_eq!(table.count(), 216);
        let other = admitted(&mut table, flow(2, 1), 1);
        assert_eq!(table.record_silence(other, NOW, true), None, "another address");
        for id in active.iter().chain(&silent).chain([&other]) {
            table.end(*id);
        }
        assert!(table.clients.is_empty() && table.waiting.is_empty() && table.entries.is_empty());
    }

    #[test]
    fn s_03_a_missing_port_is_taken_from_the_longest_silent() {
        let mut table = with_limits(9, 9, true);
        let get =
            |table: &mut TransferTable, client, thread| match table.admit(flow(client, 1), 1, thread, NOW) {
                Admission::Admitted { id, evicted: None } => id,
                other => panic!("{other:?}"),
            };
        let upload = get(&mut table, 1, 0);
        table.mark_upload(upload);
        table.mark_stored(upload);
        let active = get(&mut table, 2, 0);
        table.record_progress(active);
        let (other, silent) = (get(&mut table, 3, 1), get(&mut table, 4, 0));
        let mine = get(&mut table, 5, 0);
        assert_eq!(table.reclaim_port(mine, 0), Some(silent));
        assert_eq!(table.reclaim_port(mine, 0), None, "neither its own entry nor one that makes progress");
        assert_eq!(table.reclaim_port(mine, 1), Some(other));
    }

    #[test]
    fn s_11_a_stored_upload_is_evicted_first() {
        let mut table = table(2, 2);
        let upload = admitted(&mut table, flow(1, 1), 1);
        table.mark_upload(upload);
        admitted(&mut table, flow(2, 1), 1);
        assert_eq!(table.record_silence(upload, NOW, true), None);
        table.mark_stored(upload);
        assert_eq!(table.admit(flow(1, 1), 1, 0, NOW), Admission::Duplicate, "a copy of its request");
        assert_eq!(evicted_for(&mut table, flow(3, 1), 1).1, flow(1, 1));
    }

    #[test]
    fn t_13_errors_per_network_are_bounded() {
        let mut rate = ErrorRate::default();
        let second = Duration::from_secs;
        let sent = (0..5000_u32).filter(|i| rate.take([10, 0, 0, (i % 256) as u8].into(), second(7))).count();
        assert_eq!(sent, 1000);
        assert!(rate.take([10, 0, 1, 1].into(), second(7)), "another network");
        assert!(rate.take([10, 0, 0, 1].into(), second(8)), "the next second");
        let networks =
            (0..10_000_u32).filter(|i| rate.take(std::net::Ipv4Addr::from(i << 8).into(), second(9))).count();
        assert_eq!((networks, rate.sent.len()), (ErrorRate::NETWORKS, ErrorRate::NETWORKS));
    }
}
