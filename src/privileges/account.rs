//! Chooses the user that the server becomes when root starts it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups, setegid, seteuid, setgroups,
};

use crate::config::Config;
use crate::net::StartError;

/// The name of the user and the group of the installed service.
pub const LANBOOT: &str = "lanboot";

/// The command that creates that user.
const MAKE_USER: &str = "useradd --system --no-create-home --shell /usr/sbin/nologin lanboot";

/// A user with all of its groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub uid: Uid,
    pub gid: Gid,
    pub groups: Vec<Gid>,
}

/// The user that the server becomes.
#[derive(Debug)]
pub struct Chosen {
    pub account: Account,
    /// Whether root named the user or created it for lanboot. Any other user wrote config.yaml, and may have set
    /// `state` to any path.
    pub trusted: bool,
    /// The reason why the server stays root.
    pub warning: Option<String>,
}

impl Account {
    /// Looks up a user by name or number.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn named(name: &str) -> Result<Account, StartError> {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Account::of(&user));
        }
        match name.parse() {
            Ok(number) => Ok(Account::numbered(Uid::from_raw(number), Gid::from_raw(number))),
            Err(_) => Err(StartError(format!("--user {name}: there is no such user on this computer"))),
        }
    }

    /// The user with this number; `gid` is its group if the system does not know the user.
    fn numbered(uid: Uid, gid: Gid) -> Account {
        match User::from_uid(uid) {
            Ok(Some(user)) => Account::of(&user),
            _ => Account { uid, gid, groups: vec![gid] },
        }
    }

    fn of(user: &User) -> Account {
        let groups =
            CString::new(user.name.as_bytes()).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
        Account { uid: user.uid, gid: user.gid, groups: groups.unwrap_or_else(|| vec![user.gid]) }
    }

    fn root() -> Account {
        Account::numbered(Uid::from_raw(0), Gid::from_raw(0))
    }
}

/// The user's name, or its number if it has none.
pub fn name_of(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

/// The group whose members may use the control socket.
pub fn lanboot_group() -> Option<Gid> {
    Group::from_name(LANBOOT).ok().flatten().map(|group| group.gid)
}

/// Chooses `lanboot` if this user exists and can read `images` and config.yaml; otherwise the owner of `folder`, the
/// folder of config.yaml; otherwise root, with a warning.
///
/// # Errors
/// If the process cannot become root again after the test as another user.
pub fn choose(config: &Config, config_file: &Path, folder: &Path) -> Result<Chosen, StartError> {
    let mut because = "there is no user `lanboot`".to_owned();
    let mut advice = format!("make it with `{MAKE_USER}`");
    if let Ok(Some(user)) = User::from_name(LANBOOT) {
        let account = Account::of(&user);
        match as_user(&account, || can_read(config, config_file))? {
            Ok(()) => return Ok(Chosen { account, trusted: true, warning: None }),
            Err(why) => {
                because = format!("the user `lanboot` {why}");
                advice = "let it, or make it read another folder: `chmod -R a+rX FOLDER`, and a+x for the folders \
                          above it"
                    .to_owned();
            }
        }
    }
    let owner = fs::metadata(folder).map(|meta| (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())));
    if let Ok((uid, gid)) = owner
        && !uid.is_root()
    {
        let account = Account::numbered(uid, gid);
        if as_user(&account, || Ok(()))?.is_ok() {
            return Ok(Chosen { account, trusted: false, warning: None });
        }
    }
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let warning = format!(
        "the server stays root, without root's capabilities: {because}, and {} does not belong to another user; {advice}, \
         or name a user with --user",
        folder.display()
    );
    Ok(Chosen { account: Account::root(), trusted: true, warning: Some(warning) })
}

fn can_read(config: &Config, config_file: &Path) -> Result<(), String> {
    let cannot = |path: &Path, error: io::Error| Err(format!("cannot read {} ({error})", path.display()));
    if let Err(error) = File::open(config_file) {
        return cannot(config_file, error);
    }
    let served = config.tftp.is_some() || config.http.is_some();
    if served && let Err(error) = fs::read_dir(&config.images) {
        return cannot(&config.images, error);
    }
    // Listing a folder and opening its entries are separate rights.
    match fs::metadata(config.images.join(".")) {
        Err(error) if served => cannot(&config.images, error),
        _ => Ok(()),
    }
}

/// Runs `attempt` as this user, and becomes root again. The kernel decides, so access lists and security modules count.
/// The inner error says why the attempt failed, or why the process cannot become that user.
fn as_user(
    account: &Account,
    attempt: impl FnOnce() -> Result<(), String>,
) -> Result<Result<(), String>, StartError> {
    let cannot_become = |errno: nix::errno::Errno| format!("is out of reach of this process ({errno})");
    let (uid, gid) = (geteuid(), getegid());
    let groups = match getgroups() {
        Ok(groups) => groups,
        Err(errno) => return Ok(Err(cannot_become(errno))),
    };
    if let Err(errno) = setgroups(&account.groups) {
        return Ok(Err(cannot_become(errno)));
    }
    let became = setegid(account.gid).and_then(|()| seteuid(account.uid));
    let outcome = became.map_err(cannot_become).and_then(|()| attempt());
    let back = seteuid(uid).and_then(|()| setegid(gid)).and_then(|()| setgroups(&groups));
    back.map_err(|errno| {
        StartError(format!("cannot become root again after a trial as another user: {errno}"))
    })?;
    Ok(outcome)
}
