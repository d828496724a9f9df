//! The signals of `lanboot serve`. SIGTERM and SIGINT stop it, SIGUSR1 requests statistics, and SIGHUP
//! a reload of the configuration.
//! No other signal that people or libraries send to a daemon ends the process.

use std::io;

use nix::libc::{SIGRTMAX, SIGRTMIN};
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{Signal as Arrivals, SignalKind, signal};
use tokio::sync::oneshot;

/// Signals that would end the process by default and have no meaning here. Timers and descriptors send the first
/// five. The kernel sends the last one when a file reaches its maximum size; the write then fails, which is reported.
/// SIGQUIT and the signals of a fault still end the process.
const IGNORED: [Signal; 8] = [
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGUSR2,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
    Signal::SIGXFSZ,
];

/// Signals that are handled once the runtime exists, and must not end the process before that.
const HANDLED: [Signal; 2] = [Signal::SIGHUP, Signal::SIGUSR1];

/// Signals that a person sends to the running server.
#[derive(Debug)]
pub(super) struct Signals {
    /// Completes with the first SIGTERM or SIGINT.
    pub(super) stop: oneshot::Receiver<()>,
    /// Completes with the second SIGTERM or SIGINT.
    pub(super) stop_now: oneshot::Receiver<()>,
    /// Receives SIGUSR1.
    pub(super) statistics: Arrivals,
    /// Receives SIGHUP. A closing terminal sends it too, and must not end the server.
    pub(super) hangup: Arrivals,
}

/// Blocks the signals that must not end the process. Call it before any thread starts, because threads inherit the
/// mask. Rust's startup code already ignores SIGPIPE.
pub(super) fn block_signals() {
    let mut blocked: SigSet = IGNORED.into_iter().collect();
    blocked.extend(HANDLED);
    // This fails only for a wrong argument.
    let _ = blocked.thread_block();
}

/// Starts to handle signals. Only this thread receives them, so that no other thread is interrupted.
///
/// # Errors
/// The kernel refuses a handler.
pub(super) fn listen() -> io::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let statistics = signal(SignalKind::user_defined1())?;
    // Real-time signals cannot be blocked without unsafe code. A handler that does nothing has the same effect.
    for number in SIGRTMIN()..SIGRTMAX() {
        let _ = signal(SignalKind::from_raw(number));
    }
    let handled: SigSet = HANDLED.into_iter().collect();
    handled.thread_unblock()?;
    let (first, stop) = oneshot::channel();
    let (second, stop_now) = oneshot::channel();
    tokio::spawn(async move {
        for sender in [first, second] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // The receiver is gone if the server has stopped waiting.
            let _ = sender.send(());
        }
    });
    Ok(Signals { stop, stop_now, statistics, hangup })
}
