//! EDK2's DHCP driver, which processes every reply before PXE or HTTP boot gets it (`NetworkPkg/Dhcp4Dxe`).

use std::net::Ipv4Addr;

use super::packet::{End, FILE, OPTIONS, Packet, SNAME, address_at, walk};
use crate::probe::models::verdict::{Code, Failure, ReceivedReply, RequestKind, Verdict, answers, fails};
use crate::wire::dhcp::{MessageType, until_nul};
use crate::wire::option::code;

/// The maximum reply in bytes that PXE and HTTP boot keep (`PXEBC_DHCP4_PACKET_MAX_SIZE`).
pub(super) const MAX_LEN: usize = 1472;
/// The maximum number of offers kept (`PXEBC_OFFER_MAX_NUM`, `HTTP_BOOT_OFFER_MAX_NUM`).
pub(super) const MAX_OFFERS: usize = 16;

/// The values that the driver itself reads from a reply (`DHCP_PARAMETER`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parameters {
    /// Option 53; `None` for a reply that the driver takes for BOOTP.
    pub(super) kind: Option<u8>,
    /// Option 54; unspecified if absent.
    pub(super) server: Ipv4Addr,
    /// Option 1; unspecified if absent.
    pub(super) mask: Ipv4Addr,
}

/// Returns the valid lengths of an option in the driver's table `DhcpOptionFormats`: unit in bytes, minimum and maximum
/// number of units. Other options may have any length.
const fn format(option: u8) -> Option<(usize, usize, usize)> {
    const MANY: usize = usize::MAX;
    Some(match option {
        1 | 16 | 28 | 32 | 50 | 54 => (4, 1, 1),
        2 | 24 | 35 | 38 | 51 | 58 | 59 => (4, 1, 1),
        3..=11 | 41 | 42 | 44 | 45 | 48 | 49 | 65 | 69..=76 => (4, 1, MANY),
        68 => (4, 0, MANY),
        21 | 33 => (8, 1, MANY),
        13 | 22 | 26 | 57 => (2, 1, 1),
        25 => (2, 1, MANY),
        19 | 20 | 27 | 29..=31 | 34 | 36 | 39 => (1, 1, 1),
        23 | 37 | 46 | 52 | 53 => (1, 1, 1),
        12 | 14 | 15 | 17 | 18 | 40 | 43 | 47 | 55 | 56 | 60 | 64 | 66 | 67 => (1, 1, MANY),
        61 => (1, 2, MANY),
        121 => (1, 5, MANY),
        _ => return None,
    })
}

/// The options whose bytes must all be 0 or 1.
const SWITCHES: [u8; 9] = [19, 20, 27, 29, 30, 31, 34, 36, 39];

/// Checks a reply as the driver does and returns its parameters. The driver drops the whole reply for one known option
/// with an invalid length, a missing END, or a truncated option (`DhcpInput`, `DhcpValidateOptions`).
pub(super) fn validate(packet: Packet<'_>) -> Result<Parameters, String> {
    let bootp = Parameters { kind: None, server: Ipv4Addr::UNSPECIFIED, mask: Ipv4Addr::UNSPECIFIED };
    // Without cookie or options the driver checks nothing and takes the reply for BOOTP.
    if packet.0.len() <= OPTIONS || !packet.has_cookie() {
        return Ok(bootp);
    }
    let joined = joined(packet)?;
    let mut read = bootp;
    for (option, value) in &joined {
        // Empty options are skipped before their lengths are checked (`DhcpParseOption`).
        let Some((unit, least, most)) = format(*option) else { continue };
        let units = value.len().checked_div(unit).unwrap_or(0);
        let fits = value.len().is_multiple_of(unit) && (least..=most).contains(&units);
        let is_bad_switch = SWITCHES.contains(option) && value.iter().any(|byte| *byte > 1);
        let is_bad_value = match *option {
            code::MESSAGE_TYPE => !value.first().is_some_and(|kind| (1..=9).contains(kind)),
            code::OVERLOAD => !value.first().is_some_and(|fields| (1..=3).contains(fields)),
            _ => false,
        };
        if !fits || is_bad_switch || is_bad_value {
            return Err(format!(
                "option {option} in it has a bad length or value, so EDK2 drops the whole reply"
            ));
        }
        let address = || address_at(value, 0).unwrap_or(Ipv4Addr::UNSPECIFIED);
        match *option {
            code::MESSAGE_TYPE => read.kind = value.first().copied(),
            code::SERVER_IDENTIFIER => read.server = address(),
            code::SUBNET_MASK => read.mask = address(),
            _ => {}
        }
    }
    Ok(read)
}

/// Returns all options with their parts joined, including overloaded fields (`DhcpIterateOptions`). Each field must
/// have END.
fn joined(packet: Packet<'_>) -> Result<Vec<(u8, Vec<u8>)>, String> {
    let mut joined: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut overload = 0;
    let mut take = |area, is_main: bool| {
        let (found, end) = walk(area);
        if end != End::Marked {
            let how = if end == End::Cut { "break off in the middle of one" } else { "have no END (255)" };
            return Err(format!("its options {how}, so EDK2 drops the whole reply"));
        }
        for option in found {
            if is_main && option.code == code::OVERLOAD {
                match option.value {
                    [fields] => overload = *fields,
                    _ => {
                        return Err(
                            "option 52 in it has a bad length, so EDK2 drops the whole reply".to_owned()
                        );
                    }
                }
            }
            if option.value.is_empty() {
                continue;
            }
            match joined.iter_mut().find(|(code, _)| *code == option.code) {
                Some((_, value)) => value.extend_from_slice(option.value),
                None => joined.push((option.code, option.value.to_vec())),
            }
        }
        Ok(overload)
    };
    let overload = take(packet.options(), true)?;
    if matches!(overload, 1 | 3) {
        take(packet.file(), false)?;
    }
    if matches!(overload, 2 | 3) {
        take(packet.sname(), false)?;
    }
    Ok(joined)
}

/// Returns the offers that reach PXE and HTTP boot, and the reason why the last other one was dropped
/// (`DhcpHandleSelect`).
pub(super) fn offers<'a>(replies: &[ReceivedReply<'a>]) -> (Vec<(Packet<'a>, Parameters)>, Option<String>) {
    let mut kept = Vec::new();
    let mut dropped = None;
    for received in answers(replies, RequestKind::Discover) {
        match offer(received) {
            Ok(offer) if kept.len() < MAX_OFFERS => kept.push(offer),
            Ok(_) => {}
            Err(why) => dropped = Some(why),
        }
    }
    (kept, dropped)
}

fn offer<'a>(received: &ReceivedReply<'a>) -> Result<(Packet<'a>, Parameters), String> {
    let packet = Packet::new(received.payload).ok_or("it is no reply")?;
    let read = validate(packet)?;
    match read.kind {
        Some(kind) if kind != MessageType::Offer.number() => Err("it is no OFFER".to_owned()),
        Some(_) if read.server.is_unspecified() => {
            Err("it has no server identifier (option 54), without which EDK2 takes no offer".to_owned())
        }
        _ if packet.0.len() > MAX_LEN => {
            Err(format!("it is longer than the {MAX_LEN} bytes that EDK2 keeps"))
        }
        _ => Ok((packet, read)),
    }
}

/// Returns the ACK to the selected offer, or the verdict without one (`DhcpHandleRequest`, `DhcpLeaseAcquired`). A
/// BOOTP reply is both offer and ACK (`DhcpChooseOffer`).
pub(super) fn acknowledged<'a>(
    selected: (Packet<'a>, Parameters),
    replies: &[ReceivedReply<'a>],
    silence: impl FnOnce() -> Failure,
) -> Result<Packet<'a>, Verdict> {
    let (offer, read) = selected;
    let has_mask = !read.mask.is_unspecified();
    if read.kind.is_none() {
        let why = "the BOOTP reply has no subnet mask (option 1), without which EDK2 takes no address";
        return if has_mask { Ok(offer) } else { Err(fails(Code::E16, why)) };
    }
    for received in answers(replies, RequestKind::Request) {
        let Some(packet) = Packet::new(received.payload) else { continue };
        let Ok(answer) = validate(packet) else { continue };
        if answer.server != read.server || packet.0.len() > MAX_LEN {
            continue;
        }
        if answer.kind == Some(MessageType::Nak.number()) {
            return Err(fails(Code::E07, "the server refused the address that it had offered (NAK)"));
        }
        if answer.kind != Some(MessageType::Ack.number()) {
            continue;
        }
        if packet.yiaddr() != offer.yiaddr() {
            return Err(fails(Code::E07, "the ACK is for another address than the offer"));
        }
        let why = "the offer has no subnet mask (option 1): EDK2 declines the address";
        return if has_mask { Ok(packet) } else { Err(fails(Code::E21, why)) };
    }
    Err(Verdict::Requests { server: read.server, address: offer.yiaddr(), unanswered: silence() })
}

/// Finds the first option `wanted` as PXE and HTTP boot do: in the options field and then, if option 52 says so, in
/// `file` and `sname` (`PxeBcParseDhcp4Packet`). Returns the start and length of its value.
pub(super) fn find(packet: Packet<'_>, wanted: u8) -> Option<(usize, usize)> {
    let fields = overload(packet);
    let areas = [
        (OPTIONS, packet.options(), true),
        (FILE, packet.file(), fields & 1 != 0),
        (SNAME, packet.sname(), fields & 2 != 0),
    ];
    areas.into_iter().filter(|(_, _, is_read)| *is_read).find_map(|(at, area, _)| {
        let (found, _) = walk(area);
        let option = found.into_iter().find(|option| option.code == wanted)?;
        Some((at.saturating_add(option.start), option.value.len()))
    })
}

/// Returns the value of the first option `wanted`.
pub(super) fn value(packet: Packet<'_>, wanted: u8) -> Option<&[u8]> {
    let (start, len) = find(packet, wanted)?;
    packet.0.get(start..start.saturating_add(len))
}

fn overload(packet: Packet<'_>) -> u8 {
    packet.first(code::OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0)
}

/// Returns the boot file of a reply, and the bytes of the reply after EDK2 has read it. Option 67 is preferred to the
/// header. If its last byte is not NUL, EDK2 writes a NUL over the following byte, which is the next option's code or
/// END (`PxeBcDhcp4.c`, `HttpBootDhcp4.c`). Then it reads the name up to the first NUL, wherever that is.
pub(super) fn boot_file(packet: Packet<'_>) -> (Option<Vec<u8>>, Vec<u8>) {
    let mut bytes = packet.0.to_vec();
    let start = match find(packet, code::BOOT_FILE_NAME) {
        Some((start, len)) => {
            let end = start.saturating_add(len);
            // For an empty option, the byte before `end` is its length, which is 0.
            if bytes.get(end.saturating_sub(1)).is_some_and(|byte| *byte != 0) {
                bytes.get_mut(end).into_iter().for_each(|byte| *byte = 0);
            }
            start
        }
        None if overload(packet) & 1 == 0 && packet.file().first().is_some_and(|byte| *byte != 0) => FILE,
        None => return (None, bytes),
    };
    let name = until_nul(bytes.get(start..).unwrap_or_default()).to_vec();
    (Some(name), bytes)
}

/// Whether a reply assigns no address. EDK2 checks only the first byte.
pub(super) fn is_proxy(packet: Packet<'_>) -> bool {
    packet.0.get(16) == Some(&0)
}

/// Returns the server of a reply: siaddr, else option 54. EDK2 checks only the first byte here too.
pub(super) fn server(packet: Packet<'_>) -> Option<Ipv4Addr> {
    let siaddr = packet.siaddr();
    if siaddr.octets().first() != Some(&0) {
        return Some(siaddr);
    }
    value(packet, code::SERVER_IDENTIFIER).and_then(|value| address_at(value, 0))
}
