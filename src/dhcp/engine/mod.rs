//! The engine: turns the bytes of a DHCP message into a list of effects. The server, the proxy, `rehearse`, the
//! benchmark, the fuzzers and the tests call it, and no other code performs these steps.
//!
//! It has no clock, socket, log or file: bytes, time and all outside facts are arguments. It changes the lease book
//! itself, as soon as a message is decided on. Every other effect is an [`Effect`] for the caller.

mod boot_file;
mod checks;
mod effect;
mod outside;
mod probe;
mod promise;
mod warnings;
mod without_address;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::boot::guard::LoopGuard;
use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classify::{classify, is_ignored, recognize, sender_of};
use crate::dhcp::clones::DuplicateIds;
use crate::dhcp::conflict::{Evidence, declined};
use crate::dhcp::decide::{decide, released};
use crate::dhcp::decision::Decision;
use crate::dhcp::other_servers::{self, RogueServers};
use crate::dhcp::proxy_arp::ProxyArp;
use crate::dhcp::request::{Ask, Probed, Request, details_of};
use crate::dhcp::settings::Settings;
use crate::dhcp::{loop_guard, proxy};
use crate::event::{Context, DropReason, Event};
use crate::lease::{Holder, LeaseBook, LeaseChange};
use crate::types::Timestamp;
use crate::wire::dhcp::{DecodeError, Message, MessageType};

pub use effect::{Effect, Effects, FallbackReply, MAX_WAITING, Outcome, OutgoingReply, Promise};
pub use outside::{AddressObserver, FileFacts, MissingFile, Outside};
pub use probe::{AddressInUse, DeclineProbe, Meaning};

use effect::drop_message;

/// Time in the queue of the kernel after which a request is not answered. UEFI and BIOS firmware sends it again after 4 s
/// (EDK2, RFC 2131 section 4.1), and other clients sooner. So a flood delays no reply by more than that.
pub const MAX_WAIT: Duration = Duration::from_secs(4);

/// Observations of machines and of other servers that are not leases. The engines of one server share them.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The machines that load the same boot file again and again.
    pub guard: LoopGuard,
    /// Rogue DHCP servers.
    pub rogue_servers: RogueServers,
}

/// Decides on DHCP messages. The DHCP thread owns the engine that gives addresses. The thread that answers boot
/// requests without addresses owns another one, with an empty book. Both share [`Observed`].
#[derive(Debug)]
pub struct Engine {
    pub settings: Arc<Settings>,
    /// The leases, offers and quarantines.
    pub book: LeaseBook,
    /// Machines that send the same client identifier.
    pub duplicate_ids: DuplicateIds,
    observed: Arc<Mutex<Observed>>,
    /// Machines that answer ARP for addresses that are not theirs.
    proxy_arp: ProxyArp,
    /// Addresses with a DECLINE that is being checked.
    declining: HashSet<Ipv4Addr>,
    /// The clients that had the last leases of addresses under check. The caller limits the checks.
    last_holders: HashMap<Ipv4Addr, Holder>,
    /// For each address whose lease is being extended, the holder and the time until which its lease is certainly
    /// stored, whichever pending changes are stored. It has at most one entry per pending address.
    guaranteed: HashMap<Ipv4Addr, (Holder, Timestamp), foldhash::fast::RandomState>,
    /// Names of machines about whose reservation a warning was recorded.
    not_kept: HashSet<Arc<str>>,
    /// Number of leases that wait to be stored.
    waiting: usize,
    /// The time of the last [`Engine::expire`].
    expired_at: Option<Timestamp>,
}

/// The reason for deciding on a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    /// The message has just been received.
    First,
    /// An address was checked, or a DECLINE was decided on.
    AfterCheck,
    /// The message is a DECLINE whose address was probed, or a RELEASE whose sender was looked up.
    Declined(Evidence),
    /// The holder of a lease was probed.
    AfterProbe(Probed),
}

impl Round {
    fn probed(self) -> Option<Probed> {
        match self {
            Round::AfterProbe(probed) => Some(probed),
            Round::First | Round::AfterCheck | Round::Declined(_) => None,
        }
    }
}

impl Engine {
    /// An engine for these settings and leases, without observations.
    pub fn new(settings: Arc<Settings>, book: LeaseBook) -> Engine {
        Engine {
            settings,
            book,
            duplicate_ids: DuplicateIds::default(),
            observed: Arc::default(),
            proxy_arp: ProxyArp::default(),
            declining: HashSet::new(),
            last_holders: HashMap::new(),
            guaranteed: HashMap::default(),
            not_kept: HashSet::new(),
            waiting: 0,
            expired_at: None,
        }
    }

    /// Makes this engine share the observations of `other` from now on.
    #[must_use]
    pub fn sharing_with(self, other: &Engine) -> Engine {
        Engine { observed: Arc::clone(&other.observed), ..self }
    }

    /// Locks the observations. They stay consistent even if a thread panicked while it held the lock, because each
    /// change is complete in itself.
    pub fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the settings. Leases, offers, checks, quarantines and observations stay; the pools change. Returns the
    /// addresses of this computer that the new pools contain and the old ones did not.
    pub fn replace(&mut self, settings: Arc<Settings>, now: Timestamp) -> Vec<Ipv4Addr> {
        let own = self.book.replace(settings.pools(), settings.match_client_id);
        self.settings = settings;
        self.not_kept.clear();
        self.book.expire(now);
        self.expired_at = Some(now);
        own
    }

    /// Handles a message that has just been received.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        arrival: &Arrival,
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        self.expire(now);
        self.run(Round::First, (datagram, arrival), outside, now, out);
    }

    /// Handles a message again that waited for the check of a DECLINE.
    pub fn resume(
        &mut self,
        message: (&[u8], &Arrival),
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        self.expire(now);
        self.run(Round::AfterCheck, message, outside, now, out);
    }

    /// Handles one message: decode → is it for us → classify → recognize → decide → act.
    fn run(
        &mut self,
        round: Round,
        (datagram, arrival): (&[u8], &Arrival),
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let message = match Message::decode(datagram) {
            Ok(message) => message,
            Err(error) => {
                let context = Context::unknown(now, arrival.interface);
                return drop_message(out, undecodable(error), &context);
            }
        };
        if round == Round::First && is_stale(&message, arrival.waited) {
            let sender = sender_of(&message, arrival, &self.settings, now);
            return drop_message(out, DropReason::Stale, &sender);
        }
        if proxy::is_for_us(&message, arrival) {
            return self.answer_boot_request(&message, arrival, outside, now, out);
        }
        let settings = Arc::clone(&self.settings);
        let mut request = match classify(&message, arrival, &settings) {
            Ok(request) => request,
            Err(reason) => {
                return drop_message(out, reason, &sender_of(&message, arrival, &settings, now));
            }
        };
        recognize(&mut request, &self.book, &settings, now);
        let context = request.context(now);
        if is_ignored(request.machine, &request.classes) {
            return drop_message(out, DropReason::Ignored, &context);
        }
        if round == Round::First {
            let (message, client) = (request.ask.kind(), request.client());
            let received = Event::Received {
                message,
                client,
                details: details_of(request.message, arrival.boot_service),
            };
            out.push_back(Effect::Record(context.record(received)));
        }
        other_servers::yield_to_others(&self.observed().rogue_servers, &mut request, &settings, now);
        resolve_choice(outside.files, request.boot.as_mut(), (&message, &request.identity), request.server);
        loop_guard::apply(&mut self.observed().guard, &mut request, &settings, now);
        request.probed = round.probed();
        self.duplicate_ids.record_request(&request, arrival.interface, &self.book, &settings, now);
        look_up_size(outside.files, request.boot.as_mut(), &message);
        if round == Round::First && self.waits_for_decline(&request, &context, now, out) {
            return;
        }
        let decision = match (round, request.ask) {
            (Round::Declined(evidence), Ask::Decline { address, .. }) => {
                declined(&request, address, evidence, &self.book, &settings, now)
            }
            (Round::Declined(evidence), Ask::Release { address, .. }) => {
                released(&request, address, evidence.from_client, &self.book, now)
            }
            _ => decide(&request, &self.book, &settings, now),
        };
        self.act(decision, (&mut request, context), outside, now, out);
    }

    /// Applies the change that was decided on, and adds the other effects of the decision.
    fn act(
        &mut self,
        decision: Decision,
        (request, context): (&mut Request<'_>, Context),
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let on_wire = request.message.giaddr.is_unspecified();
        match decision {
            Decision::CheckAddress { address, hold } => {
                let is_expected = request.machine.is_some();
                out.push_back(Effect::CheckAddress { address, hold, on_wire, is_expected, context });
            }
            Decision::CheckDecline { address } => {
                let is_release = matches!(request.ask, Ask::Release { .. });
                out.push_back(Effect::CheckDecline { address, is_release, context });
            }
            Decision::AskHolder { address } => {
                out.push_back(Effect::AskHolder { address, on_wire, context });
            }
            Decision::Answer { change, reply, route, wait, event } => {
                self.warn_of_reservation(request, Some(reply.yiaddr), now, out);
                request.server = request.server_for(reply.yiaddr, &self.settings);
                outside.machines.observe_answer(request, (&reply, change.as_ref()), &self.book, now);
                let looping =
                    loop_guard::count_reply(&mut self.observed().guard, request, &event, &self.settings, now);
                out.extend(looping.map(|event| Effect::Record(context.record(event))));
                let facts = (outside.files, request.server);
                let client = (request.message, &request.identity);
                let warning =
                    boot_file::warning(&event, client, request.boot.as_ref(), facts, &self.settings);
                out.extend(warning.map(|event| Effect::Record(context.record(event))));
                let record = context.record(event);
                let reply = OutgoingReply { message: reply, route, server: source_of_reply(request) };
                match change {
                    Some(LeaseChange::Store(lease)) => {
                        self.grant((lease, Vec::new()), (reply, record), request, outside, now, out);
                    }
                    Some(LeaseChange::Replace { lease, ended }) => {
                        self.grant((lease, ended), (reply, record), request, outside, now, out);
                    }
                    other => {
                        other.iter().for_each(|change| self.book.apply(change));
                        out.push_back(Effect::Send { reply, wait, record });
                    }
                }
            }
            Decision::Quiet { lease, event } => {
                outside.machines.observe_release(&lease);
                self.store_quietly(lease, context.record(event), outside, out);
            }
            Decision::Silent { reason, change } => {
                if reason == DropReason::OtherServer {
                    let warning = self.observed().rogue_servers.record_selection(request, now);
                    out.extend(warning.map(|event| Effect::Record(context.record(event))));
                }
                change.iter().for_each(|change| self.book.apply(change));
                if matches!(reason, DropReason::PoolExhausted | DropReason::NotAdmitted) {
                    self.warn_of_reservation(request, None, now, out);
                }
                if reason == DropReason::PoolExhausted {
                    out.push_back(Effect::Record(context.record(self.exhausted(request))));
                }
                drop_message(out, reason, &context);
            }
        }
    }

    /// Advances the book to `now`. All messages of a batch have the same time, so this has a cost only once per batch.
    fn expire(&mut self, now: Timestamp) {
        if self.expired_at != Some(now) {
            self.expired_at = Some(now);
            self.book.expire(now);
        }
    }
}

/// The source address of a reply. A relay agent gets its reply from the address that it wrote to, because a firewall on
/// the way expects that.
fn source_of_reply(request: &Request<'_>) -> Ipv4Addr {
    if request.message.giaddr.is_unspecified() { request.server } else { request.arrival.server() }
}

/// Whether the client of a message that waited for that time in a queue has sent another one since. RELEASE and DECLINE
/// are sent only once.
fn is_stale(message: &Message, waited: Duration) -> bool {
    let is_repeated =
        !matches!(message.message_type(), Some(Ok(MessageType::Release | MessageType::Decline)));
    waited >= MAX_WAIT && is_repeated
}

/// The reason why bytes are not a DHCP message.
fn undecodable(error: DecodeError) -> DropReason {
    match error {
        DecodeError::TooShort => DropReason::TooShort,
        DecodeError::BadHlen => DropReason::BadHlen,
    }
}

/// Settles the boot file of the client that sent `message`, so that an iPXE does not get a build of iPXE. `server` is
/// our address for that client. A decision needs no other facts from the disk except the size.
fn resolve_choice(
    files: &dyn FileFacts,
    boot: Option<&mut Choice>,
    (message, identity): (&Message, &Identity),
    server: Ipv4Addr,
) {
    if let Some(choice) = boot {
        choice.resolve(identity, |choice| files.content_of(choice, message, server));
    }
}

/// Fills in the size of the boot file for the client that sent `message`.
fn look_up_size(files: &dyn FileFacts, boot: Option<&mut Choice>, message: &Message) {
    if let Some(choice) = boot {
        choice.size = files.size(choice, message);
    }
}
