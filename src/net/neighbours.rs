//! The kernel's neighbour table (ARP): the MAC address behind an IPv4 address on our own wires. `content::machines`
//! uses it to verify what DHCP messages claim, because lanboot's packets to an address go to the MAC in this table. It
//! never sends anything on the wire.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use crate::net::snapshot::Now;
use crate::types::MacAddr;

/// Addresses whose MAC is cached for [`FRESH`]. When the cache is full it is emptied, which costs a new query for each.
const MAX_REMEMBERED: usize = 4096;
/// How long [`Neighbours::lately`] uses a cached MAC before the kernel is asked again. An address without a MAC is not
/// cached: it gets one as soon as something is sent to it.
const FRESH: Duration = Duration::from_secs(1);
/// The neighbour table as text, for kernels before 5.0, which cannot be asked for a single address.
const ARP_TABLE: &str = "/proc/net/arp";

/// The state of an address in the neighbour table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Neighbour {
    /// The address is not on one of our Ethernet wires, or is our own, so the table has no entry for it.
    NotOnLink,
    /// The address is on our wire, and the kernel has not found a MAC for it.
    Silent,
    /// The MACs at the address. There is more than one only if several interfaces are in one network.
    At(Vec<MacAddr>),
}

/// Looks up neighbours in the kernel's table. Cheap to clone; clones share the cache.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The served interfaces, which define our wires; `None` means that there are none.
    now: Option<Now>,
    remembered: Mutex<HashMap<Ipv4Addr, (Neighbour, Instant)>>,
    /// The neighbours where there are no interfaces: tests fix them.
    fixed: Mutex<HashMap<Ipv4Addr, Neighbour>>,
}

impl Neighbours {
    /// Looks up neighbours on the wires of this computer.
    pub fn new(now: Now) -> Neighbours {
        Neighbours(Arc::new(Inner { now: Some(now), ..Inner::default() }))
    }

    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        let is_ours = |now: &Now| now.borrow().interfaces.own.contains(&address);
        address.is_loopback() || self.0.now.as_ref().is_some_and(is_ours)
    }

    /// The neighbour as it was within the last second. Good enough where nothing is decided: between two questions a host
    /// may take the address of another one by forged ARP replies.
    pub fn lately(&self, address: Ipv4Addr) -> Neighbour {
        let lock = self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = lock.get(&address).filter(|(_, asked)| asked.elapsed() < FRESH).cloned();
        drop(lock);
        remembered.map_or_else(|| self.at(address), |(neighbour, _)| neighbour)
    }

    /// The neighbour as the kernel knows it now.
    pub fn at(&self, address: Ipv4Addr) -> Neighbour {
        let now = Instant::now();
        let Some(snapshot) = &self.0.now else {
            let fixed = self.0.fixed.lock().unwrap_or_else(PoisonError::into_inner);
            return fixed.get(&address).cloned().unwrap_or(Neighbour::NotOnLink);
        };
        let wires = {
            let served = Arc::clone(&snapshot.borrow().interfaces);
            if served.own.contains(&address) {
                return Neighbour::NotOnLink;
            }
            let there = served.wires.iter().filter(|(_, network)| network.contains(address));
            there.map(|(interface, _)| *interface).collect::<Vec<u32>>()
        };
        if wires.is_empty() {
            return Neighbour::NotOnLink;
        }
        let macs: Vec<MacAddr> = wires.iter().filter_map(|wire| mac_of(*wire, address)).collect();
        if macs.is_empty() {
            return Neighbour::Silent;
        }
        let neighbour = Neighbour::At(macs);
        let mut remembered = self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(address, (neighbour.clone(), now));
        neighbour
    }
}

/// The hardware address to which the kernel sends what is for `address` on the interface of that number.
pub fn mac_of(interface: u32, address: Ipv4Addr) -> Option<MacAddr> {
    match ask_netlink(interface, address) {
        Ok(found) => found,
        Err(_) => mac_in(&std::fs::read_to_string(ARP_TABLE).unwrap_or_default(), address),
    }
}

/// Asks the kernel for a single address; it answers immediately (rtnetlink(7), since Linux 5.0).
fn ask_netlink(interface: u32, address: Ipv4Addr) -> io::Result<Option<MacAddr>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &question(interface, address), &kernel, MsgFlags::empty())?;
    let mut buffer = [0; 1024];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    let kernels = buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
    mac_in_reply(kernels)
}

/// Builds an RTM_GETNEIGH message for one address: `nlmsghdr`, `ndmsg`, and the attribute NDA_DST.
fn question(interface: u32, address: Ipv4Addr) -> Vec<u8> {
    const RTM_GETNEIGH: u16 = 30;
    const NLM_F_REQUEST: u16 = 1;
    const AF_INET: u8 = 2;
    const NDA_DST: u16 = 1;
    const LENGTH: u32 = 16 + 12 + 8;
    let mut bytes = Vec::with_capacity(36);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(RTM_GETNEIGH.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port ID, which the kernel fills in.
    bytes.extend([0; 8]);
    bytes.extend([AF_INET, 0, 0, 0]);
    bytes.extend(interface.to_ne_bytes());
    // State, flags and type.
    bytes.extend([0; 4]);
    bytes.extend(8u16.to_ne_bytes());
    bytes.extend(NDA_DST.to_ne_bytes());
    bytes.extend(address.octets());
    bytes
}

/// Reads the MAC from the kernel's answer; `Ok(None)` if there is no MAC that the kernel would send to.
fn mac_in_reply(answer: &[u8]) -> io::Result<Option<MacAddr>> {
    const NLMSG_ERROR: u16 = 2;
    const RTM_NEWNEIGH: u16 = 28;
    const ENOENT: i32 = 2;
    const NDA_LLADDR: u16 = 2;
    /// REACHABLE, STALE, DELAY, PROBE, NOARP and PERMANENT, from linux/neighbour.h.
    const VALID: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let two = |at: usize| -> Option<u16> {
        Some(u16::from_ne_bytes(answer.get(at..at.checked_add(2)?)?.try_into().ok()?))
    };
    match two(4).ok_or_else(short)? {
        RTM_NEWNEIGH => {}
        NLMSG_ERROR => {
            let bytes = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
            return match i32::from_ne_bytes(bytes).saturating_neg() {
                ENOENT => Ok(None),
                other => Err(io::Error::from_raw_os_error(other)),
            };
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    if two(24).ok_or_else(short)? & VALID == 0 {
        return Ok(None);
    }
    let mut at: usize = 28;
    while let (Some(length), Some(kind)) = (two(at), two(at.saturating_add(2))) {
        let length = usize::from(length);
        let value = answer.get(at.saturating_add(4)..at.saturating_add(length));
        if kind == NDA_LLADDR {
            return Ok(value.and_then(|value| value.try_into().ok()).map(MacAddr));
        }
        if length < 4 {
            break;
        }
        at = at.saturating_add(length.next_multiple_of(4));
    }
    Ok(None)
}

/// Finds the MAC of `address` in the text of the kernel's table. Each neighbour is a line with address, hardware type,
/// flags, MAC, mask and interface (proc_net(5)). `None` if the kernel is still resolving the address.
fn mac_in(table: &str, address: Ipv4Addr) -> Option<MacAddr> {
    const COMPLETE: u32 = 2;
    let address = address.to_string();
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (ip, _hardware, flags, mac) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        let found = ip == address && flags & COMPLETE != 0;
        found.then(|| mac.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    impl Neighbours {
        /// Fixes the result for `address`.
        pub fn fix(&self, address: Ipv4Addr, neighbour: Neighbour) {
            self.0.fixed.lock().unwrap().insert(address, neighbour);
        }

        /// Fixes what [`Neighbours::lately`] remembers of `address`.
        pub fn remember(&self, address: Ipv4Addr, neighbour: Neighbour) {
            self.0.remembered.lock().unwrap().insert(address, (neighbour, Instant::now()));
        }
    }

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    #[test]
    fn incomplete_arp_entries_are_ignored() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
192.168.77.5     0x1         0x0         00:00:00:00:00:00     *        eth0
192.168.77.50    0x1         0x2         02:00:00:00:00:01     *        eth0
192.168.77.51    0x1         0x6         02:00:00:00:00:02     *        eth0
192.168.77.52    0x20        0x2         80:00:00:48:fe:80:00:00:00:00:00:00:00:02     *        ib0
";
        let at = |last| mac_in(table, Ipv4Addr::new(192, 168, 77, last));
        assert_eq!((at(50), at(51)), (Some(mac(1)), Some(mac(2))), "permanent entries count too");
        for last in [5, 52, 53] {
            assert_eq!(at(last), None, "{last}");
        }
        assert_eq!(mac_in("", Ipv4Addr::new(192, 168, 77, 50)), None);
    }

    #[test]
    fn truncated_netlink_answers_are_errors() {
        let mut answer = vec![0; 28];
        answer[4..6].copy_from_slice(&28u16.to_ne_bytes());
        answer[24] = 4;
        answer.extend([8, 0, 1, 0, 10, 0, 0, 1, 10, 0, 2, 0, 2, 0, 0, 0, 0, 7, 0, 0]);
        assert_eq!(mac_in_reply(&answer).unwrap(), Some(mac(7)));
        for length in 0..answer.len() {
            let _ = mac_in_reply(&answer[..length]);
        }
        answer[24] = 0x20;
        assert_eq!(mac_in_reply(&answer).unwrap(), None, "no host answered there");
        answer[4] = 2;
        answer[16..20].copy_from_slice(&(-2i32).to_ne_bytes());
        assert_eq!(mac_in_reply(&answer).unwrap(), None);
        answer[16..20].copy_from_slice(&(-95i32).to_ne_bytes());
        assert!(mac_in_reply(&answer).is_err());
    }

    #[test]
    fn the_kernel_answers_for_one_address() {
        // Loopback has no neighbours, but the kernel understands the query.
        assert_eq!(ask_netlink(1, Ipv4Addr::new(127, 0, 0, 9)).unwrap(), None);
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        // A thread with its own network namespace, which the commands that it starts share.
        let in_own_network = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            for line in [
                "link add wire0 type veth peer name wire1",
                "link set wire0 up",
                "neigh add 192.0.2.77 lladdr 02:00:00:00:00:07 dev wire0",
            ] {
                assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "{line}");
            }
            let index = nix::net::if_::if_nametoindex("wire0").unwrap();
            [77, 78].map(|last| ask_netlink(index, Ipv4Addr::new(192, 0, 2, last)).unwrap())
        };
        assert_eq!(std::thread::spawn(in_own_network).join().unwrap(), [Some(mac(7)), None]);
    }
}
