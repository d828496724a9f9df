//! Reads who signed an EFI program and its SBAT generations from its PE/COFF file, for `lanboot images verify`.
//! Signatures are not verified, because that is the firmware's task.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Number of bytes that are read for the headers.
const HEADER_SIZE: usize = 4096;
/// Maximum size of the certificate table in bytes. One signature has 2 KiB.
const MAX_CERTIFICATES: usize = 256 * 1024;
/// Maximum size of the SBAT section in bytes.
const MAX_SBAT: usize = 64 * 1024;
/// Maximum number of signatures per file.
const MAX_SIGNATURES: usize = 16;

/// Signers and SBAT generations of a PE/COFF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Issuer of the signer's certificate, for each signature. Empty if the file is not signed.
    pub signed_by: Vec<String>,
    /// Components with their generation, such as (`shim`, 4), without the line about the format itself.
    pub sbat: Vec<(String, u32)>,
}

/// Reads the marks of `file`. Returns `None` if it is not a PE/COFF file.
///
/// # Errors
/// The file cannot be read.
pub fn read_marks(file: &File) -> io::Result<Option<Marks>> {
    let head = read_part(file, 0, HEADER_SIZE)?;
    let Some(locations) = locations(&head) else { return Ok(None) };
    let (at, len) = locations.certificates;
    let certificates = read_part(file, u64::from(at), size(len).min(MAX_CERTIFICATES))?;
    let (at, len) = locations.sbat;
    let sbat = read_part(file, u64::from(at), size(len).min(MAX_SBAT))?;
    Ok(Some(Marks { signed_by: signers(&certificates), sbat: components(&sbat) }))
}

/// Offset and length of parts of the file.
struct Locations {
    certificates: (u32, u32),
    sbat: (u32, u32),
}

fn size(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

fn read_part(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let (mut bytes, mut read) = (vec![0; len], 0);
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(read as u64))? {
            0 => break,
            more => read = read.saturating_add(more),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads the sections of a PE/COFF file whose names begin with one of `names`, up to `limit` bytes in total. Returns
/// `None` if it is not a PE/COFF file.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read_sections(file: &File, names: &[&[u8]], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let head = read_part(file, 0, HEADER_SIZE)?;
    let Some((_, sections)) = headers(&head) else { return Ok(None) };
    let mut data = Vec::new();
    for section in sections.filter(|section| names.iter().any(|name| section.starts_with(name))) {
        let (Some(len), Some(at)) = (u32_at(section, 16), u32_at(section, 20)) else { continue };
        let room = limit.saturating_sub(data.len());
        data.extend(read_part(file, u64::from(at), size(len).min(room))?);
    }
    Ok(Some(data))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// The optional header with everything after it, and the section headers (PE format: "COFF File Header", "Section
/// Table").
fn headers(head: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let coff = head.get(size(u32_at(head, 0x3c)?)..)?.strip_prefix(b"PE\0\0")?;
    let (sections, optional_len) = (u16_at(coff, 2)?, u16_at(coff, 16)?);
    let optional = coff.get(20..)?;
    let table = optional.get(usize::from(optional_len)..).unwrap_or_default();
    Some((optional, table.chunks_exact(40).take(usize::from(sections))))
}

/// Locates the certificate table and SBAT (PE format: "Optional Header Data Directories"). The certificate table is
/// the fifth directory, and its address is an offset in the file.
fn locations(head: &[u8]) -> Option<Locations> {
    let (optional, mut sections) = headers(head)?;
    let directories = match u16_at(optional, 0)? {
        0x10b => 96,
        0x20b => 112,
        _ => return None,
    };
    let count = u32_at(optional, directories - 4)?;
    let entry = optional.get(directories + 4 * 8..).filter(|_| count > 4);
    let certificates = entry.and_then(|entry| Some((u32_at(entry, 0)?, u32_at(entry, 4)?)));
    let sbat = sections.find(|section| section.starts_with(b".sbat\0\0\0"));
    let sbat = sbat.and_then(|section| Some((u32_at(section, 20)?, u32_at(section, 16)?)));
    Some(Locations { certificates: certificates.unwrap_or_default(), sbat: sbat.unwrap_or_default() })
}

/// Parses lines `component,generation,…` up to the first NUL (shim, SBAT.md).
fn components(section: &[u8]) -> Vec<(String, u32)> {
    let text = section.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| {
        let mut fields = line.split(',');
        let (name, generation) = (fields.next()?, fields.next()?.trim().parse().ok()?);
        (name != "sbat").then(|| (printable(name), generation))
    };
    text.lines().filter_map(line).collect()
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The issuer of each signature in the certificate table. An entry has its length with this header, a version, a type
/// (2: PKCS #7) and the signature, padded to 8 bytes.
fn signers(table: &[u8]) -> Vec<String> {
    let (mut rest, mut found) = (table, Vec::new());
    while let Some(len) = u32_at(rest, 0).map(size).filter(|len| *len > 8 && found.len() < MAX_SIGNATURES) {
        let Some(signature) = rest.get(8..len) else { break };
        let issuer = issuer(signature).filter(|_| u16_at(rest, 6) == Some(2));
        found.push(issuer.unwrap_or_else(|| "unknown".to_owned()));
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    found
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
/// `[0]`, constructed.
const CONTENT: u8 = 0xa0;
/// Object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Common name of the issuer of the first signer's certificate in a PKCS #7 `SignedData` (RFC 2315 section 9).
fn issuer(signature: &[u8]) -> Option<String> {
    let (content_info, _) = element(signature, SEQUENCE)?;
    let (_, rest) = element(content_info, OBJECT)?;
    let (content, _) = element(rest, CONTENT)?;
    let (mut rest, _) = element(content, SEQUENCE)?;
    let mut signers = None;
    // Version, algorithms, content, certificates and revocations precede the signers, which come last.
    while let Some((tag, inside, after)) = any_element(rest) {
        (signers, rest) = (Some(inside).filter(|_| tag == SET), after);
    }
    let (signer, _) = element(signers?, SEQUENCE)?;
    let (_, rest) = element(signer, INTEGER)?;
    let (issuer_and_serial, _) = element(rest, SEQUENCE)?;
    let (mut names, _) = element(issuer_and_serial, SEQUENCE)?;
    while let Some((set, after)) = element(names, SET) {
        let (pair, _) = element(set, SEQUENCE)?;
        let (kind, value) = element(pair, OBJECT)?;
        if kind == COMMON_NAME {
            let (_, text, _) = any_element(value)?;
            return Some(printable(&String::from_utf8_lossy(text)));
        }
        names = after;
    }
    None
}

/// Content of the DER element with this tag at the start of `bytes`, and the bytes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any_element(bytes).filter(|(found, _, _)| *found == tag).map(|(_, inside, after)| (inside, after))
}

fn any_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
    };
    let (inside, after) = rest.split_at_checked(len)?;
    Some((*tag, inside, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn marks(bytes: &[u8]) -> Option<Marks> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read_marks(&file).unwrap()
    }

    #[test]
    fn only_programs_have_generations() {
        let sbat = b"sbat,1,SBAT Version,sbat,1,https://x\nshim,4,UEFI shim\nshim.debian,1,D\nbad\n\0grub,9";
        assert_eq!(components(sbat), [("shim".to_owned(), 4), ("shim.debian".to_owned(), 1)]);
        assert_eq!(marks(b"#!ipxe\n"), None);
        assert_eq!(marks(b"MZ"), None);
    }

    #[test]
    fn the_signers_of_real_loaders_are_known() {
        let loaders = [
            ("/usr/lib/shim/shimx64.efi.signed", "Microsoft", "shim"),
            ("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "Debian Secure Boot CA", "grub"),
        ];
        for (path, authority, component) in loaders {
            let Ok(file) = File::open(path) else { continue };
            let marks = read_marks(&file).unwrap().unwrap();
            assert!(marks.signed_by.iter().any(|by| by.contains(authority)), "{path}: {marks:?}");
            assert!(
                marks.sbat.iter().any(|(name, generation)| name == component && *generation > 0),
                "{marks:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_file_is_read_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 200..700)) {
            bytes[..2].copy_from_slice(b"MZ");
            bytes[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
            bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
            bytes[0x58..0x5a].copy_from_slice(&[0x0b, 2]);
            let _ = marks(&bytes);
            let _ = issuer(&bytes);
        }
    }
}
