//! Datagrams that the server receives in batches and replies that it is about to send. DHCP and TFTP use them.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::libc::{in_addr, in_pktinfo, timespec};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg};

use crate::dhcp::route::Route;

/// Maximum number of datagrams read in one system call.
pub const BATCH: usize = 64;
/// Bytes of a datagram that are read. DHCP messages fit into an Ethernet frame. A longer datagram is truncated, and its
/// [`Envelope::len`] says so.
const BUFFER: usize = 2048;

/// A DHCP reply ready to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The encoded message.
    pub payload: Vec<u8>,
    pub route: Route,
    /// The interface number for broadcasts and frames.
    pub interface: u32,
    /// The source address.
    pub server: Ipv4Addr,
    /// The time when the answered message was received, to measure how long it takes until the reply is sent.
    pub received: Instant,
}

/// Control data that sets the source address of a datagram and, unless it is 0, the outgoing interface.
pub fn packet_info(from: Ipv4Addr, interface: u32) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: i32::try_from(interface).unwrap_or(0),
        ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
        ipi_addr: in_addr { s_addr: 0 },
    }
}

/// Buffers that receive up to [`BATCH`] datagrams at once.
pub struct Inbox {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; BUFFER]>,
    envelopes: Vec<Envelope>,
}

/// The metadata that the kernel reports with a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Original length in bytes; bytes beyond the buffer are lost.
    pub len: usize,
    pub source: SocketAddrV4,
    /// The number of the interface that it arrived on.
    pub interface: u32,
    /// The address that it was sent to.
    pub destination: Ipv4Addr,
    /// Our address that a reply is sent from: the destination, unless that is a broadcast address.
    pub local: Ipv4Addr,
    /// Time that the datagram waited in the queue of the kernel. Zero if the socket does not report times.
    pub waited: Duration,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(in_pktinfo, timespec))),
            buffers: vec![[0; BUFFER]; BATCH],
            envelopes: Vec::with_capacity(BATCH),
        }
    }
}

impl Inbox {
    /// Receives up to [`BATCH`] waiting datagrams from `socket`; `WouldBlock` if there are none.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.envelopes.clear();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None)?;
        let now = SystemTime::now();
        for message in received {
            let mut envelope = Envelope {
                len: message.bytes,
                source: message
                    .address
                    .map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from),
                interface: 0,
                destination: Ipv4Addr::UNSPECIFIED,
                local: Ipv4Addr::UNSPECIFIED,
                waited: Duration::ZERO,
            };
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        envelope.interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                        envelope.destination = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                        envelope.local = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    }
                    ControlMessageOwned::ScmTimestampns(time) => {
                        // The kernel takes these times from the clock that can be set. A step of that clock falsifies
                        // only those of the datagrams that wait at that moment.
                        let then = UNIX_EPOCH.checked_add(Duration::from(time));
                        envelope.waited =
                            then.and_then(|then| now.duration_since(then).ok()).unwrap_or_default();
                    }
                    _ => {}
                }
            }
            self.envelopes.push(envelope);
        }
        Ok(())
    }

    /// Whether the last [`Inbox::receive`] filled all buffers, so that more datagrams may be waiting.
    pub fn is_full(&self) -> bool {
        self.envelopes.len() == BATCH
    }

    /// The datagrams received by the last [`Inbox::receive`].
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Envelope)> {
        self.envelopes.iter().zip(&self.buffers).map(|(envelope, buffer)| {
            let len = envelope.len.min(BUFFER);
            (&buffer[..len], *envelope)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_datagram_reports_its_length() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&[7; 3 * BUFFER], socket.local_addr().unwrap()).unwrap();
        let mut inbox = Inbox::default();
        inbox.receive(&socket).unwrap();
        let (bytes, envelope) = inbox.iter().next().unwrap();
        assert_eq!((bytes, envelope.len), (&[7; BUFFER][..], 3 * BUFFER));
    }
}
