//! Finds out whether a DECLINE or RELEASE came from the hardware address of its client. The UDP socket does not report
//! the sender's hardware address, so a packet socket on each interface receives the same frames. It records the messages
//! whose sender is their client. `proxy_listeners.rs` opens the packet sockets; `probed.rs` and `effects.rs` look a
//! message up. Without CAP_NET_RAW there is no packet socket, and nothing is known. Nothing here decides on a message.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::LinkAddr;
use socket2::SockFilter;

use crate::net::bpf::{
    ACCEPT, ETH_P_IP, JUMP_IF_EQUAL, LOAD_BYTE_AT_X, LOAD_HALF_AT_X, LOAD_WORD_AT_X, REJECT, unfragmented_udp,
};
use crate::net::datagram::BATCH;
use crate::net::interface::loopback;
use crate::net::packet_socket::{FRAME, PacketSocket};
use crate::types::MacAddr;
use crate::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use crate::wire::frame::udp_datagram;
use crate::wire::option::code;

/// Size in bytes of the kernel's receive queue for each packet socket. DECLINEs and RELEASEs are rare.
const RECEIVE_QUEUE: usize = 256 << 10;
/// Time for which a received message is remembered. It is much longer than the check takes.
const MEMORY: Duration = Duration::from_secs(5);
/// Maximum number of remembered messages. Even at 10,000 forged ones per second, each is remembered for longer than its
/// check takes.
const MAX_SEEN: usize = 16_384;

/// The number of the loopback interface in a [`Key`]. Messages that this computer sends to one of its addresses go
/// through it, and the kernel reports the interface of that address for them.
const LOOPBACK: u32 = 0;

/// The DECLINEs and RELEASEs that came from the hardware address of their client. Clones are cheap and share one table.
#[derive(Clone, Debug, Default)]
pub struct Senders(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// The numbers of the interfaces on which a packet socket receives.
    receiving: HashSet<u32>,
    seen: HashMap<Key, Instant>,
    order: VecDeque<(Instant, Key)>,
}

/// Interface, client and its address. Number 0 stands for the loopback interface. The transaction id is left out, because a forged copy that comes first must not
/// hide the client's own message.
type Key = (u32, MacAddr, Ipv4Addr);

impl Senders {
    /// Whether `message`, a DECLINE or RELEASE received on interface `index`, came from the hardware address of its client,
    /// or from this computer, where only a program with privileges can send it in the name of an address. `None` if that is unknown: no packet socket receives there, or the client has no Ethernet address.
    pub fn is_from_client(&self, index: u32, message: &Message) -> Option<bool> {
        let table = self.table();
        let mac = message.mac().filter(|_| table.receiving.contains(&index))?;
        let address = given_up(message)?;
        Some([index, LOOPBACK].into_iter().any(|index| table.seen.contains_key(&(index, mac, address))))
    }

    /// Records the frame if it is a DECLINE or RELEASE from the hardware address of its client, or from this computer.
    fn record_frame(&self, index: u32, frame: &[u8], now: Instant) {
        let Some(datagram) = udp_datagram(frame) else { return };
        let Ok(message) = Message::decode(datagram.payload) else { return };
        let is_trusted = |mac: &MacAddr| *mac == datagram.from || index == LOOPBACK;
        if let Some(mac) = message.mac().filter(is_trusted)
            && let Some(address) = given_up(&message)
        {
            self.table().note((index, mac, address), now);
        }
    }

    fn set_receiving(&self, index: u32, receives: bool) {
        let mut table = self.table();
        if receives {
            table.receiving.insert(index)
        } else {
            table.receiving.remove(&index)
        };
    }

    /// Locks the table. A poisoned lock is ignored, because each change leaves the table consistent.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that a client declines or releases with `message`.
fn given_up(message: &Message) -> Option<Ipv4Addr> {
    match message.message_type()?.ok()? {
        MessageType::Decline => message.options.ip(code::REQUESTED_ADDRESS),
        MessageType::Release => Some(message.ciaddr),
        _ => None,
    }
}

impl Table {
    fn note(&mut self, key: Key, now: Instant) {
        while let Some((at, key)) = self.order.front().copied() {
            if self.order.len() < MAX_SEEN && now.saturating_duration_since(at) < MEMORY {
                break;
            }
            self.order.pop_front();
            if self.seen.get(&key) == Some(&at) {
                self.seen.remove(&key);
            }
        }
        self.seen.insert(key, now);
        self.order.push_back((now, key));
    }
}

/// Records the DECLINEs and RELEASEs that arrive on one interface, until it is dropped.
#[derive(Debug)]
pub struct DeclineTap {
    socket: PacketSocket,
    index: u32,
    senders: Senders,
}

impl DeclineTap {
    /// Opens a packet socket for messages of clients to the UDP port `server` on interface `index`.
    pub fn open(index: u32, link: &LinkAddr, server: u16, senders: Senders) -> io::Result<DeclineTap> {
        let socket = PacketSocket::on_interface(link, ETH_P_IP, &given_up_to(server), RECEIVE_QUEUE)?;
        senders.set_receiving(index, true);
        Ok(DeclineTap { socket, index, senders })
    }

    /// As [`DeclineTap::open`], for messages that this computer sends to itself.
    pub fn on_loopback(server: u16, senders: Senders) -> io::Result<DeclineTap> {
        let link = loopback().ok_or(io::ErrorKind::NotFound)?;
        DeclineTap::open(LOOPBACK, &link, server, senders)
    }

    /// Reads up to [`BATCH`] frames. Returns `WouldBlock` when no more are waiting.
    pub fn receive(&self) -> io::Result<()> {
        let mut buffer = [0; FRAME];
        for _ in 0..BATCH {
            if let Some((frame, _)) = self.socket.receive(&mut buffer)? {
                self.senders.record_frame(self.index, frame, Instant::now());
            }
        }
        Ok(())
    }
}

impl AsRawFd for DeclineTap {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for DeclineTap {
    fn drop(&mut self) {
        self.senders.set_receiving(self.index, false);
    }
}

/// A kernel filter that accepts unfragmented UDP datagrams to the port `server` with a request that no relay agent
/// forwarded. It rejects a message whose first option is a message type (53) other than DECLINE and RELEASE. Nearly all
/// messages begin with that option, so other messages cost nothing. A second option 53 would make the message type
/// invalid, so none of these two is missed.
fn given_up_to(server: u16) -> Vec<SockFilter> {
    // Offsets of a BOOTP message after the Ethernet and UDP headers. Register X holds the length of the IP header.
    const MESSAGE: u32 = 14 + 8;
    const GIADDR: u32 = MESSAGE + 24;
    const FIRST_OPTION: u32 = MESSAGE + 240;
    // Code 53 and length 1.
    const MESSAGE_TYPE: u32 = 0x3501;
    let equal = |value: u32, or: u8| SockFilter::new(JUMP_IF_EQUAL, 0, or, value);
    let mut filter = Vec::from(unfragmented_udp());
    filter.extend([
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
        equal(u32::from(server), 9),
        SockFilter::new(LOAD_BYTE_AT_X, 0, 0, MESSAGE),
        equal(u32::from(BOOTREQUEST), 7),
        SockFilter::new(LOAD_WORD_AT_X, 0, 0, GIADDR),
        equal(0, 5),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, FIRST_OPTION),
        equal(MESSAGE_TYPE, 4),
        SockFilter::new(LOAD_BYTE_AT_X, 0, 0, FIRST_OPTION + 2),
        SockFilter::new(JUMP_IF_EQUAL, 2, 0, u32::from(MessageType::Decline.number())),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, u32::from(MessageType::Release.number())),
        REJECT,
        ACCEPT,
    ]);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::udp_frame;
    use std::net::SocketAddrV4;

    const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn message(last: u8, kind: MessageType) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.chaddr[..6].copy_from_slice(&CLIENT.0);
        assert!(message.options.push(53, &[kind.number()]));
        assert!(message.options.push(50, &[192, 168, 77, last]));
        message
    }

    fn frame(from: MacAddr, message: &Message) -> Vec<u8> {
        let (source, to) =
            (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
        udp_frame(from, MacAddr([0xff; 6]), source, to, &message.encode()).unwrap()
    }

    #[test]
    fn s_02_only_a_frame_from_the_client_itself_bears_out_a_decline() {
        let senders = Senders::default();
        let [forged, own, other] = [1, 2, 3].map(|last| message(last, MessageType::Decline));
        assert_eq!(senders.is_from_client(7, &own), None, "frames are not seen there");
        senders.set_receiving(7, true);
        let now = Instant::now();
        senders.record_frame(7, &frame(MacAddr([2, 0, 0, 0, 0, 9]), &forged), now);
        senders.record_frame(7, &frame(CLIENT, &own), now);
        senders.record_frame(7, &frame(CLIENT, &message(3, MessageType::Discover)), now);
        assert_eq!(senders.is_from_client(7, &forged), Some(false));
        assert_eq!(senders.is_from_client(7, &own), Some(true));
        assert_eq!(senders.is_from_client(7, &other), Some(false), "a DISCOVER is no DECLINE");
        assert_eq!(senders.is_from_client(8, &own), None);
        let [free, kept] = [4, 5].map(|last| Message {
            ciaddr: Ipv4Addr::new(192, 168, 77, last),
            ..message(9, MessageType::Release)
        });
        senders.record_frame(7, &frame(MacAddr([2, 0, 0, 0, 0, 9]), &kept), now);
        senders.record_frame(7, &frame(CLIENT, &free), now);
        assert_eq!(senders.is_from_client(7, &kept), Some(false));
        assert_eq!(senders.is_from_client(7, &free), Some(true));
        let local = Message { ciaddr: Ipv4Addr::new(192, 168, 77, 6), ..message(9, MessageType::Release) };
        senders.record_frame(LOOPBACK, &frame(MacAddr([0; 6]), &local), now);
        assert_eq!(senders.is_from_client(7, &local), Some(true), "this computer sent it");
        for n in 0..100_000 {
            senders.table().note((7, CLIENT, Ipv4Addr::from(n)), now);
        }
        assert!(senders.table().seen.len() <= MAX_SEEN && senders.table().order.len() <= MAX_SEEN);
        senders.table().note((7, CLIENT, Ipv4Addr::LOCALHOST), now + MEMORY);
        assert_eq!(senders.table().seen.len(), 1, "the rest is forgotten");
        senders.set_receiving(7, false);
        assert_eq!(senders.is_from_client(7, &own), None);
    }

    #[test]
    fn s_02_a_message_that_the_filter_passes_over_is_no_decline() {
        let plain = message(1, MessageType::Discover).encode();
        // Two message types: both among the options, or the second in the `file` field (option 52).
        let mut twice = plain[..240].to_vec();
        twice.extend_from_slice(&[53, 1, 1, 53, 1, 4, 255]);
        let mut overloaded = plain[..240].to_vec();
        overloaded.extend_from_slice(&[53, 1, 1, 52, 1, 1, 255]);
        overloaded[108..112].copy_from_slice(&[53, 1, 4, 255]);
        for bytes in [plain, twice, overloaded] {
            let kind = Message::decode(&bytes).unwrap().message_type();
            assert_ne!(kind, Some(Ok(MessageType::Decline)));
        }
    }
}
