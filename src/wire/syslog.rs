//! Syslog: the messages of RFC 3164 and RFC 5424, and their framing in a TCP stream (RFC 6587). Installers and initrds
//! send them; `server/syslog/` receives them. Any message may be malformed or hostile, so a message without a valid header is
//! all text, and nothing is trusted but its bytes.

use crate::types::Severity;

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyslogMessage<'b> {
    pub severity: Severity,
    /// The host name that the sender states; empty if it states none.
    pub host: &'b [u8],
    /// The program that logged the text; empty if the message names none.
    pub program: &'b [u8],
    pub text: &'b [u8],
}

/// Reads a message of either format. Returns `None` if there is no text.
pub fn parse(bytes: &[u8]) -> Option<SyslogMessage<'_>> {
    let bytes = trimmed(bytes);
    let (severity, rest) = match priority(bytes) {
        Some((severity, rest)) => (severity, rest),
        None => (Severity::NOTICE, bytes),
    };
    let message = match rest.strip_prefix(b"1 ").and_then(|rest| of_rfc5424(severity, rest)) {
        Some(message) => message,
        None => of_rfc3164(severity, rest),
    };
    (!message.text.is_empty()).then_some(message)
}

/// The bytes without line ends and NUL bytes at their end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0));
    end.and_then(|end| bytes.get(..=end)).unwrap_or_default()
}

/// `<165>` at the beginning: a number from 0 to 191 with up to three digits.
fn priority(bytes: &[u8]) -> Option<(Severity, &[u8])> {
    let rest = bytes.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let digits = rest.get(..end).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number: u8 = std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number <= 191)?;
    Some((Severity::of_priority(number), rest.get(end.saturating_add(1)..)?))
}

/// The next word, and the rest after its space.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    Some((bytes.get(..end)?, bytes.get(end.saturating_add(1)..)?))
}

/// `TIMESTAMP HOST PROGRAM PROCID MSGID DATA TEXT`, in which `-` stands for an absent value (RFC 5424 section 6).
fn of_rfc5424(severity: Severity, bytes: &[u8]) -> Option<SyslogMessage<'_>> {
    let (_timestamp, rest) = word(bytes)?;
    let (host, rest) = word(rest)?;
    let (program, rest) = word(rest)?;
    let (_process, rest) = word(rest)?;
    let (_id, rest) = word(rest)?;
    let text = structured_data(rest)?;
    let text = text.strip_prefix(b" ").unwrap_or(text);
    // The mark of UTF-8 in front of the text.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let value = |word| if word == b"-" { &[][..] } else { word };
    Some(SyslogMessage { severity, host: value(host), program: value(program), text })
}

/// The bytes after `-`, or after elements such as `[id name="value"]`. In values, `\` precedes `"`, `\` and `]`.
fn structured_data(bytes: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = bytes.strip_prefix(b"-") {
        return Some(rest);
    }
    let mut rest = bytes;
    while let Some(element) = rest.strip_prefix(b"[") {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = element.iter().position(|byte| {
            let ends = *byte == b']' && !is_quoted;
            is_quoted ^= *byte == b'"' && !is_escaped;
            is_escaped = is_quoted && *byte == b'\\' && !is_escaped;
            ends
        })?;
        rest = element.get(end.saturating_add(1)..)?;
    }
    (rest.len() < bytes.len()).then_some(rest)
}

/// Maximum length of a program's name (RFC 3164 section 4.1.3 has 32; some installers use more).
const MAX_PROGRAM: usize = 64;

/// `Nov 30 12:00:00 HOST PROGRAM[PID]: TEXT`. BusyBox leaves out the host, and some programs leave out everything.
fn of_rfc3164(severity: Severity, bytes: &[u8]) -> SyslogMessage<'_> {
    let (has_time, rest) = match after_time(bytes) {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    if let Some((program, text)) = tag(rest) {
        return SyslogMessage { severity, host: &[], program, text };
    }
    if has_time && let Some((host, after)) = word(rest) {
        let (program, text) = tag(after).unwrap_or((&[], after));
        return SyslogMessage { severity, host, program, text };
    }
    SyslogMessage { severity, host: &[], program: &[], text: rest }
}

/// The bytes after a time such as `Nov 30 12:00:00 ` or `2026-11-30T12:00:00+00:00 `.
fn after_time(bytes: &[u8]) -> Option<&[u8]> {
    /// The length of the first form with its space.
    const LEN: usize = 16;
    let is_month = |name: &[u8]| b"JanFebMarAprMayJunJulAugSepOctNovDec".chunks(3).any(|month| month == name);
    if let Some((time, rest)) = bytes.split_at_checked(LEN)
        && time.get(..3).is_some_and(is_month)
        && time.get(9) == Some(&b':')
        && time.get(12) == Some(&b':')
        && time.ends_with(b" ")
    {
        return Some(rest);
    }
    let (time, rest) = word(bytes)?;
    let is_date = time.len() >= 19 && time.get(4) == Some(&b'-') && time.get(10) == Some(&b'T');
    is_date.then_some(rest)
}

/// `PROGRAM: ` or `PROGRAM[PID]: ` at the beginning, and the text after it.
fn tag(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./()@+".contains(byte);
    let end = bytes.iter().take(MAX_PROGRAM.saturating_add(1)).position(|byte| !is_name(byte))?;
    let (program, rest) = bytes.split_at_checked(end).filter(|(program, _)| !program.is_empty())?;
    let rest = match rest.strip_prefix(b"[") {
        Some(inside) => {
            let end = inside.iter().take(MAX_PROGRAM).position(|byte| *byte == b']')?;
            inside.get(end.saturating_add(1)..)?
        }
        None => rest,
    };
    let text = rest.strip_prefix(b":")?;
    Some((program, text.strip_prefix(b" ").unwrap_or(text)))
}

/// Maximum length of a message in bytes. RFC 5424 section 6.1 recommends to accept 2048; stack traces of installers are
/// longer.
pub const MAX_MESSAGE: usize = 8192;
/// Maximum number of digits of a message's length in a stream.
const MAX_DIGITS: usize = 6;

/// A message in a stream is longer than [`MAX_MESSAGE`]. It is skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

/// Splits a TCP stream into messages (RFC 6587): each begins with its length in digits and a space (octet counting), or ends
/// with a line end or NUL byte. One stream may have both. Empty lines are no messages. It holds at most [`MAX_MESSAGE`] bytes besides those of one
/// [`Frames::push`].
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    skipping: Skipping,
}

/// The part of a message that is too long and still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Skipping {
    #[default]
    Nothing,
    /// This number of bytes.
    Bytes(usize),
    /// Everything up to the end of the line.
    Line,
}

impl Frames {
    /// Adds received bytes, and calls `each` for every message that is complete or too long.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Result<&[u8], TooLong>)) {
        self.buffer.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.buffer);
        let mut rest = &whole[..];
        while let Some(after) = self.next(rest, &mut each) {
            rest = after;
        }
        self.buffer = rest.to_vec();
    }

    /// Calls `each` for a last message without an end, because the stream has ended.
    pub fn finish(&mut self, each: impl FnOnce(Result<&[u8], TooLong>)) {
        let rest = std::mem::take(&mut self.buffer);
        if self.skipping == Skipping::Nothing && !rest.is_empty() && counted(&rest).is_none() {
            each(Ok(&rest));
        }
    }

    /// Takes one message or a part that is skipped from `bytes`. Returns the rest, or `None` if more bytes must come first.
    fn next<'b>(
        &mut self,
        bytes: &'b [u8],
        each: &mut impl FnMut(Result<&[u8], TooLong>),
    ) -> Option<&'b [u8]> {
        if bytes.is_empty() {
            return None;
        }
        match self.skipping {
            Skipping::Nothing => {}
            Skipping::Bytes(left) => {
                let now = left.min(bytes.len());
                let left = left.saturating_sub(now);
                self.skipping = if left == 0 { Skipping::Nothing } else { Skipping::Bytes(left) };
                return bytes.get(now..);
            }
            Skipping::Line => {
                let end = line_end(bytes);
                if end.is_some() {
                    self.skipping = Skipping::Nothing;
                }
                return bytes.get(end.map_or(bytes.len(), |end| end.saturating_add(1))..);
            }
        }
        let after_line_ends = without_line_ends(bytes);
        if after_line_ends.len() < bytes.len() {
            return Some(after_line_ends);
        }
        match counted(bytes) {
            Some(Counted::Incomplete) => None,
            Some(Counted::Message(length, rest)) if length > MAX_MESSAGE => {
                each(Err(TooLong));
                self.skipping = Skipping::Bytes(length);
                Some(rest)
            }
            Some(Counted::Message(length, rest)) => {
                let (message, rest) = rest.split_at_checked(length)?;
                each(Ok(message));
                Some(rest)
            }
            None => match line_end(bytes) {
                Some(end) if end <= MAX_MESSAGE => {
                    each(Ok(bytes.get(..end).unwrap_or_default()));
                    bytes.get(end.saturating_add(1)..)
                }
                None if bytes.len() <= MAX_MESSAGE => None,
                _ => {
                    each(Err(TooLong));
                    self.skipping = Skipping::Line;
                    Some(bytes)
                }
            },
        }
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| matches!(byte, b'\n' | 0))
}

/// The bytes after the line ends and NUL bytes at their beginning.
fn without_line_ends(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\n' | b'\r' | 0));
    start.and_then(|start| bytes.get(start..)).unwrap_or_default()
}

/// The beginning of a message with octet counting.
enum Counted<'b> {
    /// The length in bytes, and everything after its space.
    Message(usize, &'b [u8]),
    /// The digits have not all arrived.
    Incomplete,
}

/// Reads the length of a message; `None` if the message has no length. Lengths do not begin with 0.
fn counted(bytes: &[u8]) -> Option<Counted<'_>> {
    if !matches!(bytes.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let Some(end) = bytes.iter().position(|byte| !byte.is_ascii_digit()) else {
        return (bytes.len() <= MAX_DIGITS).then_some(Counted::Incomplete);
    };
    let (digits, rest) = bytes.split_at_checked(end).filter(|_| end <= MAX_DIGITS)?;
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Counted::Message(length, rest.strip_prefix(b" ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: &[u8]) -> (&'static str, String, String, String) {
        let SyslogMessage { severity, host, program, text } = parse(bytes).unwrap();
        let string = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (severity.name(), string(host), string(program), string(text))
    }

    fn wanted(
        severity: &'static str,
        host: &str,
        program: &str,
        text: &str,
    ) -> (&'static str, String, String, String) {
        (severity, host.to_owned(), program.to_owned(), text.to_owned())
    }

    #[test]
    fn messages_of_rfc_3164_are_read() {
        // RFC 3164 section 5.4, examples 1 and 2.
        assert_eq!(
            parts(b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8"),
            wanted("crit", "mymachine", "su", "'su root' failed for lonvick on /dev/pts/8")
        );
        assert_eq!(parts(b"Use the BFG!"), wanted("notice", "", "", "Use the BFG!"));
        // BusyBox syslogd of the Debian installer sends no host.
        assert_eq!(
            parts(b"<30>Nov 30 12:00:00 main-menu[213]: INFO: Menu item 'di-utils-shell' selected\n\0"),
            wanted("info", "", "main-menu", "INFO: Menu item 'di-utils-shell' selected")
        );
        // `logger --rfc3164`, and rsyslog's time as in RFC 3339.
        assert_eq!(
            parts(b"<13>Nov  3 12:00:00 n1 root: disk full"),
            wanted("notice", "n1", "root", "disk full")
        );
        assert_eq!(
            parts(b"<27>2026-11-30T12:00:00.123+00:00 n1 anaconda[1]: no disk"),
            wanted("err", "n1", "anaconda", "no disk")
        );
        assert_eq!(parts(b"<6>usb 1-1: new device"), wanted("info", "", "", "usb 1-1: new device"));
        for wrong in [&b"<192>x"[..], b"<>x", b"<1234>x", b"<-1>x"] {
            assert_eq!(parts(wrong).0, "notice", "{wrong:?}");
        }
        assert_eq!((parse(b""), parse(b"<13>"), parse(b"\n\0")), (None, None, None));
    }

    #[test]
    fn messages_of_rfc_5424_are_read() {
        // RFC 5424 section 6.5, examples 1 to 4.
        assert_eq!(
            parts(b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed"),
            wanted("crit", "mymachine.example.com", "su", "'su root' failed")
        );
        assert_eq!(
            parts(b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts."),
            wanted("notice", "192.0.2.1", "myproc", "%% It's time to make the do-nuts.")
        );
        assert_eq!(
            parts(
                b"<165>1 2003-10-11T22:14:15.003Z m e - ID47 [exampleSDID@32473 iut=\"3\" eventID=\"a \\\"]\\\" b\"][x@1] text"
            ),
            wanted("notice", "m", "e", "text")
        );
        let without = b"<165>1 2003-10-11T22:14:15.003Z m e - ID47 [x@1 a=\"b\"]";
        assert_eq!(parse(without), None, "there is no text");
        assert_eq!(parts(b"<13>1 - - - - - - only text").3, "only text");
        let broken = b"<13>1 - - - - - [x@1 a=\"";
        assert_eq!(parts(broken).0, "notice", "all of it is text");
    }

    /// The messages in `chunks`, and the number of those that are too long.
    fn split(chunks: &[&[u8]]) -> (Vec<String>, usize) {
        let (mut frames, mut messages, mut too_long) = (Frames::default(), Vec::new(), Vec::new());
        let mut each = |message: Result<&[u8], TooLong>| match message {
            Ok(message) => messages.push(String::from_utf8_lossy(message).into_owned()),
            Err(long) => too_long.push(long),
        };
        chunks.iter().for_each(|chunk| frames.push(chunk, &mut each));
        frames.finish(&mut each);
        (messages, too_long.len())
    }

    #[test]
    fn streams_are_split_by_length_and_by_line() {
        let whole = b"5 <1>ab<2>line\n7 <3>c\nd\n<4>last";
        let expected = ["<1>ab", "<2>line", "<3>c\nd\n", "<4>last"].map(str::to_owned);
        assert_eq!(split(&[whole]), (expected.to_vec(), 0));
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(split(&bytes), (expected.to_vec(), 0), "one byte at a time");
        assert_eq!(split(&[b"10:00 is no length\0x"]).0, ["10:00 is no length", "x"]);
        assert_eq!(split(&[b"1234567 x\n"]).0, ["1234567 x"]);
        assert_eq!(split(&[b"12 half"]), (Vec::new(), 0), "the message is cut off");
    }

    #[test]
    fn empty_lines_are_no_messages() {
        let stream = b"\n\r\n\0\n<1>a\r\n\n5 <1>bb\n\n6 <1>c\n\n\n";
        let expected = ["<1>a\r", "<1>bb", "<1>c\n\n"].map(str::to_owned);
        assert_eq!(split(&[stream]), (expected.to_vec(), 0));
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(split(&bytes), (expected.to_vec(), 0), "one byte at a time");
        let (mut frames, mut messages) = (Frames::default(), 0);
        frames.push(&vec![b'\n'; 1 << 20], |_| messages += 1);
        assert_eq!((messages, frames.buffer.len()), (0, 0));
    }

    #[test]
    fn messages_that_are_too_long_are_skipped() {
        let long = vec![b'x'; MAX_MESSAGE + 1];
        assert_eq!(split(&[&long, b"yyy\n<1>next\n"]), (vec!["<1>next".to_owned()], 1));
        let counted = format!("{} ", MAX_MESSAGE + 1);
        assert_eq!(split(&[counted.as_bytes(), &long, b"2 ab"]), (vec!["ab".to_owned()], 1));
        let exact = [&vec![b'x'; MAX_MESSAGE][..], b"\n"].concat();
        assert_eq!(split(&[&exact]).1, 0);
        let (mut frames, huge) = (Frames::default(), vec![b'x'; 1 << 20]);
        frames.push(&huge, |_| ());
        assert!(frames.buffer.len() <= MAX_MESSAGE, "{}", frames.buffer.len());
    }
}
