//! State that the threads of the TFTP server share, and the commands by which one has another do something.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::listener::{Listener, Listeners, Service};
use super::shared_reads::Shelf;
use crate::event::{Refusal, Stop};
use crate::images::Content;
use crate::net::datagram::Envelope;
use crate::tftp::Ports;
use crate::tftp::admission::{Place, Table};

/// Requests that may wait for one thread to judge them.
const MAX_MAIL: usize = 256;

/// What the threads share. They meet here when a transfer begins, when it is first acknowledged and when it ends, never
/// for a block.
#[derive(Debug)]
pub struct Hall {
    /// The moment that all times are counted from.
    pub began: Instant,
    pub table: Mutex<Table>,
    pub bells: Vec<Bell>,
    /// No transfer is to begin any more.
    pub closing: AtomicBool,
    /// Descriptors are plenty: no transfer lacks one because others have doors (`door.rs`).
    pub doors: bool,
    /// Files that several transfers send.
    pub shelf: Arc<Shelf>,
}

/// How one thread tells another.
#[derive(Debug)]
pub struct Bell {
    pub wake: EventFd,
    pub mail: Mutex<Vec<Mail>>,
}

/// What one thread has another do.
#[derive(Debug)]
pub enum Mail {
    /// End this transfer: another one got its place.
    GiveWay(Place, Stop),
    /// Judge this request: it may be a copy of one whose transfer you have.
    Judge {
        /// Where it came to.
        listener: Arc<Listener>,
        /// It.
        datagram: Box<[u8]>,
        /// What the kernel says of it.
        envelope: Envelope,
    },
    /// Answer this request, which you admitted: the file that it is for is made, or cannot be.
    Rendered {
        /// The socket that it arrived at.
        listener: Arc<Listener>,
        /// The request.
        datagram: Box<[u8]>,
        /// Its addresses, as the kernel reported them.
        envelope: Envelope,
        /// Its place. Another transfer may have got it meanwhile.
        place: Place,
        /// The file.
        content: Result<Content, Refusal>,
    },
    /// Take requests from these.
    Listen(Listeners),
    /// End them all.
    Stop,
}

impl Hall {
    pub fn new<F>(service: &Service<F>, threads: usize, descriptors: usize) -> io::Result<Hall> {
        let mut limits = service.limits.clone();
        if let Ports::Range { first, last } = service.ports {
            limits.max_transfers = limits.max_transfers.min(usize::from(last.saturating_sub(first)) + 1);
        }
        let bell = |_| {
            let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
            Ok(Bell { wake, mail: Mutex::new(Vec::new()) })
        };
        let bells = (0..threads).map(bell).collect::<io::Result<_>>()?;
        Ok(Hall {
            began: Instant::now(),
            table: Mutex::new(Table::new(&limits, matches!(service.ports, Ports::Range { .. }))),
            bells,
            closing: AtomicBool::new(false),
            doors: limits.max_transfers.saturating_mul(4) <= descriptors,
            shelf: Arc::default(),
        })
    }

    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub fn tell(&self, number: usize, mail: Mail) {
        let Some(bell) = self.bells.get(number) else { return };
        let mut waiting = bell.mail.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_MAIL && matches!(mail, Mail::Judge { .. }) {
            // The client asks again.
            return;
        }
        waiting.push(mail);
        drop(waiting);
        // It fails only when the counter is full, and then the thread is awake.
        let _ = bell.wake.write(1);
    }

    pub fn take_mail(&self, number: usize) -> Vec<Mail> {
        let Some(bell) = self.bells.get(number) else { return Vec::new() };
        let _ = bell.wake.read();
        std::mem::take(&mut *bell.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
