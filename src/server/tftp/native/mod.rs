//! lanboot's own TFTP server: one thread per core, each with one epoll loop (`tftp/worker.rs`).
//!
//! The way of a read request: `worker.rs` takes it from its socket, `request.rs` judges it, `table.rs` says whether
//! there is a place for it, `content/lookup/mod.rs` finds the file, `link.rs` makes the transfer's socket, and
//! `tftp::Transfer` (the core) says what to send when. `session.rs` does it: it has `source.rs` read the blocks and
//! `send.rs` send a window in one call. A file that several clients load at once is read once for all of them
//! (`shelf.rs`). Where they share one socket, `reception.rs` says whose turn it is. No block is copied in this program
//! but from the page cache into the buffer that it is sent from, and no memory is taken for a block.

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
use crate::server::tftp::upload::Uploads;
use crate::tftp::Ports;

pub use listener::{Listener, Listeners, Service};
pub use socket::listen;

use shared::{Hall, Mail};
use socket::SPARE;
use worker::{Seat, Worker};

/// Threads at most: beyond that the kernel's locks on one port cost more than a core brings.
const MAX_THREADS: usize = 8;

/// The server's threads.
#[derive(Debug)]
pub struct Engine {
    hall: Arc<Hall>,
    threads: Vec<JoinHandle<()>>,
    uploads: Option<Uploads>,
}

/// Serves the requests that arrive at `listeners` until [`Engine::stop`].
///
/// Files are read in the threads of the server: they are expected on a local disk. Fails when the kernel gives no
/// thread or descriptor.
pub fn start<F>(listeners: Listeners, service: Service<F>) -> io::Result<Engine>
where
    F: Fn(Event) + Clone + Send + 'static,
{
    // Everything that comes in at one port is read by one thread.
    let count = match service.ports {
        Ports::Single => 1,
        _ => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS),
    };
    // A sixteenth of the descriptors, and no more, may lie in sockets that wait to be used again.
    let descriptors = fd_limit::raise();
    let max_spare = (descriptors / 16 / count).min(SPARE);
    let hall = Arc::new(Hall::new(&service, count, descriptors)?);
    let (threads, uploads) = (Vec::with_capacity(count), service.uploads.clone());
    let mut engine = Engine { hall: Arc::clone(&hall), threads, uploads };
    for number in 0..count {
        let (hall, listeners, service) = (Arc::clone(&hall), Arc::clone(&listeners), service.clone());
        let seat = Seat::new(number, hall, listeners, service, max_spare)?;
        let thread = std::thread::Builder::new().name(format!("tftp-{number}"));
        engine.threads.push(thread.spawn(move || Worker::new(seat).run())?);
    }
    Ok(engine)
}

impl Engine {
    /// Transfers under way.
    pub fn under_way(&self) -> usize {
        self.hall.table().under_way()
    }

    /// Takes requests from these listeners from now on. Transfers go on.
    pub fn listen(&self, listeners: &Listeners) {
        for number in 0..self.hall.bells.len() {
            self.hall.tell(number, Mail::Listen(Arc::clone(listeners)));
        }
    }

    /// Begins no more transfers.
    pub fn close(&self) {
        self.hall.closing.store(true, Ordering::Release);
    }

    /// Ends all transfers, each with its event, and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for number in 0..self.hall.bells.len() {
            self.hall.tell(number, Mail::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a TFTP thread ended by a fault in lanboot");
            }
        }
        // Nobody begins another one now.
        self.uploads.iter().for_each(Uploads::stop);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}
