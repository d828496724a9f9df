//! Sends the blocks of a window with the best available method: one call whose buffer the kernel cuts into datagrams
//! (UDP GSO, Linux 4.18), one `sendmmsg` call, or one call per datagram. `transfer.rs` calls it.

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use super::socket::Link;
use crate::tftp::Limits;

/// Maximum number of datagrams in one call (UDP_MAX_SEGMENTS of older kernels).
const MAX_DATAGRAMS: usize = Limits::MAX_WINDOW as usize;
/// Maximum number of bytes in one call: the largest UDP datagram, because the kernel cuts one.
const MAX_BYTES: usize = 65507;

/// Maximum size in bytes of the other packets of a transfer, OACK and ERROR.
const MAX_OTHER_PACKET: usize = 128;

/// The method for sending the windows of a transfer: the best one that its path has not refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SendMethod {
    /// One datagram per call.
    Single,
    /// Many datagrams in one call.
    Messages,
    /// One large datagram that the kernel cuts.
    Segments,
}

/// Reusable message headers; one for all transfers of a thread.
pub struct Sender {
    messages: MultiHeaders<SockaddrIn>,
}

/// The result of sending a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// All datagrams were sent or lost; the timer detects losses.
    All,
    /// This many blocks were sent; the socket is full.
    Some(usize),
    /// The client's port is closed.
    Unreachable,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender { messages: MultiHeaders::preallocate(MAX_DATAGRAMS, None) }
    }
}

/// Prepares `link` for datagrams of `size` bytes, and returns the method: `best_method`, or a simpler one.
pub fn prepare(link: &Link, best_method: SendMethod, size: usize) -> SendMethod {
    // The kernel would also cut an OACK or ERROR that is longer than `size`.
    let cuts_too_much = matches!(link, Link::Own(_)) && size < MAX_OTHER_PACKET;
    if best_method < SendMethod::Segments || cuts_too_much {
        return best_method.min(SendMethod::Messages);
    }
    if link.prepare_segments(segment(size)).is_ok() { SendMethod::Segments } else { SendMethod::Messages }
}

impl Sender {
    /// Sends `count` datagrams of `size` bytes each, the last one with the rest of `datagrams`, with a method from
    /// [`prepare`]. Datagrams that fail for another reason than a full socket count as lost.
    pub fn send(
        &mut self,
        link: &Link,
        method: &mut SendMethod,
        count: usize,
        datagrams: &[u8],
        size: usize,
    ) -> Sent {
        let per_call = (MAX_BYTES / size).clamp(1, MAX_DATAGRAMS);
        let mut done = 0;
        while done < count {
            let most = if *method == SendMethod::Single { 1 } else { per_call };
            let batch = most.min(count - done);
            let begin = (done * size).min(datagrams.len());
            let bytes = &datagrams[begin..(begin + batch * size).min(datagrams.len())];
            let outcome = match (batch, *method) {
                (1, _) | (_, SendMethod::Single) => link.send(bytes, None).map(|()| 1),
                (_, SendMethod::Segments) => link.send(bytes, Some(segment(size))).map(|()| batch),
                (_, SendMethod::Messages) => self.messages(link, bytes, size),
            };
            match outcome {
                Ok(sent) => done += sent.max(1),
                Err(Errno::EAGAIN) => return Sent::Some(done),
                Err(Errno::ECONNREFUSED) => return Sent::Unreachable,
                // No checksum offload, a smaller path MTU, or an old kernel: try a simpler method.
                Err(Errno::EINVAL | Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMSGSIZE)
                    if *method > SendMethod::Single =>
                {
                    *method = if *method == SendMethod::Segments {
                        SendMethod::Messages
                    } else {
                        SendMethod::Single
                    };
                    // A socket in this mode refuses even datagrams that need no cutting.
                    let _ = link.prepare_segments(0);
                }
                Err(_) => done += batch,
            }
        }
        Sent::All
    }

    /// Sends several datagrams with one call, and returns how many were sent.
    fn messages(&mut self, link: &Link, datagrams: &[u8], size: usize) -> nix::Result<usize> {
        let mut parts = [[IoSlice::new(&[])]; MAX_DATAGRAMS];
        let mut count = 0;
        for (part, datagram) in parts.iter_mut().zip(datagrams.chunks(size)) {
            *part = [IoSlice::new(datagram)];
            count += 1;
        }
        let Link::Own(socket) = link else {
            return link.send(datagrams.chunks(size).next().unwrap_or_default(), None).map(|()| 1);
        };
        let (to, no_control): ([Option<SockaddrIn>; MAX_DATAGRAMS], [ControlMessage<'_>; 0]) =
            ([None; MAX_DATAGRAMS], []);
        let flags = MsgFlags::MSG_DONTWAIT;
        let parts = parts[..count].iter();
        Ok(sendmmsg(socket.as_raw_fd(), &mut self.messages, parts, to, no_control, flags)?.count())
    }
}

/// The segment size for the kernel.
fn segment(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Refusal;
    use crate::tftp::refusal::error;
    use crate::wire::tftp::{Options, Packet};
    use std::net::{Ipv4Addr, UdpSocket};
    use std::sync::Arc;
    use std::time::Duration;

    /// Two sockets, connected to each other.
    fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (a, b) = (bind(), bind());
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        b.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (a, b)
    }

    fn received(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut buf = [0; 2000];
        (0..count).map(|_| socket.recv(&mut buf).map(|len| buf[..len].to_vec()).unwrap()).collect()
    }

    #[test]
    fn every_method_sends_the_same_datagrams() {
        let datagrams: Vec<u8> = (0..704 * 40 + 7).map(|i| (i % 251) as u8).collect();
        for start in [SendMethod::Segments, SendMethod::Messages, SendMethod::Single] {
            let (a, b) = pair();
            let link = Link::Own(a);
            let mut method = start;
            if start == SendMethod::Segments {
                assert_eq!(
                    prepare(&link, SendMethod::Segments, 704),
                    SendMethod::Segments,
                    "this kernel can do it"
                );
            }
            let sent = Sender::default().send(&link, &mut method, 41, &datagrams, 704);
            assert_eq!((sent, method), (Sent::All, start));
            let expected: Vec<_> = datagrams.chunks(704).map(<[u8]>::to_vec).collect();
            assert_eq!(received(&b, 41), expected, "{start:?}");
        }
    }

    #[test]
    fn one_port_for_all_sends_the_same() {
        let (a, b) = pair();
        let (local, peer) = (Ipv4Addr::LOCALHOST.into(), b.local_addr().unwrap());
        let link = Link::Shared { socket: Arc::new(a), local, peer };
        for mut method in [prepare(&link, SendMethod::Segments, 8), SendMethod::Messages, SendMethod::Single]
        {
            let datagrams = b"12345678abcdefgh1234";
            assert_eq!(Sender::default().send(&link, &mut method, 3, datagrams, 8), Sent::All);
            let expected: [&[u8]; 3] = [b"12345678", b"abcdefgh", b"1234"];
            assert_eq!(received(&b, 3), expected, "{method:?}");
        }
    }

    #[test]
    fn oack_and_error_are_never_cut() {
        let (socket, _) = pair();
        assert_eq!(
            prepare(&Link::Own(socket), SendMethod::Segments, MAX_OTHER_PACKET - 1),
            SendMethod::Messages
        );
        let options = Options {
            block_size: Some(65464),
            timeout: Some(255),
            transfer_size: Some(u64::MAX),
            window_size: Some(u16::MAX),
        };
        assert!(Packet::OAck(options).encode().len() < MAX_OTHER_PACKET);
        for reason in Refusal::ALL {
            assert!(error(*reason).encode().len() < MAX_OTHER_PACKET, "{reason:?}");
        }
    }

    #[test]
    fn a_closed_port_is_unreachable() {
        let (a, b) = pair();
        drop(b);
        let link = Link::Own(a);
        let mut method = SendMethod::Single;
        let mut sender = Sender::default();
        assert_eq!(sender.send(&link, &mut method, 1, b"x", 516), Sent::All, "no error has arrived yet");
        assert_eq!(sender.send(&link, &mut method, 1, b"x", 516), Sent::Unreachable);
    }
}
