//! The boot files that a configuration names, held against what is in the images folder: for `check` and for `serve`.

use crate::boot::name::BootName;
use crate::cli::config_file::Loaded;
use crate::config::{self, MissingFile, Problem};
use crate::images::Catalog;
use crate::server::templates::EXTENSION;

/// Files that are not there, nor a template that they are made from.
pub fn missing(loaded: &Loaded) -> Vec<MissingFile> {
    let images = &loaded.config.images;
    config::missing_files(&loaded.config, |name| {
        let name = name.replace('\\', "/");
        images.join(&name).is_file() || images.join(format!("{name}{EXTENSION}")).is_file()
    })
}

/// URLs with a name that their clients cannot look up.
pub fn unreachable(loaded: &Loaded) -> Vec<Problem> {
    config::dns_problems(&loaded.config, &loaded.text)
}

/// Files that are mapped to an architecture, or to iPXE, that cannot start them. Those that cannot be read count as
/// missing, not as wrong.
pub fn wrong(loaded: &Loaded) -> Vec<Problem> {
    let Ok(catalog) = Catalog::open(&loaded.config.images) else { return Vec::new() };
    let images = loaded.config.images.display().to_string();
    let kind_of = |name: &str| catalog.kind(&BootName::parse(name.as_bytes()).ok()?);
    config::wrong_file_problems(&loaded.config, &loaded.text, &images, kind_of)
}
