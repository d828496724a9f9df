//! Keys of Kea's maps: every key is read by the importer, or named here with the reason why it is not taken.

use super::json::Node;
use crate::import::problems::Problems;

/// Keys that mean nothing to another server: numbers for references, and remarks.
const WITHOUT_MEANING: &[&str] = &["id", "comment", "user-context", "metadata"];

/// Keys without a counterpart in `config.yaml`, each with the reason.
const REASONS: &[(&str, &str)] = &[
    ("lease-database", "lanboot keeps its leases in `state`; see `lanboot leases import`"),
    ("hosts-database", "lanboot reads no database of reservations: export them to `machines`"),
    ("hosts-databases", "lanboot reads no database of reservations: export them to `machines`"),
    ("config-control", "lanboot reads no configuration from a database"),
    ("control-socket", "lanboot has its own control socket"),
    ("control-sockets", "lanboot has its own control socket"),
    ("hooks-libraries", "lanboot has no hook libraries"),
    ("loggers", "lanboot logs to standard error and the journal: see `log`"),
    ("dhcp-ddns", "lanboot does not update DNS"),
    ("dhcp4o6-port", "lanboot does not speak DHCPv4 over DHCPv6"),
    ("expired-leases-processing", "lanboot gives expired addresses to others when it needs them"),
    ("dhcp-queue-control", "lanboot bounds its queues itself"),
    ("multi-threading", "lanboot decides about threads itself"),
    ("cache-threshold", "lanboot stores every lease"),
    ("cache-max-age", "lanboot stores every lease"),
    ("store-extended-info", "lanboot stores no relay information"),
    ("statistic-default-sample-count", "lanboot has its own metrics"),
    ("statistic-default-sample-age", "lanboot has its own metrics"),
    ("sanity-checks", "lanboot checks its leases itself"),
    ("server-tag", "lanboot reads no configuration from a database"),
    ("compatibility", "lanboot has no such switches"),
    ("dhcp-socket-type", "lanboot always answers clients on its own wires by frames"),
    ("outbound-interface", "lanboot answers on the interface of the request"),
    ("re-detect", "lanboot notices new interfaces itself"),
    ("service-sockets-require-all", "lanboot serves the interfaces that exist"),
    ("service-sockets-max-retries", "lanboot serves an interface when it appears"),
    ("service-sockets-retry-wait-time", "lanboot serves an interface when it appears"),
    ("ip-reservations-unique", "lanboot gives an address to one machine only"),
    ("reservations-lookup-first", "lanboot always looks for reservations first"),
    ("early-global-reservations-lookup", "lanboot knows its machines before it selects a subnet"),
    ("allocator", "lanboot chooses addresses itself"),
    ("pd-allocator", "lanboot serves IPv4 only"),
    ("parked-packet-limit", "lanboot has no hook libraries"),
    ("offer-lifetime", "lanboot holds an offered address itself"),
    ("offer-lft", "lanboot holds an offered address itself"),
    ("stash-agent-options", "lanboot keeps no relay information between messages"),
    ("hostname-char-set", "lanboot refuses host names with other letters"),
    ("hostname-char-replacement", "lanboot refuses host names with other letters"),
    ("4o6-interface", "lanboot does not speak DHCPv4 over DHCPv6"),
    ("4o6-interface-id", "lanboot does not speak DHCPv4 over DHCPv6"),
    ("4o6-subnet", "lanboot does not speak DHCPv4 over DHCPv6"),
    ("interface", "lanboot knows the subnet by the addresses of the interface"),
    ("t1-percent", "it counts only with calculate-tee-times"),
    ("t2-percent", "it counts only with calculate-tee-times"),
];

/// Names every key of the map `node` that is not in `taken`.
pub(super) fn check(node: &Node, taken: &[&str], problems: &mut Problems) {
    for entry in node.entries() {
        let key = entry.key.as_str();
        if taken.contains(&key) || WITHOUT_MEANING.contains(&key) {
            continue;
        }
        let why = match REASONS.iter().find(|(other, _)| *other == key) {
            Some((_, why)) => why,
            None if key.starts_with("ddns-") => "lanboot does not update DNS",
            None => "lanboot has nothing like it",
        };
        problems.add_kind(entry.place, format!("{key:?} is not taken: {why}"));
    }
}
