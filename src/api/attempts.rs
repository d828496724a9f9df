//! Limits how often one client may offer a wrong token. A token has 256 bits, which cannot be guessed; the limit keeps
//! the log and the processor free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::Timestamp;

/// Wrong tokens that a client may offer at once.
const BURST: u64 = 10;
/// Milliseconds after which a client may offer one more.
const REFILL: u64 = 1000;
/// Maximum number of clients that are remembered. The one that failed longest ago is forgotten first.
const MAX_CLIENTS: usize = 1024;

/// The clients that offered wrong tokens lately. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Mutex<HashMap<IpAddr, Failures>>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// Attempts that are left.
    left: u64,
    last: Timestamp,
}

impl Attempts {
    /// Counts a wrong token of `client`. Returns whether the client is still within the limit.
    pub fn count(&self, client: IpAddr, now: Timestamp) -> bool {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !clients.contains_key(&client) && clients.len() >= MAX_CLIENTS {
            let oldest = clients.iter().min_by_key(|(_, failures)| failures.last).map(|(client, _)| *client);
            oldest.map(|oldest| clients.remove(&oldest));
        }
        let failures = clients.entry(client).or_insert(Failures { left: BURST, last: now });
        let passed = u64::try_from(now.since(failures.last).as_millis()).unwrap_or(u64::MAX);
        let refilled = passed / REFILL;
        if refilled > 0 {
            failures.left = failures.left.saturating_add(refilled).min(BURST);
            failures.last = now;
        }
        let is_within = failures.left > 0;
        failures.left = failures.left.saturating_sub(1);
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn w_05_wrong_tokens_are_limited_for_each_client() {
        let attempts = Attempts::default();
        let client = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n));
        let admitted = |n, at| (0..100).filter(|_| attempts.count(client(n), Timestamp(at))).count();
        assert_eq!(admitted(1, 1000), 10);
        assert_eq!(admitted(1, 1999), 0);
        assert_eq!(admitted(1, 4000), 3, "one each second");
        assert_eq!(admitted(2, 4000), 10, "another client");
        assert_eq!(admitted(1, 1_000_000), 10);
        (10..10_000).for_each(|n| _ = attempts.count(client(n), Timestamp(1_000_001)));
        assert_eq!(attempts.0.lock().unwrap().len(), MAX_CLIENTS);
    }
}
