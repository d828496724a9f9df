//! The manifest `manifest.json` of the images folder: the origin and the SHA-256 of every file that `lanboot images
//! add` stored. The server never sends it to clients.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::boot::name::BootName;
use crate::images::add::staging::Staging;
use crate::images::folder::Folder;

/// File name in the images folder.
pub const NAME: &str = "manifest.json";
/// Version of the format. No other version is read.
const VERSION: u32 = 1;
/// Maximum number of bytes that are read.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// The manifest of the images folder. Files that were not added by `lanboot images add` are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// By name relative to the images folder.
    pub files: BTreeMap<String, Entry>,
}

/// A file that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// In hexadecimal.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
    /// In UTC, as in RFC 3339.
    pub added: String,
    pub origin: Origin,
}

/// The source of an added file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A Debian package.
    Package(Package),
    /// A file on this computer.
    Path(String),
    /// A URL.
    Url(String),
}

/// The package that a file was extracted from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// Distribution, such as `Debian bookworm`. `None` if the package did not come from a distribution's server.
    pub distribution: Option<String>,
    /// The URL or path of the package.
    pub from: String,
    /// SHA-256 of the package, in hexadecimal.
    pub sha256: String,
    /// Path of the file in the package.
    pub file: String,
}

impl Default for Manifest {
    fn default() -> Manifest {
        Manifest { version: VERSION, files: BTreeMap::new() }
    }
}

impl Manifest {
    /// Reads the manifest of the folder `root`. It is empty if nothing was added yet.
    ///
    /// # Errors
    /// The folder or the manifest cannot be read, or has a form that lanboot does not write.
    pub fn load(root: &Path) -> Result<Manifest, String> {
        let path = root.join(NAME);
        let wrong = |why: String| format!("cannot read {}: {why}", path.display());
        let folder = Folder::open(root, "the folder of boot files").map_err(|error| error.to_string())?;
        let file = match folder.look_up(NAME, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC) {
            Ok(file) => std::fs::File::from(file),
            Err(Errno::ENOENT) => return Ok(Manifest::default()),
            Err(errno) => return Err(wrong(std::io::Error::from(errno).to_string())),
        };
        let mut text = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
        let hint = "move it away and add the files again";
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("{error}; {hint}")))?;
        if manifest.version != VERSION {
            return Err(wrong(format!(
                "it is of version {}, and this lanboot knows {VERSION}",
                manifest.version
            )));
        }
        let bad = manifest.files.keys().find(|name| {
            BootName::parse(name.as_bytes()).map_or(true, |clean| clean.as_str() != name.as_str())
        });
        match bad {
            Some(name) => Err(wrong(format!("{name:?} in it is no name of a boot file; {hint}"))),
            None => Ok(manifest),
        }
    }

    /// Writes the manifest, replacing an existing one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, staging: &mut Staging) -> Result<(), String> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| format!("cannot write {NAME}: {error}"))?;
        text.push('\n');
        let mut draft = staging.draft()?;
        draft.write_all(text.as_bytes()).map_err(|error| format!("cannot write {NAME}: {error}"))?;
        let name = BootName::parse(NAME.as_bytes()).map_err(|error| error.to_string())?;
        staging.publish(draft, &name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_saved_manifest_loads_unchanged() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::load(base.path()).unwrap(), Manifest::default());
        let package = Package {
            name: "ipxe".into(),
            version: "1:2-3".into(),
            architecture: "all".into(),
            distribution: Some("Debian bookworm".into()),
            from: "http://x/y.deb".into(),
            sha256: "00".into(),
            file: "usr/lib/x".into(),
        };
        let origins = [
            ("x", Origin::Package(package)),
            ("a/y", Origin::Path("/z".into())),
            ("q", Origin::Url("http://y/".into())),
        ];
        let entry =
            |origin| Entry { sha256: "ab".into(), size: 3, added: "2026-01-02T03:04:05Z".into(), origin };
        let files = origins.map(|(name, origin)| (name.to_owned(), entry(origin))).into();
        let manifest = Manifest { files, ..Manifest::default() };
        manifest.save(&mut Staging::open(base.path()).unwrap()).unwrap();
        assert_eq!(Manifest::load(base.path()).unwrap(), manifest);
    }

    #[test]
    fn a_file_that_is_not_lanboots_is_not_believed() {
        let base = tempfile::tempdir().unwrap();
        let entry = r#"{"sha256": "", "size": 1, "added": "", "origin": {"path": "/x"}}"#;
        for (text, why) in [
            ("", "EOF"),
            ("{\"version\": 1", "move it away"),
            ("{\"version\": 2, \"files\": {}}", "version 2"),
            (&format!("{{\"version\": 1, \"files\": {{\"../x\": {entry}}}}}"), "\"../x\""),
            (&format!("{{\"version\": 1, \"files\": {{\"/etc/shadow\": {entry}}}}}"), "/etc/shadow"),
        ] {
            fs::write(base.path().join(NAME), text).unwrap();
            let error = Manifest::load(base.path()).unwrap_err();
            assert!(error.contains("manifest.json: ") && error.contains(why), "{error}");
        }
    }
}
