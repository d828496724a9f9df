//! Who sends to the port of another client's transfer (RFC 1350 section 4: the transfer is not disturbed, and the sender is
//! told that it is none of his).

use std::net::SocketAddrV4;

use crate::wire::tftp::{Packet, stray};

/// Strangers of one transfer that are told.
const MAX_TOLD: usize = 8;
/// Packets of strangers that are looked at in one transfer.
const MAX_PACKETS: u32 = 64;

/// The strangers of one transfer.
#[derive(Debug, Default)]
pub struct Strangers {
    told: Vec<SocketAddrV4>,
    packets: u32,
}

impl Strangers {
    /// What `from`, who may ask for files here or not, gets for `datagram`: each of them one answer at most (T-15), so that
    /// nobody is made to flood him.
    pub fn answer(&mut self, datagram: &[u8], from: SocketAddrV4, may_ask: bool) -> Option<Packet<'static>> {
        self.packets = self.packets.saturating_add(1);
        if !may_ask || self.told.len() >= MAX_TOLD || self.told.contains(&from) {
            return None;
        }
        let answer = stray(datagram)?;
        self.told.push(from);
        Some(answer)
    }

    /// Whether no more of their packets are to be looked at: it is a flood.
    pub fn are_too_many(&self) -> bool {
        self.packets >= MAX_PACKETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tftp::ErrorCode;

    fn stranger(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([10, 0, 0, 9].into(), port)
    }

    #[test]
    fn t_15_a_stranger_is_told_once_and_an_error_is_never_answered() {
        let mut strangers = Strangers::default();
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"stop" }.encode();
        let ack = Packet::Ack(1).encode();
        let told = Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER, message: b"Unknown transfer ID" };
        assert_eq!(strangers.answer(&error, stranger(7), true), None);
        assert_eq!(strangers.answer(b"no packet", stranger(7), true), None);
        assert_eq!(strangers.answer(&ack, stranger(7), false), None);
        assert_eq!(strangers.answer(&ack, stranger(7), true), Some(told));
        assert_eq!(strangers.answer(&ack, stranger(7), true), None);
        assert_eq!(strangers.answer(&ack, stranger(8), true), Some(told), "another one");
    }

    #[test]
    fn a_flood_of_strangers_gets_few_answers_and_an_end() {
        let mut strangers = Strangers::default();
        let ack = Packet::Ack(1).encode();
        let (mut answers, mut looked_at) = (0, 0);
        while !strangers.are_too_many() {
            looked_at += 1;
            answers += usize::from(strangers.answer(&ack, stranger(looked_at), true).is_some());
        }
        assert_eq!((answers, looked_at), (MAX_TOLD, 64));
    }
}
