//! The usage of each pool, for reports to users.

use crate::lease::binding::State;
use crate::lease::book::LeaseBook;
use crate::types::Timestamp;

/// The number of addresses in use in one subnet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolUsage {
    /// Leased addresses, including reserved ones.
    pub leased: u64,
    /// Offered addresses, and those being checked for an offer.
    pub offered: u64,
    /// Addresses out of use because another machine was found there.
    pub quarantined: u64,
}

impl LeaseBook {
    /// Counts the addresses of subnet `subnet` in use at `now`. It walks over all bindings.
    pub fn pool_usage(&self, subnet: usize, now: Timestamp) -> PoolUsage {
        let mut tally = PoolUsage::default();
        for (address, binding) in &self.bindings {
            if binding.until <= now || self.pool_of(*address) != Some(subnet) {
                continue;
            }
            match binding.state {
                State::Leased => tally.leased += 1,
                State::Offered | State::Checking => tally.offered += 1,
                State::Declined => tally.quarantined += 1,
                State::Released => {}
            }
        }
        tally
    }
}
