//! A limit on concurrent work, in total and per client address. The TFTP servers count transfers and uploads with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::limit_key;

/// A shared count of concurrent work. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Quota(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted unit of work; it is returned to the [`Quota`] when dropped.
#[derive(Debug)]
pub struct Share {
    quota: Quota,
    address: IpAddr,
}

impl Quota {
    /// Takes a share for `address`, unless `limit` in total or `limit_of_one` for this address is reached.
    pub fn take(&self, address: IpAddr, limit: usize, limit_of_one: usize) -> Option<Share> {
        let address = limit_key(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= limit || of_one >= limit_of_one {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, of_one + 1);
        Some(Share { quota: self.clone(), address })
    }

    /// The number of shares in use.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.quota.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(of_one) = counts.by_address.get_mut(&self.address) {
            *of_one -= 1;
            if *of_one == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_client_cannot_take_all_shares() {
        let quota = Quota::default();
        let take = |n| quota.take(Ipv4Addr::from_bits(n).into(), 8192, 64);
        let mut shares: Vec<Share> = (0..64).map(|_| take(7).unwrap()).collect();
        assert!(take(7).is_none());
        shares.pop();
        shares.push(take(7).unwrap());

        shares.extend((64..8192).map(|n| take(1000 + n / 64).unwrap()));
        assert!(take(1).is_none());
        shares.clear();
        assert!(quota.0.lock().unwrap().by_address.is_empty(), "no address is remembered");
        assert!(take(7).is_some());
    }

    #[test]
    fn dropped_shares_are_available_again() {
        let quota = Quota::default();
        let take = || quota.take(Ipv4Addr::LOCALHOST.into(), 2, 2);
        let first = take();
        let second = take();
        assert!(first.is_some() && second.is_some() && take().is_none());
        drop(first);
        assert!(take().is_some());
        assert_eq!(quota.count(), 1);
    }
}
