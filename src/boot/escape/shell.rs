//! Values in a shell script (POSIX, "Shell Command Language", 2.2 and 2.6) and in GRUB's configuration.

use super::{Kind, Misplaced, Piece, Unfit, is_plain_word, next_piece, shell_word};

/// The text with every marked value written for its place.
pub(super) fn place(kind: Kind, text: &str) -> Result<String, Misplaced> {
    let mut out = String::with_capacity(text.len());
    let mut scan = Scan::new(kind);
    let mut rest = text;
    while let Some((piece, after)) = next_piece(rest) {
        rest = after;
        match piece {
            Piece::Letter(c) => {
                out.push(c);
                scan.letter(c, rest);
            }
            Piece::Value { number, value } => {
                out.push_str(&scan.value(value).map_err(|why| Misplaced { number, why })?);
                (scan.before, scan.escaped, scan.dollar) = (Some('x'), false, false);
            }
        }
    }
    Ok(out)
}

/// What something stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum In {
    /// Words of commands: of the script, or of `$(…)`.
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
    Sum,
}

struct Scan {
    kind: Kind,
    /// What is open in this line, with the parentheses that are open in it. The script itself is not in it.
    open: Vec<(In, usize)>,
    /// The letter before it in its line.
    before: Option<char>,
    /// A backslash stands before it.
    escaped: bool,
    /// A dollar sign stands before it.
    dollar: bool,
    /// What is open in the rest of the line depends on more than is followed here.
    is_unsure: bool,
}

impl Scan {
    fn new(kind: Kind) -> Scan {
        Scan { kind, open: Vec::new(), before: None, escaped: false, dollar: false, is_unsure: false }
    }

    fn at(&self) -> In {
        self.open.last().map_or(In::Words, |(at, _)| *at)
    }

    /// The next letter of the template is `c`, and then comes `rest`.
    fn letter(&mut self, c: char, rest: &str) {
        if c == '\n' {
            *self = Scan::new(self.kind);
            return;
        }
        let at = self.at();
        let dollar = std::mem::take(&mut self.dollar);
        if std::mem::take(&mut self.escaped) || at == In::Comment {
            self.before = Some(c);
            return;
        }
        let expands = self.kind == Kind::Shell && !matches!(at, In::Single | In::Escapes | In::Backquotes);
        let begins_word = self.before.is_none_or(char::is_whitespace);
        match (at, c) {
            (In::Single | In::Escapes, '\'') | (In::Double, '"') | (In::Backquotes, '`') => self.close(),
            (In::Braces, '}') => self.close(),
            (In::Single, _) => {}
            (_, '\\') => self.escaped = true,
            (In::Escapes | In::Backquotes, _) => {}
            (_, '`') if expands => self.open(In::Backquotes),
            (_, '$') => self.dollar = !dollar,
            (_, '{') if dollar && expands => self.open(In::Braces),
            (_, '(') if dollar && expands => {
                // The parentheses of its patterns are not open before they are closed.
                self.is_unsure |= rest.lines().next().is_some_and(|line| line.contains("case "));
                self.open(if rest.starts_with('(') { In::Sum } else { In::Words });
            }
            (In::Double, _) => {}
            (_, '"') => self.open(In::Double),
            (In::Words | In::Sum, '\'') if dollar && expands => self.open(In::Escapes),
            // A letter in "${x:-'}", and none in "${x%'}'}".
            (In::Braces, '\'') if self.around_braces() == In::Double => self.is_unsure = true,
            (_, '\'') => self.open(In::Single),
            (In::Words, '#') if begins_word => self.open(In::Comment),
            (In::Words | In::Sum, '(' | ')') => self.parenthesis(c),
            _ => {}
        }
        self.before = Some(c);
    }

    fn open(&mut self, what: In) {
        self.open.push((what, 0));
    }

    fn close(&mut self) {
        self.open.pop();
    }

    fn parenthesis(&mut self, c: char) {
        let Some((_, open)) = self.open.last_mut() else { return };
        match (c, *open) {
            ('(', _) => *open = open.saturating_add(1),
            (_, 0) => self.close(),
            _ => *open = open.saturating_sub(1),
        }
    }

    /// What the `${…}` stands in.
    fn around_braces(&self) -> In {
        let around = self.open.iter().rev().map(|(at, _)| *at).find(|at| *at != In::Braces);
        around.unwrap_or(In::Words)
    }

    fn is_in(&self, what: In) -> bool {
        self.open.iter().any(|(open, _)| *open == what)
    }

    /// `value` as it is written here.
    fn value(&self, value: &str) -> Result<String, Unfit> {
        let odd = [In::Escapes, In::Backquotes, In::Braces, In::Sum];
        let is_odd = self.is_unsure || odd.into_iter().any(|odd| self.is_in(odd));
        if is_plain_word(value) || (is_odd && value.is_empty()) {
            return Ok(value.to_owned());
        }
        if self.escaped || self.dollar {
            return Err("a backslash or a dollar sign stands before it");
        }
        if is_odd {
            return Err(
                "beside `…`, ${…}, $((…)), $'…' or a case in $(…) only letters, digits and _-./:=@%+, can stand: \
                        put it in a variable in a line before",
            );
        }
        Ok(match self.at() {
            In::Single => value.replace('\'', r"'\''"),
            In::Double => self.in_double_quotes(value),
            In::Comment => value.to_owned(),
            _ if self.kind == Kind::Grub => {
                let word = |word: &str| if word.is_empty() { String::new() } else { shell_word(word) };
                value.split(' ').map(word).collect::<Vec<_>>().join(" ")
            }
            _ => shell_word(value),
        })
    }

    fn in_double_quotes(&self, value: &str) -> String {
        let mut out = String::with_capacity(value.len());
        for c in value.chars() {
            // In GRUB a backslash before a backquote would stay.
            if matches!(c, '"' | '\\' | '$') || (c == '`' && self.kind == Kind::Shell) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark;
    use super::*;
    use std::process::Command;

    /// `template` with each `@` replaced by `value`.
    fn written(kind: Kind, template: &str, value: &str) -> Result<String, Unfit> {
        place(kind, &template.replace('@', &mark(kind, 1, value)?)).map_err(|misplaced| misplaced.why)
    }

    /// What a real shell reads is the value, however deep the quotes are that it stands in.
    #[test]
    fn a_real_shell_reads_the_value_back_from_quotes_in_quotes() {
        for value in ["$(echo INJECTED)", "a'b", "a\"b", "`id`", "a\\", "x; y", ")", "(", "}", "# x"] {
            for template in [
                "X=\"$(printf %s \"@\")\"; printf %s \"$X\"",
                "X=\"$(printf %s '@')\"; printf %s \"$X\"",
                "X=$(printf %s \"$(printf %s \"@\")\"); printf %s \"$X\"",
                "X=\"a$(echo ')' \"(\" >&2; (printf %s @))\"; printf %s \"${X#a}\"",
                "Y=\"${HOME%\"}\"}\" X=\"@\"; printf %s \"$X\"",
                "Y=\"$(Z=${HOME%'}'}; echo)\" X=\"@\"; printf %s \"$X\"",
                "Y=$((1+(2))) X=\"@\"; printf %s \"$X\"",
                "Y=`printf \"\\`printf y\\`\"` X=\"@\"; printf %s \"$X\"",
                "X=\"it's \\$(echo \" Y='\\' X=\"@\"; printf %s \"$X\"",
            ] {
                let script = written(Kind::Shell, template, value).unwrap();
                let output = Command::new("sh").args(["-c", &script]).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout), value, "{script}");
            }
        }
    }

    #[test]
    fn where_no_quotes_hold_a_value_there_are_only_plain_words() {
        for template in [
            "x=`echo @`",
            "y=\"${z%'}'}\" x=\"@\"",
            "x=\"$(case a in a) echo \"@\";; esac)\"",
            "x=\"${y:-@}\"",
            "x=${y:-'@'}",
            "x=$((@))",
            "x=$'@'",
            "x=\"$@\"",
            "x=$@",
            "x=\\@",
        ] {
            assert_eq!(written(Kind::Shell, template, "a-1").as_deref(), Ok(&*template.replace('@', "a-1")));
            for value in ["(reboot)", "a\\", "$(reboot)", "`reboot`", "a}b", "a'b"] {
                assert!(written(Kind::Shell, template, value).is_err(), "{template} {value}");
            }
        }
        // GRUB has none of this.
        assert_eq!(written(Kind::Grub, "echo `(@", "a;b").as_deref(), Ok("echo `('a;b'"));
    }
}
