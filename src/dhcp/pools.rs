//! The pools of the lease book as the settings define them. The engine and the store fill their books with these pools.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::dhcp::machines::Machine;
use crate::dhcp::named_addresses::named_addresses;
use crate::dhcp::settings::{AddressPool, Settings, Subnet};
use crate::lease::{Expected, Pool};
use crate::types::MacAddr;

impl Settings {
    /// The pools of the subnets, in the order of the configuration, without the addresses that are reserved for machines
    /// or that routers, servers or relay agents have. Each pool expects the machines that have no reserved address.
    pub fn pools(&self) -> Vec<Pool> {
        let without: Vec<&Machine> =
            self.machines.iter().filter(|machine| machine.addresses.is_empty()).collect();
        let macs: HashSet<MacAddr> =
            without.iter().flat_map(|machine| machine.macs.iter().copied()).collect();
        let others = without.iter().filter(|machine| machine.macs.is_empty()).count();
        let expected = Expected { macs: Arc::new(macs), others };
        let named: Vec<Ipv4Addr> = named_addresses(self).into_iter().map(|named| named.address).collect();
        let reserved = self.machines.iter().flat_map(|machine| machine.addresses.iter().copied());
        let kept: BTreeSet<Ipv4Addr> = reserved.chain(named).collect();
        let pool = |(place, subnet): (usize, &Subnet)| {
            let wire = self.is_shared(place).then(|| self.wire_of(place).min()).flatten();
            let kept = kept.range(subnet.network.address()..=subnet.network.broadcast()).copied();
            let ranges = |part: &[AddressPool]| part.iter().map(|pool| pool.range).collect();
            let pool = Pool::in_parts(subnet.network, subnet.parts().map(ranges).collect(), kept);
            let pool = pool.guarding(|part| {
                let first = subnet.parts().nth(part).and_then(<[_]>::first);
                !subnet.classes.is_empty() || first.is_some_and(|pool| !pool.classes.is_empty())
            });
            pool.with_expected(expected.clone()).on_wire(wire)
        };
        self.subnets.iter().enumerate().map(pool).collect()
    }
}
