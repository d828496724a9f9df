//! Facts about the server itself: its store, its sockets, its folders and its configuration. They belong to no machine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

named! {
    /// A kind of fact about the server itself. Log lines, counters and subscribers get it by its name.
    ServerFact {
        /// Leases could not be stored, so they are not given.
        StoreFailed = "store_failed",
        /// The thread that stores leases has ended.
        StoreStopped = "store_stopped",
        /// The disk takes long to store leases.
        StoreSlow = "store_slow",
        /// The files of the lease database were moved, deleted or replaced while the server runs.
        StoreGone = "store_gone",
        /// The lease database was written again from memory.
        StoreWrittenAgain = "store_written_again",
        /// The disk failed, and the lease database was opened again.
        StoreReopened = "store_reopened",
        /// The disk is full, and the reserve was used to store leases.
        ReserveUsed = "reserve_used",
        /// The disk has room again for the reserve.
        ReserveBack = "reserve_back",
        /// No space could be reserved for the log of the database, so commits are slower.
        StoreLogNotReserved = "store_log_not_reserved",
        /// The log of the database was damaged, but no lease was lost.
        StoreLogDamaged = "store_log_damaged",
        /// The number of commits could not be recorded, so a later loss of leases may go unnoticed.
        CommitNotRecorded = "commit_not_recorded",
        /// The system's clock was set.
        ClockSet = "clock_set",
        /// The time could not be stored beside the leases.
        ClockNotStored = "clock_not_stored",
        /// An address of this computer is in a pool.
        OwnAddressInPool = "own_address_in_pool",
        /// An interface is served from now on, is not served any more, or has other addresses.
        InterfaceChanged = "interface_changed",
        /// A service was turned on or off, or listens on other addresses.
        ServiceChanged = "service_changed",
        /// A part of the configuration cannot be served now, such as an interface that is absent.
        NotServed = "not_served",
        /// The configuration was reloaded.
        Reloaded = "reloaded",
        /// The configuration has problems and was not reloaded.
        NotReloaded = "not_reloaded",
        /// A person made a change to the running server.
        ChangeMade = "change_made",
        /// A socket cannot be opened or waited for.
        CannotListen = "cannot_listen",
        /// The kernel returned an error instead of a packet or a connection.
        CannotReceive = "cannot_receive",
        /// There is no socket for a transfer.
        NoTransferSocket = "no_transfer_socket",
        /// A thread ended by a fault in lanboot.
        ThreadFailed = "thread_failed",
        /// The folder of boot files cannot be reached or read.
        ImagesUnreachable = "images_unreachable",
        /// The folder of boot files can be reached again, or another one is in its place.
        ImagesBack = "images_back",
        /// Reading a boot file takes longer than machines wait.
        FilesSlow = "files_slow",
        /// The folder of boot files contains files that no client may read.
        ImagesUnsafe = "images_unsafe",
        /// The end of a machine's `once` could not be stored.
        OnceNotStored = "once_not_stored",
        /// The folder for uploads is full.
        UploadsFull = "uploads_full",
        /// Records were lost before the journeys took them in, because their queue was full.
        RecordsLost = "records_lost",
        /// The server did not run for a while. Only timelines of boots have it.
        Restarted = "restarted",
        /// Boots cannot be stored. They are followed in memory.
        JourneysNotStored = "journeys_not_stored",
        /// Boots are stored again.
        JourneysStored = "journeys_stored",
        /// Some stored boots could not be read.
        JourneysDamaged = "journeys_damaged",
    }
}

/// Receives facts.
pub type Reporter = Box<dyn Fn(ServerFact, String) + Send>;

/// The facts of a part of the server that does not know the recorder, such as the store. Facts from before
/// [`Reports::connect`] are kept. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct Reports(Arc<Mutex<Destination>>);

enum Destination {
    Kept(Vec<(ServerFact, String)>),
    Reporter(Reporter),
}

/// Maximum number of facts that are kept.
const MAX_KEPT: usize = 16;

impl Default for Destination {
    fn default() -> Destination {
        Destination::Kept(Vec::new())
    }
}

impl Reports {
    pub fn report(&self, fact: ServerFact, text: impl Into<String>) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Destination::Reporter(reporter) => reporter(fact, text.into()),
            Destination::Kept(kept) if kept.len() < MAX_KEPT => kept.push((fact, text.into())),
            Destination::Kept(_) => {}
        }
    }

    /// Passes the kept facts and all later ones to `reporter`.
    pub fn connect(&self, reporter: Reporter) {
        let mut destination = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Destination::Kept(kept) = &mut *destination {
            kept.drain(..).for_each(|(fact, text)| reporter(fact, text));
        }
        *destination = Destination::Reporter(reporter);
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reports")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_from_before_the_reporter_are_kept() {
        let (reports, seen) = (Reports::default(), Arc::new(Mutex::new(Vec::new())));
        reports.clone().report(ServerFact::ClockSet, "first");
        let to = Arc::clone(&seen);
        reports.connect(Box::new(move |fact, text| to.lock().unwrap().push((fact, text))));
        reports.report(ServerFact::StoreSlow, "second");
        let expected =
            [(ServerFact::ClockSet, "first".to_owned()), (ServerFact::StoreSlow, "second".to_owned())];
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}
