//! A client older than DHCP (RFC 951): one request, one reply, and only the header counts (sections 3 and 7).

use super::packet::Packet;
use super::{Boot, Code, Heard, Left, Protocol, Question, Verdict, answers, boots, fails};
use crate::wire::dhcp::until_nul;

/// Returns the machine's reaction to these replies.
pub(super) fn judge(heard: &[Heard<'_>]) -> Verdict {
    let reply = answers(heard, Question::Discover)
        .filter_map(|heard| Packet::new(heard.payload))
        .find(|packet| !packet.yiaddr().is_unspecified());
    let Some(reply) = reply else { return fails(Code::Silent, "it heard no reply that gives an address") };
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
        left: Left { ack: reply.0.to_vec(), ..Left::default() },
    })
}
