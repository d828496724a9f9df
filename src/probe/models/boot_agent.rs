//! A BIOS PXE ROM such as Intel Boot Agent, whose sources are not available. The rules come from PXE 2.1 (sections 2.2
//! to 2.4 and table 2-1), from authors of servers (dnsmasq `rfc2131.c` and CHANGELOG, syslinux `doc/pxelinux.txt`,
//! pixiecore `dhcp.go`), and from Intel's and Broadcom's lists of error codes. The model is not compared with a real
//! ROM, because none is free to run.

use std::net::SocketAddrV4;

use super::menu::{LOCAL, Menu};
use super::packet::{OPTIONS, Packet, dotted_quad, walk};
use crate::probe::models::verdict::{
    Boot, Code, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails, failure,
};
use crate::wire::dhcp::{MessageType, until_nul};
use crate::wire::option::code;
use crate::wire::pxe::PXE_CLIENT;

const BOOT_SERVER_PORT: u16 = 4011;
/// The ROM cannot reassemble fragments (dnsmasq CHANGELOG 2.51) and has a buffer for one Ethernet frame.
const MAX_LEN: usize = 1472;

/// Returns the machine's reaction to these replies.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let offers: Vec<Packet<'_>> = answers(replies, RequestKind::Discover)
        .filter_map(|received| reply(received, MessageType::Offer))
        .collect();
    let with_address = |packet: &&Packet<'_>| !packet.yiaddr().is_unspecified();
    let proxies = || offers.iter().filter(|packet| packet.yiaddr().is_unspecified() && is_pxe(**packet));
    // A complete offer of one server is preferred to the offers of two (PXE 2.1 section 2.2.4).
    let by_merit = |packet: &&Packet<'_>| (!is_pxe(**packet), file(**packet).is_empty());
    let Some(offer) = offers.iter().filter(with_address).min_by_key(by_merit) else {
        return match proxies().next() {
            Some(_) => fails(Code::E52, "a proxyDHCP server answered and no DHCP server gave an address"),
            None => fails(
                Code::E51,
                "it received no offer that it can use: with option 54 and of at most 1472 bytes",
            ),
        };
    };
    let server = offer.address(code::SERVER_IDENTIFIER).unwrap_or(offer.siaddr());
    let acked = answers(replies, RequestKind::Request).find_map(|received| {
        let ack = reply(received, MessageType::Ack)?;
        (ack.yiaddr() == offer.yiaddr()).then_some(ack)
    });
    let Some(ack) = acked else {
        let unanswered = failure(Code::E51, "the server does not answer the REQUEST");
        return Verdict::Requests { server, address: offer.yiaddr(), unanswered };
    };
    let proxy = proxies().next().copied().filter(|_| !is_pxe(*offer));
    follow(replies, ack, proxy)
}

/// Returns a reply of this kind with a server identifier, which PXE 2.1 table 2-1 requires.
fn reply<'a>(received: &ReceivedReply<'a>, kind: MessageType) -> Option<Packet<'a>> {
    let packet =
        Packet::new(received.payload).filter(|packet| packet.has_cookie() && packet.0.len() <= MAX_LEN)?;
    let server = packet.address(code::SERVER_IDENTIFIER).filter(|server| !server.is_unspecified());
    (packet.first(code::MESSAGE_TYPE) == Some(&[kind.number()][..]) && server.is_some()).then_some(packet)
}

fn is_pxe(packet: Packet<'_>) -> bool {
    packet.first(code::VENDOR_CLASS).is_some_and(|value| value.starts_with(PXE_CLIENT))
}

/// Returns the header's file, else option 67. Without a NUL there, the ROM reads on into the next option's code or END
/// (netbootxyz/netboot.xyz#1198).
fn file(packet: Packet<'_>) -> &[u8] {
    let header = until_nul(packet.file());
    if !header.is_empty() {
        return header;
    }
    let (found, _) = walk(packet.options());
    let Some(option) = found.into_iter().find(|option| option.code == code::BOOT_FILE_NAME) else {
        return &[];
    };
    until_nul(packet.0.get(OPTIONS.saturating_add(option.start)..).unwrap_or_default())
}

/// Continues after the ACK: with the file, the menu, or a request to port 4011.
fn follow(replies: &[ReceivedReply<'_>], ack: Packet<'_>, proxy: Option<Packet<'_>>) -> Verdict {
    let source = proxy.unwrap_or(ack);
    let kept = KeptReplies { ack: ack.0.to_vec(), proxy: proxy.map(|proxy| proxy.0.to_vec()), reply: None };
    let vendor = source.first(code::VENDOR_SPECIFIC).filter(|_| is_pxe(source));
    let menu = vendor.map(Menu::read).unwrap_or_default();
    let has_file = !file(source).is_empty();
    if !is_pxe(source) || (menu.boots_file_at_once() && has_file) {
        return load(source, kept);
    }
    let to = match (menu.has(9), menu.choices.first().copied(), menu.timeout) {
        (true, _, None | Some(255)) => return Verdict::WaitsForUser,
        (true, Some(LOCAL), _) => return Verdict::BootsLocally,
        (true, Some(item), _) => match menu.servers_of(item).next() {
            Some(server) => server,
            None => return fails(Code::E53, format!("option 43 lists no boot server for menu item {item}")),
        },
        // Option 60 without option 43 means a boot server at the same address.
        _ => source.address(code::SERVER_IDENTIFIER).unwrap_or(source.siaddr()),
    };
    let item = menu.choices.first().copied().filter(|_| menu.has(9));
    match answers(replies, RequestKind::BootServer).find_map(|received| reply(received, MessageType::Ack)) {
        Some(answer) if file(answer).is_empty() => {
            fails(Code::E53, "the answer on port 4011 names no boot file")
        }
        Some(answer) => load(answer, KeptReplies { reply: Some(answer.0.to_vec()), ..kept }),
        None => {
            let why = "option 60 is PXEClient and no server answers on port 4011";
            let unanswered = Box::new(fails(Code::E55, why));
            Verdict::AsksBootServer { to: SocketAddrV4::new(to, BOOT_SERVER_PORT), item, unanswered }
        }
    }
}

fn load(source: Packet<'_>, kept: KeptReplies) -> Verdict {
    let name = file(source).to_vec();
    if name.is_empty() {
        return fails(Code::E53, "no reply names a boot file");
    }
    let siaddr = Some(source.siaddr()).filter(|address| !address.is_unspecified());
    let named = || source.first(code::TFTP_SERVER_NAME).and_then(dotted_quad);
    let server = siaddr.or_else(named).or_else(|| source.address(code::SERVER_IDENTIFIER));
    match server {
        Some(server) => {
            let server = server.to_string();
            boots(Boot { by: Protocol::Tftp, server, file: name, announced: None, kept })
        }
        None => fails(Code::E53, "no reply names the boot file's server"),
    }
}
