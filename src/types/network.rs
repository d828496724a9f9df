//! IPv4 networks and address ranges, and the network that limits per client count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::types::text::BadText;

/// Returns the key under which limits per client count `address`: an IPv4 address itself, but the /64 network of an IPv6
/// address, because one host may use all addresses of its network (RFC 8981).
pub fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
    }
}

/// An IPv4 network. The host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ipv4Network {
    address: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Network {
    /// Returns the network of `prefix` bits that contains `address`; `None` if `prefix` is more than 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Network> {
        let mask = u32::MAX.checked_shl(32u32.checked_sub(u32::from(prefix))?).unwrap_or(0);
        Some(Ipv4Network { address: Ipv4Addr::from(u32::from(address) & mask), prefix })
    }

    /// Returns the lowest address: `192.168.77.0` of `192.168.77.0/24`.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// Returns the highest address, which is the broadcast address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !u32::from(self.mask()))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.address)
    }

    /// Whether a host can have `address`: it is in the network and, up to /30, neither its first nor its last address.
    pub fn has_host(self, address: Ipv4Addr) -> bool {
        let edge = self.prefix < 31 && (address == self.address || address == self.broadcast());
        self.contains(address) && !edge
    }
}

impl fmt::Display for Ipv4Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Network {
    type Err = BadText;

    /// Reads `192.168.77.0/24`. Host bits must be zero, so that a typo does not silently give another network.
    fn from_str(text: &str) -> Result<Self, BadText> {
        const EXPECTED: BadText = BadText("a network like 192.168.77.0/24");
        let (address, prefix) = text.split_once('/').ok_or(EXPECTED)?;
        let address: Ipv4Addr = address.parse().map_err(|_| EXPECTED)?;
        let network = Ipv4Network::new(address, prefix.parse().map_err(|_| EXPECTED)?).ok_or(EXPECTED)?;
        if network.address != address {
            return Err(BadText("a network like 192.168.77.0/24: the bits after the prefix must be zero"));
        }
        Ok(network)
    }
}

/// A network, or one address as a network of 32 bits. `Display` writes an address without the prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HostOrNetwork(pub Ipv4Network);

impl fmt::Display for HostOrNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix == 32 { write!(f, "{}", self.0.address) } else { write!(f, "{}", self.0) }
    }
}

impl FromStr for HostOrNetwork {
    type Err = BadText;

    /// Reads `10.9.0.1` or `10.9.0.0/16`.
    fn from_str(text: &str) -> Result<Self, BadText> {
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Ok(HostOrNetwork(Ipv4Network { address, prefix: 32 })),
            Err(_) => text.parse().map(HostOrNetwork),
        }
    }
}

/// A range of IPv4 addresses, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ipv4Range {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl Ipv4Range {
    /// Returns `None` if `first` is greater than `last`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Ipv4Range> {
        (first <= last).then_some(Ipv4Range { first, last })
    }

    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    pub fn last(self) -> Ipv4Addr {
        self.last
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Whether the two ranges have an address in common.
    pub fn overlaps(self, other: Ipv4Range) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns the number of addresses.
    pub fn size(self) -> u64 {
        u64::from(u32::from(self.last)) - u64::from(u32::from(self.first)) + 1
    }
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Ipv4Range {
    type Err = BadText;

    /// Reads `192.168.77.50-192.168.77.200` or a single address.
    fn from_str(text: &str) -> Result<Self, BadText> {
        const EXPECTED: BadText = BadText("a range like 192.168.77.50-192.168.77.200, lower address first");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first = first.trim().parse().map_err(|_| EXPECTED)?;
        let last = last.trim().parse().map_err(|_| EXPECTED)?;
        Ipv4Range::new(first, last).ok_or(EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_network() {
        let key = |address: &str| limit_key(address.parse().unwrap()).to_string();
        assert_eq!(key("10.0.0.9"), "10.0.0.9");
        assert_eq!(key("::ffff:10.0.0.9"), "10.0.0.9");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::"));
    }

    #[test]
    fn networks_and_ranges_know_their_addresses() {
        let net: Ipv4Network = "192.168.77.0/24".parse().unwrap();
        assert_eq!(net.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert!(net.has_host(Ipv4Addr::new(192, 168, 77, 1)));
        assert!(!net.has_host(net.broadcast()) && !net.has_host(net.address()));
        assert!("192.168.77.1/24".parse::<Ipv4Network>().is_err());
        assert!("192.168.77.0/33".parse::<Ipv4Network>().is_err());
        let all: Ipv4Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(Ipv4Addr::BROADCAST));
        let range: Ipv4Range = "10.0.0.5-10.0.0.9".parse().unwrap();
        assert_eq!(range.size(), 5);
        assert!("10.0.0.9-10.0.0.5".parse::<Ipv4Range>().is_err());
    }
}
