//! Splits a file into statements, with dnsmasq's rules for quotes, escapes and comments (`read_file` in `option.c`).
//!
//! Characters that stand in quotes must not separate or classify values: `"10.0.0.1"` is text, not an address. dnsmasq
//! hides them as control characters until a value is used. Here they move into a private range of Unicode: see
//! [`unhide`].

use super::keywords::is_keyword;
use crate::import::failure::Broken;
use crate::import::place::Place;
use crate::import::sources::Source;

/// The characters that quotes hide, besides control characters: `meta` in `option.c`.
const HIDDEN: &str = "0123456789 abcdefABCDEF:,.";
/// The first of the private characters.
const PRIVATE: u32 = 0xe000;
/// Comments of more lines than this are kept only directly above a statement.
const LONG_COMMENT: usize = 3;

/// One statement.
#[derive(Debug)]
pub(super) struct Line {
    pub place: Place,
    /// The column of the statement and of its value, from 1.
    pub columns: (u32, u32),
    /// Empty for lines of a file that contains values only.
    pub keyword: String,
    /// The text after `=`, with hidden characters.
    pub value: Option<String>,
    /// Comments above the statement and at its end.
    pub comments: Vec<String>,
}

/// The statements of a file.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The first comment of the file, if it belongs to no statement.
    pub header: Vec<String>,
    pub lines: Vec<Line>,
}

/// Reads a configuration file; with `values_only`, one of `dhcp-hostsfile` or `dhcp-optsfile`.
///
/// # Errors
/// A quote is not closed.
pub(super) fn read(source: &Source, values_only: bool) -> Result<Lines, Broken> {
    let mut found = Lines::default();
    let mut comments = Comments::default();
    for (number, text) in (1..).zip(source.text.split('\n')) {
        let (bare, comment) = without_quotes(text).map_err(|column| {
            source.broken(number, column, "missing \": the quote that begins here has no end")
        })?;
        let statement = bare.trim_matches(' ');
        if statement.is_empty() {
            match comment {
                Some(comment) => comments.add(&comment),
                None => comments.end_of_block(found.lines.is_empty(), &mut found.header),
            }
            continue;
        }
        let indent = bare.chars().take_while(|letter| *letter == ' ').count();
        let (keyword, value) = match statement.split_once('=') {
            _ if values_only => ("", Some(statement)),
            Some((keyword, value)) => (keyword.trim_end_matches(' '), Some(value.trim_start_matches(' '))),
            None => (statement, None),
        };
        let value_at = indent + statement.chars().count() - value.unwrap_or_default().chars().count();
        let column = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
        let mut above = comments.take();
        above.extend(comment.filter(|text| !text.is_empty()));
        found.lines.push(Line {
            place: source.at(number),
            columns: (column(indent), column(value_at)),
            keyword: keyword.to_owned(),
            value: value.map(str::to_owned),
            comments: above,
        });
    }
    Ok(found)
}

/// Collects the comments above a statement.
#[derive(Default)]
struct Comments {
    block: Vec<String>,
    /// Whether the block contains a statement that is commented out.
    has_statement: bool,
    /// Short blocks above the current one, such as headings.
    above: Vec<String>,
}

impl Comments {
    fn add(&mut self, text: &str) {
        let keyword = text.split('=').next().unwrap_or_default().trim();
        if is_keyword(keyword) {
            self.has_statement = true;
        } else if !text.is_empty() || !self.block.is_empty() {
            self.block.push(text.to_owned());
        }
    }

    fn end_of_block(&mut self, is_first: bool, header: &mut Vec<String>) {
        let block = std::mem::take(&mut self.block);
        let has_statement = std::mem::take(&mut self.has_statement);
        if has_statement || block.is_empty() {
            return;
        }
        if is_first && header.is_empty() {
            header.extend(block);
        } else if block.len() <= LONG_COMMENT {
            self.above = block;
        }
    }

    fn take(&mut self) -> Vec<String> {
        let mut all = std::mem::take(&mut self.above);
        if !std::mem::take(&mut self.has_statement) {
            all.append(&mut self.block);
        }
        self.block.clear();
        all
    }
}

/// Removes quotes and the comment. White space becomes spaces. Returns the text and the comment, or the column of a
/// quote that is not closed.
fn without_quotes(line: &str) -> Result<(String, Option<String>), u32> {
    let mut out = String::with_capacity(line.len());
    let mut letters = line.char_indices().peekable();
    let mut after_space = true;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                loop {
                    match letters.next() {
                        None => {
                            let column = line.get(..at).unwrap_or_default().chars().count() + 1;
                            return Err(u32::try_from(column).unwrap_or(u32::MAX));
                        }
                        Some((_, '"')) => break,
                        Some((_, '\\')) => {
                            let escaped = letters.peek().and_then(|(_, next)| escape(*next));
                            if escaped.is_some() {
                                letters.next();
                            }
                            out.push(hide(escaped.unwrap_or('\\')));
                        }
                        Some((_, inside)) => out.push(hide(inside)),
                    }
                }
                after_space = false;
            }
            ' ' | '\t' | '\r' | '\x0b' | '\x0c' => {
                out.push(' ');
                after_space = true;
            }
            '#' if after_space => {
                let comment = line.get(at + 1..).unwrap_or_default();
                return Ok((out, Some(comment.trim().to_owned())));
            }
            letter => {
                // The private characters of the file itself would be taken for hidden ones.
                let is_private = (PRIVATE..PRIVATE + 0x80).contains(&u32::from(letter));
                out.push(if is_private { char::REPLACEMENT_CHARACTER } else { letter });
                after_space = false;
            }
        }
    }
    Ok((out, None))
}

fn escape(letter: char) -> Option<char> {
    Some(match letter {
        '"' | '\\' => letter,
        't' => '\t',
        'n' => '\n',
        'b' => '\x08',
        'r' => '\r',
        'e' => '\x1b',
        _ => return None,
    })
}

/// A letter of a quoted text, in a form that has no meaning in a value.
pub(super) fn hide(letter: char) -> char {
    let is_hidden = letter.is_ascii() && (HIDDEN.contains(letter) || letter.is_ascii_control());
    match char::from_u32(PRIVATE + u32::from(letter)) {
        Some(private) if is_hidden => private,
        _ => letter,
    }
}

/// The text that a value stands for.
pub(super) fn unhide(text: &str) -> String {
    let shown = |letter: char| {
        let ascii = u32::from(letter).checked_sub(PRIVATE).filter(|ascii| *ascii < 0x80);
        ascii.and_then(char::from_u32).unwrap_or(letter)
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Found, Sources};

    fn source(text: &str) -> Source {
        let mut read = |path: &str, _: Option<&str>| Ok(Found { name: path.to_owned(), bytes: text.into() });
        let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
        Sources::new(&mut read, &mut list).open("a.conf", None).unwrap()
    }

    #[test]
    fn statements_have_places_values_and_comments() {
        let text = "\
# The file.

# Range
# of the lab
  dhcp-range = 10.0.0.5,10.0.0.9 # twelve hours
#dhcp-option=3,10.0.0.1
# an example above is commented out
log-dhcp
";
        let found = read(&source(text), false).unwrap();
        assert_eq!(found.header, ["The file."]);
        let [range, log] = &found.lines[..] else { panic!("{found:?}") };
        assert_eq!(
            (range.keyword.as_str(), range.value.as_deref()),
            ("dhcp-range", Some("10.0.0.5,10.0.0.9"))
        );
        assert_eq!((range.place.line, range.columns), (5, (3, 16)));
        assert_eq!(range.comments, ["Range", "of the lab", "twelve hours"]);
        assert_eq!((log.keyword.as_str(), log.value.as_deref(), log.comments.len()), ("log-dhcp", None, 0));
    }

    #[test]
    fn quotes_hide_separators() {
        let line = |text: &str| {
            let value = read(&source(text), true).unwrap().lines.remove(0).value.unwrap();
            (value.split(',').count(), unhide(&value))
        };
        assert_eq!(line("66,\"10.0.0.1, x\""), (2, "66,10.0.0.1, x".to_owned()));
        assert_eq!(line(r#"1,"a\"b\n#\q\\""#), (2, "1,a\"b\n#\\q\\".to_owned()));
        assert_eq!(line("a#b"), (1, "a#b".to_owned()));
        assert_eq!(unhide("\u{e041}"), "A");
    }

    #[test]
    fn a_quote_without_end_is_broken() {
        let broken = read(&source("\ndomain= \"x"), false).unwrap_err();
        assert_eq!((broken.line, broken.column), (2, 9));
    }
}
