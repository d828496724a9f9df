//! Statements of RFC 9110 (HTTP semantics), RFC 9112 (HTTP/1.1) and RFC 3986 that serving boot files relies on, each
//! test named after its section. Bytes in, bytes out: no sockets.

use std::ops::Range;

use httpdate::HttpDate;
use lanboot::http::{
    Answer, BadHead, Method, Request, Resource, Status, Validators, answer, date, head_length, refusal,
    target,
};
use proptest::prelude::*;

/// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
const MODIFIED: i64 = 784_111_777;
const MODIFIED_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const SIZE: u64 = 1000;

fn now() -> HttpDate {
    date(MODIFIED + 3600)
}

fn validators() -> Validators {
    Validators::of_file(SIZE, 7, MODIFIED, 5, now())
}

fn file() -> Resource {
    Resource { size: SIZE, media: "application/efi", validators: Some(validators()) }
}

/// An HTTP/1.1 request for /x with these fields, a line each.
fn request(method: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{method} /x HTTP/1.1\r\nHost: 192.168.77.1\r\n{fields}\r\n")
}

fn ask(resource: &Resource, text: &str) -> Answer {
    answer(&Request::parse(text.as_bytes()).unwrap(), resource, now())
}

fn get(fields: &[&str]) -> Answer {
    ask(&file(), &request("GET", fields))
}

/// The value of a field of an answer's head; panics when it is there twice.
fn field(head: &[u8], name: &str) -> Option<String> {
    let head = std::str::from_utf8(head).unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(other, _)| *other == name).map(|(_, value)| value.to_owned());
    let first = values.next();
    assert_eq!(values.next(), None, "{name} twice in {head}");
    first
}

fn bad(text: &str) -> Option<BadHead> {
    Request::parse(text.as_bytes()).err()
}

fn named(target: &str) -> Option<String> {
    target::name(target).ok().map(|name| String::from_utf8_lossy(&name).into_owned())
}

#[test]
fn rfc9112_2_2_empty_lines_before_a_request_are_ignored() {
    let text = format!("\r\n\r\n{}", request("GET", &[]));
    assert_eq!(head_length(text.as_bytes()), Some(text.len()));
    assert_eq!(Request::parse(text.as_bytes()).unwrap().target, "/x");
}

#[test]
fn rfc9112_3_a_request_line_is_method_target_and_version() {
    for wrong in
        ["GET /x\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "/x\r\n\r\n", "GET /x HTTP/2.0\r\n\r\n", "\0\r\n\r\n"]
    {
        assert_eq!(bad(wrong), Some(BadHead::Malformed), "{wrong:?}");
    }
    let methods = ["GET", "HEAD", "POST", "get", "PROPFIND"]
        .map(|method| Request::parse(request(method, &[]).as_bytes()).unwrap().method);
    assert_eq!(methods, [Method::Get, Method::Head, Method::Other, Method::Other, Method::Other]);
}

#[test]
fn rfc9112_3_2_a_request_without_exactly_one_host_is_bad_but_http_1_0_needs_none() {
    assert_eq!(bad("GET /x HTTP/1.1\r\n\r\n"), Some(BadHead::Host));
    assert_eq!(bad(&request("GET", &["Host: other"])), Some(BadHead::Host));
    assert_eq!(bad("GET /x HTTP/1.0\r\n\r\n"), None, "lpxelinux");
}

#[test]
fn rfc9112_3_2_1_the_query_is_no_part_of_the_name() {
    assert_eq!(named("/a/b.ipxe?mac=52:54:00:12:34:56").as_deref(), Some("/a/b.ipxe"));
    assert_eq!(named("/?x").as_deref(), Some("/"));
}

#[test]
fn rfc9112_3_2_2_an_absolute_uri_is_accepted() {
    assert_eq!(named("http://192.168.77.1/a/b").as_deref(), Some("/a/b"));
    assert_eq!(named("HTTP://192.168.77.1:8080//b").as_deref(), Some("//b"));
    assert_eq!(named("http://192.168.77.1").as_deref(), Some("/"));
    for other in ["*", "192.168.77.1:80", "x", "", "ftp://a/b", "file:///etc/passwd", "://x"] {
        assert_eq!(named(other), None, "{other:?}");
    }
}

#[test]
fn rfc3986_2_1_escapes_are_decoded_once() {
    assert_eq!(named("/a%20b%2Fc%c3%b6").as_deref(), Some("/a b/cö"));
    assert_eq!(named("/%252e%252e/x").as_deref(), Some("/%2e%2e/x"), "a file of that name, if there is one");
    for wrong in ["/%", "/%4", "/%zz", "/%+1", "/a%2"] {
        assert_eq!(named(wrong), None, "{wrong}");
    }
}

/// RFC 3986 section 5.2.4 requires clients to remove dot segments. `boot::name` decides what `//` means.
#[test]
fn rfc3986_5_2_4_paths_that_could_leave_the_root_are_refused() {
    for wrong in ["/../x", "/..", "/a/../../x", "/%2e%2e/x", "/.%2E", "/a/%2e./b", "/..%2fx", "http://h/../x"]
    {
        assert_eq!(named(wrong), None, "{wrong}");
    }
    for wrong in ["/a\\b", "/..\\x", "/a%5cb", "/a%00", "/a%0d%0aSet-Cookie:x", "/%1b[2J", "/%7f", "/a#b"] {
        assert_eq!(named(wrong), None, "{wrong}");
    }
    for harmless in ["//x", "/./x", "/...", "/a..b", "/..;/x", "/~root", "/%2e/x"] {
        assert!(named(harmless).is_some(), "{harmless}");
    }
}

#[test]
fn rfc9112_5_1_a_space_before_the_colon_and_a_folded_line_are_bad() {
    for wrong in ["Range : bytes=0-1", "A: b\r\n c", "no colon"] {
        assert_eq!(bad(&request("GET", &[wrong])), Some(BadHead::Malformed), "{wrong:?}");
    }
    assert_eq!(get(&["range:bytes=0-1"]).body, 0..2, "any case, no space needed");
}

#[test]
fn rfc9112_6_3_a_request_with_a_body_is_not_plain() {
    let plain =
        |method, fields: &[&str]| Request::parse(request(method, fields).as_bytes()).unwrap().is_plain();
    assert!(plain("GET", &[]) && plain("HEAD", &["Content-Length: 0"]));
    assert!(!plain("GET", &["Content-Length: 5"]) && !plain("GET", &["Transfer-Encoding: chunked"]));
    assert!(!plain("POST", &[]));
}

#[test]
fn rfc9112_9_3_a_connection_stays_unless_one_side_says_otherwise() {
    let stays = |text: &str| Request::parse(text.as_bytes()).unwrap().keep_alive;
    assert!(stays(&request("GET", &[])) && stays(&request("HEAD", &[])), "EDK2 asks GET after HEAD");
    for close in ["Connection: close", "Connection: Keep-Alive, CLOSE"] {
        assert!(!stays(&request("GET", &[close])));
        assert_eq!(field(&get(&[close]).head, "Connection").as_deref(), Some("close"));
    }
    assert_eq!(field(&get(&[]).head, "Connection"), None);
    let old = |fields: &str| format!("GET /x HTTP/1.0\r\n{fields}\r\n");
    assert!(!stays(&old("")) && stays(&old("Connection: keep-alive\r\n")));
    let kept = ask(&file(), &old("Connection: keep-alive\r\n"));
    assert_eq!(field(&kept.head, "Connection").as_deref(), Some("keep-alive"));
}

#[test]
fn rfc9110_5_4_a_head_has_limits() {
    let fields: Vec<String> = (0..64).map(|n| format!("X-{n}: y")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    assert_eq!(bad(&request("GET", &fields[..63])), None);
    assert_eq!(bad(&request("GET", &fields)), Some(BadHead::TooLarge), "Host is the 65th");
    assert_eq!(bad(&request("GET", &[&format!("X: {}", "y".repeat(16 << 10))])), Some(BadHead::TooLarge));
}

#[test]
fn rfc9110_6_6_1_every_answer_has_a_date_and_no_field_is_empty() {
    let bad_request = refusal(Status::BAD_REQUEST, "why", None, now());
    for head in
        [get(&[]).head, get(&["Range: bytes=2000-"]).head, get(&["If-None-Match: *"]).head, bad_request]
    {
        assert_eq!(field(&head, "Date").as_deref(), Some("Sun, 06 Nov 1994 09:49:37 GMT"));
        let text = String::from_utf8(head).unwrap();
        let (fields, _) = text.split_once("\r\n\r\n").expect("an empty line ends it");
        // Old OVMF hung on a field without a value (edk2#7443).
        let full = |line: &str| {
            line.split_once(": ").is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
        };
        assert!(fields.split("\r\n").skip(1).all(full), "{text}");
    }
}

#[test]
fn rfc9110_8_6_the_length_is_exact_and_nothing_is_chunked() {
    let whole = get(&[]);
    assert_eq!((whole.status, whole.body), (Status::OK, 0..SIZE));
    assert_eq!(field(&whole.head, "Content-Length").as_deref(), Some("1000"));
    assert_eq!(field(&whole.head, "Transfer-Encoding"), None);
    assert_eq!(field(&whole.head, "Content-Type").as_deref(), Some("application/efi"));
    let empty = ask(&Resource { size: 0, ..file() }, &request("GET", &[]));
    assert_eq!((empty.status, empty.body), (Status::OK, 0..0));
    assert_eq!(field(&empty.head, "Content-Length").as_deref(), Some("0"));
}

#[test]
fn rfc9110_8_8_2_1_a_date_later_than_now_is_not_sent() {
    let ahead = Validators::of_file(SIZE, 7, MODIFIED + 7200, 0, now());
    let answer = ask(&Resource { validators: Some(ahead), ..file() }, &request("GET", &[]));
    assert_eq!(field(&answer.head, "Last-Modified"), None);
    assert!(field(&answer.head, "ETag").is_some());
    for seconds in [i64::MIN, -1, 0, 253_402_300_799, 253_402_300_800, i64::MAX] {
        assert!(date(seconds).to_string().ends_with(" GMT"), "{seconds}");
    }
}

#[test]
fn rfc9110_8_8_2_2_a_date_means_one_version_when_its_second_is_over() {
    let at = |now: i64, fields: &[&str]| {
        let validators = Validators::of_file(SIZE, 7, MODIFIED, 5, date(now));
        ask(&Resource { validators: Some(validators), ..file() }, &request("GET", fields))
    };
    let range = ["Range: bytes=10-19", &format!("If-Range: {MODIFIED_TEXT}")];
    assert_eq!(field(&at(MODIFIED, &[]).head, "Last-Modified"), None);
    assert_eq!(at(MODIFIED, &range).status, Status::OK, "it may be changed once more in that second");
    assert_eq!(field(&at(MODIFIED + 1, &[]).head, "Last-Modified").as_deref(), Some(MODIFIED_TEXT));
    assert_eq!(at(MODIFIED + 1, &range).status, Status::PARTIAL);
    let earlier = "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT";
    assert_eq!(at(MODIFIED, &[earlier]).status, Status::PRECONDITION_FAILED, "it is another one than before");
}

#[test]
fn rfc9110_8_8_3_the_tag_changes_with_the_file() {
    let tag = |size, inode, seconds, nanoseconds| {
        Validators::of_file(size, inode, seconds, nanoseconds, now()).etag
    };
    let first = tag(1000, 7, MODIFIED, 5);
    assert!(first.starts_with('"') && first.ends_with('"') && !first[1..first.len() - 1].contains('"'));
    for other in
        [(1001, 7, MODIFIED, 5), (1000, 8, MODIFIED, 5), (1000, 7, MODIFIED + 1, 5), (1000, 7, MODIFIED, 6)]
    {
        assert_ne!(tag(other.0, other.1, other.2, other.3), first, "{other:?}");
    }
    assert_eq!(field(&get(&[]).head, "ETag").as_deref(), Some(&*first));
    assert_eq!(field(&get(&[]).head, "Last-Modified").as_deref(), Some(MODIFIED_TEXT));
}

#[test]
fn rfc9110_9_3_2_head_is_get_without_the_file() {
    for fields in [&[][..], &["If-None-Match: *"], &["If-Match: \"other\""], &["Connection: close"]] {
        let (get, head) = (get(fields), ask(&file(), &request("HEAD", fields)));
        assert_eq!((get.head, get.status), (head.head, head.status), "{fields:?}");
        assert_eq!(head.body, 0..0);
    }
    let missing = |method| {
        let text = request(method, &[]);
        refusal(Status::NOT_FOUND, "no", Some(&Request::parse(text.as_bytes()).unwrap()), now())
    };
    let (get, head) = (missing("GET"), missing("HEAD"));
    assert_eq!(get.strip_prefix(&head[..]), Some(&b"no\n"[..]));
}

#[test]
fn rfc9110_13_1_1_if_match_goes_on_only_with_the_same_version() {
    let tag = validators().etag;
    for same in [format!("If-Match: {tag}"), format!("If-Match: \"a\" , W/\"b\",{tag}"), "If-Match: *".into()]
    {
        assert_eq!(get(&[&same]).status, Status::OK, "{same}");
    }
    for other in ["If-Match: \"other\"".to_owned(), format!("If-Match: W/{tag}"), "If-Match: x".into()] {
        let answer = get(&[&other]);
        assert_eq!((answer.status, answer.body), (Status::PRECONDITION_FAILED, 0..0), "{other}");
    }
    assert_eq!(
        get(&["If-Match: \"a\"", &format!("If-Match: {tag}")]).status,
        Status::OK,
        "a list in two fields"
    );
}

#[test]
fn rfc9110_13_1_2_if_none_match_saves_a_transfer() {
    let tag = validators().etag;
    for same in
        [format!("If-None-Match: {tag}"), format!("If-None-Match: W/{tag}"), "If-None-Match: *".into()]
    {
        let answer = get(&[&same]);
        assert_eq!((answer.status, answer.body), (Status::NOT_MODIFIED, 0..0), "{same}");
        assert_eq!(
            field(&answer.head, "Content-Length"),
            None,
            "section 15.4.5: there is no body to measure"
        );
        assert_eq!(field(&answer.head, "ETag").as_deref(), Some(&*tag));
    }
    assert_eq!(get(&["If-None-Match: \"other\""]).status, Status::OK);
}

#[test]
fn rfc9110_13_1_3_and_4_dates_count_in_all_three_forms() {
    let forms = [MODIFIED_TEXT, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
    for form in forms {
        assert_eq!(get(&[&format!("If-Modified-Since: {form}")]).status, Status::NOT_MODIFIED, "{form}");
        assert_eq!(get(&[&format!("If-Unmodified-Since: {form}")]).status, Status::OK, "{form}");
    }
    let earlier = "Sun, 06 Nov 1994 08:49:36 GMT";
    assert_eq!(get(&[&format!("If-Modified-Since: {earlier}")]).status, Status::OK);
    assert_eq!(get(&[&format!("If-Unmodified-Since: {earlier}")]).status, Status::PRECONDITION_FAILED);
    assert_eq!(get(&["If-Unmodified-Since: yesterday"]).status, Status::OK, "what is no date does not count");
}

#[test]
fn rfc9110_13_1_5_a_range_of_another_version_gets_the_whole_file() {
    let with = |if_range: &str| get(&["Range: bytes=10-19", &format!("If-Range: {if_range}")]).status;
    assert_eq!(with(&validators().etag), Status::PARTIAL);
    assert_eq!(with(MODIFIED_TEXT), Status::PARTIAL);
    assert_eq!(with(&format!("W/{}", validators().etag)), Status::OK, "only a strong tag");
    assert_eq!(with("\"other\""), Status::OK);
    assert_eq!(with("Sun, 06 Nov 1994 08:49:38 GMT"), Status::OK, "an exact date");
}

#[test]
fn rfc9110_13_2_2_preconditions_have_an_order() {
    let tag = validators().etag;
    let earlier = "Sun, 06 Nov 1994 08:49:36 GMT";
    let matched = format!("If-Match: {tag}");
    let unmodified = format!("If-Unmodified-Since: {earlier}");
    assert_eq!(get(&[&matched, &unmodified]).status, Status::OK, "If-Match outdoes the date");
    let modified = format!("If-Modified-Since: {MODIFIED_TEXT}");
    assert_eq!(
        get(&["If-None-Match: \"other\"", &modified]).status,
        Status::OK,
        "If-None-Match outdoes the date"
    );
    assert_eq!(
        get(&["If-Match: \"other\"", "Range: bytes=0-1"]).status,
        Status::PRECONDITION_FAILED,
        "before Range"
    );
}

/// Resumes as EDK2 does (HttpBootClient.c): with a range, and with the version that the download began with.
#[test]
fn rfc9110_13_edk2_resumes_only_what_it_began() {
    let resumed = get(&["Range: bytes=600-999", &format!("If-Match: {}", validators().etag)]);
    assert_eq!((resumed.status, resumed.body), (Status::PARTIAL, 600..1000));
    let dated = get(&["Range: bytes=600-999", &format!("If-Unmodified-Since: {MODIFIED_TEXT}")]);
    assert_eq!((dated.status, dated.body), (Status::PARTIAL, 600..1000));
}

fn range(value: &str) -> (u16, Range<u64>) {
    let answer = get(&[&format!("Range: {value}")]);
    (answer.status.code(), answer.body)
}

#[test]
fn rfc9110_14_1_2_one_range_of_bytes_is_served() {
    assert_eq!(range("bytes=0-499"), (206, 0..500));
    assert_eq!(range("bytes=500-"), (206, 500..1000));
    assert_eq!(range("bytes=999-999"), (206, 999..1000));
    assert_eq!(range("bytes=900-5000"), (206, 900..1000));
    assert_eq!(range("bytes=-1"), (206, 999..1000));
    assert_eq!(range("bytes=-5000"), (206, 0..1000));
    assert_eq!(range("Bytes=0-99999999999999999999999"), (206, 0..1000));
    let part = get(&["Range: bytes=500-"]);
    assert_eq!(field(&part.head, "Content-Range").as_deref(), Some("bytes 500-999/1000"));
    assert_eq!(field(&part.head, "Content-Length").as_deref(), Some("500"));
}

#[test]
fn rfc9110_14_2_ranges_that_are_not_understood_are_ignored() {
    for value in [
        "bytes=0-1,5-6",
        "bytes=5-2",
        "bytes=",
        "bytes=-",
        "bytes",
        "lines=0-1",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=0x1-2",
    ] {
        assert_eq!(range(value), (200, 0..1000), "{value}");
    }
    assert_eq!(get(&["Range: bytes=0-1", "Range: bytes=5-6"]).body, 0..1000, "two fields are a list of two");
    let head = ask(&file(), &request("HEAD", &["Range: bytes=0-1"]));
    assert_eq!(field(&head.head, "Content-Length").as_deref(), Some("1000"), "ranges are for GET alone");
}

#[test]
fn rfc9110_14_4_bytes_that_are_not_there_are_refused_with_the_size() {
    for value in ["bytes=1000-", "bytes=1000-2000", "bytes=99999999999999999999999-", "bytes=-0"] {
        assert_eq!(range(value), (416, 0..0), "{value}");
    }
    let answer = get(&["Range: bytes=1000-"]);
    assert_eq!(field(&answer.head, "Content-Range").as_deref(), Some("bytes */1000"));
    assert_eq!(field(&answer.head, "Content-Length").as_deref(), Some("0"));
    let empty = |value: &str| {
        let asked = request("GET", &[&format!("Range: {value}")]);
        ask(&Resource { size: 0, ..file() }, &asked).status.code()
    };
    assert_eq!(
        (empty("bytes=0-"), empty("bytes=-5")),
        (416, 200),
        "the last 5 bytes of nothing are all of it"
    );
}

#[test]
fn text_that_was_just_made_has_no_version() {
    let text = Resource { size: 10, media: "text/plain; charset=utf-8", validators: None };
    let with = |fields: &[&str]| ask(&text, &request("GET", fields));
    assert_eq!((field(&with(&[]).head, "ETag"), field(&with(&[]).head, "Last-Modified")), (None, None));
    assert_eq!(with(&["If-Match: \"x\""]).status, Status::PRECONDITION_FAILED);
    assert_eq!(with(&["Range: bytes=5-", "If-Range: \"x\""]).body, 0..10);
    assert_eq!(with(&["Range: bytes=5-"]).body, 5..10);
}

proptest! {
    /// W-03: for any request, the body of the answer lies inside the file, and its length is the length in the head.
    #[test]
    fn any_bytes_get_a_sound_answer_or_none(
        target in "[ -~]{0,20}",
        fields in proptest::collection::vec(("(Range|If-Range|If-Match|If-None-Match|If-Modified-Since)", "[ -~]{0,30}"), 0..4),
        range in proptest::option::of("bytes=[0-9]{0,4}-[0-9]{0,22}"),
        size in 0u64..2000,
    ) {
        let mut fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        fields.extend(range.map(|range| format!("Range: {range}")));
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let text = request("GET", &fields).replacen("/x", &target, 1);
        let _ = target::name(&target);
        if let Ok(request) = Request::parse(text.as_bytes()) {
            let answer = answer(&request, &Resource { size, ..file() }, now());
            prop_assert!(answer.body.start <= answer.body.end && answer.body.end <= size);
            let length = field(&answer.head, "Content-Length").map(|length| length.parse::<u64>().unwrap());
            prop_assert_eq!(length.unwrap_or(0), answer.body.end - answer.body.start);
        }
    }

    #[test]
    fn any_bytes_are_a_head_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(length) = head_length(&bytes) {
            prop_assert!(length <= bytes.len());
            let _ = Request::parse(&bytes[..length]);
        }
        let _ = Request::parse(&bytes);
    }
}
