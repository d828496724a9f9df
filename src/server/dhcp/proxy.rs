//! The way of a DISCOVER beside another DHCP server, and of a request to the boot service on port 4011: receive → parse →
//! classify → decide → send → record. Nothing is stored, so nothing is committed.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::boot::guard::Guard;
use crate::boot::identity::Identity;
use crate::boot::plan::Mode;
use crate::boot::policy::{Choice, Content};
use crate::content::lookup::Files;
use crate::content::machines::Known;
use crate::dhcp::decide::Decision;
use crate::dhcp::loop_guard;
use crate::dhcp::other_servers::{self, Strangers};
use crate::dhcp::proxy::{classify, decide};
use crate::dhcp::request::{Request, sender_of};
use crate::dhcp::subnet::{Arrival, Settings};
use crate::event::{Client, DropReason, Event};
use crate::net::interface::Interface;
use crate::net::packet_socket::{FRAME, Tap, Taps};
use crate::net::served::Now;
use crate::net::udp::{BATCH, DhcpSocket, Envelope, Inbox, Outgoing};
use crate::record::Recorder;
use crate::server::dhcp::decline_senders::{DeclineTap, Senders};
use crate::server::dhcp::delayed::{Departure, Later, Sender};
use crate::store::clock::Clock;
use crate::wire::dhcp::{DecodeError, Message};
use crate::wire::frame::Datagram;

/// How long to wait after the kernel refused to hand over what it received.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// Answers with boot files and without addresses, and listens to other servers. Everyone who receives shares it.
#[derive(Debug)]
pub struct Proxy {
    /// What it is told to do.
    pub settings: Arc<Settings>,
    /// The served interfaces.
    pub served: Now,
    /// Where sizes of boot files are looked up; `None` if no files are served.
    pub files: Option<Files>,
    /// Where it is written down who has which address.
    pub known: Known,
    /// Which machines go round in circles, whoever gives them their address.
    pub guard: Mutex<Guard>,
    /// The DHCP servers that there should not be.
    pub strangers: Mutex<Strangers>,
    /// The hardware addresses that DECLINEs came from.
    pub senders: Senders,
    /// What time it is for both.
    pub clock: Clock,
    /// Where replies wait that must not come too early.
    pub later: Later,
    /// Where events go.
    pub recorder: Recorder,
}

impl Proxy {
    /// Answers what comes to a UDP port, for ever.
    pub async fn serve_port(self: Arc<Self>, socket: Arc<DhcpSocket>, boot_service: bool) {
        let mut inbox = Inbox::default();
        let Some(readable) = told(socket.udp().try_clone().and_then(readable)) else { return };
        let sender = Sender::Udp(socket);
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            match ready.try_io(|udp| inbox.receive(udp.get_ref())) {
                Ok(Ok(())) => {
                    for (bytes, envelope) in inbox.iter() {
                        self.receive(bytes, envelope, boot_service, &sender);
                    }
                }
                Ok(Err(error)) => pause(&error).await,
                Err(_would_block) => {}
            }
        }
    }

    /// Answers what a packet socket hears that was sent to DHCP servers, for ever.
    pub async fn serve_tap(self: Arc<Self>, taps: Arc<Taps>, tap: Tap) {
        let Some(readable) = told(readable(tap)) else { return };
        let sender = Sender::Taps(taps);
        let mut buffer = [0; FRAME];
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            let emptied = ready.try_io(|tap| {
                for _ in 0..BATCH {
                    if let Some((datagram, envelope)) = tap.get_ref().receive(&mut buffer)? {
                        if datagram.destination.port() == self.settings.ports.client {
                            self.hear(&datagram, envelope);
                        } else {
                            self.receive(datagram.payload, envelope, false, &sender);
                        }
                    }
                }
                Ok(())
            });
            if let Ok(Err(error)) = emptied {
                pause(&error).await;
            }
            // A busy wire must not keep the other tasks from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Notes which DECLINEs come from their client, forever.
    pub async fn serve_declines(self: Arc<Self>, tap: DeclineTap) {
        let Some(readable) = told(readable(tap)) else { return };
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            if let Ok(Err(error)) = ready.try_io(|tap| tap.get_ref().receive()) {
                pause(&error).await;
            }
            // A busy wire must not keep the other tasks from their turn.
            tokio::task::yield_now().await;
        }
    }

    fn receive(&self, bytes: &[u8], envelope: Envelope, boot_service: bool, sender: &Sender) {
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let served = Arc::clone(&self.served.borrow());
            let Some(place) = served.for_dhcp(envelope.interface, &self.settings) else {
                return self.drop(envelope.interface, DropReason::NotServed, None);
            };
            let arrival = arrival(place, envelope, boot_service);
            match Message::decode(bytes) {
                Ok(message) => self.handle(&message, &arrival, envelope.interface, sender),
                Err(error) => self.drop(envelope.interface, undecodable(error), None),
            }
        }));
        if handled.is_err() {
            self.drop(envelope.interface, DropReason::Fault, None);
        }
    }

    /// Takes in what a server said to a client. What cannot be read is none of our business.
    fn hear(&self, datagram: &Datagram<'_>, envelope: Envelope) {
        let heard = catch_unwind(AssertUnwindSafe(|| {
            let served = Arc::clone(&self.served.borrow());
            let (interface, mode) = served.for_dhcp(envelope.interface, &self.settings)?;
            let arrival = arrival((interface, mode), envelope, false);
            let message = Message::decode(datagram.payload).ok()?;
            let given = other_servers::given(&message, *datagram.source.ip(), datagram.from, &arrival)?;
            let now = self.clock.now();
            let told = self.strangers().heard(&given, &arrival, now);
            told.iter().for_each(|event| self.recorder.record(&interface.name, event));
            if arrival.mode == Mode::Proxy {
                self.known.heard_given(&given);
            }
            Some(())
        }));
        if heard.is_err() {
            self.drop(envelope.interface, DropReason::Fault, None);
        }
    }

    /// Takes in that a client took the address of another server, if that is what `message` says.
    fn hear_taken(&self, message: &Message, arrival: &Arrival, interface: u32) {
        let Some(mut taken) = other_servers::taken(message, arrival, &self.settings) else { return };
        settle(self.files.as_ref(), taken.boot.as_mut(), (message, &taken.identity), arrival.server());
        self.known.heard_taken(message, &taken);
        let looping =
            other_servers::count(&mut self.guard(), message, &taken, &self.settings, self.clock.now());
        looping.iter().for_each(|event| self.recorder.record(&self.name(interface), event));
    }

    /// Tells of the server that a client chose on a wire where lanboot is the server.
    pub fn hear_chosen(&self, request: &Request<'_>, interface: &str) {
        let told = self.strangers().chosen(request, self.clock.now());
        told.iter().for_each(|event| self.recorder.record(interface, event));
    }

    /// The loop guard, even if somebody who held it failed: each change leaves it whole.
    pub fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other servers, as [`Proxy::guard`].
    pub fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `message`, which came in on the interface of that number, or records why not.
    pub fn handle(&self, message: &Message, arrival: &Arrival, interface: u32, sender: &Sender) {
        self.hear_taken(message, arrival, interface);
        let mut request = match classify(message, arrival, &self.settings) {
            Ok(request) => request,
            Err(reason) => return self.drop(interface, reason, Some(sender_of(message))),
        };
        let name = self.name(interface);
        let received = Event::Received { message: request.kind(), client: request.client() };
        self.recorder.record(&name, &received);
        let now = self.clock.now();
        settle(self.files.as_ref(), request.boot.as_mut(), (message, &request.identity), request.server);
        loop_guard::before_boot(&mut self.guard(), &mut request, &self.settings, now);
        look_up_size(self.files.as_ref(), request.boot.as_mut(), message);
        match decide(&request, &self.settings) {
            Decision::Answer { reply, route, wait, event, .. } => {
                self.known.asked_boot_service(message, (&request.identity, request.machine), arrival);
                let looping = loop_guard::after_boot(&mut self.guard(), &request, &self.settings, now);
                looping.iter().for_each(|event| self.recorder.record(&name, event));
                // The client waits for an answer from the address that it asked.
                let asked = arrival.addresses.contains(&arrival.destination);
                let server = if asked { arrival.destination } else { request.server };
                let reply = Outgoing { payload: reply.encode(), route, interface, server };
                self.later.send(Departure { sender: sender.clone(), reply, event, interface: name }, wait);
            }
            Decision::Silent { reason, .. } => self.drop(interface, reason, Some(request.client())),
            // These are about leases.
            Decision::CheckAddress { .. }
            | Decision::CheckDecline { .. }
            | Decision::AskHolder { .. }
            | Decision::Quiet { .. } => {}
        }
    }

    /// The name of the interface of that number.
    pub fn name(&self, interface: u32) -> Arc<str> {
        self.served
            .borrow()
            .get(interface)
            .map_or_else(|| "?".into(), |interface| Arc::clone(&interface.name))
    }

    fn drop(&self, interface: u32, reason: DropReason, client: Option<Client>) {
        self.recorder.record(&self.name(interface), &Event::Dropped { reason, client });
    }
}

/// How a message reached us, as decisions are told it.
pub fn arrival((interface, mode): (&Interface, Mode), envelope: Envelope, boot_service: bool) -> Arrival {
    Arrival {
        interface: Arc::clone(&interface.name),
        addresses: Arc::clone(&interface.addresses),
        networks: Arc::clone(&interface.networks),
        destination: envelope.destination,
        source: envelope.source,
        mtu: interface.mtu,
        loopback: interface.loopback,
        mode,
        boot_service,
    }
}

/// Why bytes are not a message at all.
pub fn undecodable(error: DecodeError) -> DropReason {
    match error {
        DecodeError::TooShort => DropReason::TooShort,
        DecodeError::BadHlen => DropReason::BadHlen,
    }
}

/// Settles which boot file the client gets that sent `message` and that we serve at our address `server`: an iPXE gets no
/// build of iPXE. That and the size are all that a decision needs to know from the disk.
pub fn settle(
    files: Option<&Files>,
    boot: Option<&mut Choice>,
    (message, identity): (&Message, &Identity),
    server: Ipv4Addr,
) {
    let content_of = |choice: &Choice| match files {
        Some(files) => files.content_of(choice, message, server),
        None => Content::Unknown,
    };
    if let Some(choice) = boot {
        choice.settle(identity, content_of);
    }
}

/// Fills in the size of the file that the client which sent `message` gets.
pub fn look_up_size(files: Option<&Files>, boot: Option<&mut Choice>, message: &Message) {
    if let (Some(choice), Some(files)) = (boot, files) {
        choice.size = files.size(&choice.file, message.mac());
    }
}

/// Waits on `socket` for what comes in alone. tokio's UdpSocket also waits for room to send, and so wakes up after every
/// reply.
pub fn readable<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "unsound only for types whose as_raw_fd lies; these are the standard library's and our own"
    )]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

fn told<T>(readable: io::Result<T>) -> Option<T> {
    readable.inspect_err(|error| tracing::error!("cannot wait for messages: {error}")).ok()
}

/// Lets the kernel recover that refused to hand over what it received.
pub async fn pause(error: &io::Error) {
    tracing::warn!("cannot receive DHCP messages: {error}");
    tokio::time::sleep(RECEIVE_PAUSE).await;
}
