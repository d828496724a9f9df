//! What comes to the port of requests: who gets a transfer, who an error, and who nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use super::blocks::Source;
use super::listener::Listener;
use super::shared::{Hall, Mail};
use super::socket::{Link, at_port_of, path_mtu_to, send_from};
use super::transfer::Session;
use super::worker::Worker;
use crate::content::lookup::Found;
use crate::content::templates::Rendering;
use crate::event::{Event, Refusal, Stop, Unanswered};
use crate::images::Content;
use crate::net::datagram::Envelope;
use crate::tftp::admission::{Admission, Flow, Place};
use crate::tftp::{Input, Ports, negotiate, refusal};
use crate::wire::tftp::{BadPacket, Mode, Packet, Request};

/// A datagram that came to the port of requests.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// Where it came to.
    pub listener: &'a Arc<Listener>,
    /// Its payload.
    pub datagram: &'a [u8],
    /// What the kernel says of it.
    pub envelope: Envelope,
    /// Another thread passed it on, because the transfer that it asks for seems to be here.
    pub passed_on: bool,
    /// When it was read.
    pub now: Duration,
}

impl Arrival<'_> {
    fn flow(&self) -> Flow {
        Flow { peer: self.envelope.source, local: self.envelope.local }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.datagram.hash(&mut hasher);
        hasher.finish()
    }
}

impl<F: Fn(Event) + Clone + Send + 'static> Worker<F> {
    /// Deals with what came to the port of requests.
    pub fn on_datagram(&mut self, arrival: Arrival<'_>) {
        let Arrival { datagram, envelope, now, .. } = arrival;
        let flow = arrival.flow();
        let is_request = matches!(datagram, [0, 1 | 2, ..]);
        let is_whole = envelope.len <= datagram.len();
        let packet = if is_whole { Packet::decode(datagram) } else { Err(BadPacket::TooLong) };
        let outcome = match packet {
            _ if envelope.destination != envelope.local => Err(Unanswered::Broadcast),
            _ if is_request && !self.service.admits(*flow.peer.ip()) => Err(Unanswered::Stranger),
            _ if is_request && self.hall.is_closing() => Err(Unanswered::ServerStops),
            Ok(Packet::Rrq(request)) => {
                let outcome = self.read_request(arrival, &request);
                self.conclude(arrival, &request, outcome)
            }
            Ok(Packet::Wrq(request)) => {
                let outcome = self.write_request(arrival, &request);
                self.conclude(arrival, &request, outcome)
            }
            Ok(packet) => match self.sessions.find(&flow).filter(|_| self.service.ports == Ports::Single) {
                Some(token) => {
                    self.input(token, Input::Packet(&packet), now);
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

    fn read_request(&mut self, arrival: Arrival<'_>, request: &Request<'_>) -> Result<(), Unwilling> {
        let flow = arrival.flow();
        let asker = self.service.files.asker(*flow.peer.ip(), flow.local);
        match self.service.files.find(request.name, &asker)? {
            Found::Content(content) => {
                let place = self.admit(arrival)?;
                self.send_content(arrival, request, place, content)
            }
            Found::Rendering(rendering) => {
                // Its place says that it is under way: the same request again gets nothing new.
                let place = self.admit(arrival)?;
                self.render(arrival, place, *rendering);
                Ok(())
            }
        }
    }

    /// Has a file made, and answers the request when that is done ([`Worker::on_rendered`]). Nothing waits for it here.
    fn render(&self, arrival: Arrival<'_>, place: Place, rendering: Rendering) {
        let (hall, number) = (Arc::clone(&self.hall), self.number);
        let (listener, envelope) = (Arc::clone(arrival.listener), arrival.envelope);
        let datagram: Box<[u8]> = arrival.datagram.into();
        rendering.start(move |content| {
            hall.tell(number, Mail::Rendered { listener, datagram, envelope, place, content });
        });
    }

    /// The file that a request is for is made, or cannot be.
    pub fn on_rendered(&mut self, arrival: Arrival<'_>, place: Place, content: Result<Content, Refusal>) {
        let Ok(Packet::Rrq(request)) = Packet::decode(arrival.datagram) else { return };
        let (has_place, has_another) = {
            let table = self.hall.table();
            (table.has(place), table.has_one(place.flow))
        };
        let outcome = match content {
            // The client asked for something else from the same port.
            _ if !has_place && has_another => return,
            // Its place went to another client.
            _ if !has_place => Err(Refusal::Busy.into()),
            Ok(content) => self.send_content(arrival, &request, place, content),
            Err(reason) => {
                self.hall.table().end(place);
                Err(reason.into())
            }
        };
        if let Err(reason) = self.conclude(arrival, &request, outcome) {
            (self.service.record)(Event::TftpUnanswered { peer: arrival.flow().peer, reason });
        }
    }

    /// Begins to send `content` in the transfer that has `place`.
    fn send_content(
        &mut self,
        arrival: Arrival<'_>,
        request: &Request<'_>,
        place: Place,
        content: Content,
    ) -> Result<(), Unwilling> {
        let now = arrival.now;
        let (link, mtu) = self.link(arrival, place)?;
        // How many bytes text has as netascii shows when it is sent.
        let size = (request.mode == Mode::Octet).then(|| content.size());
        let granted = negotiate(&request.options, size, &self.service.limits, mtu);
        let source = Source::new(content, request.mode, granted.block_size, place.serial, &self.hall.shelf);
        let best = self.service.best_way(arrival.envelope.interface, *arrival.flow().peer.ip());
        let (session, step) = Session::start(place, granted, source, (link, best), now);
        let token = self.sessions.insert(session);
        self.register(token);
        let end = self.sessions.get(token).and_then(|session| session.carry_out(step, &mut self.tools));
        self.go_on(token, end, now);
        Ok(())
    }

    /// A client wants to put a file here: that is done by a thread of its own.
    fn write_request(&mut self, arrival: Arrival<'_>, request: &Request<'_>) -> Result<(), Unwilling> {
        let Some(uploads) = self.service.uploads.clone() else { return Err(Refusal::Upload.into()) };
        let (flow, listener) = (arrival.flow(), arrival.listener);
        let place = self.admit(arrival)?;
        self.hall.table().is_upload(place);
        let guard = Taken { hall: Arc::clone(&self.hall), place };
        let connected = match self.service.ports {
            Ports::Single => at_port_of(&listener.socket, flow.local, flow.peer),
            _ => self.opener.connect(flow.local, flow.peer),
        };
        let (socket, path) = connected.map_err(|error| self.no_socket(arrival, &error))?;
        let mtu = path.map_or(listener.mtu, |path| path.min(listener.mtu));
        let block_size = self.service.limits.block_size_for(mtu);
        let granted = uploads.grant(request, arrival.datagram, flow.peer, block_size)?;
        let record = self.service.record.clone();
        socket.set_nonblocking(false).map_err(|error| self.no_socket(arrival, &error))?;
        let (hall, number, listener, envelope) =
            (Arc::clone(&self.hall), self.number, Arc::clone(listener), arrival.envelope);
        let record = move |event| {
            // The place is given back when the thread drops what it was given.
            if matches!(event, Event::TftpReceived { .. }) {
                guard.hall.table().is_stored(guard.place);
            }
            record(event);
        };
        let started = granted.receive(socket, record, move |datagram| {
            let envelope = Envelope { len: datagram.len(), ..envelope };
            hall.tell(number, Mail::Judge { listener, datagram, envelope });
        });
        started.map_err(|error| self.no_socket(arrival, &error))
    }

    /// A place for the transfer, unless it is under way or others have them all.
    fn admit(&mut self, arrival: Arrival<'_>) -> Result<Place, Unwilling> {
        let (flow, request) = (arrival.flow(), arrival.hash());
        // A client that fetches file after file may get the same port from its system twice, and then the last ACK of
        // its transfer may not have been read yet. Who has the transfer reads it first.
        let owner = self.hall.table().owner(flow, request);
        match owner {
            Some(thread) if thread == self.number => {
                if let Some(token) = self.sessions.find(&flow) {
                    self.on_transfer(token, EpollFlags::EPOLLIN, arrival.now);
                }
            }
            Some(thread) if !arrival.passed_on => return Err(self.pass_on(arrival, thread)),
            _ => {}
        }
        let admission = self.hall.table().admit(flow, request, self.number, arrival.now);
        match admission {
            Admission::Admitted { place, instead_of } => {
                if let Some((other, thread)) = instead_of {
                    let stop = if other.flow == flow { Stop::Replaced } else { Stop::Evicted };
                    self.put_out(other, thread, stop, arrival.now);
                }
                Ok(place)
            }
            Admission::Duplicate => Err(Unwilling::Unanswered(Unanswered::Duplicate)),
            Admission::Elsewhere(thread) if !arrival.passed_on => Err(self.pass_on(arrival, thread)),
            Admission::Elsewhere(_) | Admission::Full => Err(Refusal::Busy.into()),
        }
    }

    /// Has `thread` judge the request.
    fn pass_on(&self, arrival: Arrival<'_>, thread: usize) -> Unwilling {
        let (listener, envelope) = (Arc::clone(arrival.listener), arrival.envelope);
        self.hall.tell(thread, Mail::Judge { listener, datagram: arrival.datagram.into(), envelope });
        Unwilling::PassedOn
    }

    /// Ends the transfer `other`, which has lost its place.
    pub fn put_out(&mut self, other: Place, thread: usize, stop: Stop, now: Duration) {
        if thread == self.number {
            self.give_way(other, stop, now);
        } else {
            self.hall.tell(thread, Mail::GiveWay(other, stop));
        }
    }

    /// The way to a client, and the largest datagram on it. Without one the place is given back.
    fn link(&mut self, arrival: Arrival<'_>, place: Place) -> Result<(Link, u32), Unwilling> {
        let (Flow { peer, local }, listener) = (place.flow, arrival.listener);
        if self.service.ports == Ports::Single {
            let socket = Arc::clone(&listener.socket);
            let mtu = path_mtu_to(local, peer).map_or(listener.mtu, |path| path.min(listener.mtu));
            return Ok((Link::Shared { socket, local, peer }, mtu));
        }
        let mut connected = self.opener.connect(local, peer);
        if connected.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            let gives_way = self.hall.table().give_port(place, self.number);
            if let Some(other) = gives_way {
                self.put_out(other, self.number, Stop::Evicted, arrival.now);
                connected = self.opener.connect(local, peer);
            }
        }
        match connected {
            Ok((socket, path)) => {
                let mtu = path.map_or(listener.mtu, |path| path.min(listener.mtu));
                Ok((Link::Own(socket), mtu))
            }
            Err(error) => {
                self.hall.table().end(place);
                Err(self.no_socket(arrival, &error))
            }
        }
    }

    /// No descriptor is left, no port of the range, or no route to the client.
    fn no_socket(&mut self, arrival: Arrival<'_>, error: &io::Error) -> Unwilling {
        let second = Some(arrival.now.as_secs());
        // Anybody can ask as often as he likes.
        if self.told_of_no_socket != second {
            self.told_of_no_socket = second;
            let peer = arrival.envelope.source;
            match self.service.ports {
                Ports::Range { first, last } if error.kind() == io::ErrorKind::AddrInUse => tracing::warn!(
                    "no transfer to {peer}: every port of `tftp.ports: {first}-{last}` is in use, by transfers or by other \
                     programs"
                ),
                _ => tracing::warn!("no socket for a transfer to {peer}: {error}"),
            }
        }
        Unwilling::Refused(Refusal::Busy)
    }

    /// Answers a request that got no transfer, if it is to be answered.
    fn conclude(
        &mut self,
        arrival: Arrival<'_>,
        request: &Request<'_>,
        outcome: Result<(), Unwilling>,
    ) -> Result<(), Unanswered> {
        let reason = match outcome {
            Ok(()) | Err(Unwilling::PassedOn) => return Ok(()),
            Err(Unwilling::Unanswered(reason)) => return Err(reason),
            Err(Unwilling::Refused(reason)) => reason,
        };
        let name = String::from_utf8_lossy(request.name).into_owned();
        (self.service.record)(Event::TftpRefused { name, peer: arrival.flow().peer, reason });
        self.send_error(arrival, &refusal::error(reason))
    }

    /// Sends an error to whoever asked, unless his network got too many.
    fn send_error(&self, arrival: Arrival<'_>, error: &Packet<'_>) -> Result<(), Unanswered> {
        let Flow { peer, local } = arrival.flow();
        if !self.hall.table().may_send_error(*peer.ip(), arrival.now) {
            return Err(Unanswered::ErrorRate);
        }
        let from = self.errors.as_ref().unwrap_or(&arrival.listener.socket);
        send_from(from, local, peer, &error.encode());
        Ok(())
    }
}

/// Why a request gets no transfer.
enum Unwilling {
    /// It gets an error.
    Refused(Refusal),
    /// It gets nothing.
    Unanswered(Unanswered),
    /// Another thread judges it.
    PassedOn,
}

impl From<Refusal> for Unwilling {
    fn from(reason: Refusal) -> Unwilling {
        Unwilling::Refused(reason)
    }
}

/// The place of an upload, given back when dropped.
struct Taken {
    hall: Arc<Hall>,
    place: Place,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.hall.table().end(self.place);
    }
}
