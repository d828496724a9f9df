//! lanboot's own TFTP server: one thread per core, each with one epoll loop (`tftp/worker.rs`).
//!
//! The way of a read request: `worker.rs` takes it from its socket, `request.rs` judges it, `table.rs` says whether
//! there is a place for it, `content/lookup/mod.rs` finds the file, `link.rs` makes the transfer's socket, and
//! `tftp::Transfer` (the core) says what to send when. `session.rs` does it: it has `source.rs` read the blocks and
//! `send.rs` send a window in one call. A file that several clients load at once is read once for all of them
//! (`shelf.rs`). Where they share one socket, `reception.rs` says whose turn it is. No block is copied in this program
//! but from the page cache into the buffer that it is sent from, and no memory is taken for a block.

mod blocks;
mod listeners;
mod request;
mod send;
mod shared_reads;
mod socket;
mod transfer;
mod transfers;
mod unknown_tid;
mod worker;

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::content::lookup::Files;
use crate::event::{Event, Refusal, Stop};
use crate::images::Content;
use crate::net::fd_limit;
use crate::net::served::Now;
use crate::net::udp::Envelope;
use crate::server::tftp::upload::Uploads;
use crate::tftp::{Limits, Ports};

pub use socket::listen;

use crate::tftp::admission::{Place, Table};
use send::How;
use shared_reads::Shelf;
use socket::SPARE;
use worker::{Seat, Worker};

/// Threads at most: beyond that the kernel's locks on one port cost more than a core brings.
const MAX_THREADS: usize = 8;

/// Requests that may wait for one thread to judge them.
const MAX_MAIL: usize = 256;

/// What the transfers need. `record` is called for each thing that happens; it must not wait.
#[derive(Clone, Debug)]
pub struct Service<F> {
    /// The files.
    pub files: Files,
    /// Where clients may put files; `None` means nowhere.
    pub uploads: Option<Uploads>,
    /// What is granted, and to whom.
    pub limits: Limits,
    /// Which ports transfers are sent from.
    pub ports: Ports,
    /// Who may ask.
    pub served: Now,
    /// Takes the events.
    pub record: F,
}

impl<F> Service<F> {
    /// Whether `client` may ask.
    fn admits(&self, client: Ipv4Addr) -> bool {
        self.limits.admits(client, &self.served.borrow().networks)
    }

    /// The best way to send windows to `client`, whose request came in by that interface. Segmentation offload would reach
    /// a packet socket uncut where no card cuts it (veth, bridges, virtio). Firmware may read from one, and machines that
    /// got their address by DHCP may be firmware; other clients use the kernel's sockets, where it does no harm.
    fn best_way(&self, interface: u32, client: Ipv4Addr) -> How {
        let is_cut = || self.served.borrow().get(interface).is_some_and(|interface| interface.cuts_offload);
        if is_cut() || !self.files.may_be_from_dhcp(client) { How::Segments } else { How::Messages }
    }
}

/// A socket for requests, made by [`listen`].
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: Arc<UdpSocket>,
    /// Largest IP datagram of its interface, in bytes.
    pub mtu: u32,
}

/// The sockets for requests.
pub type Listeners = Arc<[Arc<Listener>]>;

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

/// What the threads share. They meet here when a transfer begins, when it is first acknowledged and when it ends,
/// never for a block.
#[derive(Debug)]
struct Hall {
    /// The moment that all times are counted from.
    began: Instant,
    table: Mutex<Table>,
    bells: Vec<Bell>,
    /// No transfer is to begin any more.
    closing: AtomicBool,
    /// Descriptors are plenty: no transfer lacks one because others have doors (`door.rs`).
    doors: bool,
    /// Files that several transfers send.
    shelf: Arc<Shelf>,
}

/// How one thread tells another.
#[derive(Debug)]
struct Bell {
    wake: EventFd,
    mail: Mutex<Vec<Mail>>,
}

/// What one thread has another do.
#[derive(Debug)]
enum Mail {
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
    fn new<F>(service: &Service<F>, threads: usize, descriptors: usize) -> io::Result<Hall> {
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

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn tell(&self, number: usize, mail: Mail) {
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

    fn take_mail(&self, number: usize) -> Vec<Mail> {
        let Some(bell) = self.bells.get(number) else { return Vec::new() };
        let _ = bell.wake.read();
        std::mem::take(&mut *bell.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
