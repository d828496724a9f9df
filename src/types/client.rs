//! The identities of a client on the network: its hardware address and its client identifier.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::types::hex::to_colon_hex;
use crate::types::text::BadText;

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
    f.write_str(&to_colon_hex(bytes))
}
