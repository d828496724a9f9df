//! Values in a shell script (POSIX, "Shell Command Language", 2.2 to 2.7, and bash extensions) and in a GRUB
//! configuration.
//!
//! Quotes protect a value only where this file knows the reader: in the words of a command, and in quotes that begin on
//! the same line. Elsewhere a value must be a plain word, which is the same for every reader, or it is refused: in
//! here-documents, strings of several lines, array indexes, `${…}`, arithmetic, and text that is parsed again
//! (`commands.rs`).

use std::collections::{BTreeSet, VecDeque};

use crate::boot::loader::escape::commands::{
    begins_foreign_section, delimiter, is_reparsed, is_script_reparsed, logical_line,
};
use crate::boot::loader::escape::marks::{OPEN, Piece, UnquotableReason, UnquotableValue, render};
use crate::boot::loader::escape::quotes::{is_plain_word, shell_word};
use crate::boot::loader::escape::syntax::Syntax;
use crate::boot::loader::escape::word::{
    Command, Context, FORMAT, IN_EXPANSION, IN_HERE_DOCUMENT, IN_INDEX, IN_LONG_STRING, Line, MAX_WORD, Open,
    REPARSED, RESERVED, in_double_quotes, is_word_character,
};

/// The maximum nesting of constructs. Deeper ones are not tracked.
const MAX_OPEN: usize = 64;

/// Quotes every marked value in the text for its context.
pub(in crate::boot) fn quote_values(kind: Syntax, text: &str) -> Result<String, UnquotableValue> {
    let mut scan = Scanner::new(kind, text);
    scan.begin_line(text);
    let out = render(text, |piece, rest, out| {
        match piece {
            Piece::Character(c) => {
                out.push(c);
                if c == '\n' {
                    scan.line.check(&scan.delimiters)?;
                }
                scan.character(c, rest);
            }
            Piece::Value { number, value } => {
                let written = scan.value(value, rest).map_err(|reason| UnquotableValue { number, reason })?;
                scan.after_value(number, &written);
                out.push_str(&written);
            }
        }
        Ok(())
    })?;
    scan.line.check(&scan.delimiters)?;
    Ok(out)
}

struct Scanner {
    kind: Syntax,
    /// The open constructs; the first is the script itself.
    open: Vec<Open>,
    line: Line,
    /// Whether the current line begins inside a string.
    begins_in_string: bool,
    /// The length of the text after the current logical line.
    remaining: usize,
    /// The previous character of the line.
    before: Option<char>,
    /// Whether the previous character is an unescaped backslash.
    escaped: bool,
    /// Whether the previous character is a dollar sign.
    dollar: bool,
    /// Whether the open constructs depend on syntax that this file does not track, from here to the end.
    is_uncertain: bool,
    /// Whether the words of this script are parsed again. The next two fields say the same of this section and this
    /// line.
    script_is_reparsed: bool,
    section_is_reparsed: bool,
    is_reparsed: bool,
    /// The here-documents that begin after this line, or that contain it: the delimiter, and whether tabs are stripped.
    documents: VecDeque<(String, bool)>,
    is_document: bool,
    /// All delimiters so far.
    delimiters: BTreeSet<String>,
    /// Whether a value here would be part of a delimiter.
    is_delimiter: bool,
}

impl Scanner {
    fn new(kind: Syntax, text: &str) -> Scanner {
        let script = Open { at: Context::Words, parentheses: 0, command: Command::default() };
        Scanner {
            kind,
            open: vec![script],
            line: Line::default(),
            begins_in_string: false,
            remaining: usize::MAX,
            before: None,
            escaped: false,
            dollar: false,
            is_uncertain: false,
            script_is_reparsed: is_script_reparsed(text),
            section_is_reparsed: false,
            is_reparsed: false,
            documents: VecDeque::new(),
            is_document: false,
            delimiters: BTreeSet::new(),
            is_delimiter: false,
        }
    }

    fn at(&self) -> Context {
        self.open.last().map_or(Context::Words, |open| open.at)
    }

    /// Begins a line that does not continue the previous one with a backslash.
    fn begin_line(&mut self, rest: &str) {
        self.begins_in_string =
            self.open.iter().any(|open| matches!(open.at, Context::Double | Context::Single));
        if rest.len() > self.remaining {
            // This line continues the command of the line before, which covered it.
            return;
        }
        let line = logical_line(rest);
        self.remaining = rest.len().saturating_sub(line.len());
        self.is_reparsed = is_reparsed(line);
        self.is_uncertain |= line.matches("((").count() > line.matches("))").count();
        self.is_uncertain |= line.matches("[[").count() > line.matches("]]").count();
        if let Some(script_is_reparsed) = begins_foreign_section(line).filter(|_| self.kind == Syntax::Shell)
        {
            self.section_is_reparsed = script_is_reparsed;
        }
    }

    /// Reads the character `c` of the template, which is followed by `rest`.
    fn character(&mut self, c: char, rest: &str) {
        if self.is_document {
            return self.here_document_character(c, rest);
        }
        if c == '\n' {
            return self.end_line(rest);
        }
        self.line.push(c);
        let at = self.at();
        let dollar = std::mem::take(&mut self.dollar);
        if std::mem::take(&mut self.escaped) || at == Context::Comment {
            self.word_character(c, true);
            self.before = Some(c);
            return;
        }
        let expands = self.kind == Syntax::Shell
            && !matches!(at, Context::Single | Context::Escapes | Context::Backquotes);
        let begins_word = self.before.is_none_or(|c| c.is_whitespace() || ";&|()".contains(c));
        match (at, c) {
            (Context::Single | Context::Escapes, '\'')
            | (Context::Double, '"')
            | (Context::Backquotes, '`')
            | (Context::Braces, '}') => {
                self.close();
            }
            (Context::Single, _) => self.word_character(c, true),
            (_, '\\') => {
                // Before a line end, both characters disappear.
                self.escaped = true;
                return;
            }
            (Context::Escapes | Context::Backquotes, _) => {}
            (_, '`') if expands => self.open(Context::Backquotes),
            (_, '$') => self.dollar = !dollar,
            (_, '{') if dollar && expands => self.open(Context::Braces),
            (_, '(') if dollar && expands => {
                self.open(if rest.starts_with('(') { Context::Arithmetic } else { Context::Words });
            }
            (Context::Double, _) => self.word_character(c, true),
            (_, '"') => self.open(Context::Double),
            (Context::Words | Context::Arithmetic, '\'') if dollar && expands => self.open(Context::Escapes),
            // The quote is a plain character in "${x:-'}" but not in "${x%'}'}".
            (Context::Braces, '\'') if self.around_braces() == Context::Double => self.is_uncertain = true,
            (_, '\'') => self.open(Context::Single),
            (Context::Words, '#') if begins_word => self.open(Context::Comment),
            (Context::Words, '<') if self.kind == Syntax::Shell && rest.starts_with('<') => {
                self.begin_here_document(rest);
            }
            (Context::Words | Context::Arithmetic, '(' | ')') => self.parenthesis(c),
            (Context::Words, _) => self.word_character(c, false),
            _ => {}
        }
        self.before = Some(c);
    }

    /// Adds a character to the current word. Unquoted spaces and operators end the word.
    fn word_character(&mut self, c: char, is_quoted: bool) {
        let is_inside = self.open.len() > 1;
        let Some(open) = self.open.iter_mut().rev().find(|open| open.at == Context::Words) else { return };
        let command = &mut open.command;
        if !is_quoted && (c.is_whitespace() || ";&|()`".contains(c)) {
            // The patterns of `case` have closing parentheses without opening ones.
            self.is_uncertain |= command.end_word() && is_inside;
            if !c.is_whitespace() {
                *command = Command::default();
            }
            return;
        }
        command.push(c, is_quoted);
    }

    fn end_line(&mut self, rest: &str) {
        self.line = Line::default();
        self.dollar = false;
        if self.at() == Context::Comment {
            self.close();
            self.escaped = false;
        }
        if std::mem::take(&mut self.escaped) {
            // The line continues, so the previous character stays.
            return;
        }
        self.before = None;
        self.is_delimiter = false;
        if self.at() == Context::Words {
            self.word_character(';', false);
            self.is_document = !self.documents.is_empty();
        }
        self.begin_line(rest);
    }

    fn here_document_character(&mut self, c: char, rest: &str) {
        if c != '\n' {
            return self.line.push(c);
        }
        let line = std::mem::take(&mut self.line);
        let is_end = self.documents.front().is_some_and(|(end, strips_tabs)| {
            let text = if *strips_tabs { line.text.trim_start_matches('\t') } else { &line.text };
            text == end
        });
        if is_end {
            self.documents.pop_front();
            self.is_document = !self.documents.is_empty();
        }
        if !self.is_document {
            self.begin_line(rest);
        }
    }

    /// Begins a here-document; `rest` follows the first `<`.
    fn begin_here_document(&mut self, rest: &str) {
        // `<<<` counts as parsed again. The second `<` of `<<` begins nothing.
        if self.before == Some('<') || rest.starts_with("<<") {
            return;
        }
        match delimiter(rest.strip_prefix('<').unwrap_or(rest)) {
            Ok((end, strips_tabs)) => {
                self.delimiters.insert(end.clone());
                self.documents.push_back((end, strips_tabs));
            }
            Err(()) => (self.is_delimiter, self.is_uncertain) = (true, true),
        }
    }

    fn open(&mut self, at: Context) {
        if self.open.len() >= MAX_OPEN {
            self.is_uncertain = true;
            return;
        }
        if matches!(at, Context::Double | Context::Single)
            && let Some(open) = self.open.last_mut()
        {
            (open.command.has_word, open.command.is_quoted) = (true, true);
        }
        self.open.push(Open { at, parentheses: 0, command: Command::default() });
    }

    fn close(&mut self) {
        if self.open.len() > 1 {
            self.open.pop();
        }
        if let Some(open) = self.open.last_mut() {
            open.command.has_word = true;
        }
    }

    fn parenthesis(&mut self, c: char) {
        let is_script = self.open.len() == 1;
        self.word_character(c, false);
        let Some(open) = self.open.last_mut() else { return };
        match (c, open.parentheses) {
            ('(', _) => open.parentheses = open.parentheses.saturating_add(1),
            (_, 0) if is_script => {}
            (_, 0) => self.close(),
            _ => open.parentheses = open.parentheses.saturating_sub(1),
        }
    }

    /// Returns the construct around `${…}`.
    fn around_braces(&self) -> Context {
        let around = self.open.iter().rev().map(|open| open.at).find(|at| *at != Context::Braces);
        around.unwrap_or(Context::Words)
    }

    /// Returns the reason why only a plain word is safe here, if that is so.
    fn plain_only(&self) -> Option<UnquotableReason> {
        let is_odd = |open: &Open| {
            matches!(open.at, Context::Escapes | Context::Backquotes | Context::Braces | Context::Arithmetic)
        };
        if self.is_document {
            return Some(IN_HERE_DOCUMENT);
        }
        if self.at() == Context::Comment && !self.is_uncertain {
            return None;
        }
        if self.begins_in_string {
            return Some(IN_LONG_STRING);
        }
        if self.is_uncertain || self.open.iter().any(is_odd) {
            return Some(IN_EXPANSION);
        }
        if self.script_is_reparsed || self.section_is_reparsed || self.is_reparsed {
            return Some(REPARSED);
        }
        self.open.iter().any(|open| open.command.brackets > 0).then_some(IN_INDEX)
    }

    /// Returns `value` as it must be written here, before `rest`.
    fn value(&self, value: &str, rest: &str) -> Result<String, UnquotableReason> {
        if self.is_delimiter {
            return Err("no value can be in the delimiter of a here-document");
        }
        let plain_only = self.plain_only();
        if plain_only.is_some() && value.is_empty() {
            return Ok(String::new());
        }
        if let Some(reason) = plain_only.filter(|_| !is_plain_word(value)) {
            return Err(reason);
        }
        let command = self.open.iter().rev().find(|open| open.at == Context::Words).map(|open| &open.command);
        let is_command = command.is_some_and(|command| command.words == 0 && !command.is_assignment());
        if is_plain_word(value) {
            let letters = command.is_some_and(|command| command.name == "printf" && command.words == 1);
            if letters && value.contains('%') {
                return Err(FORMAT);
            }
            // Quoted, the word is neither a reserved word nor an assignment.
            let remaining = rest.find(|c| !is_word_character(c) || c == OPEN).and_then(|end| rest.get(..end));
            let word = command.map(|command| format!("{}{value}{}", command.word, remaining.unwrap_or(rest)));
            let is_reserved = word.is_some_and(|word| RESERVED.contains(&&*word));
            let needs_quotes = self.at() == Context::Words
                && plain_only.is_none()
                && self.kind == Syntax::Shell
                && is_command
                && (is_reserved || value.contains('='));
            return Ok(if needs_quotes { format!("'{value}'") } else { value.to_owned() });
        }
        if self.escaped || self.dollar {
            return Err("a backslash or a dollar sign precedes it");
        }
        if self.at() != Context::Comment && self.kind == Syntax::Shell {
            let is_format = command.is_some_and(|command| command.name == "printf" && command.words == 1);
            if is_format && value.contains(['%', '\\']) {
                return Err(FORMAT);
            }
            if command.is_some_and(|command| command.name == "echo") && value.contains('\\') {
                return Err("some shells interpret backslashes in the arguments of echo: use printf '%s\\n'");
            }
        }
        Ok(match self.at() {
            Context::Single => value.replace('\'', r"'\''"),
            Context::Double => in_double_quotes(self.kind, value),
            Context::Comment => value.to_owned(),
            _ if self.kind == Syntax::Grub => {
                let word = |word: &str| if word.is_empty() { String::new() } else { shell_word(word) };
                value.split(' ').map(word).collect::<Vec<_>>().join(" ")
            }
            _ => shell_word(value),
        })
    }

    /// Updates the state after a value was written.
    fn after_value(&mut self, number: usize, written: &str) {
        written.chars().for_each(|c| self.line.push(c));
        self.line.value = Some(number);
        (self.before, self.escaped, self.dollar) = (Some('x'), false, false);
        let is_quoted = self.at() != Context::Words || !is_plain_word(written);
        if let Some(open) = self.open.iter_mut().rev().find(|open| open.at == Context::Words) {
            open.command.has_word = true;
            written.chars().take(MAX_WORD).for_each(|c| open.command.push(c, is_quoted));
        }
    }
}

#[cfg(test)]
mod tests;
