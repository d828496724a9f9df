//! One thread of the server: an epoll loop over the sockets of requests and its own transfers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv};

use super::blocks::Scratch;
use super::listener::{Listeners, Service};
use super::listeners::{Queues, attend};
use super::request::Arrival;
use super::send::Sender;
use super::shared::{Hall, Mail};
use super::socket::{Link, Opener, for_errors};
use super::transfer::{Session, Tools};
use super::transfers::Sessions;
use crate::event::{End, Event, Stop};
use crate::net::datagram::Inbox;
use crate::tftp::admission::Place;
use crate::tftp::{Input, Ports, Step};
use crate::wire::tftp::Packet;

/// Events taken from the kernel in one call.
const EVENTS: usize = 256;
/// Bytes of a client's packet that are read: an ACK has four, an ERROR has a text.
const PACKET: usize = 1024;
/// Packets of one lock-step client that are read in one turn.
const PACKETS: usize = 16;
/// How long the thread looks for the answer to a window before it sleeps, where answers came sooner than that before.
/// Waking a core takes as long as such an answer. Only what is on this computer, a virtual machine for example, is so
/// near: for who is on a network nobody spins.
const LOOK: Duration = Duration::from_micros(100);
/// In the token of a transfer: it is its door that has something.
pub const DOOR: u64 = 1 << 62;
/// What wakes the thread, besides its transfers: the bell, and from here down the sockets of requests.
const BELL: u64 = u64::MAX;
pub const LISTENERS: u64 = u64::MAX - 1;

/// A slot of [`Sessions`] and its generation, perhaps with [`DOOR`]; no other token has the highest bit clear.
fn is_transfer(token: u64) -> bool {
    token >> 63 == 0
}

/// What the kernel is to tell of a transfer's socket. Of a lock-step client's packet it need not ask the socket again
/// when it was read, which it does once more for every block otherwise (level-triggered epoll).
fn interest(session: &Session) -> EpollFlags {
    if session.is_lock_step() { EpollFlags::EPOLLIN | EpollFlags::EPOLLET } else { EpollFlags::EPOLLIN }
}

/// What a thread begins with. It is made before the thread, where a failure can still be told.
pub struct Seat<F> {
    number: usize,
    hall: Arc<Hall>,
    listeners: Listeners,
    service: Service<F>,
    epoll: Epoll,
    opener: Opener,
    errors: Option<UdpSocket>,
}

impl<F> Seat<F> {
    /// Readies thread `number`, which may keep `max_spare` sockets.
    pub fn new(
        number: usize,
        hall: Arc<Hall>,
        listeners: Listeners,
        service: Service<F>,
        max_spare: usize,
    ) -> io::Result<Seat<F>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        if let Some(bell) = hall.bells.get(number) {
            epoll.add(&bell.wake, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        }
        attend(&epoll, &listeners, service.ports)?;
        let opener = Opener::new(service.ports, max_spare);
        let errors = if service.ports == Ports::Ephemeral { Some(for_errors()?) } else { None };
        Ok(Seat { number, hall, listeners, service, epoll, opener, errors })
    }
}

/// A thread's transfers and what they need.
pub struct Worker<F> {
    pub number: usize,
    pub hall: Arc<Hall>,
    pub service: Service<F>,
    pub opener: Opener,
    /// Where errors are sent from; none where transfers have no ports of the kernel's choice. Then it is the port of
    /// requests: in a range each port is one transfer less, and a firewall lets that one through.
    pub errors: Option<UdpSocket>,
    pub sessions: Sessions,
    pub tools: Tools,
    pub listeners: Listeners,
    /// Who waits for room in them.
    pub queues: Queues,
    pub epoll: Epoll,
    pub inbox: Option<Inbox>,
    /// The second in which the log was last told that there was no socket for a transfer.
    pub told_of_no_socket: Option<u64>,
    timers: BinaryHeap<Reverse<(Duration, u64)>>,
    /// An answer is about to come ([`LOOK`]).
    expectant: bool,
    stopping: bool,
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// The thread's work.
    pub fn new(seat: Seat<F>) -> Worker<F> {
        let Seat { number, hall, listeners, service, epoll, opener, errors } = seat;
        Worker {
            number,
            hall,
            service,
            opener,
            errors,
            sessions: Sessions::default(),
            tools: Tools { sender: Sender::default(), scratch: Scratch::default(), idle: false },
            queues: Queues::new(&listeners),
            listeners,
            epoll,
            inbox: None,
            told_of_no_socket: None,
            timers: BinaryHeap::new(),
            expectant: false,
            stopping: false,
        }
    }

    /// Serves until it is told to stop.
    pub fn run(&mut self) {
        while !self.stopping {
            // A fault in the handling of one packet must not end all transfers, and the server with them.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            if let Ok(Err(error)) = turn {
                tracing::error!("the TFTP server cannot wait for packets: {error}");
                break;
            }
        }
        let now = self.now();
        for token in self.sessions.tokens() {
            self.finish(token, End::Stopped(Stop::ServerStops), now);
        }
    }

    /// Waits for what comes, and deals with it.
    fn turn(&mut self) -> nix::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.wait(&mut events) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let (now, events) = (self.now(), &events[..count]);
        self.tools.idle = count <= 1;
        // Transfers first: the last ACK of one may wait before the next request from the same port.
        for event in events.iter().filter(|event| is_transfer(event.data())) {
            match event.data() {
                token if token & DOOR == 0 => self.on_transfer(token, event.events(), now),
                token => self.on_door(token ^ DOOR, now),
            }
        }
        for event in events.iter().filter(|event| !is_transfer(event.data())) {
            match event.data() {
                BELL => self.read_mail(now),
                token => self.on_listener(LISTENERS.saturating_sub(token), event.events(), now),
            }
        }
        self.on_time(now);
        self.expectant = match events {
            [event] => self.sessions.get(event.data()).is_some_and(|session| session.answers_within(LOOK)),
            _ => false,
        };
        Ok(())
    }

    /// Waits for events, and says how many came.
    fn wait(&mut self, events: &mut [EpollEvent]) -> nix::Result<usize> {
        let until = self.now() + LOOK;
        while self.expectant && self.now() < until {
            match self.epoll.wait(events, EpollTimeout::ZERO) {
                // The client may be waiting for this core.
                Ok(0) => std::thread::yield_now(),
                other => return other,
            }
        }
        self.epoll.wait(events, self.timeout())
    }

    fn now(&self) -> Duration {
        self.hall.began.elapsed()
    }

    /// How long to wait for packets: until the next timer, a millisecond late rather than early.
    fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((at, _))) = self.timers.peek() else { return EpollTimeout::NONE };
        let millis = at.saturating_sub(self.now()).as_millis().saturating_add(1);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
    }

    /// A transfer's socket is ready.
    pub fn on_transfer(&mut self, token: u64, ready: EpollFlags, now: Duration) {
        let Some(session) = self.sessions.get(token) else { return };
        if ready.contains(EpollFlags::EPOLLOUT) {
            let end = session.send_rest(&mut self.tools);
            self.watch(token);
            return self.go_on(token, end, now);
        }
        let mut buffer = [0; PACKET];
        // In lock-step the kernel tells of a packet when it comes and not again (`Worker::register`), so one that leads
        // to nothing must not hide the next. One that has block n sent may: its answer comes behind all that was left.
        for _ in 0..PACKETS {
            let Some(session) = self.sessions.get(token) else { return };
            let lock_step = session.is_lock_step();
            let Link::Own(socket) = session.link() else { return };
            let done = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                // What is no packet is passed over: the connected socket took it from the client's port.
                Ok(len) => Packet::decode(&buffer[..len.min(PACKET)])
                    .is_ok_and(|packet| self.input(token, Input::Packet(&packet), now)),
                Err(Errno::ECONNREFUSED) => self.input(token, Input::Unreachable, now),
                Err(Errno::EAGAIN) => true,
                // Other news of the network (no route for now) may pass; the timer will tell.
                Err(_) => false,
            };
            if done || !lock_step {
                return;
            }
        }
        // There may be more: the kernel is to tell again.
        self.watch(token);
    }

    /// Has the core judge `input`, and says whether anything is done about it.
    pub fn input(&mut self, token: u64, input: Input<'_>, now: Duration) -> bool {
        let Some(session) = self.sessions.get(token) else { return true };
        let (step, is_heard) = session.decide(input, now);
        if is_heard {
            // Before anything is sent: what the client does next may come to another thread.
            self.hall.table().heard(session.place());
        }
        let acts = step != Step::Wait;
        let end = session.carry_out(step, &mut self.tools);
        self.go_on(token, end, now);
        acts
    }

    /// After something was done for a transfer: ends it, or sets its timer.
    pub fn go_on(&mut self, token: u64, end: Option<End>, now: Duration) {
        if let Some(end) = end {
            return self.finish(token, end, now);
        }
        let Some(session) = self.sessions.get(token) else { return };
        // A deadline that moved away is looked at when the timer comes, so most packets touch no timer.
        if session.deadline() < session.armed {
            session.armed = session.deadline();
            self.timers.push(Reverse((session.armed, token)));
        }
        if session.is_waiting() {
            self.watch(token);
        }
    }

    /// Has the kernel tell what the transfer waits for.
    fn watch(&mut self, token: u64) {
        let Some(session) = self.sessions.get(token) else { return };
        let socket = match session.link() {
            Link::Own(socket) => socket,
            Link::Shared { socket, .. } => {
                let socket = Arc::clone(socket);
                return self.wait_for_room(token, &socket);
            }
        };
        let room = if session.is_waiting() { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let _ = self.epoll.modify(socket, &mut EpollEvent::new(interest(session) | room, token));
    }

    fn on_time(&mut self, now: Duration) {
        while let Some(Reverse((at, token))) =
            self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now)
        {
            self.timers.pop();
            let Some(session) = self.sessions.get(token) else { continue };
            if session.armed != at {
                continue;
            }
            session.armed = Duration::MAX;
            if let Some((since, long)) = session.becomes_silent(now) {
                let gives_way = self.hall.table().silent(session.place(), since, long);
                if let Some((other, thread)) = gives_way {
                    self.put_out(other, thread, Stop::Evicted, now);
                }
            }
            // What has come and waits was in time.
            self.on_transfer(token, EpollFlags::EPOLLIN, now);
            self.input(token, Input::Timeout, now);
            self.open_door(token, now);
        }
    }

    fn finish(&mut self, token: u64, end: End, now: Duration) {
        let Some(session) = self.sessions.remove(token) else { return };
        let place = session.place();
        if let End::Stopped(stop) = &end {
            session.say_goodbye(stop);
        }
        // Who broke off may still send something.
        let whole = end == End::Sent;
        (self.service.record)(session.event(end, now));
        if whole {
            self.keep_socket(session);
        } else {
            drop(session);
        }
        // Who gets the place may need the port.
        self.hall.table().end(place);
    }

    /// Keeps the socket of a transfer that is over for another one.
    fn keep_socket(&mut self, session: Session) {
        let local = session.place().flow.local;
        if let Some(socket) = session.into_spare().filter(|socket| self.epoll.delete(socket).is_ok()) {
            self.opener.take_back(local, socket);
        }
    }

    fn read_mail(&mut self, now: Duration) {
        for mail in self.hall.take_mail(self.number) {
            match mail {
                Mail::GiveWay(place, stop) => self.give_way(place, stop, now),
                Mail::Judge { listener, datagram, envelope } => {
                    let listener = &listener;
                    let datagram = &datagram;
                    self.on_datagram(Arrival { listener, datagram, envelope, passed_on: true, now });
                }
                Mail::Rendered { listener, datagram, envelope, place, content } => {
                    let (listener, datagram) = (&listener, &datagram);
                    let arrival = Arrival { listener, datagram, envelope, passed_on: true, now };
                    self.on_rendered(arrival, place, content);
                }
                Mail::Listen(listeners) => self.listen(listeners),
                Mail::Stop => self.stopping = true,
            }
        }
    }

    /// Ends a transfer that has lost its place.
    pub fn give_way(&mut self, place: Place, stop: Stop, now: Duration) {
        let Some(token) = self.sessions.find(&place.flow) else { return };
        if self.sessions.get(token).is_some_and(|session| session.place() == place) {
            self.finish(token, End::Stopped(stop), now);
        }
    }

    /// Has the kernel tell when a new transfer's client sends something.
    pub fn register(&mut self, token: u64) {
        let Some(session) = self.sessions.get(token) else { return };
        if let Link::Own(socket) = session.link() {
            // It fails when the kernel's memory is used up; then the transfer ends by its timer.
            let _ = self.epoll.add(socket, EpollEvent::new(interest(session), token));
        }
    }
}
