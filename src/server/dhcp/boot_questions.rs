//! The questions that the socket of the boot service received, for `server/capture.rs`: it sees what was on the wire, and
//! compares. The proxy adds each datagram to port 4011, and no other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::MacAddr;

/// Maximum number of questions that are remembered. Each is asked for within a second.
const MAX_SEEN: usize = 4096;

/// The questions that were received. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct BootQuestions(Arc<Mutex<Received>>);

#[derive(Debug, Default)]
struct Received {
    /// Whether the port is open.
    is_open: bool,
    questions: VecDeque<(MacAddr, u32)>,
}

impl BootQuestions {
    /// The port is open until the result is dropped.
    pub fn open(&self) -> OpenPort {
        self.lock().is_open = true;
        OpenPort(self.clone())
    }

    /// Remembers the question in `datagram`.
    pub fn note(&self, datagram: &[u8]) {
        // `xid` is at byte 4, `chaddr` at byte 28 (RFC 2131 section 2).
        let xid = datagram.get(4..8).and_then(|bytes| bytes.try_into().ok());
        let mac = datagram.get(28..34).and_then(|bytes| bytes.try_into().ok());
        let (Some(xid), Some(mac)) = (xid, mac) else { return };
        let mut received = self.lock();
        if received.questions.len() >= MAX_SEEN {
            received.questions.pop_front();
        }
        received.questions.push_back((MacAddr(mac), u32::from_be_bytes(xid)));
    }

    /// Whether the socket received this question. While the port is not open, it missed nothing: another program may have
    /// the port.
    pub fn has(&self, mac: MacAddr, xid: u32) -> bool {
        let received = self.lock();
        !received.is_open || received.questions.contains(&(mac, xid))
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        // Each change is complete in itself, so it is consistent after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open port of the boot service.
#[derive(Debug)]
pub struct OpenPort(BootQuestions);

impl Drop for OpenPort {
    fn drop(&mut self) {
        self.0.lock().is_open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_missed_only_while_the_port_is_open() {
        let (questions, mac) = (BootQuestions::default(), MacAddr([2, 0, 0, 0, 0, 1]));
        let mut message = [0; 240];
        message[4..8].copy_from_slice(&7_u32.to_be_bytes());
        message[28..34].copy_from_slice(&mac.0);
        questions.note(&message);
        questions.note(&message[..30]);
        assert!(questions.has(mac, 8), "the port is closed");
        let open = questions.open();
        assert_eq!((questions.has(mac, 7), questions.has(mac, 8)), (true, false));
        message[7] = 9;
        (0..MAX_SEEN).for_each(|_| questions.note(&message));
        assert!(!questions.has(mac, 7), "it is forgotten");
        drop(open);
        assert!(questions.has(mac, 7), "the port is closed again");
    }
}
