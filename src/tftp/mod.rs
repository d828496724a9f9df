//! TFTP: what is granted to a client (`negotiate.rs`) and how a transfer goes (`transfer.rs`). This folder never
//! touches a socket or a file.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::types::Ipv4Network;

pub use negotiate::{Granted, negotiate};
pub use step::{Input, Send, Step};
pub use transfer::Transfer;

pub mod admission;
pub mod negotiate;
pub mod netascii;
pub mod refusal;
pub mod rtt;
mod step;
pub mod stranger;
pub mod transfer;
pub mod upload;

/// How long a client may be silent until its transfer is given up, whatever `timeout` it asked for: longer than a machine
/// takes to erase its flash or to bring its link up again.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);

/// What serves the transfers: `tftp.engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// lanboot's own.
    Native,
    /// The crate async-tftp.
    AsyncTftp,
}

/// Which UDP ports transfers are sent from: `tftp.ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One of its own for each transfer, chosen by the kernel (RFC 1350 section 4).
    Ephemeral,
    /// One of its own for each transfer, from `first` to `last`, both included; `first` <= `last`. As many transfers
    /// at once as there are ports.
    Range {
        /// At least 1.
        first: u16,
        /// At least `first`.
        last: u16,
    },
    /// The port of requests for all of them, so that NAT and containers need to know one port.
    Single,
}

/// Limits on transfers, and who may ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest block granted, in bytes of data; `None` means the interface's MTU − 32.
    pub max_block_size: Option<u16>,
    /// The largest window granted (RFC 7440), in blocks.
    pub max_window: u16,
    /// Transfers at once; a request beyond that is refused.
    pub max_transfers: usize,
    /// Transfers at once of one client address. Several machines may stand behind one (NAT).
    pub max_per_client: usize,
    /// Networks that may ask, besides those of the served interfaces and subnets.
    pub allow: Vec<Ipv4Network>,
}

impl Limits {
    /// RFC 7440 allows 65535; nothing that boots asks for more than 64 with profit.
    pub const MAX_WINDOW: u16 = 64;
    /// Bytes of a window at most, whatever its blocks are: what one client may have us read and send at once. Half of
    /// what a request may cost us in memory; 64 blocks of Ethernet are a fifth of it.
    pub const WINDOW_BYTES: u32 = 1 << 19;
    /// Bytes of an IPv4 header (20), a UDP header (8) and a TFTP header (4).
    pub const HEADERS: u32 = 32;

    /// The largest block that a datagram of `mtu` bytes carries unfragmented (RFC 2348), within what is configured.
    /// At least 512, which every client accepts.
    pub fn block_size_for(&self, mtu: u32) -> u16 {
        let fits = u16::try_from(mtu.saturating_sub(Self::HEADERS)).unwrap_or(u16::MAX).clamp(512, 65464);
        self.max_block_size.map_or(fits, |limit| limit.min(fits))
    }

    /// The largest window of blocks of `block_size` bytes that is granted, in blocks: what is configured, and
    /// [`Limits::WINDOW_BYTES`]. At least 1.
    pub fn window_for(&self, block_size: u16) -> u16 {
        let fits = u16::try_from(Self::WINDOW_BYTES / u32::from(block_size.max(1))).unwrap_or(u16::MAX);
        self.max_window.min(Self::MAX_WINDOW).min(fits).max(1)
    }

    /// Whether a client at `address` may ask, given the `served` networks (interfaces and subnets).
    pub fn admits(&self, address: Ipv4Addr, served: &[Ipv4Network]) -> bool {
        served.iter().chain(&self.allow).any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2348_a_block_fits_the_mtu() {
        let limits = Limits {
            max_block_size: None,
            max_window: 64,
            max_transfers: 10,
            max_per_client: 10,
            allow: vec![],
        };
        assert_eq!(limits.block_size_for(1500), 1468);
        assert_eq!(limits.block_size_for(65536), 65464);
        assert_eq!(limits.block_size_for(68), 512);
        let limits = Limits { max_block_size: Some(1024), ..limits };
        assert_eq!(limits.block_size_for(1500), 1024);
        assert_eq!(limits.block_size_for(600), 568);
    }

    #[test]
    fn only_served_and_allowed_networks_may_ask() {
        let net = |text: &str| text.parse::<Ipv4Network>().unwrap();
        let limits = Limits {
            max_block_size: None,
            max_window: 64,
            max_transfers: 10,
            max_per_client: 10,
            allow: vec![net("10.0.0.0/8")],
        };
        let served = [net("192.168.77.0/24")];
        assert!(limits.admits(Ipv4Addr::new(192, 168, 77, 9), &served));
        assert!(limits.admits(Ipv4Addr::new(10, 9, 8, 7), &served));
        assert!(!limits.admits(Ipv4Addr::new(192, 168, 78, 9), &served));
    }

    #[test]
    fn a_window_is_bounded_in_blocks_and_bytes() {
        let limits = |max_window| Limits {
            max_block_size: None,
            max_window,
            max_transfers: 10,
            max_per_client: 10,
            allow: vec![],
        };
        assert_eq!(limits(64).window_for(1468), 64);
        assert_eq!(limits(65535).window_for(1468), 64);
        assert_eq!(limits(4).window_for(1468), 4);
        assert_eq!(limits(0).window_for(1468), 1);
        assert_eq!(limits(64).window_for(65464), 8);
    }
}
