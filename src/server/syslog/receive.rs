//! Reads datagrams and connections, and records their lines.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{self, sleep, timeout};

use super::limits::{Limits, Place};
use super::summary::{Dropped, Summary};
use crate::content::machines::MachineTable;
use crate::content::served_files::ServedFiles;
use crate::event::{Event, Record, ServerFact, SyslogDrop};
use crate::net::snapshot::Now;
use crate::record::Recorder;
use crate::types::MachineId;
use crate::wire::syslog::{Frames, MAX_MESSAGE, TooLong, parse};

/// Maximum number of bytes of a program's name that are kept.
const MAX_PROGRAM: usize = 64;
/// Maximum number of bytes of a text that are kept in a record. The rest is cut off: a subscriber's queue and the boots of a
/// machine hold many lines.
const MAX_TEXT: usize = 1024;
/// Time after which a connection without a byte is closed. Installers are silent while they copy.
const MAX_SILENCE: Duration = Duration::from_secs(3600);
/// Pause after the kernel refused a datagram or a connection, such as without free descriptors.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// Size of the buffer of a connection in bytes.
const BUFFER: usize = 4096;
/// Pause between two reads of a connection. With the size of the buffer it bounds the work for one connection to 100 reads and
/// 400 KB per second, however short its lines are: a multiple of the lines that one machine may send.
const READ_PAUSE: Duration = Duration::from_millis(10);
/// Time after which a connection is closed whose every read had lines over the limit of its address. An installer that sends a
/// long log at once is done before.
const MAX_FLOOD: Duration = Duration::from_secs(10);

/// Everything that the receiver needs to know the machines.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) now: Now,
    pub(super) machines: MachineTable,
    pub(super) files: ServedFiles,
    pub(super) recorder: Recorder,
}

/// Records lines. Cheap to clone; clones share the limits.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) known: Known,
    limits: Arc<Mutex<Limits>>,
}

impl Receiver {
    pub(super) fn new(known: Known) -> Receiver {
        Receiver { known, limits: Arc::new(Mutex::new(Limits::new(Instant::now()))) }
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the datagrams of `socket`, forever.
    pub(super) async fn datagrams(self, socket: UdpSocket) {
        // One byte more shows that a datagram is too long.
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        let mut summary = Summary::default();
        loop {
            tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, peer)) => {
                        let message = buffer.get(..length).filter(|_| length <= MAX_MESSAGE).ok_or(TooLong);
                        let mut lines = Lines::of(&self, peer);
                        lines.message(message);
                        lines.take_dropped().for_each(|dropped| summary.add(dropped));
                    }
                    // An earlier sender's port is closed. lanboot sends nothing, so this is rare.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                    Err(error) => self.fault("a syslog datagram", &error).await,
                },
                () = wait_until(summary.next()) => {}
            }
            for (peer, reason, count) in summary.due(Instant::now()) {
                self.dropped(peer, reason, count);
            }
        }
    }

    /// Accepts the connections of `listener`, forever. They end with this task.
    pub(super) async fn connections(self, listener: TcpListener) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => match self.admit_connection(peer) {
                        Ok(counted) => drop(open.spawn(counted.connection(stream, peer))),
                        Err(reason) => self.dropped(peer, reason, 1),
                    },
                    Err(error) => self.fault("a syslog connection", &error).await,
                },
                Some(_) = open.join_next() => {}
            }
        }
    }

    fn admit_connection(&self, peer: SocketAddr) -> Result<Counted, SyslogDrop> {
        if !self.is_allowed(peer.ip()) {
            return Err(SyslogDrop::NotAllowed);
        }
        let place = self.limits().connect(peer.ip(), Instant::now())?;
        Ok(Counted { receiver: self.clone(), place })
    }

    fn dropped(&self, peer: SocketAddr, reason: SyslogDrop, count: u64) {
        self.record_event(Event::SyslogDropped { peer, reason, count }, None);
    }

    fn record_event(&self, event: Event, machine: Option<MachineId>) {
        let recorder = &self.known.recorder;
        recorder.record(Record { at: recorder.now(), interface: None, machine, event });
    }

    /// Whether `address` is in a served network, or this computer's own.
    fn is_allowed(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else { return false };
        let served = Arc::clone(&self.known.now.borrow().interfaces);
        served.networks.iter().any(|network| network.contains(address))
            || self.known.machines.is_own(address.into())
    }

    /// The machine that has `address` for certain, as for requests of files.
    fn machine_at(&self, address: IpAddr) -> Option<MachineId> {
        match self.known.files.get() {
            Some(files) => files.machine_at(address),
            None => {
                let machine = self.known.machines.at(address).machine;
                MachineId { mac: machine.mac, uuid: machine.uuid, client: None, name: None }.if_known()
            }
        }
    }

    async fn fault(&self, what: &str, error: &std::io::Error) {
        let text = format!("cannot receive {what}: {error}");
        self.known.recorder.server(ServerFact::CannotReceive, text);
        sleep(FAULT_PAUSE).await;
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
struct Counted {
    receiver: Receiver,
    place: Place,
}

impl Counted {
    /// Records the lines of `stream` until it ends, or gives way to another.
    async fn connection(self, stream: impl AsyncRead + Unpin, peer: SocketAddr) {
        let reason = tokio::select! {
            () = self.place.gives_way.notified() => Some(SyslogDrop::GaveWay),
            reason = self.read(stream, peer) => reason,
        };
        reason.into_iter().for_each(|reason| self.receiver.dropped(peer, reason, 1));
    }

    /// Records the lines of `stream`. Returns the reason why it must be closed before its end.
    async fn read(&self, mut stream: impl AsyncRead + Unpin, peer: SocketAddr) -> Option<SyslogDrop> {
        let (mut frames, mut buffer) = (Frames::default(), [0; BUFFER]);
        let mut over_since = None;
        loop {
            match timeout(MAX_SILENCE, stream.read(&mut buffer)).await {
                Ok(Ok(length @ 1..)) => {
                    self.receiver.limits().received(self.place.number, Instant::now());
                    let mut lines = Lines::of(&self.receiver, peer);
                    frames.push(buffer.get(..length).unwrap_or_default(), |message| lines.message(message));
                    if lines.over == Some(SyslogDrop::TooManyLines) {
                        let since = *over_since.get_or_insert_with(time::Instant::now);
                        if since.elapsed() >= MAX_FLOOD {
                            return Some(SyslogDrop::Flood);
                        }
                    } else {
                        over_since = None;
                    }
                }
                // The machine closed the connection, or is gone.
                Ok(_) => break,
                Err(_) => return Some(SyslogDrop::Idle),
            }
            sleep(READ_PAUSE).await;
        }
        let mut lines = Lines::of(&self.receiver, peer);
        frames.finish(|message| lines.message(message));
        None
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.receiver.limits().disconnect(self.place.number);
    }
}

/// The lines of one read of a connection, or of one datagram. The dropped ones are recorded when this is dropped, as one record for each reason:
/// many short lines must not displace the records of others from the queues.
struct Lines<'r> {
    receiver: &'r Receiver,
    peer: SocketAddr,
    is_allowed: bool,
    /// The limit that a line of this read exceeded. It applies to the rest of the read too.
    over: Option<SyslogDrop>,
    /// By the number of the reason.
    dropped: [u64; SyslogDrop::ALL.len()],
}

impl Lines<'_> {
    fn of(receiver: &Receiver, peer: SocketAddr) -> Lines<'_> {
        let (is_allowed, dropped) = (receiver.is_allowed(peer.ip()), [0; SyslogDrop::ALL.len()]);
        Lines { receiver, peer, is_allowed, over: None, dropped }
    }

    /// Records one message, or counts it as dropped.
    fn message(&mut self, message: Result<&[u8], TooLong>) {
        if let Err(reason) = self.record(message)
            && let Some(count) = self.dropped.get_mut(reason as usize)
        {
            *count += 1;
        }
    }

    /// Takes the dropped lines, so that this does not record them.
    fn take_dropped(&mut self) -> impl Iterator<Item = Dropped> + use<> {
        let (peer, dropped) = (self.peer, std::mem::take(&mut self.dropped));
        let dropped = SyslogDrop::ALL.iter().zip(dropped).filter(|(_, count)| *count > 0);
        dropped.map(move |(reason, count)| (peer, *reason, count))
    }

    fn record(&mut self, message: Result<&[u8], TooLong>) -> Result<(), SyslogDrop> {
        let Lines { receiver, peer, .. } = *self;
        if !self.is_allowed {
            return Err(SyslogDrop::NotAllowed);
        }
        if let Some(over) = self.over {
            return Err(over);
        }
        let admitted = receiver.limits().admit(peer.ip(), Instant::now());
        self.over = admitted.err();
        admitted?;
        let message = message.map_err(|TooLong| SyslogDrop::TooLong)?;
        let message = parse(message).ok_or(SyslogDrop::Empty)?;
        let text =
            |bytes: &[u8], limit| String::from_utf8_lossy(bytes.get(..limit).unwrap_or(bytes)).into_owned();
        let event = Event::Syslog {
            peer,
            severity: message.severity,
            program: text(message.program, MAX_PROGRAM),
            text: text(message.text, MAX_TEXT),
        };
        receiver.record_event(event, receiver.machine_at(peer.ip()));
        Ok(())
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        for (peer, reason, count) in self.take_dropped() {
            self.receiver.dropped(peer, reason, count);
        }
    }
}

/// Completes at `moment`; never completes if that is `None`.
async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::sync::watch::channel;

    use super::*;
    use crate::net::served::Served;
    use crate::net::snapshot::Snapshot;

    /// A receiver on a computer that serves 10.0.0.0/24.
    fn receiver() -> Receiver {
        let config = crate::config::load("{dhcp: {mode: proxy}}").unwrap();
        let network = crate::types::Ipv4Network::new(Ipv4Addr::new(10, 0, 0, 0), 24).unwrap();
        let (_, now) = channel(Arc::new(Snapshot::new(config, Served::new(Vec::new(), [network]))));
        let recorder = Recorder::default();
        let machines = MachineTable::new(now.clone(), recorder.clone());
        Receiver::new(Known { now, machines, files: ServedFiles::default(), recorder })
    }

    fn reasons(receiver: &Receiver) -> Vec<(&'static str, u64)> {
        receiver.known.recorder.drops().into_iter().collect()
    }

    const PEER: &str = "10.0.0.9:40000";

    /// Reads a connection that sends `bytes` and then ends. Returns the number of records, and the reasons for drops.
    async fn read(bytes: &[u8]) -> (usize, Vec<(&'static str, u64)>) {
        let receiver = receiver();
        let records = receiver.known.recorder.subscribe(1 << 16);
        let peer = PEER.parse().unwrap();
        receiver.admit_connection(peer).unwrap().connection(bytes, peer).await;
        (records.take().records().count(), reasons(&receiver))
    }

    #[test]
    fn senders_outside_the_served_networks_are_dropped() {
        let receiver = receiver();
        let record = |peer: &str, line: &[u8]| Lines::of(&receiver, peer.parse().unwrap()).record(Ok(line));
        assert_eq!(record("10.0.0.9:514", b"<3>x"), Ok(()));
        assert_eq!(record("192.0.2.9:514", b"<3>x"), Err(SyslogDrop::NotAllowed));
        assert_eq!(record("[2001:db8::1]:514", b"<3>x"), Err(SyslogDrop::NotAllowed));
        assert_eq!(record("10.0.0.9:514", b"<3>\n"), Err(SyslogDrop::Empty));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_end_and_are_no_longer_counted() {
        let receiver = receiver();
        let peer: SocketAddr = PEER.parse().unwrap();
        let (_machine, stream) = tokio::io::duplex(64);
        receiver.admit_connection(peer).unwrap().connection(stream, peer).await;
        assert_eq!(reasons(&receiver), [(SyslogDrop::Idle.name(), 1)]);
        let open: Vec<_> = (0..100).map_while(|_| receiver.admit_connection(peer).ok()).collect();
        assert_eq!(open.len(), 8);
        assert_eq!(receiver.admit_connection(peer).unwrap_err(), SyslogDrop::TooManyConnections);
    }

    #[tokio::test(start_paused = true)]
    async fn newlines_make_no_records() {
        assert_eq!(read(&[b'\n'; 100_000]).await, (0, Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_lines_of_one_read_are_one_record() {
        // The first two reads have lines within the burst of one machine.
        let (records, reasons) = read(&b"x\n".repeat(10 * BUFFER / 2)).await;
        let (reason, count) = reasons[0];
        assert_eq!((reason, reasons.len()), (SyslogDrop::TooManyLines.name(), 1));
        let lines = u64::try_from(10 * BUFFER / 2).unwrap() - count;
        assert!((2000..2100).contains(&lines), "{lines}");
        assert!(records <= usize::try_from(lines).unwrap() + 10, "{records}");
        let empty = read(&b"<3>\n".repeat(1000)).await;
        assert_eq!(empty, (1, vec![(SyslogDrop::Empty.name(), 1000)]));
    }

    #[tokio::test(start_paused = true)]
    async fn senders_that_exceed_their_limit_for_long_are_closed() {
        let receiver = receiver();
        let (peer, began) = (PEER.parse().unwrap(), time::Instant::now());
        let lines = [&[b'x'; 99][..], b"\n"].concat().repeat(2000 * BUFFER / 100);
        receiver.admit_connection(peer).unwrap().connection(&lines[..], peer).await;
        assert!((MAX_FLOOD..MAX_FLOOD * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        let reasons = reasons(&receiver);
        assert!(reasons.contains(&(SyslogDrop::Flood.name(), 1)), "{reasons:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_give_way() {
        let receiver = receiver();
        let (first, peer) = (PEER.parse().unwrap(), |n: u16| SocketAddr::from(([10, 0, 0, n as u8], n)));
        let (_machine, stream) = tokio::io::duplex(64);
        let silent = tokio::spawn(receiver.admit_connection(first).unwrap().connection(stream, first));
        let others: Vec<_> = (10..110)
            .flat_map(|n| (0..8).map(move |_| n))
            .map(|n| receiver.admit_connection(peer(n)))
            .collect();
        assert!(others.iter().all(Result::is_ok), "an installer gets a place");
        silent.await.unwrap();
        assert_eq!(reasons(&receiver), [(SyslogDrop::GaveWay.name(), 1)]);
    }
}
