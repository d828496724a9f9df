//! Explains syntax errors. libyaml reports where it could not go on, in its own terms. That is often a line after the
//! mistake. This file looks at the lines around it, and names the likely mistake at its place. `tree.rs` calls it.

use crate::config::problem::Problem;
use crate::config::syntax::lines::{Lines, escape_control};

/// The problem for an error of the parser at a position. `message` is libyaml's, without that position.
pub(in crate::config) fn explain(text: &str, at: (usize, usize), message: &str) -> Problem {
    let lines = Lines::of(text);
    let fault = Fault { lines: &lines, line: at.0, column: at.1, opened: context_of(message), message };
    let Likely { line, column, message } = fault.likely();
    let message = escape_control(&message);
    // The parser reports the end of the text as the start of the line after it.
    let excerpt = (!lines.line(line).trim().is_empty()).then(|| lines.excerpt(line, column));
    Problem { line, column, message, excerpt, ..Problem::default() }
}

/// The position in `while parsing a block mapping at line 2 column 3`. libyaml leaves out the first position of a file.
fn context_of(message: &str) -> (usize, usize) {
    let place = message.rsplit_once(" at line ").and_then(|(_, place)| place.split_once(" column "));
    place.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?))).unwrap_or((1, 1))
}

/// The likely mistake.
struct Likely {
    line: usize,
    column: usize,
    message: String,
}

/// An error of the parser.
struct Fault<'t> {
    lines: &'t Lines<'t>,
    line: usize,
    column: usize,
    /// Where the parser began to read the part that has the error.
    opened: (usize, usize),
    message: &'t str,
}

impl Fault<'_> {
    fn likely(&self) -> Likely {
        let has = |part: &str| self.message.contains(part);
        let special = self.tab().or_else(|| self.unclosed_quote()).or_else(|| self.after_quote());
        let special = special.or_else(|| self.closes_nothing());
        let found = special.or_else(|| match () {
            () if has("mapping values are not allowed") => self.unexpected_colon(),
            () if has("could not find expected ':'") => Some(self.missing_colon(self.opened.0)),
            () if has("while parsing a flow") => self.in_brackets(),
            () if has("did not find expected key") || has("'-' indicator") => Some(self.indentation()),
            () => self.character(),
        });
        found.unwrap_or_else(|| self.here(self.message))
    }

    fn here(&self, message: impl Into<String>) -> Likely {
        Likely { line: self.line, column: self.column, message: message.into() }
    }

    /// The character at the position of the error.
    fn letter(&self) -> Option<char> {
        self.lines.line(self.line).chars().nth(self.column.saturating_sub(1))
    }

    /// The text of the error's line before its position.
    fn before(&self) -> String {
        self.lines.line(self.line).chars().take(self.column.saturating_sub(1)).collect()
    }

    /// The last line with content before `line`.
    fn line_before(&self, line: usize) -> Option<usize> {
        let has_content = |text: &str| !text.trim().is_empty() && !text.trim_start().starts_with('#');
        (1..line).rev().find(|number| has_content(self.lines.line(*number)))
    }

    fn tab(&self) -> Option<Likely> {
        let text = self.lines.line(self.line);
        let indent: String = text.chars().take_while(|c| c.is_whitespace()).collect();
        let column = match (self.letter(), indent.find('\t')) {
            (_, Some(at)) => at + 1,
            (Some('\t'), None) => self.column,
            _ => return None,
        };
        let message = "tabs are not allowed here: indent with spaces".to_owned();
        Some(Likely { line: self.line, column, message })
    }

    fn unclosed_quote(&self) -> Option<Likely> {
        let is_quoted = self.message.contains("quoted scalar");
        if !is_quoted
            || !self.message.contains("end of stream") && !self.message.contains("document indicator")
        {
            return None;
        }
        let (line, column) = self.opened;
        Some(Likely { line, column, message: "the quote that opens here is never closed".to_owned() })
    }

    /// Text after a closing quote. Either the text has the quote in it, or an earlier quote is not closed.
    fn after_quote(&self) -> Option<Likely> {
        let before = self.before();
        let quote = before.trim_end().chars().next_back().filter(|c| matches!(c, '"' | '\''))?;
        let is_end = self.message.contains("did not find expected") && self.letter() != Some(':');
        if !is_end || matches!(self.letter(), Some(']' | '}')) {
            return None;
        }
        let is_odd = |text: &str| text.matches(quote).count() % 2 == 1;
        let open = is_odd(&before).then(|| (1..self.line).rev().find(|line| is_odd(self.lines.line(*line))));
        if let Some(line) = open.flatten() {
            let column = self.lines.line(line).rfind(quote).unwrap_or(0);
            let column = self.lines.line(line).get(..column).map_or(1, |text| text.chars().count() + 1);
            let message = format!("is the quote on line {line} never closed? It ends on line {}", self.line);
            return Some(Likely { line, column, message });
        }
        let other = if quote == '"' { "'…'" } else { "\"…\"" };
        Some(self.here(format!("the value goes on after its closing {quote}: put all of it in {other}")))
    }

    fn closes_nothing(&self) -> Option<Likely> {
        let letter = self.letter().filter(|c| matches!(c, ']' | '}'))?;
        let (open, other) = if letter == ']' { ('[', '{') } else { ('{', '[') };
        let message = match self.message.contains("while parsing a flow") {
            true => format!("expected the end of the {other} of line {}, found {letter}", self.opened.0),
            false => format!("this {letter} closes nothing: there is no {open} before it"),
        };
        Some(self.here(message))
    }

    /// A second `:` on a line, or a line that the parser takes for a part of the value before it.
    fn unexpected_colon(&self) -> Option<Likely> {
        let key = self.before();
        let key = key.trim_start_matches([' ', '-']);
        if key.contains(": ") {
            return Some(self.here("a value with `: ` in it must be in quotes"));
        }
        let before = self.line_before(self.line)?;
        let text = self.lines.line(before);
        let content = text.trim().trim_start_matches("- ");
        let Some((name, value)) = content.split_once(':') else { return Some(self.missing_colon(before)) };
        let is_word = !name.is_empty() && !name.contains(char::is_whitespace);
        if is_word && !value.is_empty() && !value.starts_with([' ', '/']) {
            let column = text.chars().take_while(|c| *c != ':').count() + 2;
            let message = format!("a space is missing after `:` on line {before}: write `{name}: {value}`");
            return Some(Likely { line: before, column, message });
        }
        let (own, other) = (indent(self.lines.line(self.line)), content_indent(text));
        let column = own + 1;
        let message = if own > other {
            format!("this line is indented more than line {before}, which has a value already")
        } else {
            "a `:` is not allowed here".to_owned()
        };
        Some(Likely { line: self.line, column, message })
    }

    fn missing_colon(&self, line: usize) -> Likely {
        let text = self.lines.line(line);
        let start = content_indent(text);
        let content: String = text.chars().skip(start).collect();
        let word = content.split([' ', '=', '\t']).next().unwrap_or_default();
        let column = start + word.chars().count() + 1;
        if word.len() > 1 && word.starts_with('-') {
            let message = format!("a space is missing after `-` on line {line}");
            return Likely { line, column: start + 2, message };
        }
        Likely { line, column, message: format!("`:` missing after `{word}` on line {line}?") }
    }

    /// An error between `[` and `]` or `{` and `}`.
    fn in_brackets(&self) -> Option<Likely> {
        let (line, column) = self.opened;
        let open = if self.message.contains("flow sequence") { '[' } else { '{' };
        let close = if open == '[' { ']' } else { '}' };
        let text = self.lines.line(self.line);
        let is_outside = indent(text) <= indent(self.lines.line(line)) && self.line > line;
        if is_outside || text.trim().is_empty() {
            let message = format!("the {open} that opens here is never closed: `{close}` missing?");
            return Some(Likely { line, column, message });
        }
        if self.letter() == Some('{') {
            return Some(self.here("a value with { and } in it must be in quotes here"));
        }
        // The parser notices a missing comma at the `:` of the next key.
        let before = self.before();
        let key = before.rsplit([' ', ',', '{', '[']).next().unwrap_or_default();
        let key = if self.letter() == Some(':') { key } else { "" };
        let column = self.column - key.chars().count();
        let next: String =
            text.chars().skip(column - 1).take_while(|c| !matches!(c, ' ' | ',' | ':')).collect();
        let message = format!("`,` or `{close}` missing before `{next}`?");
        Some(Likely { line: self.line, column, message })
    }

    /// A line that begins at a column where no line may begin.
    fn indentation(&self) -> Likely {
        let text = self.lines.line(self.line);
        let own = indent(text);
        let column = own + 1;
        let likely = |message: String| Likely { line: self.line, column, message };
        let spaces = |count: usize| format!("{count} space{}", if count == 1 { "" } else { "s" });
        let before = self.line_before(self.line);
        if self.column > column {
            return self.here("the line does not end after its value: is it two lines, or a quote missing?");
        }
        if text.trim_start().starts_with("- ") && self.message.contains("expected key") {
            return likely(
                "this item of a list stands among keys: indent it more than the key of its list".to_owned(),
            );
        }
        if self.message.contains("'-' indicator") && own + 1 == self.opened.1 {
            let (line, _) = self.opened;
            return likely(format!(
                "`-` missing? This line is indented like the items of the list that begins on line {line}; its keys must be \
                 indented more"
            ));
        }
        match before {
            Some(before) => likely(format!(
                "this line is indented by {}, and line {before} by {}: lines that belong together begin at the same column",
                spaces(own),
                spaces(content_indent(self.lines.line(before)))
            )),
            None => self.here(self.message),
        }
    }

    /// A character that has a meaning in YAML where a value begins.
    fn character(&self) -> Option<Likely> {
        let has = |part: &str| self.message.contains(part);
        let quoted = |what: &str| Some(self.here(format!("{what}: put it in quotes")));
        if has("block sequence entries are not allowed") {
            return Some(self.here("a list begins on the line after its key, or is written as [a, b]"));
        }
        if has("unknown anchor") {
            return quoted(
                "`*` at the start of a value means a reference to an `&` anchor, and there is none of this name",
            );
        }
        if has("scanning an anchor") || has("scanning an alias") {
            return quoted("a value cannot begin with `&` or `*`");
        }
        if has("scanning a directive") {
            return quoted("a line cannot begin with `%`");
        }
        if has("cannot start any token") {
            return quoted(&format!("a value cannot begin with the character {}", self.letter()?));
        }
        if has("unknown escape character") {
            return Some(
                self.here("in double quotes `\\` begins an escape: write `\\\\`, or use single quotes"),
            );
        }
        if has("scanning a block scalar") {
            return Some(self.here("after `|` or `>` the text begins on the next line"));
        }
        None
    }
}

/// The number of spaces at the start of a line.
fn indent(text: &str) -> usize {
    text.chars().take_while(|c| *c == ' ').count()
}

/// The column, from 0, at which the content of a line begins, after the `- ` of list items.
fn content_indent(text: &str) -> usize {
    indent(text) + list_marks(text.trim_start())
}

/// The number of characters of `- ` at the start of `text`.
fn list_marks(text: &str) -> usize {
    let mut rest = text;
    while let Some(after) = rest.strip_prefix("- ") {
        rest = after.trim_start();
    }
    text.chars().count() - rest.chars().count()
}
