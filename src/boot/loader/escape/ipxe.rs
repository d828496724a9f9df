//! Values in an iPXE script. iPXE has no quotes, so a value either is plain text in its place or is refused.
//!
//! iPXE reads a line at a time (`image/script.c`), replaces `${…}`, and splits the line at spaces (`core/exec.c`). Two
//! adjacent values can together form something special, so the whole line is checked.

use crate::boot::loader::escape::marks::{Piece, UnquotableReason, UnquotableValue, render};

/// Inserts every marked value into the text.
pub(in crate::boot) fn quote_values(text: &str) -> Result<String, UnquotableValue> {
    let mut line = Line::default();
    let out = render(text, |piece, _, out| {
        match piece {
            Piece::Character('\n') => {
                line.judge()?;
                line = Line::default();
                out.push('\n');
            }
            Piece::Character(c) => {
                out.push(c);
                line.letters.push((c, None));
            }
            Piece::Value { number, value } => {
                out.push_str(value);
                line.letters.extend(value.chars().map(|c| (c, Some(number))));
                line.last = Some(number);
            }
        }
        Ok(())
    })?;
    line.judge()?;
    Ok(out)
}

/// The characters of a line, each with the number of the value that it comes from.
#[derive(Default)]
struct Line {
    letters: Vec<(char, Option<usize>)>,
    /// The last value in the line, which may be empty.
    last: Option<usize>,
}

impl Line {
    /// Checks that all values in the line are plain text for iPXE.
    fn judge(&self) -> Result<(), UnquotableValue> {
        if self.last.is_none() {
            return Ok(());
        }
        let refused = |number: Option<usize>, reason: UnquotableReason| {
            number.map_or(Ok(()), |number| Err(UnquotableValue { number, reason }))
        };
        for pair in self.letters.windows(2) {
            if let [('$', first), ('{', second)] = pair {
                refused(
                    second.or(*first),
                    "with what stands beside it, it has ${ in it, which iPXE would fill in",
                )?;
            }
        }
        for word in self.letters.split(|(c, _)| c.is_whitespace()) {
            let number = word.iter().rev().find_map(|(_, number)| *number);
            let text: String = word.iter().take(3).map(|(c, _)| *c).collect();
            if matches!(&*text, "||" | "&&" | ";") {
                refused(
                    number,
                    "with what stands beside it, it is a word that ends a command of iPXE (||, &&, ;)",
                )?;
            }
            if let Some(('#', number)) = word.first() {
                refused(*number, "it begins a word with #, which is a comment for iPXE")?;
            }
        }
        let text: Vec<_> = self.letters.iter().filter(|(c, _)| *c != '\r').collect();
        if let Some(('\\', number)) = text.last() {
            refused(*number, "it ends the line in \\, by which iPXE joins two lines")?;
        }
        if let Some((':', number)) = text.iter().find(|(c, _)| !c.is_whitespace()) {
            refused(*number, "it begins the line with a colon, which is a label for iPXE")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Syntax, mark, quote_values};

    /// Replaces each `@` in `template` with the next of `values`.
    fn written(template: &str, values: &[&str]) -> Result<String, &'static str> {
        let mut text = template.to_owned();
        for (number, value) in values.iter().enumerate() {
            text = text.replacen('@', &mark(Syntax::Ipxe, number, value)?, 1);
        }
        quote_values(Syntax::Ipxe, &text).map_err(|misplaced| misplaced.reason)
    }

    #[test]
    fn s_16_joined_values_are_judged_as_one_line() {
        for (template, values) in [
            ("echo @@ reboot", &["|", "|"][..]),
            ("echo x @@@ reboot", &["&", "", "&"]),
            ("echo |@ reboot", &["|"]),
            ("echo @| reboot", &["|"]),
            ("echo @@net0/mac}", &["$", "{"]),
            ("echo $@", &["{net0/mac}"]),
            ("echo @{net0/mac}", &["$"]),
            ("echo a@@", &["x\\", ""]),
            ("echo @\nreboot", &["x\\"]),
            ("echo @\r\nreboot", &["x\\"]),
            ("@start", &[":"]),
            ("  @", &[":start"]),
            ("echo @@", &[" ", "#x"]),
            ("echo\t@@x", &["", "#"]),
            ("echo @@@", &["a ", ";", " b"]),
        ] {
            assert!(written(template, values).is_err(), "{template} {values:?}");
        }
        for (template, values, text) in [
            ("echo @@ || reboot", &["a|", "|b"][..], "echo a||b || reboot"),
            (
                "kernel http://@/x${net0/mac} a=@ # c",
                &["10.0.0.1", "$x"],
                "kernel http://10.0.0.1/x${net0/mac} a=$x # c",
            ),
            (":@\necho @ a", &["label", "C:\\"], ":label\necho C:\\ a"),
        ] {
            assert_eq!(written(template, values).as_deref(), Ok(text), "{template} {values:?}");
        }
    }
}
