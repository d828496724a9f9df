//! The captured packets, shared by `GET /api/v1/boots/{id}/pcap` and by `server/capture.rs`, which fills them in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::capture::ring::Ring;
use crate::types::InterfaceName;

/// The captured packets of all machines. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct SharedCapture(Arc<Mutex<State>>);

/// The packets, and the interfaces on which packets are captured.
#[derive(Debug, Default)]
pub struct State {
    pub ring: Ring,
    /// Each served interface by its name, with the reason if its packets cannot be captured.
    pub interfaces: BTreeMap<InterfaceName, Result<(), String>>,
}

impl SharedCapture {
    /// Locks the packets. They are consistent after a panic, because each packet is complete in itself.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The reasons why no packet can be captured now; `None` if any interface is captured.
    pub fn why_none(&self) -> Option<String> {
        if self.interfaces.values().any(Result::is_ok) {
            return None;
        }
        let reasons = self.interfaces.values().filter_map(|state| state.as_ref().err());
        let reasons: Vec<&str> = reasons.map(String::as_str).collect();
        Some(match reasons[..] {
            [] => "no interface is served now".to_owned(),
            _ => reasons.join("; "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_captured_interface_is_enough() {
        let mut state = State::default();
        assert_eq!(state.why_none().as_deref(), Some("no interface is served now"));
        state.interfaces.insert("eth0".into(), Err("eth0: not permitted".to_owned()));
        state.interfaces.insert("lo".into(), Err("lo: no wire".to_owned()));
        assert_eq!(state.why_none().as_deref(), Some("eth0: not permitted; lo: no wire"));
        state.interfaces.insert("eth1".into(), Ok(()));
        assert_eq!(state.why_none(), None);
    }
}
