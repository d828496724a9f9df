//! Warnings about boot files: nothing is configured for a client's architecture, or the file that its reply names is
//! missing. The engine calls it for each answer. It never changes an answer.

use std::net::Ipv4Addr;

use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::dhcp::engine::outside::FileFacts;
use crate::dhcp::settings::Settings;
use crate::event::{Client, Event, Message as Kind};
use crate::types::Stage;
use crate::wire::dhcp::Message;
use crate::wire::pxe::BootItem;

/// The warning about the boot file `boot` of the answer that `event` records; `server` is our address for the client.
pub(super) fn warning(
    event: &Event,
    (message, identity): (&Message, &Identity),
    boot: Option<&Choice>,
    (files, server): (&dyn FileFacts, Ipv4Addr),
    settings: &Settings,
) -> Option<Event> {
    let Event::Answered { message: kind, client, note: None, .. } = event else { return None };
    let Some(choice) = boot else { return without_file(message, identity, *client, settings) };
    // An offer may never be taken. The first item of a menu may load no file.
    let is_final = matches!(kind, Kind::Ack | Kind::BootpReply | Kind::Proxy) && !choice.file.is_empty();
    if !is_final || identity.stage == Stage::Other {
        return None;
    }
    let missing = files.missing(choice, message, server)?;
    let (file, rule) = choice.as_sent(server);
    Some(Event::FileMissing { client: *client, file, rule, set: missing.set })
}

/// The warning about a client for which no boot file is configured. Without any boot files, no machine is meant to boot.
pub(super) fn without_file(
    message: &Message,
    identity: &Identity,
    client: Client,
    settings: &Settings,
) -> Option<Event> {
    let boots = matches!(identity.stage, Stage::Pxe | Stage::Http);
    let has_files = !settings.boot.arch.is_empty() || settings.boot.menu.is_some();
    // The item of a menu may be the local disk.
    let asks_item = BootItem::of(&message.options).is_some();
    (boots && has_files && !asks_item).then_some(Event::NoFileForArchitecture { client })
}
