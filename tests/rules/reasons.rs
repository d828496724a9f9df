//! Every reason for a drop, a refusal or an end has a test.

use lanboot::event::{DropReason, HttpRefusal, HttpStop, Refusal, Unanswered};

use crate::sources::tests;

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
    let unanswered = untested("Unanswered", Unanswered::ALL, Unanswered::name);
    assert!(unanswered.is_empty(), "no test for Unanswered {unanswered:?}");
}
