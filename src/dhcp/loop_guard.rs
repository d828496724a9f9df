//! Applies the loop guard ([`LoopGuard`]) to DHCP messages. Before the decision it may replace the boot file, and after the
//! decision it counts the boot file that was sent. Called by the engine; it never touches leases.

use crate::boot::guard::{BootLoop, LoopGuard};
use crate::boot::identity::Identity;
use crate::boot::menu::MenuPart;
use crate::boot::policy::Choice;
use crate::dhcp::boot_request::{Ask, BootRequest};
use crate::dhcp::request::{Request, client_of};
use crate::dhcp::settings::Settings;
use crate::event::{Event, Message as Kind};
use crate::types::{Stage, Timestamp};
use crate::wire::dhcp::Message;

/// Replaces the boot file with iPXE's script if the client loads the same file again and again, and is or may be an
/// iPXE. Forgets a machine whose operating system runs. The choice must be resolved ([`Choice::resolve`]).
pub fn apply(guard: &mut LoopGuard, request: &mut Request<'_>, settings: &Settings, now: Timestamp) {
    replace_boot_file(guard, (request.message, &request.identity), &mut request.boot, settings, now);
}

/// Like [`apply`], for a client that gets its address from another server.
pub fn apply_to_boot_request(
    guard: &mut LoopGuard,
    request: &mut BootRequest<'_>,
    settings: &Settings,
    now: Timestamp,
) {
    replace_boot_file(guard, (request.message, &request.identity), &mut request.boot, settings, now);
}

fn replace_boot_file(
    guard: &mut LoopGuard,
    (message, identity): (&Message, &Identity),
    boot: &mut Option<Choice>,
    settings: &Settings,
    now: Timestamp,
) {
    if identity.stage == Stage::Other {
        message.mac().into_iter().for_each(|mac| guard.forget(mac));
        return;
    }
    let Some(choice) = boot else { return };
    let instead = guard.script_instead(message, identity, choice, &settings.boot, now);
    if instead.is_some() {
        *boot = instead;
    }
}

/// Counts the boot file if `event` is an ACK or a BOOTP reply, which sends it to the client. Returns the event to
/// record if the client is in a loop.
pub fn count_reply(
    guard: &mut LoopGuard,
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

/// Like [`count_reply`], for an answer of the boot service. A proxy's offer is counted when the client sends its REQUEST to
/// the other server (`dhcp/other_servers.rs`).
pub fn count_boot_reply(
    guard: &mut LoopGuard,
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
    guard: &mut LoopGuard,
    (message, identity): (&Message, &Identity),
    choice: Option<&Choice>,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    if identity.stage == Stage::Other {
        message.mac().into_iter().for_each(|mac| guard.forget(mac));
        return None;
    }
    // A client that is shown a menu has no file yet; the entry that it chooses is counted later.
    let choice = choice.filter(|choice| !matches!(choice.menu, Some(MenuPart::Whole(_))))?;
    let found = guard.record_boot_file(message, identity, choice, &settings.boot, now)?;
    let BootLoop { file, times, within, gets_script } = found;
    Some(Event::BootLoop { client: client_of(identity), file, times, within, gets_script })
}
