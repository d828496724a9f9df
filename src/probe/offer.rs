//! What each kind of client reads from a reply, and why it would not take one.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::profile::Firmware;
use super::text::printable;
use super::vendor::Vendor;
use crate::types::Ipv4Network;
use crate::wire::dhcp::{Message, MessageType, Options, until_nul};
use crate::wire::option::{self, code};
use crate::wire::pxe;

/// What a client took from an OFFER, an ACK, a BOOTP reply or a boot server's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The address we get; 0.0.0.0 from a proxy, which only says what to boot.
    pub address: Ipv4Addr,
    /// Who answers: option 54, else siaddr, else the packet's source.
    pub server: Ipv4Addr,
    /// Where this client will look for the file.
    pub next_server: Ipv4Addr,
    /// The file's name as this client reads it: any bytes but NUL. Empty if there is none.
    pub file: Vec<u8>,
    /// For how long (option 51).
    pub lease: Option<Duration>,
    /// Which machine the sender takes itself to talk to (option 60).
    pub class: Class,
    /// Option 43, if `class` is [`Class::Pxe`].
    pub vendor: Vendor,
    /// Where the packet came from.
    pub source: SocketAddrV4,
    /// `siaddr`, as sent.
    pub(super) siaddr: Ipv4Addr,
    /// All options, as sent.
    pub options: Options,
}

/// What option 60 of a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Nothing of booting.
    Plain,
    /// `PXEClient`.
    Pxe,
    /// `HTTPClient`.
    Http,
}

impl Offer {
    /// Whether it gives no address: half of an answer, from a proxyDHCP server.
    pub fn is_proxy(&self) -> bool {
        self.address.is_unspecified()
    }

    /// Whether the firmware asks port 4011 what to boot: option 60 is there, and no option 43 says what to do ("BINL" in
    /// EDK2's words).
    pub fn asks_boot_server(&self) -> bool {
        self.class == Class::Pxe && !self.vendor.discovers
    }

    /// The network that the address is in (option 1).
    pub fn network(&self) -> Option<Ipv4Network> {
        let mask = u32::from(self.options.ip(code::SUBNET_MASK)?);
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        let network = Ipv4Network::new(self.address, prefix)?;
        (u32::from(network.mask()) == mask).then_some(network)
    }

    /// The first router (option 3).
    pub fn router(&self) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.options.get(code::ROUTER)?.get(..4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    }

    /// iPXE's suboption 176 (`no-pxedhcp`) in option 175: do not wait for a proxy.
    pub(super) fn ignores_proxies(&self) -> bool {
        ipxe_suboption(&self.options, 176).is_some_and(|value| value != 0)
    }

    /// iPXE's suboption 1 in option 175: of several servers the one with the highest is taken.
    pub(super) fn priority(&self) -> i8 {
        ipxe_suboption(&self.options, 1).map_or(0, u8::cast_signed)
    }
}

/// The value of a one-byte suboption of option 175.
fn ipxe_suboption(options: &Options, wanted: u8) -> Option<u8> {
    let mut rest = options.get(code::ETHERBOOT)?;
    while let [tag, len, tail @ ..] = rest {
        let (value, after) = tail.split_at_checked(usize::from(*len))?;
        if *tag == wanted {
            return value.first().copied();
        }
        rest = after;
    }
    None
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_proxy() {
            write!(f, "without an address (a proxy) from {}", self.server)?;
        } else {
            write!(f, "{} from {}", self.address, self.server)?;
        }
        if self.asks_boot_server() {
            f.write_str(", to be asked on port 4011")?;
        } else if self.file.is_empty() {
            f.write_str(", no file")?;
        } else {
            write!(f, ", file {}", printable(&self.file))?;
            if self.next_server != self.server {
                write!(f, " on {}", self.next_server)?;
            }
        }
        if self.class == Class::Pxe && self.vendor.discovers && !self.vendor.menu.is_empty() {
            write!(f, ", {}", self.vendor)?;
        }
        Ok(())
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
    /// No address in it, and nothing else that this client could use.
    NoAddress,
    /// No server identifier (option 54), which every DHCP reply must have (RFC 2131 table 3).
    NoServerIdentifier,
    /// It gives an address, and neither it nor a proxy names a boot file.
    NoFile,
    /// Option 43 has only MTFTP items (1 to 5): EDK2 discards such an offer (`PxeBcDhcp4.c`).
    OnlyMtftp,
    /// It came from another port than the server's (iPXE `dhcp.c` insists on that).
    WrongPort,
    /// Option 60 is HTTPClient, and the boot file is no URL (`HttpBootDhcp4.c` drops such a packet).
    NoUrl,
    /// Option 60 is not HTTPClient, so UEFI's HTTP boot does not look at the boot file.
    NotForHttp,
    /// The URL has a name in it, and no offer has a DNS server (option 6).
    NoDns,
    /// EDK2 keeps 16 offers and this one came after.
    TooMany,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::TooLong => "it is longer than the 1472 bytes this firmware reads",
            Unusable::BadOption(0) => "its options end in the middle of one",
            Unusable::BadOption(code) => return write!(f, "option {code} in it has a bad length"),
            Unusable::WrongProtocol => "it is BOOTP where DHCP was asked, or the other way round",
            Unusable::NoAddress => "it gives neither an address nor anything else that this client can use",
            Unusable::NoServerIdentifier => "it has no server identifier (option 54)",
            Unusable::NoFile => "it names no boot file",
            Unusable::OnlyMtftp => {
                "its option 43 has only multicast TFTP items, which this firmware discards"
            }
            Unusable::WrongPort => "it came from another port than the server's",
            Unusable::NoUrl => "it says HTTPClient and its boot file is no URL",
            Unusable::NotForHttp => "it does not say HTTPClient (option 60), which HTTP boot insists on",
            Unusable::NoDns => "the URL has a name in it, and no DNS server (option 6) is offered",
            Unusable::TooMany => "16 others came before it, and firmware keeps no more",
        })
    }
}

/// Largest DHCP payload that EDK2 reads, bytes.
const EDK2_MAX_LEN: usize = 1472;

/// What a client with this firmware reads from an OFFER, an ACK, a boot server's answer or a BOOTP reply.
///
/// The caller has checked that the message is a reply to us. `len` is that of the whole payload, bytes; `port` the one
/// that the question went to.
pub(super) fn read(
    firmware: Firmware,
    message: &Message,
    len: usize,
    source: SocketAddrV4,
    port: u16,
) -> Result<Offer, Unusable> {
    if firmware == Firmware::Ipxe && source.port() != port {
        return Err(Unusable::WrongPort);
    }
    if firmware.is_edk2() {
        check_as_edk2(message, len)?;
    }
    let identifier = message.options.ip(code::SERVER_IDENTIFIER).filter(|ip| !ip.is_unspecified());
    // iPXE falls back on siaddr and then on the packet's source (`dhcp.c`); PXE firmware does not.
    if identifier.is_none() && !matches!(firmware, Firmware::Ipxe | Firmware::Bootp) {
        return Err(Unusable::NoServerIdentifier);
    }
    let class = class(&message.options);
    let vendor = message.options.get(code::VENDOR_SPECIFIC).filter(|_| class == Class::Pxe);
    let vendor = vendor.map(Vendor::read).unwrap_or_default();
    let siaddr = Some(message.siaddr).filter(|ip| !ip.is_unspecified());
    let file = file(firmware, message);
    let offer = Offer {
        address: message.yiaddr,
        server: identifier.or(siaddr).unwrap_or(*source.ip()),
        next_server: next_server(firmware, message, identifier, &vendor, !file.is_empty()),
        file,
        lease: message.options.u32(code::LEASE_TIME).map(|seconds| Duration::from_secs(seconds.into())),
        class,
        vendor,
        source,
        siaddr: message.siaddr,
        options: message.options.clone(),
    };
    check_as_firmware(firmware, &offer)?;
    Ok(offer)
}

/// The message type, for a DHCP client; a BOOTP client takes only messages without one.
pub(super) fn message_type(firmware: Firmware, message: &Message) -> Result<Option<MessageType>, Unusable> {
    match (firmware, message.message_type()) {
        (Firmware::Bootp, None) => Ok(None),
        (Firmware::Bootp, Some(_)) | (_, None | Some(Err(()))) => Err(Unusable::WrongProtocol),
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

/// What a client drops at once.
fn check_as_firmware(firmware: Firmware, offer: &Offer) -> Result<(), Unusable> {
    match firmware {
        Firmware::BiosPxe | Firmware::Uefi if offer.vendor.mtftp && !offer.vendor.discovers => {
            Err(Unusable::OnlyMtftp)
        }
        Firmware::UefiHttp if offer.class == Class::Http && !is_url(&offer.file) => Err(Unusable::NoUrl),
        _ => Ok(()),
    }
}

/// What a client that looks for an address keeps: one, or at least what to boot with another's. A boot server's answer is
/// not judged by this.
pub(super) fn check_address(firmware: Firmware, offer: Offer) -> Result<Offer, Unusable> {
    let useful_proxy = match firmware {
        Firmware::BiosPxe | Firmware::Uefi | Firmware::Ipxe => offer.class == Class::Pxe,
        Firmware::UefiHttp => offer.class == Class::Http,
        Firmware::Bootp => false,
    };
    if offer.is_proxy() && !useful_proxy { Err(Unusable::NoAddress) } else { Ok(offer) }
}

/// Whether a boot file is a URL.
pub(super) fn is_url(file: &[u8]) -> bool {
    file.windows(3).any(|window| window == b"://")
}

fn class(options: &Options) -> Class {
    match options.get(code::VENDOR_CLASS) {
        Some(value) if value.starts_with(pxe::PXE_CLIENT) => Class::Pxe,
        Some(value) if value.starts_with(pxe::HTTP_CLIENT) => Class::Http,
        _ => Class::Plain,
    }
}

/// Where the client loads from. EDK2: the first boot server of option 43 if the file is to be loaded at once, else siaddr,
/// else option 54 (`PxeBcBoot.c`); BIOS ROMs also look at option 66; iPXE and BOOTP clients know only siaddr.
fn next_server(
    firmware: Firmware,
    message: &Message,
    identifier: Option<Ipv4Addr>,
    vendor: &Vendor,
    has_file: bool,
) -> Ipv4Addr {
    let listed = vendor.servers.first().and_then(|(_, addresses)| addresses.first());
    if firmware == Firmware::Uefi
        && vendor.file_at_once()
        && has_file
        && let Some(listed) = listed
    {
        return *listed;
    }
    if !message.siaddr.is_unspecified() || matches!(firmware, Firmware::Ipxe | Firmware::Bootp) {
        return message.siaddr;
    }
    let named = message.options.get(code::TFTP_SERVER_NAME).filter(|_| firmware == Firmware::BiosPxe);
    let named = named.and_then(|value| std::str::from_utf8(until_nul(value)).ok()?.parse().ok());
    named.or(identifier).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// The file's name. EDK2 prefers option 67 (`PxeBcDhcp4.c`), iPXE and BIOS ROMs the header, BOOTP knows only that.
fn file(firmware: Firmware, message: &Message) -> Vec<u8> {
    let header = message.file_name();
    let option = option_file(firmware, message);
    match firmware {
        Firmware::Uefi | Firmware::UefiHttp if !option.is_empty() => option,
        Firmware::Bootp => header.to_vec(),
        _ if !header.is_empty() => header.to_vec(),
        _ => option,
    }
}

/// Option 67 up to its NUL. A BIOS ROM that finds none reads on into the next option's tag, or END: users see a stray
/// byte at the end of the name (netbootxyz/netboot.xyz#1198).
fn option_file(firmware: Firmware, message: &Message) -> Vec<u8> {
    let Some(value) = message.options.get(code::BOOT_FILE_NAME) else { return Vec::new() };
    let mut name = until_nul(value).to_vec();
    if firmware == Firmware::BiosPxe && !name.is_empty() && !value.contains(&0) {
        let following = message.options.iter().skip_while(|(code, _)| *code != code::BOOT_FILE_NAME).nth(1);
        name.push(following.map_or(255, |(tag, _)| tag));
    }
    name
}
