//! Counts events since the start of the server. The [`Recorder`](super::Recorder) owns the counters.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{
    DropReason, Event, HttpRefusal, HttpStop, Message, Refusal, ServerFact, TransferStop, Unanswered,
    UploadStop,
};

/// One counter for each kind of message and each reason.
#[derive(Debug)]
pub struct Counts {
    received: [AtomicU64; Message::ALL.len()],
    sent: [AtomicU64; Message::ALL.len()],
    dropped: [AtomicU64; DropReason::ALL.len()],
    unanswered: [AtomicU64; Unanswered::ALL.len()],
    tftp_refused: [AtomicU64; Refusal::ALL.len()],
    http_refused: [AtomicU64; HttpRefusal::ALL.len()],
    tftp_stopped: [AtomicU64; TransferStop::NAMES.len()],
    upload_stopped: [AtomicU64; UploadStop::ALL.len()],
    http_stopped: [AtomicU64; HttpStop::ALL.len()],
    server: [AtomicU64; ServerFact::ALL.len()],
    tftp: Transfers,
    http: Transfers,
}

/// Counters of file requests of one protocol.
#[derive(Debug, Default)]
struct Transfers {
    sent: AtomicU64,
    stopped: AtomicU64,
    refused: AtomicU64,
    /// Completed uploads.
    received: AtomicU64,
    /// Sent bytes of files.
    bytes: AtomicU64,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            received: zeros(),
            sent: zeros(),
            dropped: zeros(),
            unanswered: zeros(),
            tftp_refused: zeros(),
            http_refused: zeros(),
            tftp_stopped: zeros(),
            upload_stopped: zeros(),
            http_stopped: zeros(),
            server: zeros(),
            tftp: Transfers::default(),
            http: Transfers::default(),
        }
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counts {
    pub fn count(&self, event: &Event) {
        match event {
            Event::Received { message, .. } => add(&self.received[*message as usize], 1),
            Event::Answered { message, .. } => add(&self.sent[*message as usize], 1),
            Event::Server { fact, .. } => add(&self.server[*fact as usize], 1),
            Event::Dropped { reason, .. } => add(&self.dropped[*reason as usize], 1),
            Event::TftpUnanswered { reason, .. } => add(&self.unanswered[*reason as usize], 1),
            Event::TftpSent { bytes, .. } => {
                add(&self.tftp.sent, 1);
                add(&self.tftp.bytes, *bytes);
            }
            Event::TftpStopped { bytes, stop, .. } => {
                add(&self.tftp.stopped, 1);
                let place = TransferStop::NAMES.iter().position(|name| *name == stop.name());
                place.iter().for_each(|place| add(&self.tftp_stopped[*place], 1));
                add(&self.tftp.bytes, *bytes);
            }
            Event::TftpReceived { .. } => add(&self.tftp.received, 1),
            Event::TftpUploadStopped { why, .. } => {
                add(&self.tftp.stopped, 1);
                add(&self.upload_stopped[*why as usize], 1);
            }
            Event::TftpRefused { reason, .. } => {
                add(&self.tftp.refused, 1);
                add(&self.tftp_refused[*reason as usize], 1);
            }
            Event::HttpSent { bytes, .. } => {
                add(&self.http.sent, 1);
                add(&self.http.bytes, *bytes);
            }
            Event::HttpStopped { bytes, reason, .. } => {
                add(&self.http.stopped, 1);
                add(&self.http_stopped[*reason as usize], 1);
                add(&self.http.bytes, *bytes);
            }
            Event::HttpRefused { reason, .. } => {
                add(&self.http.refused, 1);
                add(&self.http_refused[*reason as usize], 1);
            }
            Event::Released { .. }
            | Event::Declined { .. }
            | Event::Conflict { .. }
            | Event::ProxyArp { .. }
            | Event::DuplicateClientId { .. }
            | Event::AmbiguousAddress { .. }
            | Event::BootLoop { .. }
            | Event::PoolExhausted { .. }
            | Event::NotKept { .. }
            | Event::RogueServer { .. }
            | Event::TftpSizeProbe { .. }
            | Event::HttpAnswered { .. } => {}
        }
    }

    /// The number of dropped messages, and of requests refused because of the client, by the name of the reason. Only
    /// reasons that occurred are included.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let mut drops = occurred(DropReason::ALL, DropReason::name, &self.dropped);
        drops.extend(occurred(Unanswered::ALL, Unanswered::name, &self.unanswered));
        let by_client = [
            HttpRefusal::Browser,
            HttpRefusal::ForeignHost,
            HttpRefusal::NotAllowed,
            HttpRefusal::OtherMachine,
        ];
        let http = by_client.map(|reason| (http_counter(reason), &self.http_refused[reason as usize]));
        let tftp = ("tftp_other_machine", &self.tftp_refused[Refusal::OtherMachine as usize]);
        let refused = http.into_iter().chain([tftp]);
        let refused = refused.map(|(name, counter)| (name, counter.load(Ordering::Relaxed)));
        drops.extend(refused.filter(|(_, count)| *count > 0));
        drops
    }

    /// The counter of every reason, by the kind of event that has it and by the name of the reason. Only reasons that
    /// occurred are included.
    pub fn reasons(&self) -> Vec<(&'static str, &'static str, u64)> {
        let stops = TransferStop::NAMES;
        let kinds = [
            ("dropped", occurred(DropReason::ALL, DropReason::name, &self.dropped)),
            ("tftp_unanswered", occurred(Unanswered::ALL, Unanswered::name, &self.unanswered)),
            ("tftp_refused", occurred(Refusal::ALL, Refusal::name, &self.tftp_refused)),
            ("tftp_stopped", occurred(&stops, |name| name, &self.tftp_stopped)),
            ("upload_stopped", occurred(UploadStop::ALL, UploadStop::name, &self.upload_stopped)),
            ("http_refused", occurred(HttpRefusal::ALL, HttpRefusal::name, &self.http_refused)),
            ("http_stopped", occurred(HttpStop::ALL, HttpStop::name, &self.http_stopped)),
            ("server", occurred(ServerFact::ALL, ServerFact::name, &self.server)),
        ];
        let named = |(kind, counts): (&'static str, Vec<(&'static str, u64)>)| {
            counts.into_iter().map(move |(name, count)| (kind, name, count))
        };
        kinds.into_iter().flat_map(named).collect()
    }

    /// Formats all counters as log lines.
    pub fn lines(&self) -> Vec<String> {
        let messages = |counters| listed(&occurred(Message::ALL, Message::name, counters));
        vec![
            format!("received {}", messages(&self.received)),
            format!("sent {}", messages(&self.sent)),
            format!("dropped {}", listed(&self.drops())),
            self.tftp.line("TFTP", true, &self.details(["tftp_refused", "tftp_stopped", "upload_stopped"])),
            self.http.line("HTTP", false, &self.details(["http_refused", "http_stopped", ""])),
        ]
    }

    /// The reasons of these kinds of events with their counters, in brackets; empty if none occurred.
    fn details(&self, kinds: [&str; 3]) -> String {
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for (_, name, count) in self.reasons().into_iter().filter(|(kind, _, _)| kinds.contains(kind)) {
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => counts.push((name, count)),
            }
        }
        if counts.is_empty() { String::new() } else { format!(" ({})", listed(&counts)) }
    }
}

impl Transfers {
    fn line(&self, name: &str, uploads: bool, reasons: &str) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (sent, bytes) = (get(&self.sent), get(&self.bytes));
        let (stopped, refused) = (get(&self.stopped), get(&self.refused));
        let uploads = if uploads { format!(", {} received", get(&self.received)) } else { String::new() };
        format!(
            "{name} {sent} sent{uploads}, {stopped} stopped, {refused} refused{reasons}, {bytes} bytes sent"
        )
    }
}

/// The name of the counter of a refused HTTP request. It differs from the names of the DHCP and TFTP counters.
fn http_counter(reason: HttpRefusal) -> &'static str {
    match reason {
        HttpRefusal::Browser => "http_browser",
        HttpRefusal::ForeignHost => "http_foreign_host",
        HttpRefusal::NotAllowed => "http_not_allowed",
        HttpRefusal::OtherMachine => "http_other_machine",
        other => other.name(),
    }
}

/// The names and values of the counters that are not zero.
fn occurred<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    counters: &[AtomicU64],
) -> Vec<(&'static str, u64)> {
    let counts = all.iter().zip(counters).map(|(one, counter)| (name(*one), counter.load(Ordering::Relaxed)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn listed(counts: &[(&'static str, u64)]) -> String {
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
