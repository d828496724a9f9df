//! Records a fault once that occurs at every request. Templates and generated scripts report here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::boot::loader::facts::Facts;
use crate::event::{Event, Record};
use crate::record::Recorder;
use crate::types::MachineId;

/// Maximum number of remembered faults. When it is reached, all are forgotten and therefore recorded again.
const MAX_REMEMBERED: usize = 1024;

/// A fault of a text that is made for a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The fault without the machine. All machines that have the same fault get one line together.
    pub what: String,
    /// The line for the log, with the machine.
    pub line: String,
}

/// The recorded faults of each file, each with the machine that it was recorded for. Cheap to clone; clones share the
/// memory.
#[derive(Clone, Debug, Default)]
pub struct LogOnce {
    recorder: Recorder,
    logged: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

impl LogOnce {
    pub fn new(recorder: Recorder) -> LogOnce {
        LogOnce { recorder, logged: Arc::default() }
    }

    /// Records that the text `name` was made for the machine of `facts`, or its `fault` unless that is recorded already.
    /// A fault is over when the machine that it was recorded for gets its text.
    pub fn report(&self, name: &str, facts: &Facts<'_>, fault: Option<Fault>) {
        let machine = facts.label();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Fault { what, line }) = fault else {
            logged.retain(|(of, _), whom| of != name || *whom != machine);
            return;
        };
        let key = (name.to_owned(), what);
        if logged.contains_key(&key) {
            return;
        }
        if logged.len() >= MAX_REMEMBERED {
            logged.clear();
        }
        // The machine has another fault now.
        logged.retain(|(of, _), whom| of != name || *whom != machine);
        logged.insert(key, machine);
        drop(logged);
        let event = Event::TextFailed { file: name.to_owned(), problem: line };
        let record = Record { at: self.recorder.now(), interface: None, machine: id_of(facts), event };
        self.recorder.record(record);
    }
}

fn id_of(facts: &Facts<'_>) -> Option<MachineId> {
    let name = facts.machine.map(|machine| machine.name.as_str().into());
    MachineId { mac: facts.mac, uuid: facts.uuid, client: None, name }.if_known()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn r_48_a_fault_is_recorded_once_not_once_per_machine() {
        let recorder = Recorder::default();
        let (log_once, records) = (LogOnce::new(recorder.clone()), recorder.subscribe(100));
        let facts = |n: u8| Facts {
            server: Ipv4Addr::LOCALHOST.into(),
            ip: Some([10, 0, 0, n].into()),
            mac: None,
            uuid: None,
            arch: None,
            serial: None,
            host_name: None,
            machine: None,
        };
        let fault = |n: u8| Fault { what: "x".to_owned(), line: format!("x (for 10.0.0.{n})") };
        for n in [1, 2, 3, 1, 2, 3] {
            log_once.report("ks.cfg.j2", &facts(n), Some(fault(n)));
        }
        let batch = records.take();
        let recorded: Vec<_> = batch.records().collect();
        assert_eq!(recorded.len(), 1);
        let problem = "x (for 10.0.0.1)".to_owned();
        assert_eq!(recorded[0].event, Event::TextFailed { file: "ks.cfg.j2".to_owned(), problem });
        log_once.report("ks.cfg.j2", &facts(2), None);
        log_once.report("ks.cfg.j2", &facts(3), Some(fault(3)));
        assert!(records.take().is_empty(), "the first machine still has it");
        log_once.report("ks.cfg.j2", &facts(1), None);
        log_once.report("ks.cfg.j2", &facts(3), Some(fault(3)));
        log_once.report("other.j2", &facts(3), Some(fault(3)));
        assert_eq!(records.take().len(), 2);
    }
}
