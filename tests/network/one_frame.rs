//! A DHCP reply is one datagram in one frame for every kind of receiver. Many clients and relay agents with raw sockets
//! ask at the same moment over veth pairs with default offloads, which are on.
//!
//! Needs root. The last two tests need udhcpc and ISC dhcrelay. `tests/run` installs them on Debian.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{BRIDGE, NETWORK, Namespace, Need, Running};
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{FLAG_BROADCAST, Message, MessageType};
use lanboot::wire::frame::{udp_datagram, udp_frame};
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use support::LANBOOT;
use support::one_at_a_time;
use support::site::{RELAY, SERVER, Site, ready};

const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];

/// Number of clients in a test.
const CLIENTS: u8 = 100;
/// Bytes of the longest Ethernet frame: the MTU of the veth pairs and the header.
const LONGEST: usize = 1514;
/// Time until every client has its answers, on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

const SUBNET: &str = "dhcp: {mode: server, conflict_check: off, \
    subnets: [{network: 192.168.77.0/24, pool: 192.168.77.20-192.168.77.220}]}";

/// A host on the network of `site` with an address, connected by a veth pair with all its offloads.
fn host_with_offloads(site: &Site, address: &str) -> Namespace {
    let (network, host) = (site.network.namespace(), Namespace::new().unwrap());
    network.ip(&format!("link add raw0 type veth peer name eth0 netns {}", host.name())).unwrap();
    network.ip(&format!("link set raw0 master {BRIDGE} up")).unwrap();
    host.ip(&format!("addr add {address} dev eth0")).unwrap();
    host.ip("link set eth0 up").unwrap();
    host
}

/// Runs `work` in the network namespace of `host` and returns its result.
pub(super) fn inside<T: Send>(host: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{}", host.name())).unwrap();
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        work.join().unwrap()
    })
}

/// A packet socket on `eth0` that reads every IPv4 frame, as DHCP clients and relay agents do.
pub(super) struct Wire(Socket);

impl Wire {
    pub(super) fn open() -> Wire {
        const ETH_P_IP: u16 = 0x0800;
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ETH_P_IP.to_be()))))
                .unwrap();
        socket.set_recv_buffer_size(8 << 20).unwrap();
        let index = if_nametoindex("eth0").unwrap();
        let wanted = nix::ifaddrs::getifaddrs().unwrap().find_map(|entry| {
            let link: LinkAddr = *entry.address.as_ref()?.as_link_addr()?;
            (u32::try_from(link.ifindex()) == Ok(index)).then_some(link)
        });
        bind(socket.as_raw_fd(), &wanted.unwrap()).unwrap();
        Wire(socket)
    }

    fn send(&self, mac: MacAddr, from: SocketAddrV4, to: SocketAddrV4, to_mac: MacAddr, message: &Message) {
        let frame = udp_frame(mac, to_mac, from, to, &message.encode()).unwrap();
        (&self.0).write_all(&frame).unwrap();
    }

    /// Receives every frame with UDP to one of `ports`, until the frames so far are `enough`.
    pub(super) fn receive(&self, ports: &[u16], mut enough: impl FnMut(&[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
        let end = Instant::now() + LIMIT;
        let mut frames = Vec::new();
        while !enough(&frames) && Instant::now() < end {
            let mut waiting = [PollFd::new(std::os::fd::AsFd::as_fd(&self.0), PollFlags::POLLIN)];
            if poll(&mut waiting, PollTimeout::from(200u16)).unwrap() == 0 {
                continue;
            }
            let mut buffer = vec![0; 70_000];
            let len =
                nix::sys::socket::recv(self.0.as_raw_fd(), &mut buffer, nix::sys::socket::MsgFlags::empty())
                    .unwrap();
            buffer.truncate(len);
            let is_ours = |port: &[u8]| ports.iter().any(|wanted| wanted.to_be_bytes() == port);
            if buffer.get(23) == Some(&17) && buffer.get(36..38).is_some_and(is_ours) {
                frames.push(buffer);
            }
        }
        frames
    }
}

/// The replies in `frames`. Each frame must be one datagram. If `whole` is true, its checksum must be correct.
fn replies(frames: &[Vec<u8>], whole: bool) -> Vec<Message> {
    let each = frames.iter().map(|frame| {
        assert!(frame.len() <= LONGEST, "a frame of {} bytes: replies left uncut", frame.len());
        let datagram = udp_datagram(frame).expect("a whole UDP datagram");
        if whole {
            assert_eq!(checksum(frame), 0, "the UDP checksum is complete");
        }
        Message::decode(datagram.payload).expect("a DHCP message")
    });
    each.collect()
}

/// The Internet checksum over pseudo header, UDP header and payload. It is 0 if the checksum in the header is correct.
fn checksum(frame: &[u8]) -> u16 {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let (addresses, udp) = (&frame[26..34], &frame[34..14 + total]);
    let len = u32::try_from(udp.len()).unwrap();
    let words = |bytes: &[u8]| -> u32 {
        let pairs = bytes.chunks(2);
        pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
    };
    let mut sum = words(addresses) + 17 + len + words(udp);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0x0f, 0, 0, 0, n])
}

fn message(n: u8, kind: MessageType, options: &[(u8, &[u8])]) -> Message {
    let mut message = Message { xid: u32::from(n) + 1, ..Message::new(1) };
    message.chaddr[..6].copy_from_slice(&mac(n).0);
    assert!(message.options.push(53, &[kind.number()]));
    for (code, value) in options {
        assert!(message.options.push(*code, value));
    }
    message
}

const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
const EVERYONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);

/// The number of different clients that got a message of this kind.
fn answered(messages: &[Message], kind: MessageType) -> usize {
    let of_kind = messages.iter().filter(|message| message.message_type() == Some(Ok(kind)));
    of_kind.map(|message| message.chaddr).collect::<BTreeSet<_>>().len()
}

#[test]
fn r_01_each_of_many_raw_clients_hears_its_own_frame() {
    let _alone = one_at_a_time();
    if !ready("one_frame r_01_each_of_many_raw_clients_hears_its_own_frame", &[NETWORK]) {
        return;
    }
    for flags in [FLAG_BROADCAST, 0] {
        let site = Site::new(&[]);
        let host = host_with_offloads(&site, "192.168.77.250/24");
        let _server = site.serve(&site.configure(SUBNET));
        inside(&host, || {
            let wire = Wire::open();
            for n in 0..CLIENTS {
                let discover = Message { flags, ..message(n, MessageType::Discover, &[]) };
                wire.send(mac(n), NOBODY, EVERYONE, MacAddr::BROADCAST, &discover);
            }
            let all = usize::from(CLIENTS);
            let offers = replies(&wire.receive(&[68], |frames| frames.len() >= all), true);
            assert_eq!(answered(&offers, MessageType::Offer), all, "flags {flags}");
            let server: Ipv4Addr = SERVER.parse().unwrap();
            for (n, offer) in (0..CLIENTS).map(|n| {
                let offer =
                    offers.iter().find(|offer| offer.mac() == Some(mac(n))).expect("it was offered one");
                (n, offer)
            }) {
                let options = [(50, &offer.yiaddr.octets()[..]), (54, &server.octets())];
                let request = Message { flags, ..message(n, MessageType::Request, &options) };
                wire.send(mac(n), NOBODY, EVERYONE, MacAddr::BROADCAST, &request);
            }
            let acks = replies(&wire.receive(&[68], |frames| frames.len() >= all), true);
            assert_eq!(answered(&acks, MessageType::Ack), all, "flags {flags}");

            // the clients renew, and none of them answers ARP.
            for ack in &acks {
                let n = ack.chaddr[5];
                let renew = Message { ciaddr: ack.yiaddr, ..message(n, MessageType::Request, &[]) };
                let from = SocketAddrV4::new(ack.yiaddr, 68);
                wire.send(mac(n), from, EVERYONE, MacAddr::BROADCAST, &renew);
            }
            let frames = wire.receive(&[68], |frames| frames.len() >= all);
            assert_eq!(answered(&replies(&frames, true), MessageType::Ack), all, "renewals");
            for frame in &frames {
                let renewed = udp_datagram(frame).unwrap();
                let message = Message::decode(renewed.payload).unwrap();
                assert_eq!((&frame[..6], *renewed.destination.ip()), (&message.chaddr[..6], message.ciaddr));
            }
        });
    }
}

#[test]
fn r_01_a_relay_agent_reads_each_reply_by_itself() {
    let _alone = one_at_a_time();
    if !ready("one_frame r_01_a_relay_agent_reads_each_reply_by_itself", &[NETWORK]) {
        return;
    }
    let site = Site::new(&[]);
    let host = host_with_offloads(&site, "192.168.77.250/24");
    let mut server = site.serve(&site.configure(SUBNET));
    let relay = SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 250), 67);
    inside(&host, || {
        let wire = Wire::open();
        // The kernel sends the requests, so that it also answers the server's ARP. The replies are read raw, as ISC
        // dhcrelay reads them.
        let agent = std::net::UdpSocket::bind(relay).unwrap();
        for n in 0..CLIENTS {
            let discover = Message { giaddr: *relay.ip(), hops: 1, ..message(n, MessageType::Discover, &[]) };
            agent.send_to(&discover.encode(), (SERVER, 67)).unwrap();
        }
        let all = usize::from(CLIENTS);
        let frames = wire.receive(&[67], |frames| frames.len() >= all);
        // The kernel leaves the checksum of a unicast packet to the network card, as it does for every program.
        assert_eq!(answered(&replies(&frames, false), MessageType::Offer), all, "{}", server.drain());
    });
}

#[test]
fn r_01_two_hundred_machines_boot_at_once_over_veth() {
    let _alone = one_at_a_time();
    if !ready("one_frame r_01_two_hundred_machines_boot_at_once_over_veth", &[NETWORK]) {
        return;
    }
    let file = vec![7; 100_000];
    let site = Site::new(&[("loader.efi", &file)]);
    let host = host_with_offloads(&site, "192.168.77.250/24");
    let _server = site.serve(&site.configure(&format!("{SUBNET}\nboot: {{arch: {{uefi-x64: loader.efi}}}}")));
    let mut probe = host.command(&*LANBOOT);
    probe.args(["probe", "--interface", "eth0", "--arch", "uefi-x64", "--collect", "0", "--count", "200"]);
    let output = probe.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
}

/// A client that got its address by DHCP loads a file in windows of 16 blocks. A packet socket reads the frames.
#[test]
fn r_01_a_raw_reader_sees_each_block_of_a_window_by_itself() {
    let _alone = one_at_a_time();
    if !ready("one_frame r_01_a_raw_reader_sees_each_block_of_a_window_by_itself", &[NETWORK]) {
        return;
    }
    const BLOCK: usize = 1400;
    let file = vec![7; 200 * BLOCK];
    let site = Site::new(&[("loader.efi", &file)]);
    let host = host_with_offloads(&site, "192.168.77.250/24");
    let _server = site.serve(&site.configure(&format!("{SUBNET}\nboot: {{arch: {{uefi-x64: loader.efi}}}}")));
    let mac = link_address(&host);
    let server: Ipv4Addr = SERVER.parse().unwrap();
    let client = |kind, options: &[(u8, &[u8])]| {
        let firmware = [(60, &b"PXEClient:Arch:00007:UNDI:003016"[..]), (93, &[0, 7])];
        let mut message = message(1, kind, &[options, &firmware].concat());
        message.chaddr[..6].copy_from_slice(&mac.0);
        message
    };
    inside(&host, || {
        let wire = Wire::open();
        let ask = |message: &Message| {
            wire.send(mac, NOBODY, EVERYONE, MacAddr::BROADCAST, message);
            replies(&wire.receive(&[68], |frames| !frames.is_empty()), true).remove(0)
        };
        let address = ask(&client(MessageType::Discover, &[])).yiaddr;
        let options = [(50, &address.octets()[..]), (54, &server.octets())];
        assert_eq!(ask(&client(MessageType::Request, &options)).yiaddr, address);
        host.ip(&format!("addr add {address}/24 dev eth0")).unwrap();

        let socket = std::net::UdpSocket::bind((address, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let request = format!("\0\x01loader.efi\0octet\0blksize\0{BLOCK}\0windowsize\x0016\0");
        socket.send_to(request.as_bytes(), (SERVER, 69)).unwrap();
        let (mut buffer, mut blocks) = ([0; 2048], 0);
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            match buffer[..2] {
                [0, 6] => _ = socket.send_to(&[0, 4, 0, 0], from).unwrap(),
                [0, 3] => {
                    blocks += 1;
                    if blocks % 16 == 0 || len < BLOCK + 4 {
                        socket.send_to(&[0, 4, buffer[2], buffer[3]], from).unwrap();
                    }
                    if len < BLOCK + 4 {
                        break;
                    }
                }
                _ => panic!("{:?}", &buffer[..len]),
            }
        }
        let frames = wire.receive(&[port], |frames| frames.len() > blocks);
        let longest = frames.iter().map(Vec::len).max();
        assert_eq!((blocks, frames.len(), longest), (201, 202, Some(14 + 28 + 4 + BLOCK)));
    });
}

fn link_address(host: &Namespace) -> MacAddr {
    let output = host.command("cat").arg("/sys/class/net/eth0/address").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Starts eight udhcpc at the same moment in `hosts`. Returns the time until the last one has its lease.
fn all_at_once(hosts: &[Namespace], broadcast: bool) -> Duration {
    let began = Instant::now();
    let mut clients: Vec<Running> = hosts.iter().map(|host| udhcpc(host, broadcast)).collect();
    for client in &mut clients {
        assert!(client.wait_for("obtained", LIMIT), "{}", client.drain());
    }
    began.elapsed()
}

fn udhcpc(host: &Namespace, broadcast: bool) -> Running {
    let mut command = host.command("udhcpc");
    command.args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-T", "3", "-s", "/bin/true"]);
    if broadcast {
        command.arg("-B");
    }
    Running::spawn(command).unwrap()
}

#[test]
fn r_01_eight_udhcpc_at_once_need_no_second_try() {
    let _alone = one_at_a_time();
    if !ready("one_frame r_01_eight_udhcpc_at_once_need_no_second_try", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let _server = site.serve(&site.configure(SUBNET));
    let hosts: Vec<Namespace> =
        (1..=8).map(|n| site.network.host(&format!("52:54:00:77:01:{n:02x}")).unwrap()).collect();
    for broadcast in [true, false] {
        let took = all_at_once(&hosts, broadcast);
        assert!(took < Duration::from_secs(3), "a client had to ask again: {took:?}");
    }
}

#[test]
fn r_01_clients_behind_isc_dhcrelay_all_get_a_lease_at_once() {
    let _alone = one_at_a_time();
    if !ready("one_frame r_01_clients_behind_isc_dhcrelay", &[NETWORK, UDHCPC, RELAY]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(
        "dhcp: {mode: server, conflict_check: off, subnets: [{network: 192.168.77.0/24}, \
         {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.150}]}",
    );
    let (_relay, far) = site.behind_a_relay_agent("192.168.77.254/24", "10.1.0.1/24");
    let _server = site.serve(Path::new(&config));
    let hosts: Vec<Namespace> =
        (1..=8).map(|n| far.host(&format!("52:54:00:77:02:{n:02x}")).unwrap()).collect();
    let took = all_at_once(&hosts, true);
    assert!(took < Duration::from_secs(3), "a client had to ask again: {took:?}");
}
