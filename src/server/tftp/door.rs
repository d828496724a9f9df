//! Who comes to the port of another client's transfer. The transfer's own socket is connected, so the kernel gives it
//! nothing of theirs; a second socket at that port takes it, once the transfer has lasted for a while. Before that the kernel
//! refuses them (ICMP port unreachable).

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::link::{Link, for_strangers};
use super::worker::{DOOR, PACKET, PACKETS, Worker};
use crate::event::{Event, Unanswered};
use crate::tftp::stranger::Strangers;

/// The second socket of a transfer's port.
#[derive(Debug)]
pub struct Door {
    /// `None` when too many came.
    socket: Option<UdpSocket>,
    strangers: Strangers,
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// Opens a transfer's door, if it had none yet. Where that fails the transfer goes on without.
    pub fn open_door(&mut self, token: u64) {
        let Some(session) = self.sessions.get(token) else { return };
        let Link::Own(transfer) = session.link() else { return };
        if session.door.is_some() || !self.hall.doors {
            return;
        }
        let Ok(socket) = for_strangers(transfer, session.place().flow.local) else { return };
        if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token | DOOR)).is_ok() {
            session.door = Some(Door { socket: Some(socket), strangers: Strangers::default() });
        }
    }

    /// Somebody else than its client has sent to a transfer's port.
    pub fn on_door(&mut self, token: u64, now: Duration) {
        let Worker { sessions, service, hall, .. } = self;
        let Some(door) = sessions.get(token).and_then(|session| session.door.as_mut()) else { return };
        let mut buffer = [0; PACKET];
        for _ in 0..PACKETS {
            let Some(socket) = &door.socket else { return };
            let Ok((len, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) else { return };
            let answer = door.strangers.answer(&buffer[..len.min(PACKET)], from, service.admits(*from.ip()));
            if let Some(answer) = answer
                && hall.table().may_send_error(*from.ip(), now)
            {
                // It may be lost, like any error.
                let _ = socket.send_to(&answer.encode(), from);
            }
            (service.record)(Event::TftpUnanswered { peer: from, reason: Unanswered::UnknownTransfer });
            if door.strangers.are_too_many() {
                door.socket = None;
            }
        }
    }
}
