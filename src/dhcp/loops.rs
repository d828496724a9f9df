//! Where the loop guard stands in the way of a message: before the decision it may give another boot file, after it it
//! counts the one that was given.

use crate::boot::guard::{Guard, Loop};
use crate::dhcp::request::Request;
use crate::dhcp::subnet::Settings;
use crate::event::{Event, Message as Kind};
use crate::types::{Stage, Timestamp};

/// Gives iPXE's script to a client that goes round in circles and may be an iPXE; forgets a machine whose system runs.
pub fn before(guard: &mut Guard, request: &mut Request<'_>, settings: &Settings, now: Timestamp) {
    if request.identity.stage == Stage::Other {
        request.message.mac().into_iter().for_each(|mac| guard.went_on(mac));
        return;
    }
    let Some(choice) = &request.boot else { return };
    let instead = guard.overrule(request.message, &request.identity, choice, &settings.boot, now);
    if instead.is_some() {
        request.boot = instead;
    }
}

/// Counts the boot file that was given if `event` is what gives it: an ACK, or BOOTP's answer. What then has happened,
/// if that makes a loop.
pub fn after(
    guard: &mut Guard,
    request: &Request<'_>,
    event: &Event,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    let Event::Answered { message: Kind::Ack | Kind::BootpReply, .. } = event else { return None };
    // An operating system is told of its machine's boot file too, at every renewal.
    let choice = request.boot.as_ref().filter(|_| request.identity.stage != Stage::Other)?;
    let found = guard.given(request.message, &request.identity, choice, &settings.boot, now)?;
    let Loop { file, times, within, gets_script } = found;
    Some(Event::Looping { client: request.client(), file, times, within, gets_script })
}
