//! Counts events since the start of the server. The [`Recorder`](super::Recorder) owns the counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::event::{
    CaptureDrop, DropReason, Event, HttpRefusal, HttpStop, Message, Refusal, ServerFact, SyslogDrop,
    TransferStop, Unanswered, UploadStop,
};
use crate::types::Arch;

/// One counter for each kind of message and each reason.
#[derive(Debug)]
pub struct Counts {
    pub(super) received: [AtomicU64; Message::ALL.len()],
    pub(super) sent: [AtomicU64; Message::ALL.len()],
    pub(super) dropped: [AtomicU64; DropReason::ALL.len()],
    pub(super) unanswered: [AtomicU64; Unanswered::ALL.len()],
    pub(super) tftp_refused: [AtomicU64; Refusal::ALL.len()],
    pub(super) http_refused: [AtomicU64; HttpRefusal::ALL.len()],
    pub(super) tftp_stopped: [AtomicU64; TransferStop::NAMES.len()],
    pub(super) upload_stopped: [AtomicU64; UploadStop::ALL.len()],
    pub(super) http_stopped: [AtomicU64; HttpStop::ALL.len()],
    pub(super) server: [AtomicU64; ServerFact::ALL.len()],
    pub(super) tftp: Transfers,
    pub(super) http: Transfers,
    /// TFTP requests that only asked for the size of a file.
    pub(super) size_probes: AtomicU64,
    /// HTTP requests that were answered without content.
    pub(super) http_answered: AtomicU64,
    /// Bytes sent by HTTP, by the kinds of [`BYTE_KINDS`].
    pub(super) http_bytes: [AtomicU64; BYTE_KINDS.len()],
    /// Lines that machines sent to the syslog receiver.
    pub(super) syslog: AtomicU64,
    pub(super) syslog_dropped: [AtomicU64; SyslogDrop::ALL.len()],
    pub(super) capture_dropped: [AtomicU64; CaptureDrop::ALL.len()],
    /// Boots by result and client architecture.
    pub(super) boots: Mutex<BTreeMap<(&'static str, Option<Arch>), u64>>,
}

/// Maximum number of pairs of result and architecture that are counted. A client can invent architectures.
const MAX_BOOT_COUNTERS: usize = 64;

/// Counters of file requests of one protocol.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) sent: AtomicU64,
    pub(super) stopped: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Completed uploads.
    pub(super) received: AtomicU64,
    /// Sent bytes of files.
    pub(super) bytes: AtomicU64,
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
            size_probes: AtomicU64::new(0),
            http_answered: AtomicU64::new(0),
            http_bytes: zeros(),
            syslog: AtomicU64::new(0),
            syslog_dropped: zeros(),
            capture_dropped: zeros(),
            boots: Mutex::default(),
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
            Event::HttpSent { file, bytes, .. } => {
                add(&self.http.sent, 1);
                add(&self.http.bytes, *bytes);
                add(&self.http_bytes[byte_kind(file)], *bytes);
            }
            Event::TftpSizeProbe { .. } => add(&self.size_probes, 1),
            Event::HttpAnswered { .. } | Event::Facts { .. } => add(&self.http_answered, 1),
            Event::Booted { arch, .. } => self.count_boot("booted", *arch),
            Event::Stuck { arch, .. } => self.count_boot("stuck", *arch),
            Event::Syslog { .. } => add(&self.syslog, 1),
            Event::SyslogDropped { reason, count, .. } => add(&self.syslog_dropped[*reason as usize], *count),
            Event::CaptureDropped { reason, count } => add(&self.capture_dropped[*reason as usize], *count),
            Event::HttpStopped { file, bytes, reason, .. } => self.count_http_stopped(file, *bytes, *reason),
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
            | Event::NoFileForArchitecture { .. }
            | Event::FileMissing { .. }
            | Event::TextFailed { .. }
            | Event::OnceEnded { .. }
            | Event::PoolExhausted { .. }
            | Event::NotKept { .. }
            | Event::RogueServer { .. }
            | Event::Heard { .. }
            | Event::GoesOn { .. }
            | Event::QuestionBlocked { .. }
            | Event::ReplyTooLarge { .. }
            | Event::AsksByIpv6
            | Event::TftpStarted { .. }
            | Event::TftpAcknowledged { .. }
            | Event::HttpStarted { .. } => {}
        }
    }

    fn count_http_stopped(&self, file: &str, bytes: u64, reason: HttpStop) {
        add(&self.http_bytes[byte_kind(file)], bytes);
        add(&self.http.stopped, 1);
        add(&self.http_stopped[reason as usize], 1);
        add(&self.http.bytes, bytes);
    }

    fn count_boot(&self, result: &'static str, arch: Option<Arch>) {
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = boots.len() < MAX_BOOT_COUNTERS || boots.contains_key(&(result, arch));
        let count = boots.entry((result, arch.filter(|_| has_room))).or_default();
        *count = count.saturating_add(1);
    }

    /// The number of dropped messages, and of requests refused because of the client, by the name of the reason. Only
    /// reasons that occurred are included.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let mut drops = occurred(DropReason::ALL, DropReason::name, &self.dropped);
        drops.extend(occurred(Unanswered::ALL, Unanswered::name, &self.unanswered));
        drops.extend(occurred(SyslogDrop::ALL, SyslogDrop::name, &self.syslog_dropped));
        let by_client = [
            HttpRefusal::Browser,
            HttpRefusal::ForeignHost,
            HttpRefusal::NotAllowed,
            HttpRefusal::OtherMachine,
            HttpRefusal::BadFacts,
            HttpRefusal::FactsOfOther,
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
            ("syslog_dropped", occurred(SyslogDrop::ALL, SyslogDrop::name, &self.syslog_dropped)),
            ("capture_dropped", occurred(CaptureDrop::ALL, CaptureDrop::name, &self.capture_dropped)),
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
        let capture = occurred(CaptureDrop::ALL, CaptureDrop::name, &self.capture_dropped);
        vec![
            format!("received {}", messages(&self.received)),
            format!("sent {}", messages(&self.sent)),
            format!("dropped {}", listed(&self.drops())),
            self.tftp.line("TFTP", true, &self.details(["tftp_refused", "tftp_stopped", "upload_stopped"])),
            self.http.line("HTTP", false, &self.details(["http_refused", "http_stopped", ""])),
            format!("capture dropped {}", listed(&capture)),
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

/// The kinds of files by which the bytes sent by HTTP are counted.
pub const BYTE_KINDS: [&str; 6] = ["loader", "script", "kernel", "initrd", "image", "other"];

/// The place in [`BYTE_KINDS`] of the file `name`, as far as its name shows. The content is not read.
fn byte_kind(name: &str) -> usize {
    let last = name.rsplit('/').next().unwrap_or(name);
    let begins = |words: &[&str]| words.iter().any(|word| last.starts_with(word));
    let ends = |words: &[&str]| words.iter().any(|word| last.ends_with(word));
    let kind = if begins(&["initrd", "initramfs"]) {
        "initrd"
    } else if begins(&["vmlinuz", "linux", "bzImage", "kernel"]) {
        "kernel"
    } else if ends(&[".ipxe", ".cfg", ".ks", ".yaml", ".yml", ".xml"]) || begins(&["grub.cfg"]) {
        "script"
    } else if ends(&[".efi", ".kpxe", ".pxe", ".kkpxe", ".lkrn", ".0"]) {
        "loader"
    } else if ends(&[".iso", ".img", ".squashfs", ".wim", ".raw", ".qcow2"]) {
        "image"
    } else {
        "other"
    };
    BYTE_KINDS.iter().position(|known| *known == kind).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_shows_the_kind_of_a_file() {
        for (name, kind) in [
            ("debian/vmlinuz-6.1", "kernel"),
            ("debian/initrd.gz", "initrd"),
            ("boot.ipxe", "script"),
            ("ipxe/snponly.efi", "loader"),
            ("pxelinux.0", "loader"),
            ("debian.iso", "image"),
            ("efi/readme", "other"),
        ] {
            assert_eq!(BYTE_KINDS[byte_kind(name)], kind, "{name}");
        }
    }
}
