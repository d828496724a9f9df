//! Folders that must not be the folder of boot files: those with secrets in them, and those of the system. Called by
//! `lanboot check`, at the start, and when another folder comes to stand at the path of `images`.
//!
//! Folders are compared by device and inode, so that neither a symlink nor a bind mount hides that two are one.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Something that no client may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The key of config.yaml that names it; `--config` for that file itself.
    pub key: &'static str,
    /// A file or folder, which need not be there yet.
    pub path: PathBuf,
}

/// Folders of the system. A folder in one of them may be served.
const SYSTEM: [&str; 14] = [
    "/", "/bin", "/dev", "/etc", "/home", "/lib", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/var",
    "/var/lib",
];
/// Not even a folder in these holds boot files.
const VIRTUAL: [&str; 2] = ["/proc", "/sys"];
/// What only a person's home folder has in it.
const AT_HOME: [&str; 5] = [".ssh", ".gnupg", ".bashrc", ".bash_history", ".profile"];

/// Why clients must not download from the folder `images`, for people; `None` if they may, or there is no such folder.
pub fn images_problem(images: &Path, secrets: &[Secret]) -> Option<String> {
    let folder = images.metadata().ok().filter(Metadata::is_dir)?;
    let shown = images.display();
    let advice = "make a folder for boot files alone, such as /srv/boot-images";
    let is = |other: &&&str| Path::new(other).metadata().is_ok_and(|other| is_same(&folder, &other));
    if let Some(system) = SYSTEM.iter().find(is) {
        return Some(format!(
            "{shown} is {system}, a folder of the system: every client could read it; {advice}"
        ));
    }
    if let Some(system) = VIRTUAL.iter().find(|system| is_within(images, Path::new(system))) {
        return Some(format!("{shown} is in {system}, a folder of the system; {advice}"));
    }
    if let Some(name) = AT_HOME.iter().find(|name| images.join(name).symlink_metadata().is_ok()) {
        return Some(format!("{shown} has {name} in it, so it is somebody's home folder; {advice}"));
    }
    let inside = secrets.iter().find(|secret| is_within(&secret.path, images))?;
    let (what, move_it) = match inside.key {
        "--config" => ("the configuration file".to_owned(), "move it, or the boot files, elsewhere"),
        key => (format!("the folder of `{key}`"), "move it elsewhere"),
    };
    let path = inside.path.display();
    Some(format!("{what} {path} is in {shown}, from where every client could download it; {move_it}"))
}

/// Whether `path` is `folder` or something in it. What is not there yet counts as if it were.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.metadata() else { return false };
    let Ok(path) = std::path::absolute(path) else { return false };
    let Some(there) = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok()) else {
        return false;
    };
    there.ancestors().any(|ancestor| ancestor.metadata().is_ok_and(|found| is_same(&found, &folder)))
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
    fn s_12_a_folder_with_secrets_in_it_is_not_for_clients() {
        let base = tempfile::tempdir().unwrap();
        let images = base.path().join("images");
        fs::create_dir_all(images.join("sub")).unwrap();
        symlink("images/sub", base.path().join("link")).unwrap();
        let secret = |path: &str| [Secret { key: "state", path: base.path().join(path) }];
        for path in ["images", "images/sub", "images/none/yet", "link", "link/none"] {
            let problem = images_problem(&images, &secret(path)).unwrap();
            assert!(problem.contains("the folder of `state`"), "{path}: {problem}");
        }
        for path in [".", "other", "images2", "none/yet"] {
            assert_eq!(images_problem(&images, &secret(path)), None, "{path}");
        }
        let config = [Secret { key: "--config", path: images.join("config.yaml") }];
        assert!(images_problem(&images, &config).unwrap().contains("the configuration file"));
    }

    #[test]
    fn s_12_folders_of_the_system_and_homes_are_not_for_clients() {
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
