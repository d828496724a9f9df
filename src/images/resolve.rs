//! Opens a file beneath a folder and says by which name: a symlink may have another name than the file that it leads to,
//! and what may be served is decided by the file's.
//!
//! Called by the catalog. The kernel opens the final name without following any link, so that the answer is true
//! whatever is renamed meanwhile.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};

use crate::images::folder::Folder;

/// Symlinks that are followed for one name, as in the kernel.
const MAX_LINKS: usize = 40;
/// Components that are looked at for one name, those of symlinks included.
const MAX_STEPS: usize = 1024;
/// Attempts while somebody replaces files by symlinks and back.
const TRIES: usize = 8;

/// Opens `name` beneath `folder`, following symlinks that stay beneath it, and returns the file with its real name: a
/// path without symlinks.
///
/// # Errors
/// ENOENT also where a component begins with a dot, in `name` or in a symlink on the way; EXDEV for a symlink that leads
/// outside, absolute ones included; otherwise what the kernel says.
pub(super) fn open(folder: &Folder, name: &str, flags: OFlag) -> nix::Result<(OwnedFd, Vec<u8>)> {
    if has_hidden_component(name.as_bytes()) {
        return Err(Errno::ENOENT);
    }
    match folder.look_up_exactly(name.as_bytes(), flags) {
        // Most names have no symlink in them.
        Err(Errno::ELOOP) => {}
        opened => return opened.map(|file| (file, name.as_bytes().to_vec())),
    }
    for _ in 0..TRIES {
        let real = real_name(folder, name)?;
        match folder.look_up_exactly(&real, flags) {
            Err(Errno::ELOOP) => {}
            opened => return opened.map(|file| (file, real)),
        }
    }
    Err(Errno::EAGAIN)
}

/// Whether a component of `path` begins with a dot. `.` and `..` do not count.
pub(super) fn has_hidden_component(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(is_hidden)
}

fn is_hidden(component: &[u8]) -> bool {
    component.starts_with(b".") && component != b"." && component != b".."
}

/// `name` without symlinks.
fn real_name(folder: &Folder, name: &str) -> nix::Result<Vec<u8>> {
    let reversed =
        |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut pending = reversed(name.as_bytes());
    let mut real: Vec<u8> = Vec::new();
    let (mut links, mut steps) = (0, 0);
    while let Some(component) = pending.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            return Err(Errno::ELOOP);
        }
        match component.as_slice() {
            b"" | b"." => continue,
            b".." if real.is_empty() => return Err(Errno::EXDEV),
            b".." => {
                let parent = real.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                real.truncate(parent);
                continue;
            }
            hidden if is_hidden(hidden) => return Err(Errno::ENOENT),
            _ => {}
        }
        let before = real.len();
        if before > 0 {
            real.push(b'/');
        }
        real.extend_from_slice(&component);
        match readlinkat(folder, std::ffi::OsStr::from_bytes(&real)) {
            // It is no symlink.
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno),
            Ok(target) => {
                let target = target.into_vec();
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP);
                }
                if target.starts_with(b"/") {
                    return Err(Errno::EXDEV);
                }
                real.truncate(before);
                pending.extend(reversed(&target));
            }
        }
    }
    // A symlink may lead to the folder itself.
    if real.is_empty() {
        real.push(b'.');
    }
    Ok(real)
}
