//! Downloads packages with the distribution's package tool, which checks the distribution's signature on its package
//! lists and each package against them. Nothing is installed, and apt's own lists and caches are left alone: it works in
//! a private folder, so no root is needed, and arm64 packages come to an amd64 computer.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{User, chown, geteuid};
use tempfile::TempDir;

use crate::images::add::apt_output;
use crate::images::add::progress::Progress;
use crate::images::add::sets::DebArch;
use crate::images::add::staging::sha256;

/// How the name of the private folder begins.
const PREFIX: &str = "lanboot-images-";
/// How old a private folder of nobody must be before it is removed: a younger one may just have been made.
const LEFT_OVER: Duration = Duration::from_secs(60);
/// Bytes of what apt says that are read.
const MAX_SAID: u64 = 64 * 1024 * 1024;
/// Lines of apt's complaints that are shown.
const MAX_COMPLAINTS: usize = 4;

/// apt with a private folder, deleted on drop.
#[derive(Debug)]
pub struct Apt {
    root: TempDir,
    _lock: Flock<File>,
    /// The architecture that packages for all belong to.
    native: DebArch,
    /// What went wrong when the lists were fetched: not an error as long as the packages are found.
    trouble: String,
}

/// A package that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Its name; `*` is a number, and the largest is meant.
    pub package: String,
    /// Its architecture; `None` for a package for all.
    pub arch: Option<DebArch>,
}

/// A package that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As apt is asked for it: `shim-signed:arm64`.
    pub query: String,
    /// Whose it is, such as `Debian bookworm`.
    pub distribution: Option<String>,
    /// Where it is.
    pub url: String,
    /// The name of the file that apt makes.
    file_name: String,
    /// Bytes.
    pub size: u64,
    /// What the signed lists say, in hex.
    pub sha256: String,
}

impl Apt {
    /// Makes the private folder, for packages of these architectures, at least one.
    ///
    /// # Errors
    /// There is no room for temporary files.
    pub fn open(archs: &[DebArch]) -> Result<Apt, String> {
        let temporary = std::env::temp_dir();
        let cannot =
            |error: std::io::Error| format!("cannot make a folder in {}: {error}", temporary.display());
        remove_left_overs(&temporary);
        let root = tempfile::Builder::new().prefix(PREFIX).tempdir().map_err(cannot)?;
        let lock = Flock::lock(File::open(root.path()).map_err(cannot)?, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, errno)| cannot(errno.into()))?;
        for folder in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(root.path().join(folder)).map_err(cannot)?;
        }
        fs::write(root.path().join("status"), "").map_err(cannot)?;
        let native = archs.first().copied().unwrap_or(DebArch::Amd64);
        fs::write(root.path().join("apt.conf"), settings(native, archs)).map_err(cannot)?;
        give_to_sandbox(root.path()).map_err(cannot)?;
        Ok(Apt { root, _lock: lock, native, trouble: String::new() })
    }

    /// Fetches the package lists from the servers that this system is set up for.
    ///
    /// # Errors
    /// There is no apt. That a server does not answer is an error only when a package is missing.
    pub fn update(&mut self, progress: &Progress) -> Result<(), String> {
        let said = self.run("apt-get", ["-qq", "-o", "APT::Status-Fd=1", "update"], Some(progress))?;
        self.trouble = said.complaints;
        Ok(())
    }

    /// The newest version of each package that apt would install; `None` where there is no such package.
    ///
    /// # Errors
    /// apt fails.
    pub fn resolve(&self, requests: &[Request]) -> Result<Vec<Option<Candidate>>, String> {
        let names: Vec<Option<String>> =
            requests.iter().map(|request| self.full_name(request)).collect::<Result<_, _>>()?;
        let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        let versions = self.ask("apt-cache", ["policy"].iter().chain(&known))?;
        let releases = apt_output::releases(&self.ask("apt-cache", ["policy"])?);
        let sources = apt_output::candidates(&versions);
        let native = format!(":{}", self.native.name());
        // For its own architecture, and for packages for all, apt leaves the architecture out.
        let source_of = |name: &str| sources.get(name).or_else(|| sources.get(name.strip_suffix(&native)?));
        let found: Vec<&str> = known.into_iter().filter(|name| source_of(name).is_some()).collect();
        if found.is_empty() {
            return Ok(vec![None; requests.len()]);
        }
        let files = self.ask("apt-get", ["-qq", "download", "--print-uris"].iter().chain(&found))?;
        let files = apt_output::files(&files);
        let candidate = |name: &String| {
            let source = source_of(name)?;
            let (package, arch) = name.split_once(':').unwrap_or((name, self.native.name()));
            let file = files.iter().find(|file| file.is_of(package, arch))?;
            Some(Candidate {
                query: name.clone(),
                distribution: source.as_ref().and_then(|source| releases.get(source).cloned()),
                url: file.url.clone(),
                file_name: file.name.clone(),
                size: file.size,
                sha256: file.sha256.clone(),
            })
        };
        Ok(names.iter().map(|name| name.as_ref().and_then(candidate)).collect())
    }

    /// Downloads the packages, and gives each file, open at its beginning, in the same order.
    ///
    /// # Errors
    /// A server does not answer, the disk is full, or a file is not what the signed lists say.
    pub fn download(&self, packages: &[Candidate], progress: &Progress) -> Result<Vec<File>, String> {
        let first = ["-qq", "-o", "APT::Status-Fd=1", "download"];
        let queries = packages.iter().map(|package| package.query.as_str());
        let said = self.run("apt-get", first.into_iter().chain(queries), Some(progress))?;
        if !said.succeeded {
            return Err(format!("apt-get could not download the packages: {}", said.complaints));
        }
        packages.iter().map(|package| self.checked(package)).collect()
    }

    /// What was wrong with the servers, as a half sentence; empty if nothing was.
    pub fn trouble(&self) -> &str {
        &self.trouble
    }

    /// The package's file, if it is what the lists say. apt has looked at it; this looks at what will be read.
    fn checked(&self, package: &Candidate) -> Result<File, String> {
        let path = self.debs().join(&package.file_name);
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let mut file = File::open(&path).map_err(cannot)?;
        let sum = sha256(&file).map_err(cannot)?;
        if sum != package.sha256 {
            return Err(format!(
                "{} is not what the package lists say: its SHA-256 is {sum} instead of {}",
                package.file_name, package.sha256
            ));
        }
        file.rewind().map_err(cannot)?;
        Ok(file)
    }

    /// As apt is asked for it; `None` if there is no package with such a number.
    fn full_name(&self, request: &Request) -> Result<Option<String>, String> {
        let arch = request.arch.map(|arch| format!(":{}", arch.name())).unwrap_or_default();
        let Some((before, after)) = request.package.split_once('*') else {
            return Ok(Some(format!("{}{arch}", request.package)));
        };
        let names = self.ask("apt-cache", ["pkgnames", before])?;
        let numbers =
            names.lines().filter_map(|name| name.strip_prefix(before)?.strip_suffix(after)?.parse().ok());
        let newest: Option<u32> = numbers.max();
        Ok(newest.map(|number| format!("{before}{number}{after}{arch}")))
    }

    fn debs(&self) -> PathBuf {
        self.root.path().join("debs")
    }

    fn ask(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, String> {
        let said = self.run(program, arguments, None)?;
        if said.succeeded { Ok(said.text) } else { Err(format!("{program} failed: {}", said.complaints)) }
    }

    fn run(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        progress: Option<&Progress>,
    ) -> Result<Said, String> {
        let root = self.root.path();
        let cannot = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => NO_APT.replace("@", program),
            _ => format!("cannot run {program}: {error}"),
        };
        let errors = root.join("errors");
        let mut command = Command::new(program);
        command.arg("-c").arg(root.join("apt.conf"));
        for (name, path) in
            [("Dir::State::lists", "lists"), ("Dir::State::status", "status"), ("Dir::Cache", "cache")]
        {
            let mut option = std::ffi::OsString::from(format!("{name}="));
            option.push(root.join(path));
            command.arg("-o").arg(option);
        }
        command.args(arguments).current_dir(self.debs()).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(&errors).map_err(cannot)?);
        let mut child = command.spawn().map_err(cannot)?;
        let mut text = String::new();
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output.take(MAX_SAID)).lines().map_while(Result::ok) {
                match (percent(&line), progress) {
                    (Some(percent), Some(progress)) => progress.set_percent(percent),
                    _ => text.extend([&line, "\n"]),
                }
            }
        }
        let succeeded = child.wait().map_err(cannot)?.success();
        let complaints = complaints(&fs::read(&errors).map_err(cannot)?);
        Ok(Said { succeeded, text, complaints })
    }
}

const NO_APT: &str = "there is no @ on this system, which the packages are downloaded with. On another computer, with \
                      Debian: `apt-get download PACKAGE`; then here: `lanboot images add NAME --deb FILE`";

/// How a run of apt ended.
struct Said {
    succeeded: bool,
    /// Standard output without the progress.
    text: String,
    /// Its errors, or else its warnings.
    complaints: String,
}

/// The percentage in a line `dlstatus:3:25.5:Retrieving file 3 of 8` of `APT::Status-Fd`.
fn percent(line: &str) -> Option<f64> {
    line.strip_prefix("dlstatus:")?.split(':').nth(1)?.parse().ok()
}

/// The lines that begin `E:` or `W:`, the former first, without those letters.
fn complaints(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let of = |kind| text.lines().filter_map(move |line: &str| line.strip_prefix(kind)).map(str::trim);
    let lines: Vec<&str> = of("E:").chain(of("W:")).take(MAX_COMPLAINTS).collect();
    lines.join("; ")
}

/// What apt does differently here. Hooks of the system belong to the system's own lists.
fn settings(native: DebArch, archs: &[DebArch]) -> String {
    let archs: String = archs.iter().map(|arch| format!("\"{}\"; ", arch.name())).collect();
    format!(
        "#clear APT::Architectures;\n#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n\
         #clear Acquire::Languages;\nAPT::Architecture \"{}\";\nAPT::Architectures {{ {archs}}};\n\
         Acquire::Languages \"none\";\nAcquire::Retries \"2\";\nAPT::Get::List-Cleanup \"false\";\n",
        native.name()
    )
}

/// For root, apt talks to servers as the user `_apt`, who must be able to write here.
fn give_to_sandbox(root: &Path) -> std::io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o711))?;
    if let Ok(Some(user)) = User::from_name("_apt") {
        chown(&root.join("debs"), Some(user.uid), None)?;
    }
    Ok(())
}

/// Removes the private folders of runs that were killed.
fn remove_left_overs(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not followed if it is a link; and nobody else's, whatever it is called.
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        let is_old = meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_OVER));
        if !is_ours || !is_old || !meta.is_dir() || meta.uid() != geteuid().as_raw() {
            continue;
        }
        let Ok(folder) = File::open(entry.path()) else { continue };
        if Flock::lock(folder, FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_says_is_read() {
        assert_eq!(percent("dlstatus:14:94.4444:Retrieving file 14 of 18"), Some(94.4444));
        assert_eq!(percent("pmstatus:x:1:y"), None);
        let text = b"W: old\nN: no\nE: Unable to locate package x\n";
        assert_eq!(complaints(text), "Unable to locate package x; old");
    }

    #[test]
    fn only_old_folders_of_nobody_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(120);
        for name in ["lanboot-images-old", "lanboot-images-new", "lanboot-images-used", "other"] {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            if !name.ends_with("new") {
                File::open(&path).unwrap().set_modified(old).unwrap();
            }
        }
        let used = File::open(base.path().join("lanboot-images-used")).unwrap();
        let _lock = Flock::lock(used, FlockArg::LockExclusiveNonblock).unwrap();
        remove_left_overs(base.path());
        let there = |name: &str| base.path().join(name).exists();
        assert!(!there("lanboot-images-old"));
        assert!(there("lanboot-images-new") && there("lanboot-images-used") && there("other"));
    }
}
