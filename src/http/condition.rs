//! Validators and preconditions (RFC 9110 sections 8.8 and 13). EDK2 uses them to resume a download.

use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

use super::request::Request;

/// The validators of a file, which distinguish its versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validators {
    /// A strong entity tag, including its quotes.
    pub etag: String,
    /// The time of the last change; `None` if that is in the future, which must not be sent (section 8.8.2.1).
    pub modified: Option<HttpDate>,
    /// Whether the second of `modified` is over, so that a further change gets another date. Before that a date may
    /// mean two versions, so neither the date nor a range for it is sent (section 8.8.2.2).
    pub is_settled: bool,
}

impl Validators {
    /// Returns the validators of a file with `size` bytes and inode number `inode`, changed `seconds` and `nanoseconds`
    /// after 1970.
    pub fn of_file(size: u64, inode: u64, seconds: i64, nanoseconds: i64, now: HttpDate) -> Validators {
        let etag = format!("\"{size:x}-{seconds:x}.{nanoseconds:x}-{inode:x}\"");
        let modified = Some(date(seconds)).filter(|modified| *modified <= now);
        Validators { etag, modified, is_settled: date(seconds) < now }
    }
}

/// Returns the date `seconds` after 1970, or the nearest one that HTTP can express.
pub fn date(seconds: i64) -> HttpDate {
    const YEAR_9999_ENDS: u64 = 253_402_300_799;
    let seconds = u64::try_from(seconds).unwrap_or(0).min(YEAR_9999_ENDS);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH).into()
}

/// The result of the preconditions of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Answer as without preconditions.
    Go,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 section 13.2.2. Malformed ones are ignored.
pub(super) fn evaluate(request: &Request<'_>, file: Option<&Validators>) -> Verdict {
    let etag = file.map(|file| file.etag.as_bytes());
    let modified = file.and_then(|file| file.modified);
    let since = |name| request.one(name).and_then(read_date).zip(modified);
    if request.all("if-match").next().is_some() {
        let strong = |tag: Tag<'_>| !tag.is_weak && Some(tag.quoted) == etag;
        if !request.all("if-match").any(|value| value == b"*" || tags(value).any(strong)) {
            return Verdict::Failed;
        }
    } else if since("if-unmodified-since").is_some_and(|(date, modified)| modified > date) {
        return Verdict::Failed;
    }
    if request.all("if-none-match").next().is_some() {
        let weak = |tag: Tag<'_>| Some(tag.quoted) == etag;
        if request.all("if-none-match").any(|value| value == b"*" || tags(value).any(weak)) {
            return Verdict::NotModified;
        }
    } else if since("if-modified-since").is_some_and(|(date, modified)| modified <= date) {
        return Verdict::NotModified;
    }
    Verdict::Go
}

/// Whether the Range field applies: there is no If-Range, or it matches this version of the file (section 13.1.5).
pub(super) fn range_counts(request: &Request<'_>, file: Option<&Validators>) -> bool {
    let mut all = request.all("if-range");
    let Some(value) = all.next() else { return true };
    let Some(file) = file.filter(|_| all.next().is_none()) else { return false };
    let is_date = || file.is_settled && read_date(value).is_some_and(|date| Some(date) == file.modified);
    value == file.etag.as_bytes() || is_date()
}

fn read_date(value: &[u8]) -> Option<HttpDate> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// An entity tag in a list.
struct Tag<'a> {
    is_weak: bool,
    /// The tag, including its quotes.
    quoted: &'a [u8],
}

/// Parses a list of entity tags, up to the first malformed one.
fn tags(list: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let begin = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        rest = rest.get(begin..)?;
        let is_weak = rest.starts_with(b"W/");
        if is_weak {
            rest = rest.get(2..)?;
        }
        let inside = rest.strip_prefix(b"\"")?;
        let length = inside.iter().position(|byte| *byte == b'"')?.checked_add(2)?;
        let (quoted, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(Tag { is_weak, quoted })
    })
}
