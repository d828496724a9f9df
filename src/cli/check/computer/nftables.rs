//! Reads the output of `nft --json list ruleset`.

use serde_json::Value;

use super::rules::{Action, Chain, Chains, Condition, Rule};

/// The chains of all tables that see IPv4 packets; `None` if the text is not such output.
pub(super) fn read(json: &str) -> Option<Chains> {
    let whole: Value = serde_json::from_str(json).ok()?;
    let mut chains = Chains::new();
    for object in whole.get("nftables")?.as_array()? {
        if let Some(chain) = object.get("chain").filter(|chain| is_ipv4(chain)) {
            let of = |key: &str| chain.get(key).and_then(Value::as_str);
            let is_input = matches!(of("hook"), Some("input" | "prerouting" | "ingress"))
                && of("type") == Some("filter");
            let drops_by_default = of("policy") == Some("drop");
            let device = of("dev").map(str::to_owned);
            chains.insert(
                full_name(chain, of("name")?),
                Chain { rules: Vec::new(), is_input, device, drops_by_default },
            );
        }
        if let Some(rule) = object.get("rule").filter(|rule| is_ipv4(rule)) {
            let name = full_name(rule, rule.get("chain")?.as_str()?);
            let read = of_rule(rule);
            chains.entry(name).or_default().rules.push(read);
        }
    }
    Some(chains)
}

fn is_ipv4(object: &Value) -> bool {
    matches!(object.get("family").and_then(Value::as_str), Some("ip" | "inet" | "netdev"))
}

/// `inet filter input`, as nft names it.
fn full_name(object: &Value, chain: &str) -> String {
    let of = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{} {} {chain}", of("family"), of("table"))
}

fn of_rule(rule: &Value) -> Rule {
    let mut read = Rule { conditions: Vec::new(), action: Action::Other };
    let parts = rule.get("expr").and_then(Value::as_array);
    for (name, value) in parts.into_iter().flatten().filter_map(Value::as_object).flatten() {
        let target = || value.get("target").and_then(Value::as_str).unwrap_or_default();
        match name.as_str() {
            "match" => read.conditions.push(condition(value)),
            "accept" => read.action = Action::Accept,
            "drop" | "reject" => read.action = Action::Drop,
            "return" => read.action = Action::Return,
            "jump" | "goto" => read.action = Action::Jump(full_name(rule, target())),
            "counter" | "log" | "comment" => {}
            // A limit, a verdict map, or a match of iptables.
            _ => read.conditions.push(Condition::Unknown),
        }
    }
    read
}

fn condition(value: &Value) -> Condition {
    let left = value.get("left").unwrap_or(&Value::Null);
    let right = value.get("right").unwrap_or(&Value::Null);
    let field = |kind: &str, key: &str| left.get(kind)?.get(key)?.as_str();
    let payload = (field("payload", "protocol"), field("payload", "field"));
    let read = match (field("meta", "key"), payload, field("ct", "key")) {
        (Some("iifname" | "iif"), _, _) => texts(right).map(Condition::Interface),
        (Some("l4proto"), _, _) | (_, (Some("ip"), Some("protocol")), _) => {
            texts(right).map(Condition::Protocol)
        }
        (Some("nfproto"), _, _) => texts(right).map(|names| {
            let has_ipv4 = names.iter().any(|name| name == "ipv4");
            Condition::Protocol(if has_ipv4 { vec!["all".to_owned()] } else { Vec::new() })
        }),
        (_, (Some("th"), Some("dport")), _) => ports(right).map(Condition::Port),
        // A port of one protocol. The other protocol is never matched.
        (_, (Some(protocol @ ("udp" | "tcp")), Some("dport")), _) => {
            return both(protocol, ports(right), value);
        }
        (_, _, Some("state")) => texts(right).map(|states| {
            let has_new = states.iter().any(|state| state == "new");
            if has_new { Condition::Unknown } else { Condition::Established }
        }),
        _ => None,
    };
    let read = read.unwrap_or(Condition::Unknown);
    if is_negated(value) { Condition::Not(Box::new(read)) } else { read }
}

fn is_negated(value: &Value) -> bool {
    value.get("op").and_then(Value::as_str) == Some("!=")
}

/// `udp dport …`.
fn both(protocol: &str, ports: Option<Vec<(u16, u16)>>, value: &Value) -> Condition {
    match ports {
        Some(ports) if !is_negated(value) => Condition::PortOf(protocol.to_owned(), ports),
        _ => Condition::Unknown,
    }
}

/// One text, or a set of them.
fn texts(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| value.as_str().filter(|text| !text.starts_with('@')).map(str::to_owned);
    match set(value) {
        Some(items) => items.iter().map(one).collect(),
        None => one(value).map(|text| vec![text]),
    }
}

/// One port, a range, or a set of them.
fn ports(value: &Value) -> Option<Vec<(u16, u16)>> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let one = |value: &Value| match value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([first, last]) => Some((number(first)?, number(last)?)),
        _ => number(value).map(|port| (port, port)),
    };
    match set(value) {
        Some(items) => items.iter().map(one).collect(),
        None => one(value).map(|range| vec![range]),
    }
}

/// The items of a set. States of connections are a plain list.
fn set(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().or_else(|| value.get("set")?.as_array())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::computer::rules::{Packet, dropping_chains};

    /// As `nft --json list ruleset` prints the example of the Debian wiki, with TFTP allowed on eth1.
    const RULES: &str = r#"{"nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "filter", "handle": 1}},
        {"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "filter", "name": "services", "handle": 2}},
        {"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"jump": {"target": "services"}}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "services", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth1"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": {"set": [67, {"range": [69, 70]}]}}}, {"accept": null}]}}
    ]}"#;

    #[test]
    fn r_41_a_firewall_that_drops_packets_is_found() {
        let chains = read(RULES).unwrap();
        let by = |protocol, port, interface| {
            dropping_chains(&chains, &Packet { protocol, port, interface, is_answer: false }).pop()
        };
        assert_eq!(by("udp", 69, "eth1"), None);
        assert_eq!(by("udp", 69, "lo"), None);
        for (protocol, port, interface) in [("udp", 69, "eth0"), ("tcp", 69, "eth1"), ("udp", 4011, "eth1")] {
            assert_eq!(by(protocol, port, interface), Some("inet filter input"), "{protocol} {port}");
        }
        let unknown = RULES.replace("\"right\": \"eth1\"", "\"right\": \"@lan\"");
        let chains = read(&unknown).unwrap();
        let packet = Packet { protocol: "udp", port: 69, interface: "eth0", is_answer: false };
        assert_eq!(dropping_chains(&chains, &packet), [""; 0], "it may be in the set");
        assert!(read("{}").is_none() && read("x").is_none());
    }
}
