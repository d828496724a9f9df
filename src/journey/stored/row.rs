//! The rows: one for each machine, and one for each boot.

use std::sync::Arc;

use crate::event::Record;
use crate::journey::boot::{Boot, BootId, MAX_EVENTS};
use crate::journey::machine::Machine;
use crate::journey::stored::field::{Field, Reader, Unreadable, Writer};
use crate::journey::verdict::{Confidence, Verdict};
use crate::types::{Hardware, MacAddr, MachineId, Timestamp, Uuid};

/// Version of the rows, and of the database. Rows of another version are not read.
pub const VERSION: u8 = 1;

/// The key of a row: the machine, and the start of the boot; zero for the row of the machine itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub mac: MacAddr,
    pub started: u64,
}

impl Key {
    /// The key of the row of the machine itself.
    pub fn of_machine(mac: MacAddr) -> Key {
        Key { mac, started: 0 }
    }

    pub fn of_boot(id: BootId) -> Key {
        Key { mac: id.mac, started: id.started.0 }
    }

    pub fn is_of_machine(self) -> bool {
        self.started == 0
    }
}

/// A checksum of a row: FNV-1a with 64 bits. Every flipped bit changes it.
pub fn checksum(key: Key, data: &[u8]) -> u64 {
    let started = key.started.to_le_bytes();
    let bytes = key.mac.0.iter().chain(&started).chain(data);
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The row of a machine, without its boots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredMachine {
    pub name: Option<Arc<str>>,
    pub uuid: Option<Uuid>,
    pub seen: Option<Timestamp>,
    pub reported: Hardware,
}

/// The row of `machine`.
pub fn encode_machine(machine: &Machine) -> Vec<u8> {
    let mut to = Writer::default();
    to.bytes.push(VERSION);
    machine.name.write(&mut to);
    machine.uuid.write(&mut to);
    machine.seen.write(&mut to);
    machine.reported.write(&mut to);
    to.bytes
}

/// Reads the row of a machine.
pub fn read_machine(bytes: &[u8]) -> Result<StoredMachine, Unreadable> {
    let mut from = reader(bytes)?;
    let machine = StoredMachine {
        name: Field::read(&mut from)?,
        uuid: Field::read(&mut from)?,
        seen: Field::read(&mut from)?,
        reported: Field::read(&mut from)?,
    };
    from.is_at_end().then_some(machine).ok_or(Unreadable)
}

fn reader(bytes: &[u8]) -> Result<Reader<'_>, Unreadable> {
    let mut from = Reader::new(bytes);
    if u8::read(&mut from)? == VERSION { Ok(from) } else { Err(Unreadable) }
}

impl Field for Verdict {
    fn write(&self, to: &mut Writer) {
        self.id.write(to);
        self.cause.write(to);
        self.advice.write(to);
        (self.confidence == Confidence::Certain).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Verdict, Unreadable> {
        let (id, cause, advice) = (Field::read(from)?, Field::read(from)?, Field::read(from)?);
        let confidence = if bool::read(from)? { Confidence::Certain } else { Confidence::Likely };
        Ok(Verdict { id, cause, advice, confidence })
    }
}

/// The row of `boot`, with the events that are in memory.
pub fn encode_boot(boot: &Boot) -> Vec<u8> {
    let mut to = Writer::default();
    to.bytes.push(VERSION);
    let since = |at: Timestamp| at.0.saturating_sub(boot.id.started.0);
    boot.ended.map(since).write(&mut to);
    boot.stage.write(&mut to);
    boot.result.write(&mut to);
    boot.arch.write(&mut to);
    boot.verdict.is_some().write(&mut to);
    boot.verdict.iter().for_each(|verdict| verdict.write(&mut to));
    boot.reached.iter().for_each(|at| at.map(since).write(&mut to));
    boot.chain.write(&mut to);
    boot.omitted.write(&mut to);
    boot.events.len().write(&mut to);
    let mut machine: Option<&MachineId> = None;
    for record in &boot.events {
        write_record(record, boot, &mut machine, &mut to);
    }
    to.bytes
}

/// Reads the row of the boot `id`.
pub fn read_boot(id: BootId, bytes: &[u8]) -> Result<Boot, Unreadable> {
    let from = &mut reader(bytes)?;
    let mut boot = Boot::new(id.mac, id.started);
    let after = |millis: u64| Timestamp(id.started.0.saturating_add(millis));
    boot.ended = Option::<u64>::read(from)?.map(after);
    boot.stage = Field::read(from)?;
    boot.result = Field::read(from)?;
    boot.arch = Field::read(from)?;
    boot.verdict = Option::<Verdict>::read(from)?.map(Arc::new);
    for reached in &mut boot.reached {
        *reached = Option::<u64>::read(from)?.map(after);
    }
    boot.chain = Field::read(from)?;
    boot.omitted = Field::read(from)?;
    let count = usize::read(from)?;
    if count > MAX_EVENTS {
        return Err(Unreadable);
    }
    let mut machine = None;
    for _ in 0..count {
        let record = read_record(&boot, &mut machine, from)?;
        boot.events.push(record);
    }
    from.is_at_end().then_some(boot).ok_or(Unreadable)
}

/// The machine of a record.
const NO_MACHINE: u8 = 0;
const SAME_MACHINE: u8 = 1;
const OTHER_MACHINE: u8 = 2;

/// Writes a record. Most records of a boot have the same machine, and come within seconds of each other.
fn write_record<'a>(record: &'a Record, boot: &Boot, machine: &mut Option<&'a MachineId>, to: &mut Writer) {
    // The loss of records and the like may be from before the boot.
    let (at, started) = (record.at.0, boot.id.started.0);
    (at < started).write(to);
    at.abs_diff(started).write(to);
    record.interface.write(to);
    match &record.machine {
        None => NO_MACHINE.write(to),
        Some(of) if *machine == Some(of) => SAME_MACHINE.write(to),
        Some(of) => {
            OTHER_MACHINE.write(to);
            of.write(to);
            *machine = Some(of);
        }
    }
    record.event.write(to);
}

fn read_record(
    boot: &Boot,
    machine: &mut Option<MachineId>,
    from: &mut Reader<'_>,
) -> Result<Record, Unreadable> {
    let (is_before, distance) = (bool::read(from)?, u64::read(from)?);
    let started = boot.id.started.0;
    let at = if is_before { started.checked_sub(distance) } else { started.checked_add(distance) };
    let at = Timestamp(at.ok_or(Unreadable)?);
    let interface = Field::read(from)?;
    let of = match u8::read(from)? {
        NO_MACHINE => None,
        SAME_MACHINE => Some(machine.clone().ok_or(Unreadable)?),
        OTHER_MACHINE => {
            *machine = Some(Field::read(from)?);
            machine.clone()
        }
        _ => return Err(Unreadable),
    };
    Ok(Record { at, interface, machine: of, event: Field::read(from)? })
}
