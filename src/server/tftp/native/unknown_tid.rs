//! Answers packets that arrive at a transfer's port from another sender (an unknown TID, RFC 1350 section 4). The
//! transfer's own socket is connected, so it does not receive them. A second, unconnected socket at the same port is
//! opened when the transfer has lasted for a while. Before that the kernel answers with ICMP port unreachable.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::socket::{Link, for_unknown_tids, send_from};
use super::worker::{UNKNOWN_TID, Worker};
use crate::event::{Event, Unanswered};
use crate::net::datagram::Envelope;
use crate::tftp::unknown_tid::UnknownTids;

/// Minimum age of a transfer before its second socket is opened. Most transfers have ended by then.
const MIN_AGE: Duration = Duration::from_millis(300);

/// The second socket at a transfer's port.
#[derive(Debug)]
pub enum UnknownTid {
    Open {
        socket: UdpSocket,
        senders: UnknownTids,
    },
    /// Closed, because too many packets arrived.
    Closed,
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// Opens the second socket of a transfer that has lasted for a while. If that fails, the transfer continues without
    /// it.
    pub fn open_unknown_tid(&mut self, token: u64, now: Duration) {
        let Some(session) = self.sessions.get(token) else { return };
        let Link::Own(transfer) = session.link() else { return };
        if session.unknown_tid.is_some()
            || !self.shared.answers_unknown_tids
            || session.has_lasted(now) < MIN_AGE
        {
            return;
        }
        let Ok(socket) = for_unknown_tids(transfer) else { return };
        if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token | UNKNOWN_TID)).is_ok() {
            session.unknown_tid = Some(UnknownTid::Open { socket, senders: UnknownTids::default() });
        }
    }

    /// Handles packets that another sender sent to a transfer's port.
    pub fn on_unknown_tid(&mut self, token: u64, now: Duration) {
        let Worker { sessions, service, shared, inbox, .. } = self;
        let Some(session) = sessions.get(token) else { return };
        let local = session.id().flow.local;
        let Some(UnknownTid::Open { socket, senders }) = &mut session.unknown_tid else { return };
        let inbox = inbox.get_or_insert_default();
        if inbox.receive(socket).is_err() {
            return;
        }
        for (datagram, Envelope { source: from, local: asked, .. }) in inbox.iter() {
            // The same port at our other addresses does not belong to the transfer.
            let from = SocketAddr::V4(from);
            let answer =
                senders.answer(datagram, from, IpAddr::V4(asked) == local && service.admits(from.ip()));
            if let Some(answer) = answer
                && shared.table().may_send_error(from.ip(), now)
            {
                send_from(socket, local, from, &answer.encode());
            }
            (service.record)(Event::TftpUnanswered { peer: from, reason: Unanswered::UnknownTransfer });
            if senders.is_flood() {
                session.unknown_tid = Some(UnknownTid::Closed);
                return;
            }
        }
    }
}
