//! Sends the blocks of a window: in one call that the kernel cuts into datagrams (UDP GSO, Linux 4.18), else all in one
//! `sendmmsg`, else one by one.

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use super::socket::Link;
use crate::tftp::Limits;

/// Datagrams in one call (UDP_MAX_SEGMENTS of older kernels).
const MAX_DATAGRAMS: usize = Limits::MAX_WINDOW as usize;
/// Bytes in one call: the largest UDP datagram, which is what the kernel cuts.
const MAX_BYTES: usize = 65507;

/// No other packet of a transfer, OACK or ERROR, is as long as this many bytes.
const LONGER_THAN_WORDS: usize = 128;

/// How the windows of a transfer are sent: the best way that its path has not refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum How {
    /// One datagram a call.
    Single,
    /// Many datagrams in one call.
    Messages,
    /// One large datagram that the kernel cuts.
    Segments,
}

/// What sending takes; one for all transfers of a thread.
pub struct Sender {
    messages: MultiHeaders<SockaddrIn>,
}

/// What became of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way, or lost; the timer will tell.
    All,
    /// So many blocks; the socket takes no more for now.
    Some(usize),
    /// The network says that nobody listens at the client's port.
    Unreachable,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender { messages: MultiHeaders::preallocate(MAX_DATAGRAMS, None) }
    }
}

/// Prepares `link` for windows of datagrams of `size` bytes, which are to be sent as `best` or a plainer way.
pub fn prepare(link: &Link, best: How, size: usize) -> How {
    // A socket that cuts would cut the longer OACK and ERROR too.
    let cuts_too_much = matches!(link, Link::Own(_)) && size < LONGER_THAN_WORDS;
    if best < How::Segments || cuts_too_much {
        return best.min(How::Messages);
    }
    if link.prepare_segments(segment(size)).is_ok() { How::Segments } else { How::Messages }
}

impl Sender {
    /// Sends `count` datagrams of `size` bytes each, the last one with what is left of `datagrams`, over a link that
    /// was readied as `how`. What is not sent for another reason than a full socket counts as lost on the way.
    pub fn send(&mut self, link: &Link, how: &mut How, count: usize, datagrams: &[u8], size: usize) -> Sent {
        let per_call = (MAX_BYTES / size).clamp(1, MAX_DATAGRAMS);
        let mut done = 0;
        while done < count {
            let most = if *how == How::Single { 1 } else { per_call };
            let batch = most.min(count - done);
            let begin = (done * size).min(datagrams.len());
            let bytes = &datagrams[begin..(begin + batch * size).min(datagrams.len())];
            let outcome = match (batch, *how) {
                (1, _) | (_, How::Single) => link.send(bytes, None).map(|()| 1),
                (_, How::Segments) => link.send(bytes, Some(segment(size))).map(|()| batch),
                (_, How::Messages) => self.messages(link, bytes, size),
            };
            match outcome {
                Ok(sent) => done += sent.max(1),
                Err(Errno::EAGAIN) => return Sent::Some(done),
                Err(Errno::ECONNREFUSED) => return Sent::Unreachable,
                // No checksum offload, a path whose MTU became smaller, an old kernel: try the plainer way.
                Err(Errno::EINVAL | Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMSGSIZE)
                    if *how > How::Single =>
                {
                    *how = if *how == How::Segments { How::Messages } else { How::Single };
                    // A socket that cuts refuses even what needs no cutting.
                    let _ = link.prepare_segments(0);
                }
                Err(_) => done += batch,
            }
        }
        Sent::All
    }

    /// Sends several datagrams as they are and says how many of them went.
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

/// Bytes of a datagram as the kernel takes them.
fn segment(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Refusal;
    use crate::tftp::refusal::error;
    use crate::wire::tftp::{Options, Packet};
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
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
    fn every_way_to_send_makes_the_same_datagrams() {
        let datagrams: Vec<u8> = (0..704 * 40 + 7).map(|i| (i % 251) as u8).collect();
        for start in [How::Segments, How::Messages, How::Single] {
            let (a, b) = pair();
            let link = Link::Own(a);
            let mut how = start;
            if start == How::Segments {
                assert_eq!(prepare(&link, How::Segments, 704), How::Segments, "this kernel can do it");
            }
            let sent = Sender::default().send(&link, &mut how, 41, &datagrams, 704);
            assert_eq!((sent, how), (Sent::All, start));
            let expected: Vec<_> = datagrams.chunks(704).map(<[u8]>::to_vec).collect();
            assert_eq!(received(&b, 41), expected, "{start:?}");
        }
    }

    #[test]
    fn one_port_for_all_sends_the_same() {
        let (a, b) = pair();
        let SocketAddr::V4(peer) = b.local_addr().unwrap() else { unreachable!("IPv4") };
        let link = Link::Shared { socket: Arc::new(a), local: Ipv4Addr::LOCALHOST, peer };
        for mut how in [prepare(&link, How::Segments, 8), How::Messages, How::Single] {
            let datagrams = b"12345678abcdefgh1234";
            assert_eq!(Sender::default().send(&link, &mut how, 3, datagrams, 8), Sent::All);
            let expected: [&[u8]; 3] = [b"12345678", b"abcdefgh", b"1234"];
            assert_eq!(received(&b, 3), expected, "{how:?}");
        }
    }

    #[test]
    fn no_socket_cuts_what_is_no_block() {
        let (socket, _) = pair();
        assert_eq!(prepare(&Link::Own(socket), How::Segments, LONGER_THAN_WORDS - 1), How::Messages);
        let options = Options {
            block_size: Some(65464),
            timeout: Some(255),
            transfer_size: Some(u64::MAX),
            window_size: Some(u16::MAX),
        };
        assert!(Packet::OAck(options).encode().len() < LONGER_THAN_WORDS);
        for reason in Refusal::ALL {
            assert!(error(*reason).encode().len() < LONGER_THAN_WORDS, "{reason:?}");
        }
    }

    #[test]
    fn a_closed_port_ends_it() {
        let (a, b) = pair();
        drop(b);
        let link = Link::Own(a);
        let mut how = How::Single;
        let mut sender = Sender::default();
        assert_eq!(sender.send(&link, &mut how, 1, b"x", 516), Sent::All, "nobody has told yet");
        assert_eq!(sender.send(&link, &mut how, 1, b"x", 516), Sent::Unreachable);
    }
}
