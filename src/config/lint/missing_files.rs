//! Boot files that the configuration names and that are not there.

use std::sync::Arc;

use crate::boot::loader::target::SCRIPT;
use crate::boot::policy::DEFAULT_IPXE;
use crate::config::lint::local_name::local_name;
use crate::config::lint::mapped_files::{Mapped, Target, mapped, problems_at};
use crate::config::sections::targets;
use crate::config::syntax::reader::suggestion;
use crate::config::{Config, Problem};
use crate::types::Arch;

/// Missing files for which the nearest name that there is is looked for.
const MAX_HINTS: usize = 50;

/// A boot file that is named and not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// Its name, relative to the images folder.
    pub name: Arc<str>,
    /// The key that names it, such as `boot.arch.bios` or `machines[2].boot`.
    pub wanted_by: String,
    /// Which clients would ask for it, for people.
    pub clients: String,
}

/// The boot files that `config` names, by themselves or in a URL of this server, and for which `exists` says no, in the
/// order of the keys. Other URLs and names that are not known yet are not asked about. Not the script that iPXE gets where
/// `boot.ipxe` is left out: [`missing_script`].
pub fn missing_files(config: &Config, exists: impl Fn(&str) -> bool) -> Vec<MissingFile> {
    let mut wanted = targets::named(&config.targets);
    let named = mapped(config).into_iter().filter(|file| file.to != Target::DefaultScript);
    wanted.extend(named.map(|file| (file.name, file.key, file.clients)));
    // What is made for each machine is in no file.
    let is_made = |name: &str| *name == *SCRIPT || name == DEFAULT_IPXE && !config.targets.list.is_empty();
    let missing = wanted.into_iter().filter_map(|(written, wanted_by, clients)| {
        let name = local_name(&written, config).filter(|name| !is_made(name) && !exists(name))?;
        Some(MissingFile { name: name.into(), wanted_by, clients })
    });
    missing.collect()
}

/// The script of iPXE where `boot.ipxe` is left out, if it is needed and `exists` says no: some client gets a build of
/// iPXE by `config`, as `is_ipxe` says of each file, and has nothing else to run then.
pub fn missing_script(
    config: &Config,
    exists: impl Fn(&str) -> bool,
    is_ipxe: impl Fn(&str) -> bool,
) -> Option<MissingFile> {
    let mut all = mapped(config);
    let place = all.iter().position(|file| file.to == Target::DefaultScript)?;
    let Mapped { name, key, clients, .. } = all.swap_remove(place);
    let is_build = |file: &Mapped| local_name(&file.name, config).is_some_and(&is_ipxe);
    (all.iter().any(is_build) && !exists(&name)).then_some(MissingFile { name, wanted_by: key, clients })
}

/// Notes about `boot.ipxe`, which the file with this `text` sets: the files of `boot.arch` that machines with iPXE in ROM
/// do not get because of it. `is_ipxe` says of each file that is there whether it is a build of iPXE, which they would not
/// get either.
pub fn hidden_file_notes(
    config: &Config,
    text: &str,
    is_ipxe: impl Fn(&str) -> Option<bool>,
) -> Vec<Problem> {
    let Some(boot) = config.dhcp.as_ref().map(|settings| &settings.boot) else { return Vec::new() };
    let Some(script) = boot.ipxe.as_ref().filter(|_| !boot.has_default) else { return Vec::new() };
    let is_hidden = |(arch, name): &(&Arch, &Arc<str>)| {
        let has_rom = **arch == Arch::BIOS || arch.is_uefi() && !arch.is_http();
        has_rom && *name != script && local_name(name, config).and_then(&is_ipxe) == Some(false)
    };
    let hidden: Vec<String> =
        boot.arch.iter().filter(is_hidden).map(|(arch, name)| format!("{name} ({arch})")).collect();
    let message = format!(
        "machines with iPXE in ROM (QEMU, Proxmox, VirtualBox) get {script} and not {}: leave `ipxe` out if they are to \
         boot what `boot.arch` names",
        hidden.join(", ")
    );
    if hidden.is_empty() { Vec::new() } else { problems_at(text, [("boot.ipxe".to_owned(), message)]) }
}

/// [`missing_files`] as problems of the file whose `text` is the one that `config` was loaded from; `images` is the
/// folder as people know it, and `there` are the files in it.
pub fn missing_file_problems(
    text: &str,
    images: &str,
    there: &[String],
    missing: &[MissingFile],
) -> Vec<Problem> {
    let messages = missing.iter().enumerate().map(|(i, MissingFile { name, wanted_by, clients })| {
        let hint = if i < MAX_HINTS { nearest(name, there) } else { None };
        let hint = hint.unwrap_or_default();
        let message = format!("no file {name:?} in {images}, which {clients} would ask for{hint}");
        (wanted_by.clone(), message)
    });
    problems_at(text, messages)
}

/// Files of `unreadable` that are there and that lanboot may not read, as [`missing_file_problems`] are told.
pub fn unreadable_file_problems(text: &str, images: &str, unreadable: &[MissingFile]) -> Vec<Problem> {
    let messages = unreadable.iter().map(|MissingFile { name, wanted_by, .. }| {
        let message =
            format!("{name:?} in {images} cannot be read by this user: chmod a+r it, and a+x its folders");
        (wanted_by.clone(), message)
    });
    problems_at(text, messages)
}

/// `; did you mean …?` for the file that is called so in another folder, or nearly so.
fn nearest(name: &str, there: &[String]) -> Option<String> {
    let last = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let wanted = last(name);
    let elsewhere = there.iter().find(|other| last(other) == wanted);
    let elsewhere = elsewhere.map(|other| format!("; did you mean `{other}`?"));
    elsewhere.or_else(|| suggestion(name, there.iter().map(String::as_str)))
}
