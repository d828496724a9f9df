//! The machines that the records name: their last address, architecture and boot. Kept in memory, and at the start made
//! from the stored leases.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::event::{Event, Message, Record};
use crate::lease::Lease;
use crate::types::{Arch, Firmware, MacAddr, Timestamp};

/// Number of machines that are kept. Those that were seen longest ago are forgotten first.
const KEPT_MACHINES: usize = 20_000;
/// Maximum number of machines, before all but [`KEPT_MACHINES`] are forgotten at once: every record of DHCP comes here,
/// and to keep the machines in order would cost more than all else. A machine takes about 100 bytes.
const MAX_MACHINES: usize = KEPT_MACHINES + KEPT_MACHINES / 4;

/// The machines that were seen.
#[derive(Debug, Default)]
pub(super) struct SeenMachines {
    machines: HashMap<MacAddr, Seen, foldhash::fast::RandomState>,
    next: u64,
}

/// One machine as its records show it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Seen {
    /// The number of its last record: larger ones are later.
    pub(super) order: u64,
    /// The last address that it was given.
    pub(super) address: Option<Ipv4Addr>,
    /// The architecture that its firmware names.
    pub(super) arch: Option<Arch>,
    /// The time when it was last given a boot file.
    pub(super) last_boot: Option<Timestamp>,
}

impl SeenMachines {
    /// Takes in a lease of an earlier run.
    pub(super) fn load(&mut self, lease: &Lease) {
        if let Some(mac) = lease.hardware.mac() {
            self.seen(mac).address = Some(lease.address);
        }
    }

    /// Takes in a record.
    pub(super) fn note(&mut self, record: &Record) {
        let Some(mac) = record.machine.as_ref().and_then(|machine| machine.mac) else { return };
        let at = record.at;
        let machine = self.seen(mac);
        if let Some(client) = record.event.client() {
            let is_firmware = client.firmware != Firmware::Other;
            machine.arch = client.arch.filter(|_| is_firmware).or(machine.arch);
        }
        match &record.event {
            Event::Answered { message, address, file, .. } => {
                if *message != Message::Offer && !address.is_unspecified() {
                    machine.address = Some(*address);
                }
                if file.is_some() {
                    machine.last_boot = Some(at);
                }
            }
            Event::Released { address, .. } if machine.address == Some(*address) => machine.address = None,
            event => {
                // Beside another DHCP server, the address is known from file requests.
                if let (Some(_), Some(IpAddr::V4(address))) = (event.peer(), event.address()) {
                    machine.address = Some(address);
                }
            }
        }
    }

    pub(super) fn get(&self, mac: MacAddr) -> Option<&Seen> {
        self.machines.get(&mac)
    }

    /// All machines, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MacAddr, &Seen)> {
        self.machines.iter().map(|(mac, seen)| (*mac, seen))
    }

    /// The machine with that MAC, as the one that was seen last.
    fn seen(&mut self, mac: MacAddr) -> &mut Seen {
        if self.machines.len() >= MAX_MACHINES && !self.machines.contains_key(&mac) {
            self.forget_oldest();
        }
        let order = self.next;
        self.next = order.saturating_add(1);
        let machine = self.machines.entry(mac).or_default();
        machine.order = order;
        machine
    }

    /// Forgets all machines but the [`KEPT_MACHINES`] that were seen last.
    fn forget_oldest(&mut self) {
        let mut orders: Vec<u64> = self.machines.values().map(|seen| seen.order).collect();
        let surplus = orders.len().saturating_sub(KEPT_MACHINES);
        if surplus > 0 {
            let (_, first_kept, _) = orders.select_nth_unstable(surplus);
            let first_kept = *first_kept;
            self.machines.retain(|_, seen| seen.order >= first_kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Client, Details};
    use crate::types::{MachineId, Rule};

    fn mac(n: u32) -> MacAddr {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    fn record(n: u32, event: Event) -> Record {
        Record { at: Timestamp(u64::from(n)), interface: None, machine: Some(MachineId::from(mac(n))), event }
    }

    fn client(firmware: Firmware) -> Client {
        Client { firmware, arch: Some(Arch::UEFI_X64) }
    }

    #[test]
    fn records_show_address_architecture_and_boot() {
        let mut seen = SeenMachines::default();
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let answered = |message, file| Event::Answered {
            message,
            address,
            client: client(Firmware::UefiPxe),
            file,
            note: None,
        };
        seen.note(&record(1, answered(Message::Offer, None)));
        assert_eq!(seen.get(mac(1)).unwrap().address, None, "an offer is no lease");
        seen.note(&record(1, answered(Message::Ack, Some(("x.efi".into(), Rule::Arch(Arch::UEFI_X64))))));
        let after = *seen.get(mac(1)).unwrap();
        assert_eq!((after.address, after.arch), (Some(address), Some(Arch::UEFI_X64)));
        assert_eq!(after.last_boot, Some(Timestamp(1)));
        let client = client(Firmware::Other);
        seen.note(&record(1, Event::Released { address, client }));
        assert_eq!(seen.get(mac(1)).unwrap().address, None);
    }

    #[test]
    fn the_machine_that_was_seen_longest_ago_is_forgotten_first() {
        let mut seen = SeenMachines::default();
        let received = Event::Received {
            message: Message::Discover,
            client: client(Firmware::UefiPxe),
            details: Details::default(),
        };
        let limit = u32::try_from(MAX_MACHINES).unwrap();
        let surplus = u32::try_from(MAX_MACHINES - KEPT_MACHINES).unwrap();
        (0..limit).for_each(|n| seen.note(&record(n, received.clone())));
        seen.note(&record(0, received.clone()));
        assert_eq!(seen.machines.len(), MAX_MACHINES);
        seen.note(&record(limit, received.clone()));
        assert_eq!(seen.machines.len(), KEPT_MACHINES + 1);
        assert!([0, surplus + 1, limit].iter().all(|n| seen.get(mac(*n)).is_some()), "seen again, or late");
        assert!((1..=surplus).all(|n| seen.get(mac(n)).is_none()));
    }
}
