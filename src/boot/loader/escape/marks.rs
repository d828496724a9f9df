//! Marks around the values of a text until each is quoted for its context, and the loop that replaces them.

/// The reason why a value cannot be written, for the user.
pub type UnquotableReason = &'static str;

/// Begins a marked value, and ends its number.
pub(super) const OPEN: char = '\u{1}';
/// Ends a marked value.
pub(super) const CLOSE: char = '\u{2}';

/// A value that cannot be quoted in its context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnquotableValue {
    /// The number passed to [`mark`](super::mark).
    pub number: usize,
    pub reason: UnquotableReason,
}

/// Whether `text` contains the marker characters of [`mark`](super::mark), which no template contains.
pub fn has_marks(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// A part of a text with marked values.
pub(super) enum Piece<'t> {
    Character(char),
    Value { number: usize, value: &'t str },
}

/// Splits the first piece off `text`.
fn next_piece(text: &str) -> Option<(Piece<'_>, &str)> {
    let c = text.chars().next()?;
    let rest = text.get(c.len_utf8()..).unwrap_or_default();
    if c != OPEN {
        return Some((Piece::Character(c), rest));
    }
    let (inside, after) = rest.split_once(CLOSE).unwrap_or((rest, ""));
    let (number, value) = inside.split_once(OPEN).unwrap_or(("", inside));
    Some((Piece::Value { number: number.parse().unwrap_or_default(), value }, after))
}

/// Renders a text: `write` appends each piece to the result, together with the text after the piece.
///
/// # Errors
/// The first error of `write`.
pub(super) fn render<'t>(
    text: &'t str,
    mut write: impl FnMut(Piece<'t>, &'t str, &mut String) -> Result<(), UnquotableValue>,
) -> Result<String, UnquotableValue> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((piece, after)) = next_piece(rest) {
        rest = after;
        write(piece, rest, &mut out)?;
    }
    Ok(out)
}
