//! Rejects folders that must not be served as the images folder, because they contain secrets or belong to the
//! system. `lanboot check` and the start call it, and the catalog when another folder takes the place of the images
//! folder.
//!
//! Folders are compared by device and inode, so neither a symlink nor a bind mount can hide that two paths are the
//! same folder.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file or folder that no client may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The key of `config.yaml` that names it, or `--config` for that file itself.
    pub key: &'static str,
    /// A file or folder, which need not exist.
    pub path: PathBuf,
}

/// System folders. Their subfolders may be served.
const SYSTEM_FOLDERS: [&str; 14] = [
    "/", "/bin", "/dev", "/etc", "/home", "/lib", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/var",
    "/var/lib",
];
/// System folders whose subfolders may not be served either.
const VIRTUAL_FOLDERS: [&str; 2] = ["/proc", "/sys"];
/// Names that only occur in a person's home folder.
const HOME_FILES: [&str; 5] = [".ssh", ".gnupg", ".bashrc", ".bash_history", ".profile"];

/// Explains why the folder `images` must not be served. Returns `None` if it may be, or if it does not exist.
pub fn images_problem(images: &Path, secrets: &[Secret]) -> Option<String> {
    let folder = images.metadata().ok().filter(Metadata::is_dir)?;
    let shown = images.display();
    let advice = "make a folder for boot files alone, such as /srv/boot-images";
    let is = |other: &&&str| Path::new(other).metadata().is_ok_and(|other| is_same(&folder, &other));
    if let Some(system) = SYSTEM_FOLDERS.iter().find(is) {
        return Some(format!(
            "{shown} is {system}, a folder of the system: every client could read it; {advice}"
        ));
    }
    if let Some(system) = VIRTUAL_FOLDERS.iter().find(|system| is_within(images, Path::new(system))) {
        return Some(format!("{shown} is in {system}, a folder of the system; {advice}"));
    }
    if let Some(name) = HOME_FILES.iter().find(|name| images.join(name).symlink_metadata().is_ok()) {
        return Some(format!("{shown} has {name} in it, so it is somebody's home folder; {advice}"));
    }
    let is_same_folder =
        |secret: &&Secret| secret.path.metadata().is_ok_and(|found| is_same(&folder, &found));
    let secret = secrets.iter().find(is_same_folder)?;
    Some(format!("{shown} is the folder of `{}` too; {advice}", secret.key))
}

/// Messages about secrets that lie in the folder `images`. The server never sends them, but they should be moved.
pub fn secrets_inside(images: &Path, secrets: &[Secret]) -> Vec<String> {
    let shown = images.display();
    let within = secrets.iter().filter(|secret| is_within(&secret.path, images));
    let lines = within.map(|Secret { key, path }| {
        let what = match *key {
            "--config" => "the configuration file".to_owned(),
            key => format!("the folder of `{key}`"),
        };
        let path = path.display();
        format!("{what} {path} is in {shown}, which is for clients: it is never sent, but move it elsewhere")
    });
    lines.collect()
}

/// Whether `path` is `folder` or lies in it. Missing parts of the path count as if they existed.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    path_within(path, folder).is_some()
}

/// The path from `folder` to `path`, empty if they are the same; `None` if `path` is elsewhere. Missing parts of the
/// path count as if they existed.
pub fn path_within(path: &Path, folder: &Path) -> Option<PathBuf> {
    let folder = folder.metadata().ok()?;
    let path = std::path::absolute(path).ok()?;
    let (there, rest) = path.ancestors().find_map(|ancestor| {
        Some((ancestor.canonicalize().ok()?, path.strip_prefix(ancestor).unwrap_or(Path::new(""))))
    })?;
    let top = there.ancestors().find(|found| found.metadata().is_ok_and(|found| is_same(&found, &folder)))?;
    // `join` would append a slash if `rest` is empty.
    Some(there.strip_prefix(top).ok()?.components().chain(rest.components()).collect())
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn s_12_a_folder_with_secrets_is_not_served() {
        let base = tempfile::tempdir().unwrap();
        let images = base.path().join("images");
        fs::create_dir_all(images.join("sub")).unwrap();
        symlink("images/sub", base.path().join("link")).unwrap();
        let secret = |path: &str| [Secret { key: "state", path: base.path().join(path) }];
        for path in ["images", "images/sub", "images/none/yet", "link", "link/none"] {
            let problems = secrets_inside(&images, &secret(path));
            assert!(problems[0].contains("the folder of `state`"), "{path}: {problems:?}");
        }
        for path in [".", "other", "images2", "none/yet"] {
            assert_eq!(secrets_inside(&images, &secret(path)), [""; 0], "{path}");
        }
        let problem = images_problem(&images, &secret("images")).unwrap();
        assert!(problem.contains("is the folder of `state` too"), "{problem}");
        assert_eq!(images_problem(&images, &secret("images/sub")), None, "its files are never sent");
        let config = [Secret { key: "--config", path: images.join("config.yaml") }];
        assert!(secrets_inside(&images, &config)[0].contains("the configuration file"));
        assert_eq!(path_within(&base.path().join("link/none"), &images).unwrap(), Path::new("sub/none"));
    }

    #[test]
    fn s_12_system_and_home_folders_are_not_served() {
        for folder in ["/", "/etc", "/etc/../etc", "/proc", "/proc/self", "/sys", "/var/lib", "/root", "/usr"]
        {
            assert!(images_problem(Path::new(folder), &[]).is_some(), "{folder}");
        }
        let base = tempfile::tempdir().unwrap();
        symlink("/etc", base.path().join("link")).unwrap();
        assert!(images_problem(&base.path().join("link"), &[]).is_some());
        assert_eq!(images_problem(base.path(), &[]), None);
        fs::create_dir(base.path().join(".ssh")).unwrap();
        assert!(images_problem(base.path(), &[]).unwrap().contains("home folder"));
        assert_eq!(images_problem(&base.path().join("none"), &[]), None);
    }
}
