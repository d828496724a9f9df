//! The files of an import. The caller supplies two closures that read a file and list a folder; this module numbers the
//! files, decodes their text and enforces the limits.

use crate::import::failure::{Broken, Failed};
use crate::import::place::Place;
use crate::import::problems::printable;

/// Maximum number of files, so that two files that include each other end.
const MAX_FILES: usize = 4096;
/// Maximum number of bytes of all files.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Maximum number of bytes in one line. Lines of real files are far shorter; a file of one endless line is not a
/// configuration.
pub const MAX_LINE: usize = 1024 * 1024;

/// A file as the shell found it.
#[derive(Debug)]
pub struct Found {
    /// The name for messages.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The text of a file.
#[derive(Debug)]
pub struct Source {
    file: u32,
    pub name: String,
    /// UTF-8, without a byte order mark.
    pub text: String,
}

impl Source {
    /// The place at `line`, from 1.
    pub fn at(&self, line: u32) -> Place {
        Place { file: self.file, line }
    }

    /// An error at a position in this file, both from 1.
    pub fn broken(&self, line: u32, column: u32, message: impl Into<String>) -> Broken {
        Broken { file: self.name.clone(), line, column, message: printable(&message.into()) }
    }
}

/// Reads the file with this path. The second argument is the name of the file that includes it, or `None` for a file
/// from the command line.
pub type ReadFile<'a> = dyn FnMut(&str, Option<&str>) -> Result<Found, String> + 'a;
/// Lists the file names in the folder with this path, which the file in the second argument names.
pub type ListFolder<'a> = dyn FnMut(&str, Option<&str>) -> Result<Vec<String>, String> + 'a;

/// Opens the files of one import, and remembers their names.
pub struct Sources<'a> {
    read: &'a mut ReadFile<'a>,
    list: &'a mut ListFolder<'a>,
    names: Vec<String>,
    bytes: usize,
}

impl<'a> Sources<'a> {
    pub fn new(read: &'a mut ReadFile<'a>, list: &'a mut ListFolder<'a>) -> Sources<'a> {
        Sources { read, list, names: Vec::new(), bytes: 0 }
    }

    /// Opens a file. `from` is the file that includes it.
    ///
    /// # Errors
    /// The file cannot be read, or is no text.
    pub fn open(&mut self, path: &str, from: Option<&Source>) -> Result<Source, Failed> {
        if self.names.len() >= MAX_FILES {
            let message =
                format!("cannot read {path}: more than {MAX_FILES} files, does one include itself?");
            return Err(Failed::Unreadable(message));
        }
        let found = (self.read)(path, from.map(|from| from.name.as_str())).map_err(Failed::Unreadable)?;
        self.bytes = self.bytes.saturating_add(found.bytes.len());
        if self.bytes > MAX_BYTES {
            return Err(Failed::Unreadable(format!("cannot read {path}: the files exceed 64 MiB together")));
        }
        let text = decode(&found)?;
        let file = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(found.name.clone());
        Ok(Source { file, name: found.name, text })
    }

    /// Lists the file names in a folder that `from` names, sorted by their bytes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&mut self, folder: &str, from: Option<&Source>) -> Result<Vec<String>, String> {
        let mut names = (self.list)(folder, from.map(|from| from.name.as_str()))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Names of all files that were opened, in that order. A [`Place`] refers to them.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Decodes a file. Text that is not UTF-8 is read as ISO 8859-1, because the comments of old files are written in it.
fn decode(found: &Found) -> Result<String, Broken> {
    let bytes = found.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&found.bytes);
    let (mut line, mut start) = (1u32, 0usize);
    for (at, byte) in bytes.iter().enumerate() {
        let message = match byte {
            b'\n' => {
                (line, start) = (line.saturating_add(1), at + 1);
                continue;
            }
            _ if at - start >= MAX_LINE => "the line is longer than 1 MiB: is this a configuration?",
            0..=8 | 14..=26 | 28..=31 | 127 => "a control character: expected text, is this a binary file?",
            _ => continue,
        };
        let column = u32::try_from(at - start + 1).unwrap_or(u32::MAX);
        return Err(Broken { file: found.name.clone(), line, column, message: message.to_owned() });
    }
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Source, Failed> {
        let mut read =
            |path: &str, _: Option<&str>| Ok(Found { name: path.to_owned(), bytes: bytes.to_vec() });
        let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
        Sources::new(&mut read, &mut list).open("a.conf", None)
    }

    #[test]
    fn old_encodings_are_read_and_binary_files_are_refused() {
        assert_eq!(open(b"\xef\xbb\xbfa\n").unwrap().text, "a\n");
        assert_eq!(open(b"# B\xfcro\n").unwrap().text, "# Büro\n");
        let place = |bytes: &[u8]| match open(bytes) {
            Err(Failed::Broken(broken)) => (broken.line, broken.column),
            other => panic!("{other:?}"),
        };
        assert_eq!(place(b"a\nbc\0"), (2, 3));
        assert_eq!(place(&[b'x'; MAX_LINE + 1]), (1, 1_048_577));
    }

    #[test]
    fn files_that_include_each_other_end() {
        let mut read = |path: &str, _: Option<&str>| Ok(Found { name: path.to_owned(), bytes: Vec::new() });
        let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
        let mut sources = Sources::new(&mut read, &mut list);
        let opened = (0..MAX_FILES + 1).filter(|_| sources.open("a", None).is_ok()).count();
        assert_eq!(opened, MAX_FILES);
    }
}
