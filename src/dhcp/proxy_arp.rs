//! Detects machines that answer ARP for addresses that are not theirs. A router with proxy ARP answers for every
//! address. If its answers counted as conflicts, no address would be left for any client. Called by the engine when a
//! check gets an answer; it never sends ARP itself.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::types::{MacAddr, Timestamp};

/// Number of free addresses a machine answers for before it is taken to answer for all of them.
pub const PROXIED: usize = 3;
/// Time for which a machine is remembered after its last answer for a free address.
pub const MEMORY: Duration = Duration::from_secs(3600);
/// Maximum number of machines remembered. Beyond that, the machine with the oldest answer is forgotten; machines that
/// are ignored are forgotten last.
pub const MAX_MACHINES: usize = 64;
/// Maximum number of own addresses remembered for an ignored machine. Only the first ones count, so that a machine
/// cannot claim more addresses by forging them.
const MAX_OWN: usize = 4;

/// The machines that answered for free addresses. Owned by the engine.
#[derive(Debug, Default)]
pub struct ProxyArp(HashMap<MacAddr, Machine>);

#[derive(Debug)]
struct Machine {
    last: Timestamp,
    /// The free addresses that the machine answered for, until it is ignored.
    addresses: Vec<Ipv4Addr>,
    /// The addresses that the machine sends from, once it is ignored.
    own: Vec<Ipv4Addr>,
    is_ignored: bool,
}

/// The meaning of an answer for a free address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The machine uses the address.
    Conflict,
    /// The machine is known to answer for any address.
    Ignored,
    /// The machine has just been found to answer for any address; it answered for these addresses.
    Found(Vec<Ipv4Addr>),
}

impl ProxyArp {
    /// Judges an answer of the machine `mac` for `address`, which no client has.
    pub fn assess(&mut self, mac: MacAddr, address: Ipv4Addr, now: Timestamp) -> Verdict {
        self.0.retain(|_, machine| now.since(machine.last) < MEMORY);
        if !self.0.contains_key(&mac) {
            self.make_room();
        }
        let machine = self.0.entry(mac).or_insert_with(|| Machine::new(now));
        if machine.own.contains(&address) {
            return Verdict::Conflict;
        }
        machine.last = now;
        if machine.is_ignored {
            return Verdict::Ignored;
        }
        if !machine.addresses.contains(&address) {
            machine.addresses.push(address);
        }
        if machine.addresses.len() < PROXIED {
            return Verdict::Conflict;
        }
        machine.is_ignored = true;
        Verdict::Found(std::mem::take(&mut machine.addresses))
    }

    /// Records that the machine `mac` sent an ARP request with `address` as its own address, while that address was not
    /// being checked. An ignored machine keeps such an address: if its other answers were forged, it is still found at
    /// its own address.
    pub fn record_own_address(&mut self, mac: MacAddr, address: Ipv4Addr) {
        let machine = self.0.get_mut(&mac).filter(|machine| machine.is_ignored);
        let has_room =
            |machine: &&mut Machine| machine.own.len() < MAX_OWN && !machine.own.contains(&address);
        if let Some(machine) = machine.filter(has_room) {
            machine.own.push(address);
        }
    }

    /// Whether the answers of `mac` are ignored.
    pub fn ignores(&self, mac: MacAddr) -> bool {
        self.0.get(&mac).is_some_and(|machine| machine.is_ignored)
    }

    fn make_room(&mut self) {
        if self.0.len() < MAX_MACHINES {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, machine)| (machine.is_ignored, machine.last));
        if let Some(mac) = oldest.map(|(mac, _)| *mac) {
            self.0.remove(&mac);
        }
    }
}

impl Machine {
    fn new(now: Timestamp) -> Machine {
        Machine { last: now, addresses: Vec::new(), own: Vec::new(), is_ignored: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 77, n)
    }

    const NOW: Timestamp = Timestamp(10_000_000);

    #[test]
    fn s_04_three_free_addresses_make_a_proxy_and_one_address_never_does() {
        let mut proxies = ProxyArp::default();
        for _ in 0..10 {
            assert_eq!(proxies.assess(mac(1), ip(50), NOW), Verdict::Conflict);
        }
        assert_eq!(proxies.assess(mac(2), ip(50), NOW), Verdict::Conflict);
        assert_eq!(proxies.assess(mac(2), ip(51), NOW), Verdict::Conflict);
        assert_eq!(proxies.assess(mac(2), ip(52), NOW), Verdict::Found(vec![ip(50), ip(51), ip(52)]));
        assert_eq!(proxies.assess(mac(2), ip(50), NOW), Verdict::Ignored, "logged once");
        assert_eq!(
            proxies.assess(mac(1), ip(50), NOW),
            Verdict::Conflict,
            "another machine is still believed"
        );
        assert!(proxies.ignores(mac(2)) && !proxies.ignores(mac(1)));
    }

    #[test]
    fn s_04_a_machine_is_forgotten_an_hour_after_its_last_answer() {
        let mut proxies = ProxyArp::default();
        (50..53).for_each(|n| _ = proxies.assess(mac(1), ip(n), NOW));
        let later = NOW.after(MEMORY / 2);
        assert_eq!(proxies.assess(mac(1), ip(60), later), Verdict::Ignored);
        let much_later = later.after(MEMORY);
        assert_eq!(proxies.assess(mac(1), ip(60), much_later), Verdict::Conflict);
    }

    #[test]
    fn s_04_a_forged_proxy_is_still_found_at_its_own_address() {
        let mut proxies = ProxyArp::default();
        (50..53).for_each(|n| _ = proxies.assess(mac(1), ip(n), NOW));
        proxies.record_own_address(mac(1), ip(70));
        proxies.record_own_address(mac(2), ip(71));
        assert_eq!(proxies.assess(mac(1), ip(70), NOW), Verdict::Conflict);
        assert_eq!(proxies.assess(mac(1), ip(71), NOW), Verdict::Ignored);
        (0..=255).for_each(|n| proxies.record_own_address(mac(1), ip(n)));
        assert_eq!(proxies.0[&mac(1)].own.len(), MAX_OWN);
        assert_eq!(proxies.assess(mac(1), ip(200), NOW), Verdict::Ignored, "it cannot claim every address");
    }

    #[test]
    fn s_04_made_up_machines_push_out_no_known_proxy() {
        let mut proxies = ProxyArp::default();
        (50..53).for_each(|n| _ = proxies.assess(mac(1), ip(n), NOW));
        for n in 0..10_000u32 {
            let [a, b, c, d] = n.to_be_bytes();
            let _ = proxies.assess(MacAddr([6, 0, a, b, c, d]), ip(50), NOW.after(Duration::from_secs(1)));
        }
        assert!(proxies.0.len() <= MAX_MACHINES && proxies.ignores(mac(1)));
    }
}
