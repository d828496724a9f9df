//! A server and one machine in virtual time, with the journeys of the server's records.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use lanboot::event::{Event, HttpRefusal, HttpStop, Record, Refusal, TransferStop};
use lanboot::journey::boot::{Boot, BootResult};
use lanboot::journey::machine::Change;
use lanboot::journey::site::{LoaderFacts, Program, Site, TargetFiles};
use lanboot::journey::{Changed, Journeys};
use lanboot::types::{FileKind, MacAddr, MachineId, Processor};
use lanboot::wire::dhcp::{Message, MessageType};
use lanboot::wire::option::code;
use support::world::*;

/// The DHCP server beside which we are a proxy, or that stands in our way.
pub const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);

pub const BIOS: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (97, &[0; 17])];
pub const UEFI: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7]), (97, &[0; 17])];
pub const ARM: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00011:UNDI:003000"), (93, &[0, 11]), (97, &[0; 17])];
pub const HTTP: &[(u8, &[u8])] = &[(60, b"HTTPClient:Arch:00016:UNDI:003000"), (93, &[0, 16])];
pub const IPXE: &[(u8, &[u8])] =
    &[(60, b"PXEClient:Arch:00007:UNDI:003010"), (93, &[0, 7]), (77, b"iPXE"), (175, &[1, 1, 1])];
pub const SYSTEM: &[(u8, &[u8])] = &[(55, &[1, 3, 6, 12, 15, 28, 42])];

pub const SERVER_YAML: &str = "
dhcp:
  mode: server
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]
boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-x64-http: 'http://{server}/snponly.efi'}, ipxe: boot.ipxe}
";
pub const PROXY_YAML: &str = "
dhcp: {mode: proxy}
boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}, ipxe: boot.ipxe}
";

/// A server, its journeys, and the number of the machine that acts.
pub struct Lab {
    pub world: World,
    pub journeys: Journeys,
    pub changes: Vec<Changed>,
    /// Every verdict that was given, even if it was withdrawn.
    pub causes: Vec<String>,
    pub n: u8,
    /// The first bytes of the machine's MAC.
    pub oui: [u8; 3],
    /// The relay agent that passes the messages on.
    pub relay: Option<Ipv4Addr>,
    port: u16,
    xid: u32,
    seen: usize,
}

impl Lab {
    pub fn new(yaml: &str) -> Lab {
        let target = TargetFiles {
            name: "debian".into(),
            kernel: "debian/linux".into(),
            initrd: vec!["debian/initrd.gz".into()],
            memory: Some(1024),
        };
        let mut site = Site::default();
        (site.targets, site.addresses) = (vec![target], vec![SERVER]);
        Lab {
            world: World::new(yaml),
            journeys: Journeys::new(site),
            changes: vec![],
            causes: vec![],
            n: 1,
            oui: [2, 0, 0],
            relay: None,
            port: 2000,
            xid: 100,
            seen: 0,
        }
    }

    pub fn server() -> Lab {
        Lab::new(SERVER_YAML)
    }

    pub fn proxy() -> Lab {
        Lab::new(PROXY_YAML)
    }

    pub fn mac(&self) -> MacAddr {
        let [a, b, c] = self.oui;
        MacAddr([a, b, c, 0, 0, self.n])
    }

    /// `message` as this machine sends it, and as its relay agent passes it on.
    fn sent(&mut self, mut message: Message) -> Message {
        message.chaddr[..3].copy_from_slice(&self.oui);
        self.world.arrival.source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        self.world.arrival.destination = Ipv4Addr::BROADCAST;
        self.world.arrival.boot_service = false;
        if let Some(relay) = self.relay {
            (message.giaddr, message.hops) = (relay, 1);
            self.world.arrival.source = SocketAddrV4::new(relay, 67);
            self.world.arrival.destination = SERVER;
        }
        message
    }

    /// The content of a loader.
    pub fn loader(&mut self, name: &str, kind: FileKind, program: Program, signed_by: &[&str]) {
        let signed_by = Some(signed_by.iter().map(|signer| (*signer).to_owned()).collect());
        let facts = LoaderFacts { kind, program, signed_by, similar: None };
        self.journeys.site.learn_loader(name.into(), facts);
    }

    pub fn ipxe_efi(&mut self, signed_by: &[&str]) {
        self.loader("snponly.efi", FileKind::EfiProgram(Processor::X64), Program::Ipxe, signed_by);
    }

    /// Time passes, and boots that are silent for too long are judged.
    pub fn pass(&mut self, millis: u64) {
        self.drain();
        let end = self.world.now.after(Duration::from_millis(millis));
        while let Some(at) = self.journeys.next_deadline().filter(|at| *at <= end) {
            let changed = self.journeys.advance(at);
            self.note(changed);
        }
        self.world.now = end;
    }

    fn drain(&mut self) {
        while let Some(record) = self.world.records.get(self.seen).cloned() {
            self.seen += 1;
            self.feed(record);
        }
    }

    fn feed(&mut self, record: Record) {
        let changed = self.journeys.record(&record);
        self.note(changed);
    }

    fn note(&mut self, changed: Vec<Changed>) {
        for change in &changed {
            let boot = self.journeys.boot(change.boot).expect("its boot is kept");
            self.causes
                .extend(boot.verdict.as_ref().map(|verdict| format!("{}: {}", verdict.id, verdict.cause)));
        }
        self.changes.extend(changed);
    }

    pub fn event(&mut self, event: Event) {
        self.drain();
        let machine = Some(MachineId::from(self.mac()));
        self.feed(Record { at: self.world.now, interface: None, machine, event });
    }

    /// An event that is about no machine.
    pub fn event_of_nobody(&mut self, event: Event) {
        self.drain();
        self.feed(Record { at: self.world.now, interface: None, machine: None, event });
    }

    /// A REQUEST whose answer waits for the disk.
    pub fn request_without_answer(&mut self, options: &[(u8, &[u8])], address: Ipv4Addr) {
        self.drain();
        let message = self.request_message(options, SERVER, address);
        _ = self.world.send(&message);
        let received = self.world.records[self.seen].clone();
        self.seen = self.world.records.len();
        self.feed(received);
    }

    /// Sends a message with these seconds; returns the answer's address.
    pub fn send(&mut self, message: &Message) -> Option<Answer> {
        let answer = self.world.send(message).ok().flatten();
        self.drain();
        answer
    }

    /// A new attempt, whose messages have another transaction id.
    pub fn again(&mut self) {
        self.xid += 1;
    }

    pub fn discover(&mut self, options: &[(u8, &[u8])], secs: u16) -> Option<Answer> {
        let mut message = message(self.n, MessageType::Discover, options);
        (message.xid, message.secs) = (self.xid, secs);
        let message = self.sent(message);
        self.send(&message)
    }

    /// A BOOTREQUEST without a message type.
    pub fn bootp(&mut self, secs: u16) -> Option<Answer> {
        let mut message = bootp(self.n);
        (message.xid, message.secs) = (self.xid, secs);
        let message = self.sent(message);
        self.send(&message)
    }

    pub fn request(
        &mut self,
        options: &[(u8, &[u8])],
        server: Ipv4Addr,
        address: Ipv4Addr,
    ) -> Option<Answer> {
        let message = self.request_message(options, server, address);
        self.send(&message)
    }

    fn request_message(&mut self, options: &[(u8, &[u8])], server: Ipv4Addr, address: Ipv4Addr) -> Message {
        let mut message = message(self.n, MessageType::Request, options);
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        message.options.push(code::REQUESTED_ADDRESS, &address.octets());
        message.xid = self.xid;
        self.sent(message)
    }

    /// DISCOVER, OFFER, REQUEST, ACK, with the pause of EDK2 between offer and REQUEST.
    pub fn lease(&mut self, options: &[(u8, &[u8])], pause: u64) -> Answer {
        self.again();
        let offer = self.discover(options, 0).expect("an OFFER");
        self.pass(pause);
        self.request(options, SERVER, offer.message.yiaddr).expect("an ACK")
    }

    /// The other server's message is heard.
    pub fn other(&mut self, kind: MessageType, file: Option<&str>) {
        let mut message = message(self.n, kind, &[]);
        message.chaddr[..3].copy_from_slice(&self.oui);
        message.op = lanboot::wire::dhcp::BOOTREPLY;
        message.yiaddr = Ipv4Addr::new(192, 168, 77, 200);
        message.options.push(code::SERVER_IDENTIFIER, &OTHER.octets());
        if let Some(file) = file {
            message.options.push(code::BOOT_FILE_NAME, file.as_bytes());
        }
        self.world.hear(&message, OTHER, MacAddr([2, 9, 9, 9, 9, 9]));
        self.drain();
    }

    /// Beside the other server: DISCOVER, two offers, REQUEST to the other, its ACK.
    pub fn lease_from_other(&mut self, options: &[(u8, &[u8])], pause: u64, file: Option<&str>) {
        self.again();
        self.discover(options, 0);
        self.other(MessageType::Offer, file);
        self.pass(pause);
        self.request(options, OTHER, Ipv4Addr::new(192, 168, 77, 200));
        self.other(MessageType::Ack, file);
    }

    /// A question on port 4011.
    pub fn ask_4011(&mut self, options: &[(u8, &[u8])]) -> Option<Answer> {
        let mut message = message(self.n, MessageType::Request, options);
        message.ciaddr = Ipv4Addr::new(192, 168, 77, 200);
        message.xid = self.xid;
        let arrival = self.world.arrival.clone();
        self.world.arrival.boot_service = true;
        self.world.arrival.destination = SERVER;
        self.world.arrival.source = SocketAddrV4::new(message.ciaddr, 4011);
        let answer = self.send(&message);
        self.world.arrival = arrival;
        answer
    }

    fn peer(&self) -> Peer {
        peer(Ipv4Addr::new(192, 168, 77, 50), self.port)
    }

    pub fn tftp_starts(&mut self, file: &str, size: u64, blksize: u16) {
        self.port += 1;
        let (file, peer) = (file.to_owned(), self.peer());
        self.event(Event::TftpStarted { file, peer, size, blksize, options: blksize != 512 });
    }

    /// The client sends its request again, from the same port.
    pub fn tftp_starts_again(&mut self, file: &str, size: u64, blksize: u16) {
        let (stop, took) = (TransferStop::Replaced, Duration::from_secs(1));
        let (name, peer, rejected_blksize) = (file.to_owned(), self.peer(), None);
        self.event(Event::TftpStopped {
            file: name,
            peer,
            bytes: 0,
            size,
            took,
            resent: 1,
            stop,
            rejected_blksize,
        });
        let file = file.to_owned();
        self.event(Event::TftpStarted { file, peer, size, blksize, options: blksize != 512 });
    }

    pub fn tftp_acknowledges(&mut self, file: &str, block: bool) {
        let (file, peer) = (file.to_owned(), self.peer());
        self.event(Event::TftpAcknowledged { file, peer, block });
    }

    pub fn tftp_ends(&mut self, file: &str, bytes: u64) {
        let (file, peer) = (file.to_owned(), self.peer());
        self.event(Event::TftpSent { file, peer, bytes, took: Duration::from_secs(1), resent: 0 });
    }

    pub fn tftp_stops(&mut self, file: &str, bytes: u64, size: u64, rejected_blksize: Option<u16>) {
        let (file, peer, took) = (file.to_owned(), self.peer(), Duration::from_secs(5));
        let stop = TransferStop::Silent;
        self.event(Event::TftpStopped { file, peer, bytes, size, took, resent: 5, stop, rejected_blksize });
    }

    /// A whole transfer that takes `millis`.
    pub fn tftp(&mut self, file: &str, bytes: u64, millis: u64) {
        self.tftp_starts(file, bytes, 1408);
        self.tftp_acknowledges(file, false);
        self.tftp_acknowledges(file, true);
        self.pass(millis);
        self.tftp_ends(file, bytes);
    }

    pub fn size_probe(&mut self, file: &str) {
        self.port += 1;
        let (file, peer) = (file.to_owned(), self.peer());
        self.event(Event::TftpSizeProbe { file, peer });
    }

    pub fn tftp_refused(&mut self, file: &str) {
        self.port += 1;
        let (name, peer) = (file.to_owned(), self.peer());
        self.event(Event::TftpRefused { name, peer, reason: Refusal::NotFound });
    }

    pub fn http(&mut self, file: &str, bytes: u64, millis: u64) {
        self.port += 1;
        let (file, peer) = (file.to_owned(), self.peer());
        if bytes > 1 << 16 {
            self.event(Event::HttpStarted { file: file.clone(), peer, wanted: bytes });
            self.pass(millis);
        }
        self.event(Event::HttpSent { file, peer, bytes, to_end: true, took: Duration::from_millis(millis) });
    }

    pub fn http_head(&mut self, file: &str) {
        self.port += 1;
        let (file, peer) = (file.to_owned(), self.peer());
        self.event(Event::HttpAnswered { file, peer, status: 200 });
    }

    pub fn http_refused(&mut self, name: &str) {
        let (name, peer) = (name.to_owned(), self.peer());
        self.event(Event::HttpRefused { name, peer, reason: HttpRefusal::NotFound });
    }

    pub fn http_stops(&mut self, file: &str, bytes: u64, wanted: u64) {
        let (file, peer) = (file.to_owned(), self.peer());
        self.event(Event::HttpStopped { file, peer, bytes, wanted, reason: HttpStop::ClientGone });
    }

    /// Firmware, iPXE and script, up to the kernel.
    pub fn boot_to_script(&mut self) {
        self.lease(UEFI, 4000);
        self.size_probe("snponly.efi");
        self.tftp("snponly.efi", 300_000, 500);
        self.pass(1500);
        self.lease(IPXE, 300);
        self.http("boot.ipxe", 500, 0);
    }

    pub fn boot_to_initrd(&mut self) {
        self.boot_to_script();
        self.http("debian/linux", 10 << 20, 900);
        self.http("debian/initrd.gz", 40 << 20, 3000);
    }

    /// The boots of the machine, newest first.
    pub fn boots(&self) -> Vec<&Boot> {
        self.journeys.machine(self.mac()).map(|m| m.boots.iter().collect()).unwrap_or_default()
    }

    /// The id of the verdict of boot `place`.
    pub fn verdict(&self, place: usize) -> Option<&'static str> {
        self.boots().get(place)?.verdict.as_ref().map(|verdict| verdict.id.name())
    }

    pub fn result(&self) -> BootResult {
        self.boots()[0].result
    }

    /// Lets `millis` pass, by which the newest boot must be stuck for this reason, and not before it is silent.
    pub fn assert_stuck(&mut self, millis: u64, id: &str) {
        assert_eq!(self.verdict(0), None, "too early");
        self.pass(millis);
        let boots = self.boots();
        let verdict = boots[0].verdict.as_ref();
        assert_eq!(
            verdict.map(|verdict| verdict.id.name()),
            Some(id),
            "{verdict:?} {:#?}",
            boots[0].evidence
        );
        assert_eq!(boots[0].result, BootResult::Stuck);
        assert!(boots[0].ended.is_some());
    }

    pub fn stuck_changes(&self) -> usize {
        self.changes.iter().filter(|changed| changed.change == Change::Stuck).count()
    }
}

/// The type of the peers of events.
type Peer = SocketAddr;

fn peer(address: Ipv4Addr, port: u16) -> Peer {
    SocketAddr::from((address, port))
}
