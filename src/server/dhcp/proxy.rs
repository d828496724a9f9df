//! The proxy and the boot service: answers with boot files and never gives an address. `proxy_listeners.rs` runs it
//! with its sockets and packet sockets.
//!
//! It takes DISCOVERs beside another DHCP server, and requests to the boot service on port 4011. A message goes in a
//! straight line: receive → engine → send → record. It stores nothing, so nothing is committed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::boot::plan::Mode;
use crate::content::machines::MachineTable;
use crate::content::served_files::ServedFiles;
use crate::dhcp::engine::{Effect, Effects, Engine, Outside};
use crate::dhcp::settings::Settings;
use crate::event::{Context, DropReason, ServerFact};
use crate::lease::LeaseBook;
use crate::net::datagram::{BATCH, Envelope, Inbox};
use crate::net::interface::Interface;
use crate::net::packet_socket::{FRAME, RawSender, UdpTap};
use crate::net::snapshot::{Now, Snapshot};
use crate::net::udp::DhcpSocket;
use crate::record::Recorder;
use crate::server::dhcp::boot_questions::BootQuestions;
use crate::server::dhcp::decline_senders::{DeclineTap, Senders};
use crate::server::dhcp::delayed::DelayedSender;
use crate::server::dhcp::deliver::{DelayedReply, Sender, outgoing};
use crate::server::dhcp::inbound::arrival;
use crate::store::clock::Clock;
use crate::types::InterfaceName;
use crate::wire::frame::Datagram;

use crate::net::readable::{cannot_receive, pause, readable};

/// Answers with boot files but no addresses, and observes other DHCP servers. All tasks that receive share it, and so
/// does the DHCP loop.
#[derive(Debug)]
pub struct Proxy {
    /// The settings and the served interfaces, as they are now.
    pub now: Now,
    /// Finds the sizes of boot files, if files are served.
    pub files: ServedFiles,
    /// The table of machines by address, which TFTP and HTTP look up.
    pub known: MachineTable,
    /// The engine, which makes the decisions, and the effects of the current message.
    pub engine: Mutex<(Engine, Effects)>,
    /// The DECLINEs and RELEASEs that came from their clients.
    pub senders: Senders,
    /// The questions that the boot service received.
    pub questions: BootQuestions,
    /// The clock of the engine. The DHCP loop uses the same time.
    pub clock: Clock,
    /// Delays replies that would otherwise come too early.
    pub delayed: DelayedSender,
    pub recorder: Recorder,
}

impl Proxy {
    /// Answers messages to a UDP port, forever. `boot_service`: the port is 4011.
    pub async fn serve_port(self: Arc<Self>, socket: Arc<DhcpSocket>, boot_service: bool) {
        let mut inbox = Inbox::default();
        let Some(readable) = self.registered(socket.udp().try_clone().and_then(readable)) else { return };
        let sender = Sender::Udp(socket);
        let _open = boot_service.then(|| self.questions.open());
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            match ready.try_io(|udp| inbox.receive(udp.get_ref())) {
                Ok(Ok(())) => {
                    for (bytes, envelope) in inbox.iter() {
                        if boot_service {
                            self.questions.note(bytes);
                        }
                        self.receive(bytes, envelope, boot_service, &sender);
                    }
                }
                Ok(Err(error)) => self.pause(&error).await,
                Err(_would_block) => {}
            }
        }
    }

    /// Handles the datagrams that a packet socket receives, forever: answers messages to servers, and observes replies
    /// of other servers to clients.
    pub async fn serve_tap(self: Arc<Self>, taps: Arc<RawSender>, tap: UdpTap) {
        let Some(readable) = self.registered(readable(tap)) else { return };
        let sender = Sender::Taps(taps);
        let mut buffer = [0; FRAME];
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            let emptied = ready.try_io(|tap| {
                for _ in 0..BATCH {
                    if let Some((datagram, envelope)) = tap.get_ref().receive(&mut buffer)? {
                        if self.is_clients(datagram.destination.port()) {
                            self.hear(&datagram, envelope, &sender);
                        } else {
                            self.receive(datagram.payload, envelope, false, &sender);
                        }
                    }
                }
                Ok(())
            });
            if let Ok(Err(error)) = emptied {
                self.pause(&error).await;
            }
            // On a busy wire this task would otherwise never let the other tasks run.
            tokio::task::yield_now().await;
        }
    }

    /// Records which DECLINEs and RELEASEs come from the hardware address of their client, forever.
    pub async fn serve_declines(self: Arc<Self>, tap: DeclineTap) {
        let Some(readable) = self.registered(readable(tap)) else { return };
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            if let Ok(Err(error)) = ready.try_io(|tap| tap.get_ref().receive()) {
                self.pause(&error).await;
            }
            // On a busy wire this task would otherwise never let the other tasks run.
            tokio::task::yield_now().await;
        }
    }

    /// Returns the socket that was registered with the runtime, or records that it could not be.
    fn registered<T>(&self, readable: io::Result<T>) -> Option<T> {
        let text = |error: &io::Error| format!("cannot wait for messages: {error}");
        readable.inspect_err(|error| self.recorder.server(ServerFact::CannotListen, text(error))).ok()
    }

    /// Records that receiving failed, and waits a moment.
    async fn pause(&self, error: &io::Error) {
        self.recorder.server(ServerFact::CannotReceive, cannot_receive(error));
        pause().await;
    }

    fn receive(&self, bytes: &[u8], envelope: Envelope, boot_service: bool, sender: &Sender) {
        let snapshot = Arc::clone(&self.now.borrow());
        let Some((settings, place)) = place(&snapshot, envelope.interface) else {
            return self.drop(envelope.interface, DropReason::NotServed);
        };
        let arrival = arrival(place, envelope, boot_service);
        self.run_engine(settings, envelope.interface, sender, |engine, outside, effects| {
            engine.handle(bytes, &arrival, outside, self.clock.now(), effects);
        });
    }

    /// Handles a reply of another server to a client.
    fn hear(&self, datagram: &Datagram<'_>, envelope: Envelope, sender: &Sender) {
        let snapshot = Arc::clone(&self.now.borrow());
        let Some((settings, place)) = place(&snapshot, envelope.interface) else { return };
        let arrival = arrival(place, envelope, false);
        self.run_engine(settings, envelope.interface, sender, |engine, outside, effects| {
            let by = (datagram.source, datagram.from);
            engine.handle_server_message(datagram.payload, by, &arrival, outside, self.clock.now(), effects);
        });
    }

    /// Whether this is the port of DHCP clients, to which only servers send.
    fn is_clients(&self, port: u16) -> bool {
        self.now.borrow().config.dhcp.as_ref().is_some_and(|settings| settings.ports.client == port)
    }

    /// Calls `step` with the engine, which decides by `settings`, then carries out the effects. A panic in `step` must
    /// not stop other messages: it is caught and counted as `DropReason::Fault`.
    fn run_engine(
        &self,
        settings: &Arc<Settings>,
        interface: u32,
        sender: &Sender,
        step: impl FnOnce(&mut Engine, Outside<'_>, &mut Effects),
    ) {
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let (engine, effects) = &mut *self.engine();
            // A panic may have left effects of an earlier message.
            effects.clear();
            if !Arc::ptr_eq(&engine.settings, settings) {
                engine.settings = Arc::clone(settings);
            }
            step(engine, Outside { files: &self.files, machines: &self.known }, effects);
            while let Some(effect) = effects.pop_front() {
                self.perform(effect, interface, sender);
            }
        }));
        if handled.is_err() {
            self.drop(interface, DropReason::Fault);
        }
    }

    fn perform(&self, effect: Effect, interface: u32, sender: &Sender) {
        match effect {
            Effect::Record(record) => self.recorder.record(record),
            Effect::Send { reply, wait, record } => {
                let (sender, reply) = (sender.clone(), outgoing(&reply, interface, Instant::now()));
                self.delayed.send(DelayedReply::after(wait, sender, reply, record), wait);
            }
            // These concern leases, and this engine gives none.
            Effect::Store(_)
            | Effect::CheckAddress { .. }
            | Effect::AskHolder { .. }
            | Effect::CheckDecline { .. }
            | Effect::AwaitDecline { .. }
            | Effect::EndDecline { .. } => {}
        }
    }

    /// Returns `engine`, sharing its observations of machines and servers with the proxy's engine from now on.
    pub fn share(&self, engine: Engine) -> Engine {
        engine.sharing_with(&self.engine().0)
    }

    /// Locks the engine. A poisoned lock is ignored, because each change leaves the engine consistent.
    fn engine(&self) -> MutexGuard<'_, (Engine, Effects)> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the interface with this number; `?` if it is not served.
    pub fn name(&self, interface: u32) -> InterfaceName {
        let now = self.now.borrow();
        now.interfaces.get(interface).map_or_else(|| "?".into(), |interface| interface.name)
    }

    fn drop(&self, interface: u32, reason: DropReason) {
        self.recorder.record(Context::unknown(self.clock.now(), self.name(interface)).dropped(reason));
    }
}

/// The settings, the interface of that number, and lanboot's mode there; `None` if DHCP is off there.
fn place(snapshot: &Snapshot, interface: u32) -> Option<(&Arc<Settings>, (&Interface, Mode))> {
    let settings = snapshot.config.dhcp.as_ref()?;
    Some((settings, snapshot.interfaces.for_dhcp(interface, settings)?))
}

/// An engine without leases, for a [`Proxy`].
pub fn boot_engine(settings: &Arc<Settings>) -> Mutex<(Engine, Effects)> {
    Mutex::new((Engine::new(Arc::clone(settings), LeaseBook::new(Vec::new())), Effects::new()))
}
