//! Chooses among the offers by the rules of each firmware.

use std::net::Ipv4Addr;

use super::offer::{Class, Offer, Unusable};
use super::profile::Firmware;
use super::step::Failure;
use crate::wire::option::code;

/// The decision of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    /// The offer whose address the client requests.
    pub(super) address: Offer,
    pub(super) plan: Plan,
}

/// The source of the boot file once the client has an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// The ACK.
    Ack,
    /// This offer.
    Offer(Offer),
    /// The answer of one of these servers on port 4011, asked in order.
    BootServers(Vec<Offer>),
}

/// Returns the client's choice, if these offers are sufficient. `over` says that the time for collecting is over.
pub(super) fn choose(firmware: Firmware, offers: &[Offer], over: bool) -> Option<Choice> {
    match firmware {
        Firmware::BiosPxe | Firmware::Uefi => choose_as_pxe(offers),
        Firmware::UefiHttp => choose_as_http(offers),
        Firmware::Ipxe => choose_as_ipxe(offers, over),
        Firmware::Bootp => offers.first().map(|offer| take(offer, Plan::Ack)),
    }
}

/// Whether the client may choose before the time for collecting is over. iPXE waits only if a proxy's offer may still
/// follow (`dhcp.c`, `dhcp_discovery_rx`).
pub(super) fn is_complete(firmware: Firmware, offers: &[Offer]) -> bool {
    match firmware {
        Firmware::Ipxe => choose_as_ipxe(offers, false).is_some(),
        _ => false,
    }
}

/// The rules of EDK2 (`PxeBcSelectDhcp4Offer`) and of PXE 2.1 section 2.2.1, which EDK2 follows.
fn choose_as_pxe(offers: &[Offer]) -> Option<Choice> {
    let address = |wanted: &dyn Fn(&Offer) -> bool| offers.iter().find(|o| !o.is_proxy() && wanted(o));
    let proxies = || offers.iter().filter(|offer| offer.is_proxy());
    // 1. One server offers an address and a menu or boot file.
    if let Some(offer) = address(&|offer| offer.vendor.discovers) {
        return Some(take(offer, Plan::Ack));
    }
    // 2. One server offers the address, another one the boot file.
    let plain = address(&|offer| offer.class != Class::Pxe);
    let proxy = proxies().find(|offer| offer.vendor.discovers);
    if let (Some(offer), Some(proxy)) = (plain, proxy) {
        return Some(take(offer, Plan::Offer(proxy.clone())));
    }
    // 3. One server offers the address, and is asked on port 4011 even if it names a file here.
    if let Some(offer) = address(&|offer| offer.asks_boot_server()) {
        return Some(take(offer, Plan::BootServers(vec![offer.clone()])));
    }
    // 4. The same with two servers: all such proxies are asked.
    let askable: Vec<Offer> = proxies().filter(|offer| offer.asks_boot_server()).cloned().collect();
    if let Some(offer) = plain.filter(|_| !askable.is_empty()) {
        return Some(take(offer, Plan::BootServers(askable)));
    }
    // 5. Plain DHCP with a boot file.
    address(&|offer| !offer.file.is_empty()).map(|offer| take(offer, Plan::Ack))
}

/// The rules of EDK2 (`HttpBootSelectDhcpOffer`). The URL is taken from the OFFER.
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

/// The rules of iPXE (`dhcp_discovery_rx` and `dhcp_request_rx`): of equal offers the last one counts. An offer with an
/// address and PXEClient is also a proxy's offer.
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
    let names_boot =
        !proxy.siaddr.is_unspecified() && !proxy.file.is_empty() || !proxy.vendor.menu.is_empty();
    let plan = if names_boot { Plan::Offer(proxy) } else { Plan::BootServers(vec![proxy]) };
    Some(Choice { address, plan })
}

fn take(offer: &Offer, plan: Plan) -> Choice {
    Choice { address: offer.clone(), plan }
}

fn has_dns(offer: &Offer) -> bool {
    offer.options.get(code::DNS).is_some()
}

/// Whether a URL has a host name instead of an address.
fn names_host(url: &[u8]) -> bool {
    let url = String::from_utf8_lossy(url);
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', ':', '?', '#']).next().unwrap_or_default();
    host.parse::<Ipv4Addr>().is_err()
}

/// Returns the reason why these offers do not lead to a boot.
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
