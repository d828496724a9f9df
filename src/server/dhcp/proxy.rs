//! Receives DISCOVERs beside another DHCP server, and requests to the boot service on port 4011: receive → engine → send →
//! record. Nothing is stored, so nothing is committed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::content::lookup::Files;
use crate::content::machines::MachineTable;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::engine::{Effect, Effects, Engine, Outside};
use crate::dhcp::settings::Settings;
use crate::event::{Client, DropReason, Event};
use crate::lease::LeaseBook;
use crate::net::packet_socket::{FRAME, Tap, Taps};
use crate::net::readable::told;
use crate::net::served::Now;
use crate::net::udp::{BATCH, DhcpSocket, Envelope, Inbox};
use crate::record::Recorder;
use crate::server::dhcp::decline_senders::{DeclineTap, Senders};
use crate::server::dhcp::delayed::Later;
use crate::server::dhcp::deliver::{Departure, Sender};
use crate::server::dhcp::effects::outgoing;
use crate::server::dhcp::inbound::arrival;
use crate::store::clock::Clock;
use crate::wire::frame::Datagram;

pub use crate::net::readable::{pause, readable};

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
    pub known: MachineTable,
    /// The engine, which decides, and the effects of the message that is being handled.
    pub engine: Mutex<(Engine, Effects)>,
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
                            self.hear(&datagram, envelope, &sender);
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
        let served = Arc::clone(&self.served.borrow());
        let Some(place) = served.for_dhcp(envelope.interface, &self.settings) else {
            return self.drop(envelope.interface, DropReason::NotServed, None);
        };
        let arrival = arrival(place, envelope, boot_service);
        self.drive((envelope.interface, &arrival), sender, |engine, outside, effects| {
            engine.handle(bytes, &arrival, outside, self.clock.now(), effects);
        });
    }

    /// Takes in what a server said to a client.
    fn hear(&self, datagram: &Datagram<'_>, envelope: Envelope, sender: &Sender) {
        let served = Arc::clone(&self.served.borrow());
        let Some(place) = served.for_dhcp(envelope.interface, &self.settings) else { return };
        let arrival = arrival(place, envelope, false);
        self.drive((envelope.interface, &arrival), sender, |engine, outside, effects| {
            let by = (datagram.source, datagram.from);
            engine.hear(datagram.payload, by, &arrival, outside, self.clock.now(), effects);
        });
    }

    /// Has the engine do `step` with a message, and carries out the effects. A fault in it must not stop other messages: it
    /// is counted.
    fn drive(
        &self,
        (interface, arrival): (u32, &Arrival),
        sender: &Sender,
        step: impl FnOnce(&mut Engine, Outside<'_>, &mut Effects),
    ) {
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let (engine, effects) = &mut *self.engine();
            // Those of a message whose handling failed.
            effects.clear();
            step(engine, Outside { files: &self.files, machines: &self.known }, effects);
            while let Some(effect) = effects.pop_front() {
                self.carry_out(effect, (interface, &arrival.interface), sender);
            }
        }));
        if handled.is_err() {
            self.drop(interface, DropReason::Fault, None);
        }
    }

    fn carry_out(&self, effect: Effect, (interface, name): (u32, &Arc<str>), sender: &Sender) {
        match effect {
            Effect::Record(event) => self.recorder.record(name, &event),
            Effect::Send { reply, wait, event } => {
                let (sender, reply) = (sender.clone(), outgoing(&reply, interface));
                self.later.send(Departure { sender, reply, event, interface: Arc::clone(name) }, wait);
            }
            // These are about leases, and this engine has none.
            Effect::Store(_)
            | Effect::CheckAddress { .. }
            | Effect::AskHolder { .. }
            | Effect::CheckDecline { .. }
            | Effect::AwaitDecline { .. }
            | Effect::EndDecline { .. } => {}
        }
    }

    /// `engine`, which observes in common with ours from now on.
    pub fn share(&self, engine: Engine) -> Engine {
        engine.sharing_with(&self.engine().0)
    }

    /// The engine, even if a thread that held it failed: each change leaves it whole.
    fn engine(&self) -> MutexGuard<'_, (Engine, Effects)> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
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

/// An engine without leases, for a [`Proxy`].
pub fn boot_engine(settings: &Arc<Settings>) -> Mutex<(Engine, Effects)> {
    Mutex::new((Engine::new(Arc::clone(settings), LeaseBook::new(Vec::new())), Effects::new()))
}
