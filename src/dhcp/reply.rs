//! Builds replies: the header, the boot fields, and as many options as fit, in the order of need. Called by
//! `decision.rs`, `proxy.rs` and `bsdp.rs`. It never decides whether a client is answered.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::fetch::Served;
use crate::boot::plan::{Mode, Plan, plan};
use crate::dhcp::fqdn;
use crate::dhcp::option_space::Room;
use crate::dhcp::options::OptionSet;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::Settings;
use crate::wire::dhcp::{BOOTREPLY, FLAG_BROADCAST, Message, MessageType};
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

/// Builds the message of `reply` to `request`, with the fields of RFC 2131 table 3.
pub fn build(request: &Request<'_>, settings: &Settings, reply: Reply) -> Message {
    let asked = request.message;
    let identifier = request.identifier_for(reply.address(), settings);
    let mut message = header(asked);
    message.yiaddr = reply.address();
    let mut room = match reply {
        Reply::Bootp(_) => Room::for_bootp(asked),
        _ => Room::new(asked, request.arrival.mtu),
    };
    match reply {
        Reply::Offer(_, lease) => room.lease(MessageType::Offer, identifier, lease),
        Reply::Ack(_, lease) => {
            message.ciaddr = asked.ciaddr;
            room.lease(MessageType::Ack, identifier, lease);
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
        boot_fields(&mut message, &mut room, request, server, settings.served);
        let address = request.place(reply.address());
        network_options(&mut room, request, &Configured::new(request, settings, address), settings);
    }
    message.options = room.into_options();
    message
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

/// Adds `siaddr`, `sname`, `file` and the options of network boot. A client without a boot file still gets our address
/// in `siaddr`, because GRUB's own DHCP takes its next server from there.
fn boot_fields(
    message: &mut Message,
    room: &mut Room<'_>,
    request: &Request<'_>,
    server: Ipv4Addr,
    served: Served,
) {
    message.siaddr = server;
    let choice = request.boot.as_ref();
    if let Some(plan) = plan(request.message, &request.identity, choice, server, served, Mode::Server) {
        put(&plan, message, room);
    }
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
    sets: Vec<&'a OptionSet>,
    mask: [u8; 4],
    broadcast: [u8; 4],
}

impl<'a> Configured<'a> {
    /// The options for a client that has or gets `address`.
    fn new(request: &Request<'a>, settings: &'a Settings, address: Ipv4Addr) -> Configured<'a> {
        let subnet = request.subnet_of(address, settings);
        let machine = request.machine.map(|machine| &machine.options);
        let classes = request.classes.iter().map(|class| &class.options);
        let pool = subnet.pool_of(address).map(|pool| &pool.options);
        let sets = machine.into_iter().chain(classes).chain(pool);
        Configured {
            sets: sets.chain([&subnet.options, &settings.options]).collect(),
            mask: subnet.network.mask().octets(),
            broadcast: subnet.network.broadcast().octets(),
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        let set = self.sets.iter().find_map(|set| set.get(&code)).map(Vec::as_slice);
        set.or(match code {
            code::SUBNET_MASK => Some(&self.mask),
            code::BROADCAST_ADDRESS => Some(&self.broadcast),
            _ => None,
        })
    }

    /// The configured option codes, each once, in ascending order.
    fn codes(&self) -> BTreeSet<u8> {
        self.sets.iter().flat_map(|set| set.keys().copied()).collect()
    }
}

/// Adds the configured options: first those that need not be asked for, then those in the parameter request list in its
/// order. Without a list, all are added.
fn network_options(
    room: &mut Room<'_>,
    request: &Request<'_>,
    configured: &Configured<'_>,
    settings: &Settings,
) {
    let list = request.message.options.get(code::PARAMETER_REQUEST_LIST);
    let asks_for = |code| list.is_some_and(|list| list.contains(&code));
    let push = |room: &mut Room<'_>, code| configured.get(code).is_some_and(|value| room.push(code, value));
    push(room, code::SUBNET_MASK);
    // RFC 3442: a client that supports classless routes must ignore the router option, so that option would only waste
    // space.
    let routes = asks_for(code::CLASSLESS_ROUTES) && push(room, code::CLASSLESS_ROUTES);
    let wanted = |code: &u8| !(routes && *code == code::ROUTER);
    UNASKED.into_iter().filter(wanted).for_each(|code| _ = push(room, code));
    if request.identity.stage.is_network_boot() {
        UNASKED_BY_FIRMWARE.into_iter().for_each(|code| _ = push(room, code));
    }
    if request.ask != Ask::Bootp
        && let Some(value) = request.message.options.get(code::FQDN)
    {
        let domain = configured.get(code::DOMAIN).and_then(|domain| str::from_utf8(domain).ok());
        let suffix = settings.fqdn_suffix.as_deref().or(domain);
        let answer = fqdn::answer(value, suffix, configured.get(code::HOSTNAME));
        answer.iter().for_each(|answer| _ = room.push(code::FQDN, answer));
    }
    match list {
        Some(list) => list.iter().copied().filter(wanted).for_each(|code| _ = push(room, code)),
        None => {
            let all = configured.codes().into_iter().filter(|code| !ONLY_ASKED.contains(code));
            all.for_each(|code| _ = push(room, code));
        }
    }
}
