//! The envelope of an event: when and where it happened, and to which machine.

use super::{DropReason, Event};
use crate::types::{Arch, Firmware, InterfaceName, MachineId, Timestamp};

/// The program that sent a DHCP message. The machine that it runs on is in [`Record::machine`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    pub firmware: Firmware,
    /// The client architecture, if the message has one.
    pub arch: Option<Arch>,
}

/// An event in its envelope. Log lines, counters, journeys and the API are made from records alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it happened, by the server's clock.
    pub at: Timestamp,
    /// The name of the interface; `None` if the event belongs to no interface, or if it is not known.
    pub interface: Option<InterfaceName>,
    /// The machine that the event is about, wherever it is known.
    pub machine: Option<MachineId>,
    pub event: Event,
}

/// The part of the envelope that all records of one DHCP message share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    pub at: Timestamp,
    pub interface: Option<InterfaceName>,
    pub machine: Option<MachineId>,
    /// The sender of the message, if the message could be decoded.
    pub client: Option<Client>,
}

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
