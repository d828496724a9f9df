//! The firewall of this computer: whether it drops packets to the ports of lanboot. The rules are read with `nft` and
//! `iptables-save`, where they are installed and this user may read them. Nothing is changed.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use super::findings::Findings;
use super::nftables;
use super::rules::{Action, Chain, Chains, Condition, Packet, Rule, dropping_chains};
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::net::served;
use crate::tftp::Ports;

const PART: &str = "firewall";
/// Kernel modules without which no rule exists.
const MODULES: [&str; 2] = ["/sys/module/nf_tables", "/sys/module/ip_tables"];

pub(super) fn check(config: &Config, found: &mut Findings) {
    let drops = match drops(config) {
        Ok(drops) => drops,
        Err(why) => return found.note(PART, format!("not checked: {why}")),
    };
    for DroppedPackets { chain, interface, protocol, ports, .. } in drops {
        for (first, last) in ports {
            let s = if first == last { "" } else { "s" };
            found.problem(
                PART,
                format!(
                    "the chain `{chain}` drops {} port{s} {} on {interface}, so no client gets through: accept it there; \
                     `lanboot doctor` prints the command",
                    protocol.to_uppercase(),
                    shown(first, last, "-")
                ),
            );
        }
    }
}

/// The program whose rules a chain belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Tool {
    Nft,
    Iptables,
}

/// Packets that a chain of the firewall drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DroppedPackets {
    pub(in crate::cli) tool: Tool,
    /// `inet filter input` of nft; `INPUT` or `raw PREROUTING` of iptables.
    pub(in crate::cli) chain: String,
    pub(in crate::cli) interface: String,
    pub(in crate::cli) protocol: &'static str,
    /// Ranges of destination ports, in order.
    pub(in crate::cli) ports: Vec<(u16, u16)>,
    /// Whether ufw makes the rules.
    pub(in crate::cli) by_ufw: bool,
}

/// A range of ports, as firewalls write it with this separator.
pub(in crate::cli) fn shown(first: u16, last: u16, separator: &str) -> String {
    if first == last { first.to_string() } else { format!("{first}{separator}{last}") }
}

/// The packets of clients that the firewall of this computer drops.
///
/// # Errors
/// The rules cannot be read, with the reason.
pub(in crate::cli) fn drops(config: &Config) -> Result<Vec<DroppedPackets>, String> {
    let (iptables, nft) = (output("iptables-save", &[]), output("nft", &["--json", "list", "ruleset"]));
    if let (Err(one), Err(other)) = (&iptables, &nft) {
        // Without root the rules are hidden. A computer without these modules has none.
        let has_rules = MODULES.iter().any(|module| Path::new(module).exists());
        return if has_rules { Err(format!("{other}; {one}")) } else { Ok(Vec::new()) };
    }
    let Ok((served, _)) = served::find(config) else { return Ok(Vec::new()) };
    let names = served.interfaces().filter(|interface| !interface.loopback).map(|one| one.name.to_string());
    let clients: Vec<Client> = names.flat_map(|name| clients_of(config, &name, ephemeral_ports())).collect();
    Ok(dropped(&iptables.unwrap_or_default(), &nft.unwrap_or_default(), &clients))
}

/// Packets of clients to a range of ports. A firewall that drops the first or the last of them is reported.
#[derive(Debug)]
struct Client {
    interface: String,
    protocol: &'static str,
    ports: (u16, u16),
    /// As [`Packet::is_answer`].
    is_answer: bool,
}

/// The packets that rules drop. The rules are the outputs of `iptables-save` and `nft --json list ruleset`.
fn dropped(iptables: &str, nft: &str, clients: &[Client]) -> Vec<DroppedPackets> {
    let iptables_chains = of_iptables(iptables).unwrap_or_default();
    let mut nft_chains = nftables::read(nft).unwrap_or_default();
    // nft lists the chains of iptables too, without the matches that only iptables understands.
    nft_chains.retain(|name, _| {
        let of_iptables = |name: &str| match name.strip_prefix("ip filter ") {
            Some(chain) => iptables_chains.contains_key(chain),
            None => name.strip_prefix("ip ").is_some_and(|chain| iptables_chains.contains_key(chain)),
        };
        !of_iptables(name)
    });
    let by_ufw = iptables_chains.keys().any(|name| name.starts_with("ufw-"));
    let mut found: Vec<DroppedPackets> = Vec::new();
    for (tool, chains) in [(Tool::Nft, &nft_chains), (Tool::Iptables, &iptables_chains)] {
        for Client { interface, protocol, ports, is_answer } in clients {
            let ends = [ports.0, ports.1].map(|port| {
                let packet = Packet { protocol, port, interface, is_answer: *is_answer };
                dropping_chains(chains, &packet)
            });
            let mut names = ends.concat();
            names.sort_unstable();
            names.dedup();
            for chain in names {
                let is_same = |drop: &&mut DroppedPackets| {
                    (drop.tool, &drop.chain[..], &drop.interface, drop.protocol)
                        == (tool, chain, interface, *protocol)
                };
                if let Some(drop) = found.iter_mut().find(is_same) {
                    drop.ports.push(*ports);
                    continue;
                }
                let (chain, interface) = (chain.to_owned(), interface.clone());
                let by_ufw = by_ufw && tool == Tool::Iptables;
                found.push(DroppedPackets { tool, chain, interface, protocol, ports: vec![*ports], by_ufw });
            }
        }
    }
    found
}

/// The ports that the kernel chooses for transfers (ip(7), `ip_local_port_range`).
fn ephemeral_ports() -> (u16, u16) {
    const DEFAULT: (u16, u16) = (32768, 60999);
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let numbers: Vec<u16> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if let [first, last] = numbers[..] { (first, last) } else { DEFAULT }
}

/// The packets that clients send to an interface.
fn clients_of(config: &Config, interface: &str, ephemeral: (u16, u16)) -> Vec<Client> {
    let mut clients = Vec::new();
    let mut add = |protocol, ports, is_answer| {
        clients.push(Client { interface: interface.to_owned(), protocol, ports, is_answer });
    };
    let one = |port| (port, port);
    if let Some(settings) = &config.dhcp {
        let mode = settings.modes.on(interface);
        // A proxy reads port 67 from the wire, before the firewall.
        if mode == Some(Mode::Server) {
            add("udp", one(settings.ports.server), false);
        }
        if mode.is_some() {
            add("udp", one(settings.ports.proxy), false);
        }
    }
    if let Some(tftp) = &config.tftp {
        add("udp", one(tftp.port), false);
        match tftp.ports {
            Ports::Ephemeral => add("udp", ephemeral, true),
            Ports::Range { first, last } => add("udp", (first, last), true),
            Ports::Single => {}
        }
    }
    if let Some(http) = &config.http {
        add("tcp", one(http.port), false);
    }
    clients
}

/// The output of a program, or the reason why there is none.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match ran {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(_) => Err(format!("`{program}` does not show the rules to this user; try as root")),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(format!("`{program}` is not installed")),
        Err(error) => Err(format!("cannot run `{program}`: {error}")),
    }
}

/// Tables of iptables that see every packet to this computer.
const TABLES: [&str; 3] = ["filter", "raw", "mangle"];

/// Reads the output of `iptables-save`; `None` if it has none of [`TABLES`]. Chains of other tables than `filter` have the
/// name of the table before theirs.
fn of_iptables(text: &str) -> Option<Chains> {
    let mut chains = Chains::new();
    for table in TABLES {
        let Some(rest) = text.split(&format!("*{table}\n")).nth(1) else { continue };
        let full = |chain: &str| match table {
            "filter" => chain.to_owned(),
            _ => format!("{table} {chain}"),
        };
        for line in rest.lines().take_while(|line| *line != "COMMIT") {
            if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split_whitespace();
                let name = words.next()?;
                let drops_by_default = words.next() == Some("DROP");
                let is_input = matches!(name, "INPUT" | "PREROUTING");
                chains.insert(full(name), Chain { is_input, drops_by_default, ..Chain::default() });
            } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
            {
                let mut rule = of_iptables_rule(rule);
                if let Action::Jump(chain) = &mut rule.action {
                    *chain = full(chain);
                }
                chains.entry(full(chain)).or_default().rules.push(rule);
            }
        }
    }
    (!chains.is_empty()).then_some(chains)
}

/// Reads one rule, such as `-i eth1 -p udp -m udp --dport 69 -j ACCEPT`.
fn of_iptables_rule(text: &str) -> Rule {
    let mut rule = Rule { conditions: Vec::new(), action: Action::Other };
    let mut words = text.split_whitespace();
    let mut negated = false;
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let condition = match word {
            "-p" => words.next().map(|name| Condition::Protocol(vec![name.to_owned()])),
            "-i" => words.next().map(|name| Condition::Interface(vec![name.to_owned()])),
            "--dport" | "--dports" => {
                Some(words.next().and_then(ports).map_or(Condition::Unknown, Condition::Port))
            }
            "--ctstate" | "--state" => {
                words.next().map(|states| match states.split(',').any(|one| one == "NEW") {
                    true => Condition::Unknown,
                    false => Condition::Established,
                })
            }
            "-m" => {
                let known = ["udp", "tcp", "multiport", "conntrack", "state", "comment"];
                words.next().filter(|module| !known.contains(module)).map(|_| Condition::Unknown)
            }
            "-j" | "-g" => {
                rule.action = match words.next().unwrap_or_default() {
                    "ACCEPT" => Action::Accept,
                    "DROP" | "REJECT" => Action::Drop,
                    "RETURN" => Action::Return,
                    "LOG" | "NFLOG" | "MARK" | "CONNMARK" => Action::Other,
                    chain => Action::Jump(chain.to_owned()),
                };
                // The rest are arguments of the target.
                break;
            }
            _ => Some(Condition::Unknown),
        };
        rule.conditions
            .extend(condition.map(|one| if negated { Condition::Not(Box::new(one)) } else { one }));
        negated = false;
    }
    rule
}

/// Reads `67,69,30000:30999`.
fn ports(text: &str) -> Option<Vec<(u16, u16)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_41_the_rules_of_iptables_are_read() {
        let text = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:lan - [0:0]\n\
            -A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
            -A INPUT -i eth+ -j lan\n-A lan -p udp -m multiport --dports 67,69 -j ACCEPT\n\
            -A lan -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n";
        let chains = of_iptables(text).unwrap();
        let by = |protocol, port, interface| {
            dropping_chains(&chains, &Packet { protocol, port, interface, is_answer: false }).pop()
        };
        assert_eq!((by("udp", 69, "eth1"), by("tcp", 80, "lo")), (None, None));
        for (protocol, port, interface) in [("udp", 4011, "eth1"), ("tcp", 80, "eth1"), ("udp", 69, "br0")] {
            assert_eq!(by(protocol, port, interface), Some("INPUT"), "{protocol} {port} {interface}");
        }
        let limited = text.replace("-A INPUT -i lo", "-A INPUT -s 10.0.0.0/8");
        let packet = Packet { protocol: "udp", port: 4011, interface: "eth1", is_answer: false };
        assert_eq!(dropping_chains(&of_iptables(&limited).unwrap(), &packet), [""; 0]);
        assert!(of_iptables("").is_none());
    }

    fn client(protocol: &'static str, ports: (u16, u16), is_answer: bool) -> Client {
        Client { interface: "eth1".to_owned(), protocol, ports, is_answer }
    }

    #[test]
    fn every_dropping_chain_is_reported_with_its_ports() {
        let iptables = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --dport 69 -j DROP\nCOMMIT\n\
            *filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n";
        let clients = [
            client("udp", (67, 67), false),
            client("udp", (69, 69), false),
            client("udp", (32768, 60999), true),
            client("tcp", (80, 80), false),
        ];
        let found = dropped(iptables, "", &clients);
        let [input, raw] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (&input.chain[..], &input.ports[..]),
            ("INPUT", &[(67, 67), (69, 69), (32768, 60999)][..])
        );
        assert_eq!((&raw.chain[..], &raw.ports[..]), ("raw PREROUTING", &[(69, 69)][..]));
        let stateful = iptables.replace("-A INPUT -p tcp", "-A INPUT -m conntrack --ctstate ESTABLISHED");
        let input = dropped(&stateful, "", &clients).remove(0);
        assert!(!input.ports.contains(&(32768, 60999)), "the blocks of a transfer are answers: {input:?}");
    }

    #[test]
    fn chains_of_iptables_that_nft_lists_are_reported_once() {
        let iptables = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
        let nft = r#"{"nftables": [{"chain": {"family": "ip", "table": "filter", "name": "INPUT", "type": "filter", "hook": "input", "policy": "drop"}},
            {"chain": {"family": "netdev", "table": "t", "name": "c", "type": "filter", "hook": "ingress", "dev": "eth1", "policy": "drop"}},
            {"chain": {"family": "netdev", "table": "t", "name": "d", "type": "filter", "hook": "ingress", "dev": "eth2", "policy": "drop"}}]}"#;
        let found = dropped(iptables, nft, &[client("udp", (67, 67), false)]);
        let chains: Vec<&str> = found.iter().map(|drop| &drop.chain[..]).collect();
        assert_eq!(chains, ["netdev t c", "INPUT"]);
    }
}
