//! The newc format of cpio, in which Linux reads its initial RAM disks (kernel,
//! Documentation/driver-api/early-userspace/buffer-format.rst). `images/build/` reads the initrd of an image with it and
//! writes the root file system of a single-stage image.

/// Number of bytes of a header, before the name.
pub const HEADER_SIZE: usize = 110;
/// Names and data end at a multiple of this.
pub const ALIGNMENT: u64 = 4;
/// Maximum length of a name with its NUL. The kernel skips entries with longer ones (`PATH_MAX` in `init/initramfs.c`).
pub const MAX_NAME: usize = 4096;
/// The name of the last entry.
pub const TRAILER: &[u8] = b"TRAILER!!!";
/// The magic numbers: without and with a checksum.
pub const MAGICS: [&[u8; 6]; 2] = [b"070701", b"070702"];

/// Number of fields after the magic, of eight hexadecimal digits each.
const FIELDS: usize = 13;

/// The facts about one entry, apart from its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// A path without a leading slash.
    pub name: Vec<u8>,
    /// Entries with the same number, a link count over one and the same device are one file.
    pub inode: u32,
    /// The type of the file and its permissions, as in `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Number of bytes of the data. A symbolic link has its target as data.
    pub size: u32,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
}

/// Encodes the header and the name of `entry`, padded so that its data can follow. Returns `None` if the name cannot
/// be written: it is empty, too long, has a NUL in it, or is that of the last entry.
pub fn encode(entry: &Entry) -> Option<Vec<u8>> {
    let is_writable = !entry.name.is_empty() && !entry.name.contains(&0) && entry.name != TRAILER;
    is_writable.then(|| encode_any(entry)).flatten()
}

/// The entry that ends an archive.
pub fn trailer() -> Vec<u8> {
    let entry = Entry { name: TRAILER.to_vec(), links: 1, ..Entry::default() };
    encode_any(&entry).unwrap_or_default()
}

fn encode_any(entry: &Entry) -> Option<Vec<u8>> {
    let name_size = entry.name.len().checked_add(1).filter(|size| *size <= MAX_NAME)?;
    let (major, minor) = entry.device;
    let fields: [u32; FIELDS] = [
        entry.inode,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.links,
        entry.mtime,
        entry.size,
        0,
        0,
        major,
        minor,
        u32::try_from(name_size).ok()?,
        0,
    ];
    let mut bytes = MAGICS[0].to_vec();
    fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
    bytes.extend(&entry.name);
    bytes.push(0);
    let padding = padding(bytes.len() as u64);
    bytes.extend(std::iter::repeat_n(0, padding));
    Some(bytes)
}

/// Number of zeros after `size` bytes up to a multiple of [`ALIGNMENT`].
pub fn padding(size: u64) -> usize {
    let over = size & (ALIGNMENT - 1);
    usize::try_from((ALIGNMENT.wrapping_sub(over)) & (ALIGNMENT - 1)).unwrap_or(0)
}

/// Decodes a header. Returns the entry without its name, and the length of the name with its NUL; `None` if the bytes
/// are no header of this format.
pub fn decode(header: &[u8; HEADER_SIZE]) -> Option<(Entry, usize)> {
    let (magic, digits) = header.split_first_chunk::<6>()?;
    if !MAGICS.contains(&magic) {
        return None;
    }
    let mut fields = [0; FIELDS];
    for (field, digits) in fields.iter_mut().zip(digits.chunks_exact(8)) {
        // `from_str_radix` would also take a sign.
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        *field = is_hex.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()?;
    }
    let [inode, mode, uid, gid, links, mtime, size, _, _, major, minor, name_size, _] = fields;
    let name_size = usize::try_from(name_size).ok().filter(|size| (1..=MAX_NAME).contains(size))?;
    let name = Vec::new();
    Some((Entry { name, inode, mode, uid, gid, links, mtime, size, device: (major, minor) }, name_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_that_of_the_kernel() {
        let entry = Entry {
            name: b"dev/console".to_vec(),
            inode: 1,
            mode: 0o020_600,
            links: 1,
            device: (5, 1),
            ..Entry::default()
        };
        let bytes = encode(&entry).unwrap();
        let expected = "0707010000000100002180000000000000000000000001000000000000000000000000000000000000000500000001\
                        0000000c00000000dev/console\0\0\0";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        assert_eq!(trailer().len(), 124);
    }

    #[test]
    fn names_that_cannot_be_read_back_are_not_written() {
        for name in [&b""[..], b"a\0b", TRAILER, &[b'x'; MAX_NAME]] {
            assert_eq!(encode(&Entry { name: name.to_vec(), ..Entry::default() }), None);
        }
        assert!(encode(&Entry { name: vec![b'x'; MAX_NAME - 1], ..Entry::default() }).is_some());
    }

    proptest! {
        #[test]
        fn an_entry_is_decoded_as_it_was_encoded(
            name in proptest::collection::vec(1u8..=255, 1..300),
            fields in proptest::array::uniform9(any::<u32>()),
        ) {
            let [inode, mode, uid, gid, links, mtime, size, major, minor] = fields;
            let entry = Entry { name, inode, mode, uid, gid, links, mtime, size, device: (major, minor) };
            let bytes = encode(&entry).unwrap();
            prop_assert_eq!(bytes.len() % 4, 0);
            let (decoded, name_size) = decode(bytes.first_chunk().unwrap()).unwrap();
            prop_assert_eq!(name_size.checked_sub(1), Some(entry.name.len()));
            let name = bytes[HEADER_SIZE..][..entry.name.len()].to_vec();
            prop_assert_eq!(Entry { name, ..decoded }, entry);
        }

        #[test]
        fn any_header_is_decoded_or_refused(bytes in proptest::array::uniform32(any::<u8>()), at in 0usize..78) {
            let mut header = [b'0'; HEADER_SIZE];
            header[..6].copy_from_slice(MAGICS[0]);
            header.iter_mut().skip(at).zip(bytes).for_each(|(to, byte)| *to = byte);
            let _ = decode(&header);
        }
    }
}
