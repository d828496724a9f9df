//! Boots one simulated machine on loopback with the state machine of `probe`, two sockets and a clock, and prints a
//! line for each step.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::probe::{Input, Kind, Machine, Ports, Progress, Step, Transmit};
use crate::types::{Escaped, MacAddr, Timestamp};

/// A simulated machine.
pub(super) struct Client {
    pub(super) kind: Kind,
    pub(super) mac: MacAddr,
    /// The boot file that it must get.
    pub(super) file: &'static str,
}

/// The result of its boot.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) address: Option<Ipv4Addr>,
    /// The boot file that it was assigned.
    pub(super) file: Option<String>,
    /// Number of bytes received.
    pub(super) bytes: u64,
    /// Time from power-on to the end.
    pub(super) took: Duration,
    /// SHA-256 of the whole file, or the reason why it was not received.
    pub(super) content: Option<Result<[u8; 32], String>>,
}

/// Maximum size of a UDP payload over IPv4.
const MAX_DATAGRAM: usize = 65507;

/// Errors that mean that the wait is over. A signal may end it early, which the state machine notices by the time.
const TIMEOUT_ERRORS: [ErrorKind; 3] = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];

/// Boots the machine until the last block or a failure, and writes one line per step to `out`.
///
/// # Errors
/// There is no socket on loopback, or `out` is closed.
pub(super) fn boot(client: &Client, ports: Ports, seed: u64, out: &mut impl Write) -> io::Result<Outcome> {
    let dhcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut tftp: Option<UdpSocket> = None;
    let mut machine = Machine::new(client.kind.profile(), client.mac, ports, seed);
    let mut datagram = vec![0; MAX_DATAGRAM];
    let mut outcome = Outcome::default();
    let mut hash = Sha256::new();
    let began = Instant::now();
    let now = || Timestamp(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));

    let mut step = machine.start(now());
    loop {
        if let Some(data) = step.received {
            hash.update(data);
            outcome.bytes += data.len() as u64;
        }
        outcome.took = began.elapsed();
        for progress in &step.progress {
            writeln!(out, "{:>9.3} s  {progress}", outcome.took.as_secs_f64())?;
            record(progress, &mut outcome, &hash);
        }
        transmit(&step, &dhcp, &mut tftp, ports, outcome.address)?;
        let Some(until) = step.wait_until else { return Ok(outcome) };
        let socket = tftp.as_ref().unwrap_or(&dhcp);
        // Rounded up, because a zero timeout is not allowed and a wait that ends too early would only be repeated.
        socket.set_read_timeout(Some(until.since(now()) + Duration::from_millis(1)))?;
        let input = match socket.recv_from(&mut datagram) {
            Ok((len, SocketAddr::V4(from))) if tftp.is_some() => Input::Tftp(&datagram[..len], from),
            Ok((len, SocketAddr::V4(from))) => Input::Dhcp(&datagram[..len], from),
            Ok((_, SocketAddr::V6(_))) => Input::Timeout,
            Err(error) if TIMEOUT_ERRORS.contains(&error.kind()) => Input::Timeout,
            Err(error) => return Err(error),
        };
        step = machine.handle(input, now());
    }
}

/// Stores the data of a step that the table shows.
fn record(progress: &Progress, outcome: &mut Outcome, hash: &Sha256) {
    match progress {
        Progress::Acknowledged(offer) | Progress::BootpReplied(offer) => {
            outcome.address = Some(offer.address);
            outcome.file = Some(Escaped(&offer.file).to_string());
        }
        Progress::Finished { .. } => outcome.content = Some(Ok(hash.clone().finalize().into())),
        Progress::Failed(failure) => outcome.content = Some(Err(failure.to_string())),
        _ => {}
    }
}

/// Sends the packets of a step. On loopback the server answers to the sender's port, so no broadcast is needed. All
/// of 127.0.0.0/8 belongs to this computer, so TFTP uses the leased address as on a real network.
fn transmit(
    step: &Step<'_>,
    dhcp: &UdpSocket,
    tftp: &mut Option<UdpSocket>,
    ports: Ports,
    address: Option<Ipv4Addr>,
) -> io::Result<()> {
    for transmit in &step.send {
        match transmit {
            Transmit::Dhcp(payload) => dhcp.send_to(payload, (Ipv4Addr::LOCALHOST, ports.dhcp))?,
            Transmit::TftpOpen { to, payload } => {
                let socket = UdpSocket::bind((address.unwrap_or(Ipv4Addr::LOCALHOST), 0))?;
                tftp.insert(socket).send_to(payload, to)?
            }
            Transmit::BootServer { .. } | Transmit::Http { .. } => {
                return Err(io::Error::other("the demo's server names neither boot servers nor URLs"));
            }
            Transmit::Tftp { to, payload } => match tftp {
                Some(socket) => socket.send_to(payload, to)?,
                None => 0,
            },
        };
    }
    Ok(())
}
