//! Questions to the boot service that were on the wire and did not reach its socket, and the DHCP replies that were sent last.
//! The capture sees both, because a packet socket gets frames before the firewall of this computer.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use crate::types::{MacAddr, Timestamp};

/// Maximum number of questions that wait for the socket. Further ones are not judged.
pub const MAX_WAITING: usize = 256;
/// Maximum number of replies that are remembered.
const MAX_REPLIES: usize = 256;

/// A question to the boot service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub at: Timestamp,
    pub mac: MacAddr,
    pub xid: u32,
    /// The number of the interface that it came by.
    pub interface: u32,
    /// The whole frame.
    pub frame: Box<[u8]>,
}

/// The questions that were on the wire and whose receipt is not known yet.
#[derive(Debug, Default)]
pub struct Waiting(VecDeque<Question>);

impl Waiting {
    /// Adds a question. Returns whether there was room.
    pub fn push(&mut self, question: Question) -> bool {
        let has_room = self.0.len() < MAX_WAITING;
        if has_room {
            self.0.push_back(question);
        }
        has_room
    }

    /// Removes the questions from before `until`, and returns those that the socket did not receive.
    pub fn missed(&mut self, until: Timestamp, was_received: impl Fn(MacAddr, u32) -> bool) -> Vec<Question> {
        let mut missed = Vec::new();
        while self.0.front().is_some_and(|question| question.at < until) {
            let missing = self.0.pop_front().filter(|question| !was_received(question.mac, question.xid));
            missed.extend(missing);
        }
        missed
    }
}

/// The machines to which DHCP replies were sent last, by the address that they were sent to: that of a relay agent serves
/// many machines, and an ICMP error does not quote the hardware address.
#[derive(Debug, Default)]
pub struct Replies(VecDeque<(Ipv4Addr, u32, MacAddr)>);

impl Replies {
    /// Remembers a reply of `bytes` bytes.
    pub fn push(&mut self, to: Ipv4Addr, bytes: u32, mac: MacAddr) {
        if self.0.len() >= MAX_REPLIES {
            self.0.pop_front();
        }
        self.0.push_back((to, bytes, mac));
    }

    /// The machine that got the last reply of this size at this address.
    pub fn machine(&self, to: Ipv4Addr, bytes: u32) -> Option<MacAddr> {
        let found = self.0.iter().rev().find(|(address, size, _)| (*address, *size) == (to, bytes));
        found.map(|(_, _, mac)| *mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn only_questions_that_the_socket_missed_are_returned() {
        let mut waiting = Waiting::default();
        let question =
            |at, xid| Question { at: Timestamp(at), mac: MAC, xid, interface: 2, frame: [].into() };
        for (at, xid) in [(10, 1), (20, 2), (30, 3)] {
            assert!(waiting.push(question(at, xid)));
        }
        assert_eq!(waiting.missed(Timestamp(30), |mac, xid| (mac, xid) == (MAC, 1)), [question(20, 2)]);
        assert_eq!(waiting.missed(Timestamp(31), |_, _| false), [question(30, 3)]);
        let fits = (0..=MAX_WAITING as u64).filter(|at| waiting.push(question(*at, 0))).count();
        assert_eq!(fits, MAX_WAITING);
    }

    #[test]
    fn an_error_about_a_reply_finds_its_machine() {
        let mut replies = Replies::default();
        let (relay, other) = (Ipv4Addr::new(10, 1, 0, 1), MacAddr([2, 0, 0, 0, 0, 2]));
        replies.push(relay, 1200, MAC);
        replies.push(relay, 328, other);
        assert_eq!(replies.machine(relay, 1200), Some(MAC));
        assert_eq!(replies.machine(relay, 1400), None);
        (0..300).for_each(|_| replies.push(relay, 328, other));
        assert_eq!(replies.machine(relay, 1200), None, "it is forgotten");
    }
}
