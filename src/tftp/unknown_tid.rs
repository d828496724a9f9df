//! Datagrams from an unknown TID: they arrive at the port of another client's transfer. RFC 1350 section 4: the
//! transfer continues undisturbed and the sender gets an ERROR.

use std::net::SocketAddr;

use crate::wire::tftp::{Packet, reply_to_unknown_tid};

/// The maximum number of senders per transfer that get an ERROR.
const MAX_ANSWERED: usize = 8;
/// The maximum number of such datagrams processed per transfer.
const MAX_PACKETS: u32 = 64;

/// The unknown senders at the port of one transfer.
#[derive(Debug, Default)]
pub struct UnknownTids {
    answered: Vec<SocketAddr>,
    packets: u32,
}

impl UnknownTids {
    /// Returns the reply to `datagram` from `from`; `may_ask` says whether the sender is in a served network. Each
    /// sender gets at most one reply (T-15), so that a forged source address cannot cause a flood.
    pub fn answer(&mut self, datagram: &[u8], from: SocketAddr, may_ask: bool) -> Option<Packet<'static>> {
        self.packets = self.packets.saturating_add(1);
        if !may_ask || self.answered.len() >= MAX_ANSWERED || self.answered.contains(&from) {
            return None;
        }
        let answer = reply_to_unknown_tid(datagram)?;
        self.answered.push(from);
        Some(answer)
    }

    /// Whether the datagrams are a flood, so that further ones should be ignored.
    pub fn is_flood(&self) -> bool {
        self.packets >= MAX_PACKETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tftp::ErrorCode;

    fn sender(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 9], port))
    }

    #[test]
    fn t_15_an_unknown_tid_gets_one_error_and_errors_none() {
        let mut senders = UnknownTids::default();
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"stop" }.encode();
        let ack = Packet::Ack(1).encode();
        let answered = Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER, message: b"Unknown transfer ID" };
        assert_eq!(senders.answer(&error, sender(7), true), None);
        assert_eq!(senders.answer(b"no packet", sender(7), true), None);
        assert_eq!(senders.answer(&ack, sender(7), false), None);
        assert_eq!(senders.answer(&ack, sender(7), true), Some(answered));
        assert_eq!(senders.answer(&ack, sender(7), true), None);
        assert_eq!(senders.answer(&ack, sender(8), true), Some(answered), "another one");
    }

    #[test]
    fn a_flood_from_unknown_tids_gets_few_replies() {
        let mut senders = UnknownTids::default();
        let ack = Packet::Ack(1).encode();
        let (mut answers, mut looked_at) = (0, 0);
        while !senders.is_flood() {
            looked_at += 1;
            answers += usize::from(senders.answer(&ack, sender(looked_at), true).is_some());
        }
        assert_eq!((answers, looked_at), (MAX_ANSWERED, 64));
    }
}
