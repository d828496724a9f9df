//! Small values as dnsmasq reads them: lists, tags, times, hexadecimal bytes, names.

use std::net::Ipv4Addr;

use super::lines::unhide;

/// A lease time without end.
pub(super) const INFINITE: u32 = u32::MAX;
/// dnsmasq raises shorter lease times to this (`option.c`).
const MIN_LEASE: u32 = 120;

/// Splits at the first comma. Spaces around it are dropped.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(',') {
        Some((first, rest)) => (first.trim_end_matches(' '), Some(rest.trim_start_matches(' '))),
        None => (text, None),
    }
}

/// All fields of a list.
pub(super) fn fields(text: &str) -> Vec<&str> {
    let mut rest = Some(text);
    let mut all = Vec::new();
    while let Some(text) = rest {
        let (field, next) = split(text);
        all.push(field);
        rest = next;
    }
    all
}

/// A condition on a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Tag {
    pub name: String,
    /// Whether the tag must not be set.
    pub is_negated: bool,
}

impl Tag {
    pub fn read(text: &str) -> Tag {
        let name = unhide(text);
        // `#` is the older form of `!`.
        match name.strip_prefix(['!', '#']) {
            Some(name) => Tag { name: name.to_owned(), is_negated: true },
            None => Tag { name, is_negated: false },
        }
    }
}

/// The tag after `tag:` or `net:`.
pub(super) fn tag_prefix(text: &str) -> Option<&str> {
    text.strip_prefix("tag:").or_else(|| text.strip_prefix("net:"))
}

/// The name of a tag that is set, after the optional `set:`.
pub(super) fn set_name(text: &str) -> String {
    unhide(text.strip_prefix("set:").unwrap_or(text))
}

/// Splits off the tags at the beginning. Returns `None` instead of the rest if nothing follows them.
pub(super) fn leading_tags(text: &str) -> (Vec<Tag>, Option<&str>) {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some(tag) = tag_prefix(rest) {
        let (name, next) = split(tag);
        tags.push(Tag::read(name));
        match next {
            Some(next) => rest = next,
            None => return (tags, None),
        }
    }
    (tags, Some(rest))
}

/// An address in plain dotted form, without hidden characters.
pub(super) fn address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

/// A decimal number; quotes do not matter.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = unhide(text);
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The digits at the beginning, as C's `atoi` reads them.
pub(super) fn leading_number(text: &str) -> u32 {
    let text = text.trim_start_matches(' ');
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let digits = text.get(..digits).unwrap_or_default();
    if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u32::MAX) }
}

/// A number of seconds with an optional unit: `90`, `45m`, `12h`, `7d`, `2w`. Returns `None` for anything else.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let (digits, factor) = match text.chars().last()?.to_ascii_lowercase() {
        's' => (text.len() - 1, 1),
        'm' => (text.len() - 1, 60),
        'h' => (text.len() - 1, 3600),
        'd' => (text.len() - 1, 86400),
        'w' => (text.len() - 1, 604_800),
        _ => (text.len(), 1),
    };
    let digits = text.get(..digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let number: u32 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    Some(number.saturating_mul(factor))
}

/// A lease time: at least two minutes, or [`INFINITE`].
pub(super) fn lease(text: &str) -> Option<u32> {
    match text {
        "infinite" => Some(INFINITE),
        _ => seconds(text).map(|seconds| seconds.max(MIN_LEASE)),
    }
}

/// A lease time as `config.yaml` has it.
pub(super) fn duration(seconds: u32) -> String {
    let units = [(604_800, 'w'), (86400, 'd'), (3600, 'h'), (60, 'm')];
    match units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit)) {
        _ if seconds == INFINITE => "infinite".to_owned(),
        // `config.yaml` has no weeks.
        Some((unit, 'w')) => format!("{}d", seconds / unit * 7),
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// Hexadecimal bytes in which `*` is any byte: `parse_hex` in `util.c`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Hex {
    /// `None` is any byte.
    pub bytes: Vec<Option<u8>>,
    /// The hardware type in front, as in `06-00:20:…`.
    pub kind: Option<u32>,
}

impl Hex {
    /// Reads at most `most` bytes. Returns `None` if anything else than digits, `*` and separators occurs.
    pub fn read(text: &str, most: usize, with_kind: bool) -> Option<Hex> {
        let (mut bytes, mut kind) = (Vec::new(), None);
        let mut rest = text;
        while !rest.is_empty() && bytes.len() < most {
            let end = rest.find([':', '-', ' ']).unwrap_or(rest.len());
            let (group, tail) = rest.split_at(end);
            if !group.bytes().all(|byte| byte == b'*' || byte.is_ascii_hexdigit()) {
                return None;
            }
            let separator = tail.chars().next();
            rest = tail.get(1..).unwrap_or_default();
            if group.is_empty() {
                continue;
            }
            if separator == Some('-') && bytes.is_empty() && with_kind && kind.is_none() {
                kind = Some(u32::from_str_radix(group, 16).ok()?);
            } else if group == "*" {
                bytes.push(None);
            } else {
                for pair in group.as_bytes().chunks(2) {
                    let pair = std::str::from_utf8(pair).ok()?;
                    bytes.push(Some(u8::from_str_radix(pair, 16).ok()?));
                }
            }
        }
        bytes.truncate(most);
        Some(Hex { bytes, kind })
    }

    pub fn has_wildcard(&self) -> bool {
        self.bytes.contains(&None)
    }

    /// The bytes, with 0 for any byte.
    pub fn plain(&self) -> Vec<u8> {
        self.bytes.iter().map(|byte| byte.unwrap_or(0)).collect()
    }
}

/// Whether dnsmasq accepts the text as the host name of a client.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = text.split('.').next().unwrap_or_default();
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    text.len() <= 253
        && label.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && label.chars().all(is_letter)
        && text.split('.').all(|label| label.len() <= 63)
        && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_a_minimum() {
        assert_eq!((lease("90"), lease("45m"), lease("2w")), (Some(120), Some(2700), Some(1_209_600)));
        assert_eq!((lease("infinite"), lease("1x"), lease("1h2")), (Some(INFINITE), None, None));
        assert_eq!(
            [120, 3600, 1_209_600, 90, INFINITE].map(duration),
            ["2m", "1h", "14d", "90s", "infinite"]
        );
    }

    #[test]
    fn hexadecimal_bytes_have_groups_wildcards_and_a_type() {
        let read = |text| Hex::read(text, 16, true);
        let mac = read("06-00:20:e0:3b:*:*").unwrap();
        assert_eq!((mac.kind, mac.bytes.len(), mac.has_wildcard()), (Some(6), 6, true));
        assert_eq!(read("0:1:aabb").unwrap().plain(), [0, 1, 0xaa, 0xbb]);
        assert_eq!(read("0:g"), None);
        assert_eq!(read("0:1*"), None);
        assert_eq!(Hex::read("1:2:3", 2, false).unwrap().plain(), [1, 2]);
    }

    #[test]
    fn tags_stand_first() {
        let (tags, rest) = leading_tags("tag:a , net:!b, x,y");
        assert_eq!((tags[0].name.as_str(), tags[1].is_negated, rest), ("a", true, Some("x,y")));
        assert_eq!(leading_tags("tag:a").1, None);
    }
}
