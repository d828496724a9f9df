//! Waiting until a socket has something to read.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long to wait after the kernel refused to hand over what it received.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// Waits on `socket` for what comes in alone. tokio's UdpSocket also waits for room to send, and so wakes up after every
/// reply.
pub fn readable<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "unsound only for types whose as_raw_fd lies; these are the standard library's and our own"
    )]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

pub fn told<T>(readable: io::Result<T>) -> Option<T> {
    readable.inspect_err(|error| tracing::error!("cannot wait for messages: {error}")).ok()
}

/// Lets the kernel recover that refused to hand over what it received.
pub async fn pause(error: &io::Error) {
    tracing::warn!("cannot receive DHCP messages: {error}");
    tokio::time::sleep(RECEIVE_PAUSE).await;
}
