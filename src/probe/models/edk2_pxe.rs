//! EDK2's PXE (`NetworkPkg/UefiPxeBcDxe`), which is also the basis of most vendors' UEFI firmware.
//!
//! It collects offers for 4 s, then chooses by kind and not by order. If it can choose none, it asks again, waits 8, 16
//! and 32 s, and keeps its offers (`PxeBcDhcp4.c`, `Dhcp4Io.c` `DhcpOnTimerTick`).

use std::net::{Ipv4Addr, SocketAddrV4};

use super::edk2::{self, Parameters};
use super::menu::{LOCAL, Menu};
use super::packet::Packet;
use crate::probe::models::verdict::{
    Boot, Code, Failure, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails,
    failure,
};
use crate::wire::option::code;
use crate::wire::pxe::PXE_CLIENT;

const BOOT_SERVER_PORT: u16 = 4011;

/// The kind of an offer (`PXEBC_OFFER_TYPE`). Offers for multicast TFTP are discarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// An address without PXE options; also a proxy's reply without `PXEClient`.
    DhcpOnly,
    /// Option 60 is `PXEClient`, and option 43 has one of the items 6 to 10.
    Pxe10,
    /// Option 60 is `PXEClient` without those items. The client asks port 4011 for the boot file, even if the offer has
    /// one.
    Binl,
    /// A reply without a message type.
    Bootp,
}

/// A reply as parsed by `PxeBcParseDhcp4Packet`.
#[derive(Clone, Debug)]
struct Parsed<'a> {
    packet: Packet<'a>,
    kind: Kind,
    is_proxy: bool,
    menu: Menu,
    file: Option<Vec<u8>>,
    /// The bytes after parsing, which may have written a NUL into them.
    bytes: Vec<u8>,
}

/// Returns the machine's reaction to these replies.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let (offers, dropped) = edk2::offers(replies);
    let mut discarded = dropped;
    let mut kept: Vec<(Parsed<'_>, Parameters)> = Vec::new();
    for (packet, read) in offers {
        match parse(packet) {
            Ok(parsed) if is_kept(&parsed, &kept) => kept.push((parsed, read)),
            Ok(_) => {}
            Err(why) => discarded = Some(why),
        }
    }
    let heard_proxy = edk2::offers(replies)
        .0
        .iter()
        .any(|(packet, read)| read.kind.is_some() && edk2::is_proxy(*packet) && parse(*packet).is_ok());
    if kept.is_empty() {
        let why = discarded.unwrap_or_else(|| "it received no offer".to_owned());
        return fails(Code::E18, why);
    }
    let Some((selected, proxy)) = select(&kept) else {
        return fails(Code::E16, nothing_selected(&kept, discarded));
    };
    let (offer, read) = selected;
    let silence = || failure(Code::E18, "the server does not answer the REQUEST");
    match edk2::acknowledged((offer.packet, *read), replies, silence) {
        Ok(ack) => after_ack(replies, &kept, offer, proxy, heard_proxy, ack),
        Err(verdict) => verdict,
    }
}

/// Parses a reply. Returns the reason if EDK2 discards it.
fn parse(packet: Packet<'_>) -> Result<Parsed<'_>, String> {
    let is_pxe = edk2::value(packet, code::VENDOR_CLASS).is_some_and(|value| value.starts_with(PXE_CLIENT));
    let vendor = edk2::value(packet, code::VENDOR_SPECIFIC).filter(|_| is_pxe);
    let menu = vendor.map(Menu::read).unwrap_or_default();
    let (file, bytes) = edk2::boot_file(packet);
    let kind = match edk2::value(packet, code::MESSAGE_TYPE) {
        None | Some([0, ..]) if file.is_none() => {
            return Err("it is a BOOTP reply without a boot file".to_owned());
        }
        None | Some([0, ..]) => Kind::Bootp,
        Some(_) if menu.discovers() => Kind::Pxe10,
        Some(_) if menu.is_mtftp() => {
            return Err(
                "its option 43 has only multicast TFTP items (1 to 5), which EDK2 discards".to_owned()
            );
        }
        Some(_) if is_pxe => Kind::Binl,
        Some(_) => Kind::DhcpOnly,
    };
    Ok(Parsed { packet, kind, is_proxy: edk2::is_proxy(packet), menu, file, bytes })
}

/// Whether EDK2 keeps an offer. It keeps only the first BOOTP reply and the first PXE offer of a proxy, and never a
/// proxy's reply without PXE (`PxeBcCacheDhcp4Offer`).
fn is_kept(parsed: &Parsed<'_>, kept: &[(Parsed<'_>, Parameters)]) -> bool {
    let is_first =
        || !kept.iter().any(|(other, _)| (other.kind, other.is_proxy) == (parsed.kind, parsed.is_proxy));
    match parsed.kind {
        Kind::Bootp => is_first(),
        Kind::Pxe10 if parsed.is_proxy => is_first(),
        Kind::DhcpOnly => !parsed.is_proxy,
        Kind::Pxe10 | Kind::Binl => true,
    }
}

type Offer<'k, 'a> = &'k (Parsed<'a>, Parameters);

/// Returns the chosen offer, and the kind of the proxy offer that goes with it (`PxeBcSelectDhcp4Offer`).
fn select<'k, 'a>(kept: &'k [(Parsed<'a>, Parameters)]) -> Option<(Offer<'k, 'a>, Option<Kind>)> {
    let of = |kind, is_proxy| {
        kept.iter().find(move |(parsed, _)| (parsed.kind, parsed.is_proxy) == (kind, is_proxy))
    };
    let plain = of(Kind::DhcpOnly, false);
    let beside = |kind| of(kind, true).and(plain).map(|offer| (offer, Some(kind)));
    let alone = |offer: Option<Offer<'k, 'a>>| offer.map(|offer| (offer, None));
    let named = kept.iter().find(|(parsed, _)| parsed.kind == Kind::DhcpOnly && parsed.file.is_some());
    alone(of(Kind::Pxe10, false))
        .or_else(|| beside(Kind::Pxe10))
        .or_else(|| alone(of(Kind::Binl, false)))
        .or_else(|| beside(Kind::Binl))
        .or_else(|| alone(named))
        .or_else(|| alone(kept.iter().find(|(parsed, _)| parsed.kind == Kind::Bootp)))
}

fn nothing_selected(kept: &[(Parsed<'_>, Parameters)], discarded: Option<String>) -> String {
    let has = |kind, is_proxy| kept.iter().any(|(p, _)| (p.kind, p.is_proxy) == (kind, is_proxy));
    if has(Kind::DhcpOnly, false) {
        return match discarded {
            Some(why) => format!("the DHCP offer names no boot file, and of another reply: {why}"),
            None => "the DHCP offer names no boot file and no proxyDHCP server answered".to_owned(),
        };
    }
    "a proxyDHCP server answered and no DHCP server gave an address".to_owned()
}

/// Continues from the ACK to the file: `PxeBcHandleDhcp4Offer`, then the menu, then `PxeBcDhcp4BootInfo`.
fn after_ack(
    replies: &[ReceivedReply<'_>],
    kept: &[(Parsed<'_>, Parameters)],
    offer: &Parsed<'_>,
    beside: Option<Kind>,
    heard_proxy: bool,
    ack: Packet<'_>,
) -> Verdict {
    let Ok(ack) = parse(ack) else { return fails(Code::E99, "the ACK cannot be used") };
    let of_kind =
        |kind: Kind| kept.iter().map(|(parsed, _)| parsed).filter(move |p| p.is_proxy && p.kind == kind);
    let proxy = match (offer.kind, beside) {
        (Kind::Binl, _) => match ask_for_file(replies, [offer].into_iter()) {
            Ok(answer) => Some(answer),
            Err(verdict) => return verdict,
        },
        (_, Some(Kind::Binl)) => match ask_for_file(replies, of_kind(Kind::Binl)) {
            Ok(answer) => Some(answer),
            Err(verdict) => return verdict,
        },
        (_, Some(_)) => of_kind(Kind::Pxe10).next().cloned(),
        // If the proxy's reply was not kept, the first plain offer takes its place (`SelectProxyType` is then 0).
        (Kind::DhcpOnly, None) if heard_proxy => {
            kept.iter().map(|(parsed, _)| parsed).find(|parsed| parsed.kind == Kind::DhcpOnly).cloned()
        }
        _ => None,
    };
    match menu(replies, proxy.as_ref().unwrap_or(&ack)) {
        Ok(choice) => boot(&ack, proxy.as_ref(), choice),
        Err(verdict) => verdict,
    }
}

/// Asks each server for the boot file on port 4011 (`PxeBcRetryBinlOffer`).
fn ask_for_file<'a, 'k>(
    replies: &[ReceivedReply<'a>],
    offers: impl Iterator<Item = &'k Parsed<'k>>,
) -> Result<Parsed<'a>, Verdict> {
    let servers: Vec<Ipv4Addr> = offers.filter_map(|offer| edk2::server(offer.packet)).collect();
    let mut why = "the boot server does not answer on port 4011";
    let mut answered = false;
    for answer in answers(replies, RequestKind::BootServer).filter_map(accepted) {
        answered = true;
        match parse(answer) {
            Ok(answer) if answer.file.is_some() || (answer.kind == Kind::Pxe10 && answer.is_proxy) => {
                return Ok(answer);
            }
            _ => why = "the boot server's answer on port 4011 names no boot file",
        }
    }
    match servers.first() {
        Some(to) if !answered => Err(Verdict::AsksBootServer {
            to: SocketAddrV4::new(*to, BOOT_SERVER_PORT),
            item: None,
            unanswered: Box::new(fails(Code::E16, why)),
        }),
        _ => Err(fails(Code::E16, why)),
    }
}

/// Returns an answer from port 4011 if it is valid like any reply and short enough to be kept (`PxeDhcpInput`).
fn accepted<'a>(received: &ReceivedReply<'a>) -> Option<Packet<'a>> {
    let packet = Packet::new(received.payload)?;
    (edk2::validate(packet).is_ok() && packet.0.len() <= edk2::MAX_LEN).then_some(packet)
}

/// The result of the menu: the boot server's answer, and the server that was asked by unicast.
type Choice<'a> = Option<(Parsed<'a>, Option<Ipv4Addr>)>;

/// Shows prompt and menu, and asks the boot server (`PxeBcSelectBootPrompt`, `PxeBcSelectBootMenu`,
/// `PxeBcExtractDiscoverInfo`, `EfiPxeBcDiscover`). `source` is the proxy's reply or, without one, the ACK.
fn menu<'a>(replies: &[ReceivedReply<'a>], source: &Parsed<'_>) -> Result<Choice<'a>, Verdict> {
    let menu = &source.menu;
    if source.kind != Kind::Pxe10 || (menu.boots_file_at_once() && source.file.is_some()) {
        return Ok(None);
    }
    if menu.has(9) && menu.timeout == Some(255) {
        return Err(Verdict::WaitsForUser);
    }
    let Some(item) = menu.choices.first().copied().filter(|_| menu.has(9)) else {
        return Err(match menu.has(9) {
            true => fails(Code::E07, "the boot menu in option 43 is empty"),
            false => {
                fails(Code::E21, "option 43 neither names the file as final (6, bit 3) nor has a menu (9)")
            }
        });
    };
    if item == LOCAL {
        return Err(Verdict::BootsLocally);
    }
    let servers: Vec<Ipv4Addr> = menu.servers_of(item).collect();
    if menu.has(8) && servers.is_empty() {
        return Err(fails(Code::E07, format!("option 43 lists no boot server for menu item {item}")));
    }
    let by_unicast = !menu.may_multicast() && !menu.may_broadcast();
    let to = match servers.first() {
        _ if menu.may_multicast() => match menu.multicast.filter(|to| !to.is_unspecified()) {
            Some(to) => SocketAddrV4::new(to, BOOT_SERVER_PORT),
            None => {
                return Err(fails(
                    Code::E99,
                    "option 43 asks for multicast discovery and gives no address (7)",
                ));
            }
        },
        _ if menu.may_broadcast() => SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        Some(server) => SocketAddrV4::new(*server, BOOT_SERVER_PORT),
        None => return Err(fails(Code::E99, "option 43 allows no way to ask a boot server")),
    };
    let is_listed = |packet: Packet<'_>| servers.contains(&packet.siaddr());
    let mut answered = answers(replies, RequestKind::BootServer).filter_map(accepted).peekable();
    if answered.peek().is_none() {
        let silence: Failure = failure(Code::E18, "the boot server does not answer");
        let unanswered = Box::new(Verdict::Fails(silence));
        return Err(Verdict::AsksBootServer { to, item: Some(item), unanswered });
    }
    let Some(answer) =
        answered.find(|packet| servers.is_empty() || !menu.only_listed() || is_listed(*packet))
    else {
        return Err(fails(Code::E53, "only a server that is not in option 43's list answered"));
    };
    let asked = servers.last().copied().filter(|_| by_unicast);
    match parse(answer) {
        Ok(answer) => Ok(Some((answer, asked))),
        Err(why) => Err(fails(Code::E07, format!("of the boot server's answer: {why}"))),
    }
}

/// Returns the file and its server: from the boot server's answer, else the proxy's, else the ACK
/// (`PxeBcDhcp4BootInfo`).
fn boot(ack: &Parsed<'_>, proxy: Option<&Parsed<'_>>, choice: Choice<'_>) -> Verdict {
    let (source, asked) = match &choice {
        Some((answer, asked)) => (answer, *asked),
        None => (proxy.unwrap_or(ack), None),
    };
    let Some(file) = source.file.clone() else {
        return fails(Code::E99, "the last answer names no boot file, though the first did");
    };
    let listed = source.menu.servers.first().and_then(|(_, servers)| servers.first().copied());
    let listed = listed.filter(|_| source.menu.boots_file_at_once());
    let Some(server) = asked.or(listed).or_else(|| edk2::server(source.packet)) else {
        return fails(Code::E99, "the answer names no server: siaddr is 0 and option 54 is absent");
    };
    let blocks = edk2::value(source.packet, code::BOOT_FILE_SIZE).and_then(|value| value.try_into().ok());
    let announced = blocks.map(|blocks| u64::from(u16::from_be_bytes(blocks)).saturating_mul(512));
    let reply = choice.as_ref().map(|(answer, _)| answer.bytes.clone());
    let proxy = proxy.map(|proxy| proxy.bytes.clone()).or_else(|| reply.clone());
    let kept = KeptReplies { ack: ack.bytes.clone(), proxy, reply };
    boots(Boot { by: Protocol::Tftp, server: server.to_string(), file, announced, kept })
}
