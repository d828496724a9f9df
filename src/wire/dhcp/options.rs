//! The options of a message: an ordered list, joined from the fields when decoded and split when encoded (RFC 2132, RFC
//! 3396).

use std::net::Ipv4Addr;

use crate::wire::option::{HTTP_CLIENT, code};

const PAD: u8 = 0;
/// The code that ends the options of a field.
pub(super) const END: u8 = 255;

/// Options in the order of their first appearance, each once. The parts of a split option are joined, wherever they are
/// (RFC 3396 section 7).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    entries: Vec<Entry>,
    values: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    code: u8,
    start: usize,
    len: usize,
}

impl Options {
    /// Decodes the options field and, if option 52 says so, `file` and then `sname` (RFC 2131 section 4.1), each at
    /// most once. The flag says whether a field ended in the middle of an option.
    pub(super) fn decode(area: &[u8], file: &[u8], sname: &[u8]) -> (Options, bool) {
        let mut pieces = Vec::with_capacity(24);
        let mut truncated = walk(area, &mut pieces);
        let overload =
            pieces.iter().find(|(code, _)| *code == code::OVERLOAD).map_or(&[][..], |(_, value)| value);
        if matches!(overload, [1 | 3]) {
            truncated |= walk(file, &mut pieces);
        }
        if matches!(overload, [2 | 3]) {
            truncated |= walk(sname, &mut pieces);
        }
        // Only the first option 52 counts. Further ones, and those in overloaded fields, are ignored.
        let mut first = true;
        pieces.retain(|(code, _)| *code != code::OVERLOAD || std::mem::take(&mut first));
        (Options::join(&pieces), truncated)
    }

    /// Joins the parts of each option in order: one pass finds the split options, one copies.
    fn join(pieces: &[(u8, &[u8])]) -> Options {
        let (mut to_come, mut in_pieces) = ([false; 256], [false; 256]);
        let mut total = 0usize;
        for (code, piece) in pieces {
            total = total.saturating_add(piece.len());
            let code = usize::from(*code);
            if let (Some(to_come), Some(in_pieces)) = (to_come.get_mut(code), in_pieces.get_mut(code)) {
                *in_pieces |= std::mem::replace(to_come, true);
            }
        }
        let mut options = Options::with_capacity(pieces.len(), total);
        for (i, (code, piece)) in pieces.iter().enumerate() {
            if !to_come.get_mut(usize::from(*code)).is_some_and(std::mem::take) {
                continue;
            }
            let start = options.values.len();
            options.values.extend_from_slice(piece);
            if in_pieces.get(usize::from(*code)) == Some(&true) {
                let more = pieces.iter().skip(i.saturating_add(1)).filter(|(other, _)| other == code);
                more.for_each(|(_, piece)| options.values.extend_from_slice(piece));
            }
            let len = options.values.len().saturating_sub(start);
            options.entries.push(Entry { code: *code, start, len });
        }
        options
    }

    /// Makes an empty list with room for `count` options of `bytes` bytes in all.
    pub fn with_capacity(count: usize, bytes: usize) -> Options {
        Options { entries: Vec::with_capacity(count), values: Vec::with_capacity(bytes) }
    }

    /// Returns the joined value of option `code`; `None` if it is absent.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| entry.code == code)?;
        self.value(*entry)
    }

    /// Returns all options in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.entries.iter().filter_map(|entry| Some((entry.code, self.value(*entry)?)))
    }

    fn value(&self, entry: Entry) -> Option<&[u8]> {
        self.values.get(entry.start..entry.start.saturating_add(entry.len))
    }

    /// Returns option `code` if it has exactly one byte.
    pub fn u8(&self, code: u8) -> Option<u8> {
        self.fixed(code).map(u8::from_be_bytes)
    }

    /// Returns option `code` if it has exactly two bytes.
    pub fn u16(&self, code: u8) -> Option<u16> {
        self.fixed(code).map(u16::from_be_bytes)
    }

    /// Returns option `code` if it has exactly four bytes.
    pub fn u32(&self, code: u8) -> Option<u32> {
        self.fixed(code).map(u32::from_be_bytes)
    }

    /// Returns option `code` if it is exactly one address.
    pub fn ip(&self, code: u8) -> Option<Ipv4Addr> {
        self.fixed(code).map(|octets: [u8; 4]| Ipv4Addr::from(octets))
    }

    fn fixed<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.get(code)?.try_into().ok()
    }

    /// Appends option `code`. Returns false and changes nothing if the option is present already, or the code is PAD or
    /// END.
    pub fn push(&mut self, code: u8, value: &[u8]) -> bool {
        if matches!(code, PAD | END) || self.get(code).is_some() {
            return false;
        }
        self.entries.push(Entry { code, start: self.values.len(), len: value.len() });
        self.values.extend_from_slice(value);
        true
    }

    /// Returns the encoded length of all options in bytes, without END.
    pub fn encoded_len(&self) -> usize {
        self.iter().fold(0, |sum: usize, (code, value)| sum.saturating_add(encoded_len(code, value)))
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        for (code, value) in self.iter() {
            if value.is_empty() {
                out.extend_from_slice(&[code, 0]);
            }
            // RFC 3396 section 6: a value longer than 255 bytes is split.
            for piece in value.chunks(255) {
                out.push(code);
                out.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(piece);
            }
            if is_padded(code, value) {
                out.push(PAD);
            }
        }
    }
}

/// Returns the encoded length of one option: its bytes, and two bytes per part of at most 255.
pub fn encoded_len(code: u8, value: &[u8]) -> usize {
    let len = value.len().saturating_add(value.len().div_ceil(255).max(1).saturating_mul(2));
    len.saturating_add(usize::from(is_padded(code, value)))
}

/// Whether a PAD must follow the option. GRUB compares option 60 with `HTTPClient` as a C string, so the byte after the
/// value must be zero (rhboot grub `net/bootp.c`). The zero is not part of the value, because other clients expect
/// exactly ten bytes.
fn is_padded(code: u8, value: &[u8]) -> bool {
    code == code::VENDOR_CLASS && value == HTTP_CLIENT
}

/// Collects the options of one field up to END or the end of the field. Returns whether an option was truncated.
fn walk<'a>(mut area: &'a [u8], pieces: &mut Vec<(u8, &'a [u8])>) -> bool {
    loop {
        match area {
            [] | [END, ..] => return false,
            [PAD, rest @ ..] => area = rest,
            [_] => return true,
            [code, len, rest @ ..] => match rest.split_at_checked(usize::from(*len)) {
                Some((value, rest)) => {
                    pieces.push((*code, value));
                    area = rest;
                }
                None => return true,
            },
        }
    }
}
