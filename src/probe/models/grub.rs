//! GRUB (`grub-core/net/bootp.c`, `drivers/efi/efinet.c`, `kern/main.c`): its own DHCP, and what it takes from the
//! firmware that loaded it.
//!
//! Only the first option of a code counts, an option that reaches to the last byte of the reply does not, and options 66
//! and 67 go before the header. The server is siaddr all the same.

use super::next::Next;
use super::packet::{Found, OPTIONS, Packet, address_at, walk};
use super::{Boot, Code, Heard, Left, Protocol, Question, Verdict, answers, boots, fails, failure};
use crate::wire::dhcp::{MessageType, until_nul};
use crate::wire::option::code;

/// What its own DHCP does with these replies: the variables `net_default_server` and `net_…_boot_file`. It loads nothing
/// by itself.
pub(super) fn judge(heard: &[Heard<'_>]) -> Verdict {
    let mut chosen = None;
    for reply in answers(heard, Question::Discover).filter_map(|heard| Packet::new(heard.payload)) {
        match (kind(reply), address(reply, code::SERVER_IDENTIFIER)) {
            // No message type, or none that can be found: a BOOTP reply, and the end of it (`grub_net_process_dhcp`).
            (None, _) if chosen.is_none() => return configured(reply),
            (Some(kind), Some(server)) if kind == MessageType::Offer.number() && !server.is_unspecified() => {
                chosen = chosen.or(Some((server, reply.yiaddr())));
            }
            _ => {}
        }
    }
    let Some((server, address)) = chosen else {
        return fails(Code::Silent, "couldn't autoconfigure: it heard no OFFER with option 54");
    };
    let ack = answers(heard, Question::Request).filter_map(|heard| Packet::new(heard.payload)).find(|ack| {
        kind(*ack) == Some(MessageType::Ack.number())
            && self::address(*ack, code::SERVER_IDENTIFIER) == Some(server)
    });
    match ack {
        Some(ack) => configured(ack),
        None => {
            let unanswered = failure(Code::Silent, "couldn't autoconfigure: no ACK from the server it chose");
            Verdict::Requests { server, address, unanswered }
        }
    }
}

fn kind(packet: Packet<'_>) -> Option<u8> {
    match find(packet, code::MESSAGE_TYPE)? {
        [kind] => Some(*kind),
        _ => None,
    }
}

fn address(packet: Packet<'_>, code: u8) -> Option<std::net::Ipv4Addr> {
    find(packet, code).filter(|value| value.len() == 4).and_then(|value| address_at(value, 0))
}

/// `find_dhcp_option`: the options field, and behind its END the overloaded fields.
fn find(packet: Packet<'_>, wanted: u8) -> Option<&[u8]> {
    if !packet.has_cookie() {
        return None;
    }
    let overload = match whole(packet.options()).find(|option| option.code == code::OVERLOAD).map(|o| o.value)
    {
        Some([fields]) if packet.options().contains(&255) => *fields,
        _ => 0,
    };
    let areas =
        [(packet.options(), true), (packet.file(), overload & 1 != 0), (packet.sname(), overload & 2 != 0)];
    let mut read = areas.into_iter().filter(|(_, is_read)| *is_read);
    read.find_map(|(area, _)| whole(area).find(|option| option.code == wanted)).map(|option| option.value)
}

/// The options of an area that end before its last byte.
fn whole(area: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let ends_inside = |option: &Found<'_>| option.start.saturating_add(option.value.len()) < area.len();
    walk(area).0.into_iter().take_while(ends_inside)
}

/// Whether any overload at all hides the header's file: a slip in GRUB, `&&` where `&` was meant.
fn file(packet: Packet<'_>) -> Vec<u8> {
    let option = find(packet, code::BOOT_FILE_NAME).filter(|value| !value.is_empty());
    let is_overloaded =
        find(packet, code::OVERLOAD).is_some_and(|value| matches!(value, [fields] if *fields != 0));
    let header = packet.file();
    let name = option.unwrap_or(if is_overloaded { &[] } else { header });
    until_nul(name).to_vec()
}

/// siaddr; else option 66 or the header's server name, as they stand.
fn server(packet: Packet<'_>) -> Option<String> {
    if !packet.siaddr().is_unspecified() {
        return Some(packet.siaddr().to_string());
    }
    let overload = find(packet, code::OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
    let option = find(packet, code::TFTP_SERVER_NAME).filter(|value| !value.is_empty());
    let name = until_nul(option.unwrap_or(if overload & 2 != 0 { &[] } else { packet.sname() }));
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

fn configured(reply: Packet<'_>) -> Verdict {
    let Some(server) = server(reply) else {
        return fails(Code::Silent, "no server: siaddr is 0 and there is no server name");
    };
    let left = Left { ack: reply.0.to_vec(), ..Left::default() };
    boots(Boot { by: Protocol::Tftp, server, file: file(reply), announced: None, left })
}

/// The folder of a distribution's GRUB, built into it (`grub-mkimage --prefix`): Debian's `grubnetx64.efi`.
const PREFIX: &[u8] = b"/grub";

/// What GRUB loads after UEFI PXE loaded it: its folder on the server that the ACK names
/// (`grub_efi_net_config_real`).
pub(super) fn next(left: &Left) -> Result<Next, String> {
    let ack = Packet::new(&left.ack).filter(|ack| ack.0.len() > OPTIONS).ok_or("the firmware kept no ACK")?;
    let server = server(ack).ok_or("the ACK names no server: siaddr is 0 and there is no server name")?;
    let name = |file: &[u8]| [PREFIX, file].concat();
    Ok(Next { by: Protocol::Tftp, server, file: name(b"/grub.cfg"), then: Vec::new() })
}
