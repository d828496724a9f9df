//! Domain names in DHCP options (RFC 1035 section 3.1): each label after its length, and a zero at the end.

use std::collections::HashMap;

/// The maximum length of a label in bytes.
pub const MAX_LABEL: usize = 63;
/// The maximum length of a name in bytes, including the length bytes and the final zero.
pub const MAX_NAME: usize = 255;

/// Whether `bytes` is one or more complete names without compression, as RFC 3396 and 3397 require of servers.
pub fn are_uncompressed(bytes: &[u8]) -> bool {
    let (mut rest, mut len) = (bytes, 0usize);
    while let [label, tail @ ..] = rest {
        let size = usize::from(*label);
        len = len.saturating_add(size).saturating_add(1);
        if size > MAX_LABEL || len > MAX_NAME {
            return false;
        }
        let Some((_, next)) = tail.split_at_checked(size) else { return false };
        rest = next;
        if size == 0 {
            len = 0;
        }
    }
    !bytes.is_empty() && len == 0
}

/// Compresses complete names: the end of a name that occurs before becomes a pointer to it (RFC 3397 section 2, RFC 1035
/// section 4.1.4). Pointers count from the beginning of the result and reach 16,383 bytes.
pub fn compressed(names: &[u8]) -> Vec<u8> {
    const POINTER: u16 = 0xc000;
    let mut out: Vec<u8> = Vec::with_capacity(names.len());
    let mut seen: HashMap<&[u8], u16> = HashMap::new();
    let mut rest = names;
    while let [size, tail @ ..] = rest {
        let len = usize::from(*size);
        // The rest of this name, from this label to its final zero.
        let name = rest.get(..name_len(rest)).unwrap_or(rest);
        if len > 0
            && let Some(place) = seen.get(name)
        {
            out.extend((POINTER | place).to_be_bytes());
            rest = rest.get(name.len()..).unwrap_or_default();
            continue;
        }
        if len > 0
            && let Some(place) = u16::try_from(out.len()).ok().filter(|place| *place < POINTER >> 2)
        {
            seen.insert(name, place);
        }
        let (label, next) = tail.split_at(len.min(tail.len()));
        out.push(*size);
        out.extend_from_slice(label);
        rest = next;
    }
    out
}

/// The length of the first name in `names`, with its final zero.
fn name_len(names: &[u8]) -> usize {
    let mut at = 0usize;
    while let Some(size) = names.get(at).filter(|size| **size > 0) {
        at = at.saturating_add(usize::from(*size)).saturating_add(1);
    }
    at.saturating_add(1).min(names.len())
}

/// Decodes the names of a search list (RFC 3397) into their labels. Names may be compressed: a pointer counts from the
/// start of `bytes` and points backwards. Returns `None` if a name is malformed.
pub fn read(bytes: &[u8]) -> Option<Vec<Vec<&[u8]>>> {
    let mut names = Vec::new();
    let mut at = 0usize;
    while at < bytes.len() {
        let (name, next) = read_one(bytes, at)?;
        names.push(name);
        at = next;
    }
    (!names.is_empty()).then_some(names)
}

/// Decodes the name at `start`. Returns its labels and the offset of the bytes after it.
fn read_one(bytes: &[u8], start: usize) -> Option<(Vec<&[u8]>, usize)> {
    let mut labels = Vec::new();
    let (mut at, mut end, mut len) = (start, None, 1usize);
    // Each pointer must point further back than the one before, so that the loop ends.
    let mut furthest = start;
    loop {
        let (size, rest) = bytes.get(at..)?.split_first()?;
        let size = usize::from(*size);
        match size {
            0 => return Some((labels, end.unwrap_or(at.checked_add(1)?))),
            1..=MAX_LABEL => {
                len = len.checked_add(size)?.checked_add(1)?;
                if len > MAX_NAME {
                    return None;
                }
                labels.push(rest.get(..size)?);
                at = at.checked_add(size)?.checked_add(1)?;
            }
            0xc0..=0xff => {
                let target = (size & 0x3f) << 8 | usize::from(*rest.first()?);
                end = end.or(at.checked_add(2));
                if target >= furthest {
                    return None;
                }
                (furthest, at) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> Option<Vec<String>> {
        let join = |labels: Vec<&[u8]>| String::from_utf8_lossy(&labels.join(&b'.')).into_owned();
        read(bytes).map(|names| names.into_iter().map(join).collect())
    }

    #[test]
    fn rfc3397_2_names_may_be_compressed_on_input() {
        // The example in RFC 3397 section 2: eng.apple.com and marketing.apple.com.
        let example = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04";
        assert_eq!(text(example), Some(vec!["eng.apple.com".to_owned(), "marketing.apple.com".to_owned()]));
        assert!(!are_uncompressed(example));
        assert!(are_uncompressed(b"\x03eng\x05apple\x03com\0\x01a\0"));
    }

    #[test]
    fn rfc3397_2_names_are_compressed_as_in_the_example() {
        let whole = b"\x03eng\x05apple\x03com\0\x09marketing\x05apple\x03com\0";
        assert_eq!(compressed(whole), b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04");
        assert_eq!(compressed(b"\x01a\0\x01a\0"), b"\x01a\0\xc0\0");
        assert_eq!(compressed(b"\x01a\0"), b"\x01a\0");
    }

    #[test]
    fn malformed_names_are_refused() {
        let long = [&[63u8; 64][..]; 4].concat();
        for bytes in [
            &b""[..],
            b"\x03en",
            b"\x03eng",
            b"\xc0\x00",
            b"\x01a\xc0\x02",
            b"\xc0",
            b"\x40x\0",
            b"\x01a\xc0\x00",
            &[&long[..], &[0]].concat(),
        ] {
            assert_eq!(read(bytes), None, "{bytes:?}");
            assert!(!are_uncompressed(bytes), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn compressed_names_are_read_again(names in proptest::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,3}", 1..8)) {
            let encode = |name: &String| {
                let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
                [name.split('.').flat_map(label).collect(), vec![0]].concat()
            };
            let whole: Vec<u8> = names.iter().flat_map(encode).collect();
            let short = compressed(&whole);
            prop_assert!(short.len() <= whole.len());
            prop_assert_eq!(text(&short), Some(names));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let names = read(&bytes);
            if are_uncompressed(&bytes) {
                prop_assert!(names.is_some());
            }
        }
    }
}
