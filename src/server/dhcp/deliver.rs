//! Sends replies and records the event of each, or that it could not be sent. The DHCP loop, the committer, the proxy
//! and the delay thread call it. It never decides whether to send.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;

use crate::dhcp::engine::OutgoingReply;
use crate::event::{DropReason, Record};
use crate::net::datagram::Outgoing;
use crate::net::packet_socket::RawSender;
use crate::net::udp::DhcpSocket;
use crate::record::Recorder;
use crate::types::{InterfaceName, Timestamp};

/// A reply to send now.
#[derive(Debug)]
pub struct Delivery {
    pub reply: Outgoing,
    /// The record that it was sent.
    pub record: Record,
}

/// Sends replies, and records for each that it was sent, or a drop with [`DropReason::SendFailed`].
pub fn deliver(socket: &DhcpSocket, recorder: &Recorder, deliveries: Vec<Delivery>) {
    if deliveries.is_empty() {
        return;
    }
    let replies: Vec<&Outgoing> = deliveries.iter().map(|delivery| &delivery.reply).collect();
    let sent = socket.send_all(&replies);
    let at = (Instant::now(), recorder.now());
    for (Delivery { reply, record }, sent) in deliveries.into_iter().zip(sent) {
        report(sent, recorder, &reply, record, at);
    }
}

/// Records `record` if the reply was sent, with the time `at` when that was tried; otherwise logs the error and records
/// the drop.
pub fn report(
    sent: io::Result<()>,
    recorder: &Recorder,
    reply: &Outgoing,
    record: Record,
    (instant, at): (Instant, Timestamp),
) {
    let record = Record { at, ..record };
    match sent {
        Ok(()) => {
            recorder.reply_took(instant.saturating_duration_since(reply.received));
            recorder.record(record);
        }
        Err(error) => {
            recorder.log_failure(Level::WARN, "cannot send a reply", || {
                format!("on {} ({:?}): {error}", record.interface.as_deref().unwrap_or("?"), reply.route)
            });
            recorder.record(record.dropped(DropReason::SendFailed));
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
    /// The record that it was sent.
    pub record: Record,
}

impl DelayedReply {
    /// A reply to send after `wait`, which does not count as time that it took.
    pub fn after(wait: Duration, sender: Sender, mut reply: Outgoing, record: Record) -> DelayedReply {
        reply.received += wait;
        DelayedReply { sender, reply, record }
    }

    /// Sends the reply, and records that or the drop.
    pub fn send(self, recorder: &Recorder) {
        let sent = self.sender.send(&self.reply);
        report(sent, recorder, &self.reply, self.record, (Instant::now(), recorder.now()));
    }
}

/// Fills in the name of the interface, if the engine does not know it.
pub(super) fn on(interface: InterfaceName, record: Record) -> Record {
    Record { interface: record.interface.or(Some(interface)), ..record }
}

/// Encodes `reply`, to a message that was received at `received`, for sending from the interface with this number.
pub(super) fn outgoing(reply: &OutgoingReply, interface: u32, received: Instant) -> Outgoing {
    let OutgoingReply { message, route, server } = reply;
    Outgoing { payload: message.encode(), route: *route, interface, server: *server, received }
}
