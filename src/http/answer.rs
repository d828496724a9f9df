//! The answer to a GET or HEAD of an existing file.

use std::ops::Range;

use httpdate::HttpDate;

use super::condition::{Validators, Verdict, evaluate, range_counts};
use super::head::{Head, Status};
use super::range::{Asked, asked};
use super::request::{Method, Request};

/// A file, or a generated text served as one.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The size in bytes.
    pub size: u64,
    /// The content type.
    pub media: &'static str,
    /// The version of the file; `None` for text generated for this request.
    pub validators: Option<Validators>,
}

/// The head of an answer, and the range of the file that follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: Status,
    /// The head, including its empty line.
    pub head: Vec<u8>,
    /// The bytes of the file that follow; empty for HEAD.
    pub body: Range<u64>,
}

/// Answers `request`, a GET or HEAD without a body, with `resource` at the time `now`.
///
/// HEAD gets the same fields as GET (RFC 9110 section 9.3.2); EDK2 reads the file size there.
pub fn answer(request: &Request<'_>, resource: &Resource, now: HttpDate) -> Answer {
    let Resource { size, media, validators } = resource;
    let validators = validators.as_ref();
    let (status, part) = match evaluate(request, validators) {
        Verdict::NotModified => (Status::NOT_MODIFIED, 0..0),
        Verdict::Failed => (Status::PRECONDITION_FAILED, 0..0),
        Verdict::Go => match wanted(request, *size, validators) {
            Asked::Whole => (Status::OK, 0..*size),
            Asked::Part(part) => (Status::PARTIAL, part),
            Asked::Unsatisfiable => (Status::RANGE_NOT_SATISFIABLE, 0..0),
        },
    };
    let mut head = Head::new(status, now);
    if matches!(status, Status::OK | Status::PARTIAL) {
        head.field("Content-Type", media);
    }
    if status != Status::NOT_MODIFIED {
        head.field("Content-Length", part.end.saturating_sub(part.start));
    }
    match status {
        Status::PARTIAL => {
            let last = part.end.saturating_sub(1);
            head.field("Content-Range", format_args!("bytes {}-{last}/{size}", part.start));
        }
        Status::RANGE_NOT_SATISFIABLE => head.field("Content-Range", format_args!("bytes */{size}")),
        _ => {}
    }
    head.field("Accept-Ranges", "bytes");
    if let Some(Validators { etag, modified, is_settled }) = validators {
        head.field("ETag", etag);
        if let Some(modified) = modified.filter(|_| *is_settled) {
            head.field("Last-Modified", modified);
        }
    }
    head.connection(request.is_1_0, request.keep_alive);
    let body = if request.method == Method::Head { 0..0 } else { part };
    Answer { status, head: head.finish(), body }
}

/// Returns the requested range. Only GET has ranges (RFC 9110 section 14.2).
fn wanted(request: &Request<'_>, size: u64, validators: Option<&Validators>) -> Asked {
    let range = request.one("range").filter(|_| request.method == Method::Get);
    match range.filter(|_| range_counts(request, validators)) {
        Some(value) => asked(value, size),
        None => Asked::Whole,
    }
}
