//! How much of each pool is in use, for people.

use crate::lease::{LeaseBook, State};
use crate::types::Timestamp;

/// The addresses of one subnet that are taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Leased, reserved ones included.
    pub leased: u64,
    /// Offered, or being checked before that.
    pub offered: u64,
    /// Out of use, because another machine was found to use them.
    pub quarantined: u64,
}

impl LeaseBook {
    /// What is taken of subnet `subnet` at `now`. It looks at every binding.
    pub fn tally(&self, subnet: usize, now: Timestamp) -> Tally {
        let mut tally = Tally::default();
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
