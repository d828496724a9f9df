//! Values in YAML (1.2 chapters 5 to 8). A scanner tracks the scalar around each value across lines, because a quote,
//! bracket or colon is syntax in one context and text in another.

use crate::boot::loader::escape::marks::{Piece, UnquotableReason, UnquotableValue, render};
use crate::boot::loader::escape::quotes::{escaped_json, is_line_end, json};

/// Quotes every marked value in the text for its context.
pub(in crate::boot) fn quote_values(text: &str) -> Result<String, UnquotableValue> {
    let mut scan = Scanner::default();
    scan.begin_line(text);
    render(text, |piece, rest, out| {
        match piece {
            Piece::Character(c) => {
                out.push(c);
                scan.character(c, rest.chars().next());
                if c == '\n' {
                    scan.begin_line(rest);
                }
            }
            Piece::Value { number, value } => {
                let written = scan.value(value, rest).map_err(|reason| UnquotableValue { number, reason })?;
                scan.column = scan.column.saturating_add(written.chars().count());
                scan.before = written.chars().next_back().or(scan.before);
                scan.escaped = false;
                out.push_str(&written);
            }
        }
        Ok(())
    })
}

/// The syntactic context of a position.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum At {
    /// Before a scalar or a collection.
    #[default]
    Start,
    /// In a plain scalar.
    Text,
    Single,
    Double,
    /// After a quoted scalar or a bracketed collection.
    Ended,
    /// In a tag, an anchor or a document marker.
    Property,
    /// After the `|` or `>` of a block scalar.
    Header,
    /// In a block scalar.
    Block,
    Comment,
}

#[derive(Default)]
struct Scanner {
    at: At,
    column: usize,
    /// The previous character of the line.
    before: Option<char>,
    /// The column of a scalar or collection in this line that may turn out to be a key.
    node: Option<usize>,
    /// The column of the key or dash above the current node. Deeper indentation continues the node.
    parent: Option<usize>,
    /// The number of open brackets.
    brackets: usize,
    /// The open quote in a plain scalar, or in a line of a block scalar. YAML reads it as text, but a program that gets
    /// the text probably reads it as a quote.
    quote: Option<char>,
    /// Whether the previous character is a backslash in double quotes.
    escaped: bool,
    /// Whether the first line of a block scalar, which sets its indentation, is still to come.
    is_first: bool,
}

impl Scanner {
    fn begin_line(&mut self, rest: &str) {
        (self.column, self.before, self.node) = (0, None, None);
        let text = rest.trim_start_matches(' ');
        let is_blank = text.is_empty() || text.starts_with(['\n', '\r']);
        let is_deeper = Some(rest.len().saturating_sub(text.len())) > self.parent;
        let is_quoted = matches!(self.at, At::Single | At::Double);
        if !is_quoted && begins_or_ends_document(rest) {
            (self.at, self.parent, self.brackets) = (At::Property, None, 0);
            return;
        }
        self.at = match self.at {
            At::Single | At::Double => self.at,
            At::Header | At::Block if is_blank || is_deeper => At::Block,
            At::Text if is_blank || is_deeper || self.brackets > 0 => At::Text,
            At::Ended if self.brackets > 0 => At::Ended,
            _ => At::Start,
        };
        if self.at == At::Block {
            self.quote = None;
        }
    }

    /// Reads the character `c` of the template, which is followed by `next`.
    fn character(&mut self, c: char, next: Option<char>) {
        let is_key = next.is_none_or(|next| next.is_whitespace() || (self.brackets > 0 && is_bracket(next)));
        let is_spaced = self.before.is_none_or(char::is_whitespace);
        match (self.at, c) {
            (_, '\n') => {}
            (At::Text | At::Block, '"' | '\'') => self.quote_in_text(c),
            (At::Comment | At::Block | At::Header, _) => {}
            (At::Double, _) if self.escaped => self.escaped = false,
            (At::Double, '\\') => self.escaped = true,
            (At::Double, '"') | (At::Single, '\'') => self.at = At::Ended,
            (At::Double | At::Single, _) => {}
            (At::Property, c) if c.is_whitespace() => self.at = At::Start,
            (At::Property, _) => {}
            // Two single quotes are one escaped quote.
            (At::Ended, '\'') if self.before == Some('\'') => self.at = At::Single,
            (_, '#') if is_spaced => self.at = At::Comment,
            (_, ',') if self.brackets > 0 => self.at = At::Start,
            (_, ']' | '}') if self.brackets > 0 => {
                (self.at, self.brackets) = (At::Ended, self.brackets.saturating_sub(1));
            }
            (At::Text | At::Ended, ':') if is_key || (self.at == At::Ended && self.brackets > 0) => {
                self.at = At::Start;
                if self.brackets == 0 {
                    self.parent = self.node.or(self.parent);
                }
            }
            (At::Text | At::Ended, _) => {}
            (At::Start, _) => self.start(c, is_key),
        }
        self.is_first &= self.at != At::Block || c.is_whitespace();
        self.column = self.column.saturating_add(1);
        self.before = Some(c);
    }

    /// Reads `c` where a scalar or a collection may begin.
    fn start(&mut self, c: char, is_spaced: bool) {
        if c.is_whitespace() {
            return;
        }
        if matches!(c, '-' | '?' | ':') && is_spaced {
            if self.brackets == 0 {
                self.parent = Some(self.column);
            }
            return;
        }
        self.node = self.node.or(Some(self.column));
        self.quote = None;
        self.at = match c {
            '[' | '{' => {
                self.brackets = self.brackets.saturating_add(1);
                At::Start
            }
            '"' => At::Double,
            '\'' => At::Single,
            '&' | '!' => At::Property,
            '|' | '>' if self.brackets == 0 => {
                self.is_first = true;
                At::Header
            }
            _ => At::Text,
        };
    }

    fn quote_in_text(&mut self, c: char) {
        self.quote = match self.quote {
            Some(open) if open == c => None,
            // A single quote inside a word is an apostrophe.
            None if !self.before.is_some_and(char::is_alphanumeric) => Some(c),
            open => open,
        };
    }

    /// Returns `value` as it must be written here, before `after`.
    fn value(&mut self, value: &str, after: &str) -> Result<String, UnquotableReason> {
        match self.at {
            At::Double if self.escaped => Err("a backslash precedes it"),
            At::Double | At::Comment => Ok(escaped_json(value)),
            At::Single => Ok(value.replace('\'', "''").replace(is_line_end, " ")),
            At::Block => self.in_block(value, after),
            At::Start => self.first(value, after),
            At::Text => self.in_text(value, after).map(|()| value.to_owned()),
            At::Property if is_word(value) => Ok(value.to_owned()),
            At::Ended | At::Header if value.is_empty() => Ok(String::new()),
            At::Ended | At::Header | At::Property => Err("a value is not possible here in YAML"),
        }
    }

    /// Checks a value in a block scalar, where everything is indented text.
    fn in_block(&mut self, value: &str, after: &str) -> Result<String, UnquotableReason> {
        let begins_line = self.before.is_none_or(|c| c == ' ');
        let is_indented = value.chars().chain(after.chars()).next().is_some_and(|c| matches!(c, ' ' | '\t'));
        if value.contains(is_unprintable) {
            return Err(UNPRINTABLE);
        }
        if self.ends_quotes(value) {
            return Err(ENDS_QUOTES);
        }
        if self.is_first && begins_line && is_indented {
            return Err("YAML would read a space at the beginning of this text as indentation");
        }
        self.is_first &= value.is_empty();
        Ok(value.to_owned())
    }

    /// Writes a value at the beginning of a scalar. It is quoted if it is the whole scalar.
    fn first(&mut self, value: &str, after: &str) -> Result<String, UnquotableReason> {
        let node = self.node.or(Some(self.column));
        if self.ends(after) {
            (self.node, self.quote) = (node, None);
            self.at = if is_word(value) { At::Text } else { At::Ended };
            return Ok(if is_word(value) { value.to_owned() } else { json(value) });
        }
        let mut letters = value.chars().chain(after.chars());
        let (one, two) = (letters.next(), letters.next());
        let is_indicator = match one {
            Some('-' | '?' | ':') => two.is_none_or(|c| c.is_whitespace() || c.is_control() || is_bracket(c)),
            Some(c) if c.is_whitespace() => !value.is_empty(),
            Some(c) => is_bracket(c) || "#&*!|>'\"%@`".contains(c),
            None => false,
        };
        if is_indicator {
            return Err("YAML would not read its beginning as text: put the whole text in double quotes");
        }
        self.in_text(value, after)?;
        if !value.is_empty() {
            (self.at, self.node, self.quote) = (At::Text, node, None);
        }
        Ok(value.to_owned())
    }

    /// Checks that `value` does not end a plain scalar.
    fn in_text(&self, value: &str, after: &str) -> Result<(), UnquotableReason> {
        const NOT_PLAIN: UnquotableReason =
            "outside quotes YAML would not read it as text: put the whole text in double quotes";
        // PyYAML also gives a question mark a meaning inside brackets.
        let is_plain = |c: char| self.brackets == 0 || !(is_bracket(c) || c == '?');
        let next = if after.is_empty() { Some('\n') } else { after.chars().next() };
        let joined = self.before.into_iter().chain(value.chars()).chain(next);
        let pairs = joined.clone().zip(joined.skip(1));
        let ends = |(a, b): (char, char)| {
            (a == ':' && (b.is_whitespace() || (self.brackets > 0 && is_bracket(b))))
                || (a.is_whitespace() && b == '#')
        };
        let is_marker = self.before.is_none() && (value.starts_with("---") || value.starts_with("..."));
        if value.contains(is_unprintable) {
            Err(UNPRINTABLE)
        } else if !value.chars().all(is_plain) || pairs.clone().any(ends) || is_marker {
            Err(NOT_PLAIN)
        } else if self.ends_quotes(value) {
            Err(ENDS_QUOTES)
        } else if value.contains('\t') || (value.ends_with(' ') && self.ends(after)) {
            Err("outside quotes YAML does not keep its spaces: put the whole text in double quotes")
        } else {
            Ok(())
        }
    }

    /// Whether `value` would end a quote that is plain text for YAML.
    fn ends_quotes(&self, value: &str) -> bool {
        self.quote.is_some_and(|quote| value.contains(quote) || (quote == '"' && value.contains('\\')))
    }

    /// Whether the scalar ends before `after`.
    fn ends(&self, after: &str) -> bool {
        let text = after.trim_start_matches([' ', '\t']);
        let mut letters = text.chars();
        match letters.next() {
            None | Some('\n' | '\r') => true,
            Some('#') => text.len() < after.len(),
            Some(',' | ']' | '}') => self.brackets > 0,
            Some(':') => {
                letters.next().is_none_or(|c| c.is_whitespace() || (self.brackets > 0 && is_bracket(c)))
            }
            Some(_) => false,
        }
    }
}

const ENDS_QUOTES: UnquotableReason =
    "it would end the quotes around it, which YAML reads as text: use the filter sh instead";
const UNPRINTABLE: UnquotableReason =
    "it has a line end or another character that YAML allows only in double quotes";

fn is_unprintable(c: char) -> bool {
    is_line_end(c) || (c.is_control() && c != '\t') || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn is_bracket(c: char) -> bool {
    matches!(c, ',' | '[' | ']' | '{' | '}')
}

fn begins_or_ends_document(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace))
}

/// Whether YAML reads `value` alone as exactly this text.
fn is_word(value: &str) -> bool {
    const OTHERWISE: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@".contains(c))
        && !OTHERWISE.contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::super::{Syntax, mark};
    use super::*;
    use proptest::prelude::*;
    use serde_yaml::Value;

    /// Renders `template` with each `§` replaced by `value`.
    fn written(template: &str, value: &str) -> Result<String, UnquotableReason> {
        quote_values(&template.replace('§', &mark(Syntax::Yaml, 1, value)?))
            .map_err(|misplaced| misplaced.reason)
    }

    fn read(yaml: &str) -> Value {
        serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{yaml:?}: {error}"))
    }

    #[test]
    fn a_value_inside_a_word_gets_no_quotes() {
        for (template, value, text) in [
            ("id: iid-§", "02-00-00-00-00-01", "id: iid-02-00-00-00-00-01"),
            ("h: node-§", "01", "h: node-01"),
            ("u: http://s:§", "01", "u: http://s:01"),
            ("u: a,§", "01", "u: a,01"),
            ("k: § tail", "x#y", "k: x#y tail"),
            ("k: O'Brien and §", "O'Brien", "k: O'Brien and O'Brien"),
            ("k: |\n  say § #", "a: \"b\"", "k: |\n  say a: \"b\" #"),
            ("k: |\n  don't \"say\n  §", "a\"b'", "k: |\n  don't \"say\n  a\"b'"),
            ("k: §\n§-b: 1", "01", "k: \"01\"\n01-b: 1"),
        ] {
            assert_eq!(written(template, value).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_value_that_is_a_whole_scalar_is_quoted() {
        for (template, value, text) in [
            ("k: § # c", "01", "k: \"01\" # c"),
            ("§: 1", "01", "\"01\": 1"),
            ("- §: 1", "a b", "- \"a b\": 1"),
            ("k: !!str §", "01", "k: !!str \"01\""),
            ("k:\n  §\n", "a: b", "k:\n  \"a: b\"\n"),
            ("[§,§]", "1", "[\"1\",\"1\"]"),
            ("{a: §}", "1}", "{a: \"1}\"}"),
            ("k: '§'", "O'Brien", "k: 'O''Brien'"),
            ("k: 'it''s §'", "O'Brien", "k: 'it''s O''Brien'"),
            ("k: \"a\n  § b\"", "\"", "k: \"a\n  \\\" b\""),
        ] {
            assert_eq!(written(template, value).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn unquotable_values_are_errors() {
        for (template, value) in [
            ("- echo § > /f", "a: b"),
            ("- echo § > /f", "a #b"),
            ("- echo § > /f", "a\nb"),
            ("k: § tail", "@home"),
            ("k: § tail", "- x"),
            ("k: § tail", "x:"),
            ("k: x§y", "a\tb"),
            ("k: §#x", ""),
            ("k: x:§ y", ""),
            ("[a §]", "b, c"),
            ("[a§, b]", "?"),
            ("k: |\n  § a\n", " x"),
            ("k: |\n  § a\n", "x\ny"),
            ("k: 'a'§", "x"),
            ("k: \"\\§\"", "x"),
            ("k: |§\n  x", "2"),
            ("§ x", "---"),
            ("- sh -c \"echo §\"", "a\"; reboot"),
            ("- sh -c 'echo §'", "a'; reboot"),
            ("- |\n  it's\n  echo '§'", "a'; reboot"),
        ] {
            assert!(written(template, value).is_err(), "{template}: {:?}", written(template, value));
        }
    }

    /// Templates, and the text that a reader must get from them.
    const PLACES: [(&str, &str); 22] = [
        ("a: §\nb: 1\n", "§"),
        ("a: §", "§"),
        ("a:\n  §\nb: 1\n", "§"),
        ("a: x§\nb: 1\n", "x§"),
        ("a: x-§y # z\nb: 1\n", "x-§y"),
        ("a: §y\nb: 1\n", "§y"),
        ("a: x § y\nb: 1\n", "x § y"),
        ("a: http://x:§/y\nb: 1\n", "http://x:§/y"),
        ("a: x\n  §\n  y\nb: 1\n", "x § y"),
        ("a: x\n  y §\nb: 1\n", "x y §"),
        ("{a: §, b: 1}", "§"),
        ("{a: x§, b: 1}", "x§"),
        ("{\"a\":§, b: 1}", "§"),
        ("a: \"x§y\"\nb: 1\n", "x§y"),
        ("a: \"x\n  §y\"\nb: 1\n", "x §y"),
        ("a: 'it''s §'\nb: 1\n", "it's §"),
        ("a: |\n  x § y\n  z\nb: 1\n", "x § y\nz\n"),
        ("a: |-\n  §x\nb: 1\n", "§x"),
        ("x:\n- y: |\n    z\n- w\na: §\nb: '§'\n", "§"),
        ("x: [a, # it's\n  b]\na: §\n# it's\nb: 1\n", "§"),
        ("--- # it's\nx: &y don't\na: !!str §\nb: 1\n", "§"),
        ("? x\n: y\n'z': ['', 'a']\na: §", "§"),
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_value_reads_back_from_yaml_or_is_refused(
            place in 0..PLACES.len(), value in "[ -~\n\t'\"#:,\\[\\]{}&*!|>%@\\\\é\u{2028}-]{0,6}"
        ) {
            let (template, expected) = PLACES[place];
            // A line end becomes a space in single quotes. Spaces disappear at the line edges of a scalar of several
            // lines.
            let (single, edges) = (template.contains("'§'") || template.contains("s §'"), template.contains("\n  "));
            prop_assume!(!(single && value.contains(['\n', '\u{2028}'])));
            prop_assume!(!(edges && (value.trim() != value || value.is_empty())));
            if let Ok(yaml) = written(template, &value) {
                let read = read(&yaml);
                prop_assert_eq!(read["a"].as_str(), Some(&*expected.replace('§', &value)), "{}", yaml);
                let keys = template.matches(": ").count();
                prop_assert!(read.as_mapping().unwrap().len() <= keys.max(2), "{}", yaml);
            }
        }
    }
}
