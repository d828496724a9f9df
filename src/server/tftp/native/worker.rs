//! One thread of the server: an epoll loop over the listeners and the thread's own transfers. `native/mod.rs` starts
//! it. Nothing in it may block except the wait for events.

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
use super::listeners::{Queues, register_listeners};
use super::request::Arrival;
use super::send::Sender;
use super::shared::{Command, Shared};
use super::socket::{Link, SocketPool, open_for_errors};
use super::transfer::{SendContext, Session};
use super::transfers::Sessions;
use crate::event::{Event, ServerFact, TransferEnd, TransferStop};
use crate::net::datagram::Inbox;
use crate::tftp::admission::TransferId;
use crate::tftp::{Input, Ports, Step};
use crate::wire::tftp::Packet;

/// Maximum number of events from one system call.
const EVENTS: usize = 256;
/// Bytes of a client's packet that are read: an ACK has four, and an ERROR contains a text.
const PACKET: usize = 1024;
/// Maximum number of packets of one lock-step client that are read in one turn.
const PACKETS: usize = 16;
/// How long the thread spins for the answer to a window before it sleeps, if earlier answers were faster than that.
/// Waking a core takes as long as such an answer. Only clients on the same computer are that fast, for example virtual
/// machines; the thread never spins for clients on a network.
const SPIN_TIME: Duration = Duration::from_micros(100);
/// Token bit of a transfer's second socket (`unknown_tid.rs`).
pub const UNKNOWN_TID: u64 = 1 << 62;
/// Token of the command queue. The tokens of the listeners count down from [`LISTENERS`].
const COMMANDS: u64 = u64::MAX;
pub const LISTENERS: u64 = u64::MAX - 1;

/// Whether the token belongs to a transfer: a slot of [`Sessions`] and its generation, perhaps with [`UNKNOWN_TID`]. All other
/// tokens have the highest bit set.
fn is_transfer(token: u64) -> bool {
    token >> 63 == 0
}

/// The epoll interest in a transfer's socket. Lock-step clients use edge-triggered epoll, which saves the kernel one
/// check of the socket per block.
fn interest(session: &Session) -> EpollFlags {
    if session.is_lock_step() { EpollFlags::EPOLLIN | EpollFlags::EPOLLET } else { EpollFlags::EPOLLIN }
}

/// The resources of a thread, which are opened before it starts, so that errors can be reported.
pub struct Setup<F> {
    number: usize,
    shared: Arc<Shared>,
    listeners: Listeners,
    service: Service<F>,
    epoll: Epoll,
    sockets: SocketPool,
    errors: Option<UdpSocket>,
}

impl<F> Setup<F> {
    /// Prepares thread `number`, which may keep `max_spare` spare sockets.
    pub fn new(
        number: usize,
        shared: Arc<Shared>,
        listeners: Listeners,
        service: Service<F>,
        max_spare: usize,
    ) -> io::Result<Setup<F>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        if let Some(queue) = shared.command_queues.get(number) {
            epoll.add(&queue.wake, EpollEvent::new(EpollFlags::EPOLLIN, COMMANDS))?;
        }
        register_listeners(&epoll, &listeners, service.ports)?;
        let sockets = SocketPool::new(service.ports, max_spare);
        let errors = if service.ports == Ports::Ephemeral { Some(open_for_errors()?) } else { None };
        Ok(Setup { number, shared, listeners, service, epoll, sockets, errors })
    }
}

/// A thread with its transfers.
pub struct Worker<F> {
    pub number: usize,
    pub shared: Arc<Shared>,
    pub service: Service<F>,
    pub sockets: SocketPool,
    /// The socket for errors. `None` if the ports of transfers are restricted: errors are then sent from the listener,
    /// because a range has no port to spare, and a firewall lets the listener's port through.
    pub errors: Option<UdpSocket>,
    pub sessions: Sessions,
    pub context: SendContext,
    pub listeners: Listeners,
    /// Transfers that wait for room in the listeners.
    pub queues: Queues,
    pub epoll: Epoll,
    pub inbox: Option<Inbox>,
    /// The second in which "no socket" was last logged.
    pub no_socket_logged: Option<u64>,
    timers: BinaryHeap<Reverse<(Duration, u64)>>,
    /// Whether an answer is expected within [`SPIN_TIME`].
    expects_answer: bool,
    stopping: bool,
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    pub fn new(setup: Setup<F>) -> Worker<F> {
        let Setup { number, shared, listeners, service, epoll, sockets, errors } = setup;
        Worker {
            number,
            shared,
            service,
            sockets,
            errors,
            sessions: Sessions::default(),
            context: SendContext { sender: Sender::default(), scratch: Scratch::default(), idle: false },
            queues: Queues::new(&listeners),
            listeners,
            epoll,
            inbox: None,
            no_socket_logged: None,
            timers: BinaryHeap::new(),
            expects_answer: false,
            stopping: false,
        }
    }

    /// Serves until the stop command.
    pub fn run(&mut self) {
        while !self.stopping {
            // A panic in the handling of one packet must not end all transfers and the server.
            let turn = catch_unwind(AssertUnwindSafe(|| self.handle_events()));
            if let Ok(Err(error)) = turn {
                let text = format!("the TFTP server cannot wait for packets: {error}");
                (self.service.record)(Event::Server { fact: ServerFact::CannotListen, text });
                break;
            }
        }
        let now = self.now();
        for token in self.sessions.tokens() {
            self.finish(token, TransferEnd::Stopped(TransferStop::ServerStops), now);
        }
    }

    /// Waits for events and handles them.
    fn handle_events(&mut self) -> nix::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.wait(&mut events) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let (now, events) = (self.now(), &events[..count]);
        self.context.idle = count <= 1;
        // Transfers first: the last ACK of a transfer may precede the next request from the same port.
        for event in events.iter().filter(|event| is_transfer(event.data())) {
            match event.data() {
                token if token & UNKNOWN_TID == 0 => self.on_transfer(token, event.events(), now),
                token => self.on_unknown_tid(token ^ UNKNOWN_TID, now),
            }
        }
        for event in events.iter().filter(|event| !is_transfer(event.data())) {
            match event.data() {
                COMMANDS => self.run_commands(now),
                token => self.on_listener(LISTENERS.saturating_sub(token), event.events(), now),
            }
        }
        self.on_timers(now);
        self.expects_answer = match events {
            [event] => {
                self.sessions.get(event.data()).is_some_and(|session| session.answers_within(SPIN_TIME))
            }
            _ => false,
        };
        Ok(())
    }

    /// Waits for events, and returns their number.
    fn wait(&mut self, events: &mut [EpollEvent]) -> nix::Result<usize> {
        let until = self.now() + SPIN_TIME;
        while self.expects_answer && self.now() < until {
            match self.epoll.wait(events, EpollTimeout::ZERO) {
                // The client may be waiting for this core.
                Ok(0) => std::thread::yield_now(),
                other => return other,
            }
        }
        self.epoll.wait(events, self.timeout())
    }

    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// The time until the next timer, rounded up to a millisecond.
    fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((at, _))) = self.timers.peek() else { return EpollTimeout::NONE };
        let millis = at.saturating_sub(self.now()).as_millis().saturating_add(1);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
    }

    /// Handles a transfer's socket that is ready.
    pub fn on_transfer(&mut self, token: u64, ready: EpollFlags, now: Duration) {
        let Some(session) = self.sessions.get(token) else { return };
        if ready.contains(EpollFlags::EPOLLOUT) {
            let end = session.send_rest(&mut self.context);
            self.update_interest(token);
            return self.after_step(token, end, now);
        }
        let mut buffer = [0; PACKET];
        // With edge-triggered epoll the kernel reports a packet only once (`Worker::register`), so read on after a
        // packet that caused nothing. After one that caused a block to be sent, stop: its answer arrives behind all
        // queued packets.
        for _ in 0..PACKETS {
            let Some(session) = self.sessions.get(token) else { return };
            let lock_step = session.is_lock_step();
            let Link::Own(socket) = session.link() else { return };
            let done = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                // Skip data that is not a packet: the connected socket received it from the client's port.
                Ok(len) => Packet::decode(&buffer[..len.min(PACKET)])
                    .is_ok_and(|packet| self.handle_input(token, Input::Packet(&packet), now)),
                Err(Errno::ECONNREFUSED) => self.handle_input(token, Input::Unreachable, now),
                Err(Errno::EAGAIN) => true,
                // Other network errors (no route for now) may pass, and the timer detects a loss.
                Err(_) => false,
            };
            if done || !lock_step {
                return;
            }
        }
        // There may be more packets: make the kernel report them again.
        self.update_interest(token);
    }

    /// Passes `input` to the core, and returns whether it caused anything.
    pub fn handle_input(&mut self, token: u64, input: Input<'_>, now: Duration) -> bool {
        let Some(session) = self.sessions.get(token) else { return true };
        let (step, is_heard) = session.decide(input, now);
        if is_heard {
            // Record it before anything is sent: the client's next request may reach another thread.
            self.shared.table().record_progress(session.id());
        }
        let acts = step != Step::Wait;
        // A client that aborts after the OACK only asked for the size.
        let acknowledged = match step {
            Step::End(_) => None,
            _ => session.acknowledged_event(),
        };
        acknowledged.into_iter().for_each(|event| (self.service.record)(event));
        let busy = self.service.files.work().begin(self.number);
        let end = session.perform(step, &mut self.context);
        drop(busy);
        self.after_step(token, end, now);
        acts
    }

    /// Ends a transfer or sets its timer, after a step was carried out.
    pub fn after_step(&mut self, token: u64, end: Option<TransferEnd>, now: Duration) {
        if let Some(end) = end {
            return self.finish(token, end, now);
        }
        let Some(session) = self.sessions.get(token) else { return };
        // A deadline that moved back is checked when the timer fires, so most packets do not touch the timers.
        if session.deadline() < session.armed {
            session.armed = session.deadline();
            self.timers.push(Reverse((session.armed, token)));
        }
        if session.is_waiting() {
            self.update_interest(token);
        }
    }

    /// Updates the epoll interest of the transfer.
    fn update_interest(&mut self, token: u64) {
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

    fn on_timers(&mut self, now: Duration) {
        while let Some(Reverse((at, token))) =
            self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now)
        {
            self.timers.pop();
            let Some(session) = self.sessions.get(token) else { continue };
            if session.armed != at {
                continue;
            }
            session.armed = Duration::MAX;
            if let Some((since, long)) = session.update_silence(now) {
                let evicted = self.shared.table().record_silence(session.id(), since, long);
                if let Some((other, thread)) = evicted {
                    self.evict(other, thread, TransferStop::Evicted, now);
                }
            }
            // Packets that are already waiting arrived in time.
            self.on_transfer(token, EpollFlags::EPOLLIN, now);
            self.handle_input(token, Input::Timeout, now);
            self.open_unknown_tid(token, now);
        }
    }

    fn finish(&mut self, token: u64, end: TransferEnd, now: Duration) {
        let Some(session) = self.sessions.remove(token) else { return };
        let id = session.id();
        if let TransferEnd::Stopped(stop) = &end {
            session.send_final_error(stop);
        }
        // A client that aborted may still send packets, so only reuse the socket after success.
        let whole = end == TransferEnd::Sent;
        (self.service.record)(session.event(end, now));
        if whole {
            self.keep_socket(session);
        } else {
            drop(session);
        }
        // The next transfer may need the port.
        self.shared.table().end(id);
    }

    /// Keeps the socket of an ended transfer for another one.
    fn keep_socket(&mut self, session: Session) {
        let local = session.id().flow.local;
        if let Some(socket) = session.into_spare().filter(|socket| self.epoll.delete(socket).is_ok()) {
            self.sockets.take_back(local, socket);
        }
    }

    fn run_commands(&mut self, now: Duration) {
        for command in self.shared.take_commands(self.number) {
            match command {
                Command::Evict(id, stop) => self.end_evicted(id, stop, now),
                Command::Judge { listener, datagram, envelope } => {
                    let listener = &listener;
                    let datagram = &datagram;
                    self.on_datagram(Arrival { listener, datagram, envelope, forwarded: true, now });
                }
                Command::Rendered { listener, datagram, envelope, id, content } => {
                    let (listener, datagram) = (&listener, &datagram);
                    let arrival = Arrival { listener, datagram, envelope, forwarded: true, now };
                    self.on_rendered(arrival, id, content);
                }
                Command::Listen(listeners) => self.listen(listeners),
                Command::Stop => self.stopping = true,
            }
        }
    }

    /// Ends a transfer that has lost its place.
    pub fn end_evicted(&mut self, id: TransferId, stop: TransferStop, now: Duration) {
        let Some(token) = self.sessions.find(&id.flow) else { return };
        if self.sessions.get(token).is_some_and(|session| session.id() == id) {
            self.finish(token, TransferEnd::Stopped(stop), now);
        }
    }

    /// Registers the socket of a new transfer with epoll.
    pub fn register(&mut self, token: u64) {
        let Some(session) = self.sessions.get(token) else { return };
        if let Link::Own(socket) = session.link() {
            // This fails if the kernel is out of memory; the transfer then ends by its timer.
            let _ = self.epoll.add(socket, EpollEvent::new(interest(session), token));
        }
    }
}
