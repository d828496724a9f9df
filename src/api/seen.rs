//! The machines that the records name: their last address, architecture and boot. Kept in memory, and at the start made
//! from the stored leases.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use crate::event::{Event, Message, Record};
use crate::lease::Lease;
use crate::types::{Arch, Firmware, MacAddr, Timestamp};

/// Maximum number of machines. The one that was seen longest ago is forgotten first. A machine takes about 150 bytes.
const MAX_MACHINES: usize = 20_000;

/// The machines that were seen, each with its place in the order of their last records.
#[derive(Debug, Default)]
pub(super) struct SeenMachines {
    machines: HashMap<MacAddr, (u64, Seen)>,
    /// The machines by their last record, oldest first.
    order: BTreeSet<(u64, MacAddr)>,
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
        self.machines.get(&mac).map(|(_, seen)| seen)
    }

    /// All machines, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MacAddr, &Seen)> {
        self.machines.iter().map(|(mac, (_, seen))| (*mac, seen))
    }

    /// The machine with that MAC, as the one that was seen last.
    fn seen(&mut self, mac: MacAddr) -> &mut Seen {
        let order = self.next;
        self.next = order.saturating_add(1);
        if let Some((before, _)) = self.machines.get(&mac) {
            self.order.remove(&(*before, mac));
        } else if self.machines.len() >= MAX_MACHINES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.machines.remove(&oldest);
        }
        self.order.insert((order, mac));
        let (place, machine) = self.machines.entry(mac).or_default();
        (*place, machine.order) = (order, order);
        machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Client;
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
        let received = Event::Received { message: Message::Discover, client: client(Firmware::UefiPxe) };
        let limit = u32::try_from(MAX_MACHINES).unwrap();
        (0..limit).for_each(|n| seen.note(&record(n, received.clone())));
        seen.note(&record(0, received.clone()));
        (limit..limit + 10).for_each(|n| seen.note(&record(n, received.clone())));
        assert_eq!((seen.machines.len(), seen.order.len()), (MAX_MACHINES, MAX_MACHINES));
        assert!(seen.get(mac(0)).is_some() && seen.get(mac(11)).is_some(), "seen again");
        assert!((1..=10).all(|n| seen.get(mac(n)).is_none()));
    }
}
