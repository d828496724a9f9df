//! Which boot file a client gets, and by which rule. First match wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::Arch;

/// The `boot:` section of the configuration, as meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Boot file by client architecture.
    pub arch: BTreeMap<Arch, Arc<str>>,
    /// What iPXE gets, so that it never loads itself again.
    pub ipxe: Option<Arc<str>>,
    /// What a plain BOOTP client gets; `None` means what `arch` says for the BIOS.
    pub bootp: Option<Arc<str>>,
}

/// What one machine boots instead of what [`Policy`] says: `machines[].boot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineBoot {
    /// This file in every stage, except that iPXE is not handed a loader (see [`choose`]).
    File(Arc<str>),
    /// A file by architecture; other architectures fall through to [`Policy`].
    ByArch(BTreeMap<Arch, Arc<str>>),
}
