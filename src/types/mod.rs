//! Small values used everywhere: addresses, identities, architectures, time. This folder has no I/O and no policy.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;
use std::time::Duration;

pub use arch::Arch;
pub use client::{ClientId, HardwareAddr, MacAddr};
pub use firmware::Firmware;
pub use hardware::Hardware;
pub use hex::{from_hex, to_colon_hex, to_hex};
pub use interface_name::InterfaceName;
pub use kind::{FileKind, Processor};
pub use machine_id::MachineId;
pub use network::{HostOrNetwork, Ipv4Network, Ipv4Range, limit_key};
pub use rule::Rule;
pub use severity::Severity;
pub use text::{BadText, Escaped, Quoted, cut};
pub use uuid::Uuid;

mod arch;
mod client;
mod firmware;
mod hardware;
mod hex;
mod interface_name;
mod kind;
mod machine_id;
mod network;
mod rule;
mod severity;
mod text;
mod uuid;

/// A point in wall-clock time: milliseconds since 1970-01-01 UTC. The core gets it as an argument and reads no clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns this moment plus `duration`, saturating.
    pub fn after(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns this moment minus `duration`, at the earliest 1970.
    pub fn before(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
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
