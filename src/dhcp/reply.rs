//! Builds replies: header, boot fields, and the options that fit, the most needed first.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::plan::plan;
use crate::dhcp::fqdn;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::subnet::{OptionSet, Settings};
use crate::types::Stage;
use crate::wire::dhcp::{
    BOOTREPLY, COOKIE, FLAG_BROADCAST, HEADER_LEN, MIN_LEN, Message, MessageType, Options, encoded_len,
};
use crate::wire::option::code;

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// OFFER of an address and a lease time.
    Offer(Ipv4Addr, Duration),
    /// ACK of an address and a lease time.
    Ack(Ipv4Addr, Duration),
    /// ACK to an INFORM: neither.
    Inform,
    /// The answer to plain BOOTP: an address for good.
    Bootp(Ipv4Addr),
    /// NAK, and why.
    Nak(&'static str),
}

impl Reply {
    /// The address that it gives; unspecified if none.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Reply::Offer(address, _) | Reply::Ack(address, _) | Reply::Bootp(address) => address,
            Reply::Inform | Reply::Nak(_) => Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// The largest datagram a client takes that says nothing (RFC 2131 section 2), and the least that option 57 can say.
const DEFAULT_DATAGRAM: u32 = 576;
/// The largest datagram sent: an Ethernet frame's. EDK2 says 65280 in option 57 and ignores replies over 1472 bytes.
const MAX_DATAGRAM: u32 = 1500;
/// Bytes of an IPv4 and a UDP header.
const IP_UDP_HEADERS: u32 = 28;
/// Bytes of the options that a reply cannot do without: message type, server, and the three times of a lease.
const ESSENTIAL: usize = 3 + 4 * 6;
/// Options every client gets when they are configured, asked for or not: some boot loaders (GRUB) send no list.
const UNASKED: [u8; 3] = [code::SUBNET_MASK, code::ROUTER, code::DNS];
/// Options every network-boot client gets when they are configured: PXELINUX reads them from the reply to the firmware,
/// whose list does not have them (RFC 5071).
const UNASKED_BY_FIRMWARE: [u8; 4] = [
    code::PXELINUX_MAGIC,
    code::PXELINUX_CONFIG_FILE,
    code::PXELINUX_PATH_PREFIX,
    code::PXELINUX_REBOOT_TIME,
];
/// Options that only clients get that ask for them: an empty list is not a wish for IPv6 alone (RFC 8925 section 3.3).
const ONLY_ASKED: [u8; 1] = [code::IPV6_ONLY_PREFERRED];

/// The message that says `reply` to `request`, its fields as in RFC 2131 table 3.
pub fn build(request: &Request<'_>, settings: &Settings, reply: Reply) -> Message {
    let asked = request.message;
    let mut message = Message::new(BOOTREPLY);
    message.htype = asked.htype;
    message.hlen = asked.hlen;
    message.chaddr = asked.chaddr;
    message.xid = asked.xid;
    message.flags = asked.flags;
    message.giaddr = asked.giaddr;
    message.yiaddr = reply.address();
    let mut room = Room::new(request, reply);
    match reply {
        Reply::Offer(_, lease) => room.lease(MessageType::Offer, request.identifier, lease),
        Reply::Ack(_, lease) => {
            message.ciaddr = asked.ciaddr;
            room.lease(MessageType::Ack, request.identifier, lease);
        }
        Reply::Inform => {
            message.ciaddr = asked.ciaddr;
            room.kind(MessageType::Ack, request.identifier);
        }
        Reply::Bootp(_) => {}
        Reply::Nak(why) => {
            // RFC 2131 section 4.3.2: the relay agent must broadcast it, for the client's address may be wrong.
            if !asked.giaddr.is_unspecified() {
                message.flags |= FLAG_BROADCAST;
            }
            room.kind(MessageType::Nak, request.identifier);
            room.push(code::MESSAGE, why.as_bytes());
        }
    }
    if !matches!(reply, Reply::Nak(_)) {
        if settings.subnet_selection
            && let Some(subnet) = asked.options.ip(code::SUBNET_SELECTION)
        {
            // RFC 3011 section 2: a client discards replies without it.
            room.push(code::SUBNET_SELECTION, &subnet.octets());
        }
        boot_fields(&mut message, &mut room, request);
        // The answer to an INFORM gives no address: the client has one already.
        let address = if reply == Reply::Inform { asked.ciaddr } else { reply.address() };
        network_options(&mut room, request, &Configured::new(request, settings, address), settings);
    }
    message.options = room.into_options();
    message
}

/// `siaddr`, `sname`, `file` and the options of network boot. A client that boots nothing from here still learns the
/// server: GRUB's own DHCP takes its next server from `siaddr`.
fn boot_fields(message: &mut Message, room: &mut Room<'_>, request: &Request<'_>) {
    message.siaddr = request.server;
    if let Some(plan) = plan(request.message, &request.identity, request.boot.as_ref(), request.server) {
        message.sname = plan.sname;
        message.file = plan.file;
        plan.options.iter().for_each(|(code, value)| _ = room.push(*code, value));
    }
}

/// What is configured for a client, in the order of precedence: its machine's options, its classes', its subnet's, and
/// those for every subnet.
struct Configured<'a> {
    sets: Vec<&'a OptionSet>,
    mask: [u8; 4],
    broadcast: [u8; 4],
}

impl<'a> Configured<'a> {
    /// What is configured for a client that has or gets `address`.
    fn new(request: &Request<'a>, settings: &'a Settings, address: Ipv4Addr) -> Configured<'a> {
        let subnet = request.subnet_of(address, settings);
        let machine = request.machine.map(|machine| &machine.options);
        let classes = request.classes.iter().map(|class| &class.options);
        Configured {
            sets: machine.into_iter().chain(classes).chain([&subnet.options, &settings.options]).collect(),
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

    /// The codes that somebody wrote, each once, in their order.
    fn codes(&self) -> BTreeSet<u8> {
        self.sets.iter().flat_map(|set| set.keys().copied()).collect()
    }
}

/// The configured options: those nobody need ask for, then those asked for in the order asked, or all if no list was
/// sent.
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
    // RFC 3442: a client that knows classless routes must ignore the router, so it would only take room.
    let routes = asks_for(code::CLASSLESS_ROUTES) && push(room, code::CLASSLESS_ROUTES);
    let wanted = |code: &u8| !(routes && *code == code::ROUTER);
    UNASKED.into_iter().filter(wanted).for_each(|code| _ = push(room, code));
    if matches!(request.identity.stage, Stage::Pxe | Stage::Http | Stage::Ipxe) {
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

/// The options of a reply, and how many bytes are left for more.
struct Room<'a> {
    options: Options,
    left: usize,
    /// What goes back as it came, at the end. Its room is taken already.
    echoed: Vec<(u8, &'a [u8])>,
}

impl<'a> Room<'a> {
    /// Room for options: what the client can take (option 57, at least 576), what the interface carries, and for BOOTP
    /// the 64 bytes of its vendor field.
    ///
    /// The client identifier (RFC 6842) and, last, what the relay agent added (RFC 3046 section 2.2) go back as they
    /// came: unless they are so long that the message type or the lease would have no room.
    fn new(request: &Request<'a>, reply: Reply) -> Room<'a> {
        let asked = &request.message.options;
        let takes =
            asked.u16(code::MAX_MESSAGE_SIZE).map_or(DEFAULT_DATAGRAM, u32::from).max(DEFAULT_DATAGRAM);
        let carries = request.arrival.mtu.clamp(DEFAULT_DATAGRAM, MAX_DATAGRAM);
        let (payload, essential) = match reply {
            Reply::Bootp(_) => (MIN_LEN, 0),
            _ => (takes.min(carries).saturating_sub(IP_UDP_HEADERS) as usize, ESSENTIAL),
        };
        let mut left = payload.saturating_sub(HEADER_LEN + COOKIE.len() + 1);
        let mut echoed = Vec::with_capacity(2);
        for code in [code::RELAY_AGENT_INFORMATION, code::CLIENT_IDENTIFIER] {
            // A client identifier shorter than two bytes is none (RFC 2132 section 9.14).
            let least = if code == code::CLIENT_IDENTIFIER { 2 } else { 0 };
            let Some(value) = asked.get(code).filter(|value| value.len() >= least) else { continue };
            let len = encoded_len(value.len());
            if len + essential <= left {
                left -= len;
                echoed.push((code, value));
            }
        }
        echoed.reverse();
        Room { options: Options::default(), left, echoed }
    }

    /// Adds an option if there is room for all of it; says whether it is in the reply.
    fn push(&mut self, code: u8, value: &[u8]) -> bool {
        let len = encoded_len(value.len());
        let fits = len <= self.left && self.options.push(code, value);
        if fits {
            self.left -= len;
        }
        fits
    }

    fn kind(&mut self, kind: MessageType, server: Ipv4Addr) {
        self.push(code::MESSAGE_TYPE, &[kind.number()]);
        self.push(code::SERVER_IDENTIFIER, &server.octets());
    }

    /// Message type, server and the times of a lease: renewal at a half, rebinding at seven eighths (RFC 2131 4.4.5).
    fn lease(&mut self, kind: MessageType, server: Ipv4Addr, lease: Duration) {
        let seconds = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX);
        self.kind(kind, server);
        self.push(code::LEASE_TIME, &seconds.to_be_bytes());
        self.push(code::RENEWAL_TIME, &(seconds / 2).to_be_bytes());
        self.push(code::REBINDING_TIME, &(seconds - seconds / 8).to_be_bytes());
    }

    fn into_options(mut self) -> Options {
        for (code, value) in self.echoed {
            self.options.push(code, value);
        }
        self.options
    }
}
