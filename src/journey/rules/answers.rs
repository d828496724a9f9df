//! Rules about the DHCP exchange.

use crate::journey::evidence::{Conflict, Evidence, Obstacle, Slow, Step};
use crate::journey::rules::case::Case;
use crate::journey::silence::ENOUGH_DISCOVERS;
use crate::journey::verdict::{Verdict, VerdictId};

/// A first DISCOVER with more seconds than this comes from a machine that asked before and was not heard.
const LATE_LINK: u16 = 20;

fn obstacle<'a>(case: &Case<'a>) -> Option<&'a Obstacle> {
    case.e.obstacle.as_ref().map(|(obstacle, _)| obstacle)
}

pub fn no_file_for_architecture(case: &Case<'_>) -> Option<Verdict> {
    let Some(Obstacle::NoFile) = obstacle(case) else { return None };
    let id = VerdictId::NoFileForArchitecture;
    let Some(arch) = case.e.arch else {
        let advice = "give the machine a file: `boot: FILE` in its entry under `machines`";
        return Some(Verdict::certain(
            id,
            "the machine states no architecture, so it gets no boot file",
            advice,
        ));
    };
    let name = arch.to_string();
    let (file, set) = match name.as_str() {
        "bios" => ("undionly.kpxe", Some("ipxe")),
        "uefi-x64" => ("snponly.efi", Some("ipxe")),
        "uefi-x64-http" => ("http://{server}/snponly.efi", Some("ipxe")),
        "uefi-arm64" => ("grubnetaa64.efi", Some("grub")),
        _ => ("FILE", None),
    };
    let get =
        set.map(|set| format!(", and get the file with `lanboot images add {set}`")).unwrap_or_default();
    Some(Verdict::certain(
        id,
        format!("no boot file is configured for its architecture, {name}"),
        format!("add `{name}: {file}` to `boot.arch`{get}"),
    ))
}

pub fn pool_exhausted(case: &Case<'_>) -> Option<Verdict> {
    let cause = match obstacle(case)? {
        _ if exhausted_by_others(case).is_some() => return None,
        Obstacle::PoolExhausted { subnet, size } => {
            format!("the pool of {subnet} has no free address: all {size} are leased or set aside")
        }
        Obstacle::QuarantineFull => "too many addresses of the pool are set aside after DECLINEs".to_owned(),
        _ => return None,
    };
    Some(Verdict::certain(
        VerdictId::PoolExhausted,
        cause,
        "enlarge `pool` of that subnet or shorten `lease`; `lanboot leases` lists them",
    ))
}

/// One of the conflicts of a pool whose addresses are all used by other machines. Several addresses are checked at the
/// same time, so some conflicts are found after the pool was found empty.
fn exhausted_by_others(case: &Case<'_>) -> Option<Conflict> {
    match case.e.obstacle.as_ref()? {
        (Obstacle::PoolExhausted { subnet, size }, at) => {
            let (conflicts, last) = case.site.conflicts_in(*subnet, *at);
            last.filter(|_| conflicts >= *size)
        }
        (Obstacle::QuarantineFull, _) => case.e.conflict,
        _ => None,
    }
}

pub fn address_conflict(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let is_in_the_way = match obstacle(case) {
        Some(Obstacle::PoolExhausted { .. } | Obstacle::QuarantineFull) => false,
        Some(Obstacle::Conflict) => true,
        _ => e.is_asking() && e.conflicts > 0 && e.exchange.answered == 0,
    };
    let conflict = exhausted_by_others(case).or(e.conflict.filter(|_| is_in_the_way))?;
    let address = conflict.address;
    if let Some(router) =
        case.site.proxy_arp(e.step_at).filter(|router| conflict.by.is_none_or(|by| by == *router))
    {
        return Some(Verdict::certain(
            VerdictId::AddressConflict,
            format!("{router} answers ARP for every address (proxy ARP), so {address} seems to be in use"),
            format!(
                "switch off proxy ARP on {router}: `no ip proxy-arp`, or `sysctl net.ipv4.conf.all.proxy_arp=0`"
            ),
        ));
    }
    let by = conflict.by.map_or_else(|| "another machine".to_owned(), |mac| mac.to_string());
    Some(Verdict::certain(
        VerdictId::AddressConflict,
        format!("{address} is already used by {by}, and no other address could be given"),
        format!(
            "give that machine another address, or take {address} out of `pool`; `ip neigh show {address}` names it"
        ),
    ))
}

pub fn other_server_chosen(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let x = &e.exchange;
    let (server, _) = x.chosen?;
    let is_waiting = e.is_asking() || e.step == Step::Named;
    // Beside another server that is as it should be, unless that server names a boot file itself.
    if !is_waiting || e.asked_4011 > 0 || (x.proxy && !x.heard_file) {
        return None;
    }
    let server = if server.is_unspecified() { "another DHCP server".to_owned() } else { server.to_string() };
    let (cause, advice) = if x.proxy {
        (
            format!("the machine took the boot file that the DHCP server {server} names"),
            format!("remove the boot file (options 66 and 67, next-server) from {server}"),
        )
    } else {
        (
            format!("the machine took the offer of {server} and not ours"),
            format!("switch off DHCP on {server}, or add our boot files to it with `dhcp: {{mode: proxy}}`"),
        )
    };
    Some(Verdict::certain(VerdictId::OtherServerChosen, cause, advice))
}

pub fn port_4011_silent(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let is_unanswered = e.asked_4011 > e.answered_4011 || e.asked_4011 >= 2;
    if e.asked_4011 == 0
        || !is_unanswered
        || !matches!(e.step, Step::Asked | Step::Requested | Step::Named | Step::Unseen)
    {
        return None;
    }
    let cause = if e.blocked_4011 && e.answered_4011 == 0 {
        "the machine asked for its boot file on port 4011, and the firewall of this computer dropped the question"
    } else if e.asked_4011 > e.answered_4011 {
        "the machine asked for its boot file on port 4011 and got no answer"
    } else {
        "the machine asks for its boot file on port 4011 again and again, so the answers do not arrive"
    };
    Some(Verdict::certain(
        VerdictId::Port4011Silent,
        cause,
        "open UDP port 4011 to this computer, for example with `nft add rule inet filter input udp dport 4011 accept`",
    ))
}

pub fn relay_drops_replies(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let relay = e.relay?;
    if !is_unheard(e) {
        return None;
    }
    Some(Verdict::likely(
        VerdictId::RelayDropsReplies,
        format!(
            "the machine asks again although each DISCOVER was answered, by way of the relay agent {relay}"
        ),
        format!(
            "let UDP from this computer's port 67 reach {relay} port 67, and check its route back; `tcpdump -ni any host {relay} \
             and port 67` shows the replies"
        ),
    ))
}

/// Whether the machine asks although we answered, and takes no offer.
fn is_unheard(e: &Evidence) -> bool {
    let x = &e.exchange;
    match e.step {
        // Nothing was sent that could be lost.
        Step::Asked | Step::Requested if x.is_unanswered => false,
        Step::Named => x.repeated > 0 && e.obstacle.is_none(),
        Step::Asked => x.answered > 0 && x.chosen.is_none() && e.obstacle.is_none(),
        // ACKs that do not arrive make it repeat the REQUEST.
        Step::Requested => x.requests > 0 && e.obstacle.is_none(),
        _ => false,
    }
}

pub fn reply_too_large(case: &Case<'_>) -> Option<Verdict> {
    let bytes = case.e.large_reply.filter(|_| is_unheard(case.e))?;
    Some(Verdict::likely(
        VerdictId::ReplyTooLarge,
        format!("our reply of {bytes} bytes is too large for the path, and firmware drops fragments"),
        "send fewer options: shorten `dhcp.options` and the menu, or raise the MTU of the path",
    ))
}

pub fn server_slow(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let unanswered = e.exchange.is_unanswered.then_some(Slow::NotStored);
    let slow = e.slow.or(unanswered);
    let cause = match slow.filter(|_| matches!(e.step, Step::Asked | Step::Requested | Step::Named))? {
        Slow::Late(millis) => format!(
            "this server answered after {}.{} s, later than the machine waits",
            millis / 1000,
            millis % 1000 / 100
        ),
        Slow::NotStored => "this server could not store the lease in time, so it sent no ACK".to_owned(),
    };
    Some(Verdict::likely(
        VerdictId::ServerSlow,
        cause,
        "put `state` on a faster disk: `lanboot status` shows the time of commits, `journalctl -u lanboot` the errors",
    ))
}

pub fn link_flaps(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let is_late = e.first_secs > LATE_LINK && !e.exchange.is_ipxe && is_unheard(e);
    is_late.then(|| {
        Verdict::likely(
            VerdictId::LinkFlaps,
            format!("the first DISCOVER that arrived was {} s old: the link was down before", e.first_secs),
            "enable portfast (edge port) on the machine's switch port, so that spanning tree opens it at once",
        )
    })
}

pub fn offers_not_selected(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let x = &e.exchange;
    let has_two = x.proxy || x.heard_offer.is_some();
    if e.step != Step::Asked || !has_two || !is_unheard(e) || !heard_offers(e) {
        return None;
    }
    let other = x.heard_offer.map_or_else(|| "the DHCP server".to_owned(), |server| server.to_string());
    Some(Verdict::likely(
        VerdictId::OffersNotSelected,
        format!(
            "the machine received our offer and that of {other} and took neither: its firmware does not combine them"
        ),
        format!(
            "let one server send both address and boot file: set option 67 and next-server on {other} to this server, or use \
             `dhcp: {{mode: server}}` here and switch off DHCP there"
        ),
    ))
}

/// Whether the DISCOVERs are those of firmware that received offers. iPXE states it in `secs`
/// (`count << 2 | offer << 1 | proxy`). Others retry when the time to select an offer is over, after 4, 8 and 16 s
/// (EDK2 `Dhcp4Io.c`).
fn heard_offers(e: &Evidence) -> bool {
    let x = &e.exchange;
    if x.is_ipxe {
        return x.secs & 3 != 0;
    }
    x.discovers == 1 || x.gap >= 3_000
}

pub fn replies_lost(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    if !is_unheard(e) {
        return None;
    }
    let x = &e.exchange;
    let (cause, certain) = match e.step {
        Step::Requested if x.acked == 0 && x.requests == 1 => {
            ("the machine's REQUEST got no ACK".to_owned(), false)
        }
        Step::Named if x.is_bootp => {
            ("the machine repeats its BOOTREQUEST although it was answered".to_owned(), x.repeated > 1)
        }
        Step::Requested | Step::Named => {
            let certain = e.step == Step::Requested || x.repeated > 1;
            ("the machine repeats its REQUEST although it was answered".to_owned(), certain)
        }
        _ if x.discovers > 1 => (
            format!(
                "the machine sent {} DISCOVERs, we answered {}, and it took no offer",
                x.discovers, x.answered
            ),
            x.discovers >= ENOUGH_DISCOVERS,
        ),
        _ => ("the machine did not react to our offer".to_owned(), false),
    };
    let advice = "look for a firewall, a switch with DHCP snooping or another VLAN between this server and the machine: `lanboot \
                  capture MAC` shows both directions";
    let verdict = if certain { Verdict::certain } else { Verdict::likely };
    Some(verdict(VerdictId::RepliesLost, cause, advice.to_owned()))
}
