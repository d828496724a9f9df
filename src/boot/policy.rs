//! Which boot file a client gets, and by which rule. First match wins.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::menu::{Menu, Part};
use crate::types::{Arch, Rule, Stage};
use crate::wire::pxe::BootItem;

/// The `boot:` section of the configuration, as meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Boot file by client architecture.
    pub arch: BTreeMap<Arch, Arc<str>>,
    /// What iPXE gets, so that it never loads itself again.
    pub ipxe: Option<Arc<str>>,
    /// What a plain BOOTP client gets; `None` means what `arch` says for the BIOS.
    pub bootp: Option<Arc<str>>,
    /// What a PXE client may choose from instead of what `arch` says.
    pub menu: Option<Menu>,
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
    /// Its name beneath boot-images/, or a URL. Empty for a menu whose first item loads no file.
    pub file: Arc<str>,
    /// The key of the configuration that says so.
    pub rule: Rule,
    /// Its size in bytes if it could be looked up: filled in by the shell, which alone can see the disk.
    pub size: Option<u64>,
    /// The server that has it; `None` is us.
    pub server: Option<Ipv4Addr>,
    /// What of a menu goes with it.
    pub menu: Option<Part>,
}

impl Choice {
    /// The choice of `file` by `rule`, of a size that is not known yet.
    pub fn new(file: &Arc<str>, rule: Rule) -> Choice {
        Choice { file: Arc::clone(file), rule, size: None, server: None, menu: None }
    }

    /// The file as a client of our address `us` is told it, and the rule: what is recorded.
    pub fn named(&self, us: Ipv4Addr) -> (Arc<str>, Rule) {
        let file = match self.file.contains(SERVER) {
            true => self.file.replace(SERVER, &self.server.unwrap_or(us).to_string()).into(),
            false => Arc::clone(&self.file),
        };
        (file, self.rule.clone())
    }
}

/// What stands for the server's address in the name of a boot file.
pub const SERVER: &str = "{server}";

/// The boot file for a client, if it is one that boots. First match wins: of what is said for it in `said`, its
/// machine's own and then its classes', the first that it can run; then, for iPXE, `boot.ipxe`; then, for firmware,
/// `boot.menu`, of which it may have `asked` for an item; then `boot.arch` of the first architecture of the client that
/// is there. An unknown architecture gets nothing, and certainly not the BIOS's file.
pub fn choose<'a>(
    policy: &Policy,
    said: impl IntoIterator<Item = (&'a MachineBoot, Rule)>,
    identity: &Identity,
    asked: Option<BootItem>,
) -> Option<Choice> {
    let own = said.into_iter().find_map(|(boot, rule)| {
        let file = file_for(boot, identity)?;
        Some(Choice::new(&file, rule))
    });
    own.or_else(|| match &policy.menu {
        Some(menu) if Menu::is_for(identity) => menu.choose(identity, asked, by_policy(policy, identity)),
        _ => by_policy(policy, identity),
    })
}

/// The boot file for a client of which nothing of its own is said, menu aside.
fn by_policy(policy: &Policy, identity: &Identity) -> Option<Choice> {
    let (file, rule) = match identity.stage {
        Stage::Ipxe => (policy.ipxe.as_ref()?, Rule::Ipxe),
        Stage::Bootp => match &policy.bootp {
            Some(file) => (file, Rule::Bootp),
            None => (policy.arch.get(&Arch::BIOS)?, Rule::Arch(Arch::BIOS)),
        },
        Stage::Pxe | Stage::Http => {
            let (arch, file) = by_arch(&policy.arch, identity)?;
            (file, Rule::Arch(arch))
        }
        Stage::Other => return None,
    };
    Some(Choice::new(file, rule))
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
fn by_arch<'f>(files: &'f BTreeMap<Arch, Arc<str>>, identity: &Identity) -> Option<(Arch, &'f Arc<str>)> {
    let starts = |arch: &Arch| *arch != Arch::BIOS || identity.firmware.starts_bios_programs();
    identity.arches.iter().filter(|arch| starts(arch)).find_map(|arch| Some((*arch, files.get(arch)?)))
}

/// Whether a client at this stage can run `file`, as far as the name tells: only iPXE runs a script, and it must not
/// load itself again; HTTP boot takes nothing but a URL of HTTP, and PXE has only TFTP.
fn can_run(stage: Stage, file: &str) -> bool {
    let is_http = ["http://", "https://"]
        .iter()
        .any(|scheme| file.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    match stage {
        Stage::Ipxe => is_ipxe_script(file),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Firmware;

    fn policy() -> Policy {
        let arch = [(Arch::BIOS, "undionly.kpxe"), (Arch::UEFI_X64, "snponly.efi")];
        Policy {
            arch: arch.into_iter().map(|(arch, file)| (arch, file.into())).collect(),
            ipxe: Some("boot.ipxe".into()),
            ..Policy::default()
        }
    }

    fn identity(stage: Stage, arches: &[u16]) -> Identity {
        let firmware = match stage {
            Stage::Bootp => Firmware::Bootp,
            Stage::Pxe if arches == [0] => Firmware::BiosPxe,
            Stage::Pxe => Firmware::UefiPxe,
            Stage::Http => Firmware::HttpBoot,
            Stage::Ipxe => Firmware::Ipxe,
            Stage::Other => Firmware::Other,
        };
        let arches = arches.iter().map(|number| Arch::from_number(*number)).collect();
        Identity { stage, firmware, arches }
    }

    fn chosen(machine: Option<&MachineBoot>, stage: Stage, arches: &[u16]) -> Option<String> {
        let said = machine.map(|boot| (boot, Rule::Machine("m".into())));
        choose(&policy(), said, &identity(stage, arches), None).map(|choice| choice.file.to_string())
    }

    fn rule(said: &[(&MachineBoot, Rule)], stage: Stage, arches: &[u16]) -> Option<String> {
        choose(&policy(), said.iter().cloned(), &identity(stage, arches), None)
            .map(|choice| choice.rule.to_string())
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
    fn what_is_recorded_has_the_address_that_the_client_was_told() {
        let us = Ipv4Addr::new(10, 0, 0, 1);
        let name = |file: &str, server| {
            let choice = Choice { server, ..Choice::new(&file.into(), Rule::Ipxe) };
            choice.named(us).0.to_string()
        };
        assert_eq!(name("http://{server}/x.efi", None), "http://10.0.0.1/x.efi");
        assert_eq!(name("http://{server}/x", Some(Ipv4Addr::new(10, 0, 0, 9))), "http://10.0.0.9/x");
        assert_eq!(name("snponly.efi", None), "snponly.efi");
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

    #[test]
    fn the_first_rule_that_matches_wins_and_is_named() {
        let loader = MachineBoot::File("special.efi".into());
        let script = MachineBoot::File("debian.ipxe".into());
        let map = MachineBoot::ByArch([(Arch::UEFI_ARM64, "grubaa64.efi".into())].into());
        let machine = |boot| (boot, Rule::Machine("node1".into()));
        let class = |boot| (boot, Rule::Class(2));
        let named = |rule: &str| Some(rule.to_owned());
        assert_eq!(rule(&[machine(&loader), class(&loader)], Stage::Pxe, &[7]), named("machine node1"));
        assert_eq!(rule(&[machine(&script), class(&loader)], Stage::Pxe, &[7]), named("class 2"));
        assert_eq!(rule(&[machine(&script), class(&loader)], Stage::Ipxe, &[7]), named("machine node1"));
        assert_eq!(rule(&[machine(&map), class(&map)], Stage::Pxe, &[7]), named("boot.arch.uefi-x64"));
        assert_eq!(rule(&[machine(&map)], Stage::Pxe, &[11]), named("machine node1"));
        assert_eq!(rule(&[machine(&loader)], Stage::Ipxe, &[7]), named("boot.ipxe"));
        assert_eq!(rule(&[], Stage::Ipxe, &[0]), named("boot.ipxe"), "a native ROM on a BIOS too");
        assert_eq!(rule(&[], Stage::Pxe, &[0]), named("boot.arch.bios"));
        assert_eq!(rule(&[], Stage::Bootp, &[]), named("boot.arch.bios"));
        assert_eq!(rule(&[], Stage::Pxe, &[999]), None);
        let policy = Policy { bootp: Some("old.0".into()), ..policy() };
        let choice = choose(&policy, [], &identity(Stage::Bootp, &[]), None).unwrap();
        assert_eq!((&*choice.file, choice.rule.to_string().as_str()), ("old.0", "boot.bootp"));
    }

    #[test]
    fn http_boot_gets_urls_and_pxe_gets_none() {
        let url = MachineBoot::File("http://{server}/grubx64.efi".into());
        let name = MachineBoot::File("grubx64.efi".into());
        assert_eq!(chosen(Some(&url), Stage::Http, &[16]).as_deref(), Some("http://{server}/grubx64.efi"));
        assert_eq!(chosen(Some(&name), Stage::Http, &[16]).as_deref(), None, "it would drop the reply");
        assert_eq!(chosen(Some(&url), Stage::Pxe, &[7]).as_deref(), Some("snponly.efi"));
        let script = MachineBoot::File("HTTP://{server}/menu.ipxe?mac=1".into());
        assert_eq!(
            chosen(Some(&script), Stage::Ipxe, &[7]).as_deref(),
            Some("HTTP://{server}/menu.ipxe?mac=1")
        );
        assert_eq!(chosen(Some(&script), Stage::Http, &[16]), None);
    }

    #[test]
    fn what_only_calls_itself_a_bios_gets_no_bios_file() {
        let u_boot = Identity { stage: Stage::Pxe, firmware: Firmware::UBoot, arches: vec![Arch::BIOS] };
        assert_eq!(choose(&policy(), [], &u_boot, None), None);
        let own = MachineBoot::File("boot.scr.uimg".into());
        let choice = choose(&policy(), [(&own, Rule::Class(1))], &u_boot, None).unwrap();
        assert_eq!(&*choice.file, "boot.scr.uimg");
    }
}
