//! Boots as bytes, and boots of an earlier run.

use lanboot::event::{Client, Details, Event};
use lanboot::journey::Journeys;
use lanboot::journey::boot::{Boot, BootResult};
use lanboot::journey::stored::{encode_boot, encode_machine, read_boot, read_machine};
use lanboot::types::{Arch, Firmware, Timestamp};
use proptest::prelude::*;

use super::lab::*;

/// The lab as after a restart: what was stored, read again `pause` milliseconds later.
fn restart(lab: &mut Lab, pause: u64) {
    lab.pass(0);
    lab.world.now = Timestamp(lab.world.now.0 + pause);
    let site = lab.journeys.site.clone();
    let old = std::mem::replace(&mut lab.journeys, Journeys::new(site));
    for machine in old.machines() {
        let stored = read_machine(&encode_machine(machine)).unwrap();
        let boots =
            machine.boots.iter().map(|boot| read_boot(boot.id, &encode_boot(boot)).unwrap()).collect();
        lab.journeys.restore(machine.mac, Some(stored), boots, lab.world.now);
    }
}

fn assert_same(read: &Boot, boot: &Boot) {
    assert_eq!(
        (read.id, read.ended, read.stage, read.result),
        (boot.id, boot.ended, boot.stage, boot.result)
    );
    assert_eq!((&read.verdict, read.arch, read.reached), (&boot.verdict, boot.arch, boot.reached));
    assert_eq!((&read.chain, read.omitted, &read.events), (&boot.chain, boot.omitted, &boot.events));
}

/// Events leave memory only for a boot that has ended and whose rows are stored.
#[test]
fn events_leave_memory_for_the_database_alone() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(10_000);
    lab.lease(SYSTEM, 10);
    let mac = lab.mac();
    let taken = lab.journeys.take_unsaved(100);
    assert_eq!(taken.len(), 1);
    let events = lab.boots()[0].events.len();
    assert!(events > 5 && lab.boots()[0].events_on_disk == 0);
    lab.journeys.machine_mut(mac).unwrap().boots[0].leave_events_on_disk();
    lab.lease(SYSTEM, 10);
    let boot = &lab.journeys.machine(mac).unwrap().boots[0];
    assert_eq!(boot.events_on_disk, events);
    assert!(!boot.events.is_empty(), "later ones are in memory");
    let rows = lab.journeys.take_unsaved(100);
    assert_eq!(rows[0].rows[1].earlier, events);
}

#[test]
fn every_kind_of_boot_is_read_as_it_is_written() {
    let conversations: [fn(&mut Lab); 6] = [
        |lab| {
            let client = Client { firmware: Firmware::BiosPxe, arch: Some(Arch::BIOS) };
            let details = Details { boot_service: true, ..Details::default() };
            lab.lease(BIOS, 0);
            lab.event(Event::QuestionBlocked { client, details, port: 4011 });
            lab.event(Event::ReplyTooLarge { bytes: 1600 });
            lab.event(Event::AsksByIpv6);
        },
        |lab| lab.boot_to_initrd(),
        |lab| drop(lab.discover(ARM, 0)),
        |lab| {
            lab.lease(BIOS, 0);
            lab.tftp_refused("undionly.kpxe");
        },
        |lab| {
            lab.boot_to_script();
            lab.http_stops("debian/linux", 5, 10 << 20);
            lab.http_refused("/debian/\u{e9}\n");
        },
        |lab| {
            lab.lease(UEFI, 4000);
            lab.tftp_stops("snponly.efi", 0, 300_000, Some(1408));
        },
    ];
    for talk in conversations {
        let mut lab = Lab::server();
        talk(&mut lab);
        lab.pass(100_000);
        for boot in lab.boots() {
            let bytes = encode_boot(boot);
            assert_same(&read_boot(boot.id, &bytes).unwrap(), boot);
            assert!(bytes.len() < boot.events.len() * 100 + 500, "{} bytes", bytes.len());
            // Nothing that is cut off is read as a whole.
            for end in 0..bytes.len() {
                assert!(read_boot(boot.id, &bytes[..end]).is_err(), "{end}");
            }
        }
    }
}

#[test]
fn the_row_of_another_version_is_not_read() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    let boot = lab.boots()[0];
    let mut bytes = encode_boot(boot);
    bytes[0] += 1;
    assert!(read_boot(boot.id, &bytes).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let id = Boot::new(Lab::server().mac(), Timestamp(5)).id;
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        let _ = read_boot(id, &bytes);
        let _ = read_machine(&bytes);
    }

    #[test]
    fn changed_rows_never_panic(place in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut lab = Lab::server();
        lab.boot_to_initrd();
        let boot = lab.boots()[0];
        let mut bytes = encode_boot(boot);
        *place.get_mut(&mut bytes) = value;
        let _ = read_boot(boot.id, &bytes);
    }
}

#[test]
fn a_boot_goes_on_after_a_short_restart() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    restart(&mut lab, 3000);
    assert_eq!((lab.boots().len(), lab.result()), (1, BootResult::Booting));
    lab.pass(300_000);
    assert_eq!(lab.verdict(0), None, "nobody listened");
    lab.http("debian/linux", 10 << 20, 900);
    lab.http("debian/initrd.gz", 40 << 20, 3000);
    assert_eq!(lab.boots().len(), 1);
    lab.assert_stuck(60_000, "initrd_no_network");
}

#[test]
fn a_boot_that_was_silent_for_too_long_is_over_without_verdict() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    restart(&mut lab, 300_000);
    let boots = lab.boots();
    assert_eq!((boots[0].result, boots[0].ended.is_some()), (BootResult::Booting, true));
    lab.again();
    lab.discover(UEFI, 0);
    let boots = lab.boots();
    assert_eq!((boots.len(), boots[1].verdict.is_none()), (2, true));
    assert!(boots[0].id != boots[1].id);
}

#[test]
fn an_obstacle_that_was_heard_is_a_verdict_after_a_restart() {
    let mut lab = Lab::server();
    lab.discover(ARM, 0);
    restart(&mut lab, 60_000);
    assert_eq!(lab.verdict(0), Some("no_file_for_architecture"));
    assert_eq!(lab.result(), BootResult::Stuck);
    lab.discover(ARM, 64);
    assert_eq!(lab.boots().len(), 1, "a retry");
}

#[test]
fn a_stuck_boot_stays_stuck_and_its_retries_belong_to_it() {
    let mut lab = Lab::server();
    lab.discover(ARM, 0);
    lab.assert_stuck(5000, "no_file_for_architecture");
    restart(&mut lab, 1000);
    lab.discover(ARM, 8);
    assert_eq!((lab.boots().len(), lab.verdict(0)), (1, Some("no_file_for_architecture")));
}

#[test]
fn ids_are_unique_if_the_clock_went_back() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.lease(SYSTEM, 10);
    restart(&mut lab, 1000);
    let first = lab.boots()[0].id;
    lab.world.now = Timestamp(lab.world.now.0 - 3_600_000);
    lab.again();
    lab.discover(UEFI, 0);
    let boots = lab.boots();
    assert_eq!(boots.len(), 2);
    assert!(boots[0].id > first, "newest first, and another id");
}

#[test]
fn changed_machines_are_taken_once_and_in_order() {
    let mut lab = Lab::server();
    for n in 1..=3 {
        lab.n = n;
        lab.discover(UEFI, 0);
    }
    assert_eq!(lab.journeys.unsaved(), 3);
    let first = lab.journeys.take_unsaved(2);
    assert_eq!(first.iter().map(|rows| rows.mac.0[5]).collect::<Vec<_>>(), [1, 2]);
    assert!(first.iter().all(|rows| rows.rows.len() == 2), "the machine and its boot");
    assert_eq!((lab.journeys.take_unsaved(9).len(), lab.journeys.unsaved()), (1, 0));
    lab.pass(4000);
    lab.discover(UEFI, 4);
    let again = lab.journeys.take_unsaved(9);
    assert_eq!(again.len(), 1);
    lab.journeys.not_stored(again.iter().map(|rows| rows.mac));
    assert_eq!(lab.journeys.take_unsaved(9), again, "a failure is written again");
}

#[test]
fn a_machine_with_many_boots_writes_only_what_changed() {
    let mut lab = Lab::server();
    for _ in 0..25 {
        lab.again();
        lab.discover(ARM, 0);
        lab.pass(60_000);
    }
    let all = lab.journeys.take_unsaved(9);
    assert_eq!(all[0].rows.len(), 21, "20 boots and the machine");
    lab.again();
    lab.discover(ARM, 0);
    let new = lab.journeys.take_unsaved(9);
    assert_eq!(new[0].rows.len(), 6, "the new one, two with events, and two without");
    assert_eq!(new[0].oldest, lab.boots().last().unwrap().id.started);
}
