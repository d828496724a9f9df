//! A client older than DHCP (RFC 951): one request, one reply, and only the header counts (sections 3 and 7).

use super::packet::Packet;
use crate::probe::models::verdict::{
    Boot, Code, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict, answers, boots, fails,
};
use crate::wire::dhcp::until_nul;

/// Returns the machine's reaction to these replies.
pub(super) fn judge(replies: &[ReceivedReply<'_>]) -> Verdict {
    let reply = answers(replies, RequestKind::Discover)
        .filter_map(|received| Packet::new(received.payload))
        .find(|packet| !packet.yiaddr().is_unspecified());
    let Some(reply) = reply else { return fails(Code::Silent, "it received no reply that gives an address") };
    let file = until_nul(reply.file());
    if file.is_empty() {
        return fails(Code::Silent, "the reply names no boot file in its header");
    }
    if reply.siaddr().is_unspecified() {
        return fails(Code::Silent, "the reply names no server in its header: siaddr is 0");
    }
    boots(Boot {
        by: Protocol::Tftp,
        server: reply.siaddr().to_string(),
        file: file.to_vec(),
        announced: None,
        kept: KeptReplies { ack: reply.0.to_vec(), ..KeptReplies::default() },
    })
}
