//! The packets that are kept in memory: bounded for each machine and in all. The oldest packets of a machine give way to its
//! newer ones, DHCP messages only to DHCP messages, so that many requests for files never push out the beginning of a
//! boot. If there is no room in all, the machines that were seen longest ago give way.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::event::CaptureDrop;
use crate::types::{MacAddr, Timestamp};

/// Maximum number of bytes and packets of the DHCP messages of one machine.
pub const MAX_DHCP: Limit = Limit { bytes: 64 << 10, packets: 256 };
/// Maximum number of bytes and packets of everything else of one machine.
pub const MAX_FILES: Limit = Limit { bytes: 192 << 10, packets: 768 };
/// Maximum number of bytes of all machines.
pub const MAX_BYTES: usize = 64 << 20;
/// Maximum number of machines.
pub const MAX_MACHINES: usize = 10_000;
/// The bytes that a packet takes in memory besides its own.
const OVERHEAD: usize = 64;

/// A limit on packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    pub bytes: usize,
    pub packets: usize,
}

/// A captured packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// When it was on the wire, by the clock of the records.
    pub at: Timestamp,
    /// When it was on the wire, by the time of day: microseconds since 1970.
    pub micros: u64,
    /// The length of the frame on the wire.
    pub len: u32,
    /// The bytes that are kept of it.
    pub bytes: Box<[u8]>,
}

impl Captured {
    fn size(&self) -> usize {
        self.bytes.len().saturating_add(OVERHEAD)
    }
}

/// The kept packets of all machines, and the numbers of those that were dropped.
#[derive(Debug, Default)]
pub struct Ring {
    machines: HashMap<MacAddr, Packets, foldhash::fast::RandomState>,
    /// The machines by the number of their newest packet.
    order: BTreeMap<u64, MacAddr>,
    /// The number of the next packet.
    next: u64,
    bytes: usize,
    /// The packets that were dropped since they were last asked for, by [`CaptureDrop::ALL`].
    dropped: [u64; CaptureDrop::ALL.len()],
}

/// The packets of one machine.
#[derive(Debug, Default)]
struct Packets {
    dhcp: Queue,
    files: Queue,
    /// The number of its newest packet.
    newest: u64,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Captured>,
    bytes: usize,
}

impl Queue {
    /// Adds `packet`, and removes the oldest packets beyond `limit`. Returns their number.
    fn push(&mut self, packet: Captured, limit: Limit) -> u64 {
        self.bytes = self.bytes.saturating_add(packet.size());
        self.packets.push_back(packet);
        let mut removed = 0_u64;
        while self.bytes > limit.bytes || self.packets.len() > limit.packets {
            let Some(oldest) = self.packets.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.size());
            removed = removed.saturating_add(1);
        }
        removed
    }
}

impl Packets {
    fn bytes(&self) -> usize {
        self.dhcp.bytes.saturating_add(self.files.bytes)
    }

    fn len(&self) -> u64 {
        u64::try_from(self.dhcp.packets.len().saturating_add(self.files.packets.len())).unwrap_or(u64::MAX)
    }
}

impl Ring {
    /// Keeps `packet` of the machine `mac`.
    pub fn push(&mut self, mac: MacAddr, is_dhcp: bool, packet: Captured) {
        let packets = self.machines.entry(mac).or_default();
        let before = packets.bytes();
        let removed = match is_dhcp {
            true => packets.dhcp.push(packet, MAX_DHCP),
            false => packets.files.push(packet, MAX_FILES),
        };
        self.bytes = self.bytes.saturating_add(packets.bytes()).saturating_sub(before);
        self.order.remove(&packets.newest);
        self.next = self.next.saturating_add(1);
        packets.newest = self.next;
        self.order.insert(self.next, mac);
        self.drop_packets(CaptureDrop::MachineFull, removed);
        while self.bytes > MAX_BYTES || self.machines.len() > MAX_MACHINES {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            let Some(packets) = self.machines.remove(&oldest) else { continue };
            self.bytes = self.bytes.saturating_sub(packets.bytes());
            self.drop_packets(CaptureDrop::Full, packets.len());
        }
    }

    /// Counts packets that are not kept.
    pub fn drop_packets(&mut self, reason: CaptureDrop, count: u64) {
        if let Some(counter) = self.dropped.get_mut(reason as usize) {
            *counter = counter.saturating_add(count);
        }
    }

    /// The numbers of dropped packets since the last call, by reason.
    pub fn take_dropped(&mut self) -> Vec<(CaptureDrop, u64)> {
        let counts = std::mem::take(&mut self.dropped);
        CaptureDrop::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// The packets of the machine `mac` from `from` until `until`, both included, oldest first.
    pub fn packets(&self, mac: MacAddr, from: Timestamp, until: Timestamp) -> Vec<Captured> {
        let queues = self.machines.get(&mac).map(|packets| [&packets.dhcp, &packets.files]);
        let all = queues.into_iter().flatten().flat_map(|queue| &queue.packets);
        let mut packets: Vec<Captured> =
            all.filter(|packet| (from..=until).contains(&packet.at)).cloned().collect();
        packets.sort_by_key(|packet| packet.micros);
        packets
    }

    /// The number of bytes of all packets in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    fn packet(at: u64, len: usize) -> Captured {
        Captured { at: Timestamp(at), micros: at * 1000, len: len as u32, bytes: vec![0; len].into() }
    }

    fn times(ring: &Ring, mac: MacAddr) -> Vec<u64> {
        ring.packets(mac, Timestamp(0), Timestamp(u64::MAX)).iter().map(|packet| packet.at.0).collect()
    }

    #[test]
    fn packets_of_a_boot_are_in_the_order_of_their_time() {
        let mut ring = Ring::default();
        for (at, is_dhcp) in [(1, true), (5, true), (3, false), (9, false)] {
            ring.push(mac(1), is_dhcp, packet(at, 100));
        }
        ring.push(mac(2), true, packet(4, 100));
        assert_eq!(times(&ring, mac(1)), [1, 3, 5, 9]);
        let some = ring.packets(mac(1), Timestamp(3), Timestamp(5));
        assert_eq!(some.iter().map(|packet| packet.at.0).collect::<Vec<_>>(), [3, 5]);
        assert!(times(&ring, mac(3)).is_empty());
    }

    #[test]
    fn requests_for_files_never_push_out_dhcp() {
        let mut ring = Ring::default();
        ring.push(mac(1), true, packet(1, 342));
        (2..3000).for_each(|at| ring.push(mac(1), false, packet(at, 100)));
        let times = times(&ring, mac(1));
        assert_eq!((times[0], times.len()), (1, 1 + MAX_FILES.packets));
        assert_eq!(ring.take_dropped(), [(CaptureDrop::MachineFull, 2998 - MAX_FILES.packets as u64)]);
        (0..100).for_each(|at| ring.push(mac(1), false, packet(at, 60_000)));
        assert!(ring.bytes() <= MAX_DHCP.bytes + MAX_FILES.bytes);
    }

    #[test]
    fn machines_seen_longest_ago_give_way() {
        let mut ring = Ring::default();
        for number in 0..MAX_MACHINES as u32 + 2 {
            ring.push(mac(number), true, packet(1, 300));
            if number == 1000 {
                ring.push(mac(0), true, packet(2, 300));
            }
        }
        assert!(times(&ring, mac(1)).is_empty() && times(&ring, mac(2)).is_empty());
        assert_eq!((times(&ring, mac(0)), times(&ring, mac(3))), (vec![1, 2], vec![1]));
        assert_eq!(ring.take_dropped(), [(CaptureDrop::Full, 2)]);
        for number in 0..5000 {
            (0..40).for_each(|at| ring.push(mac(number), true, packet(at, 1500)));
        }
        assert!(ring.bytes() <= MAX_BYTES);
        let sum: usize = ring.machines.values().map(Packets::bytes).sum();
        assert_eq!((sum, ring.order.len()), (ring.bytes(), ring.machines.len()));
    }
}
