//! Judges the datagrams that arrive at a listener: start a transfer, send an error, or do not answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use super::blocks::Source;
use super::listener::Listener;
use super::shared::{Command, Shared};
use super::socket::{Link, at_port_of, path_mtu_to, send_from};
use super::transfer::Session;
use super::worker::Worker;
use crate::content::lookup::Found;
use crate::content::templates::rendering::Rendering;
use crate::event::{Event, Refusal, ServerFact, TransferStop, Unanswered};
use crate::images::Content;
use crate::net::datagram::Envelope;
use crate::tftp::admission::{Admission, Flow, TransferId};
use crate::tftp::{Input, Ports, negotiate, refusal};
use crate::wire::tftp::{BadPacket, Mode, Packet, Request};

/// A datagram that arrived at a listener.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    pub listener: &'a Arc<Listener>,
    pub datagram: &'a [u8],
    /// Its addresses, as reported by the kernel.
    pub envelope: Envelope,
    /// Whether another thread forwarded it, because this thread may have its transfer.
    pub forwarded: bool,
    /// The time when it was read.
    pub now: Duration,
}

impl Arrival<'_> {
    fn flow(&self) -> Flow {
        Flow { peer: self.envelope.source.into(), local: self.envelope.local.into() }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.datagram.hash(&mut hasher);
        hasher.finish()
    }
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// Handles a datagram that arrived at a listener.
    pub fn on_datagram(&mut self, arrival: Arrival<'_>) {
        let Arrival { datagram, envelope, now, .. } = arrival;
        let flow = arrival.flow();
        // After a change of `tftp.ports`, this thread reads a single port only for the transfers that it has.
        if let Some(successor) = self.shared.next_server().filter(|_| self.sessions.find(&flow).is_none()) {
            let (listener, datagram) = (Arc::clone(arrival.listener), datagram.into());
            return successor.send_command(0, Command::Judge { listener, datagram, envelope });
        }
        let is_request = matches!(datagram, [0, 1 | 2, ..]);
        let is_whole = envelope.len <= datagram.len();
        let packet = if is_whole { Packet::decode(datagram) } else { Err(BadPacket::TooLong) };
        let outcome = match packet {
            _ if envelope.destination != envelope.local => Err(Unanswered::Broadcast),
            _ if is_request && !self.service.admits(flow.peer.ip()) => Err(Unanswered::NotAllowed),
            _ if is_request && self.shared.is_closing() => Err(Unanswered::ServerStops),
            Ok(Packet::Rrq(request)) => {
                let outcome = self.read_request(arrival, &request);
                self.answer_failure(arrival, &request, outcome)
            }
            Ok(Packet::Wrq(request)) => {
                let outcome = self.write_request(arrival, &request);
                self.answer_failure(arrival, &request, outcome)
            }
            Ok(packet) => match self.sessions.find(&flow).filter(|_| self.service.ports == Ports::Single) {
                Some(token) => {
                    self.handle_input(token, Input::Packet(&packet), now);
                    Ok(())
                }
                None => Err(Unanswered::NotRequest),
            },
            Err(_) if is_request => {
                self.send_error(arrival, &refusal::MALFORMED).and(Err(Unanswered::Malformed))
            }
            Err(_) => Err(Unanswered::NotRequest),
        };
        if let Err(reason) = outcome {
            (self.service.record)(Event::TftpUnanswered { peer: flow.peer, reason });
        }
    }

    fn read_request(&mut self, arrival: Arrival<'_>, request: &Request<'_>) -> Result<(), NoTransfer> {
        let flow = arrival.flow();
        let requester = self.service.files.requester(flow.peer.ip(), flow.local);
        let found = {
            let _busy = self.service.files.work().begin(self.number);
            self.service.files.find(request.name, &requester)
        };
        match found? {
            Found::Content(content) => {
                let id = self.admit(arrival)?;
                self.send_content(arrival, request, id, content)
            }
            Found::Rendering(rendering) => {
                // The admission marks the request as being served, so a duplicate of it is ignored.
                let id = self.admit(arrival)?;
                self.render(arrival, id, *rendering);
                Ok(())
            }
        }
    }

    /// Starts to render a file. The request is answered later, in [`Worker::on_rendered`], so this thread does not
    /// wait.
    fn render(&self, arrival: Arrival<'_>, id: TransferId, rendering: Rendering) {
        let (shared, number) = (Arc::clone(&self.shared), self.number);
        let (listener, envelope) = (Arc::clone(arrival.listener), arrival.envelope);
        let datagram: Box<[u8]> = arrival.datagram.into();
        rendering.start(move |content| {
            shared.send_command(number, Command::Rendered { listener, datagram, envelope, id, content });
        });
    }

    /// Answers a request whose file was rendered, or failed to be.
    pub fn on_rendered(&mut self, arrival: Arrival<'_>, id: TransferId, content: Result<Content, Refusal>) {
        let Ok(Packet::Rrq(request)) = Packet::decode(arrival.datagram) else { return };
        let (has_place, has_another) = {
            let table = self.shared.table();
            (table.has(id), table.has_flow(id.flow))
        };
        let outcome = match content {
            // The client sent another request from the same port.
            _ if !has_place && has_another => return,
            // The transfer was evicted for another client.
            _ if !has_place => Err(Refusal::Busy.into()),
            Ok(content) => self.send_content(arrival, &request, id, content),
            Err(reason) => {
                self.shared.table().end(id);
                Err(reason.into())
            }
        };
        if let Err(reason) = self.answer_failure(arrival, &request, outcome) {
            (self.service.record)(Event::TftpUnanswered { peer: arrival.flow().peer, reason });
        }
    }

    /// Starts the transfer `id` of `content`.
    fn send_content(
        &mut self,
        arrival: Arrival<'_>,
        request: &Request<'_>,
        id: TransferId,
        content: Content,
    ) -> Result<(), NoTransfer> {
        let now = arrival.now;
        let (link, mtu) = self.link(arrival, id)?;
        // The size of netascii text is unknown until it is sent.
        let size = (request.mode == Mode::Octet).then(|| content.size());
        let granted = negotiate(&request.options, size, &self.service.limits(), mtu);
        let source =
            Source::new(content, request.mode, granted.block_size, id.serial, &self.shared.read_cache);
        let best_method = self.service.best_send_method(arrival.envelope.interface, arrival.flow().peer.ip());
        let (session, step) = Session::start(id, granted, source, (link, best_method), now);
        (self.service.record)(session.start_event());
        let token = self.sessions.insert(session);
        self.register(token);
        let end = {
            let _busy = self.service.files.work().begin(self.number);
            self.sessions.get(token).and_then(|session| session.perform(step, &mut self.context))
        };
        self.after_step(token, end, now);
        Ok(())
    }

    /// Starts an upload in a separate thread.
    fn write_request(&mut self, arrival: Arrival<'_>, request: &Request<'_>) -> Result<(), NoTransfer> {
        let Some(uploads) = self.service.uploads.get() else { return Err(Refusal::Upload.into()) };
        let (flow, listener) = (arrival.flow(), arrival.listener);
        let id = self.admit(arrival)?;
        self.shared.table().mark_upload(id);
        let guard = AdmittedUpload { shared: Arc::clone(&self.shared), id };
        let connected = match self.service.ports {
            Ports::Single => at_port_of(&listener.socket, flow.local, flow.peer),
            _ => self.sockets.connect(flow.local, flow.peer),
        };
        let (socket, path) = connected.map_err(|error| self.no_socket(arrival, &error))?;
        let mtu = path.map_or(listener.mtu, |path| path.min(listener.mtu));
        let block_size = self.service.limits().block_size_for(mtu);
        let granted = uploads.grant(request, arrival.datagram, flow.peer, block_size)?;
        let record = self.service.record.clone();
        socket.set_nonblocking(false).map_err(|error| self.no_socket(arrival, &error))?;
        let (shared, number, listener, envelope) =
            (Arc::clone(&self.shared), self.number, Arc::clone(listener), arrival.envelope);
        let record = move |event| {
            // The admission ends when the thread drops this closure.
            if matches!(event, Event::TftpReceived { .. }) {
                guard.shared.table().mark_stored(guard.id);
            }
            record(event);
        };
        let started = granted.receive(socket, record, move |datagram| {
            let envelope = Envelope { len: datagram.len(), ..envelope };
            shared.send_command(number, Command::Judge { listener, datagram, envelope });
        });
        started.map_err(|error| self.no_socket(arrival, &error))
    }

    /// Admits the transfer, unless it is running already or the limit is reached.
    fn admit(&mut self, arrival: Arrival<'_>) -> Result<TransferId, NoTransfer> {
        let (flow, request) = (arrival.flow(), arrival.hash());
        // A client that loads one file after another may use the same port twice. The last ACK of its previous transfer
        // may still be unread. The thread that owns that transfer reads it first.
        let owner = self.shared.table().worker_of(flow, request);
        match owner {
            Some(thread) if thread == self.number => {
                if let Some(token) = self.sessions.find(&flow) {
                    self.on_transfer(token, EpollFlags::EPOLLIN, arrival.now);
                }
            }
            Some(thread) if !arrival.forwarded => return Err(self.forward(arrival, thread)),
            _ => {}
        }
        let admission = self.shared.table().admit(flow, request, self.number, arrival.now);
        match admission {
            Admission::Admitted { id, evicted } => {
                if let Some((other, thread)) = evicted {
                    let stop =
                        if other.flow == flow { TransferStop::Replaced } else { TransferStop::Evicted };
                    self.evict(other, thread, stop, arrival.now);
                }
                Ok(id)
            }
            Admission::Duplicate => Err(NoTransfer::Unanswered(Unanswered::Duplicate)),
            Admission::OtherWorker(thread) if !arrival.forwarded => Err(self.forward(arrival, thread)),
            Admission::OtherWorker(_) | Admission::Full => Err(Refusal::Busy.into()),
        }
    }

    /// Forwards the request to `thread`.
    fn forward(&self, arrival: Arrival<'_>, thread: usize) -> NoTransfer {
        let (listener, envelope) = (Arc::clone(arrival.listener), arrival.envelope);
        self.shared
            .send_command(thread, Command::Judge { listener, datagram: arrival.datagram.into(), envelope });
        NoTransfer::Forwarded
    }

    /// Ends the transfer `other`, which has lost its place.
    pub fn evict(&mut self, other: TransferId, thread: usize, stop: TransferStop, now: Duration) {
        if thread == self.number {
            self.end_evicted(other, stop, now);
        } else {
            self.shared.send_command(thread, Command::Evict(other, stop));
        }
    }

    /// Opens the connection to a client, and returns it with its MTU. If that fails, the admission ends.
    fn link(&mut self, arrival: Arrival<'_>, id: TransferId) -> Result<(Link, u32), NoTransfer> {
        let (Flow { peer, local }, listener) = (id.flow, arrival.listener);
        if self.service.ports == Ports::Single {
            let socket = Arc::clone(&listener.socket);
            let mtu = path_mtu_to(local, peer).map_or(listener.mtu, |path| path.min(listener.mtu));
            return Ok((Link::Shared { socket, local, peer }, mtu));
        }
        let mut connected = self.sockets.connect(local, peer);
        if connected.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            let evicted = self.shared.table().reclaim_port(id, self.number);
            if let Some(other) = evicted {
                self.evict(other, self.number, TransferStop::Evicted, arrival.now);
                connected = self.sockets.connect(local, peer);
            }
        }
        match connected {
            Ok((socket, path)) => {
                let mtu = path.map_or(listener.mtu, |path| path.min(listener.mtu));
                Ok((Link::Own(socket), mtu))
            }
            Err(error) => {
                self.shared.table().end(id);
                Err(self.no_socket(arrival, &error))
            }
        }
    }

    /// Records that there is no descriptor, no port of the range, or no route to the client.
    fn no_socket(&mut self, arrival: Arrival<'_>, error: &io::Error) -> NoTransfer {
        let second = Some(arrival.now.as_secs());
        // Any host may cause this at any rate, so it is recorded once per second.
        if self.no_socket_logged != second {
            self.no_socket_logged = second;
            let peer = arrival.envelope.source;
            let text = match self.service.ports {
                Ports::Range { first, last } if error.kind() == io::ErrorKind::AddrInUse => format!(
                    "no transfer to {peer}: every port of `tftp.ports: {first}-{last}` is in use, by transfers or by other \
                     programs"
                ),
                _ => format!("no socket for a transfer to {peer}: {error}"),
            };
            (self.service.record)(Event::Server { fact: ServerFact::NoTransferSocket, text });
        }
        NoTransfer::Refused(Refusal::Busy)
    }

    /// Answers a request that got no transfer.
    fn answer_failure(
        &mut self,
        arrival: Arrival<'_>,
        request: &Request<'_>,
        outcome: Result<(), NoTransfer>,
    ) -> Result<(), Unanswered> {
        let reason = match outcome {
            Ok(()) | Err(NoTransfer::Forwarded) => return Ok(()),
            Err(NoTransfer::Unanswered(reason)) => return Err(reason),
            Err(NoTransfer::Refused(reason)) => reason,
        };
        let name = String::from_utf8_lossy(request.name).into_owned();
        (self.service.record)(Event::TftpRefused { name, peer: arrival.flow().peer, reason });
        self.send_error(arrival, &refusal::error(reason))
    }

    /// Sends an error to the sender of a request, unless its network got too many errors.
    fn send_error(&self, arrival: Arrival<'_>, error: &Packet<'_>) -> Result<(), Unanswered> {
        let Flow { peer, local } = arrival.flow();
        if !self.shared.table().may_send_error(peer.ip(), arrival.now) {
            return Err(Unanswered::ErrorRate);
        }
        let from = self.errors.as_ref().unwrap_or(&arrival.listener.socket);
        send_from(from, local, peer, &error.encode());
        Ok(())
    }
}

/// The reason why a request gets no transfer.
enum NoTransfer {
    /// It gets an error.
    Refused(Refusal),
    /// It gets no answer.
    Unanswered(Unanswered),
    /// Another thread judges it.
    Forwarded,
}

impl From<Refusal> for NoTransfer {
    fn from(reason: Refusal) -> NoTransfer {
        NoTransfer::Refused(reason)
    }
}

/// The admission of an upload; it ends when dropped.
struct AdmittedUpload {
    shared: Arc<Shared>,
    id: TransferId,
}

impl Drop for AdmittedUpload {
    fn drop(&mut self) {
        self.shared.table().end(self.id);
    }
}
