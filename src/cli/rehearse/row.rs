//! The predicted boot of one client, as `rehearse` reports it.

use super::chain::{DOES_NOT_START, Ending, Rehearsal};
use crate::boot::plan::Mode;
use crate::types::Arch;

/// The predicted boot of one client.
#[derive(Clone)]
pub(super) struct Row {
    /// The machine's name, or [`ANY`].
    pub(super) machine: String,
    /// The subnet, if there are several.
    pub(super) subnet: Option<String>,
    /// The common name of its firmware.
    pub(super) client: &'static str,
    pub(super) arch: Arch,
    pub(super) mode: Mode,
    pub(super) rehearsal: Rehearsal,
}

impl Row {
    pub(super) fn fails(&self) -> bool {
        matches!(self.rehearsal.ending, Ending::Fails(_))
    }

    pub(super) fn does_not_start(&self) -> bool {
        matches!(&self.rehearsal.ending, Ending::Fails(trouble) if trouble.code == DOES_NOT_START)
    }
}
