//! Reads the frames of one interface in batches, with their times, for `lanboot capture`.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::libc::timespec;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, recvmmsg};
use socket2::SockFilter;

use crate::net::bpf::ETH_P_ALL;
use crate::net::packet_socket::{FRAME, PacketSocket};

/// Maximum number of frames that are read in one system call.
pub const BATCH: usize = 64;
/// Bytes that the kernel may queue, which takes the smaller of this and `net.core.rmem_max`.
const RECEIVE_QUEUE: usize = 4 << 20;

/// A packet socket on one Ethernet interface. It also sees the frames that this computer sends.
#[derive(Debug)]
pub struct FrameTap {
    socket: PacketSocket,
    interface: usize,
}

/// Buffers for the frames of one batch.
pub struct Batch {
    buffers: Vec<[u8; FRAME]>,
    frames: Vec<Meta>,
    is_full: bool,
    /// The number of frames that the kernel has dropped because its queue was full, since the socket was opened.
    lost: Option<u32>,
}

/// The metadata of a frame.
#[derive(Clone, Copy, Debug)]
struct Meta {
    /// The place of its buffer.
    place: usize,
    len: usize,
    since_1970: Duration,
}

/// A frame that was read.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its bytes, as far as they fit the buffer.
    pub bytes: &'a [u8],
    /// Its length on the wire.
    pub len: usize,
    /// When the kernel saw it, by the time of day.
    pub since_1970: Duration,
}

impl FrameTap {
    /// Opens a socket on the interface `link` for the frames that pass `filter`.
    pub fn open(link: &LinkAddr, filter: &[SockFilter]) -> io::Result<FrameTap> {
        let socket = PacketSocket::on_interface(link, ETH_P_ALL, filter, RECEIVE_QUEUE)?;
        socket.report_times_and_losses()?;
        Ok(FrameTap { socket, interface: link.ifindex() })
    }

    /// Reads the waiting frames into `batch`, at most [`BATCH`]; `WouldBlock` if there are none.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.frames.clear();
        batch.is_full = false;
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            batch.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        // Kept between two calls, the headers would bind the batch to one thread.
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, Some(nix::cmsg_space!(timespec, u32)));
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = recvmmsg(self.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None)?;
        for (place, message) in received.enumerate() {
            batch.is_full = place + 1 == BATCH;
            let mut since_1970 = Duration::ZERO;
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::ScmTimestampns(time) => since_1970 = time.into(),
                    ControlMessageOwned::RxqOvfl(lost) => batch.lost = Some(lost),
                    _ => {}
                }
            }
            // Before it was bound, the socket saw other interfaces, and it sees the frames of VLANs.
            if message.address.is_none_or(|link| link.ifindex() == self.interface) {
                batch.frames.push(Meta { place, len: message.bytes, since_1970 });
            }
        }
        Ok(())
    }
}

impl AsRawFd for FrameTap {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch {
            buffers: vec![[0; FRAME]; BATCH],
            frames: Vec::with_capacity(BATCH),
            is_full: false,
            lost: None,
        }
    }
}

impl Batch {
    /// The frames that were read last, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.frames.iter().filter_map(|Meta { place, len, since_1970 }| {
            let bytes = self.buffers.get(*place)?.get(..(*len).min(FRAME))?;
            Some(Frame { bytes, len: *len, since_1970: *since_1970 })
        })
    }

    /// Whether all buffers were filled, so that more frames may be waiting.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The number of frames that the kernel dropped since the socket was opened, as far as it is known.
    pub fn lost(&self) -> u32 {
        self.lost.unwrap_or(0)
    }
}
