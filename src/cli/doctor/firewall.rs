//! Makes findings of the packets that the firewall drops, with the command that lets them in.

use super::finding::{Finding, word};
use crate::cli::check::computer::firewall::{DroppedPackets, Tool, shown};

/// Judges the packets that are dropped.
pub(super) fn judge(drops: &[DroppedPackets]) -> Vec<Finding> {
    drops.iter().map(finding).collect()
}

fn finding(drop: &DroppedPackets) -> Finding {
    let DroppedPackets { chain, interface, protocol, ports, .. } = drop;
    let listed: Vec<String> = ports.iter().map(|(first, last)| shown(*first, *last, "-")).collect();
    Finding::problem(
        "firewall",
        format!(
            "the chain `{chain}` drops {} to {} on {interface}",
            protocol.to_uppercase(),
            listed.join(", ")
        ),
        "packets of machines to these ports of lanboot do not get in: DHCP (67), TFTP (69 and the ports of its \
         transfers), the boot service (4011) and HTTP",
        fix(drop),
    )
}

fn fix(drop: &DroppedPackets) -> String {
    let DroppedPackets { tool, chain, interface, protocol, ports, .. } = drop;
    let interface = word(interface);
    let listed = |separator: &str| -> Vec<String> {
        ports.iter().map(|(first, last)| shown(*first, *last, separator)).collect()
    };
    if drop.by_ufw && !chain.contains(' ') {
        let ports = listed(":").join(",");
        return format!("ufw allow in on {interface} to any port {ports} proto {protocol}");
    }
    match tool {
        Tool::Nft if chain.split(' ').nth(1) == Some("firewalld") => {
            let ports: Vec<String> =
                listed("-").iter().map(|port| format!("--add-port={port}/{protocol}")).collect();
            format!(
                "firewall-cmd --permanent --zone=\"$(firewall-cmd --get-zone-of-interface={interface} || firewall-cmd \
                 --get-default-zone)\" {} && firewall-cmd --reload",
                ports.join(" ")
            )
        }
        Tool::Nft => {
            let chain: Vec<String> = chain.split(' ').map(word).collect();
            let ports = match &listed("-")[..] {
                [one] => one.clone(),
                several => format!("'{{ {} }}'", several.join(", ")),
            };
            format!("nft insert rule {} iifname {interface} {protocol} dport {ports} accept", chain.join(" "))
        }
        Tool::Iptables => {
            let (table, chain) = chain.split_once(' ').unwrap_or(("filter", chain));
            let table = if table == "filter" { String::new() } else { format!(" -t {}", word(table)) };
            format!(
                "iptables{table} -I {} -i {interface} -p {protocol} -m multiport --dports {} -j ACCEPT",
                word(chain),
                listed(":").join(",")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(tool: Tool, chain: &str, by_ufw: bool) -> DroppedPackets {
        DroppedPackets {
            tool,
            chain: chain.to_owned(),
            interface: "br0".to_owned(),
            protocol: "udp",
            ports: vec![(67, 67), (69, 69), (32768, 60999)],
            by_ufw,
        }
    }

    #[test]
    fn each_firewall_has_its_own_command() {
        for (drop, command) in [
            (
                dropped(Tool::Nft, "inet filter input", false),
                "nft insert rule inet filter input iifname br0 udp dport '{ 67, 69, 32768-60999 }' accept",
            ),
            (
                dropped(Tool::Iptables, "INPUT", false),
                "iptables -I INPUT -i br0 -p udp -m multiport --dports 67,69,32768:60999 -j ACCEPT",
            ),
            (
                dropped(Tool::Iptables, "raw PREROUTING", true),
                "iptables -t raw -I PREROUTING -i br0 -p udp -m multiport --dports 67,69,32768:60999 -j ACCEPT",
            ),
            (
                dropped(Tool::Iptables, "INPUT", true),
                "ufw allow in on br0 to any port 67,69,32768:60999 proto udp",
            ),
        ] {
            assert_eq!(fix(&drop), command);
        }
        let firewalld = fix(&dropped(Tool::Nft, "inet firewalld filter_INPUT", false));
        assert!(firewalld.contains("--add-port=67/udp --add-port=69/udp"), "{firewalld}");
    }
}
