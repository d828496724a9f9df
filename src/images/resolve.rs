//! Opens a file in a folder and returns its real name. A symlink may be named differently than its target, and the
//! real name decides whether the file may be served.
//!
//! The catalog calls it. The last step opens the real name without following symlinks, so the name is right even if
//! files are renamed meanwhile.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};

use crate::images::folder::Folder;

/// Maximum number of symlinks that are followed for one name, as in the kernel.
const MAX_LINKS: usize = 40;
/// Maximum number of components per name, including those of symlinks.
const MAX_STEPS: usize = 1024;
/// Maximum number of attempts if another process replaces files by symlinks meanwhile.
const TRIES: usize = 8;

/// Opens `name` in `folder`, follows symlinks that stay in it, and returns the file with its real name, a path
/// without symlinks.
///
/// # Errors
/// ENOENT also if a component of `name` or of a symlink begins with a dot. EXDEV if a symlink leads outside, which
/// includes every absolute one. Otherwise the error of the kernel.
pub(super) fn open(folder: &Folder, name: &str, flags: OFlag) -> nix::Result<(OwnedFd, Vec<u8>)> {
    if has_hidden_component(name.as_bytes()) {
        return Err(Errno::ENOENT);
    }
    match folder.look_up_exactly(name.as_bytes(), flags) {
        // Most names contain no symlink.
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

/// Whether a component of `path` begins with a dot, apart from `.` and `..`.
pub(super) fn has_hidden_component(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(is_hidden)
}

fn is_hidden(component: &[u8]) -> bool {
    component.starts_with(b".") && component != b"." && component != b".."
}

/// `name` with all symlinks resolved.
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
            // Not a symlink.
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
