//! GRUB (`grub-core/net/bootp.c`, `drivers/efi/efinet.c`, `kern/main.c`): its own DHCP client, and its use of the
//! replies kept by the firmware that loaded it.
//!
//! Only the first option of a code counts. An option that ends at the last byte of the reply is ignored. Options 66 and
//! 67 are preferred to the header; yet the server is siaddr.

use super::next::Next;
use super::packet::{Found, OPTIONS, Packet, address_at, walk};
use crate::probe::models::verdict::{
    Boot, Code, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails, failure,
};
use crate::wire::dhcp::{MessageType, until_nul};
use crate::wire::option::code;

/// Returns the reaction of GRUB's own DHCP client: it sets the variables `net_default_server` and `net_…_boot_file`,
/// and loads nothing by itself.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let mut chosen = None;
    for reply in answers(replies, RequestKind::Discover).filter_map(|received| Packet::new(received.payload))
    {
        match (kind(reply), address(reply, code::SERVER_IDENTIFIER)) {
            // A reply without a readable message type counts as BOOTP and ends the exchange (`grub_net_process_dhcp`).
            (None, _) if chosen.is_none() => return configured(reply),
            (Some(kind), Some(server)) if kind == MessageType::Offer.number() && !server.is_unspecified() => {
                chosen = chosen.or(Some((server, reply.yiaddr())));
            }
            _ => {}
        }
    }
    let Some((server, address)) = chosen else {
        return fails(Code::Silent, "couldn't autoconfigure: it received no OFFER with option 54");
    };
    let ack = answers(replies, RequestKind::Request)
        .filter_map(|received| Packet::new(received.payload))
        .find(|ack| {
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

/// Finds an option as `find_dhcp_option` does: in the options field and, after its END, in the overloaded fields.
fn find(packet: Packet<'_>, wanted: u8) -> Option<&[u8]> {
    if !packet.has_cookie() {
        return None;
    }
    let overload = match complete_options(packet.options())
        .find(|option| option.code == code::OVERLOAD)
        .map(|o| o.value)
    {
        Some([fields]) if packet.options().contains(&255) => *fields,
        _ => 0,
    };
    let areas =
        [(packet.options(), true), (packet.file(), overload & 1 != 0), (packet.sname(), overload & 2 != 0)];
    let mut read = areas.into_iter().filter(|(_, is_read)| *is_read);
    read.find_map(|(area, _)| complete_options(area).find(|option| option.code == wanted))
        .map(|option| option.value)
}

/// Returns the options of an area that end before its last byte.
fn complete_options(area: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let ends_inside = |option: &Found<'_>| option.start.saturating_add(option.value.len()) < area.len();
    walk(area).0.into_iter().take_while(ends_inside)
}

/// Returns the file. Any overload hides the header's file, because GRUB has `&&` in place of `&`.
fn file(packet: Packet<'_>) -> Vec<u8> {
    let option = find(packet, code::BOOT_FILE_NAME).filter(|value| !value.is_empty());
    let is_overloaded =
        find(packet, code::OVERLOAD).is_some_and(|value| matches!(value, [fields] if *fields != 0));
    let header = packet.file();
    let name = option.unwrap_or(if is_overloaded { &[] } else { header });
    until_nul(name).to_vec()
}

/// Returns siaddr, else option 66 or the header's server name unchanged.
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
    let kept = KeptReplies { ack: reply.0.to_vec(), ..KeptReplies::default() };
    boots(Boot { by: Protocol::Tftp, server, file: file(reply), announced: None, kept })
}

/// The folder built into a distribution's GRUB (`grub-mkimage --prefix`), here Debian's `grubnetx64.efi`.
const PREFIX: &[u8] = b"/grub";

/// Returns the file that GRUB loads after UEFI PXE loaded GRUB: in its folder, from the server in the ACK
/// (`grub_efi_net_config_real`).
pub(super) fn next(kept: &KeptReplies) -> Result<Next, String> {
    let ack = Packet::new(&kept.ack).filter(|ack| ack.0.len() > OPTIONS).ok_or("the firmware kept no ACK")?;
    let server = server(ack).ok_or("the ACK names no server: siaddr is 0 and there is no server name")?;
    let name = |file: &[u8]| [PREFIX, file].concat();
    Ok(Next { by: Protocol::Tftp, server, file: name(b"/grub.cfg"), then: Vec::new() })
}
