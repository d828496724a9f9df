//! Reads Debian package files (deb(5)) without installing them: name, version and architecture, and some of their
//! files. All input is bounded, and data is only written where the caller asks for it.

use std::io::{self, Read, Write};

use tar::EntryType;

use crate::images::compression::{Compression, Extent, Peek, unpack};

/// Maximum number of members in the package file. Normally there are three.
const MAX_MEMBERS: usize = 16;
/// Maximum size of the unpacked control archive in bytes.
const MAX_CONTROL: u64 = 16 * 1024 * 1024;
/// Maximum size of the file `control` in bytes.
const MAX_CONTROL_FILE: u64 = 1024 * 1024;
/// Maximum size of the unpacked data archive in bytes. The Debian installer's has 0.3 GB.
const MAX_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// Maximum number of entries in an archive. The Debian installer's has 4,000.
const MAX_ENTRIES: usize = 100_000;
/// Maximum size of one boot file in bytes.
const MAX_FILE: u64 = 1024 * 1024 * 1024;

/// Fields of the package's file `control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub package: String,
    /// Includes the epoch.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
}

/// A file to extract from a package.
#[derive(Debug)]
pub struct Wanted<'a, W> {
    /// Possible paths relative to the root, such as `usr/lib/ipxe/snponly.efi`. A component `*` matches any one
    /// component.
    pub paths: &'a [&'a str],
    /// The writer that receives the content.
    pub out: W,
    /// The path at which the file was found; `None` before that.
    pub found: Option<String>,
}

/// Reads the control fields of `deb`.
///
/// # Errors
/// The file is not a Debian package, or is damaged.
pub fn read_control(deb: impl Read) -> Result<Control, String> {
    let mut text = None;
    each_member(deb, |name, member| {
        let Some(compression) = name.strip_prefix("control.tar") else { return Ok(()) };
        each_entry(member, compression, MAX_CONTROL, |path, entry| {
            if path == "control" && entry.header().entry_type() == EntryType::Regular {
                let mut file = String::new();
                let read = entry.take(MAX_CONTROL_FILE).read_to_string(&mut file);
                read.map_err(|error| format!("its file control cannot be read: {error}"))?;
                text = Some(file);
            }
            Ok(())
        })
    })?;
    let text = text.ok_or("it has no file control, so it is no Debian package")?;
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.next().map(|value| value.trim().to_owned()).ok_or(format!("its file control has no {name}"))
    };
    Ok(Control {
        package: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
    })
}

/// Copies the `wanted` files of `deb` to their writers and records their paths. The whole package is read, so that
/// its checksums are verified. Links are not followed and do not count as files.
///
/// # Errors
/// The file is not a Debian package, is damaged, contains names that lead outside, or exceeds a limit; or a file
/// cannot be written.
pub fn extract<W: Write>(deb: impl Read, wanted: &mut [Wanted<'_, W>]) -> Result<(), String> {
    let mut has_data = false;
    each_member(deb, |name, member| {
        let Some(compression) = name.strip_prefix("data.tar") else { return Ok(()) };
        has_data = true;
        each_entry(member, compression, MAX_UNPACKED, |path, entry| {
            let is_it = |file: &&mut Wanted<'_, W>| {
                file.found.is_none() && file.paths.iter().any(|pattern| matches(pattern, path))
            };
            let is_file = entry.header().entry_type() == EntryType::Regular;
            let file = wanted.iter_mut().filter(|_| is_file).find(is_it);
            let Some(file) = file else { return Ok(()) };
            let size = entry.size();
            if size > MAX_FILE {
                return Err(format!("{path} in it has {size} bytes, more than any boot file"));
            }
            let copied = io::copy(entry, &mut file.out).map_err(|error| format!("{path}: {error}"))?;
            if copied != size {
                return Err(format!("{path} in it is cut short"));
            }
            file.found = Some(path.to_owned());
            Ok(())
        })
    })?;
    if has_data { Ok(()) } else { Err("it has no files: data.tar is missing (cut short?)".to_owned()) }
}

/// Whether `path` matches `pattern`, in which `*` matches any one component.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if pattern == "*" || pattern == part => {}
            _ => return false,
        }
    }
}

/// Calls `visit` for each member of the package file, which is an `ar` archive: a magic line, then for each member a
/// header of 60 bytes (name, date, owner, group, mode, decimal size, magic) and its bytes, padded to an even number.
fn each_member(
    mut deb: impl Read,
    mut visit: impl FnMut(&str, &mut dyn Read) -> Result<(), String>,
) -> Result<(), String> {
    let mut magic = [0; 8];
    deb.read_exact(&mut magic).map_err(|_| "it is too short for a Debian package".to_owned())?;
    if magic != *b"!<arch>\n" {
        return Err("it is no Debian package: it does not begin with !<arch>".to_owned());
    }
    for number in 0..MAX_MEMBERS {
        let Some((name, size)) = member_header(&mut deb)? else {
            return if number == 0 { Err("there is nothing in it".to_owned()) } else { Ok(()) };
        };
        if number == 0 && name != "debian-binary" {
            return Err(format!("it is no Debian package: it begins with {name:?}, not debian-binary"));
        }
        let mut member = deb.by_ref().take(size);
        visit(&name, &mut member)?;
        io::copy(&mut member, &mut io::sink()).map_err(|error| format!("it cannot be read: {error}"))?;
        if member.limit() > 0 {
            return Err(format!("it is cut short in {name}"));
        }
        if size % 2 == 1 {
            let _ = deb.read(&mut [0]).map_err(|error| format!("it cannot be read: {error}"))?;
        }
    }
    Err(format!("it has more than {MAX_MEMBERS} members"))
}

/// Name and size of the next member; `None` at the end.
fn member_header(deb: &mut impl Read) -> Result<Option<(String, u64)>, String> {
    const LEN: u64 = 60;
    let mut header = Vec::new();
    let read = deb.by_ref().take(LEN).read_to_end(&mut header);
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    if header.is_empty() {
        return Ok(None);
    }
    let field = |from: usize, to: usize| std::str::from_utf8(header.get(from..to)?).ok();
    let name = field(0, 16).map(|name| name.trim_end().trim_end_matches('/').to_owned());
    let size = field(48, 58).and_then(|size| size.trim_end().parse().ok());
    match (name, size, field(58, 60)) {
        (Some(name), Some(size), Some("`\n")) => Ok(Some((name, size))),
        _ => Err("it is damaged or cut short: a member's header is wrong".to_owned()),
    }
}

/// Calls `visit` with the normalised path of each entry of the tar archive in `member`, and reads the archive to its
/// end.
fn each_entry(
    member: &mut dyn Read,
    compression: &str,
    limit: u64,
    mut visit: impl FnMut(&str, &mut tar::Entry<'_, Bounded<Box<dyn Read + '_>>>) -> Result<(), String>,
) -> Result<(), String> {
    let damaged = |error: io::Error| format!("it is damaged or cut short: {error}");
    let compression = match compression {
        "" => None,
        ".gz" => Some(Compression::Gzip),
        ".xz" => Some(Compression::Xz),
        ".zst" => Some(Compression::Zstd),
        other => return Err(format!("its files are packed as {other}, which lanboot cannot unpack")),
    };
    let mut member = Peek::new(member);
    let unpacked: Box<dyn Read + '_> = match compression {
        None => Box::new(member),
        Some(compression) => unpack(compression, Extent::Whole, &mut member).map_err(damaged)?,
    };
    let mut archive = tar::Archive::new(Bounded { inner: unpacked, left: limit });
    let mut name_follows = false;
    // Raw mode, because the crate would otherwise read long names and attributes of any length into memory. Boot
    // files do not need them.
    for (number, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        let mut entry = entry.map_err(damaged)?;
        if number >= MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} files"));
        }
        let kind = entry.header().entry_type();
        // After such an entry, the name or size in the next header is not valid.
        let has_own_name = !name_follows;
        name_follows = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_gnu_sparse();
        if !has_own_name || name_follows {
            continue;
        }
        let path = normalised_path(&entry.path_bytes())?;
        visit(&path, &mut entry)?;
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged).map(|_| ())
}

/// The path of an entry without a leading `./`. Paths that lead outside are refused.
fn normalised_path(path: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(path);
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(format!("a file in it is called {text:?}, which leads outside: it is no honest package"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Ok(parts.join("/"))
}

/// A reader that fails after a number of bytes, because a malicious package could otherwise fill memory or disk.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let len = u64::try_from(read).unwrap_or(u64::MAX);
        let error = || io::Error::other("it unpacks to more than any package with boot files");
        self.left = self.left.checked_sub(len).ok_or_else(error)?;
        Ok(read)
    }
}
