//! Which of the offers a client takes, by the rules of its firmware.

use std::net::Ipv4Addr;

use super::offer::{Class, Offer, Unusable};
use super::profile::Firmware;
use super::step::Failure;
use crate::wire::option::code;

/// What a client decided on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    /// Whose address it asks for.
    pub(super) address: Offer,
    /// Where it learns what to boot.
    pub(super) plan: Plan,
}

/// Where a client learns what to boot once it has an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// From the ACK.
    Ack,
    /// From this offer.
    Offer(Offer),
    /// By asking these on port 4011, one after the other.
    BootServers(Vec<Offer>),
}

/// What the client takes, if it can do with these offers. `over` means that it has collected long enough.
pub(super) fn choose(firmware: Firmware, offers: &[Offer], over: bool) -> Option<Choice> {
    match firmware {
        Firmware::BiosPxe | Firmware::Uefi => choose_as_pxe(offers),
        Firmware::UefiHttp => choose_as_http(offers),
        Firmware::Ipxe => choose_as_ipxe(offers, over),
        Firmware::Bootp => offers.first().map(|offer| take(offer, Plan::Ack)),
    }
}

/// Whether the client may go on with what it has although it has not collected long enough: iPXE waits only for what may
/// still be a proxy's (`dhcp.c`, `dhcp_discovery_rx`).
pub(super) fn is_complete(firmware: Firmware, offers: &[Offer]) -> bool {
    match firmware {
        Firmware::Ipxe => choose_as_ipxe(offers, false).is_some(),
        _ => false,
    }
}

/// EDK2, `PxeBcSelectDhcp4Offer`, and PXE 2.1 section 2.2.1, which it follows.
fn choose_as_pxe(offers: &[Offer]) -> Option<Choice> {
    let address = |wanted: &dyn Fn(&Offer) -> bool| offers.iter().find(|o| !o.is_proxy() && wanted(o));
    let proxies = || offers.iter().filter(|offer| offer.is_proxy());
    // 1. One server says all.
    if let Some(offer) = address(&|offer| offer.vendor.discovers) {
        return Some(take(offer, Plan::Ack));
    }
    // 2. One gives the address and another says what to boot.
    let plain = address(&|offer| offer.class != Class::Pxe);
    let proxy = proxies().find(|offer| offer.vendor.discovers);
    if let (Some(offer), Some(proxy)) = (plain, proxy) {
        return Some(take(offer, Plan::Offer(proxy.clone())));
    }
    // 3. One server gives the address, and is asked on port 4011 even if it names a file here.
    if let Some(offer) = address(&|offer| offer.asks_boot_server()) {
        return Some(take(offer, Plan::BootServers(vec![offer.clone()])));
    }
    // 4. The same with two: every such proxy is asked.
    let askable: Vec<Offer> = proxies().filter(|offer| offer.asks_boot_server()).cloned().collect();
    if let Some(offer) = plain.filter(|_| !askable.is_empty()) {
        return Some(take(offer, Plan::BootServers(askable)));
    }
    // 5. Plain DHCP with a boot file.
    address(&|offer| !offer.file.is_empty()).map(|offer| take(offer, Plan::Ack))
}

/// EDK2, `HttpBootSelectDhcpOffer`. The URL counts as it stands in the OFFER.
fn choose_as_http(offers: &[Offer]) -> Option<Choice> {
    let with_url = |proxy: bool, needs_dns: bool| {
        offers.iter().find(|offer| {
            offer.class == Class::Http && offer.is_proxy() == proxy && names_host(&offer.file) == needs_dns
        })
    };
    let address = |dns: bool| offers.iter().find(|offer| !offer.is_proxy() && (!dns || has_dns(offer)));
    if let Some(offer) = with_url(false, false) {
        return Some(take(offer, Plan::Offer(offer.clone())));
    }
    if let Some(offer) = with_url(false, true).filter(|offer| has_dns(offer)) {
        return Some(take(offer, Plan::Offer(offer.clone())));
    }
    if let (Some(offer), Some(proxy)) = (address(false), with_url(true, false)) {
        return Some(take(offer, Plan::Offer(proxy.clone())));
    }
    let named = with_url(true, true).or_else(|| with_url(false, true));
    match (address(true), named) {
        (Some(offer), Some(named)) => Some(take(offer, Plan::Offer(named.clone()))),
        _ => None,
    }
}

/// iPXE, `dhcp_discovery_rx` and `dhcp_request_rx`: of equal offers the last counts. An offer that gives an address and
/// says PXEClient is its own proxy's.
fn choose_as_ipxe(offers: &[Offer], over: bool) -> Option<Choice> {
    let best = |offers: Vec<&Offer>| offers.into_iter().max_by_key(|offer| offer.priority()).cloned();
    let address = best(offers.iter().filter(|offer| !offer.is_proxy()).collect())?;
    if address.ignores_proxies() {
        return Some(Choice { address, plan: Plan::Ack });
    }
    let Some(proxy) = best(offers.iter().filter(|offer| offer.class == Class::Pxe).collect()) else {
        return over.then_some(Choice { address, plan: Plan::Ack });
    };
    // `dhcp_has_pxeopts`: a server and a file, or a menu.
    let says_what = !proxy.siaddr.is_unspecified() && !proxy.file.is_empty() || !proxy.vendor.menu.is_empty();
    let plan = if says_what { Plan::Offer(proxy) } else { Plan::BootServers(vec![proxy]) };
    Some(Choice { address, plan })
}

fn take(offer: &Offer, plan: Plan) -> Choice {
    Choice { address: offer.clone(), plan }
}

fn has_dns(offer: &Offer) -> bool {
    offer.options.get(code::DNS).is_some()
}

/// Whether a URL has a name where an address could be.
fn names_host(url: &[u8]) -> bool {
    let url = String::from_utf8_lossy(url);
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', ':', '?', '#']).next().unwrap_or_default();
    host.parse::<Ipv4Addr>().is_err()
}

/// Why these offers do not make a boot.
pub(super) fn shortfall(
    firmware: Firmware,
    offers: &[Offer],
    waited: std::time::Duration,
) -> Option<Failure> {
    let address = offers.iter().find(|offer| !offer.is_proxy());
    let Some(address) = address else {
        let proxy = offers.first()?;
        return Some(Failure::OnlyProxy { proxy: proxy.server, waited });
    };
    let reason = match firmware {
        Firmware::UefiHttp if offers.iter().any(|offer| offer.class == Class::Http) => Unusable::NoDns,
        Firmware::UefiHttp if !address.file.is_empty() => Unusable::NotForHttp,
        _ => Unusable::NoFile,
    };
    Some(Failure::NoOffer { waited, ignored: Some((address.server, reason)) })
}
