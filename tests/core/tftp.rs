//! A TFTP transfer as a conversation in virtual time: the packets of the client with their times, and the replies. Each
//! test is named after the RFC section that makes the statement, or after its row in docs/robustness.md.

use std::collections::VecDeque;
use std::time::Duration;

use lanboot::event::{TransferEnd, TransferStop};
use lanboot::tftp::rtt::RoundTrip;
use lanboot::tftp::{Input, Limits, Send, Step, Transfer, negotiate};
use lanboot::wire::tftp::{ErrorCode, Options, Packet};
use proptest::prelude::*;

/// A transfer and the time that has passed.
struct Talk {
    transfer: Transfer,
    now: Duration,
    first: Step,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits() -> Limits {
    Limits { max_block_size: None, max_window: 64, max_transfers: 10, max_per_client: 10, allow: Vec::new() }
}

fn blocks(first: u64, last: u64) -> Step {
    Step::Send(Send::Blocks { first, last })
}

fn window(window: u16) -> Options {
    Options { window_size: Some(window), ..Options::default() }
}

fn stopped(stop: TransferStop) -> Step {
    Step::End(TransferEnd::Stopped(stop))
}

impl Talk {
    fn new(asked: Options, size: u64) -> Talk {
        let granted = negotiate(&asked, Some(size), &limits(), 1500);
        let (transfer, first) = Transfer::start(granted, Some(size), Duration::ZERO);
        Talk { transfer, now: Duration::ZERO, first }
    }

    /// A transfer whose options are accepted after `round_trip`. Its first window is on its way.
    fn accepted(asked: Options, size: u64, round_trip: Duration) -> Talk {
        let mut talk = Talk::new(asked, size);
        assert_eq!(talk.first, Step::Send(Send::Options));
        let last = asked.window_size.map_or(1, u64::from);
        assert_eq!(talk.ack(round_trip, 0), blocks(1, last));
        talk
    }

    fn packet(&mut self, after: Duration, packet: &Packet<'_>) -> Step {
        self.now += after;
        self.transfer.handle(Input::Packet(packet), self.now)
    }

    fn ack(&mut self, after: Duration, block: u64) -> Step {
        self.packet(after, &Packet::Ack(block as u16))
    }

    /// Advances the time to the deadline. Returns the time that passed and the step.
    fn silence(&mut self) -> (Duration, Step) {
        let waited = self.transfer.deadline().saturating_sub(self.now);
        self.now += waited;
        (waited, self.transfer.handle(Input::Timeout, self.now))
    }
}

#[test]
fn rfc1350_2_blocks_follow_one_another_and_the_last_is_not_full() {
    let mut talk = Talk::new(Options::default(), 1024 + 3);
    assert_eq!(talk.first, blocks(1, 1));
    assert_eq!(talk.ack(ms(1), 1), blocks(2, 2));
    assert_eq!(talk.ack(ms(1), 2), blocks(3, 3));
    assert_eq!(talk.ack(ms(1), 3), Step::End(TransferEnd::Sent));
    assert_eq!((talk.transfer.acknowledged(), talk.transfer.resent()), (3, 0));
}

#[test]
fn rfc1350_6_a_file_of_whole_blocks_ends_with_an_empty_one() {
    for (size, last) in [(0, 1), (1, 1), (511, 1), (512, 2), (513, 2), (1024, 3)] {
        let mut talk = Talk::new(Options::default(), size);
        let mut step = talk.first.clone();
        for block in 1..=last {
            assert_eq!(step, blocks(block, block), "{size}");
            step = talk.ack(ms(1), block);
        }
        assert_eq!(step, Step::End(TransferEnd::Sent), "{size}");
    }
}

#[test]
fn rfc1350_2_a_lost_block_is_sent_again() {
    let mut talk = Talk::new(Options::default(), 5000);
    assert_eq!(talk.ack(ms(10), 1), blocks(2, 2));
    assert_eq!(talk.silence().1, blocks(2, 2));
    assert_eq!(talk.ack(ms(10), 2), blocks(3, 3));
    assert_eq!(talk.transfer.resent(), 1);
}

#[test]
fn rfc1123_4_2_3_1_in_lock_step_an_ack_seen_twice_is_not_answered() {
    let mut talk = Talk::new(Options::default(), 5000);
    assert_eq!(talk.ack(ms(10), 1), blocks(2, 2));
    for _ in 0..5 {
        assert_eq!(talk.ack(ms(30), 1), Step::Wait);
    }
    assert_eq!(talk.ack(ms(1), 2), blocks(3, 3));
    assert_eq!(talk.ack(ms(1), 1), Step::Wait, "a late one");
    assert_eq!(talk.ack(ms(1), 7), Step::Wait, "one of a block that was never sent");
}

#[test]
fn rfc1350_7_an_error_ends_it_and_is_not_answered() {
    let mut talk = Talk::new(Options::default(), 5000);
    talk.ack(ms(1), 1);
    let error = Packet::Error { code: ErrorCode::DISK_FULL, message: b"full" };
    assert_eq!(
        talk.packet(ms(1), &error),
        stopped(TransferStop::Refused { code: 3, message: "full".into() })
    );
}

#[test]
fn rfc1350_packets_of_other_kinds_are_ignored() {
    let mut talk = Talk::new(Options::default(), 5000);
    assert_eq!(talk.packet(ms(1), &Packet::Data { block: 1, data: b"x" }), Step::Wait);
    assert_eq!(talk.packet(ms(1), &Packet::OAck(Options::default())), Step::Wait);
    assert_eq!(talk.ack(ms(1), 1), blocks(2, 2));
}

#[test]
fn rfc2347_options_are_offered_until_they_are_accepted() {
    let mut talk = Talk::new(Options { block_size: Some(1024), ..Options::default() }, 5000);
    assert_eq!(talk.first, Step::Send(Send::Options));
    assert_eq!(talk.ack(ms(1), 1), Step::Wait, "no block was sent yet");
    assert_eq!(talk.silence(), (ms(299), Step::Send(Send::Options)));
    assert_eq!(talk.ack(ms(5), 0), blocks(1, 1));
    assert_eq!(talk.ack(ms(5), 0), Step::Wait, "seen twice");
    assert_eq!(talk.ack(ms(5), 1), blocks(2, 2));
    assert_eq!(talk.transfer.resent(), 1);
}

#[test]
fn rfc2347_a_client_that_refuses_the_options_is_let_go() {
    let mut talk = Talk::new(Options { block_size: Some(1024), ..Options::default() }, 5000);
    let error = Packet::Error { code: ErrorCode::OPTIONS, message: b"no" };
    assert_eq!(talk.packet(ms(1), &error), stopped(TransferStop::Refused { code: 8, message: "no".into() }));
}

#[test]
fn rfc2349_the_clients_timeout_is_honoured() {
    let asked = Options { timeout: Some(3), ..Options::default() };
    let mut talk = Talk::accepted(asked, 5000, ms(1));
    for _ in 0..5 {
        assert_eq!(talk.silence(), (ms(3000), blocks(1, 1)));
    }
    assert_eq!(talk.silence(), (ms(15_000), stopped(TransferStop::Silent)), "it may be busy for 30 s");
    let mut silent = Talk::new(Options { timeout: Some(255), ..Options::default() }, 5000);
    assert_eq!(
        silent.silence(),
        (ms(5000), Step::Send(Send::Options)),
        "a forged request is not held for minutes"
    );
}

#[test]
fn rfc7440_3_a_window_is_sent_for_each_acknowledgement() {
    let mut talk = Talk::accepted(window(4), 512 * 9 + 1, ms(1));
    assert_eq!(talk.ack(ms(1), 4), blocks(5, 8));
    assert_eq!(talk.ack(ms(1), 8), blocks(9, 10), "to the end of the file");
    assert_eq!(talk.ack(ms(1), 10), Step::End(TransferEnd::Sent));
    assert_eq!(talk.transfer.resent(), 0);
}

#[test]
fn rfc7440_4_an_ack_in_the_middle_begins_the_window_after_it_at_once() {
    let mut talk = Talk::accepted(window(8), 1 << 20, ms(10));
    assert_eq!(talk.ack(ms(10), 3), blocks(4, 11));
    assert_eq!(talk.transfer.resent(), 5);
    assert_eq!(talk.ack(ms(10), 11), blocks(12, 19));
    assert_eq!(talk.ack(ms(10), 3), Step::Wait, "a late one");
}

#[test]
fn t_17_an_ack_of_the_block_before_the_window_resends_it() {
    let mut talk = Talk::accepted(window(8), 1 << 20, ms(10));
    assert_eq!(talk.ack(ms(10), 8), blocks(9, 16));
    assert_eq!(talk.ack(ms(10), 8), blocks(9, 16), "block 9 was lost");
    assert_eq!(talk.transfer.resent(), 8);
    assert_eq!(talk.ack(ms(10), 16), blocks(17, 24));
}

#[test]
fn rfc7440_4_a_gap_is_resent_once_per_round_trip() {
    let mut talk = Talk::accepted(window(8), 1 << 20, ms(10));
    assert_eq!(talk.ack(ms(10), 8), blocks(9, 16));
    assert_eq!(talk.ack(ms(1), 8), Step::Wait, "too early to be about this window");
    assert_eq!(talk.ack(ms(9), 8), blocks(9, 16));
    for _ in 0..6 {
        // A client that repeats its ACK for each block that arrives after the lost one.
        assert_eq!(talk.ack(ms(1), 8), Step::Wait);
    }
    assert_eq!(talk.ack(ms(4), 8), blocks(9, 16), "a round trip later the first block is lost once more");
    assert_eq!(talk.transfer.resent(), 16);
}

#[test]
fn a_client_that_acknowledges_every_block_of_a_window_causes_no_storm() {
    let mut talk = Talk::accepted(window(16), 1 << 20, ms(10));
    talk.now += ms(10);
    let mut sent = 0;
    for block in 1..=16 {
        if let Step::Send(Send::Blocks { first, last }) = talk.ack(Duration::ZERO, block) {
            sent += last - first + 1;
        }
    }
    assert!(sent <= 2 * 16, "{sent} blocks for 16");
}

/// Sends a file over a path with the round-trip time `path`, on which a block takes `each` to pass. The client accepts
/// the options after `first` and acknowledges every block that it did not expect, as EDK2 does. Returns how many blocks
/// the client received.
fn to_a_talkative_client(
    window_size: u16,
    last: u64,
    path: Duration,
    each: Duration,
    first: Duration,
) -> u64 {
    let mut talk = Talk::new(window(window_size), 512 * last - 1);
    let (mut step, mut path_is_free, mut got, mut has) = (talk.first.clone(), Duration::ZERO, 0, 0);
    let mut acks = VecDeque::new();
    loop {
        match step {
            Step::Send(Send::Options) => acks.push_back((first.max(talk.now + path), 0)),
            Step::Send(Send::Blocks { first, last: until }) => {
                for block in first..=until {
                    path_is_free = path_is_free.max(talk.now) + each;
                    let as_expected = block == has + 1;
                    has += u64::from(as_expected);
                    got += 1;
                    if !as_expected || has.is_multiple_of(window_size.into()) || has == last {
                        acks.push_back((path_is_free + path, has));
                    }
                }
            }
            Step::Wait => {}
            Step::End(end) => {
                assert_eq!(end, TransferEnd::Sent);
                return got;
            }
        }
        assert!(got <= 10 * last, "a storm");
        step = match acks.front().filter(|(at, _)| *at <= talk.transfer.deadline()) {
            Some(&(at, block)) => {
                acks.pop_front();
                talk.ack(at.saturating_sub(talk.now), block)
            }
            None => talk.silence().1,
        };
    }
}

#[test]
fn a_client_that_took_the_options_late_gets_each_block_once() {
    for (window_size, first) in [(4, 350), (16, 350), (64, 350), (4, 800)] {
        let got = to_a_talkative_client(window_size, 1001, ms(1), Duration::from_micros(12), ms(first));
        assert_eq!(got, 1001, "windows of {window_size}, first ACK after {first} ms");
    }
}

#[test]
fn a_round_trip_longer_than_the_first_wait_causes_no_storm() {
    let got = to_a_talkative_client(4, 61, ms(340), Duration::from_micros(12), ms(0));
    assert_eq!(got, 61);
}

#[test]
fn a_path_on_which_windows_queue_causes_no_storm() {
    // Eight clients share 50 Mbit/s, so a block passes in 2 ms.
    for window_size in [4, 16, 64] {
        let got = to_a_talkative_client(window_size, 1001, Duration::from_micros(100), ms(2), ms(0));
        assert!(got <= 1200, "{got} blocks for 1001 in windows of {window_size}");
    }
}

#[test]
fn an_ack_seen_twice_is_of_the_probe_if_there_was_one_and_tells_the_round_trip() {
    let mut talk = Talk::accepted(window(16), 1 << 20, ms(1));
    assert_eq!(talk.silence(), (RoundTrip::MIN_PROBE, blocks(16, 16)));
    assert_eq!(talk.ack(ms(30), 16), blocks(17, 32), "it was not lost, it waited behind others");
    assert_eq!(talk.ack(ms(20), 16), Step::Wait, "the answer to the probe");
    // The estimate (7 * 1 + 40) / 8 ms gives the wait for the next flight.
    assert_eq!(talk.ack(ms(1), 32), blocks(33, 48));
    assert!(talk.silence().0 > RoundTrip::MIN_PROBE);
}

#[test]
fn a_window_sent_again_without_need_does_not_have_the_next_one_sent_again() {
    let mut talk = Talk::accepted(window(8), 1 << 20, ms(10));
    assert_eq!(talk.ack(ms(10), 8), blocks(9, 16));
    assert_eq!(talk.ack(ms(9), 8), blocks(9, 16), "the network made two of one ACK, and the second is late");
    assert_eq!(talk.ack(ms(1), 16), blocks(17, 24), "too early to answer the copies");
    assert_eq!(talk.ack(ms(9), 16), Step::Wait, "this one is of them");
    assert_eq!(talk.ack(ms(1), 24), blocks(25, 32));
    assert_eq!(talk.transfer.resent(), 8);
}

#[test]
fn rfc7440_4_the_first_block_after_a_probe_is_resent_too() {
    let mut talk = Talk::accepted(window(16), 1 << 20, ms(20));
    assert_eq!(talk.silence(), (ms(40), blocks(16, 16)));
    assert_eq!(talk.ack(ms(20), 16), blocks(17, 32), "it was lost, or the answer");
    assert_eq!(talk.ack(ms(20), 16), Step::Wait, "this may answer the probe, it says no more");
    let (waited, step) = talk.silence();
    assert!(waited < ms(60) && step == blocks(32, 32), "{waited:?}: {step:?}");
    assert_eq!(talk.ack(ms(20), 16), blocks(17, 32), "block 17 was lost");
}

#[test]
fn rfc7440_4_an_ack_too_early_to_be_about_this_window_moves_its_end() {
    let mut talk = Talk::accepted(window(8), 1 << 20, ms(10));
    assert_eq!(talk.ack(ms(10), 3), blocks(4, 11));
    // The client has received more of the earlier flight than it acknowledged. It counts its eight blocks from here.
    assert_eq!(talk.ack(ms(1), 5), blocks(12, 13));
    assert_eq!(talk.ack(ms(1), 5), Step::Wait);
    assert_eq!(talk.ack(ms(8), 13), blocks(14, 21));
    assert_eq!(talk.transfer.resent(), 5);
}

#[test]
fn rfc8985_7_the_last_block_of_a_window_is_sent_once_more_before_all_of_it_is() {
    let mut talk = Talk::accepted(window(4), 1 << 20, ms(20));
    assert_eq!(talk.ack(ms(20), 4), blocks(5, 8));
    assert_eq!(talk.silence(), (ms(40), blocks(8, 8)), "twice the usual time");
    assert_eq!(talk.ack(ms(20), 8), blocks(9, 12), "it was lost, or the answer");
    assert_eq!(talk.silence().1, blocks(12, 12));
    assert_eq!(talk.ack(ms(20), 10), blocks(11, 14), "more was lost");
    assert_eq!(talk.silence().1, blocks(14, 14));
    assert_eq!(talk.silence(), (ms(100), blocks(11, 14)), "nothing came of it");
    assert_eq!(talk.silence(), (ms(200), blocks(11, 14)), "no more of them to the silent");
    // Not without a measurement, not in lock-step, and not if the client set the timeout.
    assert_eq!(Talk::new(window(4), 1 << 20).silence().1, Step::Send(Send::Options));
    assert_eq!(Talk::accepted(window(1), 1 << 20, ms(20)).silence(), (ms(100), blocks(1, 1)));
    let asked = Options { timeout: Some(1), ..window(4) };
    assert_eq!(Talk::accepted(asked, 1 << 20, ms(20)).silence(), (ms(1000), blocks(1, 4)));
}

#[test]
fn the_wait_follows_the_round_trip_and_doubles_in_silence() {
    let mut talk = Talk::accepted(window(4), 1 << 20, ms(2));
    assert_eq!(talk.silence(), (RoundTrip::MIN_PROBE, blocks(4, 4)));
    let waits: Vec<Duration> = (0..4)
        .map(|_| {
            let (waited, step) = talk.silence();
            assert_eq!(step, blocks(1, 4));
            waited
        })
        .collect();
    assert_eq!(waits, [ms(100), ms(200), ms(400), ms(800)]);
    assert_eq!(talk.silence().1, stopped(TransferStop::Silent));
    assert_eq!(talk.now, ms(2) + Duration::from_secs(30), "it may be busy for so long");
    assert_eq!(talk.transfer.resent(), 4 * 4 + 1);

    let mut slow = Talk::accepted(window(1), 1 << 20, ms(800));
    assert_eq!(slow.transfer.deadline() - slow.now, ms(800 + 4 * 400));
    slow.ack(ms(800), 1);
    assert!(slow.transfer.deadline() - slow.now > ms(800));
}

#[test]
fn karn_resent_blocks_are_not_measured() {
    let mut talk = Talk::accepted(window(1), 1 << 20, ms(2));
    talk.silence();
    let wait = talk.transfer.deadline() - talk.now;
    assert_eq!(wait, ms(200));
    assert_eq!(talk.ack(ms(1), 1), blocks(2, 2));
    assert_eq!(talk.transfer.deadline() - talk.now, wait, "the wait stays long until something is measured");
    assert_eq!(talk.ack(ms(1), 2), blocks(3, 3));
    assert_eq!(talk.transfer.deadline() - talk.now, ms(100));
}

#[test]
fn a_client_that_is_heard_is_not_given_up() {
    let mut talk = Talk::new(Options::default(), 5000);
    talk.ack(ms(10), 1);
    for _ in 0..20 {
        for _ in 0..3 {
            assert_eq!(talk.silence().1, blocks(2, 2));
        }
        assert_eq!(talk.ack(ms(1), 1), Step::Wait);
    }
    assert_eq!(talk.ack(ms(1), 2), blocks(3, 3));
}

/// For any options that a client sends, and for any block after which it becomes silent.
#[test]
fn s_03_silent_transfers_end_within_30_s() {
    for timeout in [None, Some(1), Some(5), Some(29), Some(30), Some(31), Some(255)] {
        for window_size in [None, Some(1), Some(64)] {
            for acks in 0..4 {
                let asked = Options { timeout, window_size, block_size: Some(512), ..Options::default() };
                let mut talk = Talk::new(asked, 1 << 20);
                for n in 0..acks {
                    talk.ack(ms(1), n * u64::from(window_size.unwrap_or(1)));
                }
                let began = talk.now;
                loop {
                    match talk.silence().1 {
                        Step::End(end) => break assert_eq!(end, TransferEnd::Stopped(TransferStop::Silent)),
                        Step::Send(_) | Step::Wait => {}
                    }
                }
                let took = talk.now - began;
                assert!(took <= Duration::from_secs(30), "{asked:?} after {acks}: {took:?}");
                assert!(acks == 0 || took == Duration::from_secs(30), "it may be busy: {asked:?} {took:?}");
            }
        }
    }
}

/// A machine that erases its flash receives nothing for more than 20 s. Then it repeats its last packet.
#[test]
fn s_03_a_client_that_was_busy_for_20_s_goes_on() {
    for timeout in [None, Some(1), Some(5), Some(255)] {
        for window_size in [None, Some(4)] {
            let asked = Options { timeout, window_size, ..Options::default() };
            let mut talk = Talk::new(asked, 1 << 20);
            if matches!(talk.first, Step::Send(Send::Options)) {
                talk.ack(ms(1), 0);
            }
            let window = u64::from(window_size.unwrap_or(1));
            for n in 1..=8 {
                talk.ack(ms(1), n * window);
            }
            let until = talk.now + ms(21_500);
            while talk.transfer.deadline() <= until {
                assert!(!matches!(talk.silence().1, Step::End(_)), "{asked:?} {:?}", talk.now);
            }
            talk.now = until;
            let last = blocks(8 * window + 1, 9 * window);
            let waits = talk.ack(ms(0), 8 * window);
            // The last copy was sent more than 1 s ago.
            assert_eq!(waits, last, "{asked:?}");
            if window == 1 {
                assert_eq!(talk.ack(ms(1), 8), Step::Wait, "but not over and over");
            }
            assert_eq!(talk.ack(ms(1), 9 * window), blocks(9 * window + 1, 10 * window), "{asked:?}");
        }
    }
}

#[test]
fn t_13_a_source_that_proved_nothing_gets_three_copies() {
    for asked in [Options::default(), window(64), Options { transfer_size: Some(0), ..Options::default() }] {
        let mut talk = Talk::new(asked, 1 << 20);
        let first = talk.first.clone();
        assert_eq!(talk.silence(), (ms(300), first.clone()));
        assert_eq!(talk.silence(), (ms(600), first));
        assert_eq!(talk.silence(), (ms(1200), stopped(TransferStop::Silent)));
        assert!(!talk.transfer.is_address_verified());
    }
}

#[test]
fn t_13_an_ack_of_nothing_sent_buys_no_more_copies() {
    let mut talk = Talk::new(Options::default(), 1 << 20);
    for _ in 0..2 {
        assert_eq!(talk.silence().1, blocks(1, 1));
        for _ in 0..10 {
            assert_eq!(talk.ack(ms(1), 0), Step::Wait);
        }
    }
    assert_eq!(talk.silence().1, stopped(TransferStop::Silent));
}

#[test]
fn t_12_after_the_handshake_a_silent_client_gets_one_window_and_its_repeats() {
    let mut talk = Talk::accepted(window(64), 1 << 30, ms(1));
    let mut sent = 64;
    let mut again = 0;
    loop {
        match talk.silence().1 {
            Step::Send(Send::Blocks { first, last }) => {
                again += 1;
                sent += last - first + 1;
            }
            step => break assert_eq!(step, stopped(TransferStop::Silent)),
        }
    }
    assert_eq!((again, sent), (5, 64 * 5 + 1), "its last block, then all of it four times");
}

#[test]
fn t_14_any_error_after_the_oack_is_a_size_probe() {
    for code in [ErrorCode::OPTIONS, ErrorCode::UNDEFINED, ErrorCode::DISK_FULL] {
        let asked = Options { transfer_size: Some(0), block_size: Some(1468), ..Options::default() };
        let mut talk = Talk::new(asked, 5000);
        let error = Packet::Error { code, message: b"User aborted the transfer" };
        assert_eq!(talk.packet(ms(1), &error), Step::End(TransferEnd::SizeProbe));
        let mut later = Talk::accepted(asked, 5000, ms(1));
        assert!(matches!(
            later.packet(ms(1), &error),
            Step::End(TransferEnd::Stopped(TransferStop::Refused { .. }))
        ));
    }
}

#[test]
fn a_client_that_never_acknowledges_block_1_may_reject_its_size() {
    let asked = Options { block_size: Some(1468), ..Options::default() };
    let mut talk = Talk::accepted(asked, 1 << 20, ms(1));
    for lost in 1..=2 {
        talk.silence();
        assert_eq!(talk.transfer.rejected_blksize(), None, "{lost}");
    }
    talk.silence();
    assert_eq!(talk.transfer.rejected_blksize(), Some(1468), "lost three times");
    talk.ack(ms(1), 1);
    assert_eq!(talk.transfer.rejected_blksize(), None, "it was only slow");

    let mut silent = Talk::new(asked, 1 << 20);
    while let (_, Step::Send(_)) = silent.silence() {}
    assert_eq!(silent.transfer.rejected_blksize(), None, "it never took the options");

    let mut repeating = Talk::accepted(Options { window_size: Some(4), ..asked }, 1 << 20, ms(1));
    for lost in 1..=3 {
        assert_eq!(repeating.transfer.rejected_blksize(), None, "{lost}");
        assert_eq!(repeating.ack(ms(1000), 0), blocks(1, 4), "it asks for block 1 itself");
    }
    assert_eq!(repeating.transfer.rejected_blksize(), Some(1468), "lost three times");
}

#[test]
fn a_closed_port_ends_it() {
    let mut talk = Talk::new(Options::default(), 5000);
    assert_eq!(talk.transfer.handle(Input::Unreachable, ms(1)), stopped(TransferStop::Unreachable));
}

#[test]
fn a_timer_that_comes_early_changes_nothing() {
    let mut talk = Talk::new(Options::default(), 5000);
    talk.ack(ms(1), 1);
    let deadline = talk.transfer.deadline();
    assert_eq!(talk.transfer.handle(Input::Timeout, deadline - ms(1)), Step::Wait);
    assert_eq!(talk.transfer.deadline(), deadline);
}

/// Sends a file of `size` bytes to a client that loses nothing. Returns the block numbers as they are on the wire.
fn all_blocks(asked: Options, size: u64) -> (u64, Talk) {
    let mut talk = Talk::new(asked, size);
    let mut step = talk.first.clone();
    let mut count = 0;
    loop {
        step = match step {
            Step::Send(Send::Options) => talk.ack(ms(1), 0),
            Step::Send(Send::Blocks { first, last }) => {
                assert_eq!(first, count + 1);
                count = last;
                talk.ack(ms(1), last)
            }
            Step::End(TransferEnd::Sent) => return (count, talk),
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn t_18_block_numbers_wrap_to_0() {
    for asked in [Options::default(), window(64), window(7)] {
        let (count, talk) = all_blocks(asked, 100 << 20);
        assert_eq!((count, talk.transfer.resent()), ((100 << 20) / 512 + 1, 0));
    }
    // Exactly at the edge: blocks 65535 and 65536.
    let (count, _) = all_blocks(Options::default(), 65535 * 512);
    assert_eq!(count, 65536);
}

#[test]
fn files_of_more_than_4_gib_are_sent_whole() {
    let size = (5_u64 << 30) + 1;
    let asked = Options { block_size: Some(1468), window_size: Some(64), ..Options::default() };
    let (count, talk) = all_blocks(asked, size);
    assert_eq!(count, size / 1468 + 1);
    assert_eq!(talk.transfer.acknowledged(), count);
}

#[test]
fn a_gap_where_the_numbers_wrap_is_resent() {
    let mut talk = Talk::accepted(window(16), 100 << 20, ms(1));
    let mut block = 16;
    while block < 65535 {
        assert_eq!(talk.ack(ms(1), block), blocks(block + 1, block + 16));
        block += 16;
    }
    assert_eq!(block, 65536);
    assert_eq!(talk.ack(ms(1), 65534), blocks(65535, 65550), "on the wire 65534 of 65521 to 0");
    assert_eq!(talk.ack(ms(1), 65536), blocks(65537, 65552), "on the wire 0, in the middle of 65535 to 14");
}

#[test]
fn text_whose_length_shows_at_its_end_is_sent_whole() {
    let granted = negotiate(&window(8), None, &limits(), 1500);
    let (mut transfer, _) = Transfer::start(granted, None, Duration::ZERO);
    assert_eq!(transfer.handle(Input::Packet(&Packet::Ack(0)), ms(1)), blocks(1, 8));
    assert_eq!(transfer.handle(Input::Packet(&Packet::Ack(8)), ms(2)), blocks(9, 16));
    transfer.ends_with(11);
    assert_eq!(transfer.handle(Input::Packet(&Packet::Ack(9)), ms(3)), blocks(10, 11));
    assert_eq!(transfer.handle(Input::Packet(&Packet::Ack(11)), ms(4)), Step::End(TransferEnd::Sent));
}

/// A client that takes blocks in order, acknowledges each window and reports gaps as RFC 7440 requires, over a path
/// that loses packets in both directions.
fn over_a_lossy_path(window_size: u16, size: u64, lost: impl Fn(u64) -> bool) -> (Talk, Vec<u64>) {
    let mut talk = Talk::new(window(window_size), size);
    let (mut step, mut packets, mut got) = (talk.first.clone(), 0, Vec::new());
    let last = size / 512 + 1;
    let mut survives = || {
        packets += 1;
        !lost(packets)
    };
    loop {
        let mut answer = None;
        match step {
            Step::Send(Send::Options) => answer = survives().then_some(0),
            Step::Send(Send::Blocks { first, last: until }) => {
                let mut gap_told = false;
                for block in first..=until {
                    let have = got.len() as u64;
                    if !survives() {
                        continue;
                    }
                    if block == have + 1 {
                        got.push(block);
                        if block == until || block == last {
                            answer = Some(block);
                        }
                    } else if !gap_told {
                        // A block is missing. The client reports a gap only once.
                        gap_told = true;
                        answer = Some(have);
                    }
                }
            }
            Step::Wait => {}
            Step::End(ref end) => {
                assert_eq!(*end, TransferEnd::Sent);
                return (talk, got);
            }
        }
        step = match answer.filter(|_| survives()) {
            Some(block) => talk.ack(ms(5), block),
            None => talk.silence().1,
        };
        if talk.now > Duration::from_secs(3600) {
            panic!("it hangs at block {}", got.len());
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_lost_the_file_arrives_once_and_in_order(
        window_size in 1_u16..=64,
        size in 0_u64..200_000,
        seed in any::<u64>(),
        percent in 0_u64..8,
    ) {
        let lost = |packet: u64| {
            let mixed = (packet ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 33) % 100 < percent
        };
        let (talk, got) = over_a_lossy_path(window_size, size, lost);
        prop_assert_eq!(got, (1..=size / 512 + 1).collect::<Vec<_>>());
        if percent == 0 {
            prop_assert_eq!(talk.transfer.resent(), 0);
        }
    }

    #[test]
    fn no_packets_at_any_time_lead_beyond_the_window(
        script in prop::collection::vec((0_u64..3000, any::<u16>(), 0_u8..6), 0..200),
        window_size in prop::option::of(1_u16..=64),
    ) {
        let asked = Options { window_size, ..Options::default() };
        let mut talk = Talk::new(asked, 300_000);
        let mut step = talk.first.clone();
        for (after, number, kind) in script {
            if let Step::Send(Send::Blocks { first, last }) = step {
                let has = talk.transfer.acknowledged();
                prop_assert!(has < first && first <= last);
                prop_assert!(last - has <= u64::from(window_size.unwrap_or(1)));
                prop_assert!(last <= 300_000 / 512 + 1);
            }
            if matches!(step, Step::End(_)) {
                break;
            }
            let near = talk.transfer.acknowledged().wrapping_add(u64::from(number % 70));
            step = match kind {
                0 => talk.packet(ms(after), &Packet::Error { code: ErrorCode(number), message: b"" }),
                1 => talk.ack(ms(after), u64::from(number)),
                2 => talk.silence().1,
                _ => talk.ack(ms(after), near),
            };
        }
    }
}
