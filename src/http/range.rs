//! The Range field (RFC 9110 section 14): one range of bytes, or the whole file.

use std::ops::Range;

/// The part of a file that a Range field requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// The whole file: there is no range, more than one, or a malformed one, which a server may ignore (section 14.2).
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// The file does not have the requested bytes.
    Unsatisfiable,
}

/// Parses a Range field for a file of `size` bytes.
///
/// Several ranges get the whole file: no firmware sends them, and answers with many small parts are a known way to
/// overload servers.
pub(super) fn asked(value: &[u8], size: u64) -> Asked {
    range(value, size).unwrap_or(Asked::Whole)
}

fn range(value: &[u8], size: u64) -> Option<Asked> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, set) = text.split_once('=')?;
    let (first, last) = set.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let part = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let length = number(suffix)?;
            // A suffix range of an empty file is the whole file.
            if size == 0 && length > 0 {
                return None;
            }
            size.saturating_sub(length)..size
        }
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if part.start < part.end { Asked::Part(part) } else { Asked::Unsatisfiable })
}

/// Parses digits. Numbers that are too large become the maximum, because no file is that long.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
