//! The counters as metrics for Prometheus, in the OpenMetrics text format. The API asks for them at each scrape, so that
//! counting an event costs no more than adding to an atomic number.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Recorder;
use super::counters::{BYTE_KINDS, Counts};
use super::gauges::{Gauges, Reader, STAGES};
use super::histogram::Histogram;
use crate::event::{
    CaptureDrop, DropReason, HttpRefusal, HttpStop, Message, Refusal, TransferStop, Unanswered, UploadStop,
};
use crate::types::Ipv4Network;

/// The content type of [`Recorder::metrics`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The use of the addresses of one subnet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolMetric {
    pub network: Ipv4Network,
    pub free: u64,
    pub offered: u64,
    pub leased: u64,
    pub quarantined: u64,
}

impl Recorder {
    /// All metrics as OpenMetrics text. `pools` has the subnets; empty if this server gives no addresses, or if the
    /// DHCP loop did not answer in time.
    pub fn metrics(&self, pools: Vec<PoolMetric>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape { recorder: self.clone(), pools }));
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// One scrape.
#[derive(Debug)]
struct Scrape {
    recorder: Recorder,
    pools: Vec<PoolMetric>,
}

/// The labels of a sample.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let to = &mut encoder;
        let (counts, gauges) = (self.recorder.counts(), self.recorder.gauges());
        dhcp(to, counts, gauges)?;
        self.pools(to)?;
        transfers(to, counts)?;
        boots(to, counts, gauges)?;
        let reloads = [("ok", &gauges.reloads), ("failed", &gauges.failed_reloads)];
        let reloads = reloads.map(|(name, counter)| (vec![("result", name)], load(counter)));
        counters(to, "lanboot_config_reloads", "Reloads of the configuration", reloads)?;
        let lost = Reader::ALL.iter().zip(&gauges.lost);
        let lost = lost.map(|(reader, counter)| (vec![("reader", reader.name())], load(counter)));
        let help = "Records that were lost because the queue of their reader was full";
        counters(to, "lanboot_records_lost", help, lost)?;
        let dropped = by_reason(CaptureDrop::ALL, CaptureDrop::name, &counts.capture_dropped);
        counters(
            to,
            "lanboot_capture_dropped",
            "Packets of boots that were not kept or not judged, by reason",
            dropped,
        )?;
        let up = i64::from(gauges.store_up.load(Ordering::Relaxed));
        let help = "Whether the last access to the lease database worked";
        gauges_of(to, "lanboot_store_up", help, [(Vec::new(), up)])?;
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        gauges_of(to, "lanboot_build_info", "The version of lanboot", [(version, 1)])
    }
}

impl Scrape {
    fn pools(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names: Vec<String> = self.pools.iter().map(|pool| pool.network.to_string()).collect();
        let samples = self.pools.iter().zip(&names).flat_map(|(pool, name)| {
            let states = [
                ("free", pool.free),
                ("offered", pool.offered),
                ("leased", pool.leased),
                ("quarantined", pool.quarantined),
            ];
            states.map(|(state, count)| {
                let labels: Labels<'_> = vec![("subnet", name), ("state", state)];
                (labels, i64::try_from(count).unwrap_or(i64::MAX))
            })
        });
        gauges_of(to, "lanboot_dhcp_pool_addresses", "Addresses of the pools by their state", samples)
    }
}

fn dhcp(to: &mut DescriptorEncoder<'_>, counts: &Counts, gauges: &Gauges) -> fmt::Result {
    let directions = [("received", &counts.received), ("sent", &counts.sent)];
    let messages = directions.into_iter().flat_map(|(direction, counters)| {
        Message::ALL.iter().zip(counters).map(move |(message, counter)| {
            (vec![("direction", direction), ("type", type_of(*message))], load(counter))
        })
    });
    counters(to, "lanboot_dhcp_messages", "DHCP and BOOTP messages", messages)?;
    let dropped = by_reason(DropReason::ALL, DropReason::name, &counts.dropped);
    counters(to, "lanboot_dhcp_dropped", "DHCP and BOOTP messages without an answer, by reason", dropped)?;
    let help =
        "Time from the receipt of a DHCP message until its reply was sent, with the time to store the lease";
    histogram(to, "lanboot_dhcp_reply_seconds", help, &gauges.reply)?;
    let help = "Time of one transaction of the lease database, which may have many leases";
    histogram(to, "lanboot_lease_commit_seconds", help, &gauges.commit)
}

fn transfers(to: &mut DescriptorEncoder<'_>, counts: &Counts) -> fmt::Result {
    let tftp = &counts.tftp;
    let results = [
        ("sent", &tftp.sent),
        ("received", &tftp.received),
        ("size_probe", &counts.size_probes),
        ("stopped", &tftp.stopped),
        ("refused", &tftp.refused),
    ];
    let results = results.map(|(name, counter)| (vec![("result", name)], load(counter)));
    counters(to, "lanboot_tftp_transfers", "TFTP transfers by result", results)?;
    counters(to, "lanboot_tftp_bytes", "Bytes of files sent by TFTP", [(Vec::new(), load(&tftp.bytes))])?;
    let refused = by_reason(Refusal::ALL, Refusal::name, &counts.tftp_refused);
    counters(to, "lanboot_tftp_refused", "TFTP requests that were refused, by reason", refused)?;
    let stopped = by_reason(&TransferStop::NAMES, |name| name, &counts.tftp_stopped);
    counters(to, "lanboot_tftp_stopped", "TFTP transfers that ended early, by reason", stopped)?;
    let stopped = by_reason(UploadStop::ALL, UploadStop::name, &counts.upload_stopped);
    counters(to, "lanboot_tftp_uploads_stopped", "TFTP uploads that ended early, by reason", stopped)?;
    let unanswered = by_reason(Unanswered::ALL, Unanswered::name, &counts.unanswered);
    counters(
        to,
        "lanboot_tftp_unanswered",
        "Datagrams to the TFTP port without an answer, by reason",
        unanswered,
    )?;
    let http = &counts.http;
    let results = [
        ("sent", &http.sent),
        ("no_content", &counts.http_answered),
        ("stopped", &http.stopped),
        ("refused", &http.refused),
    ];
    let results = results.map(|(name, counter)| (vec![("result", name)], load(counter)));
    counters(to, "lanboot_http_requests", "HTTP requests by result", results)?;
    let kinds = BYTE_KINDS.iter().zip(&counts.http_bytes);
    let kinds = kinds.map(|(kind, counter)| (vec![("kind", *kind)], load(counter)));
    counters(
        to,
        "lanboot_http_bytes",
        "Bytes sent by HTTP, by the kind of file that the name suggests",
        kinds,
    )?;
    let refused = by_reason(HttpRefusal::ALL, HttpRefusal::name, &counts.http_refused);
    counters(to, "lanboot_http_refused", "HTTP requests that were refused, by reason", refused)?;
    let stopped = by_reason(HttpStop::ALL, HttpStop::name, &counts.http_stopped);
    counters(to, "lanboot_http_stopped", "HTTP answers that ended early, by reason", stopped)
}

/// The metrics of boots.
fn boots(to: &mut DescriptorEncoder<'_>, counts: &Counts, gauges: &Gauges) -> fmt::Result {
    let boots = counts.boots.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let boots: Vec<(&str, String, u64)> = boots
        .into_iter()
        .map(|((result, arch), count)| {
            (result, arch.map_or_else(|| "unknown".to_owned(), |arch| arch.to_string()), count)
        })
        .collect();
    let samples = boots
        .iter()
        .map(|(result, arch, count)| (vec![("result", *result), ("arch", arch.as_str())], *count));
    counters(to, "lanboot_boots", "Boots by result and client architecture", samples)?;
    let help = "Time of each stage of the boots that reached their system";
    let mut family = to.encode_descriptor("lanboot_boot_seconds", help, None, MetricType::Histogram)?;
    for (stage, histogram) in STAGES.iter().zip(&gauges.stages) {
        let (sum, buckets) = histogram.read();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let labels: Labels<'_> = vec![("stage", stage)];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    let machines = STAGES.iter().zip(&gauges.machines);
    let machines = machines.map(|(stage, gauge)| {
        let labels: Labels<'_> = vec![("stage", *stage)];
        (labels, i64::try_from(load(gauge)).unwrap_or(i64::MAX))
    });
    gauges_of(to, "lanboot_machines", "Machines by the stage of their newest boot", machines)
}

/// The `type` of a message.
fn type_of(message: Message) -> &'static str {
    match message {
        Message::Discover => "discover",
        Message::Offer => "offer",
        Message::Request => "request",
        Message::Decline => "decline",
        Message::Ack => "ack",
        Message::Nak => "nak",
        Message::Release => "release",
        Message::Inform => "inform",
        Message::BootpRequest => "bootp_request",
        Message::BootpReply => "bootp_reply",
        Message::Proxy => "proxy",
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A sample for each reason, also for those that have not occurred.
fn by_reason<'a, T: Copy>(
    all: &'a [T],
    name: impl Fn(T) -> &'static str + 'a,
    counters: &'a [AtomicU64],
) -> impl Iterator<Item = (Labels<'static>, u64)> + 'a {
    all.iter().zip(counters).map(move |(one, counter)| (vec![("reason", name(*one))], load(counter)))
}

/// Writes a counter. The encoder adds `_total` to the name.
fn counters<'a>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    samples
        .into_iter()
        .try_for_each(|(labels, value)| sample(&mut family, &labels, &ConstCounter::new(value)))
}

fn gauges_of<'a>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<'a>, i64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    samples.into_iter().try_for_each(|(labels, value)| sample(&mut family, &labels, &ConstGauge::new(value)))
}

fn sample(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: &impl EncodeMetric) -> fmt::Result {
    value.encode(family.encode_family(labels)?)
}

fn histogram(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
    let (sum, buckets) = histogram.read();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Record};
    use crate::types::{Arch, Timestamp};
    use std::time::Duration;

    fn pool() -> PoolMetric {
        PoolMetric { network: "10.0.0.0/24".parse().unwrap(), free: 7, offered: 1, leased: 2, quarantined: 0 }
    }

    #[test]
    fn every_name_and_every_reason_is_there_from_the_start() {
        let text = Recorder::default().metrics(vec![pool()]);
        for name in [
            "lanboot_dhcp_messages_total{direction=\"received\",type=\"discover\"} 0",
            "lanboot_dhcp_messages_total{direction=\"sent\",type=\"offer\"} 0",
            "lanboot_dhcp_pool_addresses{subnet=\"10.0.0.0/24\",state=\"free\"} 7",
            "lanboot_dhcp_pool_addresses{subnet=\"10.0.0.0/24\",state=\"quarantined\"} 0",
            "lanboot_dhcp_reply_seconds_bucket{le=\"+Inf\"} 0",
            "lanboot_lease_commit_seconds_count 0",
            "lanboot_tftp_transfers_total{result=\"sent\"} 0",
            "lanboot_tftp_bytes_total 0",
            "lanboot_http_requests_total{result=\"refused\"} 0",
            "lanboot_http_bytes_total{kind=\"kernel\"} 0",
            "# TYPE lanboot_boots counter",
            "# TYPE lanboot_boot_seconds histogram",
            "# TYPE lanboot_machines gauge",
            "lanboot_config_reloads_total{result=\"failed\"} 0",
            "lanboot_records_lost_total{reader=\"journeys\"} 0",
            "lanboot_capture_dropped_total{reason=\"capture_too_slow\"} 0",
            "lanboot_store_up 1",
            "lanboot_build_info{version=\"",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
        for reason in DropReason::ALL {
            let sample = format!("lanboot_dhcp_dropped_total{{reason=\"{}\"}} 0\n", reason.name());
            assert!(text.contains(&sample), "{sample}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn boots_are_counted_by_result_and_architecture() {
        let recorder = Recorder::default();
        let booted = |arch| Event::Booted { arch, chain: String::new(), took: Duration::from_secs(40) };
        for arch in [Some(Arch::UEFI_X64), Some(Arch::UEFI_X64), None] {
            recorder.record(Record { at: Timestamp(0), interface: None, machine: None, event: booted(arch) });
        }
        recorder.stage_took(1, Duration::from_secs(12));
        recorder.set_machines([0, 0, 3, 0, 7]);
        let text = recorder.metrics(Vec::new());
        for sample in [
            "lanboot_boots_total{result=\"booted\",arch=\"uefi-x64\"} 2\n",
            "lanboot_boots_total{result=\"booted\",arch=\"unknown\"} 1\n",
            "lanboot_boot_seconds_bucket{le=\"10.0\",stage=\"loader\"} 0\n",
            "lanboot_boot_seconds_sum{stage=\"loader\"} 12.0\n",
            "lanboot_boot_seconds_count{stage=\"os\"} 0\n",
            "lanboot_machines{stage=\"script\"} 3\n",
            "lanboot_machines{stage=\"os\"} 7\n",
        ] {
            assert!(text.contains(sample), "{sample} is not in\n{text}");
        }
        // A client cannot make any number of samples.
        for number in 0..1000 {
            let arch = Some(Arch::from_number(number));
            recorder.record(Record { at: Timestamp(0), interface: None, machine: None, event: booted(arch) });
        }
        let samples = recorder.metrics(Vec::new()).matches("lanboot_boots_total{").count();
        assert!(samples <= 65, "{samples}");
    }

    #[test]
    fn durations_and_states_are_shown() {
        let recorder = Recorder::default();
        recorder.reply_took(Duration::from_micros(300));
        recorder.commit_took(Duration::from_millis(3));
        recorder.store_is_up(false);
        recorder.reloaded(true);
        recorder.reloaded(false);
        let text = recorder.metrics(Vec::new());
        for sample in [
            "lanboot_dhcp_reply_seconds_bucket{le=\"0.00025\"} 0\n",
            "lanboot_dhcp_reply_seconds_bucket{le=\"0.0005\"} 1\n",
            "lanboot_dhcp_reply_seconds_count 1\n",
            "lanboot_lease_commit_seconds_sum 0.003\n",
            "lanboot_store_up 0\n",
            "lanboot_config_reloads_total{result=\"ok\"} 1\n",
            "lanboot_config_reloads_total{result=\"failed\"} 1\n",
        ] {
            assert!(text.contains(sample), "{sample} is not in\n{text}");
        }
    }
}
