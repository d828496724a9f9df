//! lanboot's own TFTP server: one thread per core, each with one epoll loop (`worker.rs`).
//!
//! The path of a read request: `worker.rs` receives it, `request.rs` judges it, `tftp/admission.rs` decides whether a
//! transfer may start, `content/lookup/mod.rs` finds the file, and `socket.rs` opens the transfer's socket. The core,
//! `tftp::Transfer`, decides what to send when, and `transfer.rs` carries it out: `blocks.rs` reads the blocks, and
//! `send.rs` sends a window in one call. A file that several clients load at once is read once for all of them
//! (`shared_reads.rs`). If all transfers share one socket, `listeners.rs` decides which one sends next.
//!
//! A block is copied once, from the page cache into the buffer that it is sent from, and needs no memory allocation.

mod blocks;
mod layout;
mod listener;
mod listeners;
mod request;
mod send;
mod shared;
mod shared_reads;
mod socket;
mod transfer;
mod transfers;
mod unknown_tid;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::event::Event;
use crate::net::fd_limit;
use crate::server::tftp::upload::{CurrentUploads, Uploads};
use crate::tftp::{Limits, Ports};

pub use listener::{Listener, Listeners, Service};
pub use socket::listen;

use shared::{Command, Shared};
use socket::SPARE;
use worker::{Setup, Worker};

/// Maximum number of threads. With more, contention for the kernel's locks on one port costs more than a core brings.
const MAX_THREADS: usize = 8;

/// The running threads of the server. Dropping it ends all transfers.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    uploads: CurrentUploads,
    /// Upload folders of earlier settings, whose last uploads may still be running.
    replaced: Vec<Uploads>,
}

/// Serves the requests that arrive at `listeners` until [`Engine::stop`].
///
/// Files are read in the server's threads, so they should be on a local disk.
///
/// # Errors
/// If the kernel provides no thread or descriptor.
pub fn start<F>(listeners: Listeners, service: Service<F>) -> io::Result<Engine>
where
    F: Fn(Event) + Clone + Send + 'static,
{
    // With a single port, one thread must read everything that arrives there.
    let count = match service.ports {
        Ports::Single => 1,
        _ => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS),
    };
    // Spare sockets may use at most a sixteenth of the descriptors.
    let descriptors = fd_limit::raise();
    let max_spare = (descriptors / 16 / count).min(SPARE);
    let shared = Arc::new(Shared::new(&service, count, descriptors)?);
    let (threads, uploads) = (Vec::with_capacity(count), service.uploads.clone());
    let mut engine = Engine { shared: Arc::clone(&shared), threads, uploads, replaced: Vec::new() };
    for number in 0..count {
        let (shared, listeners, service) = (Arc::clone(&shared), Arc::clone(&listeners), service.clone());
        let setup = Setup::new(number, shared, listeners, service, max_spare)?;
        let thread = std::thread::Builder::new().name(format!("tftp-{number}"));
        engine.threads.push(thread.spawn(move || Worker::new(setup).run())?);
    }
    Ok(engine)
}

impl Engine {
    /// The number of running transfers.
    pub fn active_transfers(&self) -> usize {
        self.shared.table().count()
    }

    /// Changes the limits on transfers. Running transfers continue.
    pub fn set_limits(&self, limits: &Limits) {
        self.shared.set_limits(limits);
    }

    /// Grants new uploads by `uploads` from now on. Running ones continue.
    pub fn set_uploads(&mut self, uploads: Option<Uploads>) {
        self.replaced.extend(self.uploads.replace(uploads));
    }

    /// Leaves all new requests to `other`, which serves the same listeners. With a single port, this server goes on
    /// reading it for its transfers, and passes the rest on.
    pub fn leave_requests_to(&self, other: &Engine) {
        // There is a successor already only if this is called twice.
        let _ = self.shared.successor.set(Arc::clone(&other.shared));
    }

    /// Replaces the listeners. Transfers continue.
    pub fn listen(&self, listeners: &Listeners) {
        for number in 0..self.shared.command_queues.len() {
            self.shared.send_command(number, Command::Listen(Arc::clone(listeners)));
        }
    }

    /// Accepts no more transfers.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
    }

    /// Ends all transfers, each with its event, and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.has_ended.store(true, Ordering::Release);
        for number in 0..self.shared.command_queues.len() {
            self.shared.send_command(number, Command::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a TFTP thread ended by a fault in lanboot");
            }
        }
        // No thread can start another upload now.
        self.uploads.get().iter().chain(&self.replaced).for_each(Uploads::stop);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}
