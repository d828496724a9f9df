//! U-Boot's `dhcp` (`net/bootp.c`), without `SERVERIP_FROM_PROXYDHCP`.
//!
//! U-Boot takes the first OFFER with an address and ignores proxies. It stores the header's file after option 67, so
//! the header overrides the option. It ignores option 66; the server is siaddr.

use super::packet::{Packet, first};
use crate::probe::models::verdict::{
    Boot, Code, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails, failure,
};
use crate::wire::dhcp::{MessageType, until_nul};
use crate::wire::option::code;

/// Returns the machine's reaction to these replies.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let Some(offer) = answers(replies, RequestKind::Discover).find_map(reply) else {
        return fails(Code::Silent, "it received no offer of an address from port 67");
    };
    let ack = answers(replies, RequestKind::Request).filter_map(reply).find(|ack| {
        // `dhcp_message_type` requires the cookie and accepts any length.
        let kind = ack.first(code::MESSAGE_TYPE).and_then(|value| value.first().copied());
        ack.has_cookie() && kind == Some(MessageType::Ack.number())
    });
    let Some(ack) = ack else {
        let server = offer.address(code::SERVER_IDENTIFIER).unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
        let unanswered = failure(Code::Silent, "the server does not answer the REQUEST");
        return Verdict::Requests { server, address: offer.yiaddr(), unanswered };
    };
    let server = [ack.siaddr(), offer.siaddr()].into_iter().find(|address| !address.is_unspecified());
    let Some(server) = server else {
        return fails(Code::Silent, "`serverip` not set: siaddr is 0, and U-Boot ignores option 66");
    };
    boots(Boot {
        by: Protocol::Tftp,
        server: server.to_string(),
        file: file(ack),
        announced: None,
        kept: KeptReplies { ack: ack.0.to_vec(), ..KeptReplies::default() },
    })
}

/// Returns a reply that U-Boot accepts (`check_reply_packet`, `dhcp_handler`): it must assign an address.
fn reply<'a>(received: &ReceivedReply<'a>) -> Option<Packet<'a>> {
    let packet = Packet::new(received.payload).filter(|_| received.source.port() == 67)?;
    (!packet.yiaddr().is_unspecified()).then_some(packet)
}

/// Returns the file (`store_bootp_params`, `dhcp_process_options`); without one, the address in hexadecimal with `.img`
/// (`tftp_start`).
fn file(ack: Packet<'_>) -> Vec<u8> {
    let overload = ack.first(code::OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
    let header = until_nul(ack.file());
    if overload & 1 == 0 && !header.is_empty() {
        return header.to_vec();
    }
    let overloaded = (overload & 1 != 0).then(|| ack.file());
    let option =
        [Some(ack.options()), overloaded].into_iter().flatten().find_map(|a| first(a, code::BOOT_FILE_NAME));
    match option.map(until_nul) {
        Some(name) if !name.is_empty() => name.to_vec(),
        _ => format!("{:08X}.img", u32::from(ack.yiaddr())).into_bytes(),
    }
}
