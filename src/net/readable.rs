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

/// The line that reports a failed receive call.
pub fn cannot_receive(error: &io::Error) -> String {
    format!("cannot receive DHCP messages: {error}")
}

/// Waits a moment after a receive call failed, so that the kernel can recover.
pub async fn pause() {
    tokio::time::sleep(RECEIVE_PAUSE).await;
}
