//! Puts events into their envelope.

use super::{Context, DropReason, Event, Record};
use crate::types::{InterfaceName, Timestamp};

impl Context {
    /// The context of a message whose sender is not known.
    pub fn unknown(at: Timestamp, interface: InterfaceName) -> Context {
        Context { at, interface: Some(interface), machine: None, client: None }
    }

    /// Puts `event` into this envelope.
    pub fn record(&self, event: Event) -> Record {
        let Context { at, interface, machine, .. } = self.clone();
        Record { at, interface, machine, event }
    }

    /// The record that the message is dropped.
    pub fn dropped(&self, reason: DropReason) -> Record {
        self.record(Event::Dropped { reason, client: self.client })
    }
}

impl Record {
    /// The record that the reply or change of this record is dropped instead.
    #[must_use]
    pub fn dropped(self, reason: DropReason) -> Record {
        let client = self.event.client().copied();
        Record { event: Event::Dropped { reason, client }, ..self }
    }
}
