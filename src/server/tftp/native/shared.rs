//! State that the threads of the TFTP server share, and the commands that they send each other.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::listener::{Listener, Listeners, Service};
use super::shared_reads::ReadCache;
use crate::event::{Refusal, TransferStop};
use crate::images::Content;
use crate::net::datagram::Envelope;
use crate::tftp::admission::{TransferId, TransferTable};
use crate::tftp::{Limits, Ports};

/// Maximum number of requests that wait for one thread.
const MAX_REQUESTS: usize = 256;

/// The state that all threads share. They use it when a transfer starts, is first acknowledged, or ends, but never for
/// a block.
#[derive(Debug)]
pub struct Shared {
    /// The zero point of all times.
    pub began: Instant,
    pub table: Mutex<TransferTable>,
    ports: Ports,
    pub command_queues: Vec<CommandQueue>,
    /// Set when no more transfers may start.
    pub closing: AtomicBool,
    /// The server that has taken over all requests, because `tftp.ports` is another one now.
    pub successor: OnceLock<Arc<Shared>>,
    /// Whether the threads have ended, or are about to.
    pub has_ended: AtomicBool,
    /// Whether there are enough descriptors for second sockets (`unknown_tid.rs`), so that no transfer lacks one.
    pub answers_unknown_tids: bool,
    /// Cache of files that several transfers send.
    pub read_cache: Arc<ReadCache>,
}

/// The command queue of one thread.
#[derive(Debug)]
pub struct CommandQueue {
    pub wake: EventFd,
    pub commands: Mutex<Vec<Command>>,
}

/// A command from one thread to another.
#[derive(Debug)]
pub enum Command {
    /// End this transfer, because another one was admitted in its place.
    Evict(TransferId, TransferStop),
    /// Judge this request: it may be a duplicate of one that started a transfer of your thread.
    Judge { listener: Arc<Listener>, datagram: Box<[u8]>, envelope: Envelope },
    /// Answer this request, which you admitted: rendering its file is complete or has failed.
    Rendered {
        listener: Arc<Listener>,
        datagram: Box<[u8]>,
        envelope: Envelope,
        /// The admitted transfer. It may have been evicted meanwhile.
        id: TransferId,
        content: Result<Content, Refusal>,
    },
    /// Replace the listeners.
    Listen(Listeners),
    /// End all transfers and the thread.
    Stop,
}

impl Shared {
    pub fn new<F>(service: &Service<F>, threads: usize, descriptors: usize) -> io::Result<Shared> {
        let limits = bounded_by_ports(service.limits(), service.ports);
        let queue = |_| {
            let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
            Ok(CommandQueue { wake, commands: Mutex::new(Vec::new()) })
        };
        let command_queues = (0..threads).map(queue).collect::<io::Result<_>>()?;
        Ok(Shared {
            began: Instant::now(),
            ports: service.ports,
            table: Mutex::new(TransferTable::new(&limits, matches!(service.ports, Ports::Range { .. }))),
            command_queues,
            closing: AtomicBool::new(false),
            successor: OnceLock::new(),
            has_ended: AtomicBool::new(false),
            answers_unknown_tids: limits.max_transfers.saturating_mul(4) <= descriptors,
            read_cache: Arc::default(),
        })
    }

    /// Changes the limits on transfers. Running transfers continue.
    pub fn set_limits(&self, limits: &Limits) {
        self.table().set_limits(&bounded_by_ports(limits.clone(), self.ports));
    }

    pub fn table(&self) -> MutexGuard<'_, TransferTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next server that gets the packets at a single port that are not for this one, if there is one. It may pass
    /// them on in turn, because its own transfers may share the port too.
    pub fn next_server(&self) -> Option<&Arc<Shared>> {
        let mut next = self.successor.get()?;
        while next.has_ended.load(Ordering::Acquire) {
            next = next.successor.get()?;
        }
        Some(next)
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub fn send_command(&self, number: usize, command: Command) {
        let Some(queue) = self.command_queues.get(number) else { return };
        let mut waiting = queue.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_REQUESTS && matches!(command, Command::Judge { .. }) {
            // The client repeats its request.
            return;
        }
        waiting.push(command);
        drop(waiting);
        // This fails only if the counter is full, and then the thread is awake already.
        let _ = queue.wake.write(1);
    }

    pub fn take_commands(&self, number: usize) -> Vec<Command> {
        let Some(queue) = self.command_queues.get(number) else { return Vec::new() };
        let _ = queue.wake.read();
        std::mem::take(&mut *queue.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Each transfer has its own port, so a range of ports bounds their number.
fn bounded_by_ports(limits: Limits, ports: Ports) -> Limits {
    match ports {
        Ports::Range { first, last } => {
            let count = usize::from(last.saturating_sub(first)) + 1;
            Limits { max_transfers: limits.max_transfers.min(count), ..limits }
        }
        _ => limits,
    }
}
