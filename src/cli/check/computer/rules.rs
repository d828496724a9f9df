//! Firewall rules, as far as they decide whether a packet to a port of lanboot gets in. `nftables.rs` and `firewall.rs`
//! read them. A rule with a condition that is not understood may or may not apply, and is never reported as the cause.

use std::collections::BTreeMap;

/// A packet to this computer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'p> {
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    pub(super) interface: &'p str,
    /// Whether this computer sent the first packet of the conversation, as for the blocks of a TFTP transfer.
    pub(super) is_answer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    Drop,
    Jump(String),
    Return,
    /// A counter, a log line, or something that is not understood.
    Other,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Protocol(Vec<String>),
    /// Ranges of destination ports.
    Port(Vec<(u16, u16)>),
    /// Ranges of destination ports of one protocol.
    PortOf(String, Vec<(u16, u16)>),
    /// Names of interfaces. A name may end in `*`.
    Interface(Vec<String>),
    /// The rule is for connections that exist already.
    Established,
    Not(Box<Condition>),
    Unknown,
}

impl Condition {
    /// Whether the packet meets the condition; `None` if that is not known.
    fn holds(&self, packet: &Packet<'_>) -> Option<bool> {
        match self {
            Condition::Protocol(names) => {
                Some(names.iter().any(|name| name == packet.protocol || name == "all"))
            }
            Condition::Port(ranges) => Some(has_port(ranges, packet.port)),
            Condition::PortOf(protocol, ranges) => {
                Some(protocol == packet.protocol && has_port(ranges, packet.port))
            }
            Condition::Interface(names) => {
                Some(names.iter().any(|name| match name.strip_suffix(['*', '+']) {
                    Some(start) => packet.interface.starts_with(start),
                    None => name == packet.interface,
                }))
            }
            Condition::Established => Some(packet.is_answer),
            Condition::Not(condition) => condition.holds(packet).map(|holds| !holds),
            Condition::Unknown => None,
        }
    }
}

fn has_port(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// A chain of rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) rules: Vec<Rule>,
    /// Whether packets to this computer come here, before they are routed or after that.
    pub(super) is_input: bool,
    /// The only interface whose packets come here; `None` for all.
    pub(super) device: Option<String>,
    pub(super) drops_by_default: bool,
}

/// Chains by name.
pub(super) type Chains = BTreeMap<String, Chain>;

/// Maximum depth of jumps that are followed.
const MAX_JUMPS: usize = 16;

enum Verdict {
    Accept,
    Drop,
    /// The chain has ended without a decision.
    Continue,
    Unknown,
}

/// The names of the chains that certainly drop the packet. Each of them drops it, whatever the others do.
pub(super) fn dropping_chains<'c>(chains: &'c Chains, packet: &Packet<'_>) -> Vec<&'c str> {
    let drops = |(name, base): (&'c String, &'c Chain)| {
        let is_passed = base.is_input && base.device.as_deref().is_none_or(|name| name == packet.interface);
        let is_dropped = is_passed
            && match walk(chains, base, packet, MAX_JUMPS) {
                Verdict::Drop => true,
                Verdict::Continue => base.drops_by_default,
                Verdict::Accept | Verdict::Unknown => false,
            };
        is_dropped.then_some(name.as_str())
    };
    chains.iter().filter_map(drops).collect()
}

fn walk(chains: &Chains, chain: &Chain, packet: &Packet<'_>, depth: usize) -> Verdict {
    for rule in &chain.rules {
        let holds: Vec<Option<bool>> = rule.conditions.iter().map(|one| one.holds(packet)).collect();
        if holds.contains(&Some(false)) || rule.action == Action::Other && !holds.contains(&None) {
            continue;
        }
        // If a rule may or may not decide about the packet, nothing after it is certain.
        if holds.contains(&None) {
            return Verdict::Unknown;
        }
        match &rule.action {
            Action::Accept => return Verdict::Accept,
            Action::Drop => return Verdict::Drop,
            Action::Return => return Verdict::Continue,
            Action::Other => {}
            Action::Jump(name) => {
                let Some(next) = chains.get(name).filter(|_| depth > 0) else { return Verdict::Unknown };
                match walk(chains, next, packet, depth - 1) {
                    Verdict::Continue => {}
                    decided => return decided,
                }
            }
        }
    }
    Verdict::Continue
}
