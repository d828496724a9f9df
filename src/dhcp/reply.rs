//! Builds replies: the header, the boot fields, and as many options as fit, in the order of need. Called by
//! `decision.rs`, `proxy.rs` and `bsdp.rs`. It never decides whether a client is answered.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::fetch::Served;
use crate::boot::identity::Identity;
use crate::boot::plan::{Mode, Plan, plan};
use crate::dhcp::level::{LeaseTimes, Level, NextServer};
use crate::dhcp::option_space::Room;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::Settings;
use crate::dhcp::{enterprises, fqdn};
use crate::types::{Firmware, Stage};
use crate::wire::dhcp::{BOOTREPLY, FLAG_BROADCAST, Message, MessageType, padded};
use crate::wire::option::code;

/// The kind of a reply, with its address and lease time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// OFFER of an address and a lease time.
    Offer(Ipv4Addr, Duration),
    /// ACK of an address and a lease time.
    Ack(Ipv4Addr, Duration),
    /// ACK to an INFORM, without an address or a lease time.
    Inform,
    /// The answer to plain BOOTP: an address that never expires, or the unspecified address for a client that has one.
    Bootp(Ipv4Addr),
    /// NAK with its reason, which is sent in option 56.
    Nak(&'static str),
}

impl Reply {
    /// The address that the reply gives; unspecified if it gives none.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Reply::Offer(address, _) | Reply::Ack(address, _) | Reply::Bootp(address) => address,
            Reply::Inform | Reply::Nak(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// The client's address after this reply: the address that it gives, or else the one that the sender of `asked`
    /// already has.
    pub fn address_of(self, asked: &Message) -> Ipv4Addr {
        match self {
            Reply::Nak(_) => Ipv4Addr::UNSPECIFIED,
            _ if self.address().is_unspecified() => asked.ciaddr,
            _ => self.address(),
        }
    }
}

/// Options that every client gets if they are configured, even if it does not ask for them: some boot loaders (GRUB)
/// send no parameter request list.
const UNASKED: [u8; 3] = [code::SUBNET_MASK, code::ROUTER, code::DNS];
/// Options that every network-boot client gets if they are configured. PXELINUX reads them from the reply to the
/// firmware, and the firmware does not ask for them (RFC 5071).
pub const UNASKED_BY_FIRMWARE: [u8; 4] = [
    code::PXELINUX_MAGIC,
    code::PXELINUX_CONFIG_FILE,
    code::PXELINUX_PATH_PREFIX,
    code::PXELINUX_REBOOT_TIME,
];
/// Options that are sent only to clients that ask for them. A client without a list does not ask for IPv6-only
/// operation (RFC 8925 section 3.3).
const ONLY_ASKED: [u8; 1] = [code::IPV6_ONLY_PREFERRED];
/// Options that lanboot writes itself for clients that boot from the network.
const BOOT_OPTIONS: [u8; 5] = [
    code::BOOT_FILE_SIZE,
    code::VENDOR_SPECIFIC,
    code::VENDOR_CLASS,
    code::TFTP_SERVER_NAME,
    code::BOOT_FILE_NAME,
];

/// Builds the message of `reply` to `request`, with the fields of RFC 2131 table 3. If options do not fit, `file` and
/// `sname` take some of them, except for programs that may not find them there.
pub fn build(request: &Request<'_>, settings: &Settings, reply: Reply) -> Message {
    let (message, is_short) = build_with(request, settings, reply, false);
    if is_short && reads_overloaded_fields(request) {
        return build_with(request, settings, reply, true).0;
    }
    message
}

/// Whether the client reads options from `file` and `sname`. Boot programs and the Linux kernel do not: GRUB ignores
/// `file` after any option 52 (rhboot grub `net/bootp.c`).
fn reads_overloaded_fields(request: &Request<'_>) -> bool {
    request.ask != Ask::Bootp
        && request.identity.stage == Stage::Other
        && request.identity.firmware == Firmware::Other
}

/// Builds the message, with options in empty header fields if `overload` is set. Returns also whether an option was left
/// out because it did not fit.
fn build_with(request: &Request<'_>, settings: &Settings, reply: Reply, overload: bool) -> (Message, bool) {
    let asked = request.message;
    let identifier = request.identifier_for(reply.address(), settings);
    let mut message = header(asked);
    message.yiaddr = reply.address();
    let mut room = match reply {
        Reply::Bootp(_) => Room::for_bootp(asked),
        _ => Room::new(asked, request.arrival.mtu),
    };
    if !settings.echo_client_id {
        room = room.without_client_id();
    }
    let times = |lease| lease_times(request, settings, reply.address(), lease);
    match reply {
        Reply::Offer(_, lease) => room.lease(MessageType::Offer, identifier, times(lease)),
        Reply::Ack(_, lease) => {
            message.ciaddr = asked.ciaddr;
            room.lease(MessageType::Ack, identifier, times(lease));
        }
        Reply::Inform => {
            message.ciaddr = asked.ciaddr;
            room.kind(MessageType::Ack, identifier);
        }
        Reply::Bootp(_) => message.ciaddr = asked.ciaddr,
        Reply::Nak(why) => {
            // RFC 2131 section 4.3.2: the relay agent must broadcast a NAK, because the client's address may be wrong.
            if !asked.giaddr.is_unspecified() {
                message.flags |= FLAG_BROADCAST;
            }
            room.kind(MessageType::Nak, identifier);
            room.push(code::MESSAGE, why.as_bytes());
        }
    }
    if !matches!(reply, Reply::Nak(_)) {
        if settings.subnet_selection
            && let Some(subnet) = asked.options.ip(code::SUBNET_SELECTION)
        {
            // RFC 3011 section 2: a client discards replies without this option.
            room.push(code::SUBNET_SELECTION, &subnet.octets());
        }
        let server = request.server_for(reply.address(), settings);
        let configured = Configured::new(request, settings, request.place(reply.address()), server);
        let takes_configured = boot_fields(&mut message, &mut room, request, &configured, settings.served);
        if overload {
            room.overload(&message);
        }
        network_options(&mut room, request, &configured, takes_configured, settings);
    }
    let is_short = room.is_short();
    room.finish(&mut message);
    (message, is_short)
}

/// The times of a lease of `lease` at `address`.
fn lease_times(request: &Request<'_>, settings: &Settings, address: Ipv4Addr, lease: Duration) -> LeaseTimes {
    let levels = || request.levels(address, settings);
    let renew = levels().find_map(|level| level.renew);
    let rebind = levels().find_map(|level| level.rebind);
    LeaseTimes::new(lease, renew, rebind)
}

/// Builds the header of a reply, with the fields that every reply copies from `asked` (RFC 2131 table 3).
pub fn header(asked: &Message) -> Message {
    Message {
        htype: asked.htype,
        hlen: asked.hlen,
        chaddr: asked.chaddr,
        xid: asked.xid,
        flags: asked.flags,
        giaddr: asked.giaddr,
        ..Message::new(BOOTREPLY)
    }
}

/// Adds `siaddr`, `sname`, `file` and the options of network boot. Returns whether the client gets the configured boot
/// fields and options instead, because it does not boot from here.
///
/// A client without a boot file still gets our address in `siaddr`, because GRUB's own DHCP takes its next server from
/// there.
fn boot_fields(
    message: &mut Message,
    room: &mut Room<'_>,
    request: &Request<'_>,
    configured: &Configured<'_>,
    served: Served,
) -> bool {
    let Request { identity, .. } = request;
    message.siaddr = configured.server;
    let takes_configured = takes_configured_boot(identity);
    let is_configured = takes_configured && identity.stage == Stage::Other && configured.has_boot();
    let choice = request.boot.as_ref().filter(|_| !is_configured);
    match plan(request.message, identity, choice, configured.server, served, Mode::Server) {
        Some(plan) => put(&plan, message, room),
        None if takes_configured => configured.put_header(message),
        None => {}
    }
    takes_configured
}

/// Whether the client gets `next_server`, `server_name`, `boot_file` and the boot options of the configuration. Programs
/// that boot from the network get those of lanboot instead.
fn takes_configured_boot(identity: &Identity) -> bool {
    let boots = identity.stage.is_network_boot() || identity.is_raspberry_pi();
    !boots && !matches!(identity.firmware, Firmware::Grub | Firmware::UBoot | Firmware::Pxelinux)
}

/// Adds the boot fields and options of `plan` to a reply.
pub fn put(plan: &Plan, message: &mut Message, room: &mut Room<'_>) {
    message.siaddr = plan.siaddr;
    message.sname = plan.sname;
    message.file = plan.file;
    plan.options.iter().for_each(|(code, value)| _ = room.push(*code, value));
}

/// The options configured for a client, in the order of precedence: its machine's, its classes', its pool's, its
/// subnet's, and those for every subnet.
struct Configured<'a> {
    levels: Vec<&'a Level>,
    server: Ipv4Addr,
    mask: [u8; 4],
    broadcast: [u8; 4],
}

impl<'a> Configured<'a> {
    /// The options for a client that has or gets `address`.
    fn new(
        request: &'a Request<'_>,
        settings: &'a Settings,
        address: Ipv4Addr,
        server: Ipv4Addr,
    ) -> Configured<'a> {
        let subnet = request.subnet_of(address, settings);
        Configured {
            levels: request.levels(address, settings).collect(),
            server,
            mask: subnet.network.mask().octets(),
            broadcast: subnet.network.broadcast().octets(),
        }
    }

    fn get(&self, code: u8) -> Option<Cow<'_, [u8]>> {
        if matches!(code, code::VENDOR_IDENTIFYING_CLASS | code::VENDOR_IDENTIFYING_INFORMATION) {
            return enterprises::merged(&self.levels, code).map(Cow::Owned);
        }
        match (self.levels.iter().find_map(|level| level.options.get(code)), code) {
            (Some(value), _) => value.bytes(self.server),
            (None, code::SUBNET_MASK) => Some(self.mask[..].into()),
            (None, code::BROADCAST_ADDRESS) => Some(self.broadcast[..].into()),
            (None, _) => None,
        }
    }

    /// The configured option codes, each once, in ascending order.
    fn codes(&self) -> BTreeSet<u8> {
        self.levels.iter().flat_map(|level| level.options.codes()).collect()
    }

    /// Whether a boot file or its server is configured for clients that do not boot from the network.
    fn has_boot(&self) -> bool {
        let sets = |level: &&Level| {
            let options = [code::TFTP_SERVER_NAME, code::BOOT_FILE_NAME];
            level.next_server.is_some()
                || level.server_name.is_some()
                || level.boot_file.is_some()
                || options.iter().any(|code| level.options.get(*code).is_some())
        };
        self.levels.iter().any(sets)
    }

    /// Sets the header fields to the configured values.
    fn put_header(&self, message: &mut Message) {
        let mut levels = self.levels.iter();
        match levels.find_map(|level| level.next_server) {
            Some(NextServer::Address(address)) => message.siaddr = address,
            Some(NextServer::Ours) | None => {}
        }
        let name = self.levels.iter().find_map(|level| level.server_name.as_ref());
        let file = self.levels.iter().find_map(|level| level.boot_file.as_ref());
        message.sname = name.and_then(|name| padded(name.as_bytes())).unwrap_or([0; 64]);
        message.file = file.and_then(|file| padded(file.as_bytes())).unwrap_or([0; 128]);
    }

    /// The codes of the options that are sent unasked, as often as the levels name them.
    fn always_sent(&self) -> impl Iterator<Item = u8> {
        self.levels.iter().flat_map(|level| level.always_send.iter().copied())
    }
}

/// Adds the configured options: first those that need not be asked for, then those in the parameter request list in its
/// order. Without a list, all are added. Options of network boot are added only for clients that get the configured
/// ones.
fn network_options(
    room: &mut Room<'_>,
    request: &Request<'_>,
    configured: &Configured<'_>,
    takes_boot: bool,
    settings: &Settings,
) {
    let list = request.message.options.get(code::PARAMETER_REQUEST_LIST);
    let asks_for = |code| list.is_some_and(|list| list.contains(&code));
    let push = |room: &mut Room<'_>, code| configured.get(code).is_some_and(|value| room.push(code, &value));
    push(room, code::SUBNET_MASK);
    // RFC 3442: a client that asks for classless routes must ignore the router option and the static routes, so they
    // would only waste space.
    let routes = asks_for(code::CLASSLESS_ROUTES) && push(room, code::CLASSLESS_ROUTES);
    let wanted = |code: &u8| {
        let is_replaced = routes && matches!(*code, code::ROUTER | code::STATIC_ROUTES);
        !is_replaced && (takes_boot || !BOOT_OPTIONS.contains(code))
    };
    UNASKED.into_iter().filter(wanted).for_each(|code| _ = push(room, code));
    if request.identity.stage.is_network_boot() {
        UNASKED_BY_FIRMWARE.into_iter().for_each(|code| _ = push(room, code));
    }
    if request.ask != Ask::Bootp
        && let Some(value) = request.message.options.get(code::FQDN)
    {
        let domain = configured.get(code::DOMAIN);
        let domain = domain.as_deref().and_then(|domain| str::from_utf8(domain).ok());
        let suffix = settings.fqdn_suffix.as_deref().or(domain);
        let reserved = request.machine.and_then(|machine| machine.level.options.constant(code::HOSTNAME));
        let answer = match reserved {
            Some(name) => fqdn::answer_with_name(value, suffix, name),
            None => fqdn::answer(value, suffix, configured.get(code::HOSTNAME).as_deref()),
        };
        answer.iter().for_each(|answer| _ = room.push(code::FQDN, answer));
    }
    let unasked = configured.always_sent().filter(|code| !ONLY_ASKED.contains(code) && wanted(code));
    unasked.for_each(|code| _ = push(room, code));
    match list {
        Some(list) => list.iter().copied().filter(wanted).for_each(|code| _ = push(room, code)),
        None => {
            let all =
                configured.codes().into_iter().filter(|code| !ONLY_ASKED.contains(code) && wanted(code));
            all.for_each(|code| _ = push(room, code));
        }
    }
}
