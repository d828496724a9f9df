//! The firewall of this computer: whether it drops packets to the ports of lanboot. The rules are read with `nft` and
//! `iptables-save`, where they are installed and this user may read them. Nothing is changed.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use super::findings::Findings;
use super::nftables;
use super::rules::{Action, Chain, Chains, Condition, Packet, Rule, dropping_chain};
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::net::served;

const PART: &str = "firewall";
/// Kernel modules without which no rule exists.
const MODULES: [&str; 2] = ["/sys/module/nf_tables", "/sys/module/ip_tables"];

pub(super) fn check(config: &Config, found: &mut Findings) {
    let outputs = [output("nft", &["--json", "list", "ruleset"]), output("iptables-save", &[])];
    let (mut rule_sets, mut reasons) = (Vec::new(), Vec::new());
    for (output, read) in outputs.into_iter().zip([nftables::read, of_iptables as fn(&str) -> Option<Chains>])
    {
        match output {
            Ok(text) => rule_sets.extend(read(&text)),
            Err(why) => reasons.push(why),
        }
    }
    if rule_sets.is_empty() {
        // Without root the rules are hidden. A computer without these modules has none.
        if MODULES.iter().any(|module| Path::new(module).exists()) {
            found.note(PART, format!("not checked: {}", reasons.join("; ")));
        }
        return;
    }
    let mut dropped = Vec::new();
    for (protocol, port, interface) in packets(config) {
        let packet = Packet { protocol, port, interface: &interface };
        if let Some(chain) = rule_sets.iter().find_map(|chains| dropping_chain(chains, &packet)) {
            dropped.push((chain, protocol, port, interface));
        }
    }
    for (chain, protocol, port, interface) in dropped {
        found.problem(
            PART,
            format!(
                "the chain `{chain}` drops {} port {port} on {interface}, so no client gets through: accept it there",
                protocol.to_uppercase()
            ),
        );
    }
}

/// The first packets of clients, on each served interface.
fn packets(config: &Config) -> Vec<(&'static str, u16, String)> {
    let Ok((served, _)) = served::find(config) else { return Vec::new() };
    let mut packets = Vec::new();
    for interface in served.interfaces().filter(|interface| !interface.loopback) {
        let mut add = |protocol, port| packets.push((protocol, port, interface.name.to_string()));
        if let Some(settings) = &config.dhcp {
            let mode = settings.modes.on(&interface.name);
            // A proxy reads port 67 from the wire, before the firewall.
            if mode == Some(Mode::Server) {
                add("udp", settings.ports.server);
            }
            if mode.is_some() {
                add("udp", settings.ports.proxy);
            }
        }
        if let Some(tftp) = &config.tftp {
            add("udp", tftp.port);
        }
        if let Some(http) = &config.http {
            add("tcp", http.port);
        }
    }
    packets
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

/// Reads the output of `iptables-save`; `None` if it has no table `filter`.
fn of_iptables(text: &str) -> Option<Chains> {
    let filter = text.split("*filter").nth(1)?.split("\nCOMMIT").next()?;
    let mut chains = Chains::new();
    for line in filter.lines() {
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let name = words.next()?.to_owned();
            let drops_by_default = words.next() == Some("DROP");
            chains.insert(
                name.clone(),
                Chain { rules: Vec::new(), is_input: name == "INPUT", drops_by_default },
            );
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
            chains.entry(chain.to_owned()).or_default().rules.push(of_iptables_rule(rule));
        }
    }
    Some(chains)
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
        let by = |protocol, port, interface| dropping_chain(&chains, &Packet { protocol, port, interface });
        assert_eq!((by("udp", 69, "eth1"), by("tcp", 80, "lo")), (None, None));
        for (protocol, port, interface) in [("udp", 4011, "eth1"), ("tcp", 80, "eth1"), ("udp", 69, "br0")] {
            assert_eq!(by(protocol, port, interface), Some("INPUT"), "{protocol} {port} {interface}");
        }
        let limited = text.replace("-A INPUT -i lo", "-A INPUT -s 10.0.0.0/8");
        assert_eq!(
            dropping_chain(
                &of_iptables(&limited).unwrap(),
                &Packet { protocol: "udp", port: 4011, interface: "eth1" }
            ),
            None
        );
        assert!(of_iptables("").is_none());
    }
}
