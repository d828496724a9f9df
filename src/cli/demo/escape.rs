//! The escape sequences of a terminal, which firmware and boot loaders write to the serial console: they move the cursor,
//! also in the middle of a word.

/// The position within an escape sequence.
#[derive(Debug, Default)]
pub(super) enum Escape {
    #[default]
    None,
    /// After ESC.
    Started,
    /// After ESC and `[`, until a letter.
    Sequence,
}

impl Escape {
    /// Whether `character` is text, and not part of an escape sequence. It must be called once for each character, in
    /// order.
    pub(super) fn is_text(&mut self, character: char) -> bool {
        let (next, is_text) = match (&self, character) {
            (Escape::Started, '[') => (Escape::Sequence, false),
            (Escape::Started, _) | (Escape::Sequence, '@'..='~') => (Escape::None, false),
            (Escape::Sequence, _) => (Escape::Sequence, false),
            (Escape::None, '\x1b') => (Escape::Started, false),
            (Escape::None, _) => (Escape::None, true),
        };
        *self = next;
        is_text
    }
}
