//! The limits and ports of TFTP, as `config/` fills them in.

use std::net::IpAddr;
use std::time::Duration;

use crate::types::Ipv4Network;

/// The maximum time without progress before a transfer ends, whatever `timeout` the client asked for. It is longer than
/// a machine takes to erase its flash or to bring its link up again.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);

/// The implementation that serves transfers: `tftp.engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// lanboot's own engine.
    Native,
    /// The crate async-tftp.
    AsyncTftp,
}

/// The UDP ports that transfers are sent from: `tftp.ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One port per transfer, chosen by the kernel (RFC 1350 section 4).
    Ephemeral,
    /// One port per transfer from `first` to `last`, both included. There can be only as many concurrent transfers as
    /// ports.
    Range {
        /// At least 1.
        first: u16,
        /// At least `first`.
        last: u16,
    },
    /// The port for requests serves all transfers, so that NAT and containers need only one port.
    Single,
}

/// Limits on transfers, and the networks that may request them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum block size in bytes of data; `None` means the interface's MTU − 32.
    pub max_block_size: Option<u16>,
    /// The maximum window in blocks (RFC 7440).
    pub max_window: u16,
    /// The maximum number of concurrent transfers. Further requests are refused.
    pub max_transfers: usize,
    /// The maximum number of concurrent transfers per client address. Several machines may share one address (NAT).
    pub max_per_client: usize,
    /// Networks that may send requests, besides those of the served interfaces and subnets.
    pub allow: Vec<Ipv4Network>,
}

impl Limits {
    /// RFC 7440 allows 65535, but no boot client gains from more than 64.
    pub const MAX_WINDOW: u16 = 64;
    /// The maximum window in bytes, whatever its blocks are. It limits the data that one client makes the server read
    /// and send at once to half of a request's memory budget; 64 blocks of Ethernet size are a fifth of it.
    pub const WINDOW_BYTES: u32 = 1 << 19;
    /// The bytes of an IPv4 header (20), a UDP header (8) and a TFTP header (4).
    pub const HEADERS: u32 = 32;

    /// The limits that every client and network can keep: one transfer, and one block of 512 bytes at a time.
    pub fn smallest() -> Limits {
        Limits {
            max_block_size: Some(512),
            max_window: 1,
            max_transfers: 1,
            max_per_client: 1,
            allow: Vec::new(),
        }
    }

    /// Returns the largest block that fits a datagram of `mtu` bytes without fragmentation (RFC 2348), within the
    /// configured limit. At least 512, which every client supports.
    pub fn block_size_for(&self, mtu: u32) -> u16 {
        let fits = u16::try_from(mtu.saturating_sub(Self::HEADERS)).unwrap_or(u16::MAX).clamp(512, 65464);
        self.max_block_size.map_or(fits, |limit| limit.min(fits))
    }

    /// Returns the maximum window in blocks of `block_size` bytes: the configured limit, within
    /// [`Limits::WINDOW_BYTES`]. At least 1.
    pub fn window_for(&self, block_size: u16) -> u16 {
        let fits = u16::try_from(Self::WINDOW_BYTES / u32::from(block_size.max(1))).unwrap_or(u16::MAX);
        self.max_window.min(Self::MAX_WINDOW).min(fits).max(1)
    }

    /// Whether a client at `address` may send requests. `served` are the networks of the interfaces and subnets.
    pub fn admits(&self, address: IpAddr, served: &[Ipv4Network]) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else { return false };
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
    fn only_served_and_allowed_networks_are_admitted() {
        let net = |text: &str| text.parse::<Ipv4Network>().unwrap();
        let limits = Limits {
            max_block_size: None,
            max_window: 64,
            max_transfers: 10,
            max_per_client: 10,
            allow: vec![net("10.0.0.0/8")],
        };
        let served = [net("192.168.77.0/24")];
        assert!(limits.admits([192, 168, 77, 9].into(), &served));
        assert!(limits.admits([10, 9, 8, 7].into(), &served));
        assert!(!limits.admits([192, 168, 78, 9].into(), &served));
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
