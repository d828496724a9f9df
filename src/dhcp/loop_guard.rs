//! Applies the loop guard ([`Guard`]) to DHCP messages. Before the decision it may replace the boot file, and after the
//! decision it counts the boot file that was sent. Called by the engine; it never touches leases.

use crate::boot::guard::{Guard, Loop};
use crate::boot::identity::Identity;
use crate::boot::menu::Part;
use crate::boot::policy::Choice;
use crate::dhcp::boot_request::{Ask, BootRequest};
use crate::dhcp::request::{Request, client_of};
use crate::dhcp::settings::Settings;
use crate::event::{Event, Message as Kind};
use crate::types::{Stage, Timestamp};
use crate::wire::dhcp::Message;

/// Replaces the boot file with iPXE's script if the client loads the same file again and again, and is or may be an
/// iPXE. Forgets a machine whose operating system runs. The choice must be settled ([`Choice::settle`]).
pub fn before(guard: &mut Guard, request: &mut Request<'_>, settings: &Settings, now: Timestamp) {
    overrule(guard, (request.message, &request.identity), &mut request.boot, settings, now);
}

/// Like [`before`], for a client that gets its address from another server.
pub fn before_boot(guard: &mut Guard, request: &mut BootRequest<'_>, settings: &Settings, now: Timestamp) {
    overrule(guard, (request.message, &request.identity), &mut request.boot, settings, now);
}

fn overrule(
    guard: &mut Guard,
    (message, identity): (&Message, &Identity),
    boot: &mut Option<Choice>,
    settings: &Settings,
    now: Timestamp,
) {
    if identity.stage == Stage::Other {
        message.mac().into_iter().for_each(|mac| guard.went_on(mac));
        return;
    }
    let Some(choice) = boot else { return };
    let instead = guard.overrule(message, identity, choice, &settings.boot, now);
    if instead.is_some() {
        *boot = instead;
    }
}

/// Counts the boot file if `event` is an ACK or a BOOTP reply, which sends it to the client. Returns the event to
/// record if the client is in a loop.
pub fn after(
    guard: &mut Guard,
    request: &Request<'_>,
    event: &Event,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    let Event::Answered { message: Kind::Ack | Kind::BootpReply, .. } = event else { return None };
    // An operating system is sent its machine's boot file too, at every renewal.
    let choice = request.boot.as_ref().filter(|_| request.identity.stage != Stage::Other)?;
    count(guard, (request.message, &request.identity), Some(choice), settings, now)
}

/// Like [`after`], for an answer of the boot service. A proxy's offer is counted when the client sends its REQUEST to
/// the other server (`dhcp/other_servers.rs`).
pub fn after_boot(
    guard: &mut Guard,
    request: &BootRequest<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    let choice = request.boot.as_ref().filter(|_| matches!(request.ask, Ask::Request | Ask::Inform))?;
    count(guard, (request.message, &request.identity), Some(choice), settings, now)
}

/// Counts `choice` for the client, and forgets a machine whose operating system runs. Returns the event to record if
/// the client is in a loop.
pub fn count(
    guard: &mut Guard,
    (message, identity): (&Message, &Identity),
    choice: Option<&Choice>,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    if identity.stage == Stage::Other {
        message.mac().into_iter().for_each(|mac| guard.went_on(mac));
        return None;
    }
    // A client that is shown a menu has no file yet; the entry that it chooses is counted later.
    let choice = choice.filter(|choice| !matches!(choice.menu, Some(Part::Whole(_))))?;
    let found = guard.given(message, identity, choice, &settings.boot, now)?;
    let Loop { file, times, within, gets_script } = found;
    Some(Event::BootLoop { client: client_of(message, identity), file, times, within, gets_script })
}
