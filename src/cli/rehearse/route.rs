//! Whether a machine can reach a server from the address that it was given. Called by `chain.rs`.

use std::net::Ipv4Addr;

use crate::types::Ipv4Network;
use crate::wire::dhcp::Message;
use crate::wire::option::code;

/// The address of a server that is written as one, with or without its port.
pub(super) fn host(server: &str) -> Option<Ipv4Addr> {
    server.split(':').next()?.parse().ok()
}

pub(super) fn has_router(ack: &[u8]) -> bool {
    let Ok(ack) = Message::decode(ack) else { return true };
    [code::ROUTER, code::CLASSLESS_ROUTES].iter().any(|code| ack.options.get(*code).is_some())
}

/// The address of `server` and the machine's network, if that does not have it and the machine has no router.
pub(super) fn without_route(ack: &[u8], server: &str) -> Option<(Ipv4Addr, Ipv4Network)> {
    let server = host(server)?;
    let message = Message::decode(ack).ok()?;
    let mask = message.options.ip(code::SUBNET_MASK)?;
    let prefix = u8::try_from(u32::from(mask).leading_ones()).ok()?;
    let network = Ipv4Network::new(message.yiaddr, prefix)?;
    let is_stuck = !message.yiaddr.is_unspecified() && !network.contains(server) && !has_router(ack);
    is_stuck.then_some((server, network))
}
