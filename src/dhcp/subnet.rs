//! Finds the subnet of a client. `classify.rs` calls it for each message. It never looks at leases.

use std::net::Ipv4Addr;

use crate::dhcp::arrival::Arrival;
use crate::dhcp::settings::Settings;
use crate::event::DropReason;

impl Settings {
    /// The index of the client's subnet in `subnets`, and our address for the client there. The first of these that
    /// applies decides:
    ///
    /// - `selected`, if the relay agent or the client selects a subnet (RFC 3527, RFC 3011);
    /// - `giaddr`, if a relay agent set it (RFC 2131 section 4.3.1);
    /// - `ciaddr`, if the client has an address, because the message may have come through a router;
    /// - the addresses of the interface.
    ///
    /// A relay agent must be a known one, whatever it selects.
    pub fn subnet_for(
        &self,
        giaddr: Ipv4Addr,
        ciaddr: Ipv4Addr,
        selected: Option<Ipv4Addr>,
        here: &Arrival,
    ) -> Result<(usize, Ipv4Addr), DropReason> {
        let containing = |address: Ipv4Addr| self.subnets.iter().position(|s| s.network.contains(address));
        if !giaddr.is_unspecified() {
            let by_list = self.listing_relay(giaddr, |_| true);
            let subnet = containing(giaddr).or(by_list).ok_or(DropReason::UnknownRelay)?;
            let subnet = selected.map_or(Some(subnet), containing).ok_or(DropReason::NoSubnet)?;
            return Ok((subnet, here.server()));
        }
        let on_wire = here.addresses.iter().find_map(|address| Some((containing(*address)?, *address)));
        if let Some(address) = selected {
            let server = on_wire.map_or(here.server(), |(_, server)| server);
            return containing(address).map(|subnet| (subnet, server)).ok_or(DropReason::NoSubnet);
        }
        if ciaddr.is_unspecified() {
            return on_wire.ok_or(DropReason::NoSubnet);
        }
        let is_beside = |address: &&Ipv4Addr, subnet: usize| {
            containing(**address).is_some_and(|other| self.wire_of(other).any(|i| i == subnet))
        };
        match containing(ciaddr).map(|subnet| (subnet, here.addresses.iter().find(|a| is_beside(a, subnet))))
        {
            Some((subnet, Some(server))) => Ok((subnet, *server)),
            // The client is behind a router, because it sent the message to us alone. A broadcast comes from this wire,
            // whatever its `ciaddr` is.
            Some((subnet, None)) if here.addresses.contains(&here.destination) => Ok((subnet, here.server())),
            _ => on_wire.ok_or(DropReason::NoSubnet),
        }
    }

    /// Another subnet that the client may be in, and our address there, if the classes of the client keep it out of the
    /// one that [`Settings::subnet_for`] returns: another subnet that lists the relay agent, or another subnet of the
    /// interface. `admits` says whether a subnet admits the client.
    pub fn other_subnet_for(
        &self,
        giaddr: Ipv4Addr,
        selected: Option<Ipv4Addr>,
        here: &Arrival,
        admits: impl Fn(usize) -> bool,
    ) -> Option<(usize, Ipv4Addr)> {
        if selected.is_some() {
            return None;
        }
        if !giaddr.is_unspecified() {
            return Some((self.listing_relay(giaddr, admits)?, here.server()));
        }
        here.addresses.iter().find_map(|address| {
            let subnet = self.subnets.iter().position(|subnet| subnet.network.contains(*address))?;
            admits(subnet).then_some((subnet, *address))
        })
    }

    /// The subnet whose `relays` contain `giaddr`, of those for which `admits` holds. The longest prefix counts, and of
    /// equal ones the first.
    fn listing_relay(&self, giaddr: Ipv4Addr, admits: impl Fn(usize) -> bool) -> Option<usize> {
        let prefix_of = |place: usize| self.subnets.get(place).and_then(|subnet| subnet.lists_relay(giaddr));
        let listing = (0..self.subnets.len()).filter_map(|place| Some((prefix_of(place)?, place)));
        let admitted = listing.filter(|(_, place)| admits(*place));
        admitted.min_by_key(|(prefix, place)| (std::cmp::Reverse(*prefix), *place)).map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddrV4;

    use crate::boot::fetch::Served;
    use crate::boot::plan::Mode;
    use crate::boot::policy::Policy;
    use crate::dhcp::classes::Classes;
    use crate::dhcp::level::Level;
    use crate::dhcp::machines::{Machines, OnceBoots};
    use crate::dhcp::mode::Modes;
    use crate::dhcp::settings::{Authoritative, BootpMode, Ports, Subnet};
    use crate::types::Ipv4Network;

    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn settings() -> Settings {
        let subnet = |network: &str, relays: &[[u8; 4]]| Subnet {
            network: network.parse().unwrap(),
            pools: vec![],
            boot_lease: None,
            relays: relays
                .iter()
                .map(|octets| Ipv4Network::new(Ipv4Addr::from(*octets), 32).unwrap())
                .collect(),
            classes: vec![],
            shared_network: None,
            level: Level::default(),
        };
        Settings {
            modes: Modes::all(Some(Mode::Server)),
            authoritative: Authoritative::Yes,
            match_client_id: true,
            echo_client_id: true,
            always_broadcast: false,
            conflict_check: None,
            bootp: BootpMode::Reserved,
            fqdn_suffix: None,
            subnet_selection: false,
            ports: Ports { server: 67, client: 68, proxy: 4011 },
            subnets: vec![subnet("10.0.1.0/24", &[]), subnet("10.0.2.0/24", &[[172, 16, 0, 1]])],
            level: Level::default(),
            classes: Classes::default(),
            machines: Machines::default(),
            once: OnceBoots::default(),
            boot: Policy::default(),
            target_hosts: vec![],
            served: Served::default(),
        }
    }

    fn arrival(addresses: &[[u8; 4]], destination: Ipv4Addr) -> Arrival {
        Arrival {
            interface: "eth1".into(),
            addresses: addresses.iter().map(|octets| Ipv4Addr::from(*octets)).collect(),
            networks: [].into(),
            destination,
            source: SocketAddrV4::new(NONE, 68),
            mtu: 1500,
            loopback: false,
            mode: Mode::Server,
            boot_service: false,
            waited: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn rfc2131_4_3_1_the_relay_the_client_or_the_interface_names_the_subnet() {
        let settings = settings();
        let ip = |octets: [u8; 4]| Ipv4Addr::from(octets);
        let here = arrival(&[[192, 168, 0, 1], [10, 0, 1, 1]], Ipv4Addr::BROADCAST);
        assert_eq!(settings.subnet_for(NONE, NONE, None, &here), Ok((0, ip([10, 0, 1, 1]))));
        assert_eq!(settings.subnet_for(ip([10, 0, 2, 1]), NONE, None, &here), Ok((1, ip([192, 168, 0, 1]))));
        assert_eq!(
            settings.subnet_for(ip([172, 16, 0, 1]), NONE, None, &here),
            Ok((1, ip([192, 168, 0, 1])))
        );
        assert_eq!(
            settings.subnet_for(ip([172, 16, 0, 2]), NONE, None, &here),
            Err(DropReason::UnknownRelay)
        );
        assert_eq!(settings.subnet_for(NONE, ip([10, 0, 1, 9]), None, &here), Ok((0, ip([10, 0, 1, 1]))));
        let routed = arrival(&[[192, 168, 0, 1], [10, 0, 1, 1]], ip([10, 0, 1, 1]));
        assert_eq!(settings.subnet_for(NONE, ip([10, 0, 2, 9]), None, &routed), Ok((1, ip([10, 0, 1, 1]))));
        let moved = arrival(&[[192, 168, 0, 1], [10, 0, 1, 1]], Ipv4Addr::BROADCAST);
        let from_wire = settings.subnet_for(NONE, ip([10, 0, 2, 9]), None, &moved);
        assert_eq!(from_wire, Ok((0, ip([10, 0, 1, 1]))), "a broadcast comes from this wire");
        let both = arrival(&[[10, 0, 1, 1], [10, 0, 2, 1]], Ipv4Addr::BROADCAST);
        assert_eq!(settings.subnet_for(NONE, ip([10, 0, 2, 9]), None, &both), Ok((1, ip([10, 0, 2, 1]))));
        let elsewhere = arrival(&[[192, 168, 0, 1]], Ipv4Addr::BROADCAST);
        assert_eq!(settings.subnet_for(NONE, NONE, None, &elsewhere), Err(DropReason::NoSubnet));
        assert_eq!(settings.subnet_for(NONE, ip([10, 9, 9, 9]), None, &elsewhere), Err(DropReason::NoSubnet));
    }
}
