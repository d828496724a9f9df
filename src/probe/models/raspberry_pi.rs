//! The boot ROMs of Raspberry Pis, whose sources are not available. The rules come from the documentation
//! (`boot-net.adoc`, `eeprom-bootloader.adoc`) and from issues in raspberrypi/firmware and raspberrypi/rpi-eeprom.

use std::net::Ipv4Addr;

use super::menu::Menu;
use super::packet::{Packet, dotted_quad, walk};
use crate::probe::models::verdict::{
    Boot, Code, Firmware, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails,
    failure,
};
use crate::wire::dhcp::MessageType;
use crate::wire::option::code;

/// The text in option 43 that makes a Pi accept an offer (`boot-net.adoc`; firmware#894 for the format).
const MENU_TEXT: &[u8] = b"Raspberry Pi Boot";

/// Returns the machine's reaction to these replies.
pub(super) fn judge(firmware: Firmware, replies: &[ReceivedReply<'_>]) -> Verdict {
    match firmware {
        Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus => rom(firmware, replies),
        _ => eeprom(replies),
    }
}

fn of_kind<'a>(received: &ReceivedReply<'a>, kind: MessageType) -> Option<Packet<'a>> {
    let packet = Packet::new(received.payload).filter(|packet| packet.has_cookie())?;
    (packet.first(code::MESSAGE_TYPE) == Some(&[kind.number()][..])).then_some(packet)
}

fn has_menu(packet: &Packet<'_>) -> bool {
    let vendor = packet.first(code::VENDOR_SPECIFIC).unwrap_or_default();
    vendor.windows(MENU_TEXT.len()).any(|window| window == MENU_TEXT)
}

/// The mask ROM of the Pi 3. It uses the offers and never requests the address (firmware#1699), combines one server's
/// address with another's menu, and always loads `bootcode.bin`. Relayed offers fail (linux#1638).
fn rom(firmware: Firmware, replies: &[ReceivedReply<'_>]) -> Verdict {
    let offers: Vec<Packet<'_>> = answers(replies, RequestKind::Discover)
        .filter_map(|received| of_kind(received, MessageType::Offer))
        .collect();
    if offers.iter().all(|offer| offer.yiaddr().is_unspecified()) {
        return fails(Code::Silent, "it received no offer of an address");
    }
    let Some(source) = offers.iter().find(|offer| has_menu(offer)) else {
        return fails(Code::Silent, "option 43 does not hold the text `Raspberry Pi Boot`");
    };
    if firmware == Firmware::RaspberryPi3 && source.hops() != 0 {
        return fails(Code::Silent, "the offer came through a relay agent, which this ROM does not take");
    }
    let server = if firmware == Firmware::RaspberryPi3 { last_named(*source) } else { named(*source) };
    load(*source, server, b"bootcode.bin")
}

/// Returns the server for a Pi 3: the DHCP server, unless option 66 or 43.8 names another. The last reply counts, and
/// siaddr is ignored (firmware#801, #871).
fn last_named(packet: Packet<'_>) -> Option<Ipv4Addr> {
    let (options, _) = walk(packet.options());
    let named = options.iter().rev().find_map(|option| match option.code {
        code::TFTP_SERVER_NAME => dotted_quad(option.value),
        code::VENDOR_SPECIFIC => {
            let menu = Menu::read(option.value);
            menu.servers.iter().find_map(|(_, servers)| servers.first().copied())
        }
        _ => None,
    });
    named.or_else(|| packet.address(code::SERVER_IDENTIFIER))
}

/// Returns the server for a Pi 3B+, 4 or 5: siaddr, else option 66, else the DHCP server.
fn named(packet: Packet<'_>) -> Option<Ipv4Addr> {
    let siaddr = Some(packet.siaddr()).filter(|address| !address.is_unspecified());
    let by_option = || packet.first(code::TFTP_SERVER_NAME).and_then(dotted_quad);
    siaddr.or_else(by_option).or_else(|| packet.address(code::SERVER_IDENTIFIER))
}

/// The EEPROM of the Pi 4 and 5: a complete DHCP exchange and the same menu text (`PXE_OPTION43`). Files are in the
/// folder of the serial number, or else in the root. `config.txt` is the first file that both models require.
fn eeprom(replies: &[ReceivedReply<'_>]) -> Verdict {
    let offers: Vec<Packet<'_>> = answers(replies, RequestKind::Discover)
        .filter_map(|received| of_kind(received, MessageType::Offer))
        .collect();
    let Some(offer) = offers.iter().find(|offer| !offer.yiaddr().is_unspecified()) else {
        return fails(Code::Silent, "it received no offer of an address");
    };
    let Some(source) = offers.iter().find(|offer| has_menu(offer)) else {
        return fails(Code::Silent, "option 43 does not hold the text `Raspberry Pi Boot`");
    };
    let is_acked = answers(replies, RequestKind::Request)
        .filter_map(|received| of_kind(received, MessageType::Ack))
        .any(|ack| ack.yiaddr() == offer.yiaddr());
    if !is_acked {
        let server = offer.address(code::SERVER_IDENTIFIER).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let unanswered = failure(Code::Silent, "the server does not answer the REQUEST");
        return Verdict::Requests { server, address: offer.yiaddr(), unanswered };
    }
    load(*source, named(*source), b"config.txt")
}

fn load(source: Packet<'_>, server: Option<Ipv4Addr>, file: &[u8]) -> Verdict {
    let Some(server) = server else { return fails(Code::Silent, "no option names a TFTP server") };
    boots(Boot {
        by: Protocol::Tftp,
        server: server.to_string(),
        file: file.to_vec(),
        announced: None,
        kept: KeptReplies { ack: source.0.to_vec(), ..KeptReplies::default() },
    })
}
