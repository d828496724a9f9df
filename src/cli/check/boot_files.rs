//! Compares the boot files that a configuration names with the images folder, for `check` and `serve`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot::name::BootName;
use crate::cli::config_file::Loaded;
use crate::config::{self, MissingFile, Problem};
use crate::content::templates::EXTENSION;
use crate::images::Catalog;
use crate::images::ipxe::inspect;
use crate::types::MacAddr;

/// Boot files that do not exist, neither as files nor as templates.
pub fn missing(loaded: &Loaded) -> Vec<MissingFile> {
    let images = &loaded.config.images;
    let exists = |name: &str| {
        let name = name.replace('\\', "/");
        is_hidden(&name) || exists(&images.join(&name)) || exists(&images.join(format!("{name}{EXTENSION}")))
    };
    let mut missing = config::missing_files(&loaded.config, exists);
    let is_ipxe = |name: &str| is_ipxe(loaded, name) == Some(true);
    missing.extend(config::missing_script(&loaded.config, exists, is_ipxe));
    missing
}

/// Notes about files of `boot.arch` that machines with iPXE in ROM do not get because `boot.ipxe` is set.
pub fn hidden_by_ipxe(loaded: &Loaded) -> Vec<Problem> {
    config::hidden_file_notes(&loaded.config, &loaded.sources, |name| is_ipxe(loaded, name))
}

/// Notes about targets whose cloud-init finds no complete seed.
pub fn seeds(loaded: &Loaded) -> Vec<Problem> {
    let images = &loaded.config.images;
    let entries = images.read_dir().into_iter().flatten().flatten();
    let own = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<MacAddr>().is_ok()));
    let folders: Vec<PathBuf> = own.map(|entry| entry.path()).chain([images.clone()]).collect();
    config::nocloud_notes(&loaded.config, &loaded.sources, |name| {
        let names = [name.to_owned(), format!("{name}{EXTENSION}")];
        folders.iter().any(|folder| names.iter().any(|name| exists(&folder.join(name))))
    })
}

/// Whether the file `name` is a build of iPXE; `None` if it does not exist.
fn is_ipxe(loaded: &Loaded, name: &str) -> Option<bool> {
    let catalog = Catalog::open(&loaded.config.images).ok()?;
    let open = catalog.open_file(&BootName::parse(name.as_bytes()).ok()?).ok()?;
    inspect(&open.file).ok().map(|seen| seen.is_ipxe)
}

/// Boot files in whose name a component begins with a dot. The server never sends them.
pub fn hidden(loaded: &Loaded) -> Vec<Problem> {
    let hidden = config::missing_files(&loaded.config, |name| !is_hidden(&name.replace('\\', "/")));
    let placed = config::missing_file_problems(&loaded.sources, "", &[], &hidden).into_iter();
    let problems = placed.filter_map(|problem| {
        let MissingFile { name, .. } = hidden.iter().find(|file| file.wanted_by == problem.path)?;
        let message =
            format!("{name:?} is never sent, because of the dot that a part of it begins with: rename it");
        Some(Problem { message, ..problem })
    });
    problems.collect()
}

fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') && part != "." && part != "..")
}

/// Boot files that exist but that this user may not read.
pub fn unreadable(loaded: &Loaded) -> Vec<MissingFile> {
    let images = &loaded.config.images;
    config::missing_files(&loaded.config, |name| {
        let file = images.join(name.replace('\\', "/"));
        !exists(&file) || File::open(&file).err().is_none_or(|error| !is_denied(&error))
    })
}

/// Whether the file exists. Also true if its folder does not let this user look.
fn exists(path: &Path) -> bool {
    path.metadata().map_or_else(|error| is_denied(&error), |found| found.is_file())
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// URLs whose host name clients cannot resolve, and URLs of this server that it does not serve.
pub fn unreachable(loaded: &Loaded) -> Vec<Problem> {
    let mut problems = config::dns_problems(&loaded.config, &loaded.sources);
    problems.extend(config::unserved_problems(&loaded.config, &loaded.sources));
    problems
}

/// Boot files that their clients cannot start. Unreadable files are not checked.
pub fn unstartable(loaded: &Loaded) -> Vec<Problem> {
    let Ok(catalog) = Catalog::open(&loaded.config.images) else { return Vec::new() };
    let images = loaded.config.images.display().to_string();
    let kind_of = |name: &str| catalog.kind(&BootName::parse(name.as_bytes()).ok()?);
    config::wrong_file_problems(&loaded.config, &loaded.sources, &images, kind_of)
}
