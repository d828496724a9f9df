//! Reads a tar archive in one pass and in bounded memory: of GNU tar, `docker export`, `podman export`, `mmdebstrap`.
//! The crate `tar` decodes the headers. Its own reader takes names and attributes of any length into memory, and does
//! not report an archive that was cut off between two files.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

const BLOCK: usize = 512;
/// Maximum number of entries. A full desktop system has 300,000.
const MAX_ENTRIES: u64 = 16_000_000;
/// Maximum size of the attributes or the long name before an entry, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;
/// Maximum length of a path in bytes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// A file, folder, link or device in the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The path relative to the root, without `.`; empty for the root itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Number of bytes that follow.
    pub size: u64,
    /// Permissions, without the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// The target of a link. That of a hard link is a path like [`Entry::path`].
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
}

/// The type of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    File,
    Folder,
    Symlink,
    HardLink,
    CharacterDevice,
    BlockDevice,
    Fifo,
    /// A file with holes, whose data is not the content.
    Sparse,
    /// A kind that no file system has, such as a volume label.
    Other,
}

/// A tar archive that is read.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    /// Bytes of the current entry that were not read yet, and the zeros after them.
    data: u64,
    padding: u64,
    entries: u64,
}

/// Attributes from entries before the one that they belong to.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    is_sparse: bool,
}

impl<R: Read> Archive<R> {
    pub fn new(input: R) -> Archive<R> {
        Archive { input, data: 0, padding: 0, entries: 0 }
    }

    /// The next entry, whose data [`Archive::data`] then reads; `None` after the last one.
    ///
    /// # Errors
    /// The input is no archive, is cut off or damaged, exceeds a limit, or has a name that leads outside.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, String> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_data()?;
            let mut block = [0; BLOCK];
            self.read_block(&mut block)?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(format!("it has more than {MAX_ENTRIES} files"));
            }
            let header = Header::from_byte_slice(&block);
            if !has_right_sum(&block, header) {
                return Err(match self.entries {
                    1 => "it is no tar archive".to_owned(),
                    _ => "it is damaged: the checksum of a file's header is wrong".to_owned(),
                });
            }
            let size = header.entry_size().map_err(damaged)?;
            self.begin_data(size);
            match header.entry_type() {
                EntryType::GNULongName => extensions.path = Some(self.extension(size)?),
                EntryType::GNULongLink => extensions.link = Some(self.extension(size)?),
                EntryType::XHeader => {
                    let attributes = self.extension(size)?;
                    extensions.read(&attributes)?;
                }
                EntryType::XGlobalHeader => {}
                _ => return self.entry(header, extensions).map(Some),
            }
        }
    }

    pub fn into_inner(self) -> R {
        self.input
    }

    /// The data of the current entry.
    pub fn data(&mut self) -> impl Read + '_ {
        Data(self)
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, String> {
        let kind = match header.entry_type() {
            _ if extensions.is_sparse => Kind::Sparse,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Char => Kind::CharacterDevice,
            EntryType::Block => Kind::BlockDevice,
            EntryType::Directory => Kind::Folder,
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => Kind::Sparse,
            _ => Kind::Other,
        };
        if header.entry_type() == EntryType::GNUSparse {
            self.skip_sparse_maps(header)?;
        }
        let size = extensions.size.map_or_else(|| header.entry_size(), Ok).map_err(damaged)?;
        let has_data = matches!(kind, Kind::File | Kind::Sparse | Kind::Other);
        // Hard links may have the size of their file in the header, but no data (POSIX, ustar).
        let size = if has_data { size } else { 0 };
        self.begin_data(size);
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let mut link = extensions
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        if kind == Kind::HardLink {
            link = relative_path(&link)?;
        }
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let id =
            |own: Option<u64>, other: io::Result<u64>| own.map_or(other, Ok).map(number).map_err(damaged);
        let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
        Ok(Entry {
            path: relative_path(&path)?,
            kind,
            size,
            mode: header.mode().map_err(damaged)? & 0o7777,
            uid: id(extensions.uid, header.uid())?,
            gid: id(extensions.gid, header.gid())?,
            mtime: header.mtime().map(number).unwrap_or(0),
            link,
            device: (device(header.device_major()), device(header.device_minor())),
        })
    }

    /// Skips the maps of holes that precede the data of a sparse file. Offset 482 of the header and 504 of each map
    /// say whether another map follows (GNU tar, `struct oldgnu_header` and `struct sparse_header`).
    fn skip_sparse_maps(&mut self, header: &Header) -> Result<(), String> {
        let mut has_more = header.as_bytes().get(482).is_some_and(|byte| *byte == 1);
        while has_more {
            let mut block = [0; BLOCK];
            self.read_block(&mut block)?;
            has_more = block.get(504).is_some_and(|byte| *byte == 1);
        }
        Ok(())
    }

    fn begin_data(&mut self, size: u64) {
        self.data = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, String> {
        if size > MAX_EXTENSION {
            return Err(format!("a name or the attributes of a file in it have {size} bytes"));
        }
        let mut bytes = Vec::new();
        self.data().read_to_end(&mut bytes).map_err(unreadable)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn skip_data(&mut self) -> Result<(), String> {
        let rest = self.data.saturating_add(self.padding);
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink()).map_err(unreadable)?;
        (self.data, self.padding) = (0, 0);
        if skipped == rest { Ok(()) } else { Err(CUT_OFF.to_owned()) }
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), String> {
        let mut read = Vec::new();
        self.input.by_ref().take(BLOCK as u64).read_to_end(&mut read).map_err(unreadable)?;
        if read.is_empty() && self.entries == 0 {
            return Err("it is empty".to_owned());
        }
        *block = read.try_into().map_err(|_| {
            if self.entries == 0 { "it is no tar archive".to_owned() } else { CUT_OFF.to_owned() }
        })?;
        Ok(())
    }
}

pub(super) const CUT_OFF: &str = "it is cut off: the command or the copy that made it did not end";

/// The data of the current entry.
struct Data<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let archive = &mut *self.0;
        let read = archive.input.by_ref().take(archive.data).read(bytes)?;
        if read == 0 && archive.data > 0 && !bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, CUT_OFF));
        }
        archive.data = archive.data.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Extensions {
    /// Reads the records of a pax header (POSIX, pax extended header).
    fn read(&mut self, attributes: &[u8]) -> Result<(), String> {
        for record in PaxExtensions::new(attributes) {
            let record = record.map_err(damaged)?;
            let value = record.value_bytes();
            let number = || record.value().ok()?.parse().ok();
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = number(),
                b"uid" => self.uid = number(),
                b"gid" => self.gid = number(),
                key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The components of a path without `.` and a leading slash.
fn relative_path(path: &[u8]) -> Result<Vec<u8>, String> {
    let shown =
        || crate::types::Escaped(path.get(..MAX_PATH.min(path.len())).unwrap_or_default()).to_string();
    if path.len() > MAX_PATH {
        return Err(format!("it has a name of {} bytes: {} …", path.len(), shown()));
    }
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(format!("the name {} in it leads outside", shown())),
            component => components.push(component),
        }
    }
    Ok(components.join(&b'/'))
}

/// Whether the checksum of the header is right: the sum of its bytes, of which those of the checksum count as blanks.
fn has_right_sum(block: &[u8; BLOCK], header: &Header) -> bool {
    let sum = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
    header.cksum().is_ok_and(|expected| expected == sum.sum::<u32>())
}

fn damaged(error: io::Error) -> String {
    format!("it is damaged: {error}")
}

fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CUT_OFF.to_owned(),
        _ => format!("it is damaged, or cannot be read: {error}"),
    }
}
