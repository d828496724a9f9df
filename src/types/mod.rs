//! Small values used everywhere: addresses, identities, architectures, time. This folder has no I/O and no policy.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use arch::Arch;
pub use firmware::Firmware;
pub use kind::{FileKind, Processor};
pub use machine_id::MachineId;
pub use network::{HostOrNetwork, Ipv4Network, Ipv4Range};
pub use rule::Rule;
pub use text::{BadText, Escaped};
pub use uuid::Uuid;

mod arch;
mod firmware;
mod kind;
mod machine_id;
mod network;
mod rule;
mod text;
mod uuid;

/// An Ethernet address: the content of `chaddr` when `htype` is 1 and `hlen` is 6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = BadText;

    /// Reads all common spellings: `52:54:00:12:34:56`, `52-54-00-12-34-56`, `5254.0012.3456`, `525400123456`.
    fn from_str(text: &str) -> Result<Self, BadText> {
        const EXPECTED: BadText = BadText("a MAC address like 52:54:00:12:34:56");
        let separators = text.chars().filter(|c| matches!(c, ':' | '-' | '.')).count();
        let parts: Vec<&str> = text.split([':', '-', '.']).collect();
        let widths_fit = match separators {
            5 => parts.iter().all(|p| (1..=2).contains(&p.len())),
            2 => parts.iter().all(|p| p.len() == 4),
            0 => text.len() == 12,
            _ => false,
        };
        if !widths_fit || !text.is_ascii() {
            return Err(EXPECTED);
        }
        let digits: String =
            parts.iter().map(|p| if p.len() == 1 { format!("0{p}") } else { (*p).to_owned() }).collect();
        let mut octets = [0; 6];
        for (i, octet) in octets.iter_mut().enumerate() {
            let pair = digits.get(2 * i..2 * i + 2).ok_or(EXPECTED)?;
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(EXPECTED);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| EXPECTED)?;
        }
        Ok(MacAddr(octets))
    }
}

/// A hardware address of any type, 0 to 16 bytes, as in `chaddr`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct HardwareAddr {
    len: u8,
    bytes: [u8; 16],
}

impl HardwareAddr {
    /// Returns `None` for more than 16 bytes.
    pub fn new(address: &[u8]) -> Option<HardwareAddr> {
        let mut bytes = [0; 16];
        bytes.get_mut(..address.len())?.copy_from_slice(address);
        Some(HardwareAddr { len: u8::try_from(address.len()).ok()?, bytes })
    }

    /// Returns the Ethernet address, if the address has 6 bytes.
    pub fn mac(&self) -> Option<MacAddr> {
        self.as_bytes().try_into().ok().map(MacAddr)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl From<MacAddr> for HardwareAddr {
    fn from(mac: MacAddr) -> HardwareAddr {
        HardwareAddr::new(&mac.0).unwrap_or_default()
    }
}

impl fmt::Debug for HardwareAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_colons(f, self.as_bytes())
    }
}

/// The identity of a client: its client identifier (option 61) if it sends one, else its hardware address.
///
/// See RFC 2131 section 2 and RFC 4361 section 6.1. The usual identifier "hardware type + MAC" is the same identity as
/// the bare MAC. So firmware, which sends no option 61, and iPXE, which sends 01+MAC, are one client.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<[u8]>);

impl ClientId {
    /// Returns the identity of a client with hardware type `htype`, hardware address `chaddr` (0 to 16 bytes) and
    /// client identifier `id` (2 to 255 bytes, type byte first), if it sent a usable one. Returns `None` if it has
    /// neither.
    pub fn new(htype: u8, chaddr: &[u8], id: Option<&[u8]>) -> Option<ClientId> {
        match id {
            Some(id) if (2..=255).contains(&id.len()) => Some(ClientId(id.into())),
            _ if chaddr.is_empty() => None,
            _ => Some(ClientId(std::iter::once(htype).chain(chaddr.iter().copied()).collect())),
        }
    }

    /// Returns the identity of an Ethernet client that sends no client identifier.
    pub fn of_mac(mac: MacAddr) -> ClientId {
        let [a, b, c, d, e, f] = mac.0;
        ClientId([1, a, b, c, d, e, f].into())
    }

    /// Returns the stored form: the type byte, then the identifier.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the stored form. Returns `None` for fewer than 2 bytes, which no client can have.
    pub fn from_stored(bytes: &[u8]) -> Option<ClientId> {
        (bytes.len() >= 2).then(|| ClientId(bytes.into()))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_colons(f, &self.0)
    }
}

fn write_colons(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
    }
    Ok(())
}

/// A point in wall-clock time: milliseconds since 1970-01-01 UTC. The core gets it as an argument and reads no clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns this moment plus `duration`, saturating.
    pub fn after(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns whole seconds since 1970, the unit of the store.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Rounds up to a whole second, so that a lease that is stored in seconds does not end too early.
    pub fn rounded_up(self) -> Timestamp {
        Timestamp(self.0.div_ceil(1000).saturating_mul(1000))
    }

    pub fn rounded_up_to_minute(self) -> Timestamp {
        Timestamp(self.0.div_ceil(60_000).saturating_mul(60_000))
    }

    pub fn from_seconds(seconds: u64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1000))
    }
}

/// The stage of a network boot, judged by the client of this message: firmware loads a loader, which asks again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// A plain BOOTP client (RFC 951): the message has no type.
    Bootp,
    /// Firmware with PXE: option 60 begins with `PXEClient`, or option 93 is present.
    Pxe,
    /// UEFI firmware with HTTP boot: option 60 begins with `HTTPClient`.
    Http,
    /// iPXE, in ROM or loaded: option 77 is `iPXE`, or option 175 is present.
    Ipxe,
    /// An operating system, or any other client that only wants an address.
    Other,
}

impl Stage {
    /// Whether the client declares that it boots from the network. Plain BOOTP may come from firmware but does not say
    /// so.
    pub fn is_network_boot(self) -> bool {
        matches!(self, Stage::Pxe | Stage::Http | Stage::Ipxe)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Bootp => "BOOTP",
            Stage::Pxe => "PXE",
            Stage::Http => "HTTP",
            Stage::Ipxe => "iPXE",
            Stage::Other => "DHCP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_read_in_every_common_spelling() {
        let mac = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x5f]);
        for text in
            ["52:54:00:12:34:5f", "52-54-00-12-34-5F", "5254.0012.345f", "52540012345f", "52:54:0:12:34:5f"]
        {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        for text in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:5g",
            "52:54:00:12:34:5f:00",
            "+2:54:00:12:34:5f",
            "5254001234é",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
        assert_eq!(mac.to_string(), "52:54:00:12:34:5f");
    }

    #[test]
    fn client_identifier_of_hardware_type_and_mac_is_the_mac() {
        let chaddr = [2, 0, 0, 0, 0, 1];
        let bare = ClientId::new(1, &chaddr, None);
        assert_eq!(bare, ClientId::new(1, &chaddr, Some(&[1, 2, 0, 0, 0, 0, 1])));
        assert_ne!(bare, ClientId::new(1, &chaddr, Some(b"\0other")));
        assert_eq!(bare, ClientId::new(1, &chaddr, Some(&[0])), "RFC 2132 9.14: shorter than 2 is none");
        assert_eq!(ClientId::new(1, &[], None), None);
    }

    #[test]
    fn wire_text_cannot_forge_a_log_line() {
        assert_eq!(Escaped(b"a\nb\x1b[0m\xff\\").to_string(), "a\\x0ab\\x1b[0m\\xff\\\\");
        assert!(Escaped(&[b'x'; 500]).to_string().len() < 210);
    }
}
