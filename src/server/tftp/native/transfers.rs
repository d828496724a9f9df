//! The transfers of one thread, found by epoll token or by client.

use std::collections::HashMap;

use super::transfer::Session;
use crate::tftp::admission::Flow;

/// The transfers of a thread. The token of an ended transfer is never reused, although its slot is.
#[derive(Default)]
pub struct Sessions {
    slots: Vec<(u32, Option<Session>)>,
    free: Vec<u32>,
    by_flow: HashMap<Flow, u64>,
}

impl Sessions {
    pub fn insert(&mut self, session: Session) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        let token = u64::from(slot.0) << 32 | u64::from(index);
        self.by_flow.insert(session.id().flow, token);
        slot.1 = Some(session);
        token
    }

    pub fn get(&mut self, token: u64) -> Option<&mut Session> {
        let slot = self.slots.get_mut((token & 0xffff_ffff) as usize)?;
        if u64::from(slot.0) == token >> 32 { slot.1.as_mut() } else { None }
    }

    pub fn remove(&mut self, token: u64) -> Option<Session> {
        let index = token & 0xffff_ffff;
        let slot = self.slots.get_mut(index as usize).filter(|slot| u64::from(slot.0) == token >> 32)?;
        let session = slot.1.take()?;
        // The two highest bits mark other event sources: see `worker.rs`.
        slot.0 = (slot.0 + 1) & 0x3fff_ffff;
        self.free.push(index as u32);
        let flow = session.id().flow;
        // A client has two transfers if the first one was evicted by another thread, and it sent a new request before
        // this thread was notified.
        if self.by_flow.get(&flow) == Some(&token) {
            self.by_flow.remove(&flow);
        }
        Some(session)
    }

    pub fn find(&self, flow: &Flow) -> Option<u64> {
        self.by_flow.get(flow).copied()
    }

    pub fn tokens(&self) -> Vec<u64> {
        self.by_flow.values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::images::Content;
    use crate::server::tftp::native::blocks::Source;
    use crate::server::tftp::native::send::SendMethod;
    use crate::server::tftp::native::socket::Link;
    use crate::tftp::Granted;
    use crate::tftp::admission::TransferId;
    use crate::wire::tftp::Mode;

    #[test]
    fn ending_a_transfer_keeps_its_successor() {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let (local, peer) = (IpAddr::V4(Ipv4Addr::LOCALHOST), SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        let flow = Flow { peer, local };
        let session = |serial| {
            let granted =
                Granted { block_size: 512, window: 1, timeout: None, oack: None, asked_size: false };
            let source =
                Source::new(Content::text("x", b"x".to_vec()), Mode::Octet, 512, serial, &Arc::default());
            let link = Link::Shared { socket: Arc::clone(&socket), local, peer };
            Session::start(
                TransferId { flow, serial },
                granted,
                source,
                (link, SendMethod::Segments),
                Duration::ZERO,
            )
            .0
        };
        let mut sessions = Sessions::default();
        let first = sessions.insert(session(1));
        let second = sessions.insert(session(2));
        assert!(sessions.remove(first).is_some());
        assert_eq!(sessions.find(&flow), Some(second));
        assert!(sessions.remove(second).is_some());
        assert_eq!(sessions.find(&flow), None);
    }
}
