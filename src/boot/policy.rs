//! Which boot file a client gets, and by which rule. First match wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::types::{Arch, Stage};

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

/// What a machine or a class boots instead of what [`Policy`] says: `boot` of a machine or class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineBoot {
    /// One file. An iPXE script is for iPXE and its firmware still gets the loader of its architecture; any other file
    /// is a loader, and iPXE still gets its script.
    File(Arc<str>),
    /// A loader by architecture, or for every architecture that is missing here what [`Policy`] says.
    ByArch(BTreeMap<Arch, Arc<str>>),
}

/// The boot file chosen for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name beneath boot-images/, or a URL.
    pub file: Arc<str>,
    /// Its size in bytes if it could be looked up: filled in by the shell, which alone can see the disk.
    pub size: Option<u64>,
}

/// The boot file for a client, if it is one that boots: of what is said for it, the machine's own and then its classes'
/// in `said`, the first that it can run; then iPXE's script, then the file of the first architecture that has one. An unknown architecture gets nothing, and certainly not the BIOS file.
pub fn choose<'a>(
    policy: &Policy,
    said: impl IntoIterator<Item = &'a MachineBoot>,
    identity: &Identity,
) -> Option<Choice> {
    let by_arch =
        |files: &BTreeMap<Arch, Arc<str>>| identity.arches.iter().find_map(|arch| files.get(arch)).cloned();
    let for_ipxe = identity.stage == Stage::Ipxe;
    let file_of = |boot: &MachineBoot| match boot {
        MachineBoot::File(file) => Some(Arc::clone(file)),
        MachineBoot::ByArch(files) => by_arch(files),
    };
    let own = said.into_iter().filter_map(file_of).find(|file| is_ipxe_script(file) == for_ipxe);
    let file = own.or_else(|| match identity.stage {
        Stage::Ipxe => policy.ipxe.clone(),
        Stage::Bootp => policy.bootp.as_ref().or_else(|| policy.arch.get(&Arch::BIOS)).cloned(),
        Stage::Pxe | Stage::Http => by_arch(&policy.arch),
        Stage::Other => None,
    })?;
    Some(Choice { file, size: None })
}

/// Whether a file name is one that only iPXE can run.
fn is_ipxe_script(file: &str) -> bool {
    file.ends_with(".ipxe")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let arch = [(Arch::BIOS, "undionly.kpxe"), (Arch::UEFI_X64, "snponly.efi")];
        Policy {
            arch: arch.into_iter().map(|(arch, file)| (arch, file.into())).collect(),
            ipxe: Some("boot.ipxe".into()),
            bootp: None,
        }
    }

    fn chosen(machine: Option<&MachineBoot>, stage: Stage, arches: &[u16]) -> Option<String> {
        let arches = arches.iter().map(|number| Arch::from_number(*number)).collect();
        choose(&policy(), machine, &Identity { stage, arches }).map(|choice| choice.file.to_string())
    }

    #[test]
    fn the_architecture_names_the_file_and_an_unknown_one_gets_none() {
        assert_eq!(chosen(None, Stage::Pxe, &[0]).as_deref(), Some("undionly.kpxe"));
        assert_eq!(chosen(None, Stage::Pxe, &[7]).as_deref(), Some("snponly.efi"));
        assert_eq!(chosen(None, Stage::Pxe, &[9]).as_deref(), Some("snponly.efi"));
        assert_eq!(chosen(None, Stage::Pxe, &[11]), None);
        assert_eq!(
            chosen(None, Stage::Pxe, &[11, 7]).as_deref(),
            Some("snponly.efi"),
            "the first that has one"
        );
        assert_eq!(chosen(None, Stage::Pxe, &[]), None);
        assert_eq!(chosen(None, Stage::Other, &[]), None);
        assert_eq!(chosen(None, Stage::Bootp, &[]).as_deref(), Some("undionly.kpxe"));
    }

    #[test]
    fn ipxe_gets_its_script_and_never_a_loader() {
        assert_eq!(chosen(None, Stage::Ipxe, &[0]).as_deref(), Some("boot.ipxe"));
        let loader = MachineBoot::File("ipxe.efi".into());
        assert_eq!(chosen(Some(&loader), Stage::Ipxe, &[7]).as_deref(), Some("boot.ipxe"));
        assert_eq!(chosen(Some(&loader), Stage::Pxe, &[7]).as_deref(), Some("ipxe.efi"));
        let script = MachineBoot::File("debian.ipxe".into());
        assert_eq!(chosen(Some(&script), Stage::Ipxe, &[7]).as_deref(), Some("debian.ipxe"));
        assert_eq!(chosen(Some(&script), Stage::Pxe, &[7]).as_deref(), Some("snponly.efi"));
    }

    #[test]
    fn a_machines_map_falls_through_where_it_says_nothing() {
        let map = MachineBoot::ByArch([(Arch::UEFI_X64, "grubx64.efi".into())].into());
        assert_eq!(chosen(Some(&map), Stage::Pxe, &[7]).as_deref(), Some("grubx64.efi"));
        assert_eq!(chosen(Some(&map), Stage::Pxe, &[0]).as_deref(), Some("undionly.kpxe"));
        assert_eq!(chosen(Some(&map), Stage::Ipxe, &[7]).as_deref(), Some("boot.ipxe"));
    }
}
