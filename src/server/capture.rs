//! Captures the packets of boots on every served interface, for `lanboot capture`. `capture/` decides what is kept; this file
//! reads the wires. It takes no packet away from any service. If it is too slow, the kernel drops frames from the queue of this
//! socket alone, and counts them.
//!
//! Because it sees frames before the firewall of this computer, it also records questions to the boot service that never
//! reached port 4011, and replies that were too large for the path.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::socket::LinkAddr;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::api::shared_capture::SharedCapture;
use crate::api::shared_journeys::SharedJourneys;
use crate::boot::identity::Identity;
use crate::capture::ipv6::{self, WaitingIpv6};
use crate::capture::ring::Captured;
use crate::capture::select::{Ports, Selected, Sign, Subject, select};
use crate::capture::unanswered::{Question, Replies, Waiting};
use crate::config::Config;
use crate::content::machines::MachineTable;
use crate::dhcp::request::{client_of, details_of};
use crate::event::{CaptureDrop, Event, Record};
use crate::journey::machine::Machine;
use crate::net::capture_filter::filter;
use crate::net::frame_tap::{Batch, Frame, FrameTap};
use crate::net::readable::{pause, readable};
use crate::net::snapshot::{Now, Snapshot};
use crate::record::Recorder;
use crate::server::dhcp::boot_questions::BootQuestions;
use crate::types::{InterfaceName, MacAddr, MachineId, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::packet::{fill_in_checksum, of_frame};

/// Pause between two batches. Times come from the kernel, so reading later costs no accuracy, and many frames are read at
/// once.
const PAUSE: Duration = Duration::from_millis(10);
/// Maximum number of frames that are read from one interface per second. A frame costs 3 µs, so a flood takes a fiftieth of a
/// processor from DHCP: the kernel drops the rest, which costs little.
const MAX_PER_SECOND: u32 = 4096;
/// Quiet time after which as many frames as in this time are read at once.
const BURST: Duration = Duration::from_secs(1);
/// Time in which a question that was on the wire reaches its socket.
const QUESTION_TIME: Duration = Duration::from_millis(500);
/// Time in which the journeys take in the records from before a question by IPv6.
const JOURNEY_TIME: Duration = Duration::from_secs(1);
/// Interval at which dropped packets are recorded, and questions are compared.
const TICK: Duration = Duration::from_secs(1);
/// Time for which the machine at an address is remembered, and the time if none is known there.
const KNOWN_TIME: Duration = Duration::from_secs(1);
const UNKNOWN_TIME: Duration = Duration::from_millis(100);
/// Maximum number of addresses whose machine is remembered.
const MAX_ADDRESSES: usize = 4096;

/// The parts of the server that a capture needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) now: Now,
    pub(super) shared: SharedCapture,
    pub(super) machines: MachineTable,
    pub(super) questions: BootQuestions,
    pub(super) journeys: SharedJourneys,
    pub(super) recorder: Recorder,
}

/// An interface that is captured.
#[derive(Debug)]
struct Captures {
    /// The interface may get another number, and the filter depends on the ports.
    link: LinkAddr,
    ports: Ports,
    task: AbortHandle,
}

/// Captures on the interfaces that are served, forever.
pub(super) async fn follow(parts: Parts) -> Infallible {
    let mut now = parts.now.clone();
    let mut tasks = JoinSet::new();
    let mut open: HashMap<u32, Captures> = HashMap::new();
    loop {
        let snapshot = Arc::clone(&now.borrow_and_update());
        let ports = ports(&snapshot.config);
        for (_, old) in open.extract_if(|index, old| {
            old.task.is_finished()
                || old.ports != ports
                || snapshot.interfaces.get(*index).and_then(|interface| interface.link) != Some(old.link)
        }) {
            old.task.abort();
        }
        while tasks.try_join_next().is_some() {}
        let mut states = BTreeMap::new();
        for interface in snapshot.interfaces.interfaces() {
            let (name, index) = (interface.name, interface.index);
            let state = match interface.link {
                None => Err(format!("{name} has no wire; capture it with `tcpdump -i {name} -w FILE.pcap`")),
                Some(_) if open.contains_key(&index) => Ok(()),
                Some(link) => match Reader::open(&parts, (index, name), &link, ports) {
                    Ok(reader) => {
                        let task = tasks.spawn(reader.read());
                        open.insert(index, Captures { link, ports, task });
                        Ok(())
                    }
                    Err(error) => Err(format!(
                        "cannot open a packet socket on {name} ({error}): run lanboot as root or grant CAP_NET_RAW \
                         (systemd/lanboot.service does), then boot the machine again"
                    )),
                },
            };
            states.insert(name, state);
        }
        parts.shared.lock().interfaces = states;
        while timeout(TICK, now.changed()).await.is_err() {
            record_dropped(&parts);
        }
        if now.has_changed().is_err() {
            return std::future::pending().await;
        }
    }
}

fn ports(config: &Config) -> Ports {
    let dhcp = config.dhcp.as_ref().map(|settings| settings.ports);
    Ports {
        dhcp_server: dhcp.map_or(0, |ports| ports.server),
        dhcp_client: dhcp.map_or(0, |ports| ports.client),
        boot_service: dhcp.map_or(0, |ports| ports.proxy),
        tftp: config.tftp.as_ref().map_or(0, |tftp| tftp.port),
        http: config.http.as_ref().map_or(0, |http| http.port),
    }
}

/// Records how many packets were dropped since the last call.
fn record_dropped(parts: &Parts) {
    let dropped = parts.shared.lock().ring.take_dropped();
    for (reason, count) in dropped {
        let event = Event::CaptureDropped { reason, count };
        let at = parts.recorder.now();
        parts.recorder.record(Record { at, interface: None, machine: None, event });
    }
}

/// Reads the frames of one interface.
#[derive(Debug)]
struct Reader {
    parts: Parts,
    interface: InterfaceName,
    index: u32,
    tap: Option<FrameTap>,
    ports: Ports,
    waiting: Waiting,
    waiting_ipv6: WaitingIpv6,
    replies: Replies,
    addresses: HashMap<Ipv4Addr, (Option<MacAddr>, Instant)>,
    /// The number of frames that the kernel has dropped, as it was reported last.
    lost: u32,
}

/// Holds the reader of one interface to [`MAX_PER_SECOND`].
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// The time for which the frames that were read are the allowance.
    used: Option<Instant>,
}

impl Pace {
    /// The pause that is due after `frames` more frames were read at `now`.
    fn after(&mut self, frames: usize, now: Instant) -> Duration {
        let time = Duration::from_secs(1) / MAX_PER_SECOND * u32::try_from(frames).unwrap_or(u32::MAX);
        let quiet = now.checked_sub(BURST).unwrap_or(now);
        let used = self.used.map_or(quiet, |used| used.max(quiet)) + time;
        self.used = Some(used);
        used.saturating_duration_since(now)
    }
}

/// The clocks, read at the same moment.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    /// The clock of the records.
    records: Timestamp,
    /// The time of day, since 1970.
    day: Duration,
}

impl Clocks {
    fn read(recorder: &Recorder) -> Clocks {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clocks { records: recorder.now(), day }
    }

    /// The time by the clock of the records when it was `day`.
    fn at(self, day: Duration) -> Timestamp {
        self.records.before(self.day.saturating_sub(day))
    }
}

impl Reader {
    fn open(
        parts: &Parts,
        (index, name): (u32, InterfaceName),
        link: &LinkAddr,
        ports: Ports,
    ) -> io::Result<Reader> {
        let tap = FrameTap::open(link, &filter(&ports))?;
        Ok(Reader {
            parts: parts.clone(),
            interface: name,
            index,
            tap: Some(tap),
            ports,
            waiting: Waiting::default(),
            waiting_ipv6: WaitingIpv6::default(),
            replies: Replies::default(),
            addresses: HashMap::new(),
            lost: 0,
        })
    }

    /// Reads forever. Ends only if the runtime refuses the socket.
    async fn read(mut self) {
        let Some(Ok(readable)) = self.tap.take().map(readable) else { return };
        let mut batch = Batch::default();
        let mut pace = Pace::default();
        loop {
            // Questions are compared even if no further frame comes.
            let Ok(ready) = timeout(TICK, readable.readable()).await else {
                self.report_missed();
                self.report_ipv6();
                continue;
            };
            let Ok(mut ready) = ready else { return };
            let emptied = ready.try_io(|tap| {
                loop {
                    tap.get_ref().receive(&mut batch)?;
                    self.take(batch.frames(), batch.lost());
                    let pause = pace.after(batch.frames().count(), Instant::now());
                    if !batch.is_full() || !pause.is_zero() {
                        return Ok(pause);
                    }
                }
            });
            match emptied {
                // The interface is down, or goes away.
                Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => pause().await,
                Ok(Ok(pause)) => sleep(PAUSE.max(pause)).await,
                _ => sleep(PAUSE).await,
            }
            self.report_missed();
            self.report_ipv6();
        }
    }

    /// Keeps the frames of a batch. The kernel has dropped `lost` frames since the socket was opened.
    fn take<'b>(&mut self, frames: impl Iterator<Item = Frame<'b>>, lost: u32) {
        let snapshot = Arc::clone(&self.parts.now.borrow());
        let clocks = Clocks::read(&self.parts.recorder);
        let (mut unknown, mut unjudged) = (0, 0);
        let mut kept = Vec::new();
        for frame in frames {
            if let Some(mac) = ipv6::asks(frame.bytes) {
                unjudged += u64::from(!self.waiting_ipv6.push(mac, clocks.at(frame.since_1970)));
                continue;
            }
            let Some(selected) = select(frame.bytes, &self.ports, &snapshot.interfaces.own) else { continue };
            let at = clocks.at(frame.since_1970);
            let Some(mac) = self.machine(&selected) else {
                unknown += 1;
                continue;
            };
            unjudged += u64::from(!self.heed(&snapshot, (selected.sign, mac), at, frame.bytes));
            kept.push((mac, selected.is_dhcp, captured(frame, selected.keep, at)));
        }
        let newly_lost = lost.wrapping_sub(self.lost);
        self.lost = lost;
        let ring = &mut self.parts.shared.lock().ring;
        ring.drop_packets(CaptureDrop::TooSlow, newly_lost.into());
        ring.drop_packets(CaptureDrop::NoMachine, unknown);
        ring.drop_packets(CaptureDrop::TooManyQuestions, unjudged);
        for (mac, is_dhcp, packet) in kept {
            ring.push(mac, is_dhcp, packet);
        }
    }

    /// The machine that the packet belongs to.
    fn machine(&mut self, selected: &Selected) -> Option<MacAddr> {
        let address = match selected.subject {
            Subject::Mac(mac) => return Some(mac),
            Subject::Address(address) => address,
        };
        let of_reply = match selected.sign {
            Some(Sign::TooLarge { bytes }) => self.replies.machine(address, bytes),
            _ => None,
        };
        of_reply.or_else(|| self.machine_at(address))
    }

    /// The machine at `address`. Looking it up asks the kernel, so the answer is remembered for a moment.
    fn machine_at(&mut self, address: Ipv4Addr) -> Option<MacAddr> {
        let now = Instant::now();
        if let Some((mac, until)) = self.addresses.get(&address)
            && now < *until
        {
            return *mac;
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.clear();
        }
        let mac = self.parts.machines.lately_at(IpAddr::V4(address)).and_then(|found| found.machine.mac);
        let time = if mac.is_some() { KNOWN_TIME } else { UNKNOWN_TIME };
        self.addresses.insert(address, (mac, now + time));
        mac
    }

    /// Acts on the sign that a packet of the machine `mac` is. Returns false if there was no room for a question.
    fn heed(
        &mut self,
        snapshot: &Snapshot,
        (sign, mac): (Option<Sign>, MacAddr),
        at: Timestamp,
        frame: &[u8],
    ) -> bool {
        match sign {
            Some(Sign::Question { xid }) => {
                let question = Question { at, mac, xid, interface: self.index, frame: frame.into() };
                return self.waiting.push(question);
            }
            Some(Sign::Reply { to, bytes }) => self.replies.push(to, bytes, mac),
            Some(Sign::TooLarge { bytes }) => self.record(snapshot, mac, at, Event::ReplyTooLarge { bytes }),
            None => {}
        }
        true
    }

    /// Records the questions that were on the wire and did not reach their socket in time.
    fn report_missed(&mut self) {
        let until = self.parts.recorder.now().before(QUESTION_TIME);
        let questions = self.parts.questions.clone();
        let missed = self.waiting.missed(until, |mac, xid| questions.has(mac, xid));
        if missed.is_empty() {
            return;
        }
        let snapshot = Arc::clone(&self.parts.now.borrow());
        for question in missed {
            if let Some(event) = blocked(&question, self.ports.boot_service) {
                self.record(&snapshot, question.mac, question.at, event);
            }
        }
    }

    /// Records the questions by IPv6 of machines whose loader should start.
    fn report_ipv6(&mut self) {
        let asked = self.waiting_ipv6.from_before(self.parts.recorder.now().before(JOURNEY_TIME));
        if asked.is_empty() {
            return;
        }
        let snapshot = Arc::clone(&self.parts.now.borrow());
        for (at, mac) in asked {
            let is_awaited = self.parts.journeys.lock().machine(mac).is_some_and(Machine::awaits_ipv6);
            if is_awaited {
                self.record(&snapshot, mac, at, Event::AsksByIpv6);
            }
        }
    }

    fn record(&self, snapshot: &Snapshot, mac: MacAddr, at: Timestamp, event: Event) {
        let entry = snapshot.config.targets.machine(Some(mac), None);
        let name = entry.map(|entry| Arc::from(entry.name.as_str()));
        let machine = Some(MachineId { mac: Some(mac), uuid: None, client: None, name });
        let interface = Some(self.interface);
        self.parts.recorder.record(Record { at, interface, machine, event });
    }
}

/// The event of a question to the port `port` that did not reach its socket.
fn blocked(question: &Question, port: u16) -> Option<Event> {
    let message = Message::decode(of_frame(&question.frame)?.udp()?.payload).ok()?;
    let (client, details) = (client_of(&Identity::of(&message)), details_of(&message, true));
    Some(Event::QuestionBlocked { client, details, port })
}

fn captured(frame: Frame<'_>, keep: usize, at: Timestamp) -> Captured {
    let mut bytes: Box<[u8]> = frame.bytes.get(..keep).unwrap_or(frame.bytes).into();
    fill_in_checksum(&mut bytes);
    Captured {
        at,
        micros: u64::try_from(frame.since_1970.as_micros()).unwrap_or(u64::MAX),
        len: u32::try_from(frame.len).unwrap_or(u32::MAX),
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::unanswered::MAX_WAITING;
    use crate::net::frame_tap::BATCH;
    use crate::net::served::Served;
    use crate::wire::dhcp::MessageType;
    use crate::wire::frame::udp_frame;
    use std::net::SocketAddrV4;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn reader() -> Reader {
        let config =
            crate::config::load("{dhcp: {mode: server, subnets: [{network: 192.168.77.0/24}]}}").unwrap();
        let ports = ports(&config);
        let mut served = Served::new(Vec::new(), []);
        served.own = vec![SERVER];
        let (now, recorder) = (Snapshot::new(config, served).fixed(), Recorder::default());
        let machines = MachineTable::new(now.clone(), recorder.clone());
        let (shared, questions) = (SharedCapture::default(), BootQuestions::default());
        let journeys = SharedJourneys::default();
        let parts = Parts { now, shared, machines, questions, journeys, recorder };
        Reader {
            parts,
            interface: "eth1".into(),
            index: 2,
            tap: None,
            ports,
            waiting: Waiting::default(),
            waiting_ipv6: WaitingIpv6::default(),
            replies: Replies::default(),
            addresses: HashMap::new(),
            lost: 0,
        }
    }

    fn take(reader: &mut Reader, frame: &[u8], times: usize, lost: u32) {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let since_1970 = day.saturating_sub(Duration::from_secs(2));
        let frame = Frame { bytes: frame, len: frame.len(), since_1970 };
        reader.take(std::iter::repeat_n(frame, times), lost);
    }

    fn question() -> Vec<u8> {
        let mut message = Message::new(1);
        (message.xid, message.ciaddr) = (7, CLIENT);
        message.chaddr[..6].copy_from_slice(&MAC.0);
        message.options.push(53, &[MessageType::Request.number()]);
        message.options.push(60, b"PXEClient:Arch:00007:UNDI:003000");
        message.options.push(93, &[0, 7]);
        let (from, to) = (SocketAddrV4::new(CLIENT, 68), SocketAddrV4::new(SERVER, 4011));
        udp_frame(MAC, MacAddr([2; 6]), from, to, &message.encode()).unwrap()
    }

    #[test]
    fn a_burst_is_read_at_once_and_a_flood_at_a_fixed_rate() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.after(MAX_PER_SECOND as usize, start), Duration::ZERO);
        let mut now = start;
        let mut read = 0;
        while now < start + Duration::from_secs(2) {
            now += pace.after(BATCH, now);
            read += BATCH;
        }
        assert!((2 * MAX_PER_SECOND as usize).abs_diff(read) <= 2 * BATCH, "{read}");
        assert_eq!(pace.after(MAX_PER_SECOND as usize, now + 2 * BURST), Duration::ZERO);
    }

    #[test]
    fn packets_that_are_not_kept_are_counted() {
        let mut reader = reader();
        let (from, to) = (SocketAddrV4::new(CLIENT, 2070), SocketAddrV4::new(SERVER, 69));
        let request = udp_frame(MAC, MacAddr([2; 6]), from, to, b"\0\x01x\0octet\0").unwrap();
        take(&mut reader, &request, 3, 5);
        take(&mut reader, &request, 0, 6);
        take(&mut reader, &question(), MAX_WAITING + 2, 6);
        record_dropped(&reader.parts);
        record_dropped(&reader.parts);
        let mut counted = reader.parts.recorder.reasons();
        counted
            .retain(|(kind, name, _)| *kind == "capture_dropped" && *name != CaptureDrop::MachineFull.name());
        let expected =
            [(CaptureDrop::NoMachine, 3), (CaptureDrop::TooSlow, 6), (CaptureDrop::TooManyQuestions, 2)];
        let expected = expected.map(|(reason, count)| ("capture_dropped", reason.name(), count));
        assert_eq!(counted, expected);
    }

    #[test]
    fn a_question_that_its_socket_missed_is_recorded() {
        let mut reader = reader();
        let records = reader.parts.recorder.subscribe(10);
        take(&mut reader, &question(), 1, 0);
        reader.report_missed();
        assert!(records.take().is_empty(), "the port is not open");
        let _open = reader.parts.questions.open();
        take(&mut reader, &question(), 1, 0);
        reader.report_missed();
        let batch = records.take();
        let events: Vec<&Record> = batch.records().collect();
        let [Record { event: Event::QuestionBlocked { client, details, port: 4011 }, machine, .. }] =
            events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(machine.as_ref().and_then(|machine| machine.mac), Some(MAC));
        assert_eq!((client.arch.map(|arch| arch.to_string()).as_deref(), details.xid), (Some("uefi-x64"), 7));
        let kept = reader.parts.shared.lock().ring.packets(MAC, Timestamp(0), Timestamp(u64::MAX));
        assert_eq!(kept.len(), 2);
    }
}
