//! Downloads Debian packages with apt. apt verifies the distribution's signature on its package lists, and each
//! package against the lists. Nothing is installed. apt works in a private folder, so it needs no root, leaves the
//! system's lists and caches alone, and can download arm64 packages on an amd64 computer.

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

/// Prefix of the private folder's name.
const PREFIX: &str = "lanboot-images-";
/// Minimum age of an unused private folder before it is removed, because a newer one may not be locked yet.
const MIN_LEFTOVER_AGE: Duration = Duration::from_secs(60);
/// Maximum number of bytes of apt's output that are read.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
/// Maximum number of apt's messages that are shown.
const MAX_MESSAGES: usize = 4;

/// apt with a private folder, which is deleted on drop.
#[derive(Debug)]
pub struct Apt {
    root: TempDir,
    _lock: Flock<File>,
    /// The architecture that packages with `Architecture: all` are assigned to.
    native: DebArch,
    /// Errors while fetching the package lists. They only matter if a package is missing.
    server_errors: String,
}

/// A package to search for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Package name. `*` stands for a number, and the largest one is chosen.
    pub package: String,
    /// Architecture; `None` for a package with `Architecture: all`.
    pub arch: Option<DebArch>,
}

/// A package that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Name for apt, such as `shim-signed:arm64`.
    pub query: String,
    /// Distribution, such as `Debian bookworm`.
    pub distribution: Option<String>,
    pub url: String,
    /// File name that apt uses for the download.
    file_name: String,
    /// In bytes.
    pub size: u64,
    /// SHA-256 from the signed lists, in hexadecimal.
    pub sha256: String,
}

impl Apt {
    /// Creates the private folder, for packages of these architectures. There must be at least one.
    ///
    /// # Errors
    /// The folder for temporary files cannot be written.
    pub fn open(archs: &[DebArch]) -> Result<Apt, String> {
        let temporary = std::env::temp_dir();
        let cannot =
            |error: std::io::Error| format!("cannot make a folder in {}: {error}", temporary.display());
        remove_leftovers(&temporary);
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
        Ok(Apt { root, _lock: lock, native, server_errors: String::new() })
    }

    /// Fetches the package lists from the servers that are configured on this system.
    ///
    /// # Errors
    /// There is no apt. An unreachable server is only an error if a package is missing later.
    pub fn update(&mut self, progress: &Progress) -> Result<(), String> {
        let output = self.run("apt-get", ["-qq", "-o", "APT::Status-Fd=1", "update"], Some(progress))?;
        self.server_errors = output.messages;
        Ok(())
    }

    /// Finds the newest version of each package that apt would install; `None` if there is no such package.
    ///
    /// # Errors
    /// apt fails.
    pub fn resolve(&self, requests: &[Request]) -> Result<Vec<Option<Candidate>>, String> {
        let names: Vec<Option<String>> =
            requests.iter().map(|request| self.apt_name(request)).collect::<Result<_, _>>()?;
        let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        let versions = self.output_of("apt-cache", ["policy"].iter().chain(&known))?;
        let releases = apt_output::releases(&self.output_of("apt-cache", ["policy"])?);
        let sources = apt_output::candidates(&versions);
        let native = format!(":{}", self.native.name());
        // apt omits the architecture for its native one and for packages with `Architecture: all`.
        let source_of = |name: &str| sources.get(name).or_else(|| sources.get(name.strip_suffix(&native)?));
        let found: Vec<&str> = known.into_iter().filter(|name| source_of(name).is_some()).collect();
        if found.is_empty() {
            return Ok(vec![None; requests.len()]);
        }
        let files = self.output_of("apt-get", ["-qq", "download", "--print-uris"].iter().chain(&found))?;
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

    /// Downloads the packages and returns the files in the same order, each open at its beginning.
    ///
    /// # Errors
    /// A server does not answer, the disk is full, or a file does not match the signed lists.
    pub fn download(&self, packages: &[Candidate], progress: &Progress) -> Result<Vec<File>, String> {
        let first = ["-qq", "-o", "APT::Status-Fd=1", "download"];
        let queries = packages.iter().map(|package| package.query.as_str());
        let output = self.run("apt-get", first.into_iter().chain(queries), Some(progress))?;
        if !output.succeeded {
            return Err(format!("apt-get could not download the packages: {}", output.messages));
        }
        packages.iter().map(|package| self.open_verified(package)).collect()
    }

    /// Errors of the servers, to append to a message. Empty if there were none.
    pub fn server_errors(&self) -> &str {
        &self.server_errors
    }

    /// Opens the package's file and compares its checksum with the lists. apt has already done so, but this checks
    /// the open file.
    fn open_verified(&self, package: &Candidate) -> Result<File, String> {
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

    /// The package name for apt; `None` if no package matches the `*`.
    fn apt_name(&self, request: &Request) -> Result<Option<String>, String> {
        let arch = request.arch.map(|arch| format!(":{}", arch.name())).unwrap_or_default();
        let Some((before, after)) = request.package.split_once('*') else {
            return Ok(Some(format!("{}{arch}", request.package)));
        };
        let names = self.output_of("apt-cache", ["pkgnames", before])?;
        let numbers =
            names.lines().filter_map(|name| name.strip_prefix(before)?.strip_suffix(after)?.parse().ok());
        let newest: Option<u32> = numbers.max();
        Ok(newest.map(|number| format!("{before}{number}{after}{arch}")))
    }

    fn debs(&self) -> PathBuf {
        self.root.path().join("debs")
    }

    fn output_of(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, String> {
        let output = self.run(program, arguments, None)?;
        if output.succeeded { Ok(output.text) } else { Err(format!("{program} failed: {}", output.messages)) }
    }

    fn run(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        progress: Option<&Progress>,
    ) -> Result<AptOutput, String> {
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
            for line in BufReader::new(output.take(MAX_OUTPUT)).lines().map_while(Result::ok) {
                match (percent(&line), progress) {
                    (Some(percent), Some(progress)) => progress.set_percent(percent),
                    _ => text.extend([&line, "\n"]),
                }
            }
        }
        let succeeded = child.wait().map_err(cannot)?.success();
        let messages = messages(&fs::read(&errors).map_err(cannot)?);
        Ok(AptOutput { succeeded, text, messages })
    }
}

const NO_APT: &str = "there is no @ on this system, which the packages are downloaded with. On another computer, with \
                      Debian: `apt-get download PACKAGE`; then here: `lanboot images add NAME --deb FILE`";

/// Result of a run of apt.
struct AptOutput {
    succeeded: bool,
    /// Standard output without progress lines.
    text: String,
    /// Errors, or warnings if there are no errors.
    messages: String,
}

/// The percentage in a line `dlstatus:3:25.5:Retrieving file 3 of 8` of `APT::Status-Fd`.
fn percent(line: &str) -> Option<f64> {
    line.strip_prefix("dlstatus:")?.split(':').nth(1)?.parse().ok()
}

/// The lines that begin with `E:`, then those with `W:`, without these prefixes.
fn messages(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let of = |kind| text.lines().filter_map(move |line: &str| line.strip_prefix(kind)).map(str::trim);
    let lines: Vec<&str> = of("E:").chain(of("W:")).take(MAX_MESSAGES).collect();
    lines.join("; ")
}

/// apt settings for the private folder. The hooks of the system are removed, because they maintain the system's own
/// lists.
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

/// Gives the folder to the user `_apt`, because apt downloads as that user when it is run by root.
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
fn remove_leftovers(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Symlinks, and folders of other users, are left alone.
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        let is_old = meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > MIN_LEFTOVER_AGE));
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
    fn the_output_of_apt_is_parsed() {
        assert_eq!(percent("dlstatus:14:94.4444:Retrieving file 14 of 18"), Some(94.4444));
        assert_eq!(percent("pmstatus:x:1:y"), None);
        let text = b"W: old\nN: no\nE: Unable to locate package x\n";
        assert_eq!(messages(text), "Unable to locate package x; old");
    }

    #[test]
    fn only_old_folders_of_ended_processes_are_removed() {
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
        remove_leftovers(base.path());
        let there = |name: &str| base.path().join(name).exists();
        assert!(!there("lanboot-images-old"));
        assert!(there("lanboot-images-new") && there("lanboot-images-used") && there("other"));
    }
}
