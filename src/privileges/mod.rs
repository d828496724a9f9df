//! Gives up every right that serving does not need, after the sockets are bound. `cli/serve.rs` plans this before
//! binding and does it afterwards, while the process still has one thread.
//!
//! A process started as root becomes another user (`account.rs`), who first gets the state folder. Two capabilities are
//! kept for interfaces and addresses that appear later: CAP_NET_BIND_SERVICE to bind ports, and CAP_NET_RAW for frames
//! and ARP. Then the kernel confines the process to its folders (`confine.rs`). Capabilities, no_new_privs and Landlock
//! belong to a thread and are inherited by new threads, so no thread may start before.

mod account;
mod confine;
mod state;
mod unusable;

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
};

use crate::boot::plan::Mode;
use crate::config::Config;
use crate::net::StartError;
use crate::net::served::may_be;

use account::{Account, Chosen};
use state::StateFolder;

pub use account::LANBOOT;
pub use state::give_to_group;

/// The capabilities that are kept.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE.union(CapabilitySet::NET_RAW);

/// The user that the server becomes, and the folders that it may use.
#[derive(Debug)]
pub struct Privileges {
    /// `None` if the process is not root and therefore keeps its user.
    chosen: Option<Chosen>,
    state: StateFolder,
    folders: confine::Folders,
}

/// Log lines about the rights that were given up.
#[derive(Debug, Default)]
pub struct Dropped {
    pub summary: String,
    /// Consequences that need action.
    pub warnings: Vec<String>,
}

impl Privileges {
    /// Chooses the user: `user` if given, otherwise as `account::choose` does. If root starts the server, the state
    /// folder is created if it is missing, and its previous owner is remembered.
    ///
    /// # Errors
    /// If there is no such user, or only root could become that user.
    pub fn plan(config: &Config, config_file: &Path, user: Option<&str>) -> Result<Privileges, StartError> {
        let folder = match config_file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let chosen = match (geteuid().is_root(), user) {
            (true, Some(user)) => {
                Some(Chosen { account: Account::named(user)?, trusted: true, warning: None })
            }
            (true, None) => Some(account::choose(config, config_file, folder)?),
            (false, Some(user)) => {
                let own = geteuid();
                if Account::named(user)?.uid != own {
                    return Err(StartError(format!(
                        "cannot become the user {user}: only root can; start it with sudo, or without --user"
                    )));
                }
                None
            }
            (false, None) => None,
        };
        let needs_state =
            may_be(config, Mode::Server) || config.targets.machines().iter().any(|m| m.once.is_some());
        // The token of the API is in it. The default listener works without one: no request may change anything there then.
        let needs_state = needs_state || config.web.as_ref().is_some_and(|web| web.is_listen_given);
        let state = StateFolder::inspect(&config.state, chosen.is_some() && needs_state)?;
        Ok(Privileges { chosen, state, folders: confine::Folders::of(config, folder) })
    }

    /// Hands the state folder and the control socket `control` over to the chosen user, becomes that user, and gives up
    /// all other rights. Call it while the process has one thread.
    ///
    /// # Errors
    /// If the state folder cannot be handed over, or the kernel does not remove a right: the server must not run then.
    pub fn drop(mut self, config: &Config, control: &Path) -> Result<Dropped, StartError> {
        let mut warnings = Vec::new();
        let account = self.chosen.as_ref().map(|chosen| &chosen.account);
        let trusted = self.chosen.as_ref().is_none_or(|chosen| chosen.trusted);
        self.state.hand_over(account, trusted)?;
        state::give_control(control, account);
        let fail = |what: &str, errno: Errno| {
            StartError(format!(
                "cannot give up the rights of root: {what}: {errno}; is a container in the way?"
            ))
        };
        if let Some(account) = account {
            become_user(account).map_err(|(what, errno)| fail(what, errno))?;
        }
        limit_capabilities().map_err(|(what, errno)| fail(what, errno))?;
        if let Some(warning) = self.chosen.take().and_then(|chosen| chosen.warning) {
            warnings.push(warning);
        }
        // Look up the user's name before the process is confined.
        let user = account::name_of(geteuid());
        warnings.extend(unusable::warnings(config, &user));
        let confined = self.folders.confine();
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads > 1 {
            warnings.push(format!(
                "{} threads keep rights that they should not have: a fault in lanboot, please report it",
                threads - 1
            ));
        }
        Ok(Dropped { summary: format!("runs as {user} with {}; {confined}", described()), warnings })
    }
}

/// Whether this computer has a user called `user`.
pub fn is_user(user: &str) -> bool {
    Account::named(user).is_ok()
}

/// Changes user and groups, and permanently removes capabilities from the bounding set.
fn become_user(account: &Account) -> Result<(), (&'static str, Errno)> {
    drop_bounding_set()?;
    let stays = account.uid == geteuid() && account.gid == getegid();
    set_keep_capabilities(true).map_err(|error| ("prctl(PR_SET_KEEPCAPS)", errno(error)))?;
    match setgroups(&account.groups) {
        // In a user namespace groups may be unavailable, and then there are no other groups to give up.
        Err(Errno::EPERM) if stays => {}
        done => done.map_err(|errno| ("setgroups", errno))?,
    }
    setresgid(account.gid, account.gid, account.gid).map_err(|errno| ("setresgid", errno))?;
    setresuid(account.uid, account.uid, account.uid).map_err(|errno| ("setresuid", errno))
}

/// Shrinks the bounding set: no program can gain a capability outside of it, whatever its file says.
fn drop_bounding_set() -> Result<(), (&'static str, Errno)> {
    let own = capabilities(None).map_err(|error| ("capget", errno(error)))?;
    if !own.effective.contains(CapabilitySet::SETPCAP) {
        // As in a container with few capabilities. The set is harmless then, because of no_new_privs.
        return Ok(());
    }
    for bit in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        if KEPT.contains(bit) {
            continue;
        }
        match remove_capability_from_bounding_set(bit).map_err(errno) {
            Ok(()) => {}
            // This is beyond the last capability of the kernel.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(("prctl(PR_CAPBSET_DROP)", errno)),
        }
    }
    Ok(())
}

/// Keeps only the capabilities in `KEPT`, and none for programs that this process starts.
fn limit_capabilities() -> Result<(), (&'static str, Errno)> {
    let own = capabilities(None).map_err(|error| ("capget", errno(error)))?;
    drop_bounding_set()?;
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    let kept = own.permitted & KEPT;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    match set_capabilities(None, sets).map_err(errno) {
        // A system call filter forbids it, as in systemd units of older versions. With no_new_privs, inheritable
        // capabilities have no effect.
        Err(Errno::EPERM) if KEPT.contains(own.permitted) => {}
        done => done.map_err(|errno| ("capset", errno))?,
    }
    set_no_new_privs(true).map_err(|error| ("prctl(PR_SET_NO_NEW_PRIVS)", errno(error)))
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Describes the capabilities of this thread for the log.
fn described() -> &'static str {
    let own = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let has = |set| own.contains(set);
    match (has(CapabilitySet::NET_BIND_SERVICE), has(CapabilitySet::NET_RAW)) {
        (true, true) => "only the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW",
        (true, false) => "only the capability CAP_NET_BIND_SERVICE",
        (false, true) => "only the capability CAP_NET_RAW",
        (false, false) => "no capabilities",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_capabilities_are_kept() {
        assert_eq!(KEPT.bits(), 1 << 10 | 1 << 13, "10 and 13 in linux/capability.h");
    }
}
