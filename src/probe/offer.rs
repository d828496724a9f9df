//! Reads a reply as each kind of client does, and reports why a client would ignore it.

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

/// The content of an OFFER, an ACK, a BOOTP reply or a boot server's answer, as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The assigned address; 0.0.0.0 in a proxy's reply, which only names a boot file.
    pub address: Ipv4Addr,
    /// The server: option 54, else siaddr, else the source of the packet.
    pub server: Ipv4Addr,
    /// The server that this client will load the file from.
    pub next_server: Ipv4Addr,
    /// The file name as this client reads it: any bytes but NUL; empty without a file.
    pub file: Vec<u8>,
    /// The lease time (option 51).
    pub lease: Option<Duration>,
    /// The kind of client that the reply is for (option 60).
    pub class: Class,
    /// Option 43, if `class` is [`Class::Pxe`].
    pub vendor: Vendor,
    /// The source of the packet.
    pub source: SocketAddrV4,
    /// `siaddr` as sent.
    pub(super) siaddr: Ipv4Addr,
    /// All options as sent.
    pub options: Options,
}

/// The meaning of option 60 in a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Another class, or none.
    Plain,
    /// `PXEClient`.
    Pxe,
    /// `HTTPClient`.
    Http,
}

impl Offer {
    /// Whether the reply assigns no address, as those of proxyDHCP servers.
    pub fn is_proxy(&self) -> bool {
        self.address.is_unspecified()
    }

    /// Whether the firmware asks port 4011 for the boot file: option 60 is present, and option 43 has no instructions
    /// ("BINL" in EDK2's terms).
    pub fn asks_boot_server(&self) -> bool {
        self.class == Class::Pxe && !self.vendor.discovers
    }

    /// Returns the network of the address (option 1).
    pub fn network(&self) -> Option<Ipv4Network> {
        let mask = u32::from(self.options.ip(code::SUBNET_MASK)?);
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        let network = Ipv4Network::new(self.address, prefix)?;
        (u32::from(network.mask()) == mask).then_some(network)
    }

    /// Returns the first router (option 3).
    pub fn router(&self) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.options.get(code::ROUTER)?.get(..4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    }

    /// Whether iPXE must not wait for a proxy: suboption 176 (`no-pxedhcp`) of option 175.
    pub(super) fn ignores_proxies(&self) -> bool {
        ipxe_suboption(&self.options, 176).is_some_and(|value| value != 0)
    }

    /// Returns suboption 1 of option 175: iPXE prefers the server with the highest value.
    pub(super) fn priority(&self) -> i8 {
        ipxe_suboption(&self.options, 1).map_or(0, u8::cast_signed)
    }
}

/// Returns a one-byte suboption of option 175.
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

/// The reason why a client ignores a reply to its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// The reply is larger than the 1472 bytes that EDK2 reads (`PxeBcDhcp4.c`).
    TooLong,
    /// The options end in the middle of one (number 0 here), or the option with this number has an impossible length.
    /// EDK2 drops the whole packet (`DhcpValidateOptions`).
    BadOption(u8),
    /// A DHCP client got a BOOTP reply, or a BOOTP client a DHCP message.
    WrongProtocol,
    /// The reply has no address, and nothing else that this client could use.
    NoAddress,
    /// The server identifier (option 54) is missing, which every DHCP reply must have (RFC 2131 table 3).
    NoServerIdentifier,
    /// The reply has an address, but neither it nor a proxy names a boot file.
    NoFile,
    /// Option 43 has only MTFTP items (1 to 5). EDK2 discards such an offer (`PxeBcDhcp4.c`).
    OnlyMtftp,
    /// The source port is not the server port, which iPXE's `dhcp.c` requires.
    WrongPort,
    /// Option 60 is HTTPClient but the boot file is not a URL (`HttpBootDhcp4.c` drops such packets).
    NoUrl,
    /// Option 60 is not HTTPClient, so UEFI HTTP boot ignores the boot file.
    NotForHttp,
    /// The URL has a host name, but no offer has a DNS server (option 6).
    NoDns,
    /// EDK2 already has 16 offers.
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

/// The maximum DHCP payload that EDK2 reads, in bytes.
const EDK2_MAX_LEN: usize = 1472;

/// Reads an OFFER, an ACK, a boot server's answer or a BOOTP reply as a client with this firmware does.
///
/// The caller has checked that the message answers this client. `len` is the length of the payload in bytes; `port` is
/// the destination port of the request.
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
    // iPXE falls back to siaddr, then to the source of the packet (`dhcp.c`). PXE firmware does not.
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

/// Returns the message type for a DHCP client. A BOOTP client accepts only messages without one.
pub(super) fn message_type(firmware: Firmware, message: &Message) -> Result<Option<MessageType>, Unusable> {
    match (firmware, message.message_type()) {
        (Firmware::Bootp, None) => Ok(None),
        (Firmware::Bootp, Some(_)) | (_, None | Some(Err(()))) => Err(Unusable::WrongProtocol),
        (_, Some(Ok(message_type))) => Ok(Some(message_type)),
    }
}

/// Checks a reply as EDK2 does before reading it: one invalid length and the packet is dropped (`DhcpValidateOptions`).
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

/// Checks for replies that a client drops immediately.
fn check_as_firmware(firmware: Firmware, offer: &Offer) -> Result<(), Unusable> {
    match firmware {
        Firmware::BiosPxe | Firmware::Uefi if offer.vendor.mtftp && !offer.vendor.discovers => {
            Err(Unusable::OnlyMtftp)
        }
        Firmware::UefiHttp if offer.class == Class::Http && !is_url(&offer.file) => Err(Unusable::NoUrl),
        _ => Ok(()),
    }
}

/// Checks whether a client that needs an address keeps an offer: it must have an address, or at least a boot file for
/// another offer's address. Answers of boot servers are not checked here.
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

/// Returns the server that the client loads from. EDK2: the first boot server in option 43 if the file is to be loaded
/// immediately, else siaddr, else option 54 (`PxeBcBoot.c`). BIOS ROMs also read option 66. iPXE and BOOTP clients read
/// only siaddr.
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

/// Returns the file name. EDK2 prefers option 67 (`PxeBcDhcp4.c`), iPXE and BIOS ROMs the header; BOOTP reads only the
/// header.
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

/// Returns option 67 up to its NUL. Without a NUL, a BIOS ROM reads on into the next option's code or END, so users see
/// a stray byte at the end of the name (netbootxyz/netboot.xyz#1198).
fn option_file(firmware: Firmware, message: &Message) -> Vec<u8> {
    let Some(value) = message.options.get(code::BOOT_FILE_NAME) else { return Vec::new() };
    let mut name = until_nul(value).to_vec();
    if firmware == Firmware::BiosPxe && !name.is_empty() && !value.contains(&0) {
        let following = message.options.iter().skip_while(|(code, _)| *code != code::BOOT_FILE_NAME).nth(1);
        name.push(following.map_or(255, |(tag, _)| tag));
    }
    name
}
