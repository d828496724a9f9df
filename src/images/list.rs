//! Every file of boot-images/ by name, for people. The server never lists a folder.

use std::fs;
use std::io;
use std::path::Path;

use crate::images::manifest;

/// Entries that are looked at, in all folders together.
const MAX_ENTRIES: usize = 100_000;

/// The names of all files beneath `root` that can be asked for, sorted. Not the manifest, and nothing that is not whole
/// yet. Links to folders are not followed.
///
/// # Errors
/// A folder cannot be read, or there are too many files.
pub fn names(root: &Path) -> Result<Vec<String>, String> {
    let (mut found, mut folders, mut seen) = (Vec::new(), vec![String::new()], 0);
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let cannot = |error: io::Error| format!("cannot read the folder {}: {error}", path.display());
        for entry in fs::read_dir(&path).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(format!("there are more than {MAX_ENTRIES} files in {}", root.display()));
            }
            // A name that is not UTF-8 cannot be asked for, and one that begins with a dot is not served.
            let Ok(last) = entry.file_name().into_string() else { continue };
            if last.starts_with('.') {
                continue;
            }
            let name = if folder.is_empty() { last } else { format!("{folder}/{last}") };
            if entry.file_type().map_err(cannot)?.is_dir() {
                folders.push(name);
            } else if name != manifest::NAME {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_file_is_named_and_circles_are_not_entered() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("a/b")).unwrap();
        fs::create_dir(base.path().join(".git")).unwrap();
        for name in ["x", "a/b/y", "manifest.json", ".lanboot-add-1-1", "a/.lanboot-upload-1-1", ".git/x"] {
            fs::write(base.path().join(name), "").unwrap();
        }
        symlink(".", base.path().join("circle")).unwrap();
        assert_eq!(names(base.path()).unwrap(), ["a/b/y", "circle", "x"]);
        assert!(names(&base.path().join("none")).unwrap_err().contains("/none"));
    }
}
