//! Finds and reads the files that `include` names. `config_file.rs` hands it to the parser of the configuration.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::Found;

/// The files for `pattern`, which is relative to the folder of the file `including`. `left` is the number of bytes
/// that may be read.
///
/// # Errors
/// The file or folder that the pattern names does not exist or cannot be read.
pub(super) fn find(including: &Path, pattern: &str, left: usize) -> Result<Vec<Found>, String> {
    let folder = including.parent().unwrap_or(Path::new(""));
    let mut paths = vec![PathBuf::new()];
    let mut has_wildcard = false;
    let parts: Vec<&str> = pattern.split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        if !part.contains(['*', '?']) {
            let part = if i == 0 && part.is_empty() { "/" } else { part };
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        has_wildcard = true;
        let is_last = i + 1 == parts.len();
        let mut matching = Vec::new();
        for path in paths {
            let here = folder.join(&path);
            let names = names_in(&here)
                .map_err(|error| format!("cannot read the folder {}: {error}", here.display()));
            let names = match names {
                Ok(names) => names,
                // Another folder that the wildcard matched is only a file.
                Err(_) if matching.len() + i > 1 && !here.is_dir() => continue,
                Err(why) => return Err(why),
            };
            let names = names.into_iter().filter(|name| matches(part, name));
            let files =
                names.map(|name| path.join(name)).filter(|path| !is_last || !folder.join(path).is_dir());
            matching.extend(files);
        }
        paths = matching;
    }
    let mut left = left;
    let read = |path: PathBuf| {
        let path = folder.join(path);
        let identity = match path.canonicalize() {
            Ok(identity) => identity,
            // One such file does not hide the problems of the others that the wildcard matches.
            Err(_) if has_wildcard => path.clone(),
            Err(error) => return Err(cannot_read(&path, &error)),
        };
        let text = read_regular(&path, left).map_err(|error| cannot_read(&path, &error));
        left = left.saturating_sub(text.as_ref().map_or(0, String::len));
        let name = path.display().to_string();
        Ok(Found { name, identity: identity.display().to_string(), text })
    };
    let found: Result<Vec<Found>, String> = paths.into_iter().map(read).collect();
    found.map_err(|why| format!("{why}; paths start at the folder of the file that includes them"))
}

/// Reads a file, but no pipe or device, which might never end.
fn read_regular(path: &Path, most: usize) -> io::Result<String> {
    match path.metadata()?.is_file() {
        true => read(path, most),
        false => Err(io::Error::other("it is not a file")),
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("cannot read the included file {}: {error}", path.display())
}

/// The sorted names of a folder, except those that begin with a dot.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

/// Reads a text file of at most `most` bytes, because a device such as /dev/zero would never end.
///
/// # Errors
/// The file cannot be read, is too long, or is not UTF-8.
pub(super) fn read(path: &Path, most: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let message = "the configuration is longer than 64 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, not_text(error.as_bytes(), at))
    })
}

/// The reason why a file is not UTF-8, whose first wrong byte is at `at`.
fn not_text(bytes: &[u8], at: usize) -> String {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "it is UTF-16: save it as UTF-8".to_owned();
    }
    let before = bytes.get(..at).unwrap_or_default();
    let is_control = |byte: &u8| *byte < b' ' && !b"\t\n\r\x1b".contains(byte);
    if bytes.iter().take(4096).any(is_control) {
        return "it is not UTF-8 text, but a binary file: name the config.yaml".to_owned();
    }
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let wrong = bytes.get(at).copied().unwrap_or_default();
    format!("it is not UTF-8 text: byte 0x{wrong:02x} in line {line}; save it as UTF-8")
}

/// Whether `name` fits a pattern with `*` for any characters and `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last `*`, and the number of characters that it stands for.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_names() {
        for (pattern, name) in
            [("*.yaml", "a.yaml"), ("*", "x"), ("a?c*", "abc"), ("*a*b", "xxaab"), ("n.yaml", "n.yaml")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.yaml", "a.yml"), ("?", ""), ("a*b", "abc"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn r_45_patterns_start_at_the_file_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("config.yaml");
        fs::create_dir_all(folder.path().join("d/deep")).unwrap();
        for name in ["d/b.yaml", "d/a.yaml", "d/.c.yaml", "d/a.txt", "d/deep/x.yaml"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let found = |pattern: &str| {
            let found = find(&main, pattern, 100)?;
            Ok::<_, String>(found.into_iter().map(|found| found.text.unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(found("d/*.yaml").unwrap(), ["d/a.yaml", "d/b.yaml"]);
        assert_eq!(found("*/*/?.yaml").unwrap(), ["d/deep/x.yaml"]);
        assert_eq!(found("./d/a.txt").unwrap(), ["d/a.txt"]);
        assert_eq!(found("d/*.yml").unwrap(), [""; 0]);
        let absolute = folder.path().join("d/a.yaml").display().to_string();
        assert_eq!(found(&absolute).unwrap(), ["d/a.yaml"]);
        assert!(found("d/none.yaml").unwrap_err().contains("d/none.yaml: No such file"));
        assert!(found("none/*.yaml").unwrap_err().contains("cannot read the folder"));
        let pipe = folder.path().join("d/pipe.yaml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("d/link.yaml")).unwrap();
        let all = find(&main, "d/*.yaml", 100).unwrap();
        let wrong: Vec<&str> =
            all.iter().filter_map(|found| Some(found.text.as_ref().err()?.as_str())).collect();
        assert!(all.len() == 4 && wrong[0].contains("link.yaml: No such file"), "{wrong:?}");
        assert!(wrong[1].ends_with("pipe.yaml: it is not a file"), "{wrong:?}");
        assert!(find(&main, "d/a.yaml", 3).unwrap()[0].text.as_ref().unwrap_err().contains("64 MiB"));
    }
}
