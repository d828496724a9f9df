//! Registers sockets with the async runtime, to wait until they can be read. The DHCP receivers, `server/watch.rs` and
//! `lanboot probe` use it.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Pause after a receive call failed.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// Registers a non-blocking `socket` with the runtime, to wait for `interest`.
pub fn register<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "unsound only for types whose as_raw_fd lies; these are the standard library's and our own"
    )]
    AsyncFd::with_interest(socket, interest)
}

/// Registers a non-blocking `socket` that is only read. tokio's `UdpSocket` also waits for room to send, and so wakes
/// up after every reply.
pub fn readable<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    register(socket, Interest::READABLE)
}

/// Logs the error if a socket could not be registered.
pub fn ok_or_log<T>(readable: io::Result<T>) -> Option<T> {
    readable.inspect_err(|error| tracing::error!("cannot wait for messages: {error}")).ok()
}

/// Logs that receiving failed and waits a moment, so that the kernel can recover.
pub async fn pause(error: &io::Error) {
    tracing::warn!("cannot receive DHCP messages: {error}");
    tokio::time::sleep(RECEIVE_PAUSE).await;
}
