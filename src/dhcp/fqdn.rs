//! Option 81, the client's fully qualified domain name (RFC 4702). `reply.rs` builds the answer here. lanboot never
//! updates DNS; the answer says so, and completes the name.

use crate::wire::names::{MAX_LABEL, MAX_NAME};

/// S: the server updates the A record.
const S: u8 = 1;
/// O: the server overrides the client's S flag.
const O: u8 = 2;
/// E: the name is in DNS encoding instead of ASCII.
const E: u8 = 4;
/// N: the server makes no DNS updates.
const N: u8 = 8;
/// Value of both RCODE fields in a server's answer (RFC 4702 section 2.2).
const RCODE: u8 = 255;

/// The answer to a client that sent `value` as its option 81: its name in the encoding that it used. A partial name is
/// completed with `suffix`. A client that leaves its name to the server gets `host`.
///
/// `None` if the option is to be ignored: it is malformed, too long, or empty after the characters that a host name
/// cannot have are removed (CVE-2025-11232).
///
/// N is 1 (no updates), so S is 0. O informs a client that set S that it was overridden (RFC 4702 section 4).
pub fn answer(value: &[u8], suffix: Option<&str>, host: Option<&[u8]>) -> Option<Vec<u8>> {
    let Sent { flags, mut labels, mut complete } = Sent::read(value)?;
    if labels.is_empty() {
        // Only the first label of a configured host name is used.
        labels.push(clean(host?.split(|byte| *byte == b'.').next()?)?);
        complete = false;
    }
    encode(flags, labels, complete, suffix)
}

/// The answer to a client whose name is configured, so that its own name does not count.
pub fn answer_with_name(value: &[u8], suffix: Option<&str>, name: &[u8]) -> Option<Vec<u8>> {
    let Sent { flags, .. } = Sent::read(value)?;
    let (labels, complete) = ascii_labels(name)?;
    let labels = labels.into_iter().map(clean).collect::<Option<Vec<_>>>()?;
    encode(flags, labels, complete, suffix)
}

/// Encodes a name for a client that sent `flags`. A name that is not complete gets the suffix.
fn encode(flags: u8, mut labels: Vec<Vec<u8>>, complete: bool, suffix: Option<&str>) -> Option<Vec<u8>> {
    let mut whole = complete;
    if let Some(suffix) = suffix.filter(|_| !complete).and_then(suffix_labels) {
        labels.extend(suffix);
        whole = true;
    }
    let len: usize = labels.iter().map(|label| label.len() + 1).sum();
    if len + 1 > MAX_NAME {
        return None;
    }
    let overridden = if flags & S != 0 { O } else { 0 };
    let mut answer = vec![N | overridden | flags & E, RCODE, RCODE];
    if flags & E == 0 {
        answer.extend(labels.join(&b'.'));
    } else {
        for label in &labels {
            answer.push(u8::try_from(label.len()).ok()?);
            answer.extend_from_slice(label);
        }
        // A partial name has no zero at its end (RFC 4702 section 3.1).
        answer.extend(whole.then_some(0));
    }
    Some(answer)
}

/// The labels of a suffix; `None` if it is not a domain name. The domain option is free text, and some administrators
/// put several names into it; the first one is used.
fn suffix_labels(suffix: &str) -> Option<Vec<Vec<u8>>> {
    let name = suffix.split_ascii_whitespace().next()?;
    let fits = |label: &str| {
        let known = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        known && (1..=MAX_LABEL).contains(&label.len())
    };
    let labels = name.strip_suffix('.').unwrap_or(name).split('.');
    labels.map(|label| fits(label).then(|| label.as_bytes().to_vec())).collect()
}

/// The first label of the name in option 81, as a host name.
pub fn host_of(value: &[u8]) -> Option<Vec<u8>> {
    Sent::read(value)?.labels.into_iter().next()
}

/// A client's option 81.
struct Sent {
    flags: u8,
    /// The labels, reduced to the characters that a host name may have; none of them is empty.
    labels: Vec<Vec<u8>>,
    /// Whether the name is more than its first label.
    complete: bool,
}

impl Sent {
    fn read(value: &[u8]) -> Option<Sent> {
        let [flags, _, _, name @ ..] = value else { return None };
        let (labels, complete) = if flags & E != 0 { dns_labels(name)? } else { ascii_labels(name)? };
        let labels = labels.into_iter().map(clean).collect::<Option<Vec<_>>>()?;
        Some(Sent { flags: *flags, labels, complete })
    }
}

/// The labels of a name in DNS encoding, and whether the name ends in the zero that completes it. Such a name is never
/// compressed (RFC 4702 section 2.3).
fn dns_labels(name: &[u8]) -> Option<(Vec<&[u8]>, bool)> {
    let mut labels = Vec::new();
    let mut rest = name;
    while let [len, tail @ ..] = rest {
        let len = usize::from(*len);
        if len == 0 {
            return tail.is_empty().then_some((labels, true));
        }
        if len > MAX_LABEL {
            return None;
        }
        let (label, next) = tail.split_at_checked(len)?;
        labels.push(label);
        rest = next;
    }
    Some((labels, false))
}

/// The labels of a name in the deprecated ASCII encoding. A name with a dot in it is complete (RFC 4702 section 2.3.1).
/// Some clients end the name with a NUL.
fn ascii_labels(name: &[u8]) -> Option<(Vec<&[u8]>, bool)> {
    let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let name = name.get(..end)?;
    if name.is_empty() {
        return Some((Vec::new(), false));
    }
    let whole = name.contains(&b'.');
    let labels: Vec<&[u8]> = name.strip_suffix(b".").unwrap_or(name).split(|byte| *byte == b'.').collect();
    labels.iter().all(|label| label.len() <= MAX_LABEL).then_some((labels, whole))
}

/// `label` without the characters that a host name may not have (RFC 1123 section 2.1): letters, digits and inner
/// hyphens remain. `None` if nothing remains.
fn clean(label: &[u8]) -> Option<Vec<u8>> {
    let kept: Vec<u8> =
        label.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').collect();
    let first = kept.iter().position(|byte| *byte != b'-')?;
    let last = kept.iter().rposition(|byte| *byte != b'-')?;
    kept.get(first..=last).filter(|kept| kept.len() <= MAX_LABEL).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ascii(name: &[u8]) -> Option<Vec<u8>> {
        answer(&[&[S, 0, 0], name].concat(), Some("lab.example"), None)
    }

    fn dns(name: &[u8]) -> Option<Vec<u8>> {
        answer(&[&[E | S, 0, 0], name].concat(), Some("lab.example"), None)
    }

    #[test]
    fn rfc4702_2_3_the_clients_encoding_comes_back_and_a_partial_name_is_completed() {
        assert_eq!(ascii(b"pc1"), Some(b"\x0a\xff\xffpc1.lab.example".to_vec()));
        assert_eq!(ascii(b"pc1\0"), ascii(b"pc1"), "some clients end it with NUL");
        assert_eq!(ascii(b"pc1.else.example."), Some(b"\x0a\xff\xffpc1.else.example".to_vec()));
        assert_eq!(dns(b"\x03pc1"), Some(b"\x0e\xff\xff\x03pc1\x03lab\x07example\0".to_vec()));
        assert_eq!(dns(b"\x03pc1\x01x\0"), Some(b"\x0e\xff\xff\x03pc1\x01x\0".to_vec()));
        let no_suffix = |value: &[u8]| answer(value, None, None);
        assert_eq!(no_suffix(b"\x04\0\0\x03pc1"), Some(b"\x0c\xff\xff\x03pc1".to_vec()));
        let left_to_us = |host| answer(b"\x04\0\0", Some("lab"), host);
        assert_eq!(left_to_us(Some(b"node1")), Some(b"\x0c\xff\xff\x05node1\x03lab\0".to_vec()));
        assert_eq!(left_to_us(Some(b"node1.lab")), left_to_us(Some(b"node1")));
        assert_eq!(answer(b"\x04\0\0\0", Some("lab"), Some(b"node1")), left_to_us(Some(b"node1")));
        assert_eq!(left_to_us(None), None);
        let with = |suffix| answer(b"\0\0\0pc1", Some(suffix), None).unwrap().split_off(3);
        assert_eq!(with("lab.example. b.example"), b"pc1.lab.example");
        assert_eq!(with("not a;name"), b"pc1.not");
        assert_eq!(with("a;b"), b"pc1");
    }

    #[test]
    fn rfc4702_4_the_flags_say_that_no_updates_are_made() {
        let flags = |flags: u8| answer(&[flags, 0, 0, b'a'], None, None).map(|answer| answer[0]);
        assert_eq!(flags(0), Some(N));
        assert_eq!(flags(S), Some(N | O));
        assert_eq!(flags(N), Some(N));
        assert_eq!(flags(S | 0xf0), Some(N | O), "reserved bits are zero");
    }

    #[test]
    fn d_06_and_d_08_names_that_are_none_are_ignored() {
        for name in [&b"!@#"[..], b"!@#.lab.example", b"-", b"---", b".", b"..", b"pc1..lab", b"\xe9\xe9"] {
            assert_eq!(ascii(name), None, "{name:?}");
        }
        for name in [&b"\x03!@#"[..], b"\x40x", b"\xc0\x03", b"\x05abc", b"\x01a\0\x01b", b"\x03-\0-"] {
            assert_eq!(dns(name), None, "{name:?}");
        }
        for len in 0x40..=0xff_u8 {
            assert_eq!(dns(&[&[len][..], &[b'x'; 255]].concat()), None);
        }
        assert_eq!(ascii(&[b'x'; 64]), None);
        assert_eq!(ascii(&[&[b'x'; 63][..]; 4].join(&b'.')), None, "longer than 255 bytes");
        assert_eq!(answer(&[0, 0], None, None), None);
    }

    #[test]
    fn d_14_only_letters_digits_and_hyphens_are_left() {
        assert_eq!(ascii(b"$(touch /tmp/x)"), Some(b"\x0a\xff\xfftouchtmpx.lab.example".to_vec()));
        assert_eq!(dns(b"\x06a;b\n\x1b-"), Some(b"\x0e\xff\xff\x02ab\x03lab\x07example\0".to_vec()));
    }

    proptest! {
        #[test]
        fn every_answer_is_a_name_that_dns_can_have(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(answer) = answer(&value, Some("lab.example"), Some(b"host")) {
                prop_assert!(answer.len() <= 3 + MAX_NAME);
                if answer[0] & E != 0 {
                    prop_assert!(crate::wire::names::are_uncompressed(&answer[3..]));
                } else {
                    prop_assert!(!answer[3..].is_empty() && answer[3] != b'.');
                }
            }
        }
    }
}
