//! A file of the images folder, open for reading.

use std::fs::File;

use crate::images::manifest;

/// Suffix of template names, in lower case.
const TEMPLATE_SUFFIX: &str = ".j2";

/// A boot file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// The open file. If another file is renamed over it, this one stays, so a transfer never mixes two files.
    pub file: File,
    /// Size in bytes when the file was opened.
    pub size: u64,
    /// Normalised name relative to the images folder, as requested.
    pub name: String,
    /// Normalised name without symlinks, if it differs from `name`. Both names decide how the file may be used.
    pub(super) real_name: Option<Vec<u8>>,
}

impl OpenFile {
    /// Whether the file is a template, by its requested name or by the name that a symlink led to.
    pub fn is_template(&self) -> bool {
        self.names().any(|name| fold_name(name).ends_with(TEMPLATE_SUFFIX.as_bytes()))
    }

    /// Whether the file is the manifest of the images folder, which lists the origin of each file.
    pub fn is_manifest(&self) -> bool {
        self.names().any(|name| fold_name(name) == manifest::NAME.as_bytes())
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        [self.name.as_bytes()].into_iter().chain(self.real_name.as_deref())
    }
}

/// `name` in lower case, without the trailing dots and spaces that FAT and NTFS ignore.
pub(super) fn fold_name(name: &[u8]) -> Vec<u8> {
    let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
    name.iter().take(end).map(u8::to_ascii_lowercase).collect()
}
