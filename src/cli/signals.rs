//! The signals of `lanboot serve`. SIGTERM and SIGINT stop it, SIGUSR1 asks for statistics, SIGHUP is answered by a line
//! in the log; no other signal that people or libraries send to a daemon may end it.

use std::io;

use nix::libc::{SIGRTMAX, SIGRTMIN};
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{Signal as Arrivals, SignalKind, signal};
use tokio::sync::oneshot;

/// Signals whose default is to end the process, and that mean nothing here. Timers and descriptors send the first five,
/// the kernel sends the last one for a file that reached its largest size (the write fails then, which is reported).
/// SIGQUIT and those of a fault stay what they are: they end the process at once.
const MEANINGLESS: [Signal; 8] = [
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGUSR2,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
    Signal::SIGXFSZ,
];

/// Signals that are answered once the runtime is there, and that must not end the process before.
const ANSWERED: [Signal; 2] = [Signal::SIGHUP, Signal::SIGUSR1];

/// Signals that a person sends to the running server.
#[derive(Debug)]
pub(super) struct Signals {
    /// Completes with the first SIGTERM or SIGINT.
    pub(super) stop: oneshot::Receiver<()>,
    /// Completes with the second one.
    pub(super) hurry: oneshot::Receiver<()>,
    /// SIGUSR1.
    pub(super) statistics: Arrivals,
}

/// Blocks what must not end the process. Call it before any thread starts: threads inherit it. SIGPIPE is ignored by
/// Rust's start code.
pub(super) fn hold_back() {
    let mut held: SigSet = MEANINGLESS.into_iter().collect();
    held.extend(ANSWERED);
    // It fails only for a wrong argument.
    let _ = held.thread_block();
}

/// Listens to signals from now on. They arrive in this thread alone, so that no other thread's wait is interrupted.
///
/// # Errors
/// The kernel refuses a handler.
pub(super) fn listen() -> io::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let statistics = signal(SignalKind::user_defined1())?;
    // They cannot be blocked without unsafe code. With a handler, which does nothing, they do nothing.
    for number in SIGRTMIN()..SIGRTMAX() {
        let _ = signal(SignalKind::from_raw(number));
    }
    let answered: SigSet = ANSWERED.into_iter().collect();
    answered.thread_unblock()?;
    tokio::spawn(outlive_hangups(hangup));
    let (first, stop) = oneshot::channel();
    let (second, hurry) = oneshot::channel();
    tokio::spawn(async move {
        for sender in [first, second] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // The receiver is dropped if nothing waits any more.
            let _ = sender.send(());
        }
    });
    Ok(Signals { stop, hurry, statistics })
}

/// SIGHUP is how people ask a daemon to read its configuration again, and what a terminal that closes sends: neither is
/// a reason to end.
async fn outlive_hangups(mut hangup: Arrivals) {
    while hangup.recv().await.is_some() {
        tracing::warn!(
            "SIGHUP: the configuration is read at start only: restart lanboot to have a changed one count"
        );
    }
}
