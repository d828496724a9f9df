//! How long each stage of a boot may be silent. When the limit is over, `rules/` judge the boot.

use std::time::Duration;

use crate::journey::evidence::{Evidence, Obstacle, Step};
use crate::types::Timestamp;

/// The limit of every stage that has no other.
pub const USUAL: Duration = Duration::from_secs(5);
/// The limit of iPXE between its ACK and its file: it waits for a proxy (2 s) and for an IPv6 router (13 s without one).
pub const AFTER_IPXE_ACK: Duration = Duration::from_secs(20);
/// The limit of a loader that fetched its script: people read menus.
pub const AFTER_SCRIPT: Duration = Duration::from_secs(30);
/// The limit of a kernel after its last initrd: it unpacks the initrd and starts the card.
pub const AFTER_INITRD: Duration = Duration::from_secs(60);
/// Time for a boot to go on in spite of an obstacle. A verdict must come within five seconds of the proof.
pub const GRACE: Duration = Duration::from_secs(4);
/// The time until firmware asks again for the first time (EDK2 `Dhcp4Io.c`, PXE 2.1 section 2.2.5).
const FIRST_RETRY: u64 = 4_000;
/// `secs` of the last DISCOVER of firmware before a link that was down counts as the reason why none was heard.
const MAX_UNHEARD_SECS: u16 = 20;
/// The longest pause of firmware between two DISCOVERs.
const LAST_RETRY: u64 = 32_000;
/// Number of DISCOVERs after which further ones are not waited for: three answered ones led to no REQUEST.
pub const ENOUGH_DISCOVERS: u16 = 4;

/// The time at which the boot is judged unless something comes before; `None` if it may be silent forever.
pub fn limit(evidence: &Evidence) -> Option<Timestamp> {
    if evidence.unheard { None } else { if_heard(evidence) }
}

/// The limit if no record of the boot is missing.
pub fn if_heard(evidence: &Evidence) -> Option<Timestamp> {
    let obstacle = evidence.obstacle.as_ref().filter(|(_, since)| !evidence.goes_on_since(*since));
    let obstacle = obstacle.map(|(obstacle, at)| at.after(grace(obstacle)));
    let silence = if let Some(transfer) = evidence.transfers.iter().find(|transfer| !transfer.flows) {
        Some(transfer.began.after(USUAL))
    } else if !evidence.transfers.is_empty() {
        // Slow is not stuck. A transfer that stops flowing ends by itself.
        None
    } else {
        of_step(evidence)
    };
    match (obstacle, silence) {
        (Some(obstacle), Some(silence)) => Some(obstacle.min(silence)),
        (obstacle, silence) => obstacle.or(silence),
    }
}

fn of_step(evidence: &Evidence) -> Option<Timestamp> {
    let exchange = &evidence.exchange;
    let after = |time: Duration| Some(evidence.step_at.after(time));
    match evidence.step {
        Step::Asked if evidence.asked_4011 > 0 => Some(evidence.asked_4011_at.after(USUAL)),
        Step::Asked => match exchange.chosen {
            Some((_, at)) => Some(at.after(if exchange.heard_ack { GRACE } else { USUAL })),
            None if exchange.discovers >= ENOUGH_DISCOVERS => Some(exchange.last.after(USUAL)),
            None => Some(next_discover(evidence)),
        },
        Step::Requested => Some(next_request(evidence)),
        Step::Named if evidence.asked_4011 > 0 => Some(evidence.asked_4011_at.after(USUAL)),
        Step::Named if evidence.exchange.is_ipxe => after(AFTER_IPXE_ACK),
        // A BOOTP client whose reply was lost has no other retry.
        Step::Named if exchange.is_bootp => Some(next_discover(evidence)),
        // The ACK may have been lost, as the one before.
        Step::Named if exchange.requests > 1 => after(USUAL).map(|usual| usual.max(next_request(evidence))),
        Step::Named | Step::Loaded => after(USUAL),
        Step::Scripted if evidence.script_rests => None,
        Step::Scripted | Step::Kernel => after(AFTER_SCRIPT),
        Step::Initrd => after(AFTER_INITRD),
        Step::System | Step::Unseen => None,
    }
}

/// The time at which the next DISCOVER or BOOTREQUEST is overdue.
fn next_discover(evidence: &Evidence) -> Timestamp {
    let exchange = &evidence.exchange;
    let after_secs = u64::from(exchange.secs).saturating_mul(1000).saturating_add(FIRST_RETRY);
    let retry = match exchange.gap {
        // The ones before were not heard: firmware asks 0, 4, 12 and 28 s after its start.
        0 if !exchange.is_ipxe && exchange.secs <= MAX_UNHEARD_SECS => after_secs,
        gap => next_retry(gap),
    };
    exchange.last.after(Duration::from_millis(retry) + USUAL)
}

/// The time at which the next REQUEST is overdue.
fn next_request(evidence: &Evidence) -> Timestamp {
    let exchange = &evidence.exchange;
    exchange.last_request.after(Duration::from_millis(next_retry(exchange.request_gap)) + USUAL)
}

/// The time to the next DISCOVER or REQUEST, in milliseconds, after a pause of `gap`: firmware doubles its pauses.
fn next_retry(gap: u64) -> u64 {
    match gap {
        0 => FIRST_RETRY,
        gap => gap.saturating_mul(2).clamp(FIRST_RETRY, LAST_RETRY),
    }
}

fn grace(obstacle: &Obstacle) -> Duration {
    match obstacle {
        // An installer may show a question and go on.
        Obstacle::Conflict | Obstacle::PoolExhausted { .. } | Obstacle::QuarantineFull => USUAL,
        _ => GRACE,
    }
}
