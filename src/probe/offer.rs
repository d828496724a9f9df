//! What each kind of client reads from a reply, and why it would not take one.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::profile::Kind;
use super::step::printable;
use crate::wire::dhcp::{Message, MessageType, until_nul};
use crate::wire::option::{self, code};
use crate::wire::pxe;

/// What a client took from an OFFER, an ACK or a BOOTP reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The address we get.
    pub address: Ipv4Addr,
    /// Who gives it: option 54, else siaddr, else the packet's source.
    pub server: Ipv4Addr,
    /// Where this client will look for the file.
    pub next_server: Ipv4Addr,
    /// The file's name as this client reads it: any bytes but NUL. Empty if there is none.
    pub file: Vec<u8>,
    /// For how long (option 51).
    pub lease: Option<Duration>,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.address, self.server)?;
        if self.file.is_empty() {
            return f.write_str(", no file");
        }
        write!(f, ", file {}", printable(&self.file))?;
        if self.next_server == self.server { Ok(()) } else { write!(f, " on {}", self.next_server) }
    }
}

/// Why a client does not take a reply that is meant for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// Larger than the 1472 bytes that EDK2 reads (`PxeBcDhcp4.c`).
    TooLong,
    /// Options end in the middle of one, or a known option has an impossible length: EDK2 drops the whole packet
    /// (`DhcpValidateOptions`). 0 stands for the former.
    BadOption(u8),
    /// A DHCP client got a BOOTP reply, or a BOOTP client a DHCP message.
    WrongProtocol,
    /// No address in it: a proxyDHCP reply, which is half of an answer.
    NoAddress,
    /// No server identifier (option 54), which every DHCP reply must have (RFC 2131 table 3).
    NoServerIdentifier,
    /// PXE firmware takes no offer without a boot file.
    NoFile,
    /// Option 60 says PXEClient and no option 43 says what to do, so firmware would now ask port 4011.
    AsksBootServer,
    /// Option 43 has only MTFTP items (1 to 5): EDK2 discards such an offer (`PxeBcDhcp4.c`).
    OnlyMtftp,
    /// It came from another port than the server's (iPXE `dhcp.c` insists on that).
    WrongPort,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::TooLong => "it is longer than the 1472 bytes this firmware reads",
            Unusable::BadOption(0) => "its options end in the middle of one",
            Unusable::BadOption(code) => return write!(f, "option {code} in it has a bad length"),
            Unusable::WrongProtocol => "it is BOOTP where DHCP was asked, or the other way round",
            Unusable::NoAddress => "it gives no address (a proxyDHCP reply, only half of an answer)",
            Unusable::NoServerIdentifier => "it has no server identifier (option 54)",
            Unusable::NoFile => "it names no boot file",
            Unusable::AsksBootServer => {
                "it has option 60 but not 43, so this firmware would ask port 4011 instead of loading the file"
            }
            Unusable::OnlyMtftp => "its option 43 has only multicast TFTP items, which this firmware discards",
            Unusable::WrongPort => "it came from another port than the server's",
        })
    }
}

/// Largest DHCP payload that EDK2 reads, bytes.
const EDK2_MAX_LEN: usize = 1472;

/// What a client of this kind reads from an OFFER or an ACK (type `expected`), or from a BOOTP reply (`None`).
///
/// The caller has checked that the message is a reply to us. `len` is that of the whole payload, bytes.
pub(super) fn read(
    kind: Kind,
    message: &Message,
    len: usize,
    source: SocketAddrV4,
    server_port: u16,
) -> Result<Offer, Unusable> {
    if kind == Kind::Ipxe && source.port() != server_port {
        return Err(Unusable::WrongPort);
    }
    if kind.is_uefi() {
        check_as_edk2(message, len)?;
    }
    if message.yiaddr.is_unspecified() {
        return Err(Unusable::NoAddress);
    }
    let identifier = message.options.ip(code::SERVER_IDENTIFIER).filter(|ip| !ip.is_unspecified());
    // iPXE falls back on siaddr and then on the packet's source (`dhcp.c`); PXE firmware does not.
    if identifier.is_none() && matches!(kind, Kind::BiosPxe | Kind::UefiX64 | Kind::UefiArm64) {
        return Err(Unusable::NoServerIdentifier);
    }
    let siaddr = Some(message.siaddr).filter(|ip| !ip.is_unspecified());
    let offer = Offer {
        address: message.yiaddr,
        server: identifier.or(siaddr).unwrap_or(*source.ip()),
        next_server: next_server(kind, message, identifier),
        file: file(kind, message),
        lease: message.options.u32(code::LEASE_TIME).map(|seconds| Duration::from_secs(seconds.into())),
    };
    check_as_pxe(kind, message, &offer)?;
    Ok(offer)
}

/// The message type, for a DHCP client; a BOOTP client takes only messages without one.
pub(super) fn message_type(kind: Kind, message: &Message) -> Result<Option<MessageType>, Unusable> {
    match (kind, message.message_type()) {
        (Kind::Bootp, None) => Ok(None),
        (Kind::Bootp, Some(_)) | (_, None | Some(Err(()))) => Err(Unusable::WrongProtocol),
        (_, Some(Ok(message_type))) => Ok(Some(message_type)),
    }
}

/// EDK2 validates before it reads: one bad length and the packet is gone (`DhcpValidateOptions`).
fn check_as_edk2(message: &Message, len: usize) -> Result<(), Unusable> {
    if len > EDK2_MAX_LEN {
        return Err(Unusable::TooLong);
    }
    if message.truncated {
        return Err(Unusable::BadOption(0));
    }
    let bad = message
        .options
        .iter()
        .find(|(code, value)| option::by_code(*code).is_some_and(|definition| !definition.kind.fits(value)));
    bad.map_or(Ok(()), |(code, _)| Err(Unusable::BadOption(code)))
}

/// What PXE firmware, BIOS or UEFI, needs before it takes an offer. iPXE and BOOTP clients take any.
fn check_as_pxe(kind: Kind, message: &Message, offer: &Offer) -> Result<(), Unusable> {
    if matches!(kind, Kind::Ipxe | Kind::Bootp) {
        return Ok(());
    }
    let is_pxe =
        message.options.get(code::VENDOR_CLASS).is_some_and(|value| value.starts_with(pxe::PXE_CLIENT));
    if is_pxe {
        let items = message.options.get(code::VENDOR_SPECIFIC).map(pxe_items).unwrap_or_default();
        if items.iter().all(|item| !(1..=10).contains(item)) {
            return Err(Unusable::AsksBootServer);
        }
        if items.iter().all(|item| !(6..=10).contains(item)) {
            return Err(Unusable::OnlyMtftp);
        }
    }
    if offer.file.is_empty() { Err(Unusable::NoFile) } else { Ok(()) }
}

/// The numbers of the items in option 43 (PXE 2.1 section 2.2), as far as they can be read.
fn pxe_items(mut value: &[u8]) -> Vec<u8> {
    let mut items = Vec::new();
    loop {
        match value {
            [] | [255, ..] => return items,
            [0, rest @ ..] => value = rest,
            [item, len, rest @ ..] => {
                items.push(*item);
                value = rest.get(usize::from(*len)..).unwrap_or_default();
            }
            [_] => return items,
        }
    }
}

/// Where the client loads from. EDK2: siaddr, else option 54 (`PxeBcBoot.c`); BIOS ROMs also look at option 66; iPXE
/// and BOOTP clients know only siaddr.
fn next_server(kind: Kind, message: &Message, identifier: Option<Ipv4Addr>) -> Ipv4Addr {
    if !message.siaddr.is_unspecified() || matches!(kind, Kind::Ipxe | Kind::Bootp) {
        return message.siaddr;
    }
    let named = message.options.get(code::TFTP_SERVER_NAME).filter(|_| kind == Kind::BiosPxe);
    let named = named.and_then(|value| std::str::from_utf8(until_nul(value)).ok()?.parse().ok());
    named.or(identifier).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// The file's name. EDK2 prefers option 67 (`PxeBcDhcp4.c`), iPXE and BIOS ROMs the header, BOOTP knows only that.
fn file(kind: Kind, message: &Message) -> Vec<u8> {
    let header = message.file_name();
    let option = option_file(kind, message);
    match kind {
        Kind::UefiX64 | Kind::UefiArm64 if !option.is_empty() => option,
        Kind::Bootp => header.to_vec(),
        _ if !header.is_empty() => header.to_vec(),
        _ => option,
    }
}

/// Option 67 up to its NUL. A BIOS ROM that finds none reads on into the next option's tag, or END: users see a stray
/// byte at the end of the name (netbootxyz/netboot.xyz#1198).
fn option_file(kind: Kind, message: &Message) -> Vec<u8> {
    let Some(value) = message.options.get(code::BOOT_FILE_NAME) else { return Vec::new() };
    let mut name = until_nul(value).to_vec();
    if kind == Kind::BiosPxe && !name.is_empty() && !value.contains(&0) {
        let following = message.options.iter().skip_while(|(code, _)| *code != code::BOOT_FILE_NAME).nth(1);
        name.push(following.map_or(255, |(tag, _)| tag));
    }
    name
}
