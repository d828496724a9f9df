//! Values in a preseed file. A value ends with its line, so no quoting is necessary. But the installer passes some
//! answers to a shell, and there only plain words are safe.

use crate::boot::loader::escape::marks::{Piece, UnquotableReason, UnquotableValue, render};
use crate::boot::loader::escape::quotes::is_plain_word;

/// Parts of the names of questions whose answers are commands: `preseed/late_command`, `partman/early_command`.
const COMMANDS: [&str; 2] = ["_command", "preseed/run"];
/// The number of bytes kept of a line. The name of its question is among its first words.
const MAX_LINE: usize = 1024;
const COMMAND: UnquotableReason = "a value in a command of preseed may have only letters, digits and _-./:=@%+,: use the filter sh, or fetch a script";

/// Inserts every marked value into the text.
pub(in crate::boot) fn quote_values(text: &str) -> Result<String, UnquotableValue> {
    let (mut line, mut last) = (String::new(), None);
    render(text, |piece, _, out| {
        match piece {
            Piece::Character(c) => {
                out.push(c);
                if c == '\n' && last != Some('\\') {
                    line.clear();
                } else if line.len() < MAX_LINE {
                    line.push(c);
                }
                last = Some(c);
            }
            Piece::Value { number, value } => {
                let is_command = COMMANDS.iter().any(|name| line.contains(name));
                if is_command && !value.is_empty() && !is_plain_word(value) {
                    return Err(UnquotableValue { number, reason: COMMAND });
                }
                out.push_str(value);
                last = value.chars().next_back().or(last);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Syntax, mark, quote_values};

    #[test]
    fn s_13_commands_of_preseed_get_plain_words() {
        let written = |template: &str, value: &str| {
            let marked = mark(Syntax::Preseed, 1, value).unwrap();
            quote_values(Syntax::Preseed, &template.replace('@', &marked))
                .map_err(|misplaced| misplaced.reason)
        };
        for template in [
            "d-i preseed/late_command string in-target sh -c \"echo @\"\n",
            "d-i preseed/early_command string echo a; \\\n  echo '@'\n",
            "d-i partman/early_command string debconf-set partman-auto/disk @\n",
        ] {
            assert!(written(template, "$(reboot)").is_err(), "{template}");
            assert_eq!(written(template, "/dev/sda").as_deref(), Ok(&*template.replace('@', "/dev/sda")));
        }
        let name = "d-i preseed/late_command string true\nd-i passwd/user-fullname string @\n";
        assert!(written(name, "Ada (Lovelace)").is_ok());
    }
}
