//! Finds lines of a shell script whose words are parsed a second time: `eval`, `sh -c`, a pipe into a shell,
//! arithmetic. Quotes do not protect a value there.
//!
//! The search looks at the text of the template, not at parsed commands, and prefers false positives. A false positive
//! refuses a value that could have been written. A false negative would execute a value.

use crate::boot::loader::escape::marks::{CLOSE, OPEN};

/// Commands that run or parse an argument as a program, anywhere in a line.
const REPARSING: [&str; 22] = [
    "eval",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "perl",
    "python",
    "python2",
    "python3",
    "ruby",
    "php",
    "lua",
    "sed",
    "ssh",
    "declare",
    "typeset",
    "parallel",
    "PROMPT_COMMAND",
    "PS1",
    "PS4",
    "BASH_ENV",
    "crontab",
];
/// Such commands whose names are English words too. They count only in the position of a command.
const REPARSING_AS_COMMANDS: [&str; 12] =
    ["let", "trap", "alias", "source", ".", "at", "batch", "watch", "expect", "unset", "node", "mapfile"];
/// Commands that parse an argument again if they have an option, or a name with an index.
const REPARSING_WITH_OPTION: [&str; 3] = ["local", "export", "readonly"];
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "sudo", "source"];
/// Words after which the next word is still in the position of a command.
const BEFORE_COMMANDS: [&str; 18] = [
    "if", "then", "else", "elif", "do", "while", "until", "sudo", "exec", "command", "builtin", "env",
    "nohup", "time", "nice", "xargs", "chroot", "setsid",
];
/// The maximum length of a line in bytes. A longer line counts as parsed again.
const MAX_LINE: usize = 64 << 10;

/// Returns the line that `rest` begins with, together with its continuation lines.
pub(in crate::boot) fn logical_line(rest: &str) -> &str {
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        end += line.len();
        let line = line.trim_end();
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 0 && !line.ends_with(['|', '&']) || end > MAX_LINE {
            break;
        }
    }
    rest.get(..end).unwrap_or(rest)
}

/// Whether words of `line` are parsed again.
pub(in crate::boot) fn is_reparsed(line: &str) -> bool {
    // `$((…))` and character classes are handled elsewhere.
    let brackets = line.replace("[[:", "").replace("$((", "");
    let signs = ["<<<", "<(", ">(", "((", "$["];
    if line.len() > MAX_LINE || signs.iter().any(|sign| brackets.contains(sign)) || brackets.contains("[[") {
        return true;
    }
    let words: Vec<Word<'_>> = words(line).collect();
    let has = |wanted: &str| words.iter().any(|word| word.text == wanted);
    let has_option = || words.iter().any(|word| word.text.starts_with('-'));
    let is_program_option = |text: &str| {
        let letters = text.strip_prefix('-').and_then(|rest| rest.strip_suffix('c'));
        letters.is_some_and(|letters| letters.chars().all(|c| c.is_ascii_alphabetic()))
    };
    words.iter().any(|word| {
        REPARSING.contains(&word.text)
            || (word.is_command && REPARSING_AS_COMMANDS.contains(&word.text))
            || (REPARSING_WITH_OPTION.contains(&word.text) && (has_option() || line.contains('[')))
            || is_program_option(word.text)
    }) || (has("-v") && (line.contains('[') || has("test") || has("printf")))
        || is_piped_to_shell(line)
}

/// Whether words of the whole script are parsed again: by an `eval` of a variable, or a block piped into a shell.
pub(in crate::boot) fn is_script_reparsed(text: &str) -> bool {
    if let Some(interpreter) = text.strip_prefix("#!").and_then(|rest| rest.lines().next())
        && !is_shell(interpreter)
    {
        return true;
    }
    text.lines().map(str::trim_start).filter(|line| !line.starts_with('#')).any(|line| {
        let ends_block = ["}", ")", "done", "fi", "esac"].iter().any(|end| line.starts_with(end));
        words(line).any(|word| word.text == "eval") || (ends_block && is_piped_to_shell(line))
    })
}

/// Whether the Kickstart section that begins with `line` is read by something other than a shell. Returns `None` if no
/// section begins or ends there.
pub(in crate::boot) fn begins_foreign_section(line: &str) -> Option<bool> {
    let name = line.strip_prefix('%')?.split(char::is_whitespace).next()?;
    match name {
        "pre" | "post" | "preinstall" | "pre-install" | "onerror" | "traceback" => {
            let interpreter = line.split("--interpreter").nth(1);
            Some(interpreter.is_some_and(|rest| {
                let rest = rest.trim_start_matches(['=', ' ']);
                !is_shell(rest.split(char::is_whitespace).next().unwrap_or_default())
            }))
        }
        "end" => Some(false),
        _ => None,
    }
}

fn is_shell(interpreter: &str) -> bool {
    let words = interpreter.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    words.take(2).any(|word| word.ends_with("sh"))
}

fn is_piped_to_shell(line: &str) -> bool {
    line.split('|').skip(1).any(|after| {
        let first = words(after).next();
        first.is_some_and(|word| SHELLS.contains(&word.text))
    })
}

#[derive(Clone, Copy)]
struct Word<'l> {
    text: &'l str,
    /// Whether the word is in the position of a command.
    is_command: bool,
}

/// Returns the words of a line, including those in quotes. Of a path, returns the last component.
fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || "_.-+".contains(c);
    let mut rest = line;
    let mut is_command = true;
    std::iter::from_fn(move || {
        loop {
            let begin = rest.find(is_part)?;
            let gap = rest.get(..begin)?;
            if gap.contains(';') || gap.contains(['&', '|', '(', '{', '!', '`', '\n']) {
                is_command = true;
            }
            let word = rest.get(begin..)?;
            let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
            let (text, after) = word.split_at(end);
            rest = after;
            // This is a path, or the name of a variable that is set.
            if rest.starts_with('/') {
                continue;
            }
            let found = Word { text, is_command };
            is_command &= rest.starts_with('=') || BEFORE_COMMANDS.contains(&text);
            return Some(found);
        }
    })
}

/// Reads the delimiter of a here-document from `rest`, the text after `<<`. The flag says whether leading tabs are
/// stripped. Returns `Err` if a value is part of the delimiter or it cannot be parsed.
pub(in crate::boot) fn delimiter(rest: &str) -> Result<(String, bool), ()> {
    let (rest, strips_tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let mut letters = rest.trim_start_matches([' ', '\t']).chars();
    let (mut text, mut quote) = (String::new(), None);
    while let Some(c) = letters.next() {
        match (c, quote) {
            (OPEN | CLOSE, _) => return Err(()),
            (c, Some(open)) if c == open => quote = None,
            ('\n', Some(_)) => return Err(()),
            ('\'' | '"', None) => quote = Some(c),
            ('\\', None) => text.extend(letters.next()),
            (c, None) if c.is_whitespace() || ";&|<>()".contains(c) => break,
            ('$' | '`', _) => return Err(()),
            (c, _) => text.push(c),
        }
    }
    if text.is_empty() || text.len() > MAX_DELIMITER { Err(()) } else { Ok((text, strips_tabs)) }
}

/// The maximum length of a here-document delimiter in bytes.
pub(in crate::boot) const MAX_DELIMITER: usize = 256;
