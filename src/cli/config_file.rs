//! Finds and reads the configuration file, for every command that needs it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Config, Problem};

/// Where the file is looked for when `--config` does not say, in this order.
const PLACES: [&str; 2] = ["config.yaml", "/etc/lanboot/config.yaml"];
/// The most that is read: one byte more than `config::load` accepts, so that it sees that the file is too long.
const MAX_READ: u64 = 1024 * 1024 + 1;

/// A configuration that is whole and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The file it came from, as found.
    pub path: PathBuf,
    /// Its text, to find places in it.
    pub text: String,
    /// What it says. `images`, `state` and `tftp.uploads`, where relative, are taken from the folder of the file.
    pub config: Config,
}

/// Why there is no configuration. `Display` is for people: one line per problem.
#[derive(Debug)]
pub enum LoadError {
    /// There is no file, or it cannot be read.
    Unreadable(String),
    /// The file has these problems.
    Problems {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of their places.
        problems: Vec<Problem>,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Unreadable(message) => f.write_str(message),
            LoadError::Problems { path, problems } => write_problems(f, path, problems),
        }
    }
}

impl std::error::Error for LoadError {}

/// Each problem on a line as `FILE:LINE:COLUMN: KEY: MESSAGE`, and then how many there are.
fn write_problems(f: &mut fmt::Formatter<'_>, path: &Path, problems: &[Problem]) -> fmt::Result {
    for problem in problems {
        writeln!(f, "{}:{problem}", path.display())?;
    }
    let s = if problems.len() == 1 { "" } else { "s" };
    write!(f, "{}: {} problem{s}", path.display(), problems.len())
}

/// The file that `--config` names, or else the first that there is of `./config.yaml` and
/// `/etc/lanboot/config.yaml`.
///
/// # Errors
/// There is none; the message says where it was looked for.
pub fn config_path(given: Option<&Path>) -> Result<PathBuf, LoadError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        let message = format!(
            "no configuration: there is neither {}; name one with --config FILE",
            PLACES
                .map(|place| if place.starts_with('/') { place.to_owned() } else { format!("./{place}") })
                .join(" nor ")
        );
        LoadError::Unreadable(message)
    })
}

/// Finds, reads and checks the configuration. Which boot files are there is not looked at.
///
/// # Errors
/// The file is not there, cannot be read or is not UTF-8; or it has problems, all of which are in the error.
pub fn load_file(given: Option<&Path>) -> Result<Loaded, LoadError> {
    let path = config_path(given)?;
    let text = read(&path).map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            std::io::ErrorKind::NotFound => format!("{error}; README.md has one to begin with"),
            std::io::ErrorKind::PermissionDenied => {
                format!("{error}; try as root, or as the user that the server runs as")
            }
            _ => error.to_string(),
        };
        LoadError::Unreadable(format!("cannot read the configuration {}: {what}", path.display()))
    })?;
    match config::load(&text) {
        Ok(mut config) => {
            // Relative to the file, so that it means the same whatever folder lanboot is started in.
            let folder = path.parent().unwrap_or(Path::new(""));
            config.images = folder.join(&config.images);
            config.state = folder.join(&config.state);
            if let Some(uploads) = config.tftp.as_mut().and_then(|tftp| tftp.uploads.as_mut()) {
                uploads.dir = folder.join(&uploads.dir);
            }
            config.read_from.push(path.clone());
            Ok(Loaded { path, text, config })
        }
        Err(problems) => Err(LoadError::Problems { path, problems }),
    }
}

/// Exit code of a wrong configuration.
pub const BAD_CONFIG: u8 = 2;

/// As [`load_file`]; what is wrong is printed, and the command is to end with the code returned.
///
/// # Errors
/// 2: wrong configuration.
pub fn load_or_say(given: Option<&Path>) -> Result<Loaded, ExitCode> {
    load_file(given).map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(BAD_CONFIG)
    })
}

/// Reads text, but not without end (`--config /dev/zero`).
fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_READ).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        // The limit may have cut a letter in two; the file is refused for its length then.
        if error.as_bytes().len() as u64 == MAX_READ {
            std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is longer than 1 MiB")
        } else {
            std::io::Error::from(std::io::ErrorKind::InvalidData)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_folders_are_those_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lab.yaml");
        std::fs::write(&file, "dhcp: {mode: off}\nimages: files\nstate: /var/lib/x\n").unwrap();
        let loaded = load_file(Some(&file)).unwrap();
        assert_eq!(loaded.config.images, folder.path().join("files"));
        assert_eq!(loaded.config.state, Path::new("/var/lib/x"));
        assert_eq!(loaded.path, file);
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| match load_file(Some(path)) {
            Err(LoadError::Unreadable(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(message(&folder.path().join("none.yaml")).contains("none.yaml: No such file"));
        assert!(message(folder.path()).contains("Is a directory"));
        let latin1 = folder.path().join("latin1.yaml");
        std::fs::write(&latin1, b"state: \xe9").unwrap();
        assert!(message(&latin1).contains("not UTF-8"));
    }
}
