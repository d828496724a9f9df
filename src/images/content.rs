//! The bytes that are sent to a client: a file of the images folder, or generated text that is served like a file.
//! The TFTP and HTTP servers read from it.

use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::sys::uio::preadv;

use crate::images::file_cache::CachedFile;
use crate::images::open_file::OpenFile;

/// The content of one transfer. It does not change while it is sent: if the file is replaced by a rename, the
/// transfer continues with the old one.
#[derive(Debug)]
pub enum Content {
    /// A file, open for reading.
    File(OpenFile),
    /// A short file that is cached in memory.
    Short(CachedFile),
    /// Text that is not stored in a file.
    Text(Text),
}

/// Generated text that is served like a file. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Normalised name relative to the images folder, under which it is served.
    pub name: String,
    pub bytes: Arc<[u8]>,
}

impl Content {
    /// Creates a text that is served as the file `name`.
    pub fn text(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Content {
        Content::Text(Text { name: name.into(), bytes: bytes.into() })
    }

    /// Size in bytes. For a file this is the size when it was opened, which the client was sent.
    pub fn size(&self) -> u64 {
        match self {
            Content::File(open) => open.size,
            Content::Short(short) => short.bytes.len() as u64,
            Content::Text(text) => text.bytes.len() as u64,
        }
    }

    /// Normalised name relative to the images folder, for events and for its extension.
    pub fn name(&self) -> &str {
        match self {
            Content::File(open) => &open.name,
            Content::Short(short) => &short.name,
            Content::Text(text) => &text.name,
        }
    }

    /// Reads bytes from `offset` into `buf` and returns their number. It is less than the length of `buf` only at
    /// [`Content::size`], and 0 after it. Bytes appended to a file after it was opened are never read.
    ///
    /// The content has no position, so any number of readers can share it.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file became shorter, because a truncated file must not look complete.
    /// Otherwise the error of the disk.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = left.min(buf.len());
        let buf = &mut buf[..want];
        match self {
            Content::File(open) => open.file.read_exact_at(buf, offset)?,
            Content::Short(CachedFile { bytes, .. }) | Content::Text(Text { bytes, .. }) if want > 0 => {
                // `want` bytes remain after `offset`, so both ends of the range are valid.
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                buf.copy_from_slice(&bytes[from..from + want]);
            }
            Content::Short(_) | Content::Text(_) => {}
        }
        Ok(want)
    }

    /// Fills `parts` in order with the bytes from `offset`, in one system call if possible. All parts must lie before
    /// the end.
    ///
    /// # Errors
    /// The errors of [`Content::read_at`], and [`io::ErrorKind::UnexpectedEof`] if `parts` extend beyond
    /// [`Content::size`].
    pub fn read_parts_at(&self, parts: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<()> {
        let want: usize = parts.iter().map(|part| part.len()).sum();
        if let (Content::File(open), Ok(at)) = (self, i64::try_from(offset))
            && parts.len() > 1
            && preadv(&open.file, parts, at) == Ok(want)
        {
            return Ok(());
        }
        // There is only one part, a signal arrived, or the file became shorter.
        let mut at = offset;
        for part in parts {
            if self.read_at(part, at)? < part.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at = at.saturating_add(part.len() as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::name::BootName;
    use crate::images::Catalog;
    use std::fs;

    fn read(content: &Content, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut buf = vec![0; len];
        let count = content.read_at(&mut buf, offset)?;
        buf.truncate(count);
        Ok(buf)
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, Content) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), bytes).unwrap();
        let open = Catalog::open(folder.path()).unwrap().open_file(&BootName::parse(b"x").unwrap()).unwrap();
        (folder, Content::File(open))
    }

    #[test]
    fn file_and_text_read_alike_from_any_place() {
        let (_folder, file) = file(b"abcdefg");
        for content in [file, Content::text("x", *b"abcdefg")] {
            assert_eq!((content.size(), content.name()), (7, "x"));
            assert_eq!(read(&content, 3, 0).unwrap(), b"abc");
            assert_eq!(read(&content, 3, 6).unwrap(), b"g");
            assert_eq!(read(&content, 9, 0).unwrap(), b"abcdefg");
            assert_eq!(read(&content, 0, 3).unwrap(), b"");
            for beyond in [7, 8, u64::MAX] {
                assert_eq!(read(&content, 3, beyond).unwrap(), b"", "{beyond}");
            }
        }
        assert_eq!(read(&Content::text("empty", []), 3, 0).unwrap(), b"");
    }

    #[test]
    fn parts_are_filled_one_after_another() {
        let (folder, file) = file(b"abcdefg");
        for content in [&file, &Content::text("x", *b"abcdefg")] {
            let (mut a, mut b) = ([0; 2], [0; 3]);
            let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            content.read_parts_at(&mut parts, 1).unwrap();
            let beyond = content.read_parts_at(&mut parts, 3).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
            content.read_parts_at(&mut parts, 2).unwrap();
            assert_eq!((&a, &b), (b"cd", b"efg"));
        }
        fs::write(folder.path().join("x"), "abc").unwrap();
        let (mut a, mut b) = ([0; 2], [0; 3]);
        let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(file.read_parts_at(&mut parts, 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn appended_bytes_are_ignored_and_truncation_fails() {
        let (folder, content) = file(&[7; 100]);
        let change = |bytes: &[u8]| fs::write(folder.path().join("x"), bytes).unwrap();
        change(&[8; 300]);
        assert_eq!(read(&content, 512, 0).unwrap(), [8; 100]);
        change(&[9; 50]);
        assert_eq!(read(&content, 20, 10).unwrap(), [9; 20]);
        assert_eq!(read(&content, 512, 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&content, 512, 100).unwrap(), b"", "its end stays where it was");
    }

    #[test]
    fn a_file_replaced_by_another_stays_the_old_one() {
        let (folder, content) = file(b"old content");
        fs::write(folder.path().join("new"), "another").unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("x")).unwrap();
        assert_eq!(read(&content, 99, 0).unwrap(), b"old content");
    }
}
