//! Finds boot files that the configuration names and that are missing or unreadable. The caller reports which files
//! exist; this file never looks.

use std::sync::Arc;

use crate::boot::loader::target::SCRIPT;
use crate::boot::policy::DEFAULT_IPXE;
use crate::config::lint::local_name::local_name;
use crate::config::lint::mapped_files::{MappedFile, Recipient, mapped_files};
use crate::config::problem::Problem;
use crate::config::sections::targets;
use crate::config::settings::Config;
use crate::config::sources::Sources;
use crate::config::syntax::reader::suggestion;
use crate::types::Arch;

/// Maximum number of missing files for which a similar name is searched.
const MAX_HINTS: usize = 50;

/// A boot file that the configuration names and that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// Name relative to the images folder.
    pub name: Arc<str>,
    /// Key that names the file, such as `boot.arch.bios` or `machines[2].boot`.
    pub wanted_by: String,
    /// Description of the clients that would request it, for messages.
    pub clients: String,
}

/// Boot files that `config` names, directly or in a URL of this server, and for which `exists` returns false, in the
/// order of the keys. Other URLs, and names that depend on the client, are not checked. [`missing_script`] checks the
/// default script of iPXE.
pub fn missing_files(config: &Config, exists: impl Fn(&str) -> bool) -> Vec<MissingFile> {
    let mut wanted = targets::target_files(&config.targets);
    let named = mapped_files(config).into_iter().filter(|file| file.recipient != Recipient::DefaultScript);
    wanted.extend(named.map(|file| (file.name, file.key, file.clients)));
    // Generated scripts are not stored in files.
    let is_made = |name: &str| *name == *SCRIPT || name == DEFAULT_IPXE && !config.targets.list.is_empty();
    let missing = wanted.into_iter().filter_map(|(written, wanted_by, clients)| {
        let name = local_name(&written, config).filter(|name| !is_made(name) && !exists(name))?;
        Some(MissingFile { name: name.into(), wanted_by, clients })
    });
    missing.collect()
}

/// The default script of iPXE, if it is needed and `exists` returns false for it. It is needed if some client gets a
/// build of iPXE, according to `is_ipxe`, because that build then has nothing else to run.
pub fn missing_script(
    config: &Config,
    exists: impl Fn(&str) -> bool,
    is_ipxe: impl Fn(&str) -> bool,
) -> Option<MissingFile> {
    let mut all = mapped_files(config);
    let place = all.iter().position(|file| file.recipient == Recipient::DefaultScript)?;
    let MappedFile { name, key, clients, .. } = all.swap_remove(place);
    let is_build = |file: &MappedFile| local_name(&file.name, config).is_some_and(&is_ipxe);
    (all.iter().any(is_build) && !exists(&name)).then_some(MissingFile { name, wanted_by: key, clients })
}

/// Notes about `boot.ipxe` in the file with this `text`: machines with iPXE in ROM get that script instead of the
/// files of `boot.arch`. `is_ipxe` returns whether an existing file is a build of iPXE; such a file is not worth a
/// note.
pub fn hidden_file_notes(
    config: &Config,
    sources: &Sources,
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
    if hidden.is_empty() { Vec::new() } else { sources.problems_at([("boot.ipxe".to_owned(), message)]) }
}

/// Turns `missing` into problems of the configuration from `sources`. `images` is the path of the images folder for
/// messages, and `there` lists the files in it.
pub fn missing_file_problems(
    sources: &Sources,
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
    sources.problems_at(messages)
}

/// Turns files that exist but cannot be read into problems, like [`missing_file_problems`].
pub fn unreadable_file_problems(sources: &Sources, images: &str, unreadable: &[MissingFile]) -> Vec<Problem> {
    let messages = unreadable.iter().map(|MissingFile { name, wanted_by, .. }| {
        let message =
            format!("{name:?} in {images} cannot be read by this user: chmod a+r it, and a+x its folders");
        (wanted_by.clone(), message)
    });
    sources.problems_at(messages)
}

/// `; did you mean …?` with a file of the same name in another folder, or with the most similar name.
fn nearest(name: &str, there: &[String]) -> Option<String> {
    let last = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let wanted = last(name);
    let elsewhere = there.iter().find(|other| last(other) == wanted);
    let elsewhere = elsewhere.map(|other| format!("; did you mean `{other}`?"));
    elsewhere.or_else(|| suggestion(name, there.iter().map(String::as_str)))
}
