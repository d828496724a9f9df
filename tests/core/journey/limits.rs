//! Journeys are bounded: machines, boots, events, bytes.

use std::sync::Arc;

use lanboot::event::{Client, Details, Event, Message, Record};
use lanboot::journey::machine::{BOOTS_WITH_EVENTS, MAX_BOOTS};
use lanboot::journey::{Journeys, MAX_BYTES, MAX_MACHINES, boot};
use lanboot::types::{Arch, Firmware, MacAddr, MachineId, Timestamp};

fn mac(n: u32) -> MacAddr {
    let [a, b, c, d] = n.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn discover(n: u32, at: u64, xid: u32) -> Arc<Record> {
    let client = Client { firmware: Firmware::UefiPxe, arch: Some(Arch::UEFI_X64) };
    let details = Details { xid, ..Details::default() };
    let event = Event::Received { message: Message::Discover, client, details };
    Arc::new(Record { at: Timestamp(at), interface: None, machine: Some(MachineId::from(mac(n))), event })
}

fn no_file(n: u32, at: u64) -> Arc<Record> {
    let client = Client { firmware: Firmware::UefiPxe, arch: Some(Arch::UEFI_X64) };
    let event = Event::NoFileForArchitecture { client };
    Arc::new(Record { at: Timestamp(at), interface: None, machine: Some(MachineId::from(mac(n))), event })
}

#[test]
fn the_last_twenty_boots_are_kept_and_events_of_three() {
    let mut journeys = Journeys::default();
    for round in 0..50 {
        journeys.record(&discover(1, round * 60_000, round as u32));
        journeys.record(&no_file(1, round * 60_000));
        journeys.advance(Timestamp(round * 60_000 + 30_000));
    }
    let boots = &journeys.machine(mac(1)).unwrap().boots;
    assert_eq!(boots.len(), MAX_BOOTS);
    assert!(boots.iter().all(|boot| boot.verdict.is_some()));
    let with_events = boots.iter().filter(|boot| !boot.events.is_empty()).count();
    assert_eq!(with_events, BOOTS_WITH_EVENTS);
    let mut ids: Vec<_> = boots.iter().map(|boot| boot.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), MAX_BOOTS);
}

#[test]
fn a_machine_that_asks_forever_has_one_boot_with_bounded_events() {
    let mut journeys = Journeys::default();
    for round in 0..1000 {
        journeys.record(&discover(1, round * 1000, 7));
        journeys.advance(Timestamp(round * 1000));
    }
    let boots = &journeys.machine(mac(1)).unwrap().boots;
    assert_eq!((boots.len(), boots[0].events.len()), (1, boot::MAX_EVENTS));
    assert_eq!(boots[0].omitted, 1000 - boot::MAX_EVENTS as u32);
}

#[test]
fn ten_thousand_machines_with_all_boots_stay_under_100_mib() {
    let mut journeys = Journeys::default();
    let machines = u32::try_from(MAX_MACHINES).unwrap();
    for round in 0..MAX_BOOTS as u64 {
        for n in 0..machines {
            let at = round * 600_000 + u64::from(n);
            journeys.record(&discover(n, at, round as u32));
            journeys.record(&no_file(n, at));
        }
        journeys.advance(Timestamp((round + 1) * 600_000 - 1));
    }
    assert_eq!(journeys.machines().count(), MAX_MACHINES);
    let newest = journeys.machine(mac(machines - 1)).unwrap();
    assert_eq!(newest.boots[0].verdict.as_ref().unwrap().id.name(), "no_file_for_architecture");
    assert!(journeys.bytes() < MAX_BYTES + (4 << 20), "{} bytes", journeys.bytes());
}

/// 9000 machines with 30 events each are more than memory may take. Half of their boots have ended.
#[test]
fn events_of_stored_boots_leave_memory_first() {
    let mut journeys = Journeys::default();
    for n in 0..9000 {
        let at = u64::from(n);
        journeys.record(&discover(n, at, 1));
        if n % 2 == 0 {
            journeys.record(&no_file(n, at));
            journeys.advance(Timestamp(at + 5000));
        }
        for _ in 0..28 {
            let machine = Some(MachineId::from(mac(n)));
            let event = Event::ReplyTooLarge { bytes: 1600 };
            journeys.record(&Record { at: Timestamp(at), interface: None, machine, event });
        }
        journeys.take_unsaved(usize::MAX);
    }
    assert!(journeys.bytes() < MAX_BYTES + (4 << 20), "{} bytes", journeys.bytes());
    let boot = |n| &journeys.machine(mac(n)).unwrap().boots[0];
    let (ended, open) = (boot(0), boot(1));
    assert!(ended.events.is_empty() && ended.omitted == 0 && ended.events_on_disk >= 30, "{ended:?}");
    assert!(open.ended.is_none() && open.events.len() == 29 && open.events_on_disk == 0, "{open:?}");
    assert!(!boot(8998).events.is_empty(), "it was seen last");
}

#[test]
fn machines_that_were_seen_longest_ago_are_forgotten() {
    let mut journeys = Journeys::default();
    let many = u32::try_from(MAX_MACHINES * 2).unwrap();
    (0..many).for_each(|n| {
        journeys.record(&discover(n, u64::from(n), 1));
    });
    let count = journeys.machines().count();
    assert!((MAX_MACHINES..=MAX_MACHINES * 11 / 10).contains(&count), "{count}");
    assert!(journeys.machine(mac(0)).is_none() && journeys.machine(mac(many - 1)).is_some());
}

#[test]
fn machines_that_never_boot_from_the_network_take_no_room() {
    let mut journeys = Journeys::default();
    let of_system = |n, name: Option<&str>| {
        let client = Client { firmware: Firmware::Other, arch: None };
        let event = Event::Received { message: Message::Discover, client, details: Details::default() };
        let machine = MachineId { name: name.map(Into::into), ..MachineId::from(mac(n)) };
        Record { at: Timestamp(5), interface: None, machine: Some(machine), event }
    };
    journeys.record(&of_system(1, None));
    assert!(journeys.machine(mac(1)).is_none());
    journeys.record(&of_system(2, Some("node2")));
    assert_eq!(journeys.machine(mac(2)).unwrap().seen, Some(Timestamp(5)), "the configuration names it");
    journeys.record(&discover(3, 7, 1));
    journeys.record(&of_system(3, None));
    let events = journeys.machine(mac(3)).unwrap().boots[0].events.len();
    assert_eq!(events, 2, "the system of a machine that boots");
}
