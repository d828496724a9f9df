//! What the DHCP loop promises: leases that are handed to the committer together with the replies that wait for them. It
//! must never send such a reply itself.

use crate::dhcp::request::Request;
use crate::dhcp::route::Route;
use crate::event::{Client, DropReason};
use crate::lease::{Lease, LeaseChange, State};
use crate::net::udp::Outgoing;
use crate::server::control::{Refusal, Release, released_by_hand};
use crate::server::dhcp::commit::Promise;
use crate::server::dhcp::{DhcpServer, Outbox};
use crate::wire::dhcp::Message;

impl DhcpServer {
    /// Makes the change in the book at once, so that the next decision sees it, and queues it for the disk.
    pub(super) fn promise(
        &mut self,
        mut promise: Promise,
        interface: u32,
        client: Option<Client>,
        out: &mut Outbox,
    ) {
        let leases = promise.leases().count();
        if self.committer.room() < out.leases + leases {
            return match promise.otherwise {
                // This needs no disk.
                Some(otherwise) => out.replies.push(otherwise.delivery(&promise.interface)),
                None => self.drop(interface, DropReason::Overload, client),
            };
        }
        let lease = promise.lease.clone();
        promise.ended.iter().for_each(|ended| self.known.released(ended));
        // Of a lease that a machine takes over from its own former network card, the card is gone.
        let card = self.book.binding(lease.address).filter(|b| b.holder.shares_id(&lease.holder));
        if let Some(binding) = card {
            let former = Lease { holder: binding.holder.clone(), state: State::Released, ..lease.clone() };
            self.known.released(&former);
        }
        self.book.apply(&match promise.ended.is_empty() {
            true => LeaseChange::Store(lease),
            false => LeaseChange::Replace { lease, ended: promise.ended.clone() },
        });
        // Once a booting stage had the address, that stays known, on disk too.
        promise.lease.holder.boots = self.book.binding(promise.lease.address).is_some_and(|b| b.holder.boots);
        self.renewals.add(&promise);
        out.leases += leases;
        out.promises.push(promise);
    }

    /// Frees an address because a person says so, and answers once that is stored.
    pub fn release(&mut self, ask: Release) {
        let lease = match ask.freed(&self.book, self.clock.now()) {
            Ok(lease) => lease,
            Err(why) => return ask.answer(Err(why)),
        };
        if self.committer.room() == 0 {
            return ask.answer(Err(Refusal::Failed("too many leases are waiting for the disk; try again")));
        }
        self.known.released(&lease);
        self.book.apply(&LeaseChange::Store(lease.clone()));
        self.asks.stored_with(ask, lease.clone());
        let promise = released_by_hand(lease);
        self.renewals.add(&promise);
        self.committer.submit(vec![promise]);
    }
}

/// The lease that `change` grants and those that end with it; `change` itself if it is for the book alone.
pub(super) fn to_be_stored(change: Option<LeaseChange>) -> Result<(Lease, Vec<Lease>), Option<LeaseChange>> {
    match change {
        Some(LeaseChange::Store(lease)) => Ok((lease, Vec::new())),
        Some(LeaseChange::Replace { lease, ended }) => Ok((lease, ended)),
        other => Err(other),
    }
}

/// `reply` on its way. A relay agent gets it from the address that it wrote to, as a firewall between us expects.
pub(in crate::server) fn outgoing(
    request: &Request<'_>,
    interface: u32,
    reply: &Message,
    route: Route,
) -> Outgoing {
    let relayed = !request.message.giaddr.is_unspecified();
    let server = if relayed { request.arrival.server() } else { request.server };
    Outgoing { payload: reply.encode(), route, interface, server }
}
