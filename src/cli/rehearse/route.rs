//! Decides whether a machine can reach a server from its address. `chain.rs` calls it. It looks only at the ACK.

use std::net::Ipv4Addr;

use crate::types::Ipv4Network;
use crate::wire::dhcp::Message;
use crate::wire::option::code;

/// The address in `server`, which may have a port; `None` if it is a host name.
pub(super) fn host(server: &str) -> Option<Ipv4Addr> {
    server.split(':').next()?.parse().ok()
}

pub(super) fn has_router(ack: &[u8]) -> bool {
    let Ok(ack) = Message::decode(ack) else { return true };
    [code::ROUTER, code::CLASSLESS_ROUTES].iter().any(|code| ack.options.get(*code).is_some())
}

/// The address of `server` and the machine's network, if the server is outside that network and the machine has no
/// router.
pub(super) fn without_route(ack: &[u8], server: &str) -> Option<(Ipv4Addr, Ipv4Network)> {
    let server = host(server)?;
    let message = Message::decode(ack).ok()?;
    let mask = message.options.ip(code::SUBNET_MASK)?;
    let prefix = u8::try_from(u32::from(mask).leading_ones()).ok()?;
    let network = Ipv4Network::new(message.yiaddr, prefix)?;
    let is_stuck = !message.yiaddr.is_unspecified() && !network.contains(server) && !has_router(ack);
    is_stuck.then_some((server, network))
}
