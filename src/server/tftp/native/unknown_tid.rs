//! Who comes to the port of another client's transfer. The transfer's own socket is connected, so the kernel gives it
//! nothing of theirs; a second socket at that port takes it, once the transfer has lasted for a while. Before that the
//! kernel refuses them (ICMP port unreachable).

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::socket::{Link, for_strangers, send_from};
use super::worker::{DOOR, Worker};
use crate::event::{Event, Unanswered};
use crate::net::datagram::Envelope;
use crate::tftp::stranger::Strangers;

/// So long a transfer has no door; most are over by then.
const WITHOUT_DOOR: Duration = Duration::from_millis(300);

/// The second socket of a transfer's port.
#[derive(Debug)]
pub enum Door {
    /// It takes what comes.
    Open { socket: UdpSocket, strangers: Strangers },
    /// Too many came.
    Closed,
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// Opens a transfer's door, if it had none yet and has lasted for a while. Where that fails the transfer goes on
    /// without.
    pub fn open_door(&mut self, token: u64, now: Duration) {
        let Some(session) = self.sessions.get(token) else { return };
        let Link::Own(transfer) = session.link() else { return };
        if session.door.is_some() || !self.hall.doors || session.has_lasted(now) < WITHOUT_DOOR {
            return;
        }
        let Ok(socket) = for_strangers(transfer) else { return };
        if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token | DOOR)).is_ok() {
            session.door = Some(Door::Open { socket, strangers: Strangers::default() });
        }
    }

    /// Somebody else than its client has sent to a transfer's port.
    pub fn on_door(&mut self, token: u64, now: Duration) {
        let Worker { sessions, service, hall, inbox, .. } = self;
        let Some(session) = sessions.get(token) else { return };
        let local = session.place().flow.local;
        let Some(Door::Open { socket, strangers }) = &mut session.door else { return };
        let inbox = inbox.get_or_insert_default();
        if inbox.receive(socket).is_err() {
            return;
        }
        for (datagram, Envelope { source: from, local: asked, .. }) in inbox.iter() {
            // At our other addresses the port is no transfer's.
            let answer = strangers.answer(datagram, from, asked == local && service.admits(*from.ip()));
            if let Some(answer) = answer
                && hall.table().may_send_error(*from.ip(), now)
            {
                send_from(socket, local, from, &answer.encode());
            }
            (service.record)(Event::TftpUnanswered { peer: from, reason: Unanswered::UnknownTransfer });
            if strangers.are_too_many() {
                session.door = Some(Door::Closed);
                return;
            }
        }
    }
}
