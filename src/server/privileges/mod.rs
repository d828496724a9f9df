//! Gives up every right that serving does not need, once the sockets are bound: `cli/serve.rs` plans it before and has
//! it done after that, while the process still has one thread.
//!
//! Started as root, the process becomes another user (`account.rs`), who gets the state folder first. Whatever the user
//! is, two capabilities stay: CAP_NET_BIND_SERVICE, for addresses that come later, and CAP_NET_RAW, for frames, ARP and
//! interfaces that come later. Then the kernel confines it to its folders (`confine.rs`). Capabilities, no_new_privs
//! and Landlock belong to a thread, and new threads inherit them; so no thread may start before.

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

/// The capabilities that stay.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE.union(CapabilitySet::NET_RAW);

/// Which user the server is going to be, and which folders it is going to use.
#[derive(Debug)]
pub struct Privileges {
    /// `None` if the process has no rights to give up a user for: it stays who it is.
    chosen: Option<Chosen>,
    state: StateFolder,
    places: confine::Places,
}

/// The rights are given up; lines for the log.
#[derive(Debug, Default)]
pub struct Dropped {
    /// The user, the capabilities and the confinement.
    pub summary: String,
    /// Consequences that a person has to act on.
    pub warnings: Vec<String>,
}

impl Privileges {
    /// Chooses the user: `user` if given, else as `account::choose` says. Makes the state folder if root starts the
    /// server and there is none, and remembers whose folder it was.
    ///
    /// # Errors
    /// There is no such user, or only root could become that user.
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
        let state = StateFolder::look(&config.state, chosen.is_some() && needs_state)?;
        Ok(Privileges { chosen, state, places: confine::Places::of(config, folder) })
    }

    /// Hands over the state folder with the control socket `control`, becomes the chosen user, and gives up all other
    /// rights. Call it while the process has one thread.
    ///
    /// # Errors
    /// The state folder cannot be handed over, or the kernel does not take a right away: the server must not run.
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
        // The user's name cannot be looked up once the process is confined.
        let user = account::name_of(geteuid());
        warnings.extend(unusable::warnings(config, &user));
        let confined = self.places.confine();
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

/// Whether `user` names a user of this computer.
pub fn is_user(user: &str) -> bool {
    Account::named(user).is_ok()
}

/// Changes user and groups, and takes the capabilities out of reach of this process for good.
fn become_user(account: &Account) -> Result<(), (&'static str, Errno)> {
    drop_bounding_set()?;
    let stays = account.uid == geteuid() && account.gid == getegid();
    set_keep_capabilities(true).map_err(|error| ("prctl(PR_SET_KEEPCAPS)", errno(error)))?;
    match setgroups(&account.groups) {
        // In a user namespace groups may be out of reach, and then there are none of others to lose.
        Err(Errno::EPERM) if stays => {}
        done => done.map_err(|errno| ("setgroups", errno))?,
    }
    setresgid(account.gid, account.gid, account.gid).map_err(|errno| ("setresgid", errno))?;
    setresuid(account.uid, account.uid, account.uid).map_err(|errno| ("setresuid", errno))
}

/// What is not in this set no program can get, whatever its file says.
fn drop_bounding_set() -> Result<(), (&'static str, Errno)> {
    let own = capabilities(None).map_err(|error| ("capget", errno(error)))?;
    if !own.effective.contains(CapabilitySet::SETPCAP) {
        // As in a container that gave only some: who cannot shorten the set cannot use it either, by no_new_privs.
        return Ok(());
    }
    for bit in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        if KEPT.contains(bit) {
            continue;
        }
        match remove_capability_from_bounding_set(bit).map_err(errno) {
            Ok(()) => {}
            // Beyond the last capability of this kernel.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(("prctl(PR_CAPBSET_DROP)", errno)),
        }
    }
    Ok(())
}

/// Of the capabilities that this thread has, only `KEPT` stay, and none is inherited by programs.
fn limit_capabilities() -> Result<(), (&'static str, Errno)> {
    let own = capabilities(None).map_err(|error| ("capget", errno(error)))?;
    drop_bounding_set()?;
    // Kernels before 4.3 have no such set.
    let _ = clear_ambient_capability_set();
    let kept = own.permitted & KEPT;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    match set_capabilities(None, sets).map_err(errno) {
        // A filter of system calls forbids it, as in units that were written for older versions. With no_new_privs,
        // what can be inherited is of no use.
        Err(Errno::EPERM) if KEPT.contains(own.permitted) => {}
        done => done.map_err(|errno| ("capset", errno))?,
    }
    set_no_new_privs(true).map_err(|error| ("prctl(PR_SET_NO_NEW_PRIVS)", errno(error)))
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// The capabilities of this thread, for people.
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
