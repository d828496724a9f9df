//! Boot files that the configuration names and that are not there.

use std::sync::Arc;

use super::bootfile::DEFAULT_IPXE;
use super::place::node_at;
use super::yaml::{parse, place_of};
use super::{Config, Problem};
use crate::boot::policy::MachineBoot;
use crate::types::Arch;

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

/// The boot files that `config` names and for which `exists` says no, in the order of the keys. URLs and names with
/// templates (`{server}`) are not asked about: they are not files of this machine, or not known yet.
pub fn missing_files(config: &Config, exists: impl Fn(&str) -> bool) -> Vec<MissingFile> {
    let Some(settings) = &config.dhcp else { return Vec::new() };
    let boot = &settings.boot;
    let mut wanted: Vec<(Arc<str>, String, String)> = Vec::new();
    for (arch, name) in &boot.arch {
        wanted.push((name.clone(), format!("boot.arch.{}", key_of(*arch)), format!("{arch} clients")));
    }
    // A server that only gives addresses does not need the default.
    let boots = !boot.arch.is_empty()
        || boot.bootp.is_some()
        || settings.machines.iter().any(|machine| machine.boot.is_some())
        || settings.classes.iter().any(|class| class.boot.is_some());
    if let Some(name) = boot.ipxe.as_ref().filter(|name| boots || ***name != *DEFAULT_IPXE) {
        wanted.push((name.clone(), "boot.ipxe".to_owned(), "iPXE".to_owned()));
    }
    if let Some(name) = &boot.bootp {
        wanted.push((name.clone(), "boot.bootp".to_owned(), "plain BOOTP clients".to_owned()));
    }
    let classes = settings.classes.iter().enumerate().filter_map(|(i, class)| {
        Some((format!("dhcp.classes[{i}].boot"), "a client of the class".to_owned(), class.boot.as_ref()?))
    });
    let machines = settings.machines.iter().enumerate().filter_map(|(i, machine)| {
        Some((format!("machines[{i}].boot"), machine.name.to_string(), machine.boot.as_ref()?))
    });
    for (key, client, boot) in classes.chain(machines) {
        match boot {
            MachineBoot::File(name) => wanted.push((name.clone(), key, client)),
            MachineBoot::ByArch(files) => {
                for (arch, name) in files {
                    let clients = format!("{client} as a {arch} client");
                    wanted.push((name.clone(), format!("{key}.{}", key_of(*arch)), clients));
                }
            }
        }
    }
    wanted.retain(|(name, _, _)| !name.contains("://") && !name.contains('{') && !exists(name));
    wanted.into_iter().map(|(name, wanted_by, clients)| MissingFile { name, wanted_by, clients }).collect()
}

/// [`missing_files`] as problems of the file whose `text` is the one that `config` was loaded from; `images` is the
/// folder as people know it.
pub fn missing_file_problems(text: &str, images: &str, missing: &[MissingFile]) -> Vec<Problem> {
    let Ok(root) = parse(text) else { return Vec::new() };
    let mut problems: Vec<Problem> = missing
        .iter()
        .map(|MissingFile { name, wanted_by, clients }| {
            let (line, column) = place_of(text, node_at(&root, wanted_by, same_key).id);
            let message = format!("no file {name:?} in {images}, which {clients} would ask for");
            Problem { line, column, path: wanted_by.clone(), message }
        })
        .collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// The architecture as a key of the file.
fn key_of(arch: Arch) -> String {
    arch.name().map_or_else(|| arch.number().to_string(), str::to_owned)
}

/// An architecture is written as a name or as one of its numbers.
fn same_key(written: &str, wanted: &str) -> bool {
    written == wanted || matches!((written.parse::<Arch>(), wanted.parse::<Arch>()), (Ok(a), Ok(b)) if a == b)
}
