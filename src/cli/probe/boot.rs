//! Boots one machine on real sockets: drives the state machine of `probe`, and reports each step.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;

use super::http::{self, Event};
use super::source_address::SourceAddress;
use super::wire::{DATAGRAM, Received, Wire};
use crate::probe::{Failure, Input, Machine, Offer, Ports, Profile, Progress, Step, Timing, Transmit};
use crate::types::{MacAddr, Timestamp};

/// Time for a RELEASE to be sent before the borrowed address is removed from the interface.
const RELEASE_DELAY: Duration = Duration::from_millis(200);

/// A machine to boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) profile: Profile,
    pub(super) mac: MacAddr,
    pub(super) seed: u64,
    pub(super) ports: Ports,
    pub(super) timing: Timing,
}

/// The result of its boot.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// All offers, one for each server and kind.
    pub(super) offers: Vec<Offer>,
    /// The leased address, and the server that leased it.
    pub(super) lease: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Name or URL of the boot file, and its server.
    pub(super) file: Option<(String, Option<Ipv4Addr>)>,
    /// Number of bytes received.
    pub(super) bytes: u64,
    /// Time from power-on to the ACK.
    pub(super) got_address: Option<Duration>,
    /// Time from power-on to the end.
    pub(super) took: Duration,
    /// SHA-256 of the whole file.
    pub(super) digest: Option<[u8; 32]>,
    /// The reason why there is no file.
    pub(super) failure: Option<BootFailure>,
}

/// The reason why a boot failed.
#[derive(Debug)]
pub(super) enum BootFailure {
    /// The network or a server is the cause.
    Network(Failure),
    /// This computer is the cause: the step, and the reason.
    Local(&'static str, String),
}

impl Outcome {
    pub(super) fn booted(&self) -> bool {
        self.digest.is_some()
    }
}

/// The sockets of a machine that has an address.
#[derive(Default)]
struct Sockets {
    source: Option<SourceAddress>,
    tftp: Option<UdpSocket>,
    boot_server: Option<UdpSocket>,
    http: Option<Receiver<Event>>,
    /// An earlier datagram was refused, because the server's TFTP port is closed.
    tftp_closed: bool,
}

/// The next thing that happened to the machine.
enum Arrival {
    Dhcp(Received),
    Tftp(usize, SocketAddrV4),
    BootServer(usize, SocketAddrV4),
    TftpClosed,
    Http(Event),
    Nothing,
}

/// Boots the machine until its last byte or a failure, reports each step to `report`, and releases the address.
///
/// # Errors
/// The DHCP socket is broken. Failures of the network are in the outcome.
pub(super) async fn boot(
    client: &Client,
    wire: &Wire,
    report: &mut (dyn FnMut(Duration, &Progress) + Send),
) -> io::Result<Outcome> {
    let mut queue = wire.register(client.mac);
    let mut machine =
        Machine::new(&client.profile, client.mac, client.ports, client.seed).timing(client.timing);
    let mut run = Run {
        client,
        wire,
        report,
        began: Instant::now(),
        sockets: Sockets::default(),
        hash: Sha256::new(),
        outcome: Outcome::default(),
    };
    let mut buffers = [vec![0; DATAGRAM], vec![0; DATAGRAM]];
    let mut wait_until = run.perform(machine.start(run.now())).await?;
    while let Some(until) = wait_until {
        let wait = until.since(run.now());
        let arrived = run.sockets.arrival(&mut queue, &mut buffers, wait).await;
        let [tftp, boot_server] = &buffers;
        let input = match &arrived {
            Arrival::Dhcp((payload, from)) => Input::Dhcp(payload, *from),
            Arrival::Tftp(len, from) => Input::Tftp(tftp.get(..*len).unwrap_or_default(), *from),
            Arrival::BootServer(len, from) => Input::Dhcp(boot_server.get(..*len).unwrap_or_default(), *from),
            Arrival::TftpClosed => Input::TftpClosed,
            Arrival::Http(Event::Begun(size)) => Input::HttpStarted(*size),
            Arrival::Http(Event::Data(data)) => Input::HttpData(data),
            Arrival::Http(Event::Ended) => Input::HttpEnded,
            Arrival::Http(Event::Failed(why)) => Input::HttpFailed(why),
            Arrival::Nothing => Input::Timeout,
        };
        let step = machine.handle(input, run.now());
        wait_until = run.perform(step).await?;
    }
    run.release(&machine).await;
    wire.unregister(client.mac);
    Ok(run.outcome)
}

/// A boot in progress.
struct Run<'a> {
    client: &'a Client,
    wire: &'a Wire,
    report: &'a mut (dyn FnMut(Duration, &Progress) + Send),
    began: Instant,
    sockets: Sockets,
    hash: Sha256,
    outcome: Outcome,
}

impl Run<'_> {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Executes a step, and returns the time until which to wait; `None` when the boot is over.
    async fn perform(&mut self, step: Step<'_>) -> io::Result<Option<Timestamp>> {
        if let Some(data) = step.received {
            self.hash.update(data);
            self.outcome.bytes += data.len() as u64;
        }
        self.outcome.took = self.began.elapsed();
        for progress in &step.progress {
            (self.report)(self.outcome.took, progress);
            self.note(progress);
        }
        for transmit in step.send {
            if self.outcome.failure.is_some() {
                return Ok(None);
            }
            self.send(transmit).await?;
        }
        Ok(step.wait_until.filter(|_| self.outcome.failure.is_none()))
    }

    /// Stores the data of a step that the report shows. Takes a source address once the machine has a lease.
    fn note(&mut self, progress: &Progress) {
        let outcome = &mut self.outcome;
        match progress {
            Progress::Offered(offer) => {
                let same =
                    |other: &Offer| (other.server, other.is_proxy()) == (offer.server, offer.is_proxy());
                outcome.offers.retain(|other| !same(other));
                outcome.offers.push(offer.clone());
            }
            Progress::Acknowledged(lease) | Progress::BootpReplied(lease) => {
                outcome.lease = Some((lease.address, lease.server));
                outcome.got_address = Some(outcome.took);
                match SourceAddress::take(lease, self.wire) {
                    Ok(source) => self.sockets.source = Some(source),
                    Err(error) => outcome.failure = Some(BootFailure::Local("address", error.to_string())),
                }
            }
            Progress::Opening { server, file, .. } => outcome.file = Some((file.clone(), Some(*server))),
            Progress::Fetching { url } => outcome.file = Some((url.clone(), None)),
            Progress::Finished { .. } => outcome.digest = Some(self.hash.clone().finalize().into()),
            Progress::Failed(failure) => outcome.failure = Some(BootFailure::Network(failure.clone())),
            _ => {}
        }
    }

    /// Sends one datagram or starts an HTTP download. If that fails, the boot ends with that reason.
    async fn send(&mut self, transmit: Transmit) -> io::Result<()> {
        let (step, sent) = match transmit {
            Transmit::Dhcp(payload) => return self.wire.send(self.client.mac, payload).await,
            Transmit::BootServer { from_port, to, payload } => {
                ("boot server", self.ask_boot_server(from_port, to, payload).await)
            }
            Transmit::TftpOpen { to, payload } => ("tftp", self.open_tftp(to, &payload).await),
            Transmit::Tftp { to, payload } => ("tftp", self.send_tftp(to, &payload).await),
            Transmit::Http { url, head } => {
                let from =
                    self.sockets.source.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |source| source.address);
                self.sockets.http = Some(http::get(url, head, self.client.profile.firmware, from));
                ("http", Ok(()))
            }
        };
        if let Err(error) = sent {
            self.outcome.failure = Some(BootFailure::Local(step, format!("cannot send: {error}")));
        }
        Ok(())
    }

    async fn open_tftp(&mut self, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let Some(source) = &self.sockets.source else { return Ok(()) };
        self.sockets.tftp = Some(source.transfer_socket(*to.ip(), self.wire)?);
        self.send_tftp(to, payload).await
    }

    async fn send_tftp(&mut self, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.sockets.tftp else { return Ok(()) };
        match socket.send_to(payload, to).await {
            // The kernel reports the refusal of an earlier datagram here.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.sockets.tftp_closed = true,
            other => drop(other?),
        }
        Ok(())
    }

    async fn ask_boot_server(
        &mut self,
        from_port: u16,
        to: SocketAddrV4,
        mut payload: Vec<u8>,
    ) -> io::Result<()> {
        let Some(source) = &self.sockets.source else { return Ok(()) };
        // If the user named one server, broadcasts go to that server too, as a relay agent would forward them.
        let to = match self.wire.server().filter(|_| to.ip().is_broadcast()) {
            Some(server) => SocketAddrV4::new(server, to.port()),
            None => to,
        };
        // Some servers (dnsmasq) answer to ciaddr instead of the source address, so both must be equal.
        if let Some(ciaddr) = payload.get_mut(12..16) {
            ciaddr.copy_from_slice(&source.address.octets());
        }
        let socket = match self.sockets.boot_server.take() {
            Some(socket) if !to.ip().is_broadcast() => socket,
            _ => source.boot_server_socket(from_port, to)?,
        };
        let socket = self.sockets.boot_server.insert(socket);
        match socket.send_to(&payload, to).await {
            // The port is closed. The machine asks again and then gives up, as firmware does.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            other => other.map(drop),
        }
    }

    /// Releases the lease, unless it is this computer's own address. A RELEASE is not answered, so its arrival is
    /// unknown.
    async fn release(&mut self, machine: &Machine) {
        let (Some((to, payload)), Some(source)) = (machine.release(), &self.sockets.source) else { return };
        let Some((address, _)) = self.outcome.lease else { return };
        if self.wire.interface().is_some_and(|interface| interface.addresses.contains(&address)) {
            return;
        }
        let sent = self.wire.release(self.client.mac, &payload, address, to).await;
        if matches!(sent, Ok(false))
            && let Ok(socket) = source.boot_server_socket(0, to)
        {
            let _ = socket.send_to(&payload, to).await;
            tokio::time::sleep(RELEASE_DELAY).await;
        }
    }
}

impl Sockets {
    /// Waits at most `wait` for the next event.
    async fn arrival(
        &mut self,
        queue: &mut Receiver<Received>,
        [tftp_buffer, boot_server_buffer]: &mut [Vec<u8>; 2],
        wait: Duration,
    ) -> Arrival {
        if std::mem::take(&mut self.tftp_closed) {
            return Arrival::TftpClosed;
        }
        tokio::select! {
            received = queue.recv() => received.map_or(Arrival::Nothing, Arrival::Dhcp),
            received = receive(self.tftp.as_ref(), tftp_buffer) => match received {
                Ok((len, from)) => Arrival::Tftp(len, from),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Arrival::TftpClosed,
                Err(_) => Arrival::Nothing,
            },
            received = receive(self.boot_server.as_ref(), boot_server_buffer) => match received {
                Ok((len, from)) => Arrival::BootServer(len, from),
                Err(_) => Arrival::Nothing,
            },
            event = event(self.http.as_mut()) => Arrival::Http(event),
            // Rounded up, because a wait that ends too early would only be repeated.
            () = tokio::time::sleep(wait + Duration::from_millis(1)) => Arrival::Nothing,
        }
    }
}

/// Receives the next datagram. Never completes without a socket.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4)> {
    let Some(socket) = socket else { return pending().await };
    match socket.recv_from(buffer).await? {
        (len, SocketAddr::V4(from)) => Ok((len, from)),
        (_, SocketAddr::V6(_)) => Err(ErrorKind::Unsupported.into()),
    }
}

async fn event(events: Option<&mut Receiver<Event>>) -> Event {
    let Some(events) = events else { return pending().await };
    match events.recv().await {
        Some(event) => event,
        // The last event was delivered, so only the machine's own deadline remains.
        None => pending().await,
    }
}
