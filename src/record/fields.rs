//! Writes the line of a record with its fields. Text logs show the line alone; JSON logs show the fields too.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::Level;

use crate::event::{Event, Record};
use crate::record::level::level;
use crate::record::log_line::line;
use crate::types::{Arch, Escaped, MacAddr, Rule};

/// The fields of one record. The names in JSON logs are those of this struct.
#[derive(Default)]
struct Fields<'r> {
    mac: Option<MacAddr>,
    /// The name of the machine's entry.
    machine: Option<&'r str>,
    ip: Option<IpAddr>,
    interface: Option<&'r str>,
    arch: Option<Arch>,
    file: Option<&'r str>,
    rule: Option<&'r Rule>,
    reason: Option<&'static str>,
    bytes: Option<u64>,
    took: Option<Duration>,
}

/// The names of the fields of a record's line, in the order of [`write`].
pub const NAMES: [&str; 12] = [
    "event",
    "mac",
    "machine",
    "ip",
    "interface",
    "arch",
    "file",
    "rule",
    "reason",
    "bytes",
    "seconds",
    "boot",
];

/// Returns the first word of a line, which is the field `event`: `DHCPDISCOVER` of `DHCPDISCOVER(eth1) …`.
pub fn first_word(line: &str) -> &str {
    line.split([' ', '(']).next().unwrap_or_default().trim_end_matches([':', ',', ';'])
}

/// Returns the field `event` of a record with this line.
fn name<'l>(record: &Record, line: &'l str) -> &'l str {
    match record.event {
        Event::Server { fact, .. } => fact.name(),
        _ => first_word(line),
    }
}

/// Logs `line`, which is that of `record`.
pub(super) fn write(level: Level, record: &Record, line: &str) {
    macro_rules! log {
        ($level:expr, $fields:expr) => {{
            let Fields { mac, machine, ip, interface, arch, file, rule, reason, bytes, took } = $fields;
            tracing::event!(
                $level,
                event = name(record, line),
                mac = mac.map(display),
                machine = machine,
                ip = ip.map(display),
                interface = interface,
                arch = arch.map(display),
                file = file.map(|file| display(Escaped(file.as_bytes()))),
                rule = rule.map(display),
                reason = reason,
                bytes = bytes,
                seconds = took.map(|took| took.as_secs_f64()),
                "{line}"
            )
        }};
    }
    let fields = Fields::of(record);
    match level {
        Level::ERROR => log!(Level::ERROR, fields),
        Level::WARN => log!(Level::WARN, fields),
        Level::INFO => log!(Level::INFO, fields),
        _ => log!(Level::DEBUG, fields),
    }
}

/// The record as an object with the names of JSON logs, its time as `at`, and its line as `message`.
pub fn json(record: &Record) -> Value {
    let line = line(record);
    let Fields { mac, machine, ip, interface, arch, file, rule, reason, bytes, took } = Fields::of(record);
    let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(record.at.0));
    let mut object = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        object.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("at", Some(at.to_string().into()));
    add("level", Some(level(&record.event).as_str().into()));
    add("event", Some(name(record, &line).into()));
    add("mac", mac.map(|mac| mac.to_string().into()));
    add("machine", machine.map(Into::into));
    add("ip", ip.map(|ip| ip.to_string().into()));
    add("interface", interface.map(Into::into));
    add("arch", arch.map(|arch| arch.to_string().into()));
    add("file", file.map(|file| Escaped(file.as_bytes()).to_string().into()));
    add("rule", rule.map(|rule| rule.to_string().into()));
    add("reason", reason.map(Into::into));
    add("bytes", bytes.map(Into::into));
    // Milliseconds, as in the log.
    add("seconds", took.map(|took| ((took.as_secs_f64() * 1000.0).round() / 1000.0).into()));
    add("message", Some(line.into()));
    Value::Object(object)
}

impl<'r> Fields<'r> {
    fn of(record: &'r Record) -> Fields<'r> {
        let Record { interface, machine, event, .. } = record;
        let fields = Fields {
            mac: machine.as_ref().and_then(|machine| machine.mac),
            machine: machine.as_ref().and_then(|machine| machine.name.as_deref()),
            interface: interface.as_deref(),
            arch: event.client().and_then(|client| client.arch),
            ip: event.address(),
            ..Fields::default()
        };
        match event {
            Event::Answered { file, note, .. } => Fields {
                file: file.as_ref().map(|(file, _)| &**file),
                rule: file.as_ref().map(|(_, rule)| rule),
                reason: *note,
                ..fields
            },
            Event::BootLoop { file, within, .. } => {
                Fields { file: Some(file), took: Some(*within), ..fields }
            }
            Event::FileMissing { file, rule, .. } => Fields { file: Some(file), rule: Some(rule), ..fields },
            Event::Booted { arch, took, .. } => Fields { arch: *arch, took: Some(*took), ..fields },
            Event::Stuck { arch, verdict, .. } => Fields { arch: *arch, reason: Some(verdict), ..fields },
            Event::TextFailed { file, .. } => Fields { file: Some(file), ..fields },
            Event::ReplyTooLarge { bytes } => Fields { bytes: Some((*bytes).into()), ..fields },
            Event::Dropped { reason, .. } => Fields { reason: Some(reason.name()), ..fields },
            Event::TftpUnanswered { reason, .. } => Fields { reason: Some(reason.name()), ..fields },
            Event::SyslogDropped { reason, .. } => Fields { reason: Some(reason.name()), ..fields },
            Event::CaptureDropped { reason, .. } => Fields { reason: Some(reason.name()), ..fields },
            event => fields.of_transfer(event),
        }
    }

    /// Adds the fields of an event of TFTP or HTTP.
    fn of_transfer(self, event: &'r Event) -> Fields<'r> {
        let (file, reason, bytes, took) = match event {
            Event::TftpSent { file, bytes, took, .. }
            | Event::TftpReceived { file, bytes, took, .. }
            | Event::HttpSent { file, bytes, took, .. } => (file, None, Some(*bytes), Some(*took)),
            Event::TftpStopped { file, bytes, took, stop, .. } => {
                (file, Some(stop.name()), Some(*bytes), Some(*took))
            }
            Event::TftpUploadStopped { file, bytes, why, .. } => (file, Some(why.name()), Some(*bytes), None),
            Event::HttpStopped { file, bytes, reason, .. } => (file, Some(reason.name()), Some(*bytes), None),
            Event::TftpRefused { name, reason, .. } => (name, Some(reason.name()), None, None),
            Event::HttpRefused { name, reason, .. } => (name, Some(reason.name()), None, None),
            Event::TftpSizeProbe { file, .. } | Event::HttpAnswered { file, .. } => (file, None, None, None),
            _ => return self,
        };
        Fields { file: Some(file), reason, bytes, took, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_43_the_event_is_the_first_word() {
        for (line, word) in [
            ("DHCPDISCOVER(eth1) 52:54:00:12:34:56", "DHCPDISCOVER"),
            ("sent snponly.efi to 192.168.77.50", "sent"),
            ("rogue_server(eth1) x", "rogue_server"),
            ("statistics: received nothing", "statistics"),
            ("stuck", "stuck"),
            ("", ""),
        ] {
            assert_eq!(first_word(line), word);
        }
    }
}
