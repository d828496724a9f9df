//! The DHCP loop, in a straight line: receive → parse → classify → decide → commit → send → record.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::boot::identity::Identity;
use crate::dhcp::decide::{Decision, decide};
use crate::dhcp::request::{classify, client_of};
use crate::dhcp::subnet::{Arrival, Settings};
use crate::event::{Client, DropReason, Event};
use crate::images::Catalog;
use crate::lease::{LeaseBook, LeaseChange};
use crate::server::commit::{Committer, Outcome, Promise, deliver};
use crate::server::interface::Interface;
use crate::server::observe::Recorder;
use crate::server::socket::{DhcpSocket, Envelope, Inbox, Outgoing};
use crate::types::Timestamp;
use crate::wire::dhcp::{DecodeError, Message};

/// Everything the loop works with.
#[derive(Debug)]
pub struct DhcpServer {
    /// What it is told to do.
    pub settings: Settings,
    /// Who has which address.
    pub book: LeaseBook,
    /// The served interfaces by their number.
    pub interfaces: HashMap<u32, Interface>,
    /// Where it receives and sends.
    pub socket: Arc<DhcpSocket>,
    /// Who stores leases and sends the replies that promise them.
    pub committer: Committer,
    /// Where sizes of boot files are looked up; `None` if no files are served.
    pub catalog: Option<Catalog>,
    /// Where events go.
    pub recorder: Recorder,
}

impl DhcpServer {
    /// Serves until `stop` completes, then lets waiting leases be stored and answered.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let socket = Arc::clone(&self.socket);
        // tokio only waits on this handle of the same socket; what is there is read many datagrams at a time.
        let readable = UdpSocket::from_std(socket.udp().try_clone()?)?;
        let mut inbox = Inbox::default();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(outcome) = self.committer.outcome() => self.committed(&outcome),
                ready = readable.readable() => {
                    ready?;
                    match readable.try_io(Interest::READABLE, || inbox.receive(socket.udp())) {
                        Ok(()) => self.handle_batch(&inbox),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => tracing::warn!("cannot receive DHCP messages: {error}"),
                    }
                }
            }
        }
        self.committer.finish();
        Ok(())
    }

    fn handle_batch(&mut self, inbox: &Inbox) {
        let now = now();
        let mut promises = Vec::new();
        for (bytes, envelope) in inbox.iter() {
            // A fault in handling one message must not stop the others: it is counted, and the book, which is changed
            // in one step after all decisions, is as it was.
            let handled = catch_unwind(AssertUnwindSafe(|| self.handle(bytes, envelope, now, &mut promises)));
            if handled.is_err() {
                self.drop(envelope.interface, DropReason::Fault, None);
            }
        }
        if !promises.is_empty() {
            self.committer.submit(promises);
        }
    }

    fn handle(&mut self, bytes: &[u8], envelope: Envelope, now: Timestamp, promises: &mut Vec<Promise>) {
        let Some(interface) = self.interfaces.get(&envelope.interface) else {
            return self.drop(envelope.interface, DropReason::NotServed, None);
        };
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(DecodeError::TooShort) => return self.drop(envelope.interface, DropReason::TooShort, None),
            Err(DecodeError::BadHlen) => return self.drop(envelope.interface, DropReason::BadHlen, None),
        };
        let arrival = arrival(interface, envelope);
        let mut request = match classify(&message, &arrival, &self.settings) {
            Ok(request) => request,
            Err(reason) => {
                let client = client_of(&message, &Identity::of(&message));
                return self.drop(envelope.interface, reason, Some(client));
            }
        };
        let (name, client) = (Arc::clone(&interface.name), request.client());
        self.recorder.record(&name, &Event::Received { message: request.ask.kind(), client: client.clone() });
        if let Some(choice) = &mut request.boot {
            choice.size = self.catalog.as_ref().and_then(|catalog| catalog.size(&choice.file));
        }
        let server = request.server;
        match decide(&request, &self.book, &self.settings, now) {
            Decision::Answer { change, reply, route, event } => {
                let payload = reply.encode();
                let outgoing = Outgoing { payload, route, interface: envelope.interface, server };
                match change {
                    Some(LeaseChange::Store(lease)) => {
                        let promise = Promise { lease, reply: Some(outgoing), event, interface: name };
                        self.promise(promise, envelope.interface, client, promises);
                    }
                    other => {
                        other.iter().for_each(|change| self.book.apply(change));
                        deliver(&self.socket, &self.recorder, &name, &outgoing, &event);
                    }
                }
            }
            Decision::Quiet { lease, event } => {
                let promise = Promise { lease, reply: None, event, interface: name };
                self.promise(promise, envelope.interface, client, promises);
            }
            Decision::Silent { reason, change } => {
                change.iter().for_each(|change| self.book.apply(change));
                self.drop(envelope.interface, reason, Some(client));
            }
        }
    }

    /// Makes the change in the book at once, so that the next decision sees it, and queues it for the disk.
    fn promise(&mut self, promise: Promise, interface: u32, client: Client, promises: &mut Vec<Promise>) {
        if self.committer.room() <= promises.len() {
            return self.drop(interface, DropReason::Overload, Some(client));
        }
        self.book.apply(&LeaseChange::Store(promise.lease.clone()));
        promises.push(promise);
    }

    fn committed(&mut self, outcome: &Outcome) {
        for lease in &outcome.leases {
            if outcome.stored {
                self.book.stored(lease);
            } else {
                self.book.not_stored(lease, now());
            }
        }
    }

    fn drop(&self, interface: u32, reason: DropReason, client: Option<Client>) {
        let name = self.interfaces.get(&interface).map_or("?", |interface| &interface.name);
        self.recorder.record(name, &Event::Dropped { reason, client });
    }
}

fn arrival(interface: &Interface, envelope: Envelope) -> Arrival {
    Arrival {
        addresses: Arc::clone(&interface.addresses),
        destination: envelope.destination,
        source: envelope.source,
        mtu: interface.mtu,
        loopback: interface.loopback,
    }
}

/// The wall clock, read once for each batch.
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}
