//! The native protocol of the systemd journal (systemd.io/JOURNAL_NATIVE_PROTOCOL): each log line is one datagram with the
//! fields of its record. `log.rs` uses it for text logs that are read by the journal. Nothing here blocks a server thread: entries
//! go through the queue of `log.rs`.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use crate::record::fields::NAMES;
use crate::types::cut;

/// The journal's socket.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The environment variable with another path, for tests.
const SOCKET_VARIABLE: &str = "LANBOOT_JOURNAL_SOCKET";
/// Maximum bytes of a value, so that a datagram stays below the kernel's limit (`net.core.wmem_default`).
const MAX_VALUE: usize = 16 * 1024;

/// A connection to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Connects if standard output or standard error is read by the journal, and the journal can be reached. Call it
    /// before the process gives up its rights.
    pub(super) fn connect() -> Option<Journal> {
        let stream = env::var("JOURNAL_STREAM").ok()?;
        if !is_stream(io::stdout().as_fd(), &stream) && !is_stream(io::stderr().as_fd(), &stream) {
            return None;
        }
        let path = env::var_os(SOCKET_VARIABLE).map_or_else(|| PathBuf::from(SOCKET), PathBuf::from);
        Some(Journal { socket: connect(&path).ok()?, path })
    }

    /// Sends an entry. Connects again first if the journal was restarted.
    ///
    /// # Errors
    /// The journal cannot be reached. Write [`message_of`] the entry elsewhere.
    pub(super) fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        if self.socket.send(entry).is_err() {
            self.socket = connect(&self.path)?;
            self.socket.send(entry)?;
        }
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// Whether `JOURNAL_STREAM` names this stream, by device and inode (systemd.exec(5)). A variable that was inherited through
/// another program names another stream.
fn is_stream(stream: BorrowedFd<'_>, named: &str) -> bool {
    let metadata = stream.try_clone_to_owned().and_then(|owned| File::from(owned).metadata());
    metadata.is_ok_and(|metadata| format!("{}:{}", metadata.dev(), metadata.ino()) == named)
}

/// Formats each log line as an entry, and gives it to a writer of `W`.
pub(super) struct Entries<W>(pub(super) W);

impl<S: Subscriber, W: for<'w> MakeWriter<'w> + 'static> Layer<S> for Entries<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let entry = line.entry(*event.metadata().level());
        // The queue takes the entry or counts it as lost.
        let _ = self.0.make_writer_for(event.metadata()).write_all(&entry);
    }
}

/// The content of one log line.
#[derive(Default)]
struct Line {
    message: String,
    /// Fields that are not those of a record. The message of a record contains its fields already.
    rest: String,
    /// Names and values of the fields of a record.
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name if NAMES.contains(&name) => self.fields.push((name, value)),
            name => self.rest.push_str(&format!(" {name}={value}")),
        }
    }

    /// Encodes the entry. The message comes first.
    fn entry(&self, level: Level) -> Vec<u8> {
        let mut entry = Vec::with_capacity(512);
        append(&mut entry, "MESSAGE", &format!("{}{}", self.message, self.rest));
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        append(&mut entry, "PRIORITY", priority);
        append(&mut entry, "SYSLOG_IDENTIFIER", "lanboot");
        for (name, value) in &self.fields {
            append(&mut entry, &format!("LANBOOT_{}", name.to_ascii_uppercase()), value);
        }
        entry
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // Milliseconds are exact enough.
        self.add(field, format!("{value:.3}"));
    }
}

/// Appends a field: `NAME=value` on a line, or a value with line breaks after its length.
fn append(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = cut(value, MAX_VALUE);
    entry.extend(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

/// Whether a line of the log is an entry of [`Entries`]. Lines in JSON begin with a brace.
pub(super) fn is_entry(line: &[u8]) -> bool {
    line.starts_with(b"MESSAGE=") || line.starts_with(b"MESSAGE\n")
}

/// The message of an entry of [`Entries`].
pub(super) fn message_of(entry: &[u8]) -> &[u8] {
    if let Some(rest) = entry.strip_prefix(b"MESSAGE=") {
        return rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    }
    let counted = entry.strip_prefix(b"MESSAGE\n").and_then(<[u8]>::split_first_chunk::<8>);
    let message =
        counted.and_then(|(length, rest)| rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?));
    message.unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use crate::event::{Client, Message, Record};
    use crate::record::Recorder;
    use crate::types::{Arch, Firmware, MacAddr, MachineId, Rule, Timestamp};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Sink {
        fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(entry.to_vec());
            Ok(entry.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn entries(log: impl FnOnce()) -> Vec<Vec<u8>> {
        let sink = Sink::default();
        let out = sink.clone();
        with_default(tracing_subscriber::registry().with(Entries(move || out.clone())), log);
        sink.0.lock().unwrap().clone()
    }

    #[test]
    fn an_entry_has_the_fields_of_its_record() {
        let mac = Some(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        let machine = Some(MachineId { mac, name: Some("node1".into()), ..MachineId::default() });
        let event = crate::event::Event::Answered {
            message: Message::Offer,
            address: [192, 168, 77, 50].into(),
            client: Client { firmware: Firmware::UefiPxe, arch: Some(Arch::UEFI_X64) },
            file: Some(("snponly.efi".into(), Rule::Arch(Arch::UEFI_X64))),
            note: None,
        };
        let record = Record { at: Timestamp(0), interface: Some("eth1".into()), machine, event };
        let entries = entries(|| {
            Recorder::default().record(record);
            tracing::warn!(error = "no", "cannot accept");
        });
        let expected = "MESSAGE=DHCPOFFER(eth1) 192.168.77.50 52:54:00:12:34:56 node1 file=snponly.efi \
                        rule=boot.arch.uefi-x64\nPRIORITY=6\nSYSLOG_IDENTIFIER=lanboot\nLANBOOT_EVENT=DHCPOFFER\n\
                        LANBOOT_MAC=52:54:00:12:34:56\nLANBOOT_MACHINE=node1\nLANBOOT_IP=192.168.77.50\n\
                        LANBOOT_INTERFACE=eth1\nLANBOOT_ARCH=uefi-x64\nLANBOOT_FILE=snponly.efi\n\
                        LANBOOT_RULE=boot.arch.uefi-x64\n";
        assert_eq!(String::from_utf8_lossy(&entries[0]), expected);
        let other = "MESSAGE=cannot accept error=no\nPRIORITY=4\nSYSLOG_IDENTIFIER=lanboot\n";
        assert_eq!(String::from_utf8_lossy(&entries[1]), other);
        assert_eq!(message_of(&entries[1]), b"cannot accept error=no");
        assert!(entries.iter().all(|entry| is_entry(entry)) && !is_entry(b"{\"message\":\"MESSAGE=\"}\n"));
    }

    #[test]
    fn a_value_with_line_breaks_has_its_length() {
        let entries = entries(|| tracing::error!("config.yaml:1:2: no\n  1 | x"));
        let text = b"config.yaml:1:2: no\n  1 | x";
        let begin = [b"MESSAGE\n", &(text.len() as u64).to_le_bytes()[..], text, b"\nPRIORITY=3\n"].concat();
        assert!(entries[0].starts_with(&begin), "{:?}", String::from_utf8_lossy(&entries[0]));
        assert!(message_of(&entries[0]) == text && is_entry(&entries[0]));
    }

    #[test]
    fn a_long_value_is_cut() {
        let entries = entries(|| tracing::error!("{}", "é".repeat(MAX_VALUE)));
        assert_eq!(message_of(&entries[0]).len(), MAX_VALUE);
    }

    #[test]
    fn only_the_named_stream_is_the_journal() {
        let (reader, writer) = io::pipe().unwrap();
        let metadata =
            File::from(std::os::fd::OwnedFd::from(writer.try_clone().unwrap())).metadata().unwrap();
        assert!(is_stream(writer.as_fd(), &format!("{}:{}", metadata.dev(), metadata.ino())));
        assert!(!is_stream(writer.as_fd(), "1:2"));
        drop(reader);
    }
}
