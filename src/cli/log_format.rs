//! The formats of log lines. Text shows the message; JSON shows one object per line with the fields of the record.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::record::fields::{NAMES, first_word};

/// One JSON object per line: `timestamp`, `level`, `event`, `message`, and the other fields of the record that have a
/// value. `event` is the first word of the message, for lines without a record too.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), time.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        let mut fields = Values::default();
        event.record(&mut fields);
        let Values { message, values } = fields;
        line.insert("event".to_owned(), first_word(&message).into());
        line.extend(values);
        line.insert("message".to_owned(), message.into());
        writeln!(out, "{}", Value::Object(line))
    }
}

/// Text or JSON, as the configuration says now. A reload changes it.
pub(super) struct Switch<T> {
    text: Format<Full, T>,
    format: Chosen,
}

/// The format of log lines. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct Chosen(Arc<AtomicBool>);

impl Chosen {
    fn now(&self) -> LogFormat {
        if self.0.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
    }

    pub(super) fn set(&self, format: LogFormat) {
        self.0.store(format == LogFormat::Json, Ordering::Relaxed);
    }
}

impl<T> Switch<T> {
    pub(super) fn new(text: Format<Full, T>, format: Chosen) -> Switch<T> {
        Switch { text: text.with_target(false), format }
    }
}

impl<S, N, T> FormatEvent<S, N> for Switch<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.format.now() == LogFormat::Json {
            return Json.format_event(context, out, event);
        }
        self.text.format_event(context, out, event)
    }
}

/// A layer that gets log lines while this format is the chosen one. A reload changes that.
pub(super) struct Only<L> {
    pub(super) format: LogFormat,
    pub(super) chosen: Chosen,
    pub(super) layer: L,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Only<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.chosen.now() == self.format {
            self.layer.on_event(event, context);
        }
    }
}

/// The fields of one line.
#[derive(Default)]
struct Values {
    message: String,
    values: Map<String, Value>,
}

impl Values {
    fn add(&mut self, field: &Field, value: Value) {
        self.values.insert(field.name().to_owned(), value);
    }
}

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.add(field, value.into()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // Milliseconds are exact enough, and easier to read.
        self.add(field, ((value * 1000.0).round() / 1000.0).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

/// Formats the fields of a text line: the message, and fields that are not those of a record, because the message of a
/// record contains them already.
pub(super) struct Text;

impl<'writer> FormatFields<'writer> for Text {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = TextFields { out: writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct TextFields<'writer> {
    out: Writer<'writer>,
    result: fmt::Result,
}

impl Visit for TextFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() {
            return;
        }
        self.result = match field.name() {
            "message" => write!(self.out, "{value:?}"),
            name if NAMES.contains(&name) => Ok(()),
            name => write!(self.out, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use crate::event::{Client, Message, Record};
    use crate::record::Recorder;
    use crate::types::{Arch, Firmware, MacAddr, MachineId, Rule, Timestamp};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    fn offer() -> Record {
        let mac = Some(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        let machine = MachineId { mac, name: Some("node1".into()), ..MachineId::default() };
        let event = crate::event::Event::Answered {
            message: Message::Offer,
            address: [192, 168, 77, 50].into(),
            client: Client { firmware: Firmware::UefiPxe, arch: Some(Arch::UEFI_X64) },
            file: Some(("snponly.efi".into(), Rule::Arch(Arch::UEFI_X64))),
            note: None,
        };
        Record { at: Timestamp(0), interface: Some("eth1".into()), machine: Some(machine), event }
    }

    fn sent() -> Record {
        let event = crate::event::Event::TftpSent {
            file: "snponly.efi".to_owned(),
            peer: "192.168.77.50:2070".parse().unwrap(),
            bytes: 1 << 20,
            took: std::time::Duration::from_millis(150),
            resent: 0,
        };
        Record { interface: None, event, ..offer() }
    }

    #[test]
    fn r_43_json_lines_have_fields() {
        let lines = Lines::default();
        let out = lines.clone();
        let log = tracing_subscriber::fmt().event_format(Json).with_writer(move || out.clone()).finish();
        with_default(log, || {
            Recorder::default().record(offer());
            Recorder::default().record(sent());
            tracing::error!("cannot bind port 67: it is taken");
        });
        let lines: Vec<Value> = lines.take().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [offer, sent, error] = &lines[..] else { panic!("{lines:?}") };
        for (name, value) in [
            ("level", "INFO"),
            ("event", "DHCPOFFER"),
            ("mac", "52:54:00:12:34:56"),
            ("machine", "node1"),
            ("ip", "192.168.77.50"),
            ("interface", "eth1"),
            ("arch", "uefi-x64"),
            ("file", "snponly.efi"),
            ("rule", "boot.arch.uefi-x64"),
        ] {
            assert_eq!(offer[name], value, "{offer}");
        }
        assert!(offer["message"].as_str().unwrap().starts_with("DHCPOFFER(eth1) 192.168.77.50 "), "{offer}");
        assert!(offer.get("reason").is_none() && offer.get("bytes").is_none(), "{offer}");
        assert_eq!((sent["event"].as_str(), sent["machine"].as_str()), (Some("sent"), Some("node1")));
        assert_eq!((sent["bytes"].as_u64(), sent["seconds"].as_f64()), (Some(1 << 20), Some(0.15)));
        assert_eq!((error["event"].as_str(), error["level"].as_str()), (Some("cannot"), Some("ERROR")));
    }

    #[test]
    fn r_43_text_lines_show_no_field_twice() {
        let lines = Lines::default();
        let out = lines.clone();
        let log = tracing_subscriber::fmt().fmt_fields(Text).with_ansi(false).with_target(false);
        with_default(log.without_time().with_writer(move || out.clone()).finish(), || {
            Recorder::default().record(offer());
            tracing::warn!(error = "no", "cannot accept");
        });
        let offer = " INFO DHCPOFFER(eth1) 192.168.77.50 52:54:00:12:34:56 node1 file=snponly.efi rule=boot.arch.uefi-x64";
        assert_eq!(lines.take(), [offer, " WARN cannot accept error=\"no\""]);
    }
}
