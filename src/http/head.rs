//! Encodes the head of an answer.

use std::fmt::{Display, Write};

use httpdate::HttpDate;

use super::request::{Method, Request};

/// The status codes of answers for boot files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(u16, &'static str);

impl Status {
    pub const OK: Status = Status(200, "OK");
    /// A part of the file follows.
    pub const PARTIAL: Status = Status(206, "Partial Content");
    /// The client already has this version.
    pub const NOT_MODIFIED: Status = Status(304, "Not Modified");
    /// The request is not HTTP, or its path is not a file name.
    pub const BAD_REQUEST: Status = Status(400, "Bad Request");
    /// The file exists but cannot be read.
    pub const FORBIDDEN: Status = Status(403, "Forbidden");
    /// No such file exists.
    pub const NOT_FOUND: Status = Status(404, "Not Found");
    /// Files are read-only.
    pub const METHOD_NOT_ALLOWED: Status = Status(405, "Method Not Allowed");
    /// The head did not arrive in time.
    pub const TIMEOUT: Status = Status(408, "Request Timeout");
    /// The file changed since the version that the client wants to resume.
    pub const PRECONDITION_FAILED: Status = Status(412, "Precondition Failed");
    /// The body is longer than any accepted one.
    pub const CONTENT_TOO_LARGE: Status = Status(413, "Content Too Large");
    /// The file does not have those bytes.
    pub const RANGE_NOT_SATISFIABLE: Status = Status(416, "Range Not Satisfiable");
    /// The head is too long.
    pub const FIELDS_TOO_LARGE: Status = Status(431, "Request Header Fields Too Large");
    /// A read from the disk failed.
    pub const INTERNAL_ERROR: Status = Status(500, "Internal Server Error");
    /// There are too many connections, or no free file descriptors.
    pub const UNAVAILABLE: Status = Status(503, "Service Unavailable");

    /// Returns the numeric code.
    pub fn code(self) -> u16 {
        self.0
    }
}

/// A head under construction. Every field has a value, because firmware has hung on an empty one.
pub(super) struct Head(String);

impl Head {
    /// Writes the status line and the fields of every answer. The version is HTTP/1.1 whatever the request had (RFC
    /// 9110 section 6.2).
    pub(super) fn new(status: Status, now: HttpDate) -> Head {
        let Status(code, reason) = status;
        let mut head = String::with_capacity(320);
        let _ = write!(head, "HTTP/1.1 {code} {reason}\r\nServer: lanboot\r\nDate: {now}\r\n");
        Head(head)
    }

    pub(super) fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}: {value}\r\n");
    }

    /// Writes whether the connection stays open, if that differs from the default of the client's version.
    pub(super) fn connection(&mut self, is_1_0: bool, keep_alive: bool) {
        match (is_1_0, keep_alive) {
            (_, false) => self.field("Connection", "close"),
            (true, true) => self.field("Connection", "keep-alive"),
            (false, true) => {}
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// Encodes a complete answer to a request that gets no file, with a line of text for people. `request` is `None` if it
/// could not be decoded; the connection then ends.
pub fn refusal(status: Status, why: &str, request: Option<&Request<'_>>, now: HttpDate) -> Vec<u8> {
    let mut head = Head::new(status, now);
    head.field("Content-Type", super::media::TEXT);
    head.field("Content-Length", why.len().saturating_add(1));
    if status == Status::UNAVAILABLE {
        head.field("Retry-After", 1);
    }
    head.connection(request.is_some_and(|r| r.is_1_0), request.is_some_and(|r| r.keep_alive));
    let mut answer = head.finish();
    if request.is_none_or(|request| request.method != Method::Head) {
        answer.extend_from_slice(why.as_bytes());
        answer.push(b'\n');
    }
    answer
}
