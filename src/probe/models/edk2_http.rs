//! EDK2's HTTP boot (`NetworkPkg/HttpBootDxe`). It collects offers for 4, 8, 16 and 32 s as PXE does, and reads the URL
//! from an OFFER; the ACK only confirms the address.

use std::net::Ipv4Addr;

use super::edk2::{self, Parameters};
use super::packet::Packet;
use crate::probe::models::verdict::{
    Boot, Code, KeptReplies, Protocol, ReceivedReply, Verdict, boots, fails, failure,
};
use crate::wire::option::code;
use crate::wire::pxe::HTTP_CLIENT;

/// The kind of an offer (`HTTP_BOOT_OFFER_TYPE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind {
    is_proxy: bool,
    url: Option<Host>,
    /// Whether the offer has a DNS server (option 6).
    has_dns: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Host {
    Address,
    Name,
}

struct Parsed<'a> {
    packet: Packet<'a>,
    read: Parameters,
    kind: Kind,
    url: Vec<u8>,
    bytes: Vec<u8>,
}

/// Returns the machine's reaction to these replies.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let (offers, mut dropped) = edk2::offers(replies);
    let mut kept = Vec::new();
    for (packet, read) in offers {
        match parse(packet, read) {
            Ok(parsed) => kept.push(parsed),
            Err(why) => dropped = Some(why.to_owned()),
        }
    }
    let Some((selected, url_offer)) = select(&kept) else {
        return fails(Code::Http, nothing_selected(&kept, dropped));
    };
    let silence = || failure(Code::Http, "the server does not answer the REQUEST");
    let ack = match edk2::acknowledged((selected.packet, selected.read), replies, silence) {
        Ok(ack) => ack,
        Err(Verdict::Fails(failed)) => return fails(Code::Http, failed.why),
        Err(verdict) => return verdict,
    };
    let Some((by, server, file)) = split(&url_offer.url) else {
        return fails(Code::Http, "the boot file is no http:// or https:// URL");
    };
    let kept = KeptReplies {
        ack: ack.0.to_vec(),
        proxy: url_offer.kind.is_proxy.then(|| url_offer.bytes.clone()),
        reply: None,
    };
    boots(Boot { by, server, file, announced: None, kept })
}

/// Parses an offer (`HttpBootParseDhcp4Packet`).
fn parse(packet: Packet<'_>, read: Parameters) -> Result<Parsed<'_>, &'static str> {
    let is_http = edk2::value(packet, code::VENDOR_CLASS).is_some_and(|value| value.starts_with(HTTP_CLIENT));
    let is_proxy = edk2::is_proxy(packet);
    let has_dns = edk2::find(packet, code::DNS).is_some();
    let (file, bytes) = edk2::boot_file(packet);
    let url = match file {
        _ if !is_http && is_proxy => {
            return Err("it gives no address, and its option 60 does not begin with HTTPClient");
        }
        _ if !is_http => None,
        None => return Err("its option 60 is HTTPClient and it names no boot file"),
        Some(url) if url.is_empty() || url.iter().any(|byte| matches!(byte, b' ' | b'\r' | b'\n')) => {
            return Err("its boot file is no URL");
        }
        Some(url) => Some(url),
    };
    let kind = Kind { is_proxy, has_dns, url: url.as_deref().map(host) };
    Ok(Parsed { packet, read, kind, url: url.unwrap_or_default(), bytes })
}

/// Returns whether the host of a URL is an IPv4 address. The scheme is checked only after an offer was chosen
/// (`HttpUrlGetIp4`). A URL without a host counts as one with a host name.
fn host(url: &[u8]) -> Host {
    let text = std::str::from_utf8(url).unwrap_or_default();
    let host = text.split_once("://").and_then(|(_, rest)| rest.split(['/', ':', '?', '#']).next());
    let is_address = host.is_some_and(|host| host.parse::<Ipv4Addr>().is_ok());
    if is_address { Host::Address } else { Host::Name }
}

/// Returns the offer for the address and the offer for the URL, by priority and then by order
/// (`HttpBootSelectDhcpOffer`).
fn select<'k, 'a>(kept: &'k [Parsed<'a>]) -> Option<(&'k Parsed<'a>, &'k Parsed<'a>)> {
    let of = |is_proxy, url, has_dns: Option<bool>| {
        kept.iter().find(move |parsed| {
            let kind = parsed.kind;
            (kind.is_proxy, kind.url) == (is_proxy, url)
                && has_dns.is_none_or(|wanted| kind.has_dns == wanted)
        })
    };
    let alone = |offer: Option<&'k Parsed<'a>>| offer.map(|offer| (offer, offer));
    let dns = of(false, None, Some(true));
    alone(of(false, Some(Host::Address), Some(false)))
        .or_else(|| alone(of(false, Some(Host::Address), Some(true))))
        .or_else(|| alone(of(false, Some(Host::Name), Some(true))))
        .or_else(|| of(false, None, Some(false)).zip(of(true, Some(Host::Address), None)))
        .or_else(|| dns.zip(of(true, Some(Host::Address), None)))
        .or_else(|| dns.zip(of(true, Some(Host::Name), None)))
        .or_else(|| dns.zip(of(false, Some(Host::Name), Some(false))))
}

fn nothing_selected(kept: &[Parsed<'_>], dropped: Option<String>) -> String {
    let has_name = kept.iter().any(|parsed| parsed.kind.url == Some(Host::Name));
    if has_name {
        return "the URL has a name in it and no offer names a DNS server (option 6)".to_owned();
    }
    match dropped {
        Some(why) => why,
        None if kept.is_empty() => "it received no offer".to_owned(),
        None => "no offer has option 60 HTTPClient and a URL".to_owned(),
    }
}

/// Splits an `http` or `https` URL into scheme, host with port, and path (`HttpBootCheckUriScheme`: case is ignored).
pub(super) fn split(url: &[u8]) -> Option<(Protocol, String, Vec<u8>)> {
    let text = std::str::from_utf8(url).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    let by = match scheme.to_ascii_lowercase().as_str() {
        "http" => Protocol::Http,
        "https" => Protocol::Https,
        _ => return None,
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (server, path) = rest.split_at_checked(at)?;
    let path = if path.is_empty() { "/" } else { path };
    Some((by, server.to_owned(), path.as_bytes().to_vec()))
}
