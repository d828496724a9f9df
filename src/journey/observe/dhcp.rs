//! DHCP messages as facts of a boot.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::speaker::Speaker;
use crate::event::{Client, Details, DropReason, Event, Message, Record};
use crate::journey::boot::Boot;
use crate::journey::evidence::{Conflict, Evidence, Exchange, Named, Obstacle, Slow, Step};
use crate::journey::site::Site;
use crate::types::Timestamp;

/// An ACK that comes later than this is later than the first retry of firmware.
const PATIENCE: Duration = Duration::from_secs(4);

/// A message that comes sooner than this after the same one is a copy of it, and no retry.
const COPY: Duration = Duration::from_millis(250);

/// Time for which a packet may be under way longer than a later one.
pub(in crate::journey) const OVERTAKEN: Duration = Duration::from_secs(1);

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a DHCP record into the facts of `boot`. Returns whether it shows that the boot goes on.
pub(super) fn observe(boot: &mut Boot, record: &Record, speaker: Option<Speaker>, site: &Site) -> bool {
    let at = record.at;
    match &record.event {
        Event::Received { message, client, details } => {
            if speaker == Some(Speaker::System) {
                // A loader that gives its address back says no more about itself than a system does.
                let asks = matches!(message, Message::Discover | Message::Request | Message::BootpRequest);
                return asks && on_system(boot, at);
            }
            received(boot, (*message, client, details), speaker, at)
        }
        Event::QuestionBlocked { details, .. } => {
            let e = &mut boot.evidence;
            e.blocked_4011 = true;
            e.relay = details.relay;
            asked_boot_service(e, at)
        }
        Event::Answered { message, client, file, .. } => {
            if speaker == Some(Speaker::System) {
                return false;
            }
            let file = file.as_ref().map(|(file, _)| file);
            answered(boot, (*message, client), file, site, at)
        }
        Event::Heard { message, server, names_file, .. } => heard(boot, *message, *server, *names_file, at),
        Event::Dropped { reason, client: Some(_) } => dropped(boot, *reason, speaker, at),
        // A Raspberry Pi loads files of fixed names.
        Event::NoFileForArchitecture { client }
            if !boot.evidence.exchange.is_ipxe && !client.firmware.is_raspberry_pi() =>
        {
            boot.evidence.meet(Obstacle::NoFile, at);
            false
        }
        Event::PoolExhausted { subnet, size, .. } => {
            boot.evidence.meet(Obstacle::PoolExhausted { subnet: *subnet, size: *size }, at);
            false
        }
        Event::Conflict { address, by } => {
            conflict(&mut boot.evidence, *address, *by);
            false
        }
        Event::Declined { address, by, .. } => {
            conflict(&mut boot.evidence, *address, *by);
            // The machine asks again after a pause of 10 s (RFC 2131 section 3.1).
            boot.evidence.meet(Obstacle::Conflict, at);
            boot.evidence.reach(Step::Asked, at);
            false
        }
        _ => false,
    }
}

fn conflict(e: &mut Evidence, address: Ipv4Addr, by: Option<crate::types::MacAddr>) {
    e.conflicts = e.conflicts.saturating_add(1);
    e.conflict = Some(Conflict { address, by });
}

/// A system asks for an address.
fn on_system(boot: &mut Boot, at: Timestamp) -> bool {
    let e = &boot.evidence;
    let has_loaded = e.loader.is_some() || e.script.is_some() || e.kernel.is_some();
    if boot.ended.is_some() && boot.verdict.is_none() {
        return false;
    }
    // Firmware that got nothing boots its disk, whose system asks too.
    if !has_loaded && e.step != Step::Unseen {
        return false;
    }
    boot.evidence.obstacle = None;
    boot.evidence.transfers.clear();
    boot.reach(Step::System, at);
    true
}

fn received(
    boot: &mut Boot,
    (message, client, details): (Message, &Client, &Details),
    speaker: Option<Speaker>,
    at: Timestamp,
) -> bool {
    let e = &mut boot.evidence;
    let is_first = e.firmware.is_none();
    let firmware = *e.firmware.get_or_insert(client.firmware);
    if speaker == Some(Speaker::Firmware) || firmware.is_ipxe() {
        e.arch = client.arch.or(e.arch);
        boot.arch = e.arch;
    }
    e.relay = details.relay;
    if details.boot_service {
        return asked_boot_service(e, at);
    }
    match message {
        Message::Discover | Message::BootpRequest => {
            if is_first {
                e.first_secs = details.secs;
            }
            discover(e, (message, details, speaker), at)
        }
        Message::Request => {
            let repeats = e.step == Step::Named && e.exchange.acked > 0;
            let x = &mut e.exchange;
            (x.asked_server, x.is_unanswered) = (details.server, true);
            let is_copy = !requests(x, at);
            x.repeated = x.repeated.saturating_add(u16::from(repeats && !is_copy));
            if matches!(e.step, Step::Asked) {
                e.reach(Step::Requested, at);
            }
            // A REQUEST does not overcome what stopped the boot, nor one for another server's offer.
            e.obstacle.is_none() && e.exchange.chosen.is_none() && !repeats
        }
        _ => false,
    }
}

/// Counts a REQUEST. Returns false for a copy of the one before.
fn requests(x: &mut Exchange, at: Timestamp) -> bool {
    let gap = at.since(x.last_request);
    if x.requests > 0 && gap < COPY {
        return false;
    }
    x.request_gap = if x.requests == 0 { 0 } else { millis(gap) };
    x.requests = x.requests.saturating_add(1);
    x.last_request = at;
    true
}

/// A question on port 4011. It does not show that the boot goes on.
fn asked_boot_service(e: &mut Evidence, at: Timestamp) -> bool {
    e.asked_4011 = e.asked_4011.saturating_add(1);
    e.asked_4011_at = at;
    false
}

/// A DISCOVER or BOOTREQUEST: a retry, or the first of a new exchange. Returns whether it shows that a loader runs.
fn discover(
    e: &mut Evidence,
    (message, details, speaker): (Message, &Details, Option<Speaker>),
    at: Timestamp,
) -> bool {
    let is_ipxe = speaker == Some(Speaker::Ipxe);
    let waits = matches!(e.step, Step::Asked | Step::Requested) && e.exchange.chosen.is_none();
    let is_retry = e.exchange.discovers > 0 && waits && e.exchange.is_ipxe == is_ipxe;
    let by_loader = speaker != Some(Speaker::Firmware) && e.loader.as_ref().is_some_and(|run| !run.runs);
    if by_loader && let Some(run) = &mut e.loader {
        run.runs = true;
    }
    if is_retry {
        let x = &mut e.exchange;
        let gap = at.since(x.last);
        if gap < COPY && x.xid == details.xid {
            return false;
        }
        x.gap = millis(gap);
        x.discovers = x.discovers.saturating_add(1);
        (x.xid, x.secs, x.last) = (details.xid, details.secs, at);
        e.reach(Step::Asked, at);
        return false;
    }
    if is_late_copy(e, details, at) {
        return false;
    }
    if message == Message::BootpRequest && repeats_bootp(e, details, at) {
        return false;
    }
    let goes_on = by_loader || !e.is_asking();
    // A script that configures the card again is still that script.
    let keeps_step = is_ipxe && e.step == Step::Scripted;
    e.exchange = Exchange {
        xid: details.xid,
        secs: details.secs,
        discovers: 1,
        first: at,
        last: at,
        is_ipxe,
        is_bootp: message == Message::BootpRequest,
        ..Exchange::default()
    };
    (e.asked_4011, e.answered_4011, e.blocked_4011) = (0, 0, false);
    e.transfers.clear();
    e.reach(if keeps_step { Step::Scripted } else { Step::Asked }, at);
    goes_on && by_loader
}

/// Counts a BOOTREQUEST that comes again although it was answered. It has no other message that could be repeated.
fn repeats_bootp(e: &mut Evidence, details: &Details, at: Timestamp) -> bool {
    let x = &mut e.exchange;
    if e.step != Step::Named || !x.is_bootp || x.xid != details.xid {
        return false;
    }
    x.gap = millis(at.since(x.last));
    x.repeated = x.repeated.saturating_add(1);
    x.discovers = x.discovers.saturating_add(1);
    (x.secs, x.last) = (details.secs, at);
    true
}

/// Whether a DISCOVER arrives after the ACK that it led to: a later packet overtook it.
fn is_late_copy(e: &Evidence, details: &Details, at: Timestamp) -> bool {
    let x = &e.exchange;
    let is_same = x.discovers > 0 && x.xid == details.xid && details.secs <= x.secs;
    is_same && matches!(e.step, Step::Named | Step::Unseen) && at.since(e.step_at) < OVERTAKEN
}

fn answered(
    boot: &mut Boot,
    (message, client): (Message, &Client),
    file: Option<&Arc<str>>,
    site: &Site,
    at: Timestamp,
) -> bool {
    let e = &mut boot.evidence;
    let named = file.map(|file| Named {
        file: Arc::clone(file),
        elsewhere: site.is_elsewhere(file),
        to_ipxe: client.firmware.is_ipxe(),
    });
    let is_script = e.step == Step::Scripted;
    match message {
        Message::Offer => {
            e.exchange.answered = e.exchange.answered.saturating_add(1);
            overcome_dhcp(e, named.is_some());
            e.named = named.or(e.named.take());
            // A Raspberry Pi 3 loads from the OFFER, and others may load from an offer that they never request.
            false
        }
        Message::Proxy if e.asked_4011 > e.answered_4011 => {
            e.answered_4011 = e.asked_4011;
            overcome_dhcp(e, named.is_some());
            name(e, named, is_script, at);
            true
        }
        Message::Proxy => {
            e.exchange.answered = e.exchange.answered.saturating_add(1);
            e.exchange.proxy = true;
            overcome_dhcp(e, named.is_some());
            e.named = named.or(e.named.take());
            false
        }
        Message::Ack | Message::BootpReply => {
            let x = &mut e.exchange;
            x.acked = x.acked.saturating_add(1);
            x.is_unanswered = false;
            if x.is_bootp {
                x.answered = x.answered.saturating_add(1);
            }
            let asked = if x.is_bootp { x.last } else { x.last_request };
            let took = at.since(asked);
            if took > PATIENCE && asked != Timestamp::default() {
                e.slow = Some(Slow::Late(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
            }
            overcome_dhcp(e, named.is_some());
            name(e, named, is_script, at);
            e.obstacle.is_none() && e.exchange.repeated == 0
        }
        Message::Nak => {
            e.reach(Step::Asked, at);
            (e.exchange.last, e.exchange.is_unanswered) = (at, false);
            false
        }
        _ => false,
    }
}

/// The machine has its address; it loads `named` now.
fn name(e: &mut Evidence, named: Option<Named>, keeps_script: bool, at: Timestamp) {
    let step = match &named {
        _ if keeps_script => Step::Scripted,
        // The first item of a menu has no name.
        Some(named) if named.elsewhere || named.file.is_empty() => Step::Unseen,
        Some(_) => Step::Named,
        None => Step::Unseen,
    };
    e.named = named.or(e.named.take());
    e.reach(step, at);
}

/// An answer with an address, or with a file, overcomes what prevented it.
fn overcome_dhcp(e: &mut Evidence, has_file: bool) {
    let is_over = match &e.obstacle {
        Some((Obstacle::NoFile, _)) => has_file,
        Some((Obstacle::PoolExhausted { .. } | Obstacle::QuarantineFull | Obstacle::Conflict, _)) => true,
        _ => false,
    };
    if is_over {
        e.obstacle = None;
    }
}

fn heard(boot: &mut Boot, message: Message, server: Ipv4Addr, names_file: bool, at: Timestamp) -> bool {
    let e = &mut boot.evidence;
    if !e.is_asking() && e.step != Step::Named {
        return false;
    }
    e.exchange.heard_file |= names_file;
    match message {
        Message::Offer => e.exchange.heard_offer = Some(server),
        Message::Ack | Message::BootpReply => {
            e.exchange.heard_ack = true;
            took_other(e, server, at);
        }
        _ => {}
    }
    false
}

/// The machine took the address of another server. Beside such a server it loads our file then.
fn took_other(e: &mut Evidence, server: Ipv4Addr, at: Timestamp) {
    if e.step == Step::Named && e.exchange.proxy {
        // It repeats its REQUEST because the ACK was lost.
        return e.reach(Step::Named, at);
    }
    if !e.is_asking() {
        return;
    }
    e.exchange.chosen.get_or_insert((server, at));
    if e.exchange.proxy && e.asked_4011 == 0 {
        let named = e.named.take();
        name(e, named, false, at);
    } else {
        e.reach(Step::Asked, at);
    }
}

fn dropped(boot: &mut Boot, reason: DropReason, speaker: Option<Speaker>, at: Timestamp) -> bool {
    if speaker == Some(Speaker::System) {
        let is_for_other = matches!(reason, DropReason::NotNetboot | DropReason::ProxyOnly);
        return is_for_other && on_system(boot, at);
    }
    let e = &mut boot.evidence;
    e.exchange.is_unanswered = false;
    match reason {
        DropReason::StoreFailed | DropReason::Overload => e.slow = Some(Slow::NotStored),
        DropReason::TooManyDeclined => e.meet(Obstacle::QuarantineFull, at),
        DropReason::OtherServer => {
            let server = e.exchange.asked_server.unwrap_or(Ipv4Addr::UNSPECIFIED);
            took_other(e, server, at);
            return false;
        }
        // The REQUEST for another server's address.
        DropReason::ProxyOnly => {
            _ = requests(&mut e.exchange, at);
            let server = e.exchange.heard_offer.unwrap_or(Ipv4Addr::UNSPECIFIED);
            took_other(e, server, at);
            return true;
        }
        _ => {}
    }
    false
}
