//! Finds, reads and checks the configuration file, for every command that needs it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{includes, output};
use crate::config::{self, Config, Loading, Problem, Source, Sources};

/// Paths that are tried in this order if `--config` is not given.
pub const PLACES: [&str; 2] = ["config.yaml", "/etc/lanboot/config.yaml"];
/// Maximum number of bytes of all files of a configuration.
const MAX_READ: usize = 64 * 1024 * 1024;

/// The global options of the command line that name the configuration and the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// `--config`.
    pub file: Option<&'a Path>,
    /// `--state`, which goes before `state` of the configuration.
    pub state: Option<&'a Path>,
}

/// A configuration without problems, and the files it came from.
#[derive(Debug)]
pub struct Loaded {
    pub path: PathBuf,
    /// Texts of the files, to look up positions in them.
    pub sources: Sources,
    /// The settings. Relative paths in `images`, `state` and `tftp.uploads` are resolved against the folder of the
    /// file.
    pub config: Config,
}

impl Loaded {
    /// The problem with the name of its file before it.
    pub fn placed(&self, problem: &Problem) -> String {
        problem.in_file(self.path.display())
    }
}

/// The reason why no configuration could be loaded. `Display` writes one line per problem.
#[derive(Debug)]
pub enum LoadError {
    /// The file does not exist or cannot be read.
    Unreadable(String),
    Problems {
        path: PathBuf,
        /// All problems, sorted by position.
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

/// Writes each problem as a line `FILE:LINE:COLUMN: KEY: MESSAGE`, and then the number of problems.
fn write_problems(f: &mut fmt::Formatter<'_>, path: &Path, problems: &[Problem]) -> fmt::Result {
    for problem in problems {
        writeln!(f, "{}", problem.in_file(path.display()))?;
    }
    let s = if problems.len() == 1 { "" } else { "s" };
    write!(f, "{}: {} problem{s}", path.display(), problems.len())
}

/// The file that `--config` names, or the first existing one of `./config.yaml` and `/etc/lanboot/config.yaml`.
///
/// # Errors
/// No file exists. The message names the paths that were tried.
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

/// Finds, reads and checks the configuration. It does not check whether the boot files exist.
///
/// # Errors
/// The file does not exist, cannot be read or is not UTF-8; or it has problems, which are all in the error.
pub fn load_file(given: Given<'_>) -> Result<Loaded, LoadError> {
    let path = config_path(given.file)?;
    match read_file(&path, given.state)? {
        (Some(loaded), problems) if problems.is_empty() => Ok(loaded),
        (_, problems) => Err(LoadError::Problems { path, problems }),
    }
}

/// Reads the configuration at `path` with the files that it includes. `state` replaces the file's state folder. If there
/// are problems, the settings are incomplete or `None`: only `lanboot check` may look at them.
///
/// # Errors
/// The file does not exist, cannot be read or is not UTF-8.
pub fn read_file(path: &Path, state: Option<&Path>) -> Result<(Option<Loaded>, Vec<Problem>), LoadError> {
    let text = read_text(path)?;
    let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    let main = Source { name: path.display().to_string(), text };
    let mut source_files = vec![path.to_owned()];
    let mut find = |including: &str, pattern: &str, left| {
        let found = includes::find(Path::new(including), pattern, left)?;
        source_files.extend(found.iter().map(|found| PathBuf::from(&found.name)));
        Ok(found)
    };
    let Loading { config, problems, sources } = config::load_files(main, &identity, &mut find);
    let loaded = config.map(|mut config| {
        // Relative to the file, so that a path has the same meaning in every working directory.
        let folder = path.parent().unwrap_or(Path::new(""));
        config.images = folder.join(&config.images);
        config.state = state.map_or_else(|| folder.join(&config.state), Path::to_owned);
        if let Some(uploads) = config.tftp.as_mut().and_then(|tftp| tftp.uploads.as_mut()) {
            uploads.dir = folder.join(&uploads.dir);
        }
        if let Some(tls) = config.web.as_mut().and_then(|web| web.tls.as_mut()) {
            tls.cert = folder.join(&tls.cert);
            tls.key = folder.join(&tls.key);
        }
        config.source_files = source_files;
        Loaded { path: path.to_owned(), sources, config }
    });
    Ok((loaded, problems))
}

/// Reads one file of the configuration as text.
fn read_text(path: &Path) -> Result<String, LoadError> {
    includes::read(path, MAX_READ).map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => format!("{error}; README.md has one to begin with"),
            std::io::ErrorKind::PermissionDenied => {
                format!("{error}; try as root, or as the user that the server runs as")
            }
            _ => error.to_string(),
        };
        LoadError::Unreadable(format!("cannot read the configuration {}: {what}", path.display()))
    })
}

/// Finds the state folder without reading the rest of the configuration. Commands that only ask the running server use
/// it, so that they work while the file has problems, and need no time for 10,000 machines.
///
/// # Errors
/// There is no configuration, or its text is not YAML.
pub fn state_folder(given: Given<'_>) -> Result<PathBuf, LoadError> {
    if let Some(state) = given.state {
        return Ok(state.to_owned());
    }
    let path = config_path(given.file)?;
    let text = read_text(&path)?;
    let state = config::state_folder(&text).map_err(|why| {
        LoadError::Unreadable(format!(
            "{}: cannot find `state`: {why}; name the folder with --state DIR",
            path.display()
        ))
    })?;
    Ok(path.parent().unwrap_or(Path::new("")).join(state))
}

/// Exit code for a wrong configuration.
pub const BAD_CONFIG: u8 = 2;

/// Loads the configuration like [`load_file`]. An error is printed and returned as the exit code of the command.
///
/// # Errors
/// Exit code 2 for a wrong configuration.
pub fn load_or_exit_code(given: Given<'_>) -> Result<Loaded, ExitCode> {
    load_file(given).map_err(|error| {
        output::print_error(error);
        ExitCode::from(BAD_CONFIG)
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
        let loaded = load_file(Given { file: Some(&file), state: None }).unwrap();
        assert_eq!(loaded.config.images, folder.path().join("files"));
        assert_eq!(loaded.config.state, Path::new("/var/lib/x"));
        assert_eq!(loaded.path, file);
        let other = Given { file: Some(&file), state: Some(Path::new("other")) };
        assert_eq!(
            load_file(other).unwrap().config.state,
            Path::new("other"),
            "relative to the current folder"
        );
    }

    #[test]
    fn the_state_folder_is_found_in_a_file_with_problems() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lab.yaml");
        let given = Given { file: Some(&file), state: None };
        std::fs::write(&file, "dhcp: {mode: nonsense}\nstate: leases\n").unwrap();
        assert_eq!(state_folder(given).unwrap(), folder.path().join("leases"));
        std::fs::write(&file, "dhcp: {mode: off}\n").unwrap();
        assert_eq!(state_folder(given).unwrap(), Path::new("/var/lib/lanboot"));
        let other = Given { state: Some(Path::new("other")), ..given };
        assert_eq!(state_folder(other).unwrap(), Path::new("other"));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| match load_file(Given { file: Some(path), state: None }) {
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
