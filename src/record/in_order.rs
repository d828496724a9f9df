//! Puts the records of several threads in the order of their times, for readers that draw conclusions from the order. The
//! journeys use it.

use crate::record::subscriber::SharedRecord;
use crate::types::Timestamp;

/// Records that wait, because an older one may still come: a thread states when something happened, and records it a moment
/// later.
#[derive(Debug, Default)]
pub struct InOrder {
    waiting: Vec<SharedRecord>,
}

impl InOrder {
    pub fn push(&mut self, record: SharedRecord) {
        self.waiting.push(record);
    }

    /// Takes the records from `until` and before, oldest first. Of two with the same time, the one that was pushed first comes
    /// first.
    pub fn take(&mut self, until: Timestamp) -> Vec<SharedRecord> {
        self.waiting.sort_by_key(|record| record.at);
        let count = self.waiting.partition_point(|record| record.at <= until);
        self.waiting.drain(..count).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Record, ServerFact};

    #[test]
    fn the_order_is_that_of_the_times() {
        let record = |at: u64, text: &str| {
            let event = Event::Server { fact: ServerFact::RecordsLost, text: text.into() };
            SharedRecord::from(Record { at: Timestamp(at), interface: None, machine: None, event })
        };
        let texts = |records: Vec<SharedRecord>| -> Vec<String> {
            let text = |record: &SharedRecord| match &record.event {
                Event::Server { text, .. } => text.clone(),
                other => panic!("{other:?}"),
            };
            records.iter().map(text).collect()
        };
        let mut records = InOrder::default();
        for (at, text) in [(5, "refused"), (7, "next"), (4, "sent"), (5, "again")] {
            records.push(record(at, text));
        }
        assert_eq!(texts(records.take(Timestamp(5))), ["sent", "refused", "again"]);
        records.push(record(6, "late"));
        assert_eq!(texts(records.take(Timestamp(9))), ["late", "next"]);
        assert!(records.is_empty());
    }
}
