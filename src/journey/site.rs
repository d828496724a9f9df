//! Facts about this server that verdicts depend on: its machines, its targets and the content of its boot files. The
//! shell fills them in; journeys read no configuration and no file.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::journey::evidence::Conflict;
use crate::types::{Arch, FileKind, Ipv4Network, MacAddr, Timestamp};

/// Maximum number of loaders whose content is known. A loader has about 200 bytes.
pub const MAX_LOADERS: usize = 1024;

/// Maximum number of addresses whose conflicts are remembered.
pub const MAX_CONFLICTS: usize = 4096;
/// Time for which a conflict is remembered. Addresses are set aside for `decline_time`, usually ten minutes.
const CONFLICT_TIME: Duration = Duration::from_secs(3600);

/// Facts about this server.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The kernels and initial RAM disks of all targets, as files under boot-images/; `{…}` stands for any text.
    pub targets: Vec<TargetFiles>,
    /// The machines that boot their local disk by configuration.
    pub local: HashSet<MacAddr>,
    /// Whether the script that is generated for most machines may rest: it has a menu, boots the local disk, or loads from
    /// another server.
    pub generated_rests: bool,
    /// The machines for which the opposite holds.
    pub generated_differs: HashSet<MacAddr>,
    /// Our addresses. A URL with another host is served by another server.
    pub addresses: Vec<Ipv4Addr>,
    /// Boot files that are on another server.
    pub elsewhere: HashSet<Arc<str>>,
    /// The content of loaders, by their name.
    loaders: HashMap<Arc<str>, LoaderFacts>,
    /// The machine that answers ARP for every address (proxy ARP), and when it was found.
    proxy_arp: Option<(MacAddr, Timestamp)>,
    /// When this server was last found to read a boot file slowly.
    slow_files: Option<Timestamp>,
    /// Addresses of pools that other machines use, with the time at which they were found.
    conflicts: HashMap<Ipv4Addr, (Timestamp, Option<MacAddr>)>,
}

/// The files of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetFiles {
    pub name: Arc<str>,
    pub kernel: Arc<str>,
    pub initrd: Vec<Arc<str>>,
    /// The memory that the target needs, in MiB, as far as it is known.
    pub memory: Option<u64>,
}

/// The program in a boot file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    Ipxe,
    Grub,
    Shim,
    Pxelinux,
    /// A Linux kernel, alone or with its RAM disk in one file.
    Kernel,
    /// No program: the script or configuration of a loader, with a menu, or with a command that boots the local disk or goes
    /// on at another server.
    Menu,
    Other,
}

/// The content of a loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderFacts {
    pub kind: FileKind,
    pub program: Program,
    /// The issuers of its signatures; `None` if they were not read.
    pub signed_by: Option<Vec<String>>,
    /// A file of a similar name, for a file that is missing.
    pub similar: Option<String>,
}

impl Site {
    /// The content of the loader `name`, if the shell has read it.
    pub fn loader(&self, name: &str) -> Option<&LoaderFacts> {
        self.loaders.get(name)
    }

    /// Records the content of the loader `name`.
    pub fn learn_loader(&mut self, name: Arc<str>, facts: LoaderFacts) {
        if self.loaders.len() >= MAX_LOADERS && !self.loaders.contains_key(&name) {
            self.loaders.clear();
        }
        self.loaders.insert(name, facts);
    }

    /// Takes over what `other` has learned.
    #[must_use]
    pub fn with_knowledge_of(self, other: Site) -> Site {
        let Site { loaders, conflicts, proxy_arp, slow_files, .. } = other;
        Site { loaders, conflicts, proxy_arp, slow_files, ..self }
    }

    /// Records that this server reads a boot file slowly at `at`.
    pub fn learn_slow_files(&mut self, at: Timestamp) {
        self.slow_files = Some(at);
    }

    /// Whether this server read a boot file slowly after `since`.
    pub fn read_slowly_since(&self, since: Timestamp) -> bool {
        self.slow_files.is_some_and(|at| at >= since)
    }

    /// Records that another machine uses `address`.
    pub fn learn_conflict(&mut self, address: Ipv4Addr, by: Option<MacAddr>, at: Timestamp) {
        if self.conflicts.len() >= MAX_CONFLICTS {
            self.conflicts.retain(|_, (found, _)| at.since(*found) < CONFLICT_TIME);
        }
        if self.conflicts.len() < MAX_CONFLICTS {
            self.conflicts.insert(address, (at, by));
        }
    }

    /// Records that `mac` answers ARP for every address.
    pub fn learn_proxy_arp(&mut self, mac: MacAddr, at: Timestamp) {
        self.proxy_arp = Some((mac, at));
    }

    /// The machine that answers ARP for every address, if one was found lately.
    pub fn proxy_arp(&self, now: Timestamp) -> Option<MacAddr> {
        self.proxy_arp.filter(|(_, found)| now.since(*found) < CONFLICT_TIME).map(|(mac, _)| mac)
    }

    /// The number of addresses in `subnet` that other machines use, and one of them.
    pub fn conflicts_in(&self, subnet: Ipv4Network, now: Timestamp) -> (u64, Option<Conflict>) {
        let recent = self
            .conflicts
            .iter()
            .filter(|(address, (found, _))| subnet.contains(**address) && now.since(*found) < CONFLICT_TIME);
        let (mut count, mut last) = (0_u64, None);
        for (address, (_, by)) in recent {
            count = count.saturating_add(1);
            last = Some(Conflict { address: *address, by: *by });
        }
        (count, last)
    }

    /// Whether the boot file `name` is served by another server.
    pub fn is_elsewhere(&self, name: &str) -> bool {
        let Some((_, rest)) = name.split_once("://") else { return self.elsewhere.contains(name) };
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        host.parse::<Ipv4Addr>().map_or(true, |host| !self.addresses.contains(&host))
    }

    /// The program in the loader `name`, by its content or else by its name.
    pub fn program(&self, name: &str) -> Program {
        self.loader(name).map_or_else(|| program_by_name(name), |facts| facts.program)
    }

    /// Whether a machine may stay silent after it got the script `name`, because a menu waits for a person, or because the
    /// script boots the local disk.
    pub fn may_rest(&self, name: &str, mac: MacAddr) -> bool {
        match self.loader(name) {
            Some(facts) => facts.program == Program::Menu,
            None => self.generated_rests != self.generated_differs.contains(&mac),
        }
    }

    /// Whether the loader `name` cannot run on a machine of this architecture.
    pub fn is_wrong_for(&self, name: &str, arch: Arch) -> bool {
        let Some(facts) = self.loader(name) else { return false };
        match (facts.kind, arch.efi_processor()) {
            (FileKind::EfiProgram(processor), Some(wanted)) => processor != wanted,
            (FileKind::EfiProgram(_), None) => arch == Arch::BIOS,
            (FileKind::BiosIpxe | FileKind::BiosPxelinux, Some(_)) => true,
            (FileKind::OtherPe(_) | FileKind::RomImage | FileKind::Empty, _) => true,
            (FileKind::Text | FileKind::IpxeScript, _) => true,
            _ => false,
        }
    }
}

/// Whether the file or URL `name` is served by another server than this one, which has these addresses. Of a host that a
/// variable names that is not known.
pub fn is_on_other_server(name: &str, own: &[Ipv4Addr]) -> bool {
    let Some((_, rest)) = name.split_once("://") else { return false };
    let host = rest.split(['/', ':', '"', '\'', ' ']).next().unwrap_or_default();
    let is_variable = host.is_empty() || host.contains(['{', '$', '(']);
    !is_variable && host.parse().map_or(true, |host: Ipv4Addr| !own.contains(&host))
}

/// Whether this line of a script loads from another server. A command after `||` does not count: it runs when another
/// one has failed.
pub fn goes_on_elsewhere(line: &str, own: &[Ipv4Addr]) -> bool {
    let command = line.split("||").next().unwrap_or_default();
    !line.trim_start().starts_with('#')
        && command.split_whitespace().any(|word| is_on_other_server(word, own))
}

/// Guesses the program in a loader from its name.
fn program_by_name(name: &str) -> Program {
    let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| last.contains(word));
    if has(&["shim", "bootx64", "bootaa64"]) {
        Program::Shim
    } else if has(&["ipxe", "snponly", "undionly", "snp."]) {
        Program::Ipxe
    } else if has(&["grub"]) {
        Program::Grub
    } else if has(&["pxelinux", "syslinux"]) {
        Program::Pxelinux
    } else if has(&["vmlinuz", "linux", "uki"]) {
        Program::Kernel
    } else {
        Program::Other
    }
}

/// Signers in the databases of usual firmware: a machine with Secure Boot accepts their loaders.
const USUAL_SIGNERS: [&str; 2] = ["Microsoft", "UEFI CA"];

impl LoaderFacts {
    /// Whether Secure Boot of a usual machine refuses it: it is not signed, or not by a usual signer. `None` if its
    /// signatures are not known.
    pub fn is_refused_by_secure_boot(&self) -> Option<bool> {
        let signers = self.signed_by.as_ref()?;
        let usual = |signer: &String| USUAL_SIGNERS.iter().any(|usual| signer.contains(usual));
        Some(!signers.iter().any(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_load_from_another_server_are_found() {
        let own = [Ipv4Addr::new(192, 168, 77, 1)];
        for (line, is_elsewhere) in [
            ("chain --autofree https://boot.netboot.xyz", true),
            ("  kernel http://10.0.0.9/linux console=ttyS0", true),
            ("set base http://deb.debian.org/debian", true),
            ("kernel http://192.168.77.1:8080/linux", false),
            ("kernel http://${next-server}/linux", false),
            ("kernel http://{server}/linux || chain http://10.0.0.9/x.ipxe", false),
            ("# see https://ipxe.org/cmd", false),
            ("kernel debian/linux", false),
        ] {
            assert_eq!(goes_on_elsewhere(line, &own), is_elsewhere, "{line}");
        }
    }
}
