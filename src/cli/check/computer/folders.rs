//! The folders of the configuration and the lease database: whether the server could use them.

use std::path::Path;

use nix::unistd::{AccessFlags, access, geteuid};

use super::findings::Findings;
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::net::served::may_be;
use crate::store::LeaseReader;

const PART: &str = "folders";

/// `state` and `tftp.uploads` must be writable. `images` is checked with its files.
pub(super) fn check(config: &Config, found: &mut Findings) {
    let needs_state = may_be(config, Mode::Server)
        || config.targets.machines().iter().any(|machine| machine.once.is_some());
    let uploads =
        config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref()).map(|uploads| uploads.dir.as_path());
    let state = needs_state.then_some(config.state.as_path());
    let folders = [("state", state), ("tftp.uploads", uploads)];
    for (key, folder) in folders.into_iter().filter_map(|(key, folder)| Some((key, folder?))) {
        let shown = folder.display();
        match folder.metadata() {
            Ok(there) if !there.is_dir() => found.problem(PART, format!("`{key}`: {shown} is no folder")),
            Ok(_) if !is_writable(folder) => {
                unwritable(found, format!("`{key}`: this user cannot write in {shown}"));
            }
            Ok(_) => {}
            // The server creates `state`. A missing folder for uploads is a problem of the file.
            Err(_) if key == "state" => {
                let parent =
                    folder.ancestors().skip(1).find(|parent| parent.exists() || *parent == Path::new(""));
                let parent = parent.filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
                if !parent.is_dir() {
                    found.problem(
                        PART,
                        format!("`{key}`: {shown} cannot be made: {} is no folder", parent.display()),
                    );
                } else if !is_writable(parent) {
                    unwritable(
                        found,
                        format!("`{key}`: there is no folder {shown}, and this user cannot make it"),
                    );
                }
            }
            Err(_) => {}
        }
    }
}

/// Root writes everywhere except on a read-only file system. For other users, the server may run as another user.
fn unwritable(found: &mut Findings, message: String) {
    match geteuid().is_root() {
        true => found.problem(PART, message),
        false => found.note(PART, format!("not checked: {message}; the server's user may, so try as root")),
    }
}

fn is_writable(folder: &Path) -> bool {
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// The lease database must be readable and complete. It is only read.
pub(super) fn database(config: &Config, found: &mut Findings) {
    const PART: &str = "database";
    if !may_be(config, Mode::Server) || !config.state.exists() {
        return;
    }
    if access(&config.state, AccessFlags::R_OK | AccessFlags::X_OK).is_err() && !geteuid().is_root() {
        let state = config.state.display();
        return found.note(PART, format!("not checked: this user cannot read {state}; try as root"));
    }
    let read = LeaseReader::open(&config.state).and_then(|reader| match reader {
        Some(reader) => reader.load().map(|(_, skipped, losses)| (skipped, losses)),
        None => Ok((0, Vec::new())),
    });
    match read {
        Ok((skipped, losses)) => {
            losses.into_iter().for_each(|loss| found.note(PART, loss));
            if skipped > 0 {
                found.note(
                    PART,
                    format!("{skipped} rows of the lease database are not leases, and are skipped"),
                );
            }
        }
        Err(error) => found.problem(PART, error),
    }
}
