//! Decodes the head of a request (RFC 9112).

/// The maximum length of a head in bytes; firmware sends about 300.
pub const HEAD_LIMIT: usize = 16 << 10;
/// The maximum number of header fields.
pub const FIELD_LIMIT: usize = 64;

/// A decoded request head.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: Method,
    /// The target as sent; [`name`](super::target::name) decodes it.
    pub target: &'a str,
    /// Whether the version is HTTP/1.0, whose connections end with the answer unless both sides agree otherwise.
    pub is_1_0: bool,
    /// Whether the client wants to keep the connection open.
    pub keep_alive: bool,
    /// Whether a body follows the head.
    pub has_body: bool,
    fields: Vec<(&'a str, &'a [u8])>,
}

/// The methods, as far as boot files need them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    /// Like GET, but without the content.
    Head,
    Other,
}

/// The reason why bytes are not a request head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadHead {
    /// The syntax violates RFC 9112.
    Malformed,
    /// The head has more than [`HEAD_LIMIT`] bytes or `FIELD_LIMIT` fields.
    TooLarge,
    /// HTTP/1.1 without exactly one Host field, which RFC 9112 section 3.2 requires servers to refuse.
    Host,
}

/// Returns the length of the head at the beginning of `bytes`, including its empty line; `None` if it is incomplete.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    // Empty lines before a request do not end it (RFC 9112 section 2.2).
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut rest = bytes.get(begin..)?;
    loop {
        let line = rest.iter().position(|byte| *byte == b'\n')?.checked_add(1)?;
        rest = rest.get(line..)?;
        let end = match rest {
            [b'\n', ..] => rest.get(1..)?,
            [b'\r', b'\n', ..] => rest.get(2..)?,
            _ => continue,
        };
        return bytes.len().checked_sub(end.len());
    }
}

/// Replaces a later minor version of HTTP/1 with the latest known one, as which it must be interpreted (RFC 9110
/// section 2.5).
pub fn as_known_version(head: &mut [u8]) {
    let mut lines = head.split_mut(|byte| *byte == b'\n');
    let Some(line) = lines.find(|line| line.iter().any(|byte| *byte != b'\r')) else { return };
    let line = if let [line @ .., b'\r'] = line { line } else { line };
    if let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] = line {
        *minor = b'1';
    }
}

impl<'a> Request<'a> {
    /// Decodes `head`, whose length is that of [`head_length`].
    pub fn parse(head: &'a [u8]) -> Result<Request<'a>, BadHead> {
        if head.len() > HEAD_LIMIT {
            return Err(BadHead::TooLarge);
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
            Ok(httparse::Status::Partial) | Err(_) => return Err(BadHead::Malformed),
        }
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(BadHead::Malformed);
        };
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => Method::Other,
        };
        let fields = parsed.headers.iter().map(|field| (field.name, field.value)).collect();
        let mut request =
            Request { method, target, is_1_0: version == 0, keep_alive: false, has_body: false, fields };
        if !request.is_1_0 && request.all("host").count() != 1 {
            return Err(BadHead::Host);
        }
        request.keep_alive = request.wants_more();
        request.has_body = request.announces_body();
        Ok(request)
    }

    /// Whether the head is a complete request for a file: GET or HEAD without a body.
    pub fn is_plain(&self) -> bool {
        self.method != Method::Other && !self.has_body
    }

    /// Returns the values of all fields `name` in order, without surrounding spaces.
    pub fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'a [u8]> + 'r {
        let named = self.fields.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim_ascii())
    }

    /// Returns the value of the field `name`, if it occurs exactly once.
    pub fn one(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        let first = all.next()?;
        if all.next().is_some() { None } else { Some(first) }
    }

    /// Whether a browser sent the request: only browsers send these fields.
    pub fn is_of_browser(&self) -> bool {
        const FETCH: &[u8] = b"sec-fetch-";
        self.fields.iter().any(|(name, _)| {
            let begin = name.as_bytes().get(..FETCH.len());
            name.eq_ignore_ascii_case("origin")
                || begin.is_some_and(|begin| begin.eq_ignore_ascii_case(FETCH))
        })
    }

    /// Returns the length of the body, if the head has it.
    pub fn body_length(&self) -> Option<u64> {
        std::str::from_utf8(self.one("content-length")?).ok()?.parse().ok()
    }

    /// Whether the client wants to keep the connection open (RFC 9112 section 9.3).
    fn wants_more(&self) -> bool {
        let says = |option: &[u8]| {
            let mut words = self.all("connection").flat_map(|value| value.split(|byte| *byte == b','));
            words.any(|word| word.trim_ascii().eq_ignore_ascii_case(option))
        };
        !says(b"close") && (!self.is_1_0 || says(b"keep-alive"))
    }

    /// Whether a body follows (RFC 9112 section 6).
    fn announces_body(&self) -> bool {
        self.all("transfer-encoding").next().is_some()
            || self
                .all("content-length")
                .any(|length| length.is_empty() || length.iter().any(|byte| *byte != b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        let ends = |text: &str| head_length(text.as_bytes());
        assert_eq!(ends("GET / HTTP/1.0\r\n\r\nrest"), Some(18));
        assert_eq!(ends("\r\n\r\nGET / HTTP/1.0\r\n\r\n"), Some(22));
        assert_eq!(ends("GET / HTTP/1.0\n\nrest"), Some(16));
        for partial in ["", "\r\n", "\n\n\r\n", "GET / HTTP/1.0\r\n", "GET / HTTP/1.0\r\n\r"] {
            assert_eq!(ends(partial), None, "{partial:?}");
        }
    }

    #[test]
    fn a_later_minor_version_is_read_as_the_latest_known() {
        let read = |head: &str| {
            let mut head = head.as_bytes().to_vec();
            as_known_version(&mut head);
            String::from_utf8(head).unwrap()
        };
        assert_eq!(
            read("\r\nGET /1.9 HTTP/1.2\r\nX: HTTP/1.2\r\n\r\n"),
            "\r\nGET /1.9 HTTP/1.1\r\nX: HTTP/1.2\r\n\r\n"
        );
        assert_eq!(read("GET / HTTP/1.9\n\n"), "GET / HTTP/1.1\n\n");
        for same in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.22\r\n\r\n",
            "\r\n",
            "",
        ] {
            assert_eq!(read(same), same);
        }
    }

    #[test]
    fn the_head_announces_the_body() {
        let has_body = |fields: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            Request::parse(head.as_bytes()).unwrap().has_body
        };
        assert!(!has_body("") && !has_body("Content-Length: 0\r\n"));
        assert!(has_body("Content-Length: 1\r\n") && has_body("Transfer-Encoding: chunked\r\n"));
        assert!(has_body("Content-Length: 0\r\nContent-Length: 5\r\n") && has_body("Content-Length: x\r\n"));
        assert!(has_body("Content-Length:\r\n"), "the reader of bodies finds it empty");
    }
}
