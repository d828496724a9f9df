//! Records that are lost: silence proves nothing until the machine is heard again.

use lanboot::event::{Event, Record, ServerFact};
use lanboot::journey::boot::BootResult;
use lanboot::journey::machine::Change;

use super::lab::*;

/// The name of a stage, and how a boot gets there.
type Stage = (&'static str, fn(&mut Lab));

/// Records are lost now.
fn lose(lab: &mut Lab) -> usize {
    let event = Event::Server { fact: ServerFact::RecordsLost, text: "7 records were lost".to_owned() };
    lab.pass(0);
    lab.journeys.lost(&Record { at: lab.world.now, interface: None, machine: None, event })
}

#[test]
fn a_loss_is_in_the_timeline_of_open_boots_only() {
    let mut lab = Lab::server();
    assert_eq!(lose(&mut lab), 0, "no boot is open");
    lab.lease(UEFI, 4000);
    assert_eq!(lose(&mut lab), 1);
    let boots = lab.boots();
    let last = boots[0].events.last().unwrap();
    assert!(matches!(last.event, Event::Server { fact: ServerFact::RecordsLost, .. }), "{last:?}");
    assert_eq!(lab.journeys.advance(lab.world.now.after(std::time::Duration::from_secs(600))), []);
}

#[test]
fn silence_after_a_loss_is_no_verdict() {
    let stages: [Stage; 6] = [
        ("asked", |lab| drop(lab.discover(UEFI, 0))),
        ("named", |lab| drop(lab.lease(UEFI, 4000))),
        ("transfer", |lab| {
            lab.lease(UEFI, 4000);
            lab.tftp_starts("snponly.efi", 300_000, 1408);
        }),
        ("no file", |lab| drop(lab.discover(ARM, 0))),
        ("script", Lab::boot_to_script),
        ("initrd", Lab::boot_to_initrd),
    ];
    for (stage, reach) in stages {
        let mut lab = Lab::server();
        reach(&mut lab);
        lose(&mut lab);
        lab.pass(600_000);
        assert_eq!((lab.verdict(0), lab.result()), (None, BootResult::Booting), "{stage}");
    }
}

#[test]
fn silence_counts_again_once_the_machine_is_heard() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lose(&mut lab);
    lab.pass(20_000);
    // It goes on, and stops while we listen.
    lab.tftp("snponly.efi", 300_000, 500);
    lab.pass(1500);
    lab.lease(IPXE, 300);
    lab.http("boot.ipxe", 500, 0);
    lab.assert_stuck(30_000, "script_failed");
    assert_eq!(lab.boots().len(), 1);
}

#[test]
fn a_record_without_progress_restarts_the_limit() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lose(&mut lab);
    lab.pass(20_000);
    lab.other(lanboot::wire::dhcp::MessageType::Offer, None);
    assert_eq!(lab.verdict(0), None, "it was silent only as far as we heard");
    lab.assert_stuck(5000, "tftp_not_started");
}

#[test]
fn another_boot_after_a_loss_leaves_the_first_without_verdict() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lose(&mut lab);
    lab.pass(300_000);
    lab.again();
    lab.discover(UEFI, 0);
    let boots = lab.boots();
    assert_eq!(boots.len(), 2);
    assert_eq!((boots[1].result, boots[1].verdict.is_none()), (BootResult::Booting, true));
    assert!(boots[1].ended.is_some(), "it is over, and its end was not heard");
    assert_eq!(lab.changes.iter().filter(|changed| changed.change == Change::Began).count(), 2);
}

#[test]
fn a_retry_after_a_loss_continues_its_boot() {
    let mut lab = Lab::server();
    lab.discover(UEFI, 0);
    lose(&mut lab);
    lab.pass(60_000);
    lab.discover(UEFI, 60);
    assert_eq!((lab.boots().len(), lab.verdict(0)), (1, None));
    // Another attempt is another boot.
    lose(&mut lab);
    lab.pass(60_000);
    lab.again();
    lab.discover(UEFI, 0);
    assert_eq!((lab.boots().len(), lab.verdict(1)), (2, None));
}

#[test]
fn a_boot_that_goes_on_after_a_loss_is_booted() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lose(&mut lab);
    lab.pass(90_000);
    lab.lease(SYSTEM, 10);
    assert_eq!((lab.boots().len(), lab.result()), (1, BootResult::Booted));
}
