//! Sends the blocks of a window: in one call that the kernel cuts into datagrams (UDP GSO, Linux 4.18), else all in one
//! `sendmmsg`, else one by one.

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use super::link::Link;
use crate::tftp::Limits;
use crate::wire::tftp::DATA_HEADER;

/// Datagrams in one call (UDP_MAX_SEGMENTS of older kernels).
const MAX_DATAGRAMS: usize = Limits::MAX_WINDOW as usize;
/// Bytes in one call: the largest UDP datagram, which is what the kernel cuts.
const MAX_BYTES: usize = 65507;

/// How the windows of a transfer are sent: the best way that its path has not refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
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
    headers: [[u8; DATA_HEADER]; MAX_DATAGRAMS],
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
        Sender {
            headers: [[0; DATA_HEADER]; MAX_DATAGRAMS],
            messages: MultiHeaders::preallocate(MAX_DATAGRAMS, None),
        }
    }
}

/// Readies `link` for windows of blocks of `block_size` bytes.
pub fn prepare(link: &Link, block_size: usize) -> How {
    if link.prepare_segments(datagram_size(block_size)).is_ok() { How::Segments } else { How::Messages }
}

impl Sender {
    /// Sends `count` blocks from number `first` on, whose bytes are `data`, over a link that was readied as `how`. What
    /// is not sent for another reason than a full socket counts as lost on the way.
    pub fn send(
        &mut self,
        link: &Link,
        how: &mut How,
        (first, count): (u64, usize),
        data: &[u8],
        block_size: usize,
    ) -> Sent {
        let per_call = (MAX_BYTES / (block_size + DATA_HEADER)).clamp(1, MAX_DATAGRAMS);
        let mut done = 0;
        while done < count {
            let most = if *how == How::Single { 1 } else { per_call };
            let batch = most.min(count - done);
            let begin = (done * block_size).min(data.len());
            let end = (begin + batch * block_size).min(data.len());
            let (data, number) = (&data[begin..end], first + done as u64);
            let outcome = match batch {
                1 => link.send(&[IoSlice::new(&header(number)), IoSlice::new(data)], None).map(|()| 1),
                _ => self.batch(link, *how, (number, batch), data, block_size),
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

    /// Sends several datagrams and says how many of them went.
    fn batch(
        &mut self,
        link: &Link,
        how: How,
        (first, count): (u64, usize),
        data: &[u8],
        block_size: usize,
    ) -> nix::Result<usize> {
        for (i, bytes) in self.headers.iter_mut().enumerate().take(count) {
            *bytes = header(first + i as u64);
        }
        let mut parts = [[IoSlice::new(&[]); 2]; MAX_DATAGRAMS];
        for (i, (part, header)) in parts.iter_mut().zip(&self.headers).enumerate().take(count) {
            let begin = (i * block_size).min(data.len());
            let end = (begin + block_size).min(data.len());
            *part = [IoSlice::new(header), IoSlice::new(&data[begin..end])];
        }
        let parts = &parts[..count];
        match (how, link) {
            (How::Segments, _) => {
                link.send(parts.as_flattened(), Some(datagram_size(block_size))).map(|()| count)
            }
            (How::Messages, Link::Own(socket)) => {
                let (to, no_control): ([Option<SockaddrIn>; MAX_DATAGRAMS], [ControlMessage<'_>; 0]) =
                    ([None; MAX_DATAGRAMS], []);
                let flags = MsgFlags::MSG_DONTWAIT;
                let sent =
                    sendmmsg(socket.as_raw_fd(), &mut self.messages, parts.iter(), to, no_control, flags)?;
                Ok(sent.count())
            }
            _ => parts.first().map_or(Ok(0), |part| link.send(part, None).map(|()| 1)),
        }
    }
}

/// What comes before the data of block `number`, of which the low 16 bits are sent: it wraps to 0.
fn header(number: u64) -> [u8; DATA_HEADER] {
    let [high, low] = (number as u16).to_be_bytes();
    [0, 3, high, low]
}

/// Bytes of a datagram with a whole block.
fn datagram_size(block_size: usize) -> u16 {
    u16::try_from(block_size + DATA_HEADER).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let data: Vec<u8> = (0..700 * 40 + 3).map(|i| (i % 251) as u8).collect();
        for start in [How::Segments, How::Messages, How::Single] {
            let (a, b) = pair();
            let link = Link::Own(a);
            let mut how = start;
            if start == How::Segments {
                assert_eq!(prepare(&link, 700), How::Segments, "this kernel can do it");
            }
            // 65530 to 65570: the number wraps on the way.
            let sent = Sender::default().send(&link, &mut how, (65_530, 41), &data, 700);
            assert_eq!((sent, how), (Sent::All, start));
            for (i, datagram) in received(&b, 41).iter().enumerate() {
                let expected = [&[0, 3], &(65_530 + i as u32).to_be_bytes()[2..]].concat();
                assert_eq!(datagram[..4], expected, "{start:?}");
                assert_eq!(datagram[4..], data[i * 700..(i * 700 + 700).min(data.len())]);
            }
        }
    }

    #[test]
    fn one_port_for_all_sends_the_same() {
        let (a, b) = pair();
        let SocketAddr::V4(peer) = b.local_addr().unwrap() else { unreachable!("IPv4") };
        let link = Link::Shared { socket: Arc::new(a), local: Ipv4Addr::LOCALHOST, peer };
        for mut how in [prepare(&link, 8), How::Messages, How::Single] {
            assert_eq!(Sender::default().send(&link, &mut how, (1, 3), b"12345678abcdefgh", 8), Sent::All);
            let expected: [&[u8]; 3] = [b"\0\x03\0\x0112345678", b"\0\x03\0\x02abcdefgh", b"\0\x03\0\x03"];
            assert_eq!(received(&b, 3), expected, "{how:?}");
        }
    }

    #[test]
    fn a_closed_port_ends_it() {
        let (a, b) = pair();
        drop(b);
        let link = Link::Own(a);
        let mut how = How::Single;
        let mut sender = Sender::default();
        assert_eq!(sender.send(&link, &mut how, (1, 1), b"x", 512), Sent::All, "nobody has told yet");
        assert_eq!(sender.send(&link, &mut how, (1, 1), b"x", 512), Sent::Unreachable);
    }
}
