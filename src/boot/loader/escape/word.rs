//! The state of the constructs, the command and the line that `shell.rs` is reading, as far as values depend on it.

use std::collections::BTreeSet;

use crate::boot::loader::escape::commands::MAX_DELIMITER;
use crate::boot::loader::escape::marks::{UnquotableReason, UnquotableValue};
use crate::boot::loader::escape::syntax::Syntax;

/// The number of characters kept of a word.
pub(in crate::boot) const MAX_WORD: usize = 64;

/// Reserved words that begin or end a compound command (POSIX 2.4, and bash's).
pub(in crate::boot) const RESERVED: [&str; 15] = [
    "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "select",
    "function", "time",
];

pub(in crate::boot) const IN_HERE_DOCUMENT: UnquotableReason =
    "a value in a here-document may have only letters, digits and _-./:=@%+,: assign it to a variable first";
pub(in crate::boot) const IN_LONG_STRING: UnquotableReason = "a value in a string of several lines may have only letters, digits and _-./:=@%+,: assign it to a variable first";
pub(in crate::boot) const IN_INDEX: UnquotableReason =
    "a value in an index may have only letters, digits and _-./:=@%+,: assign it to a variable first";
pub(in crate::boot) const REPARSED: UnquotableReason = "the words of this line are parsed again (eval, sh -c, a pipe into a shell, awk, [[, …), so a value may \
     have only letters, digits and _-./:=@%+,: assign it to a variable on a line before";
pub(in crate::boot) const IN_EXPANSION: UnquotableReason = "next to `…`, ${…}, $((…)), $'…' or a case in $(…) a value may have only letters, digits and \
     _-./:=@%+,: assign it to a variable on a line before";
pub(in crate::boot) const FORMAT: UnquotableReason =
    "printf interprets % and \\ in its first argument: write printf '%s' before it";

/// Whether `c` continues a word.
pub(in crate::boot) fn is_word_character(c: char) -> bool {
    !c.is_whitespace() && !";&|()<>".contains(c)
}

/// Escapes `value` for double quotes.
pub(in crate::boot) fn in_double_quotes(kind: Syntax, value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        // GRUB would keep a backslash before a backquote.
        if matches!(c, '"' | '\\' | '$') || (c == '`' && kind == Syntax::Shell) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The current command.
#[derive(Default)]
pub(in crate::boot) struct Command {
    /// The first word, without quotes.
    pub name: String,
    /// The number of complete words, including the name.
    pub words: usize,
    /// The current word, without quotes.
    pub word: String,
    /// Whether the current word has begun.
    pub has_word: bool,
    /// Whether a part of the current word is quoted.
    pub is_quoted: bool,
    /// The number of open brackets after a variable name.
    pub brackets: usize,
}

/// The innermost construct around a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::boot) enum Context {
    /// Words of commands, in the script or in `$(…)`.
    Words,
    Double,
    Single,
    Comment,
    /// `$'…'`
    Escapes,
    Backquotes,
    /// `${…}`
    Braces,
    /// `$((…))`
    Arithmetic,
}

/// A construct that has begun and not ended.
pub(in crate::boot) struct Open {
    pub at: Context,
    /// The number of open parentheses in it.
    pub parentheses: usize,
    pub command: Command,
}

/// The current line as written, to recognize the end of a here-document.
#[derive(Default)]
pub(in crate::boot) struct Line {
    pub text: String,
    pub value: Option<usize>,
}

impl Command {
    pub fn push(&mut self, c: char, is_quoted: bool) {
        self.has_word = true;
        self.is_quoted |= is_quoted;
        match c {
            '[' if !is_quoted && self.word.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => {
                self.brackets = self.brackets.saturating_add(1);
            }
            ']' if !is_quoted => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        if self.word.len() < MAX_WORD {
            self.word.push(c);
        }
    }

    /// Whether the current word assigns a variable.
    pub fn is_assignment(&self) -> bool {
        let name = self.word.split_once('=').map(|(name, _)| name.trim_end_matches('+'));
        name.is_some_and(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "_[]".contains(c))
        })
    }

    /// Ends the current word. Returns whether the word begins a `case`.
    pub fn end_word(&mut self) -> bool {
        if !self.has_word {
            return false;
        }
        let is_command = self.words == 0;
        let is_language =
            !self.is_quoted && (RESERVED.contains(&&*self.word) || matches!(&*self.word, "!" | "{"));
        let is_case = is_command && self.word == "case";
        if !(is_command && (self.is_assignment() || is_language)) {
            self.words = self.words.saturating_add(1);
            if is_command {
                self.name = self.word.rsplit('/').next().unwrap_or_default().to_owned();
            }
        }
        self.word.clear();
        (self.has_word, self.is_quoted, self.brackets) = (false, false, 0);
        is_case
    }
}

impl Line {
    pub fn push(&mut self, c: char) {
        // One character more than the longest delimiter is enough.
        if self.text.len() <= MAX_DELIMITER + 64 {
            self.text.push(c);
        }
    }

    /// Reports a value that turned the line into the end of a here-document.
    pub fn check(&self, delimiters: &BTreeSet<String>) -> Result<(), UnquotableValue> {
        let Some(number) = self.value else { return Ok(()) };
        if delimiters.contains(self.text.trim_start_matches('\t')) {
            return Err(UnquotableValue {
                number,
                reason: "it would end the here-document that contains it",
            });
        }
        Ok(())
    }
}
