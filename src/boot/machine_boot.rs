//! `boot` of a machine or class: one file, or one per architecture. `policy.rs` and `menu.rs` ask here which file a
//! client can run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::types::{Arch, Stage};

/// `boot` of a machine or class: overrides the `boot:` section ([`crate::boot::policy::Policy`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineBoot {
    /// One file. An iPXE script applies to iPXE only; firmware still gets the loader of its architecture. Any other
    /// file is a loader and applies to an iPXE in ROM too.
    File(Arc<str>),
    /// A loader per architecture. Architectures without an entry follow the `boot:` section.
    ByArch(BTreeMap<Arch, Arc<str>>),
}

/// Returns the file of `boot` for a client, if the client can run it.
pub fn file_for(boot: &MachineBoot, identity: &Identity) -> Option<Arc<str>> {
    let file = match boot {
        MachineBoot::File(file) => file,
        MachineBoot::ByArch(files) => by_arch(files, identity)?.1,
    };
    can_run(identity.stage, file).then(|| Arc::clone(file))
}

/// Returns the first of the client's architectures that has a file, with the file. Skips the BIOS for U-Boot on x86,
/// which claims to be a BIOS but runs none of its programs.
pub(super) fn by_arch<'f>(
    files: &'f BTreeMap<Arch, Arc<str>>,
    identity: &Identity,
) -> Option<(Arch, &'f Arc<str>)> {
    let starts = |arch: &Arch| *arch != Arch::BIOS || identity.firmware.starts_bios_programs();
    identity.arches.iter().filter(|arch| starts(arch)).find_map(|arch| Some((*arch, files.get(arch)?)))
}

/// Whether a client at this stage can run `file`, judged by its name. Only iPXE runs scripts, and it runs loaders too.
/// HTTP boot accepts only HTTP URLs, and PXE has only TFTP.
fn can_run(stage: Stage, file: &str) -> bool {
    let is_http = ["http://", "https://"]
        .iter()
        .any(|scheme| file.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    match stage {
        Stage::Ipxe => true,
        Stage::Http => is_http && !is_ipxe_script(file),
        Stage::Pxe => !is_http && !is_ipxe_script(file),
        Stage::Bootp | Stage::Other => !is_ipxe_script(file),
    }
}

/// Whether only iPXE can run this file or URL: its path ends in `.ipxe`.
pub fn is_ipxe_script(file: &str) -> bool {
    let path = file.split(['?', '#']).next().unwrap_or_default();
    path.ends_with(".ipxe")
}
