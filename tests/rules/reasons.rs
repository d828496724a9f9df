//! Every reason for a drop, a refusal or an end has a test.

use std::collections::BTreeSet;
use std::time::Duration;

use lanboot::event::{
    CaptureDrop, DropReason, Event, HttpRefusal, HttpStop, Record, Refusal, ServerFact, SyslogDrop,
    TransferStop, Unanswered, UploadStop,
};
use lanboot::record::Recorder;
use lanboot::types::Timestamp;

use crate::sources::{sources, tests};

fn untested<T: Copy + std::fmt::Debug>(kind: &str, all: &[T], name: fn(T) -> &'static str) -> Vec<String> {
    let tests = tests();
    let is_named = |text: &str, variant: &str, stable: &str| {
        let words = |word: &str| {
            text.match_indices(word).any(|(at, _)| {
                !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        };
        words(variant) || words(&format!("reason={stable}"))
    };
    let missing = |value: &&T| {
        let variant = format!("{kind}::{value:?}");
        !tests.iter().any(|source| is_named(&source.text, &variant, name(**value)))
    };
    all.iter().filter(missing).map(|value| format!("{value:?}")).collect()
}

#[test]
fn every_drop_reason_and_refusal_has_a_test() {
    let reasons = untested("DropReason", DropReason::ALL, DropReason::name);
    assert!(reasons.is_empty(), "no test for DropReason {reasons:?}");
    let refusals = untested("Refusal", Refusal::ALL, Refusal::name);
    assert!(refusals.is_empty(), "no test for Refusal {refusals:?}");
    let refusals = untested("HttpRefusal", HttpRefusal::ALL, HttpRefusal::name);
    assert!(refusals.is_empty(), "no test for HttpRefusal {refusals:?}");
    let stops = untested("HttpStop", HttpStop::ALL, HttpStop::name);
    assert!(stops.is_empty(), "no test for HttpStop {stops:?}");
    let stops = untested("UploadStop", UploadStop::ALL, UploadStop::name);
    assert!(stops.is_empty(), "no test for UploadStop {stops:?}");
    let drops = untested("SyslogDrop", SyslogDrop::ALL, SyslogDrop::name);
    assert!(drops.is_empty(), "no test for SyslogDrop {drops:?}");
    let drops = untested("CaptureDrop", CaptureDrop::ALL, CaptureDrop::name);
    assert!(drops.is_empty(), "no test for CaptureDrop {drops:?}");
    let unanswered = untested("Unanswered", Unanswered::ALL, Unanswered::name);
    assert!(unanswered.is_empty(), "no test for Unanswered {unanswered:?}");
}

/// An event with each reason, by the enum that has it, and the name of the reason.
fn events() -> Vec<(&'static str, &'static str, Event)> {
    let (file, peer) = (String::from, "192.168.77.50:2070".parse().unwrap());
    let mut events = Vec::new();
    for reason in DropReason::ALL.iter().copied() {
        events.push(("DropReason", reason.name(), Event::Dropped { reason, client: None }));
    }
    for reason in Unanswered::ALL.iter().copied() {
        events.push(("Unanswered", reason.name(), Event::TftpUnanswered { peer, reason }));
    }
    for reason in SyslogDrop::ALL.iter().copied() {
        events.push(("SyslogDrop", reason.name(), Event::SyslogDropped { peer, reason, count: 1 }));
    }
    for reason in CaptureDrop::ALL.iter().copied() {
        events.push(("CaptureDrop", reason.name(), Event::CaptureDropped { reason, count: 1 }));
    }
    for reason in Refusal::ALL.iter().copied() {
        events.push(("Refusal", reason.name(), Event::TftpRefused { name: file("x"), peer, reason }));
    }
    for reason in HttpRefusal::ALL.iter().copied() {
        events.push(("HttpRefusal", reason.name(), Event::HttpRefused { name: file("x"), peer, reason }));
    }
    for why in UploadStop::ALL.iter().copied() {
        let event = Event::TftpUploadStopped { file: file("x"), peer, bytes: 0, why };
        events.push(("UploadStop", why.name(), event));
    }
    for reason in HttpStop::ALL.iter().copied() {
        let event = Event::HttpStopped { file: file("x"), peer, bytes: 0, wanted: 1, reason };
        events.push(("HttpStop", reason.name(), event));
    }
    for fact in ServerFact::ALL.iter().copied() {
        events.push(("ServerFact", fact.name(), Event::Server { fact, text: String::new() }));
    }
    for stop in [
        TransferStop::Silent,
        TransferStop::Refused { code: 0, message: String::new() },
        TransferStop::Unreachable,
        TransferStop::Replaced,
        TransferStop::Evicted,
        TransferStop::Unreadable,
        TransferStop::ServerStops,
    ] {
        let (took, name) = (Duration::ZERO, stop.name());
        let rejected_blksize = None;
        let event = Event::TftpStopped {
            file: file("x"),
            peer,
            bytes: 0,
            size: 1,
            took,
            resent: 0,
            stop,
            rejected_blksize,
        };
        events.push(("TransferStop", name, event));
    }
    events
}

#[test]
fn every_reason_is_counted() {
    let events = events();
    for (kind, name, event) in &events {
        let recorder = Recorder::default();
        assert!(recorder.reasons().is_empty());
        recorder.record(Record { at: Timestamp(0), interface: None, machine: None, event: event.clone() });
        let counted: Vec<_> = recorder.reasons().iter().map(|(_, name, count)| (*name, *count)).collect();
        assert_eq!(counted, [(*name, 1)], "{kind}::{name}");
    }
    let of_stop = events.iter().filter(|(kind, _, _)| *kind == "TransferStop").count();
    assert_eq!(of_stop, TransferStop::NAMES.len());
}

#[test]
fn every_enum_of_reasons_is_known_here() {
    let known: BTreeSet<&str> = events().iter().map(|(kind, _, _)| *kind).collect();
    for source in sources(&["src/event"]) {
        for block in source.text.split("named! {").skip(1) {
            let line =
                block.lines().map(str::trim).find(|line| !line.starts_with("//") && line.ends_with('{'));
            let name = line.unwrap_or_default().trim_end_matches(" {");
            // The types of messages are counted as received and sent.
            assert!(known.contains(name) || name == "Message", "{name} in {}", source.path.display());
        }
    }
}
