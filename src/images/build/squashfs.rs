//! Runs `mksquashfs`, which packs a folder or a tar archive into one file. It keeps owners, modes, links, devices and
//! extended attributes, and needs no rights beyond reading its input.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use nix::unistd::geteuid;

use super::interrupt::Cleanup;
use crate::images::add::progress::Progress;

/// Number of last bytes of the program's messages that are kept.
const MAX_MESSAGES: usize = 16 * 1024;
/// Number of last lines of its messages that are shown.
const MAX_LINES: usize = 3;

/// A running `mksquashfs`.
#[derive(Debug)]
pub(super) struct Mksquashfs {
    child: Child,
    messages: JoinHandle<Vec<u8>>,
    cleanup: Cleanup,
}

impl Mksquashfs {
    /// Packs the folder `from` into the file `to`.
    pub(super) fn of_folder(from: &Path, to: &Path, cleanup: &Cleanup) -> Result<Mksquashfs, String> {
        let mut command = command("mksquashfs");
        command.arg(from).arg(to).args(COMMON).arg("-progress").stdin(Stdio::null()).stdout(Stdio::piped());
        // Kernels mount these again; in a chroot that is in use, they are no files of the image.
        command.args(["-wildcards", "-e", "proc/*", "sys/*"]);
        Mksquashfs::start(command, cleanup)
    }

    /// Packs a tar archive, which is written to the returned pipe, into the file `to`.
    pub(super) fn of_archive(to: &Path, cleanup: &Cleanup) -> Result<(Mksquashfs, ChildStdin), String> {
        // `docker export` has no entry for the root itself, and mksquashfs 4.5 ignores that of others. The user who runs it
        // becomes the owner, whatever `-root-uid` says, so that user is root in its own namespace.
        let mut command = if is_mapped_root_possible() { as_mapped_root() } else { command("mksquashfs") };
        command.arg("-").arg(to).arg("-tar").args(COMMON).arg("-no-progress");
        command.args(["-root-mode", "0755", "-root-uid", "0", "-root-gid", "0"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut running = Mksquashfs::start(command, cleanup)?;
        let input = running.child.stdin.take().ok_or("mksquashfs has no standard input")?;
        Ok((running, input))
    }

    fn start(mut command: Command, cleanup: &Cleanup) -> Result<Mksquashfs, String> {
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                "mksquashfs is not installed, which packs the root file system: `apt-get install \
                                    squashfs-tools`"
                    .to_owned()
            }
            _ => format!("cannot run mksquashfs: {error}"),
        })?;
        cleanup.add_child(child.id());
        let errors = child.stderr.take();
        let messages = std::thread::spawn(move || errors.map(last_bytes).unwrap_or_default());
        Ok(Mksquashfs { child, messages, cleanup: cleanup.clone() })
    }

    /// Shows the percentages that the program prints until it ends.
    pub(super) fn follow(&mut self, progress: &Progress) {
        let Some(output) = self.child.stdout.take() else { return };
        let mut word = String::new();
        for byte in BufReader::new(output).bytes().map_while(Result::ok) {
            match byte {
                b'%' => {
                    progress.set_percent(word.parse().unwrap_or(0.0));
                    word.clear();
                }
                b'0'..=b'9' if word.len() < 8 => word.push(char::from(byte)),
                _ => word.clear(),
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The program failed; the text has its last messages.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let status = self.child.wait();
        self.cleanup.remove_child(self.child.id());
        let messages = self.messages.join().unwrap_or_default();
        let status = status.map_err(|error| format!("cannot wait for mksquashfs: {error}"))?;
        if status.success() {
            return Ok(());
        }
        let messages = String::from_utf8_lossy(&messages).into_owned();
        let lines: Vec<&str> = messages.lines().map(str::trim).filter(|line| !is_noise(line)).collect();
        let last = lines.get(lines.len().saturating_sub(MAX_LINES)..).unwrap_or_default().join("; ");
        let hint = if last.contains("invalid option") {
            " (squashfs-tools 4.5 or newer is needed)"
        } else if last.contains("ermission denied") {
            ": run this as root, or build from a tar archive"
        } else {
            ""
        };
        Err(format!("mksquashfs failed ({status}): {last}{hint}"))
    }

    /// Ends the program.
    pub(super) fn stop(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.cleanup.remove_child(self.child.id());
    }
}

/// Settings for both kinds of input. Without `-exit-on-error`, a file that cannot be read becomes an empty one.
const COMMON: [&str; 5] = ["-noappend", "-comp", "zstd", "-quiet", "-exit-on-error"];

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").stderr(Stdio::piped());
    command
}

/// `mksquashfs` in a user namespace in which this user is root. `unshare` (util-linux) executes it in its own process.
fn as_mapped_root() -> Command {
    let mut command = command("unshare");
    command.args(["--map-root-user", "mksquashfs"]);
    command
}

/// Whether this user is not root, may make user namespaces, and has the program, which `unshare` would report in its
/// own words.
fn is_mapped_root_possible() -> bool {
    let mut test = Command::new("unshare");
    test.args(["--map-root-user", "mksquashfs", "-version"]);
    test.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    !geteuid().is_root() && test.status().is_ok_and(|status| status.success())
}

/// Whether a line is about attributes that squashfs cannot store, or about the entry of the root.
fn is_noise(line: &str) -> bool {
    line.is_empty() || line.ends_with("ignoring")
}

/// The last bytes of `input`.
fn last_bytes(mut input: impl Read) -> Vec<u8> {
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = input.read(&mut chunk) {
        kept.extend(chunk.get(..read).unwrap_or_default());
        let over = kept.len().saturating_sub(MAX_MESSAGES);
        kept.drain(..over);
    }
    kept
}

/// Copies everything that is read to the program, which packs the archive while lanboot looks for its kernel.
#[derive(Debug)]
pub(super) struct Tee<'p, R> {
    pub(super) input: R,
    pub(super) program: ChildStdin,
    pub(super) progress: &'p Progress,
    /// Whether the program took no more input. Its own message then says why.
    pub(super) is_closed: bool,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.progress.add(read);
        let written = self.program.write_all(bytes.get(..read).unwrap_or_default());
        self.is_closed |= written.is_err();
        written.map(|()| read)
    }
}
