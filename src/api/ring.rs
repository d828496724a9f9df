//! The last records, for event streams. Each has a number, so that a reader that comes back gets what it missed, and
//! learns how many records it can get no longer.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::OnceLock;

use crate::event::Record;
use crate::record::{SharedRecord, fields};

/// Maximum number of records that are kept.
const MAX_RECORDS: usize = 4096;
/// A batch of events ends when it has this many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// The last records, oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    /// The run of the server, which is part of every id. Numbers begin again with each run.
    run: String,
    entries: VecDeque<Entry>,
    /// The number of the next record.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    record: SharedRecord,
    /// The event as it is sent, made when the first reader needs it.
    text: OnceLock<String>,
}

/// The place of a reader in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The number of the next record to send.
    At(u64),
    /// The reader comes from another run of the server, so the number of records that it lost is unknown.
    OtherRun,
}

impl Ring {
    pub(super) fn new(run: String) -> Ring {
        Ring { run, entries: VecDeque::new(), next: 1 }
    }

    pub(super) fn push(&mut self, record: SharedRecord) {
        if self.entries.len() >= MAX_RECORDS {
            self.entries.pop_front();
        }
        let entry = Entry { number: self.next, record, text: OnceLock::new() };
        self.entries.push_back(entry);
        self.next = self.next.saturating_add(1);
    }

    /// Leaves out the numbers of records that the recorder could not deliver, so that every reader notices.
    pub(super) fn skip(&mut self, lost: u64) {
        self.next = self.next.saturating_add(lost);
    }

    /// The number of the next record, which changes with every record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The place of a reader that has received the event `last_id`; without one, only new records follow.
    pub(super) fn place_after(&self, last_id: Option<&str>) -> Place {
        let Some(last_id) = last_id else { return Place::At(self.next) };
        let number = last_id.split_once('-').filter(|(run, _)| *run == self.run);
        match number.and_then(|(_, number)| number.parse::<u64>().ok()) {
            Some(number) => Place::At(number.saturating_add(1).min(self.next)),
            None => Place::OtherRun,
        }
    }

    /// The events from `place` on, as many as fit a batch, and the place after them. Empty if there are none.
    pub(super) fn batch(&self, place: Place) -> (String, Place) {
        let mut text = String::new();
        let first = self.entries.front().map_or(self.next, |entry| entry.number);
        let mut at = match place {
            Place::At(number) => number,
            Place::OtherRun => {
                text.push_str("event: lost\ndata: {\"lost\":null}\n\n");
                first
            }
        };
        // Numbers are in order, though some may be missing.
        let start = self.entries.partition_point(|entry| entry.number < at);
        for entry in self.entries.range(start..) {
            if entry.number > at {
                self.lost(&mut text, at, entry.number);
            }
            text.push_str(entry.text.get_or_init(|| self.event(entry.number, &entry.record)));
            at = entry.number.saturating_add(1);
            if text.len() >= BATCH_BYTES {
                return (text, Place::At(at));
            }
        }
        if self.next > at {
            self.lost(&mut text, at, self.next);
            at = self.next;
        }
        (text, Place::At(at))
    }

    /// Says that the records from `at` to before `next` are lost.
    fn lost(&self, text: &mut String, at: u64, next: u64) {
        let (lost, last) = (next.saturating_sub(at), next.saturating_sub(1));
        // Writing to a String never fails.
        let _ = write!(text, "id: {}-{last}\nevent: lost\ndata: {{\"lost\":{lost}}}\n\n", self.run);
    }

    fn event(&self, number: u64, record: &Record) -> String {
        // JSON has no line ends in it, so the data is one line.
        format!("id: {}-{number}\ndata: {}\n\n", self.run, fields::json(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DropReason, Event};
    use crate::types::Timestamp;

    fn dropped() -> SharedRecord {
        let event = Event::Dropped { reason: DropReason::TooShort, client: None };
        Record { at: Timestamp(0), interface: None, machine: None, event }.into()
    }

    /// The ids and losses of a batch.
    fn shown(text: &str) -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("id: ") || line.contains("\"lost\""));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn a_reader_resumes_after_its_last_event() {
        let mut ring = Ring::new("7".to_owned());
        assert_eq!(ring.batch(ring.place_after(None)), (String::new(), Place::At(1)));
        (0..3).for_each(|_| ring.push(dropped()));
        let (text, place) = ring.batch(ring.place_after(Some("7-1")));
        assert_eq!(shown(&text), ["id: 7-2", "id: 7-3"]);
        assert_eq!(ring.batch(place), (String::new(), Place::At(4)));
        assert_eq!(ring.place_after(None), Place::At(4), "a new reader gets new records");
        assert_eq!(ring.place_after(Some("7-99")), Place::At(4), "an id that was never given");
        for other in ["8-1", "", "7", "7-x", "7-1-1"] {
            assert_eq!(ring.place_after(Some(other)), Place::OtherRun, "{other}");
        }
        let (text, _) = ring.batch(Place::OtherRun);
        assert_eq!(shown(&text), ["data: {\"lost\":null}", "id: 7-1", "id: 7-2", "id: 7-3"]);
    }

    #[test]
    fn lost_records_are_counted_and_memory_is_bounded() {
        let mut ring = Ring::new("7".to_owned());
        (0..MAX_RECORDS + 10).for_each(|_| ring.push(dropped()));
        assert_eq!(ring.entries.len(), MAX_RECORDS);
        let (text, place) = ring.batch(Place::At(3));
        assert_eq!(shown(&text)[..3], ["id: 7-10", "data: {\"lost\":8}", "id: 7-11"]);
        assert!(text.len() < BATCH_BYTES + 1024, "{}", text.len());
        assert_ne!(place, Place::At(ring.next()), "more batches follow");
        let now = ring.next();
        ring.skip(5);
        let (text, place) = ring.batch(Place::At(now));
        assert_eq!(shown(&text), [format!("id: 7-{}", now + 4), "data: {\"lost\":5}".to_owned()]);
        ring.push(dropped());
        assert_eq!(shown(&ring.batch(place).0), [format!("id: 7-{}", now + 5)]);
    }
}
