//! Writes a YAML tree. Values that fit into one line are written in flow style, and everything that YAML would read as
//! something other than text is quoted. Readers of YAML 1.1, such as Python's, read the same values.

use std::fmt::Write;

use crate::config::document::value::{Item, List, Map, Value};

/// Maximum length of a line in flow style, in bytes.
const WIDTH: usize = 110;

/// The text of `map`, in block style.
pub fn write(map: &Map) -> String {
    let mut out = String::new();
    block_map(&mut out, map, 0, false);
    out
}

/// Writes the comments, each in its own line.
pub(super) fn comments(out: &mut String, comments: &[String], indent: usize) {
    for line in comments.iter().flat_map(|comment| comment.split('\n')) {
        let line: String = line.chars().filter(|letter| is_printable(*letter)).collect();
        let line = line.trim_end();
        let space = if line.is_empty() || line.starts_with(' ') { "" } else { " " };
        let _ = writeln!(out, "{:indent$}#{space}{line}", "");
    }
}

/// Writes a mapping. `is_inline` is true if the first key stands in a line that has begun, after `- `.
fn block_map(out: &mut String, map: &Map, indent: usize, is_inline: bool) {
    for (number, entry) in map.entries.iter().enumerate() {
        if number > 0 || !is_inline {
            comments(out, &entry.comments, indent);
            let _ = write!(out, "{:indent$}", "");
        }
        key(out, &entry.key);
        out.push(':');
        value_after(out, &entry.value, indent, indent + entry.key.len() + 2);
    }
}

/// Writes the value of a key and the end of the line. `used` is the length of the line so far.
fn value_after(out: &mut String, value: &Value, indent: usize, used: usize) {
    if let Some(text) = in_one_line(value, WIDTH.saturating_sub(used)) {
        let _ = writeln!(out, " {text}");
        return;
    }
    out.push('\n');
    match value {
        Value::Map(map) => block_map(out, map, indent + 2, false),
        Value::List(list) => block_list(out, list, indent + 2),
        _ => {}
    }
}

fn block_list(out: &mut String, list: &List, indent: usize) {
    for Item { comments: above, value: item, .. } in &list.items {
        comments(out, above, indent);
        if let Value::Map(Map { entries, .. }) = item
            && let Some(first) = entries.first()
        {
            comments(out, &first.comments, indent);
        }
        let _ = write!(out, "{:indent$}-", "");
        if let Some(text) = in_one_line(item, WIDTH.saturating_sub(indent + 2)) {
            let _ = writeln!(out, " {text}");
            continue;
        }
        match item {
            Value::Map(map) => {
                out.push(' ');
                block_map(out, map, indent + 2, true);
            }
            Value::List(list) => {
                out.push('\n');
                block_list(out, list, indent + 2);
            }
            _ => out.push('\n'),
        }
    }
}

/// The value in one line, if it has no comments and takes at most `room` bytes. Scalars always do.
fn in_one_line(value: &Value, room: usize) -> Option<String> {
    let mut out = String::new();
    let is_scalar = !matches!(value, Value::List(_) | Value::Map(_));
    flow(&mut out, value, if is_scalar { usize::MAX } else { room }).then_some(out)
}

/// Writes `value` in flow style. Returns false if that is not possible.
fn flow(out: &mut String, value: &Value, room: usize) -> bool {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Text(text) => scalar(out, text),
        Value::List(list) => {
            out.push('[');
            for (number, Item { comments: above, value: item, .. }) in list.items.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                if !above.is_empty() || !flow(out, item, room) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Map(map) => {
            if map.is_block && !map.entries.is_empty() {
                return false;
            }
            out.push('{');
            for (number, entry) in map.entries.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                key(out, &entry.key);
                out.push_str(": ");
                if !entry.comments.is_empty() || !flow(out, &entry.value, room) {
                    return false;
                }
            }
            out.push('}');
        }
    }
    out.len() <= room
}

/// Writes a key. Numbers of options are keys without quotes.
fn key(out: &mut String, text: &str) {
    let is_number =
        !text.starts_with('0') && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !text.is_empty() { out.push_str(text) } else { scalar(out, text) }
}

/// Writes text, in quotes if it needs them.
fn scalar(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else if text.chars().all(|letter| is_printable(letter) && letter != '\t') {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        double_quoted(out, text);
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if is_printable(letter) => out.push(letter),
            letter => {
                let _ = write!(out, "\\U{:08x}", u32::from(letter));
            }
        }
    }
    out.push('"');
}

/// Whether the letter may stand in a YAML file as it is.
fn is_printable(letter: char) -> bool {
    let is_break = matches!(letter, '\u{85}' | '\u{2028}' | '\u{2029}');
    let is_mark = matches!(letter, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    letter == '\t' || !letter.is_control() && !is_break && !is_mark
}

/// Words that YAML 1.1 or 1.2 reads as something other than text.
const WORDS: [&str; 13] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan", "infinity", "none"];

/// Whether `text` is read as itself without quotes, in a block and in flow style.
fn is_plain(text: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_./+:@%-*?\\ ".contains(&byte);
    let starts =
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_/".contains(&byte));
    let ends = text.bytes().last().is_some_and(|byte| byte != b' ' && byte != b':');
    if !starts || !ends || !text.bytes().all(is_safe) || text.contains(": ") {
        return false;
    }
    let bare: String = text.chars().filter(|letter| *letter != '_').collect::<String>().to_ascii_lowercase();
    let is_number = bare.parse::<f64>().is_ok() || ["0x", "0o", "0b"].iter().any(|it| bare.starts_with(it));
    // 12:30:45 is a number of YAML 1.1, and 2001-01-01 a date.
    let only = |also: u8| bare.bytes().all(|byte| byte.is_ascii_digit() || byte == also || byte == b'.');
    let is_date = text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.split('-').count() >= 3
        && text
            .split(['-', 'T', 't', ' ', ':', '.'])
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    let is_word = WORDS.contains(&bare.as_str());
    !(is_word || is_number || is_date || only(b':') && !is_address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> serde_yaml::Value {
        serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The value as the YAML library has it.
    fn as_read(value: &Value) -> serde_yaml::Value {
        match value {
            Value::Null => serde_yaml::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(list) => list.iter().map(as_read).collect::<Vec<_>>().into(),
            Value::Map(map) => {
                let entries = map.iter().map(|(key, value)| (key.into(), as_read(value)));
                serde_yaml::Value::Mapping(entries.collect())
            }
        }
    }

    #[test]
    fn values_are_quoted_only_where_they_must_be() {
        let map = Map::new()
            .with("network", "10.0.0.0/24")
            .with("pool", "10.0.0.5-10.0.0.9")
            .with("mac", "52:54:00:12:34:56")
            .with("other", "52:54:00:ab:cd:ef")
            .with("name", "no")
            .with("hex", "1e3")
            .with("file", "a/b c.efi")
            .with("url", "http://{server}/x")
            .with("date", "2001-01-01")
            .with("text", "a: b # c")
            .with("bell", "\u{7}é\"")
            .with("224", 5i64);
        let expected = "\
network: 10.0.0.0/24
pool: 10.0.0.5-10.0.0.9
mac: '52:54:00:12:34:56'
other: 52:54:00:ab:cd:ef
name: 'no'
hex: '1e3'
file: a/b c.efi
url: 'http://{server}/x'
date: '2001-01-01'
text: 'a: b # c'
bell: \"\\U00000007é\\\"\"
224: 5
";
        assert_eq!(write(&map), expected);
    }

    #[test]
    fn comments_stand_above_and_short_values_in_one_line() {
        let mut list = List::default();
        list.push_translated(Map::new().with("a", 1i64).with("b", "x"), vec!["first".to_owned()], None);
        list.push(Map::block().with("c", Value::Null).with("d", vec![Value::Bool(true)]));
        let mut map = Map::new();
        map.set_with_comments("list", list, vec!["two\nlines".to_owned()]);
        map.set("long", (0..40).map(|n| Value::Int(1000 + n)).collect::<Vec<_>>());
        let written = write(&map);
        assert!(
            written.starts_with(
                "# two\n# lines\nlist:\n  # first\n  - {a: 1, b: x}\n  - c: null\n    d: [true]\nlong:\n  - 1000\n"
            ),
            "{written}"
        );
        assert_eq!(read(&written), as_read(&Value::Map(map)));
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>().prop_map(Value::Text),
            "[-+0-9a-fx:._ #'\"{}\\[\\],&*!|>%@`?~]{0,12}".prop_map(Value::Text),
            prop::sample::select(&WORDS[..]).prop_map(Value::from),
            any::<i64>().prop_map(Value::Int),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
        ];
        text.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec((prop::collection::vec(any::<String>(), 0..2), inner.clone()), 0..6)
                    .prop_map(|items| {
                        let mut list = List::default();
                        items.into_iter().for_each(|(above, value)| list.push_translated(value, above, None));
                        Value::List(list)
                    }),
                (prop::collection::vec((any::<String>(), inner, any::<String>()), 0..6), any::<bool>())
                    .prop_map(|(entries, is_block)| {
                        let mut map = if is_block { Map::block() } else { Map::new() };
                        for (key, value, comment) in entries {
                            let comment = if comment.len() > 9 { vec![comment] } else { Vec::new() };
                            map.set_with_comments(format!("k{key}"), value, comment);
                        }
                        Value::Map(map)
                    }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn every_tree_is_read_as_written(value in value()) {
            let map = Map::new().with("top", value);
            let written = write(&map);
            prop_assert_eq!(read(&written), as_read(&Value::Map(map)), "{}", written);
        }
    }
}
