//! Handles boot requests, which are answered with a boot file and without an address, and messages of other servers.
//! Called by `Engine::run`, and by the server for captured messages. Nothing here reads or changes the lease book.

use std::net::SocketAddrV4;
use std::sync::Arc;

use super::effect::drop_message;
use super::{Effect, Effects, Engine, OutgoingReply, Outside, boot_file, look_up_size, resolve_choice};
use crate::boot::plan::Mode;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classify::sender_of;
use crate::dhcp::decision::Decision;
use crate::dhcp::proxy::{classify, decide};
use crate::dhcp::request::{context_of, details_of};
use crate::dhcp::{loop_guard, other_servers};
use crate::event::{Context, DropReason, Event, Record};
use crate::types::{MacAddr, MachineId, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::option::code;

impl Engine {
    /// Answers a message to the boot service, or to the proxy beside another DHCP server.
    pub(super) fn answer_boot_request(
        &mut self,
        message: &Message,
        arrival: &Arrival,
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        self.observe_choice(message, arrival, outside, now, out);
        let settings = Arc::clone(&self.settings);
        let mut request = match classify(message, arrival, &settings) {
            Ok(request) => request,
            Err(reason) => {
                return drop_message(out, reason, &sender_of(message, arrival, &settings, now));
            }
        };
        let details = details_of(message, arrival.boot_service);
        let received = Event::Received { message: request.kind(), client: request.client(), details };
        let context = request.context(now);
        out.push_back(Effect::Record(context.record(received)));
        resolve_choice(outside.files, request.boot.as_mut(), (message, &request.identity), request.server);
        loop_guard::apply_to_boot_request(&mut self.observed().guard, &mut request, &settings, now);
        look_up_size(outside.files, request.boot.as_mut(), message);
        match decide(&request, &settings) {
            Decision::Answer { reply, route, wait, event, .. } => {
                outside.machines.observe_boot_service_request(
                    message,
                    (&request.identity, request.machine),
                    arrival,
                );
                let looping =
                    loop_guard::count_boot_reply(&mut self.observed().guard, &request, &settings, now);
                out.extend(looping.map(|event| Effect::Record(context.record(event))));
                let facts = (outside.files, request.server);
                let client = (message, &request.identity);
                let warning = boot_file::warning(&event, client, request.boot.as_ref(), facts, &settings);
                out.extend(warning.map(|event| Effect::Record(context.record(event))));
                // The client expects the answer from the address that it wrote to.
                let asked = arrival.addresses.contains(&arrival.destination);
                let server = if asked { arrival.destination } else { request.server };
                let reply = OutgoingReply { message: reply, route, server };
                out.push_back(Effect::Send { reply, wait, record: context.record(event) });
            }
            Decision::Silent { reason, .. } => {
                if reason == DropReason::NoBootFile {
                    let warning =
                        boot_file::without_file(message, &request.identity, request.client(), &settings);
                    out.extend(warning.map(|event| Effect::Record(context.record(event))));
                }
                drop_message(out, reason, &context);
            }
            // These decisions concern leases.
            Decision::CheckAddress { .. }
            | Decision::CheckDecline { .. }
            | Decision::AskHolder { .. }
            | Decision::Quiet { .. } => {}
        }
    }

    /// Records that a client takes the address of another server, if `message` is such a REQUEST.
    fn observe_choice(
        &mut self,
        message: &Message,
        arrival: &Arrival,
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let Some(mut taken) = other_servers::read_client_choice(message, arrival, &self.settings) else {
            return;
        };
        resolve_choice(outside.files, taken.boot.as_mut(), (message, &taken.identity), arrival.server());
        outside.machines.observe_client_choice(message, &taken);
        let looping = other_servers::count(&mut self.observed().guard, message, &taken, &self.settings, now);
        let context =
            |looping| (looping, context_of(message, &taken.identity, taken.machine, (arrival, now)));
        out.extend(looping.map(context).map(|(event, context)| Effect::Record(context.record(event))));
    }

    /// Records a message to a client from `source` and the hardware address `from`, if another server sent it. Bytes
    /// that are not a DHCP message are ignored.
    pub fn handle_server_message(
        &mut self,
        datagram: &[u8],
        (source, from): (SocketAddrV4, MacAddr),
        arrival: &Arrival,
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let Ok(message) = Message::decode(datagram) else { return };
        let Some(given) = other_servers::read_server_message(&message, *source.ip(), from, arrival) else {
            return;
        };
        let warning = self.observed().rogue_servers.record_message(&given, arrival, now);
        let machine = |mac| MachineId {
            name: self.settings.machines.with_mac(mac).map(|m| Arc::clone(&m.name)),
            ..mac.into()
        };
        let (server, address) = (given.server, given.address);
        let names_file = message.file.first().is_some_and(|byte| *byte != 0)
            || message.options.get(code::BOOT_FILE_NAME).is_some();
        let heard = Event::Heard { message: given.message, address, server, names_file };
        out.extend(warning.into_iter().chain([heard]).map(|event| {
            let context = Context::unknown(now, arrival.interface);
            Effect::Record(Record { machine: given.client.map(machine), ..context.record(event) })
        }));
        if arrival.mode == Mode::Proxy {
            outside.machines.observe_server_message(&given);
        }
    }
}
