//! Hosts by what they become: machines, or conditions on clients.

use std::collections::BTreeSet;

use crate::import::condition::Condition;

/// A host that is a condition on clients.
#[derive(Clone, Debug)]
pub(super) struct HostPattern {
    /// Index in `Model::hosts`.
    pub host: usize,
    /// The condition without the tags of the host.
    pub condition: Condition,
}

/// Hosts by what they become.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Indexes of hosts that are machines.
    pub machines: Vec<usize>,
    pub patterns: Vec<HostPattern>,
    /// Tags that machines set.
    pub members: BTreeSet<String>,
}
