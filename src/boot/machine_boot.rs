//! `boot` of a machine or class: a file, or one for each architecture, and which of them a client can run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::types::{Arch, Stage};

/// What a machine or a class boots instead of what [`Policy`] says: `boot` of a machine or class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineBoot {
    /// One file. An iPXE script is for iPXE, and firmware still gets the loader of its architecture; any other file is a
    /// loader, also for an iPXE that came with the machine.
    File(Arc<str>),
    /// A loader by architecture, or for every architecture that is missing here what [`Policy`] says.
    ByArch(BTreeMap<Arch, Arc<str>>),
}

/// The file of `boot` for a client, if there is one that it can run.
pub fn file_for(boot: &MachineBoot, identity: &Identity) -> Option<Arc<str>> {
    let file = match boot {
        MachineBoot::File(file) => file,
        MachineBoot::ByArch(files) => by_arch(files, identity)?.1,
    };
    can_run(identity.stage, file).then(|| Arc::clone(file))
}

/// The first of the client's architectures that has a file, and the file. U-Boot on x86 says that it is a BIOS, but
/// starts none of its programs.
pub(super) fn by_arch<'f>(
    files: &'f BTreeMap<Arch, Arc<str>>,
    identity: &Identity,
) -> Option<(Arch, &'f Arc<str>)> {
    let starts = |arch: &Arch| *arch != Arch::BIOS || identity.firmware.starts_bios_programs();
    identity.arches.iter().filter(|arch| starts(arch)).find_map(|arch| Some((*arch, files.get(arch)?)))
}

/// Whether a client at this stage can run `file`, as far as its name shows: only iPXE runs a script, and it runs loaders
/// too; HTTP boot takes nothing but a URL of HTTP, and PXE has only TFTP.
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

/// Whether a file name or URL is one that only iPXE can run: it ends in `.ipxe`, a URL's query left out.
pub fn is_ipxe_script(file: &str) -> bool {
    let path = file.split(['?', '#']).next().unwrap_or_default();
    path.ends_with(".ipxe")
}
