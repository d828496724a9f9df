//! Sends replies and records what each one means, or that it could not be sent. It never decides.

use std::io;
use std::sync::Arc;

use tracing::Level;

use crate::event::{DropReason, Event};
use crate::net::packet_socket::Taps;
use crate::net::udp::{DhcpSocket, Outgoing};
use crate::record::Recorder;

/// A reply to send now.
#[derive(Debug)]
pub struct Delivery {
    /// The reply.
    pub reply: Outgoing,
    /// The name of the interface that the request came in on.
    pub interface: Arc<str>,
    /// What has happened once it is sent.
    pub event: Event,
}

/// Sends replies, and records what each means or that it could not be sent.
pub fn deliver(socket: &DhcpSocket, recorder: &Recorder, deliveries: &[Delivery]) {
    let replies: Vec<&Outgoing> = deliveries.iter().map(|delivery| &delivery.reply).collect();
    for (Delivery { reply, interface, event }, sent) in deliveries.iter().zip(socket.send_all(&replies)) {
        report(sent, recorder, interface, reply, event);
    }
}

/// Records what it means that a reply was sent, or that it could not be.
pub fn report(sent: io::Result<()>, recorder: &Recorder, interface: &str, reply: &Outgoing, event: &Event) {
    match sent {
        Ok(()) => recorder.record(interface, event),
        Err(error) => {
            recorder.log_failure(Level::WARN, "cannot send a reply", || {
                format!("on {interface} ({:?}): {error}", reply.route)
            });
            let client = event.client().cloned();
            recorder.record(interface, &Event::Dropped { reason: DropReason::SendFailed, client });
        }
    }
}

/// What replies leave by.
#[derive(Clone, Debug)]
pub enum Sender {
    /// A UDP port.
    Udp(Arc<DhcpSocket>),
    /// Packet sockets, where the port is another program's.
    Taps(Arc<Taps>),
}

impl Sender {
    /// Sends `outgoing`.
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        match self {
            Sender::Udp(socket) => socket.send(outgoing),
            Sender::Taps(taps) => taps.send(outgoing),
        }
    }
}

/// A reply, and what has happened once it is sent.
#[derive(Debug)]
pub struct Departure {
    /// What it leaves by.
    pub sender: Sender,
    /// The reply.
    pub reply: Outgoing,
    /// What then has happened.
    pub event: Event,
    /// Where.
    pub interface: Arc<str>,
}

impl Departure {
    /// Sends it and records what that means.
    pub fn leave(&self, recorder: &Recorder) {
        report(self.sender.send(&self.reply), recorder, &self.interface, &self.reply, &self.event);
    }
}
