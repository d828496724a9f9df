//! The syslog receiver: installers and initrds send their log lines here by UDP and TCP, and each line is recorded with the
//! machine that sent it. It listens while `syslog` is on, and follows reloads. It answers nothing. `wire/syslog.rs` reads the
//! messages, and `limits.rs` bounds the lines.

mod limits;
mod receive;
mod summary;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use tokio::task::JoinHandle;

use crate::event::ServerFact;
use crate::net::StartError;
use crate::net::bind_error;
use crate::net::snapshot::Snapshot;
use crate::server::dhcp::running::Parts;
use receive::{Known, Receiver};

/// The key of the configuration.
const KEY: &str = "syslog";

/// Bound sockets that are not read yet.
#[derive(Debug)]
pub(super) struct Bound {
    port: u16,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Bound {
    /// Binds the port on all addresses. Senders outside the served networks are dropped when they are read.
    ///
    /// # Errors
    /// The port cannot be bound, with the reason.
    pub(super) fn bind(port: u16) -> Result<Bound, StartError> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let explain = |error: &io::Error| bind_error::explain(address, KEY, false, error);
        let udp = UdpSocket::bind(address).map_err(|error| explain(&error))?;
        // A sender by TCP waits; the other senders must not wait for it.
        let tcp = TcpListener::bind(address).map_err(|error| explain(&error))?;
        let prepared = udp.set_nonblocking(true).and_then(|()| tcp.set_nonblocking(true));
        prepared.map_err(|error| explain(&error))?;
        Ok(Bound { port, udp, tcp })
    }
}

/// The receiver, which may be off.
#[derive(Debug)]
pub(super) struct Syslog {
    receiver: Receiver,
    open: Option<Open>,
}

/// The tasks that read the sockets. Dropping this ends them and their connections.
#[derive(Debug)]
struct Open {
    port: u16,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Syslog {
    /// Reads `bound`, if the receiver is on. Call it in the runtime.
    ///
    /// # Errors
    /// The runtime refuses the sockets.
    pub(super) fn start(bound: Option<Bound>, parts: &Parts) -> io::Result<Box<Syslog>> {
        let Parts { now, files, known, recorder, .. } = parts.clone();
        let receiver = Receiver::new(Known { now, machines: known, files, recorder });
        let mut syslog = Syslog { receiver, open: None };
        if let Some(bound) = bound {
            syslog.open = Some(syslog.open(bound)?);
        }
        Ok(Box::new(syslog))
    }

    fn open(&self, Bound { port, udp, tcp }: Bound) -> io::Result<Open> {
        let udp = tokio::net::UdpSocket::from_std(udp)?;
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        let tasks = [
            tokio::spawn(self.receiver.clone().datagrams(udp)),
            tokio::spawn(self.receiver.clone().connections(tcp)),
        ];
        Ok(Open { port, tasks })
    }

    fn has_other_port(&self, snapshot: &Snapshot) -> bool {
        self.open.as_ref().map(|open| open.port) != snapshot.config.syslog
    }

    /// The reason why the receiver cannot change to `snapshot`. Nothing changes.
    pub(super) fn refused(&self, snapshot: &Snapshot) -> Option<StartError> {
        let port = snapshot.config.syslog.filter(|_| self.has_other_port(snapshot))?;
        Bound::bind(port).err()
    }

    /// Opens or closes the port for `snapshot`. Returns the error of a port that cannot be bound.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Option<StartError> {
        if !self.has_other_port(snapshot) {
            return None;
        }
        let recorder = &self.receiver.known.recorder;
        let Some(port) = snapshot.config.syslog else {
            recorder.server(ServerFact::ServiceChanged, "syslog is off");
            self.open = None;
            return None;
        };
        match Bound::bind(port)
            .and_then(|bound| self.open(bound).map_err(|error| StartError(error.to_string())))
        {
            Ok(open) => {
                recorder.server(ServerFact::ServiceChanged, summary(port));
                self.open = Some(open);
                None
            }
            Err(error) => Some(error),
        }
    }
}

/// The line for the start.
pub(super) fn summary(port: u16) -> String {
    format!("syslog on port {port}")
}
