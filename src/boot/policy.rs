//! Boot policy: chooses the boot file of a client, and reports the rule that chose it. The first matching rule wins.
//!
//! `dhcp/request.rs` calls [`choose`] for each message of a booting client. The shell then calls [`Choice::resolve`]
//! with the contents of the files, which this module cannot read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::fetch::SERVER;
use crate::boot::identity::Identity;
use crate::boot::loader::target::SCRIPT;
use crate::boot::machine_boot::{MachineBoot, by_arch, file_for, is_ipxe_script};
use crate::boot::menu::{ItemAction, Menu, MenuPart, UsableItem};
use crate::types::{Arch, FileKind, Processor, Rule, Stage};
use crate::wire::pxe::BootItem;

/// The default of `boot.ipxe`, used if no other rule gives iPXE a script.
pub const DEFAULT_IPXE: &str = "boot.ipxe";

/// The `boot:` section of the configuration, checked and with defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Boot files by client architecture.
    pub arch: BTreeMap<Arch, Arc<str>>,
    /// The script of every iPXE; `None` if the key is missing. If [`Policy::has_default`] is set, this is [`SCRIPT`].
    pub ipxe: Option<Arc<str>>,
    /// Whether `boot.default` is set.
    pub has_default: bool,
    /// Whether there are `targets`, so that a script can be generated for any machine.
    pub has_targets: bool,
    /// The boot file of plain BOOTP clients; `None` uses the BIOS entry of `arch`.
    pub bootp: Option<Arc<str>>,
    /// The boot menu that PXE clients get instead of the file in `arch`.
    pub menu: Option<Menu>,
}

impl Policy {
    /// Returns the script configured for every iPXE: `boot.default` or `boot.ipxe`.
    fn configured_script(&self) -> Option<Choice> {
        let rule = if self.has_default { Rule::Default } else { Rule::Ipxe };
        self.ipxe.as_ref().map(|file| Choice::new(file, rule))
    }

    /// Returns the script that ends every chain of iPXE: the configured one, else the generated one if there are
    /// `targets`, else [`DEFAULT_IPXE`].
    pub fn script(&self) -> Choice {
        self.configured_script().unwrap_or_else(|| match self.has_targets {
            true => Choice::new(&SCRIPT.into(), Rule::Targets),
            false => Choice::new(&DEFAULT_IPXE.into(), Rule::Ipxe),
        })
    }
}

/// The boot file chosen for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The file's name under boot-images/, or a URL. Empty for a menu whose first item loads no file.
    pub file: Arc<str>,
    /// The key of the configuration that chose the file.
    pub rule: Rule,
    /// The file size in bytes, if known. The shell fills it in, because only the shell can read the disk.
    pub size: Option<u64>,
    /// The server that has the file; `None` is this server.
    pub server: Option<Ipv4Addr>,
    /// The part of the boot menu for the reply.
    pub menu: Option<MenuPart>,
    /// The next choice for an iPXE, if it must not or cannot run `file`. `None` for other clients and for scripts: a
    /// script ends the chain.
    pub fallback: Option<Box<Choice>>,
    /// Whether the content of `file` is known and is not a build of iPXE. The shell checks this only for iPXE.
    pub is_known: bool,
}

/// The content of a boot file for an iPXE, as far as the shell can determine it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The file is missing, or on another server.
    Unknown,
    /// A build of iPXE, which an iPXE would load again and again.
    IpxeBuild,
    /// Any other file, of this kind.
    Other(FileKind),
    /// The generated script, which has nothing to start for this machine: its `once` is done, and it has no `boot`.
    NothingToStart,
}

impl Choice {
    /// Makes a choice of `file` by `rule` with unknown size.
    pub fn new(file: &Arc<str>, rule: Rule) -> Choice {
        let (size, server, menu, fallback) = (None, None, None, None);
        Choice { file: Arc::clone(file), rule, size, server, menu, fallback, is_known: false }
    }

    /// Moves on to the first choice in the chain that the client can run and that is not a build of iPXE. `content_of`
    /// returns the content of each file on the way. A file of unknown content is accepted: if it is an iPXE after all,
    /// the loop guard ends the loop.
    pub fn resolve(&mut self, identity: &Identity, content_of: impl Fn(&Choice) -> Content) {
        while self.fallback.is_some() {
            let content = content_of(self);
            let is_taken = match content {
                Content::Unknown => true,
                Content::IpxeBuild | Content::NothingToStart => false,
                // The key of a `boot.arch` file already says that it fits the client's architecture.
                Content::Other(kind) => {
                    matches!(self.rule, Rule::Arch(_)) || ipxe_can_run(kind, identity.arch())
                }
            };
            if is_taken {
                self.is_known = matches!(content, Content::Other(_));
                // A script is not a loader, so the loop guard ignores it.
                if is_ipxe_script(&self.file) || content == Content::Other(FileKind::IpxeScript) {
                    self.fallback = None;
                }
                return;
            }
            if let Some(next) = self.fallback.take() {
                *self = *next;
            }
        }
    }

    /// Returns the last choice in the chain, which for an iPXE is its script.
    pub fn last(&self) -> &Choice {
        let mut last = self;
        while let Some(next) = &last.fallback {
            last = next;
        }
        last
    }

    /// Returns the file name as the client gets it from our address `us`, and the rule, for the log.
    pub fn as_sent(&self, us: Ipv4Addr) -> (Arc<str>, Rule) {
        let file = match self.file.contains(SERVER) {
            true => self.file.replace(SERVER, &self.server.unwrap_or(us).to_string()).into(),
            false => Arc::clone(&self.file),
        };
        (file, self.rule.clone())
    }
}

/// Chooses the boot file of a client that boots from the network. The first match wins:
///
/// 1. The first file in `configured` that the client can run: `boot` of its machine, then of its classes.
/// 2. For firmware, `boot.menu`; `asked` is the menu item that the client asks for.
/// 3. For firmware, `boot.arch` of the first of its architectures that has a file.
///
/// A client of unknown architecture gets no file, and never the file of a BIOS. iPXE follows `for_ipxe` instead.
pub fn choose<'a>(
    policy: &Policy,
    configured: impl IntoIterator<Item = (&'a MachineBoot, Rule)>,
    identity: &Identity,
    asked: Option<BootItem>,
) -> Option<Choice> {
    let mut choices = configured.into_iter().filter_map(|(boot, rule)| {
        let file = file_for(boot, identity)?;
        Some(Choice::new(&file, rule))
    });
    if identity.stage == Stage::Ipxe {
        return Some(for_ipxe(policy, choices, identity));
    }
    choices.next().or_else(|| match &policy.menu {
        Some(menu) if Menu::is_for(identity) => menu.choose(identity, asked, without_menu(policy, identity)),
        _ => without_menu(policy, identity),
    })
}

/// Returns the choices for an iPXE as a chain for [`Choice::resolve`]:
///
/// 1. `choices`, those of the machine and its classes.
/// 2. `boot.default` or `boot.ipxe`.
/// 3. `boot.arch` of its architecture.
/// 4. The generated script if there are `targets`, else [`DEFAULT_IPXE`].
///
/// The chain ends at the first script, because any iPXE can run that. Each loader has a fallback in case it is a build
/// of iPXE, so that no iPXE loads itself.
fn for_ipxe(policy: &Policy, choices: impl Iterator<Item = Choice>, identity: &Identity) -> Choice {
    let of_arch = || {
        let (arch, file) = by_arch(&policy.arch, identity)?;
        let is_loader = !is_ipxe_script(file);
        let fallback = is_loader.then(|| Box::new(policy.script()));
        Some(Choice { fallback, ..Choice::new(file, Rule::Arch(arch)) })
    };
    let mut loaders = Vec::new();
    let mut last = policy.configured_script().or_else(of_arch);
    for choice in choices {
        // The generated script of this machine may have nothing to start.
        if is_ipxe_script(&choice.file) && *choice.file != *SCRIPT {
            last = Some(choice);
            break;
        }
        loaders.push(choice);
    }
    let last = last.unwrap_or_else(|| policy.script());
    let with_fallback = |next, choice| Choice { fallback: Some(Box::new(next)), ..choice };
    loaders.into_iter().rev().fold(last, with_fallback)
}

/// Returns the boot file of firmware whose machine and classes have no `boot`, without the menu.
fn without_menu(policy: &Policy, identity: &Identity) -> Option<Choice> {
    let (file, rule) = match identity.stage {
        Stage::Bootp => match &policy.bootp {
            Some(file) => (file, Rule::Bootp),
            None => (policy.arch.get(&Arch::BIOS)?, Rule::Arch(Arch::BIOS)),
        },
        Stage::Pxe | Stage::Http => {
            let (arch, file) = by_arch(&policy.arch, identity)?;
            (file, Rule::Arch(arch))
        }
        Stage::Ipxe | Stage::Other => return None,
    };
    Some(Choice::new(file, rule))
}

impl Menu {
    /// Returns the choice for the client: the item that it `asked` for, or the menu together with its first item, which
    /// firmware without menus loads. A menu of one item is not sent as a menu: its file goes into the header, because
    /// the menus of much firmware are broken (dnsmasq `pxe_uefi_workaround`). `fallback` is the choice without a menu.
    pub fn choose(
        &self,
        identity: &Identity,
        asked: Option<BootItem>,
        fallback: Option<Choice>,
    ) -> Option<Choice> {
        let usable: Vec<UsableItem<'_>> = self.usable(identity).collect();
        if let Some(asked) = asked {
            let chosen = usable.iter().find(|usable| usable.kind == asked.kind)?;
            let choice = chosen.choice(fallback)?;
            return Some(Choice { menu: Some(MenuPart::Chosen(asked)), ..choice });
        }
        match &usable[..] {
            [] => fallback,
            [only] => only.choice(fallback),
            [first, ..] => {
                let file = first.file.clone().unwrap_or_default();
                let menu = Some(MenuPart::Whole(self.for_client(&usable)));
                Some(Choice { menu, ..Choice::new(&file, Rule::Menu(None)) })
            }
        }
    }
}

impl UsableItem<'_> {
    /// Returns the choice for this item alone. For an item of another server, this is the file that the client would
    /// get without a menu, but from that server.
    fn choice(&self, fallback: Option<Choice>) -> Option<Choice> {
        let rule = Rule::Menu(Some(self.index));
        match (&self.item.action, &self.file) {
            (ItemAction::File(_), Some(file)) => Some(Choice::new(file, rule)),
            (ItemAction::Server(server), _) => {
                Some(Choice { server: Some(*server), ..Choice::new(&fallback?.file, rule) })
            }
            (ItemAction::Local | ItemAction::File(_), _) => None,
        }
    }
}

/// Whether iPXE of this architecture runs files of this kind (iPXE `src/image`): EFI programs on UEFI; boot programs,
/// kernels and ELF files on a BIOS; scripts everywhere.
fn ipxe_can_run(kind: FileKind, arch: Option<Arch>) -> bool {
    // An iPXE that does not send its architecture may have any.
    let Some(arch) = arch else { return !matches!(kind, FileKind::Text | FileKind::Empty) };
    let has = arch.efi_processor();
    match kind {
        FileKind::IpxeScript => true,
        FileKind::EfiProgram(of) => has.is_some_and(|has| of == has || of == Processor::Ebc),
        FileKind::OtherPe(_) | FileKind::Text | FileKind::RomImage | FileKind::Empty => false,
        FileKind::LinuxKernel
        | FileKind::Elf
        | FileKind::BiosIpxe
        | FileKind::BiosPxelinux
        | FileKind::Unknown => has.is_none(),
    }
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
        let configured = machine.map(|boot| (boot, Rule::Machine("m".into())));
        let identity = identity(stage, arches);
        let mut choice = choose(&policy(), configured, &identity, None)?;
        choice.resolve(&identity, content_of);
        Some(choice.file.to_string())
    }

    fn rule(configured: &[(&MachineBoot, Rule)], stage: Stage, arches: &[u16]) -> Option<String> {
        let identity = identity(stage, arches);
        let mut choice = choose(&policy(), configured.iter().cloned(), &identity, None)?;
        choice.resolve(&identity, content_of);
        Some(choice.rule.to_string())
    }

    /// Returns the content of files with these names.
    fn content_of(choice: &Choice) -> Content {
        let last = choice.file.rsplit('/').next().unwrap();
        match last {
            "undionly.kpxe" | "snponly.efi" | "ipxe.efi" | "ipxe.lkrn" => Content::IpxeBuild,
            "pxelinux.0" => Content::Other(FileKind::BiosPxelinux),
            "core.0" | "wdsnbp.com" => Content::Other(FileKind::Unknown),
            "memtest.bin" => Content::Other(FileKind::LinuxKernel),
            "page.html" => Content::Other(FileKind::Text),
            "grubx64.efi" => Content::Other(FileKind::EfiProgram(Processor::X64)),
            "boot.ipxe" if *choice.rule.to_string() == *"machine spent" => Content::NothingToStart,
            _ => Content::Unknown,
        }
    }

    #[test]
    fn an_unknown_architecture_gets_no_file() {
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
    fn the_recorded_name_has_the_servers_address() {
        let us = Ipv4Addr::new(10, 0, 0, 1);
        let name = |file: &str, server| {
            let choice = Choice { server, ..Choice::new(&file.into(), Rule::Ipxe) };
            choice.as_sent(us).0.to_string()
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
    fn architectures_missing_in_a_machines_map_fall_through() {
        let map = MachineBoot::ByArch([(Arch::UEFI_X64, "grubx64.efi".into())].into());
        assert_eq!(chosen(Some(&map), Stage::Pxe, &[7]).as_deref(), Some("grubx64.efi"));
        assert_eq!(chosen(Some(&map), Stage::Pxe, &[0]).as_deref(), Some("undionly.kpxe"));
        assert_eq!(chosen(Some(&map), Stage::Ipxe, &[7]).as_deref(), Some("grubx64.efi"), "in ROM too");
        assert_eq!(chosen(Some(&map), Stage::Ipxe, &[0]).as_deref(), Some("boot.ipxe"));
    }

    /// The choices for an iPXE if `ipxe` is not configured: each file with its rule.
    fn for_ipxe(arch: &[(u16, &str)], configured: &[(&MachineBoot, Rule)], of: u16) -> String {
        let arch = arch.iter().map(|(number, file)| (Arch::from_number(*number), (*file).into()));
        let policy = Policy { arch: arch.collect(), ..Policy::default() };
        resolved(&policy, configured, &identity(Stage::Ipxe, &[of]))
    }

    fn resolved(policy: &Policy, configured: &[(&MachineBoot, Rule)], identity: &Identity) -> String {
        let mut choice = choose(policy, configured.iter().cloned(), identity, None).unwrap();
        choice.resolve(identity, content_of);
        format!("{} by {}", choice.file, choice.rule)
    }

    #[test]
    fn r_02_an_ipxe_in_rom_boots_its_architectures_file() {
        for file in
            ["pxelinux.0", "core.0", "wdsnbp.com", "memtest.bin", "gone.0", "http://10.0.0.9/ipxe.kpxe"]
        {
            assert_eq!(for_ipxe(&[(0, file)], &[], 0), format!("{file} by boot.arch.bios"));
        }
        assert_eq!(for_ipxe(&[(7, "grubx64.efi")], &[], 7), "grubx64.efi by boot.arch.uefi-x64");
        for build in ["undionly.kpxe", "ipxe.lkrn", "http://{server}/ipxe.efi"] {
            assert_eq!(for_ipxe(&[(0, build)], &[], 0), "boot.ipxe by boot.ipxe", "{build}");
        }
        assert_eq!(
            for_ipxe(&[(7, "grubx64.efi")], &[], 0),
            "boot.ipxe by boot.ipxe",
            "of another architecture"
        );
        assert_eq!(
            for_ipxe(&[(16, "http://{server}/grubx64.efi")], &[], 7),
            "boot.ipxe by boot.ipxe",
            "HTTP boot's"
        );
        assert_eq!(for_ipxe(&[(0, "http://x/menu.ipxe")], &[], 0), "http://x/menu.ipxe by boot.arch.bios");
        assert_eq!(for_ipxe(&[], &[], 0), "boot.ipxe by boot.ipxe");
    }

    #[test]
    fn r_02_the_order_for_ipxe() {
        let arch: BTreeMap<Arch, Arc<str>> = [(Arch::BIOS, "pxelinux.0".into())].into();
        let file = |name: &str| MachineBoot::File(name.into());
        let (script, build, grub, made) =
            (file("own.ipxe"), file("ipxe.efi"), file("grubx64.efi"), file(SCRIPT));
        let core = MachineBoot::ByArch([(Arch::BIOS, "core.0".into())].into());
        let (node, class) = (|| Rule::Machine("n".into()), || Rule::Class(1));
        let bios = identity(Stage::Ipxe, &[0]);
        let policy = Policy { arch, has_targets: true, ..Policy::default() };
        let by = |policy: &Policy, configured: &[(&MachineBoot, Rule)]| resolved(policy, configured, &bios);
        let set = Policy { ipxe: Some("menu.ipxe".into()), ..policy.clone() };
        let default = Policy { ipxe: Some(SCRIPT.into()), has_default: true, ..policy.clone() };
        for policy in [&policy, &set, &default] {
            assert_eq!(by(policy, &[(&script, node()), (&core, class())]), "own.ipxe by machine n");
            assert_eq!(by(policy, &[(&core, node()), (&script, class())]), "core.0 by machine n");
            assert_eq!(
                by(policy, &[(&build, node()), (&core, class())]),
                "core.0 by class 1",
                "it must not loop"
            );
            assert_eq!(
                by(policy, &[(&grub, node()), (&script, class())]),
                "own.ipxe by class 1",
                "not on a BIOS"
            );
            assert_eq!(by(policy, &[(&made, node()), (&core, class())]), "lanboot/boot.ipxe by machine n");
        }
        assert_eq!(by(&default, &[(&build, node())]), "lanboot/boot.ipxe by boot.default");
        assert_eq!(by(&set, &[(&build, node())]), "menu.ipxe by boot.ipxe");
        assert_eq!(by(&policy, &[(&build, node())]), "pxelinux.0 by boot.arch.bios");
        let spent = || Rule::Machine("spent".into());
        assert_eq!(by(&policy, &[(&made, spent())]), "pxelinux.0 by boot.arch.bios", "its `once` is over");
        assert_eq!(by(&set, &[(&made, spent())]), "menu.ipxe by boot.ipxe");
        let loaded = Policy { arch: [(Arch::BIOS, "undionly.kpxe".into())].into(), ..policy.clone() };
        assert_eq!(by(&loaded, &[]), "lanboot/boot.ipxe by targets");
        assert_eq!(by(&Policy { has_targets: false, ..loaded }, &[]), "boot.ipxe by boot.ipxe");
    }

    #[test]
    fn r_02_only_an_ipxe_has_a_chain_ending_in_a_script() {
        let (loader, script) = (MachineBoot::File("ipxe.efi".into()), MachineBoot::File("a.ipxe".into()));
        let configured = |boot| [(boot, Rule::Class(1))];
        for (stage, arch) in [(Stage::Pxe, 0), (Stage::Pxe, 7), (Stage::Bootp, 0)] {
            for boot in [&loader, &script] {
                let choice = choose(&policy(), configured(boot), &identity(stage, &[arch]), None).unwrap();
                assert_eq!(choice.fallback, None);
            }
        }
        let choice = choose(&policy(), configured(&loader), &identity(Stage::Ipxe, &[7]), None).unwrap();
        assert_eq!((&*choice.file, &*choice.last().file), ("ipxe.efi", "boot.ipxe"));
        let choice = choose(&policy(), configured(&script), &identity(Stage::Ipxe, &[7]), None).unwrap();
        assert_eq!((&*choice.file, choice.fallback), ("a.ipxe", None));
        // The generated script of a machine ends the chain too, so that the machine may be restarted often: the guard
        // overrules only loaders.
        let (made, ipxe) = (MachineBoot::File(SCRIPT.into()), identity(Stage::Ipxe, &[7]));
        let mut choice = choose(&policy(), configured(&made), &ipxe, None).unwrap();
        choice.resolve(&ipxe, content_of);
        assert_eq!((&*choice.file, choice.fallback), (SCRIPT, None));
    }

    #[test]
    fn the_first_matching_rule_wins_and_is_named() {
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
        assert_eq!(rule(&[machine(&loader)], Stage::Ipxe, &[7]), named("machine node1"), "in ROM too");
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
    fn a_false_bios_gets_no_bios_file() {
        let u_boot = Identity { stage: Stage::Pxe, firmware: Firmware::UBoot, arches: vec![Arch::BIOS] };
        assert_eq!(choose(&policy(), [], &u_boot, None), None);
        let own = MachineBoot::File("boot.scr.uimg".into());
        let choice = choose(&policy(), [(&own, Rule::Class(1))], &u_boot, None).unwrap();
        assert_eq!(&*choice.file, "boot.scr.uimg");
    }
}
