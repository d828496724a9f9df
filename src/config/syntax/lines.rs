//! The lines of a text, as the YAML parser counts them, and the source line of a problem with a caret under it.

/// Maximum number of characters of a source line that are shown.
const MAX_SHOWN: usize = 70;

/// The lines of a text.
pub(in crate::config) struct Lines<'t> {
    text: &'t str,
    /// The offset at which each line begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(in crate::config) fn of(text: &'t str) -> Lines<'t> {
        let text = without_bom(text);
        let mut starts = vec![0];
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let after = match byte {
                b'\n' => at + 1,
                b'\r' if bytes.get(at + 1) != Some(&b'\n') => at + 1,
                // NEL, and the separators of lines and paragraphs, which YAML 1.1 counts as line breaks.
                0xc2 if bytes.get(at + 1) == Some(&0x85) => at + 2,
                0xe2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => at + 3,
                _ => continue,
            };
            starts.push(after);
        }
        Lines { text, starts }
    }

    /// A line without its line break. Lines are counted from 1; others are empty.
    pub(in crate::config) fn line(&self, number: usize) -> &'t str {
        let index = number.wrapping_sub(1);
        let Some(start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        let line = self.text.get(*start..end).unwrap_or_default();
        line.trim_end_matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
    }

    /// The text before a position.
    pub(in crate::config) fn before(&self, line: usize, column: usize) -> &'t str {
        let Some(start) = self.starts.get(line.wrapping_sub(1)) else { return "" };
        let rest = self.text.get(*start..).unwrap_or_default();
        let length = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
        self.text.get(..start + length).unwrap_or_default()
    }

    /// The line and column after `before`, which is a beginning of the text.
    pub(in crate::config) fn end_of(&self, before: &str) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= before.len());
        let start = self.starts.get(line.wrapping_sub(1)).copied().unwrap_or(0);
        (line, before.get(start..).map_or(0, |text| text.chars().count()) + 1)
    }

    /// The source line with its number, and a line with a caret under the column. Tabs are shown as `→`, because they
    /// are the usual mistake. A long line is cut on both sides.
    pub(in crate::config) fn excerpt(&self, line: usize, column: usize) -> String {
        let shown = |c: char| if c == '\t' { '→' } else { c };
        let letters: Vec<char> = self.line(line).chars().map(shown).collect();
        let at = column.saturating_sub(1).min(letters.len());
        let first = if letters.len() > MAX_SHOWN { at.saturating_sub(MAX_SHOWN / 2) } else { 0 };
        let piece: String = letters.iter().skip(first).take(MAX_SHOWN).collect();
        let gutter = line.to_string();
        let margin = " ".repeat(gutter.len());
        format!("  {gutter} | {}\n  {margin} | {}^", escape_control(&piece), " ".repeat(at - first))
    }
}

/// The text after a byte order mark. Some editors write the mark, and the parser would read it as a document.
pub(in crate::config) fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Escapes control characters, so that text of the file cannot control a terminal.
pub(in crate::config) fn escape_control(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_those_of_the_parser() {
        let lines = Lines::of("\u{feff}a\r\nbé\rc\u{85}d\n");
        let all: Vec<&str> = (0..=6).map(|number| lines.line(number)).collect();
        assert_eq!(all, ["", "a", "bé", "c", "d", "", ""]);
        assert_eq!(lines.before(2, 3), "a\r\nbé");
        assert_eq!(lines.end_of("a\r\nbé"), (2, 3));
        assert_eq!(lines.end_of(""), (1, 1));
        assert_eq!(lines.before(9, 9), "");
    }

    #[test]
    fn a_caret_stands_under_the_column() {
        let text = format!("\tab\n{}x{}\n", "l".repeat(200), "r".repeat(200));
        let lines = Lines::of(&text);
        assert_eq!(lines.excerpt(1, 2), "  1 | →ab\n    |  ^");
        let long = lines.excerpt(2, 201);
        let (source, caret) = long.split_once('\n').unwrap();
        assert_eq!(source.chars().nth(caret.chars().count() - 1), Some('x'));
        assert!(source.chars().count() <= 80, "{source}");
    }
}
