//! Sends replies and records the event of each, or that it could not be sent. The DHCP loop, the committer, the proxy
//! and the delay thread call it. It never decides whether to send.

use std::io;
use std::sync::Arc;

use tracing::Level;

use crate::dhcp::engine::OutgoingReply;
use crate::event::{DropReason, Event};
use crate::net::datagram::Outgoing;
use crate::net::packet_socket::RawSender;
use crate::net::udp::DhcpSocket;
use crate::record::Recorder;

/// A reply to send now.
#[derive(Debug)]
pub struct Delivery {
    pub reply: Outgoing,
    /// The name of the interface that the request came in on.
    pub interface: Arc<str>,
    /// The event to record once it is sent.
    pub event: Event,
}

/// Sends replies, and records for each its event or a drop with [`DropReason::SendFailed`].
pub fn deliver(socket: &DhcpSocket, recorder: &Recorder, deliveries: &[Delivery]) {
    let replies: Vec<&Outgoing> = deliveries.iter().map(|delivery| &delivery.reply).collect();
    for (Delivery { reply, interface, event }, sent) in deliveries.iter().zip(socket.send_all(&replies)) {
        report(sent, recorder, interface, reply, event);
    }
}

/// Records `event` if the reply was sent; otherwise logs the error and records the drop.
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

/// The socket that replies are sent by.
#[derive(Clone, Debug)]
pub enum Sender {
    /// A UDP port.
    Udp(Arc<DhcpSocket>),
    /// Packet sockets, if another program has the port.
    Taps(Arc<RawSender>),
}

impl Sender {
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        match self {
            Sender::Udp(socket) => socket.send(outgoing),
            Sender::Taps(taps) => taps.send(outgoing),
        }
    }
}

/// A reply with its own socket, to send now or after a delay. For a reply from the DHCP loop's socket without delay,
/// use [`Delivery`], which is sent in batches.
#[derive(Debug)]
pub struct DelayedReply {
    pub sender: Sender,
    pub reply: Outgoing,
    /// The event to record once it is sent.
    pub event: Event,
    /// The name of the interface that the request came in on.
    pub interface: Arc<str>,
}

impl DelayedReply {
    /// Sends the reply, and records its event or the drop.
    pub fn send(&self, recorder: &Recorder) {
        report(self.sender.send(&self.reply), recorder, &self.interface, &self.reply, &self.event);
    }
}

/// Encodes `reply` for sending from the interface with this number.
pub(super) fn outgoing(reply: &OutgoingReply, interface: u32) -> Outgoing {
    let OutgoingReply { message, route, server } = reply;
    Outgoing { payload: message.encode(), route: *route, interface, server: *server }
}
