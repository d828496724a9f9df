//! Adds files to the images folder and records them in its manifest, for `lanboot images add`. It never replaces a
//! file that a person put there, unless forced.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::boot::name::BootName;
use crate::images::add::staging::{Draft, Staging, sha256};
use crate::images::catalog::Catalog;
use crate::images::manifest::{self, Entry, Manifest, Origin};
use crate::images::resolve::has_hidden_component;
use crate::images::temporary::{ADD_PREFIX, is_temporary};

/// The images folder with its manifest, locked by this process.
#[derive(Debug)]
pub struct Collection {
    root: PathBuf,
    staging: Staging,
    manifest: Manifest,
}

/// A file to add.
#[derive(Debug)]
pub struct Item {
    /// Name relative to the images folder.
    pub name: BootName,
    /// The content.
    pub draft: Draft,
    pub origin: Origin,
}

/// Effect of adding a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file did not exist.
    Added,
    /// The content was replaced.
    Changed,
    /// The same content was already there.
    Unchanged,
}

impl Collection {
    /// Opens and locks the folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be written, another process has locked it, or the manifest cannot be read.
    pub fn open(root: &Path) -> Result<Collection, String> {
        let staging = Staging::open(root)?;
        let manifest = Manifest::load(root)?;
        Ok(Collection { root: root.to_owned(), staging, manifest })
    }

    /// Creates a file without a final name.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn draft(&mut self) -> Result<Draft, String> {
        self.staging.draft()
    }

    /// Adds all files or none, and records them in the manifest. With `force` it also replaces files that a person
    /// added or changed. If the disk fails between two files, those already in place are recorded.
    ///
    /// # Errors
    /// A file of a person is in the way, a name is reserved for lanboot, or the disk fails.
    pub fn put(&mut self, items: Vec<Item>, force: bool) -> Result<Vec<(BootName, u64, Outcome)>, String> {
        let outcomes: Vec<Option<Outcome>> =
            items.iter().map(|item| self.outcome(item)).collect::<Result<_, _>>()?;
        let conflicting: Vec<&str> = items
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(item, _)| item.name.as_str())
            .collect();
        if !conflicting.is_empty() && !force {
            return Err(format!(
                "not put there by lanboot, or changed since: {} in {}. Move them away, or replace them with --force",
                conflicting.join(", "),
                self.root.display()
            ));
        }
        let added = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        // Everything that is likely to fail is done before the first file gets its name.
        let mut prepared = Vec::new();
        for (item, outcome) in items.into_iter().zip(outcomes) {
            let is_new = outcome != Some(Outcome::Unchanged);
            let place = if is_new { Some(self.staging.prepare(&item.draft, &item.name)?) } else { None };
            prepared.push((item, outcome, place));
        }
        let mut done = Vec::new();
        let mut failed = Ok(());
        for (item, outcome, place) in prepared {
            let (sha256, size) = item.draft.digest();
            if let Some(place) = place {
                failed = self.staging.publish_at(&place, item.draft, &item.name);
                if failed.is_err() {
                    break;
                }
            }
            let entry = Entry { sha256, size, added: added.clone(), origin: item.origin };
            self.manifest.files.insert(item.name.as_str().to_owned(), entry);
            done.push((item.name, size, outcome.unwrap_or(Outcome::Changed)));
        }
        let saved = self.manifest.save(&mut self.staging);
        failed.and(saved).map(|()| done)
    }

    /// The expected effect of adding `item`; `None` if a file that lanboot did not write is in the way.
    fn outcome(&self, item: &Item) -> Result<Option<Outcome>, String> {
        let name = item.name.as_str();
        if has_hidden_component(name.as_bytes()) && !is_temporary(name.as_bytes(), ADD_PREFIX) {
            return Err(format!(
                "{name} would not be served, because of the dot: choose another name with --name"
            ));
        }
        if name == manifest::NAME || is_temporary(name.as_bytes(), ADD_PREFIX) {
            return Err(format!("{name} is a name that lanboot uses itself: choose another with --name"));
        }
        let path = self.root.join(name);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Outcome::Added)),
            Ok(meta) if meta.is_dir() => return Err(format!("{} is a folder", path.display())),
            Ok(meta) if meta.is_file() => {}
            _ => return Ok(None),
        }
        let catalog = Catalog::open(&self.root).map_err(|error| error.to_string())?;
        let Ok(open) = catalog.open_file(&item.name) else { return Ok(None) };
        let there = sha256(open.file).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if there == item.draft.digest().0 {
            return Ok(Some(Outcome::Unchanged));
        }
        let recorded = self.manifest.files.get(name).map(|entry| entry.sha256.as_str());
        Ok((recorded == Some(&there)).then_some(Outcome::Changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn put(collection: &mut Collection, files: &[(&str, &str)], force: bool) -> Result<Vec<Outcome>, String> {
        let items = files.iter().map(|(name, text)| {
            let mut draft = collection.draft().unwrap();
            draft.write_all(text.as_bytes()).unwrap();
            let name = BootName::parse(name.as_bytes()).unwrap();
            Item { name, draft, origin: Origin::Path("/x".to_owned()) }
        });
        let items = items.collect();
        Ok(collection.put(items, force)?.into_iter().map(|(_, _, outcome)| outcome).collect())
    }

    #[test]
    fn an_unusable_folder_leaves_no_other_files() {
        let base = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (base.path().join("images"), base.path().join("elsewhere"));
        let mut all = Collection::open(&root).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, root.join("installer")).unwrap();
        fs::write(root.join("file"), "by hand").unwrap();
        for bad in ["installer/linux", "file/linux"] {
            let error = put(&mut all, &[("new", "1"), (bad, "1")], true).unwrap_err();
            assert!(error.contains("cannot write") && error.contains(bad), "{error}");
            assert!(!root.join("new").exists(), "all or none");
        }
        fs::remove_file(root.join("installer")).unwrap();
        let both = [("new", "1"), ("installer/linux", "1")];
        assert_eq!(put(&mut all, &both, false), Ok(vec![Outcome::Added; 2]));
    }

    #[test]
    fn files_placed_before_the_disk_failed_are_recorded() {
        let base = tempfile::tempdir().unwrap();
        let mut all = Collection::open(base.path()).unwrap();
        // The second item conflicts with the first, which only shows when it gets its name.
        let error = put(&mut all, &[("new", "1"), ("a", "1"), ("a/b", "1")], false).unwrap_err();
        assert!(error.contains("cannot write"), "{error}");
        assert_eq!(Manifest::load(base.path()).unwrap().files.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(put(&mut all, &[("new", "2")], false), Ok(vec![Outcome::Changed]));
    }

    #[test]
    fn files_not_from_lanboot_are_not_replaced() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path();
        let mut all = Collection::open(root).unwrap();
        assert_eq!(put(&mut all, &[("x", "1"), ("a/y", "1")], false), Ok(vec![Outcome::Added; 2]));
        assert_eq!(
            put(&mut all, &[("x", "2"), ("a/y", "1")], false),
            Ok(vec![Outcome::Changed, Outcome::Unchanged])
        );
        fs::write(root.join("x"), "by hand").unwrap();
        fs::write(root.join("own"), "by hand").unwrap();
        symlink("own", root.join("link")).unwrap();
        for name in ["x", "own", "link"] {
            let error = put(&mut all, &[("new", "1"), (name, "3")], false).unwrap_err();
            assert!(error.contains(&format!(": {name} in ")) && error.contains("--force"), "{error}");
            assert!(!root.join("new").exists(), "all or none");
        }
        assert_eq!(fs::read(root.join("x")).unwrap(), b"by hand");
        assert_eq!(put(&mut all, &[("x", "3"), ("link", "3")], true), Ok(vec![Outcome::Changed; 2]));
        assert_eq!(fs::read(root.join("own")).unwrap(), b"by hand");
        assert_eq!(Manifest::load(root).unwrap().files.keys().collect::<Vec<_>>(), ["a/y", "link", "x"]);
        for name in ["manifest.json", ".lanboot-add-1-9", "a", ".x", "a/.b/c"] {
            assert!(put(&mut all, &[(name, "1")], true).is_err(), "{name}");
        }
    }
}
