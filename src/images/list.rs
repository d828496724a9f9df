//! Lists all files of the images folder for the commands `check` and `images`. Clients never get a list.

use std::fs;
use std::io;
use std::path::Path;

use crate::images::manifest;

/// Maximum number of entries that are read, in all folders together.
const MAX_ENTRIES: usize = 100_000;

/// Sorted names of all files under `root` that clients can request. The manifest and incomplete files are left out.
/// Symlinks to folders are not followed.
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
            // Clients cannot request names that are not UTF-8, and names that begin with a dot are not served.
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
