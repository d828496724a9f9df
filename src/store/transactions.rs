//! The transactions that change a row of `leases` or `clock`. Each updates the row in `integrity` too, because the next
//! start refuses a database where they disagree. Only the SQLite store calls them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rusqlite::Connection;

use crate::lease::{FOREVER, Lease};
use crate::store::create::UPSERT;
use crate::store::integrity::Integrity;
use crate::store::rows::{ClockRow, Row, Rows, signed};

/// Leases to store, the last one of each address.
pub(super) type Batch<'a> = BTreeMap<Ipv4Addr, &'a Lease>;

/// Stores the leases of `batch`.
pub(super) fn write(
    connection: &mut Connection,
    batch: &Batch<'_>,
    next: &Integrity,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        // In the order of the table, so that new rows fill its pages.
        let mut upsert = transaction.prepare_cached(UPSERT)?;
        batch.values().try_for_each(|lease| Row::of(lease).write(&mut upsert))?;
    }
    next.update(&transaction)?;
    transaction.commit()
}

/// Deletes the leases of these addresses.
pub(super) fn delete(
    connection: &mut Connection,
    addresses: &[u32],
    next: &Integrity,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut delete = transaction.prepare_cached("DELETE FROM leases WHERE address = ?1")?;
        addresses.iter().try_for_each(|address| delete.execute([address]).map(drop))?;
    }
    next.update(&transaction)?;
    transaction.commit()
}

/// Stores the mark and moves all leases. Returns the rows too if they moved.
pub(super) fn write_clock(
    connection: &mut Connection,
    clock: ClockRow,
    shift: i64,
    integrity: &Integrity,
    rows: &Rows,
) -> rusqlite::Result<(Integrity, Option<Rows>)> {
    let transaction = connection.transaction()?;
    let mut moved = None;
    if shift != 0 {
        let shift_all = "UPDATE leases SET until = max(0, until + ?1) WHERE until < ?2";
        transaction.execute(shift_all, rusqlite::params![shift, signed(FOREVER.seconds())])?;
        moved = Some(Rows::read(&transaction)?);
    }
    clock.write(&transaction)?;
    let next = integrity.next(moved.as_ref().unwrap_or(rows).totals(), Some(clock));
    next.update(&transaction)?;
    transaction.commit()?;
    Ok((next, moved))
}
