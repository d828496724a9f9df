//! iPXE (`src/net/udp/dhcp.c`, `dhcppkt.c`, `dhcpopts.c`, `src/usr/autoboot.c`, `pxemenu.c`).
//!
//! iPXE reads options at their usual offset with or without a cookie, uses only the first option of a code, and prefers
//! a header field to its option. It takes the last of equal offers. It waits 2 s for a proxyDHCP server, unless it
//! already has a proxy's offer or an instruction not to wait. It then keeps the ACK and the proxy's reply as two blocks
//! of settings, of which the ACK's comes first.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::edk2_http;
use super::menu::{LOCAL, Menu};
use super::packet::{OPTIONS, Packet, address_at, first};
use crate::probe::models::verdict::{
    Boot, Code, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails, failure,
};
use crate::wire::dhcp::{MessageType, until_nul};
use crate::wire::option::code;
use crate::wire::pxe::PXE_CLIENT;

const BOOT_SERVER_PORT: u16 = 4011;
/// Suboptions of option 175 (`include/ipxe/dhcp.h`).
const PRIORITY: u8 = 1;
const SIADDR: u8 = 3;
const NO_PXEDHCP: u8 = 176;

/// A reply as a block of settings.
#[derive(Clone, Copy, Debug)]
struct Settings<'a>(Packet<'a>);

impl<'a> Settings<'a> {
    /// Returns `None` for packets that are too short (`dhcp_deliver`, since July 2026; earlier versions read past their
    /// end).
    fn new(payload: &'a [u8]) -> Option<Settings<'a>> {
        Packet::new(payload).filter(|packet| packet.0.len() >= OPTIONS).map(Settings)
    }

    fn encapsulated(self, outer: u8, inner: u8) -> Option<&'a [u8]> {
        first(self.0.first(outer)?, inner)
    }

    fn number(self, outer: u8, inner: u8) -> u8 {
        self.encapsulated(outer, inner).and_then(|value| value.first().copied()).unwrap_or(0)
    }

    /// Returns option 54; 0.0.0.0 if it is absent, which iPXE accepts (`dhcp_deliver`).
    fn server(self) -> Ipv4Addr {
        self.0.address(code::SERVER_IDENTIFIER).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Returns the address of a proxy: option 54, else siaddr, else the source.
    fn proxy_server(self, source: SocketAddrV4) -> Ipv4Addr {
        let known = [self.server(), self.0.siaddr()].into_iter().find(|address| !address.is_unspecified());
        known.unwrap_or(*source.ip())
    }

    fn kind(self) -> Option<MessageType> {
        self.0.first(code::MESSAGE_TYPE).and_then(|value| MessageType::from_number(*value.first()?))
    }

    fn is_bootp(self) -> bool {
        self.0.first(code::MESSAGE_TYPE).and_then(|value| value.first()).is_none_or(|kind| *kind == 0)
    }

    fn is_pxe(self) -> bool {
        self.0.first(code::VENDOR_CLASS).is_some_and(|value| value.starts_with(PXE_CLIENT))
    }

    /// Returns the header's file, else option 67 (`dhcppkt_fetch`).
    fn filename(self) -> Option<&'a [u8]> {
        let header = until_nul(self.0.file());
        if header.is_empty() { self.0.first(code::BOOT_FILE_NAME) } else { Some(header) }
    }

    /// Returns siaddr, else its equivalent in option 175. Option 66 is ignored.
    fn next_server(self) -> Option<Ipv4Addr> {
        let siaddr = Some(self.0.siaddr()).filter(|address| !address.is_unspecified());
        siaddr.or_else(|| self.encapsulated(code::ETHERBOOT, SIADDR).and_then(|value| address_at(value, 0)))
    }

    /// Whether a proxy's reply is complete, so that iPXE does not ask port 4011 (`dhcp_has_pxeopts`).
    fn has_pxe_options(self) -> bool {
        let names_file =
            self.filename().is_some_and(|name| !name.is_empty()) && !self.0.siaddr().is_unspecified();
        names_file || self.encapsulated(code::VENDOR_SPECIFIC, 9).is_some_and(|menu| !menu.is_empty())
    }
}

/// The replies before the REQUEST (`dhcp_discovery_rx`).
#[derive(Default)]
struct Discovery<'a> {
    offer: Option<(Ipv4Addr, Settings<'a>)>,
    priority: i8,
    no_proxy: bool,
    proxy: Option<(Ipv4Addr, Settings<'a>)>,
    proxy_priority: i8,
}

impl<'a> Discovery<'a> {
    fn hear(&mut self, received: &ReceivedReply<'a>) {
        let Some(reply) = Settings::new(received.payload) else { return };
        let priority = i8::from_be_bytes([reply.number(code::ETHERBOOT, PRIORITY)]);
        let address = reply.0.yiaddr();
        let is_offer = reply.is_bootp() || reply.kind() == Some(MessageType::Offer);
        if !address.is_unspecified() && received.source.port() == 67 && is_offer && priority >= self.priority
        {
            self.offer = Some((address, reply));
            self.priority = priority;
            self.no_proxy = reply.number(code::ETHERBOOT, NO_PXEDHCP) != 0;
        }
        let server = reply.proxy_server(received.source);
        if !server.is_unspecified() && reply.is_pxe() && priority >= self.proxy_priority {
            self.proxy = Some((server, reply));
            self.proxy_priority = priority;
        }
    }

    fn is_enough(&self) -> bool {
        self.offer.is_some() && (self.no_proxy || self.proxy.is_some())
    }
}

/// Returns the machine's reaction to these replies.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let mut discovery = Discovery::default();
    for replies in answers(replies, RequestKind::Discover) {
        discovery.hear(replies);
        // Otherwise iPXE waits 2 s for a proxy and then uses the replies at hand.
        if discovery.is_enough() {
            break;
        }
    }
    let Some((address, offer)) = discovery.offer else {
        let why = match discovery.proxy {
            Some(_) => "a proxyDHCP server answered and no DHCP server gave an address",
            None => "it received no offer of an address from port 67",
        };
        return fails(Code::NoConfiguration, why);
    };
    let is_ack = |received: &&ReceivedReply<'_>| {
        let reply = Settings::new(received.payload)?;
        let is_kind = reply.is_bootp() || reply.kind() == Some(MessageType::Ack);
        let is_ours = reply.server() == offer.server() && reply.0.yiaddr() == address;
        (is_kind && is_ours && received.source.port() == 67).then_some(())
    };
    let Some(ack) = answers(replies, RequestKind::Request).find(|received| is_ack(received).is_some()) else {
        let unanswered = failure(Code::NoConfiguration, "the server does not answer the REQUEST");
        return Verdict::Requests { server: offer.server(), address, unanswered };
    };
    let Some(ack) = Settings::new(ack.payload) else {
        return fails(Code::NoConfiguration, "the ACK is too short");
    };
    let proxy = discovery.proxy.filter(|_| !discovery.no_proxy);
    match proxy {
        None => boot(replies, ack, None),
        Some((_, proxy)) if proxy.has_pxe_options() => boot(replies, ack, Some(proxy)),
        Some((server, _)) => ask_proxy(replies, ack, server),
    }
}

/// Asks the proxy on port 4011. After 2 s without an answer, iPXE continues with the ACK (`dhcp_proxy_rx`,
/// `dhcp_proxy_expired`).
fn ask_proxy(replies: &[ReceivedReply<'_>], ack: Settings<'_>, server: Ipv4Addr) -> Verdict {
    let answer = answers(replies, RequestKind::BootServer).find_map(|received| {
        let reply = Settings::new(received.payload)?;
        let is_kind = matches!(reply.kind(), Some(MessageType::Offer | MessageType::Ack));
        let is_from =
            received.source.port() == BOOT_SERVER_PORT && reply.proxy_server(received.source) == server;
        (is_kind && is_from && reply.has_pxe_options()).then_some(reply)
    });
    match answer {
        Some(answer) => boot(replies, ack, Some(answer)),
        None => Verdict::AsksBootServer {
            to: SocketAddrV4::new(server, BOOT_SERVER_PORT),
            item: None,
            unanswered: Box::new(boot(replies, ack, None)),
        },
    }
}

/// Shows the menu if there is one, else loads the file (`netboot`, `have_pxe_menu`).
fn boot(replies: &[ReceivedReply<'_>], ack: Settings<'_>, proxy: Option<Settings<'_>>) -> Verdict {
    let blocks: Vec<Settings<'_>> = std::iter::once(ack).chain(proxy).collect();
    let named = blocks.iter().copied().find(|block| block.filename().is_some());
    let is_pxe =
        blocks.iter().find(|block| block.0.first(code::VENDOR_CLASS).is_some()).is_some_and(|b| b.is_pxe());
    let suboption = |inner| blocks.iter().find_map(|block| block.encapsulated(code::VENDOR_SPECIFIC, inner));
    let with_item =
        |inner| blocks.iter().find(|block| block.encapsulated(code::VENDOR_SPECIFIC, inner).is_some());
    let control = suboption(6).and_then(|value| value.first().copied()).unwrap_or(0);
    let skips = control & 8 != 0 && named.is_some();
    let kept =
        KeptReplies { ack: ack.0.0.to_vec(), proxy: proxy.map(|proxy| proxy.0.0.to_vec()), reply: None };
    match with_item(9).filter(|_| is_pxe && !skips) {
        Some(block) => {
            let vendor = block.0.first(code::VENDOR_SPECIFIC).unwrap_or_default();
            menu(replies, &Menu::read(vendor), kept)
        }
        None => match named {
            Some(block) => load(block, kept),
            None => fails(Code::NothingToBoot, "no reply names a boot file"),
        },
    }
}

/// Shows prompt and menu, and asks the boot server (`pxe_menu_boot`, `start_pxebs`, `dhcp_pxebs_rx`). Without a prompt
/// the menu waits forever.
fn menu(replies: &[ReceivedReply<'_>], menu: &Menu, kept: KeptReplies) -> Verdict {
    if menu.timeout.is_none_or(|seconds| seconds == 255) {
        return Verdict::WaitsForUser;
    }
    let Some(item) = menu.choices.first().copied() else {
        return fails(Code::NothingToBoot, "the boot menu in option 43 is empty");
    };
    if item == LOCAL {
        return Verdict::BootsLocally;
    }
    let multicast = menu.multicast.filter(|to| menu.may_multicast() && !to.is_unspecified());
    let to = match (multicast, menu.may_broadcast(), menu.servers_of(item).next()) {
        (Some(to), ..) => SocketAddrV4::new(to, BOOT_SERVER_PORT),
        (None, true, _) => SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        (None, false, Some(to)) => SocketAddrV4::new(to, BOOT_SERVER_PORT),
        (None, false, None) => {
            return fails(
                Code::NothingToBoot,
                format!("option 43 lists no boot server for menu item {item}"),
            );
        }
    };
    let answer = answers(replies, RequestKind::BootServer).find_map(|received| {
        let reply = Settings::new(received.payload)?;
        let answered = reply.0.first(code::VENDOR_SPECIFIC).and_then(|value| Menu::read(value).item);
        let server = reply.proxy_server(received.source);
        let is_accepted = !menu.only_listed() || menu.servers_of(item).any(|listed| listed == server);
        let is_answer = reply.kind() == Some(MessageType::Ack) && answered == Some(item) && is_accepted;
        (is_answer && [67, BOOT_SERVER_PORT].contains(&received.source.port())).then_some(reply)
    });
    let Some(answer) = answer else {
        let silence =
            fails(Code::NothingToBoot, "the boot server does not answer, or without the menu item (43.71)");
        return Verdict::AsksBootServer { to, item: Some(item), unanswered: Box::new(silence) };
    };
    load(answer, KeptReplies { reply: Some(answer.0.0.to_vec()), ..kept })
}

/// Loads the file of one block of settings from the next server of the same block (`fetch_next_server_and_filename`,
/// `pxe_uri`).
fn load(block: Settings<'_>, kept: KeptReplies) -> Verdict {
    let name = until_nul(block.filename().unwrap_or_default());
    if name.is_empty() {
        return fails(Code::NothingToBoot, "the boot file's name is empty");
    }
    let from = |by, server: String, file: Vec<u8>| boots(Boot { by, server, file, announced: None, kept });
    if let Some((by, server, file)) = edk2_http::split(name) {
        return from(by, server, file);
    }
    if let Some((server, path)) = tftp_url(name) {
        return from(Protocol::Tftp, server, path);
    }
    if let Some((scheme, _)) = std::str::from_utf8(name).ok().and_then(|text| text.split_once("://")) {
        return fails(Code::NothingToBoot, format!("this model knows no {scheme} URLs"));
    }
    match block.next_server() {
        Some(server) => from(Protocol::Tftp, server.to_string(), name.to_vec()),
        None => fails(Code::NothingToBoot, "the reply names a boot file and no server: siaddr is 0"),
    }
}

/// Returns host and file of a `tftp` URL. The slash after the host is not part of the name (`tftp_send_rrq`).
fn tftp_url(name: &[u8]) -> Option<(String, Vec<u8>)> {
    let rest = std::str::from_utf8(name).ok()?.strip_prefix("tftp://")?;
    let (server, path) = rest.split_once('/')?;
    Some((server.to_owned(), path.as_bytes().to_vec()))
}
