//! Boot files that the configuration names and that are not there.

use std::sync::Arc;

use super::mapped::{mapped, problems_at};
use super::{Config, Problem, targets};
use crate::boot::target::SCRIPT;

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
    let mut wanted = targets::wanted(&config.targets);
    wanted.extend(mapped(config).into_iter().map(|file| (file.name, file.key, file.clients)));
    // What is made for each machine is in no file.
    wanted.retain(|(name, _, _)| {
        !name.contains("://") && !name.contains('{') && **name != *SCRIPT && !exists(name)
    });
    wanted.into_iter().map(|(name, wanted_by, clients)| MissingFile { name, wanted_by, clients }).collect()
}

/// [`missing_files`] as problems of the file whose `text` is the one that `config` was loaded from; `images` is the
/// folder as people know it.
pub fn missing_file_problems(text: &str, images: &str, missing: &[MissingFile]) -> Vec<Problem> {
    let messages = missing.iter().map(|MissingFile { name, wanted_by, clients }| {
        (wanted_by.clone(), format!("no file {name:?} in {images}, which {clients} would ask for"))
    });
    problems_at(text, messages)
}
