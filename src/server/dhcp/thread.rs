//! A thread of DHCP: its handle, and the report of its fault. The DHCP loop and the proxy run in such threads; `running.rs`
//! starts and stops them.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// Reports that a thread ended by a fault. The server then ends, so that systemd restarts it.
pub type Faults = UnboundedSender<io::Error>;

/// A running thread. It ends when `stopper` is dropped.
#[derive(Debug)]
pub struct Running {
    pub(super) stopper: oneshot::Sender<()>,
    pub(super) thread: JoinHandle<()>,
}

impl Running {
    /// Ends the thread, and waits until its sockets are closed and its leases stored.
    pub(super) fn stop(self) {
        drop(self.stopper);
        // The thread has reported a panic itself.
        let _ = self.thread.join();
    }
}

/// Reports a thread that ends by a fault, also if it panics.
pub(super) struct FaultReport(Option<Faults>);

impl FaultReport {
    pub(super) fn to(faults: Faults) -> FaultReport {
        FaultReport(Some(faults))
    }

    /// The thread has ended with this result.
    pub(super) fn ended(mut self, result: io::Result<()>) {
        let faults = self.0.take();
        if let (Some(faults), Err(error)) = (faults, result) {
            let _ = faults.send(error);
        }
    }
}

impl Drop for FaultReport {
    fn drop(&mut self) {
        if let Some(faults) = self.0.take() {
            let _ = faults.send(fault());
        }
    }
}

/// The error of a DHCP loop that ended although nothing stopped it.
pub(super) fn fault() -> io::Error {
    io::Error::other("the DHCP loop ended by a fault in lanboot; please report it with the log")
}
