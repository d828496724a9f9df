//! Formats the log lines of file requests and of syslog. `log_line.rs` calls it. Untrusted text is escaped here.

use std::fmt::Write;
use std::time::Duration;

use crate::event::{Event, Record, TransferStop};
use crate::types::{Escaped, Hardware, Quoted};

/// Formats events of TFTP, HTTP and the syslog receiver. The line is empty for any other event.
pub(super) fn line(record: &Record) -> String {
    let peer = host(record);
    match &record.event {
        Event::TftpStarted { file, size: whole, blksize, .. } => {
            format!("started sending {} to {peer} size={whole} blksize={blksize}", escaped(file))
        }
        Event::TftpAcknowledged { file, block, .. } => {
            let part = if *block { "block 1" } else { "the options" };
            format!("acknowledged {} by {peer}: {part}", escaped(file))
        }
        Event::TftpSent { file, bytes, took, resent, .. } => {
            let mut line = format!("sent {} to {} {} {}", escaped(file), peer, size(*bytes), seconds(*took));
            let _ = write!(line, " {}/s", size(rate(*bytes, *took)));
            if *resent > 0 {
                let _ = write!(line, " resent={resent}");
            }
            line
        }
        Event::TftpSizeProbe { file, .. } => format!("size_probe {} by {}", escaped(file), peer),
        Event::TftpStopped { file, bytes, size: whole, took, resent, stop, rejected_blksize, .. } => {
            let mut line = format!("stopped sending {} to {}", escaped(file), peer);
            let _ = write!(line, " after {} of {} {}", size(*bytes), size(*whole), seconds(*took));
            let _ = write!(line, " resent={resent}: {}", why(stop));
            if let Some(block_size) = rejected_blksize {
                let _ = write!(
                    line,
                    "; it accepted the options but never acknowledged block 1, so blocks of {block_size} bytes may \
                     be too large for it: set `tftp.max_block_size` lower"
                );
            }
            line
        }
        Event::TftpUnanswered { peer, reason } => format!("dropped(tftp) {peer} reason={}", reason.name()),
        Event::TftpReceived { file, bytes, took, .. } => {
            format!("received {} from {} {} {}", escaped(file), peer, size(*bytes), seconds(*took))
        }
        Event::TftpUploadStopped { file, bytes, why, .. } => format!(
            "stopped receiving {} from {} after {}: {}; nothing is kept",
            escaped(file),
            peer,
            size(*bytes),
            why.name()
        ),
        Event::TftpRefused { name, reason, .. } => {
            format!("refused {} to {} reason={}", escaped(name), peer, reason.name())
        }
        event => http_line(&peer, event),
    }
}

fn http_line(peer: &str, event: &Event) -> String {
    match event {
        Event::HttpStarted { file, wanted, .. } => {
            format!("started sending {} to {peer} size={wanted} by HTTP", escaped(file))
        }
        Event::HttpSent { file, bytes, took, .. } => {
            format!("sent {} to {} {} {} by HTTP", escaped(file), peer, size(*bytes), seconds(*took))
        }
        Event::HttpAnswered { file, status, .. } => {
            format!("answered {} to {} status={status}", escaped(file), peer)
        }
        Event::HttpStopped { file, bytes, wanted, reason, .. } => format!(
            "stopped sending {} to {} by HTTP after {} of {} reason={}",
            escaped(file),
            peer,
            size(*bytes),
            size(*wanted),
            reason.name()
        ),
        Event::Facts { hardware, .. } => facts(peer, hardware),
        Event::HttpRefused { name, reason, .. } => {
            // A connection can be refused before it names a file.
            let name = if name.is_empty() { "a request" } else { name };
            format!("refused {} to {} by HTTP reason={}", escaped(name), peer, reason.name())
        }
        Event::Syslog { severity, program, text, .. } => {
            let colon = if program.is_empty() { "" } else { ": " };
            format!("syslog {peer} {severity} {}{colon}{}", escaped(program), escaped(text))
        }
        Event::SyslogDropped { peer, reason, count } => {
            let count = if *count > 1 { format!(" count={count}") } else { String::new() };
            format!("dropped(syslog) {peer} reason={}{count}", reason.name())
        }
        Event::CaptureDropped { reason, count } => {
            format!("dropped(capture) {count} packets reason={}", reason.name())
        }
        _ => String::new(),
    }
}

/// The facts that a machine reported: `facts 192.168.77.50 node1 memory=511 MiB manufacturer="QEMU"`.
fn facts(peer: &str, hardware: &Hardware) -> String {
    let mut line = format!("facts {peer}");
    if let Some(memory) = hardware.memory {
        let _ = write!(line, " memory={memory} MiB");
    }
    for (name, text) in hardware.texts() {
        let _ = write!(line, " {name}={}", Quoted(text.as_bytes()));
    }
    line
}

pub(super) fn why(stop: &TransferStop) -> String {
    let text = match stop {
        TransferStop::Silent => "the client went silent",
        TransferStop::Refused { code, message } => {
            return format!("the client sent error {code} {}", Quoted(message.as_bytes()));
        }
        TransferStop::Unreachable => "the client closed its port",
        TransferStop::Replaced => "the client sent another request",
        TransferStop::Evicted => "the client was silent, and others needed its place",
        TransferStop::Unreadable => "the file could not be read, or became shorter",
        TransferStop::ServerStops => "lanboot stops",
    };
    text.to_owned()
}

/// Bytes per second.
fn rate(bytes: u64, took: Duration) -> u64 {
    (bytes as f64 / took.as_secs_f64().max(0.000_001)) as u64
}

/// The address of the client of a file request, and the name of its machine if that has one.
fn host(record: &Record) -> String {
    let mut text = record.event.peer().map(|peer| peer.ip().to_string()).unwrap_or_default();
    if let Some(name) = record.machine.as_ref().and_then(|machine| machine.name.as_ref()) {
        let _ = write!(text, " {}", escaped(name));
    }
    text
}

fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

/// `1.0 MiB`
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
