//! Patterns for the bytes of options, as written in `match` of a class. `config/` builds them once; `classes.rs`
//! matches them for each message, so matching allocates nothing.

/// A pattern for the value of an option.
///
/// In text, `*` matches any number of bytes, including none, and `?` matches one byte; `\` before one of these makes it
/// literal. In hexadecimal digits, `*` does the same and `?` matches one digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    form: Form,
    /// Whether NULs at the end of the value are ignored, which Microsoft's clients send behind text.
    ignores_nuls: bool,
}

/// The compiled form. Most patterns are one of the first two, which need no search.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Tokens(Vec<Token>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of bytes.
    Any,
    /// One byte that has `value` where `mask` has ones.
    Byte { value: u8, mask: u8 },
}

impl Pattern {
    /// A pattern of text, in which `*`, `?` and `\` have a meaning.
    pub fn text(pattern: &str) -> Pattern {
        Pattern { form: Form::of(text_tokens(pattern)), ignores_nuls: true }
    }

    /// As [`Pattern::text`], but text without `*` and `?` only has to be the beginning of the value.
    pub fn text_or_prefix(pattern: &str) -> Pattern {
        match Pattern::text(pattern) {
            Pattern { form: Form::Exact(bytes), .. } => {
                Pattern { form: Form::Prefix(bytes), ignores_nuls: true }
            }
            pattern => pattern,
        }
    }

    /// Exactly this text, in which no character has a special meaning.
    pub fn exact(text: &str) -> Pattern {
        Pattern { form: Form::Exact(text.as_bytes().to_vec()), ignores_nuls: true }
    }

    /// A pattern of hexadecimal digits. Spaces, `:` and `-` are allowed between them. `None` if the digits are no whole
    /// bytes, or if `*` is in the middle of a byte.
    pub fn hex(digits: &str) -> Option<Pattern> {
        let (mut tokens, mut half) = (Vec::new(), None);
        for digit in digits.chars().filter(|c| !matches!(c, ' ' | ':' | '-')) {
            let (value, mask) = match digit {
                '*' if half.is_none() => {
                    tokens.push(Token::Any);
                    continue;
                }
                '?' => (0, 0),
                _ => (u8::try_from(digit.to_digit(16)?).ok()?, 0x0f),
            };
            match half.take() {
                None => half = Some((value, mask)),
                Some((high, high_mask)) => {
                    tokens.push(Token::Byte { value: high << 4 | value, mask: high_mask << 4 | mask });
                }
            }
        }
        half.is_none().then(|| Pattern { form: Form::of(tokens), ignores_nuls: false })
    }

    /// Makes NULs at the end of the value count.
    #[must_use]
    pub fn with_nuls(self) -> Pattern {
        Pattern { ignores_nuls: false, ..self }
    }

    /// Whether the pattern matches all of `value`.
    pub fn matches(&self, value: &[u8]) -> bool {
        let value = if self.ignores_nuls { without_nuls(value) } else { value };
        match &self.form {
            Form::Exact(bytes) => value == bytes,
            Form::Prefix(bytes) => value.starts_with(bytes),
            Form::Tokens(tokens) => matches_tokens(tokens, value),
        }
    }

    /// The bytes with which every matching value begins.
    pub fn prefix(&self) -> &[u8] {
        match &self.form {
            Form::Exact(bytes) | Form::Prefix(bytes) => bytes,
            Form::Tokens(_) => &[],
        }
    }
}

impl Form {
    fn of(mut tokens: Vec<Token>) -> Form {
        let is_open = tokens.last() == Some(&Token::Any);
        let fixed = tokens.len().saturating_sub(usize::from(is_open));
        let byte = |token: &Token| match token {
            Token::Byte { value, mask: 0xff } => Some(*value),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = tokens.iter().take(fixed).map(byte).collect();
        match bytes {
            Some(bytes) if is_open => Form::Prefix(bytes),
            Some(bytes) => Form::Exact(bytes),
            None => {
                tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
                Form::Tokens(tokens)
            }
        }
    }
}

fn text_tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern.bytes().peekable();
    while let Some(byte) = rest.next() {
        tokens.push(match byte {
            b'*' => Token::Any,
            b'?' => Token::Byte { value: 0, mask: 0 },
            b'\\' => {
                let literal = rest.next_if(|next| matches!(next, b'*' | b'?' | b'\\'));
                Token::Byte { value: literal.unwrap_or(byte), mask: 0xff }
            }
            value => Token::Byte { value, mask: 0xff },
        });
    }
    tokens
}

/// Only the last `*` is ever tried again, so the time is bounded by the product of the two lengths.
fn matches_tokens(tokens: &[Token], value: &[u8]) -> bool {
    let (mut at, mut seen) = (0usize, 0usize);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = value.get(seen) {
        match tokens.get(at) {
            Some(Token::Any) => {
                at = at.saturating_add(1);
                star = Some((at, seen));
            }
            Some(Token::Byte { value, mask }) if (byte ^ value) & mask == 0 => {
                at = at.saturating_add(1);
                seen = seen.saturating_add(1);
            }
            _ => match &mut star {
                Some((after, from)) => {
                    *from = from.saturating_add(1);
                    (at, seen) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    tokens.iter().skip(at).all(|token| *token == Token::Any)
}

fn without_nuls(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    value.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(pattern: &str, text: &str) -> bool {
        Pattern::text(pattern).matches(text.as_bytes())
    }

    #[test]
    fn a_glob_stands_for_all_of_a_text() {
        for (pattern, text) in [
            ("acme", "acme"),
            ("acme*", "acme"),
            ("acme*", "acme phone"),
            ("*phone", "acme phone"),
            ("a?me", "acme"),
            ("*a*b*", "xaxxbx"),
            ("*ab", "aaab"),
            ("*", ""),
            ("", ""),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("acme", "acme phone"), ("acme", "acm"), ("?", ""), ("a*b", "ac"), ("", "a"), ("*ab*c", "abab")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(50), &"a".repeat(40)), "and soon");
    }

    #[test]
    fn r_25_a_backslash_and_is_make_wildcards_literal() {
        assert!(glob(r"a\*b\?c\\d", r"a*b?c\d") && !glob(r"a\*b", "axb"));
        assert!(glob(r"a\b", r"a\b"), "before any other letter it means itself");
        assert!(Pattern::exact("a*").matches(b"a*\0") && !Pattern::exact("a*").matches(b"ab"));
        assert!(Pattern::text_or_prefix("snom").matches(b"snom870") && !glob("snom", "snom870"));
        assert!(!Pattern::text_or_prefix("sn?m").matches(b"snom870"), "with wildcards it is all of the text");
        assert!(!Pattern::text("a").with_nuls().matches(b"a\0"));
    }

    #[test]
    fn r_25_hexadecimal_patterns_have_wildcards() {
        let matches = |digits: &str, value: &[u8]| Pattern::hex(digits).unwrap().matches(value);
        assert!(matches("0a:0B", &[0x0a, 0x0b]) && !matches("0a0b", &[0x0a, 0x0b, 0]));
        assert!(matches("0a?b", &[0x0a, 0x7b]) && !matches("0a?b", &[0x0a, 0x7c]));
        assert!(
            matches("01*ff", &[1, 2, 3, 0xff]) && matches("01*ff", &[1, 0xff]) && !matches("01*ff", &[1])
        );
        assert!(matches("??", &[9]) && !matches("??", &[]) && matches("*", &[]) && matches("", &[]));
        for bad in ["0", "0*", "0a0", "xx", "0a\\*"] {
            assert_eq!(Pattern::hex(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_glob_with_a_star_at_its_end_is_a_prefix(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            prop_assert_eq!(glob(&format!("{a}*"), &b), b.starts_with(&a));
            prop_assert_eq!(glob(&format!("*{a}"), &b), b.ends_with(&a));
            prop_assert_eq!(glob(&format!("*{a}*"), &b), b.contains(&a));
            prop_assert_eq!(glob(&a, &b), a == b);
        }
    }
}
