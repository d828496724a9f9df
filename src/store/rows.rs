//! The rows of the lease table, in memory in packed form, and the checksums over them.
//!
//! The store keeps them for two reasons. The sum of their checksums is stored in the database, so that a start
//! detects a changed bit in any row. And if the database file is deleted under a running server, the rows are written
//! to a new one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, params};

use crate::lease::{Holder, Lease, State};
use crate::store::lease_store::{ClockMark, Uptime};
use crate::types::{ClientId, HardwareAddr, Timestamp, Uuid};

/// The columns of a row, in the order in which [`Row::read`] expects them.
pub(super) const COLUMNS: &str = "address, client, hardware, boots, state, until";

/// One row of the lease table. It may be something else than a lease if a person wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row<'a> {
    address: i64,
    client: &'a [u8],
    hardware: &'a [u8],
    boots: i64,
    state: i64,
    until: i64,
}

impl<'a> Row<'a> {
    /// The row that stores `lease`.
    pub(super) fn of(lease: &'a Lease) -> Row<'a> {
        Row {
            address: u32::from(lease.address).into(),
            client: lease.holder.client.as_bytes(),
            hardware: lease.hardware.as_bytes(),
            boots: lease.holder.is_boot_stage.into(),
            state: state_number(lease.state),
            until: signed(lease.until.seconds()),
        }
    }

    /// Reads a row that a query for [`COLUMNS`] returned.
    pub(super) fn read(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Row<'a>> {
        Ok(Row {
            address: row.get(0)?,
            client: row.get_ref(1)?.as_blob()?,
            hardware: row.get_ref(2)?.as_blob()?,
            boots: row.get(3)?,
            state: row.get(4)?,
            until: row.get(5)?,
        })
    }

    /// Runs a statement that takes the columns in the order of [`COLUMNS`].
    pub(super) fn write(&self, statement: &mut CachedStatement<'_>) -> rusqlite::Result<()> {
        let Row { address, client, hardware, boots, state, until } = *self;
        statement.execute(params![address, client, hardware, boots, state, until]).map(drop)
    }

    /// The lease in this row, or `None` if the row is not a lease.
    pub(super) fn lease(&self) -> Option<Lease> {
        let hardware = HardwareAddr::new(self.hardware)?;
        // The hardware type is stored only in the identity of a client that sends no identifier.
        let is_other_hardware =
            matches!(self.client, [2..=255, address @ ..] if address == hardware.as_bytes());
        let mac = hardware.mac().filter(|_| !is_other_hardware);
        let boots = u8::try_from(self.boots).ok()? != 0;
        Some(Lease {
            address: Ipv4Addr::from(u32::try_from(self.address).ok()?),
            holder: Holder { client: ClientId::from_stored(self.client)?, mac, is_boot_stage: boots },
            hardware,
            state: state_of(self.state)?,
            until: Timestamp::from_seconds(u64::try_from(self.until).ok()?),
        })
    }

    fn is_lease(&self) -> bool {
        let is_client = self.client.len() >= 2 && self.hardware.len() <= 16;
        let is_number = u32::try_from(self.address).is_ok() && u8::try_from(self.boots).is_ok();
        is_client && is_number && state_of(self.state).is_some() && self.until >= 0
    }

    /// Checksum of the row. A change of any field changes it.
    fn checksum(&self) -> u64 {
        let mut sum = Checksum::default();
        [self.address, self.boots, self.state, self.until].iter().for_each(|number| sum.number(*number));
        sum.bytes(self.client);
        sum.bytes(self.hardware);
        sum.finish()
    }

    /// The row without its address, in as few bytes as possible, because one is kept per lease.
    fn packed(&self) -> Option<Box<[u8]>> {
        let mut bytes = Vec::with_capacity(11 + self.hardware.len() + self.client.len());
        bytes.extend(self.until.to_le_bytes());
        bytes.push(u8::try_from(self.state).ok()?);
        bytes.push(u8::try_from(self.boots).ok()?);
        bytes.push(u8::try_from(self.hardware.len()).ok()?);
        bytes.extend(self.hardware);
        bytes.extend(self.client);
        Some(bytes.into())
    }

    fn unpacked(address: u32, bytes: &'a [u8]) -> Option<Row<'a>> {
        let (until, rest) = bytes.split_first_chunk()?;
        let ([state, boots, length], rest) = rest.split_first_chunk()?;
        let (hardware, client) = rest.split_at_checked(usize::from(*length))?;
        Some(Row {
            address: address.into(),
            client,
            hardware,
            boots: (*boots).into(),
            state: (*state).into(),
            until: i64::from_le_bytes(*until),
        })
    }
}

/// All rows of the table.
#[derive(Default, Debug)]
pub(super) struct Rows {
    /// Packed leases by their address as a number.
    leases: BTreeMap<u32, Box<[u8]>>,
    /// Checksums of the rows that are not leases. Those rows are never changed.
    others: BTreeMap<i64, u64>,
    /// The sum of all checksums.
    sum: u64,
}

impl Rows {
    /// Reads the whole table.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Rows> {
        let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM leases ORDER BY address"))?;
        let mut found = statement.query([])?;
        let mut rows = Rows::default();
        // Building the map from sorted pairs is faster.
        let mut leases = Vec::new();
        while let Some(row) = found.next()? {
            let row = Row::read(row)?;
            let checksum = row.checksum();
            match row.is_lease().then(|| row.packed()).flatten().zip(u32::try_from(row.address).ok()) {
                Some((packed, address)) => leases.push((address, packed)),
                None => drop(rows.others.insert(row.address, checksum)),
            }
            rows.sum = rows.sum.wrapping_add(checksum);
        }
        rows.leases = leases.into_iter().collect();
        Ok(rows)
    }

    /// All leases in the order of their addresses.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.rows().filter_map(|row| row.lease()).collect()
    }

    pub(super) fn lease(&self, address: Ipv4Addr) -> Option<Lease> {
        let number = u32::from(address);
        Row::unpacked(number, self.leases.get(&number)?)?.lease()
    }

    /// The rows of all leases.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.leases.iter().filter_map(|(address, bytes)| Row::unpacked(*address, bytes))
    }

    /// The number of rows that are not leases.
    pub(super) fn skipped(&self) -> usize {
        self.others.len()
    }

    /// The number of rows and the sum of their checksums.
    pub(super) fn totals(&self) -> Totals {
        Totals { rows: self.leases.len() + self.others.len(), sum: self.sum }
    }

    /// The totals after these leases are stored. `batch` has one lease per address.
    pub(super) fn totals_with(&self, batch: &BTreeMap<Ipv4Addr, &Lease>) -> Totals {
        let mut totals = self.totals();
        for lease in batch.values() {
            let row = Row::of(lease);
            match self.checksum_of(row.address) {
                Some(old) => totals.sum = totals.sum.wrapping_sub(old),
                None => totals.rows += 1,
            }
            totals.sum = totals.sum.wrapping_add(row.checksum());
        }
        totals
    }

    /// Updates the rows after these leases were stored, which results in these totals.
    pub(super) fn store(&mut self, batch: &BTreeMap<Ipv4Addr, &Lease>, totals: Totals) {
        self.sum = totals.sum;
        for (address, lease) in batch {
            let address = u32::from(*address);
            self.others.remove(&address.into());
            if let Some(packed) = Row::of(lease).packed() {
                self.leases.insert(address, packed);
            }
        }
    }

    /// Examines at most `limits.examined` leases from the address `from` on, and finds at most `limits.found` that ended
    /// before `before`.
    pub(super) fn ended(&self, before: Timestamp, from: u32, limits: PurgeLimits) -> EndedRows {
        let mut ended = EndedRows::default();
        for (examined, (address, bytes)) in self.leases.range(from..).enumerate() {
            if examined >= limits.examined || ended.addresses.len() >= limits.found {
                ended.next = *address;
                break;
            }
            let until = Row::unpacked(*address, bytes).map(|row| row.until);
            if until.is_some_and(|until| until < signed(before.seconds())) {
                ended.addresses.push(*address);
            }
        }
        ended
    }

    /// The totals after the leases of these addresses are deleted.
    pub(super) fn totals_without(&self, addresses: &[u32]) -> Totals {
        let sums = addresses.iter().filter_map(|address| self.checksum_of((*address).into()));
        sums.fold(self.totals(), |totals, sum| Totals {
            rows: totals.rows.saturating_sub(1),
            sum: totals.sum.wrapping_sub(sum),
        })
    }

    /// Updates the rows after the leases of these addresses were deleted, which results in these totals.
    pub(super) fn delete(&mut self, addresses: &[u32], totals: Totals) {
        addresses.iter().for_each(|address| drop(self.leases.remove(address)));
        self.sum = totals.sum;
    }

    /// Drops the rows that are not leases, because their content is only in the database.
    pub(super) fn drop_others(&mut self) {
        let others = std::mem::take(&mut self.others);
        self.sum = others.values().fold(self.sum, |sum, other| sum.wrapping_sub(*other));
    }

    fn checksum_of(&self, address: i64) -> Option<u64> {
        let number = u32::try_from(address).ok();
        let lease = number.and_then(|number| Row::unpacked(number, self.leases.get(&number)?));
        lease.map(|row| row.checksum()).or_else(|| self.others.get(&address).copied())
    }
}

/// Bounds of the work of one purge.
#[derive(Clone, Copy, Debug)]
pub(super) struct PurgeLimits {
    pub(super) examined: usize,
    pub(super) found: usize,
}

/// The leases that [`Rows::ended`] found.
#[derive(Default, Debug)]
pub(super) struct EndedRows {
    pub(super) addresses: Vec<u32>,
    /// The address at which to continue; 0 after the last lease.
    pub(super) next: u32,
}

/// The number of rows in the lease table and the sum of their checksums.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Totals {
    pub(super) rows: usize,
    pub(super) sum: u64,
}

/// The row of the table `clock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClockRow {
    steady: i64,
    wall: i64,
    boot_id: Option<[u8; 16]>,
    up: Option<i64>,
}

impl ClockRow {
    pub(super) fn of(mark: ClockMark) -> ClockRow {
        ClockRow {
            steady: signed(mark.steady.0),
            wall: signed(mark.wall.0),
            boot_id: mark.boot.map(|boot| boot.boot_id.to_network()),
            up: mark.boot.map(|boot| i64::try_from(boot.up.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// Reads the row, if there is one. A database that only older versions wrote lacks the last two columns.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<ClockRow>> {
        let mut statement = connection.prepare("SELECT * FROM clock")?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let boot_id = match row.get_ref("boot_id") {
            Ok(ValueRef::Blob(bytes)) => bytes.try_into().ok(),
            _ => None,
        };
        let up = row.get("up").ok();
        Ok(Some(ClockRow { steady: row.get("steady")?, wall: row.get("wall")?, boot_id, up }))
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let replace =
            "INSERT OR REPLACE INTO clock (id, steady, wall, boot_id, up) VALUES (0, ?1, ?2, ?3, ?4)";
        let mut replace = connection.prepare_cached(replace)?;
        replace.execute(params![self.steady, self.wall, self.boot_id, self.up]).map(drop)
    }

    pub(super) fn mark(&self) -> ClockMark {
        let time = |millis: i64| Timestamp(u64::try_from(millis).unwrap_or(0));
        let boot = self.boot_id.zip(self.up).map(|(boot_id, up)| Uptime {
            boot_id: Uuid::from_network(boot_id),
            up: std::time::Duration::from_millis(u64::try_from(up).unwrap_or(0)),
        });
        ClockMark { steady: time(self.steady), wall: time(self.wall), boot }
    }

    /// Checksum of the row. It never equals the checksum of a lease, because it begins with another number.
    pub(super) fn checksum(&self) -> u64 {
        let mut sum = Checksum::default();
        [-1, self.steady, self.wall, self.up.unwrap_or(-1)].iter().for_each(|number| sum.number(*number));
        sum.bytes(self.boot_id.as_ref().map_or(&[], |id| id));
        sum.finish()
    }
}

/// A checksum against flipped bits, over words of 8 bytes. Each step is invertible, so a change of one word always
/// changes the result.
#[derive(Default, Debug)]
pub(super) struct Checksum(u64);

impl Checksum {
    pub(super) fn number(&mut self, number: i64) {
        self.add(number.cast_unsigned());
    }

    /// Adds the length and then the bytes, so that bytes cannot move unnoticed from one field to the next.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.add(u64::from_le_bytes(last));
    }

    /// One step of MurmurHash3's finalizer. Its results do not cancel each other in sums.
    fn add(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 = mixed ^ (mixed >> 32);
    }

    pub(super) fn finish(mut self) -> u64 {
        self.add(0);
        self.0
    }
}

fn state_number(state: State) -> i64 {
    match state {
        State::Leased | State::Offered | State::Checking => 0,
        State::Released => 1,
        State::Declined => 2,
    }
}

fn state_of(number: i64) -> Option<State> {
    match number {
        0 => Some(State::Leased),
        1 => Some(State::Released),
        2 => Some(State::Declined),
        _ => None,
    }
}

/// A number as SQLite stores it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
