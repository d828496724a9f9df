//! Restricts the server to its folders, as far as the kernel supports it (Landlock, Linux 5.13).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use nix::unistd::geteuid;

use crate::config::Config;

/// The newest version of Landlock whose rights are used. An older kernel enforces the rights that it knows.
const KNOWN: ABI = ABI::V5;

/// The kernel's file systems: neighbours, sockets, interfaces, processors. Their inodes come and go, so only their
/// roots can be allowed. Memory and descriptors of other processes stay closed, because Landlock forbids ptrace.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// The folders that the server uses, by access.
#[derive(Debug)]
pub(super) struct Folders {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    /// Whether files are linked from one folder into another, which the first version of Landlock never allows.
    links: bool,
    state: PathBuf,
    config: PathBuf,
}

impl Folders {
    /// The folders of `config`, which was read from the folder `folder`.
    pub(super) fn of(config: &Config, folder: &Path) -> Folders {
        let mut read: Vec<PathBuf> = KERNEL.iter().map(PathBuf::from).collect();
        read.push(folder.to_owned());
        let included: BTreeSet<&Path> = config.source_files.iter().filter_map(|path| path.parent()).collect();
        read.extend(included.into_iter().filter(|parent| *parent != Path::new("")).map(Path::to_owned));
        // A rule applies to the folder that has the path now. A later replacement, or a file system mounted over it, is
        // another folder, which only a rule for the parent folder allows.
        read.push(config.images.clone());
        read.extend(
            config
                .images
                .parent()
                .map(|parent| if parent == Path::new("") { ".".into() } else { parent.into() }),
        );
        if let Ok(images) = config.images.canonicalize() {
            read.extend(images.parent().map(Path::to_owned));
        }
        // A renewed certificate is another file, or a link to one.
        let tls = config.web.iter().filter_map(|web| web.tls.as_ref());
        for file in tls.flat_map(|tls| [&tls.cert, &tls.key]) {
            let target = file.canonicalize().ok();
            let both = [Some(file), target.as_ref()].into_iter().flatten();
            read.extend(both.filter_map(|path| path.parent()).map(Path::to_owned));
        }
        let uploads = config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref());
        let mut write = vec![config.state.clone()];
        write.extend(uploads.map(|uploads| uploads.dir.clone()));
        let (state, config) = (config.state.clone(), folder.to_owned());
        Folders { read, write, links: uploads.is_some(), state, config }
    }

    /// Restricts this thread and the threads that it will start. Returns the result for the log.
    pub(super) fn confine(mut self) -> String {
        if let Some(parent) = self.folder_above_state() {
            self.write.push(parent);
        }
        match self.restrict() {
            Ok(RulesetStatus::NotEnforced) => {
                "not confined to its folders: this kernel has no Landlock, or a filter of system calls forbids it".to_owned()
            }
            Ok(_) => "confined to its folders by Landlock".to_owned(),
            Err(error) => format!("not confined to its folders: {error}"),
        }
    }

    fn restrict(&self) -> Result<RulesetStatus, RulesetError> {
        use landlock::{CompatLevel, Compatible};
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let mut rules = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?;
        if self.links {
            rules = rules.set_compatibility(CompatLevel::SoftRequirement).handle_access(AccessFs::Refer)?;
            rules = rules.set_compatibility(CompatLevel::BestEffort);
        }
        let status = rules
            .create()?
            .add_rules(path_beneath_rules(&self.read, read))?
            .add_rules(path_beneath_rules(&self.write, read | writing()))?
            .restrict_self()?;
        Ok(status.ruleset)
    }

    /// The parent of `state`, so that a deleted state folder can be created again: the rule for the old folder does not
    /// apply to the new one. Only a parent that belongs to the user and to lanboot: it contains nothing else, or it is
    /// the folder of config.yaml or inside of that. `/var/lib` is neither.
    fn folder_above_state(&self) -> Option<PathBuf> {
        let state = self.state.canonicalize().ok()?;
        let (parent, config) = (state.parent()?, self.config.canonicalize().ok()?);
        let is_own = parent.metadata().is_ok_and(|meta| meta.uid() == geteuid().as_raw());
        let is_alone = || fs::read_dir(parent).is_ok_and(|entries| entries.take(2).count() == 1);
        (is_own && parent != Path::new("/") && (parent.starts_with(&config) || is_alone()))
            .then(|| parent.to_owned())
    }
}

/// Access to create, change and remove files and folders, but no devices and no programs.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::Refer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether this kernel has Landlock, tested by a thread that gives up all access.
    fn confined<T: Send + 'static>(folders: Folders, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let thread = std::thread::spawn(move || folders.confine().starts_with("confined").then(work));
        thread.join().unwrap()
    }

    fn folders(base: &Path) -> Folders {
        let yaml = "dhcp: {mode: off}\ntftp: {uploads: {dir: uploads, max_size: 1MiB}}\n";
        let mut config = crate::config::load(yaml).unwrap();
        config.images = base.join("net/boot-images");
        config.state = base.join("var/state");
        config.tftp.as_mut().unwrap().uploads.as_mut().unwrap().dir = base.join("uploads");
        for folder in ["net/boot-images", "var/state", "var/other", "uploads/sub", "etc"] {
            fs::create_dir_all(base.join(folder)).unwrap();
        }
        fs::write(base.join("net/boot-images/x"), "x").unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        Folders::of(&config, &base.join("etc"))
    }

    #[test]
    fn s_15_the_server_writes_only_state_and_uploads() {
        let base = tempfile::tempdir().unwrap();
        let (folders, path) = (folders(base.path()), base.path().to_owned());
        let outcome = confined(folders, move || {
            let write = |name: &str| fs::write(path.join(name), "x").is_ok();
            assert!(write("var/state/leases.db") && write("uploads/sub/x"));
            fs::rename(path.join("var/state/leases.db"), path.join("var/state/y")).unwrap();
            fs::hard_link(path.join("uploads/sub/x"), path.join("uploads/y")).unwrap();
            for name in ["net/boot-images/x", "net/new", "etc/config.yaml", "secret", "var/other/x", "var/x"]
            {
                assert!(!write(name), "{name}");
            }
            assert!(fs::read(path.join("secret")).is_err() && fs::read("/etc/passwd").is_err());
            assert!(std::process::Command::new("/bin/true").status().is_err(), "no program can be started");
            assert!(fs::read("/proc/net/arp").is_ok() && fs::read_dir("/sys/class/net").is_ok());
        });
        if outcome.is_none() {
            eprintln!("SKIPPED: this kernel has no Landlock");
        }
    }

    #[test]
    fn s_15_a_replaced_image_folder_stays_readable() {
        let base = tempfile::tempdir().unwrap();
        let (folders, path) = (folders(base.path()), base.path().to_owned());
        let replace = path.clone();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let confined = folders.confine();
            begin.send(confined).unwrap();
            wait.recv().unwrap();
            fs::read(path.join("net/boot-images/x")).unwrap()
        });
        begun.recv().unwrap();
        fs::remove_dir_all(replace.join("net/boot-images")).unwrap();
        fs::create_dir(replace.join("net/boot-images")).unwrap();
        fs::write(replace.join("net/boot-images/x"), "new").unwrap();
        go.send(()).unwrap();
        assert_eq!(thread.join().unwrap(), b"new");
    }

    #[test]
    fn s_15_only_lanboots_own_parent_folder_is_opened() {
        let base = tempfile::tempdir().unwrap();
        let mut folders = folders(base.path());
        assert_eq!(folders.folder_above_state(), None, "/var/lib has other things in it");
        fs::remove_dir(base.path().join("var/other")).unwrap();
        let parent = base.path().join("var").canonicalize().unwrap();
        assert_eq!(folders.folder_above_state(), Some(parent.clone()), "state alone");
        fs::create_dir(base.path().join("var/other")).unwrap();
        folders.config = base.path().join("var");
        assert_eq!(folders.folder_above_state(), Some(parent), "it contains config.yaml");
    }
}
