//! Reads requests from the listeners. With `tftp.ports: single`, all transfers share a listener's socket, and this
//! module decides which one sends next when there is room again.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::listener::Listeners;
use super::request::Arrival;
use super::worker::{LISTENERS, Worker};
use crate::event::{Event, ServerFact};
use crate::tftp::Ports;

/// The transfers that wait for room in a listener's socket, by the listener's number.
#[derive(Debug)]
pub struct Queues(Vec<VecDeque<u64>>);

impl Queues {
    pub fn new(listeners: &Listeners) -> Queues {
        Queues(listeners.iter().map(|_| VecDeque::new()).collect())
    }
}

/// Registers the listeners with epoll.
pub fn register_listeners(epoll: &Epoll, listeners: &Listeners, ports: Ports) -> nix::Result<()> {
    // EPOLLEXCLUSIVE wakes one thread per request instead of all. With a single port there is only one thread. It also
    // changes its interest later, which the kernel does not allow with EPOLLEXCLUSIVE.
    let alone = if ports == Ports::Single { EpollFlags::empty() } else { EpollFlags::EPOLLEXCLUSIVE };
    for (i, listener) in listeners.iter().enumerate() {
        let flags = EpollFlags::EPOLLIN | alone;
        epoll.add(&listener.socket, EpollEvent::new(flags, LISTENERS - i as u64))?;
    }
    Ok(())
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// Replaces the listeners.
    pub fn listen(&mut self, listeners: Listeners) {
        for listener in &*self.listeners {
            // It was registered, so this cannot fail.
            let _ = self.epoll.delete(&listener.socket);
        }
        self.queues = Queues::new(&listeners);
        self.listeners = listeners;
        if let Err(error) = register_listeners(&self.epoll, &self.listeners, self.service.ports) {
            let text = format!("a TFTP thread cannot wait for requests at all addresses: {error}");
            (self.service.record)(Event::Server { fact: ServerFact::CannotListen, text });
        }
    }

    /// Handles a listener that is ready.
    pub fn on_listener(&mut self, number: u64, ready: EpollFlags, now: Duration) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if ready.contains(EpollFlags::EPOLLOUT) {
            self.on_room(number, now);
        }
        if ready == EpollFlags::EPOLLOUT {
            return;
        }
        let mut inbox = self.inbox.take().unwrap_or_default();
        let listeners = Arc::clone(&self.listeners);
        if let Some(listener) = listeners.get(number) {
            // Read one batch, then return to the transfers: a flood of requests must not starve them.
            if inbox.receive(&listener.socket).is_ok() {
                for (datagram, envelope) in inbox.iter() {
                    self.on_datagram(Arrival { listener, datagram, envelope, forwarded: false, now });
                }
            }
        }
        self.inbox = Some(inbox);
    }

    /// Queues a transfer that waits for room in the shared socket.
    pub fn wait_for_room(&mut self, token: u64, socket: &Arc<UdpSocket>) {
        let Some(number) = self.listeners.iter().position(|listener| Arc::ptr_eq(&listener.socket, socket))
        else {
            return;
        };
        let Some(queue) = self.queues.0.get_mut(number).filter(|queue| !queue.contains(&token)) else {
            return;
        };
        queue.push_back(token);
        if queue.len() == 1 {
            self.ask_for_room(number, EpollFlags::EPOLLOUT);
        }
    }

    /// Sends waiting blocks, because listener `number` has room again.
    pub fn on_room(&mut self, number: usize, now: Duration) {
        while let Some(token) = self.queues.0.get_mut(number).and_then(VecDeque::pop_front) {
            let Some(session) = self.sessions.get(token).filter(|session| session.is_waiting()) else {
                continue;
            };
            let end = session.send_rest(&mut self.context);
            let is_full = session.is_waiting();
            // It may have to wait again, behind the others.
            self.after_step(token, end, now);
            if is_full {
                return;
            }
        }
        self.ask_for_room(number, EpollFlags::empty());
    }

    fn ask_for_room(&mut self, number: usize, room: EpollFlags) {
        let Some(listener) = self.listeners.get(number) else { return };
        let token = LISTENERS - number as u64;
        let _ = self.epoll.modify(&listener.socket, &mut EpollEvent::new(EpollFlags::EPOLLIN | room, token));
    }
}
