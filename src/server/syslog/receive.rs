//! Reads datagrams and connections, and records their lines.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::limits::Limits;
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
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, peer)) if length > MAX_MESSAGE => self.message(Err(TooLong), peer),
                Ok((length, peer)) => self.message(Ok(buffer.get(..length).unwrap_or_default()), peer),
                // An earlier sender's port is closed. lanboot sends nothing, so this is rare.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => self.fault("a syslog datagram", &error).await,
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
                        Ok(()) => drop(open.spawn(self.clone().connection(stream, peer))),
                        Err(reason) => self.dropped(peer, reason),
                    },
                    Err(error) => self.fault("a syslog connection", &error).await,
                },
                Some(_) = open.join_next() => {}
            }
        }
    }

    fn admit_connection(&self, peer: SocketAddr) -> Result<(), SyslogDrop> {
        match self.is_allowed(peer.ip()) {
            true => self.limits().connect(peer.ip()),
            false => Err(SyslogDrop::NotAllowed),
        }
    }

    async fn connection(self, mut stream: impl AsyncRead + Unpin, peer: SocketAddr) {
        let _counted = Counted { receiver: &self, address: peer.ip() };
        let (mut frames, mut buffer) = (Frames::default(), [0; BUFFER]);
        loop {
            match timeout(MAX_SILENCE, stream.read(&mut buffer)).await {
                Ok(Ok(length @ 1..)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    frames.push(bytes, |message| self.message(message, peer));
                }
                // The machine closed the connection, or is gone.
                Ok(_) => break,
                Err(_) => return self.dropped(peer, SyslogDrop::Idle),
            }
        }
        frames.finish(|message| self.message(message, peer));
    }

    /// Records one message, or the reason why it is dropped.
    fn message(&self, message: Result<&[u8], TooLong>, peer: SocketAddr) {
        if let Err(reason) = self.record(message, peer) {
            self.dropped(peer, reason);
        }
    }

    fn record(&self, message: Result<&[u8], TooLong>, peer: SocketAddr) -> Result<(), SyslogDrop> {
        if !self.is_allowed(peer.ip()) {
            return Err(SyslogDrop::NotAllowed);
        }
        self.limits().admit(peer.ip(), Instant::now())?;
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
        self.record_event(event, self.machine_at(peer.ip()));
        Ok(())
    }

    fn dropped(&self, peer: SocketAddr, reason: SyslogDrop) {
        self.record_event(Event::SyslogDropped { peer, reason }, None);
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
struct Counted<'r> {
    receiver: &'r Receiver,
    address: IpAddr,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.receiver.limits().disconnect(self.address);
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

    fn reasons(receiver: &Receiver) -> Vec<&'static str> {
        receiver.known.recorder.drops().into_iter().map(|(reason, _)| reason).collect()
    }

    #[test]
    fn senders_outside_the_served_networks_are_dropped() {
        let receiver = receiver();
        let record = |peer: &str, line: &[u8]| receiver.record(Ok(line), peer.parse().unwrap());
        assert_eq!(record("10.0.0.9:514", b"<3>x"), Ok(()));
        assert_eq!(record("192.0.2.9:514", b"<3>x"), Err(SyslogDrop::NotAllowed));
        assert_eq!(record("[2001:db8::1]:514", b"<3>x"), Err(SyslogDrop::NotAllowed));
        assert_eq!(record("10.0.0.9:514", b"<3>\n"), Err(SyslogDrop::Empty));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_end_and_are_no_longer_counted() {
        let receiver = receiver();
        let peer: SocketAddr = "10.0.0.9:40000".parse().unwrap();
        let (_machine, stream) = tokio::io::duplex(64);
        receiver.admit_connection(peer).unwrap();
        receiver.clone().connection(stream, peer).await;
        assert_eq!(reasons(&receiver), [SyslogDrop::Idle.name()]);
        assert_eq!((0..100).filter(|_| receiver.admit_connection(peer).is_ok()).count(), 8);
        assert_eq!(receiver.admit_connection(peer), Err(SyslogDrop::TooManyConnections));
    }
}
