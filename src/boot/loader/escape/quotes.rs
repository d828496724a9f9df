//! Quoting that several syntaxes share: words of a shell, and strings of JSON.

use std::fmt::Write as _;

/// Returns one word for a shell or GRUB, in single quotes if necessary.
pub fn shell_word(value: &str) -> String {
    if is_plain_word(value) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Whether a shell reads `value` as one word without quotes.
pub(super) fn is_plain_word(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    !value.is_empty() && value.chars().all(is_plain)
}

/// Returns a JSON string.
pub(super) fn json(value: &str) -> String {
    format!("\"{}\"", escaped_json(value))
}

/// Escapes the inside of a JSON string (RFC 8259 section 7), which is valid in a double-quoted YAML scalar too.
pub(super) fn escaped_json(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // JSON allows these characters unescaped; YAML does not.
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether YAML 1.1 or 1.2 reads `c` as a line end.
pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
