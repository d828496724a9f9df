//! Parsing HTTP requests and the names in them, and the answers with their ranges of a file.

use std::ops::Range;

use lanboot::boot::name::BootName;
use lanboot::http::{
    Answer, HEAD_LIMIT, Method, Request, Resource, Status, Validators, answer, date, head_length, refusal,
    target,
};

use super::bytes::Bytes;

/// Sun, 06 Nov 1994 08:49:37 GMT, the modification time of the files.
const CHANGED: i64 = 784_111_777;
/// Maximum number of requests that are checked on one connection.
const MAX_REQUESTS: usize = 16;

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let resource = resource(&mut bytes);
    if bytes.u8() % 2 == 0 {
        let mut rest = bytes.0;
        for _ in 0..MAX_REQUESTS {
            let Some(length) = head(rest, &resource) else { break };
            rest = &rest[length..];
        }
    } else {
        let text = composed(&mut bytes, &resource);
        assert_eq!(head(&text, &resource), Some(text.len()), "{:?}", String::from_utf8_lossy(&text));
        let request = Request::parse(&text);
        assert!(request.is_ok() || text.len() > HEAD_LIMIT, "{request:?}");
    }
}

/// A file or a rendered text of any size.
fn resource(bytes: &mut Bytes<'_>) -> Resource {
    let size = match bytes.u8() % 8 {
        0 => 0,
        1 => 1,
        2 => u64::from(u32::MAX) + 1,
        3 => i64::MAX as u64,
        4 => u64::MAX,
        _ => u64::from(bytes.u16()),
    };
    let now = date(CHANGED + i64::from(bytes.u8() % 3) - 1);
    let validators = Validators::of_file(size, 7, CHANGED, 5, now);
    let validators = Some(validators).filter(|_| !bytes.u8().is_multiple_of(4));
    Resource { size, media: "application/efi", validators }
}

/// A request in the form of RFC 9112, made of meaningful pieces.
fn composed(bytes: &mut Bytes<'_>, resource: &Resource) -> Vec<u8> {
    let method = bytes.pick(&["GET", "HEAD", "GET", "POST", "OPTIONS"]);
    let mut target = bytes.pick(&["/", "//", "http://x/", "/."]).to_owned();
    for _ in 0..bytes.u8() % 8 {
        target.push_str(bytes.pick(&[
            "a", "/", "..", "%2e", "%2E%2e", "%2f", "%00", "%5c", "%25", "?", "%ff", "%", ":", ";", "%0a",
            "~",
        ]));
    }
    let version = bytes.pick(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let mut text = format!("{method} {target} {version}\r\nHost: x\r\n");
    let etag = resource.validators.as_ref().map_or("\"x\"", |file| &file.etag);
    for _ in 0..bytes.u8() % 6 {
        let name = bytes.pick(&[
            "Range",
            "If-Range",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "If-Unmodified-Since",
            "Connection",
            "Content-Length",
            "Transfer-Encoding",
        ]);
        let number = bytes.pick(&["", "0", "1", "99", "65535", "4294967296", "18446744073709551616", "-1"]);
        let other = bytes.pick(&["", "0", "5", "200", "9223372036854775807", "x"]);
        let value = match bytes.u8() % 8 {
            0..=2 => format!("bytes={number}-{other}"),
            3 => etag.to_owned(),
            4 => format!("W/{etag}, \"y\", *"),
            5 => date(CHANGED + i64::from(bytes.u8() % 3) - 1).to_string(),
            6 => bytes.pick(&["close", "keep-alive", "*", "chunked", "Keep-Alive, x"]).to_owned(),
            _ => number.to_owned(),
        };
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Checks the request at the start of `bytes`. Returns the length of its head if another request may follow.
fn head(bytes: &[u8], resource: &Resource) -> Option<usize> {
    let length = head_length(bytes)?;
    let head = &bytes[..length];
    assert_eq!(head_length(head), Some(length), "what follows changes nothing");
    assert_eq!(head_length(&head[..length - 1]), None, "and nothing shorter is a head");
    let Ok(request) = Request::parse(head) else { return Some(length) };
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let read = httparse::Request::new(&mut fields).parse(head);
    assert_eq!(
        read,
        Ok(httparse::Status::Complete(length)),
        "where the next request begins is not agreed upon"
    );
    assert!(request.is_1_0 || request.all("host").count() == 1);
    assert!(!(request.is_plain() && request.body_length().is_some_and(|length| length > 0)));
    named(request.target);
    if request.is_plain() {
        answered(&request, &answer(&request, resource, date(CHANGED)), resource);
    }
    for status in [Status::NOT_FOUND, Status::UNAVAILABLE] {
        let whole = refusal(status, "why", Some(&request), date(CHANGED));
        let (fields, body) = split(&whole);
        let is_head = request.method == Method::Head;
        assert_eq!((number(&fields, "Content-Length"), body.len()), (Some(4), if is_head { 0 } else { 4 }));
    }
    Some(length)
}

/// A name is inside the folder. It decodes to the same name if every byte is escaped, because it is decoded once.
fn named(target: &str) {
    let Ok(name) = target::name(target) else { return };
    assert_eq!(name.first(), Some(&b'/'), "{target:?}");
    assert!(!name.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'), "{target:?}");
    assert!(name.split(|byte| *byte == b'/').all(|part| part != b".."), "{target:?}");
    let escaped: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(target::name(&format!("/{escaped}?{target}")).as_deref(), Ok(&*[b"/", &*name].concat()));
    for name in BootName::candidates(&name) {
        let text = name.as_str();
        assert!(!text.starts_with('/') && !text.contains(['\\', '\0']) && text.len() <= BootName::LIMIT);
        assert!(name.components().all(|part| !matches!(part, "" | "." | "..")), "{text:?}");
    }
}

/// The head describes the body, the part is inside the file, and each status has its cause.
fn answered(request: &Request<'_>, Answer { status, head, body }: &Answer, resource: &Resource) {
    let (fields, after) = split(head);
    assert!(after.is_empty());
    let size = resource.size;
    assert!(body.start <= body.end && body.end <= size, "{body:?} of {size}");
    let sent = body.end - body.start;
    let has = |name| request.all(name).next().is_some();
    let is_head = request.method == Method::Head;
    let length = number(&fields, "Content-Length");
    let part = value(&fields, "Content-Range");
    match status.code() {
        200 => {
            assert!(length == Some(size) && part.is_none());
            assert!(if is_head { sent == 0 } else { *body == (0..size) });
        }
        206 => {
            assert!(length == Some(sent) && sent > 0 && !is_head && has("range"));
            assert_eq!(part, Some(&*format!("bytes {}-{}/{size}", body.start, body.end - 1)));
        }
        304 => assert!(length.is_none() && sent == 0 && (has("if-none-match") || has("if-modified-since"))),
        412 => assert!(length == Some(0) && sent == 0 && (has("if-match") || has("if-unmodified-since"))),
        416 => {
            assert!(length == Some(0) && sent == 0 && !is_head && has("range"));
            assert_eq!(part, Some(&*format!("bytes */{size}")));
        }
        other => panic!("status {other}"),
    }
    assert_eq!(value(&fields, "Connection") == Some("close"), !request.keep_alive);
    let conditional = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];
    if !is_head && !conditional.into_iter().any(has) {
        let wanted = request.one("range").and_then(|range| asked_plainly(range, size));
        if let Some(wanted) = wanted {
            let expected = if wanted.is_empty() { (416, 0..0) } else { (206, wanted) };
            assert_eq!((status.code(), body.clone()), expected);
        }
    }
}

/// `bytes=first-last` with few digits, as RFC 9110 section 14.1.2 reads it.
fn asked_plainly(range: &[u8], size: u64) -> Option<Range<u64>> {
    let (first, last) = std::str::from_utf8(range).ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let plain = |text: &str| text.len() < 15 && text.bytes().all(|byte| byte.is_ascii_digit());
    if first.is_empty() || !plain(first) || !plain(last) {
        return None;
    }
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { u64::MAX - 1 } else { last.parse().ok()? };
    (first <= last).then(|| first.min(size)..(last + 1).min(size).max(first.min(size)))
}

/// The fields of an answer in the form of RFC 9112, and the bytes after its head.
fn split(answer: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut read = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = read.parse(answer) else {
        panic!("{:?}", String::from_utf8_lossy(answer));
    };
    let fields: Vec<(String, String)> = read
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), String::from_utf8(field.value.to_vec()).unwrap()))
        .collect();
    for (i, (name, text)) in fields.iter().enumerate() {
        assert!(!text.is_empty() && !name.eq_ignore_ascii_case("transfer-encoding"), "{name}: {text:?}");
        assert!(fields[..i].iter().all(|(other, _)| other != name), "{name} twice");
    }
    (fields, &answer[length..])
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

fn number(fields: &[(String, String)], name: &str) -> Option<u64> {
    value(fields, name).map(|value| value.parse().unwrap())
}
