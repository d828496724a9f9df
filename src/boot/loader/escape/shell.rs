//! Values in a shell script (POSIX, "Shell Command Language", 2.2 to 2.7, and what bash adds) and in GRUB's
//! configuration.
//!
//! Quotes hold a value where this file knows what reads it: in the words of a command, and in quotes that begin in the
//! same line. Everywhere else a value must be a plain word, which means the same to every reader, or it is refused:
//! here-documents, strings of several lines, indexes of arrays, `${…}`, sums, and what is read once more
//! (`commands.rs`).

use std::collections::{BTreeSet, VecDeque};

use super::commands::{begins_foreign_section, delimiter, is_read_again, is_script_read_again, logical_line};
use super::word::{
    AGAIN, Command, DOCUMENT, FORMAT, INDEX, LINES, Line, MAX_WORD, ODD, RESERVED, in_double_quotes,
    is_word_letter,
};
use super::{Kind, Misplaced, OPEN, Piece, Unfit, is_plain_word, next_piece, shell_word};

/// Constructs inside one another. What is deeper is not followed.
const MAX_OPEN: usize = 64;
/// The text with every marked value written for its place.
pub(in crate::boot) fn place(kind: Kind, text: &str) -> Result<String, Misplaced> {
    let mut out = String::with_capacity(text.len());
    let mut scan = Scan::new(kind, text);
    let mut rest = text;
    scan.begin_line(rest);
    while let Some((piece, after)) = next_piece(rest) {
        rest = after;
        match piece {
            Piece::Letter(c) => {
                out.push(c);
                if c == '\n' {
                    scan.line.check(&scan.delimiters)?;
                }
                scan.letter(c, rest);
            }
            Piece::Value { number, value } => {
                let written = scan.value(value, rest).map_err(|why| Misplaced { number, why })?;
                scan.after_value(number, &written);
                out.push_str(&written);
            }
        }
    }
    scan.line.check(&scan.delimiters)?;
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

/// Something that is open.
struct Open {
    at: In,
    /// Parentheses that are open in it.
    parentheses: usize,
    command: Command,
}

struct Scan {
    kind: Kind,
    /// The constructs that are open, the script itself first.
    open: Vec<Open>,
    line: Line,
    /// A string goes on in this line that began before.
    is_torn: bool,
    /// Bytes of the text behind the line and those that it goes on in.
    behind: usize,
    /// The letter before it in its line.
    before: Option<char>,
    /// A backslash stands before it.
    escaped: bool,
    /// A dollar sign stands before it.
    dollar: bool,
    /// From here to the end, the open constructs depend on more than this file follows.
    is_unsure: bool,
    /// The reader of this script reads its words once more. The same for this section and this line.
    is_foreign: bool,
    is_foreign_section: bool,
    is_read_again: bool,
    /// Here-documents that begin behind this line, or of which this line is one.
    documents: VecDeque<(String, bool)>,
    is_document: bool,
    /// All delimiters so far.
    delimiters: BTreeSet<String>,
    /// A value would be part of a delimiter.
    is_delimiter: bool,
}

impl Scan {
    fn new(kind: Kind, text: &str) -> Scan {
        let script = Open { at: In::Words, parentheses: 0, command: Command::default() };
        Scan {
            kind,
            open: vec![script],
            line: Line::default(),
            is_torn: false,
            behind: usize::MAX,
            before: None,
            escaped: false,
            dollar: false,
            is_unsure: false,
            is_foreign: is_script_read_again(text),
            is_foreign_section: false,
            is_read_again: false,
            documents: VecDeque::new(),
            is_document: false,
            delimiters: BTreeSet::new(),
            is_delimiter: false,
        }
    }

    fn at(&self) -> In {
        self.open.last().map_or(In::Words, |open| open.at)
    }

    /// A line begins that no backslash joins to the one before.
    fn begin_line(&mut self, rest: &str) {
        self.is_torn = self.open.iter().any(|open| matches!(open.at, In::Double | In::Single));
        if rest.len() > self.behind {
            // It belongs to the command of the line before, which was looked at with it.
            return;
        }
        let line = logical_line(rest);
        self.behind = rest.len().saturating_sub(line.len());
        self.is_read_again = is_read_again(line);
        self.is_unsure |= line.matches("((").count() > line.matches("))").count();
        self.is_unsure |= line.matches("[[").count() > line.matches("]]").count();
        if let Some(is_foreign) = begins_foreign_section(line).filter(|_| self.kind == Kind::Shell) {
            self.is_foreign_section = is_foreign;
        }
    }

    /// The next letter of the template is `c`, and then comes `rest`.
    fn letter(&mut self, c: char, rest: &str) {
        if self.is_document {
            return self.letter_of_document(c, rest);
        }
        if c == '\n' {
            return self.end_line(rest);
        }
        self.line.push(c);
        let at = self.at();
        let dollar = std::mem::take(&mut self.dollar);
        if std::mem::take(&mut self.escaped) || at == In::Comment {
            self.word_letter(c, true);
            self.before = Some(c);
            return;
        }
        let expands = self.kind == Kind::Shell && !matches!(at, In::Single | In::Escapes | In::Backquotes);
        let begins_word = self.before.is_none_or(|c| c.is_whitespace() || ";&|()".contains(c));
        match (at, c) {
            (In::Single | In::Escapes, '\'')
            | (In::Double, '"')
            | (In::Backquotes, '`')
            | (In::Braces, '}') => {
                self.close();
            }
            (In::Single, _) => self.word_letter(c, true),
            (_, '\\') => {
                // Before a line end it is as if neither were there.
                self.escaped = true;
                return;
            }
            (In::Escapes | In::Backquotes, _) => {}
            (_, '`') if expands => self.open(In::Backquotes),
            (_, '$') => self.dollar = !dollar,
            (_, '{') if dollar && expands => self.open(In::Braces),
            (_, '(') if dollar && expands => {
                self.open(if rest.starts_with('(') { In::Sum } else { In::Words });
            }
            (In::Double, _) => self.word_letter(c, true),
            (_, '"') => self.open(In::Double),
            (In::Words | In::Sum, '\'') if dollar && expands => self.open(In::Escapes),
            // A letter in "${x:-'}", and none in "${x%'}'}".
            (In::Braces, '\'') if self.around_braces() == In::Double => self.is_unsure = true,
            (_, '\'') => self.open(In::Single),
            (In::Words, '#') if begins_word => self.open(In::Comment),
            (In::Words, '<') if self.kind == Kind::Shell && rest.starts_with('<') => self.document(rest),
            (In::Words | In::Sum, '(' | ')') => self.parenthesis(c),
            (In::Words, _) => self.word_letter(c, false),
            _ => {}
        }
        self.before = Some(c);
    }

    /// A letter of a word, which a blank or an operator outside quotes ends.
    fn word_letter(&mut self, c: char, is_quoted: bool) {
        let is_inside = self.open.len() > 1;
        let Some(open) = self.open.iter_mut().rev().find(|open| open.at == In::Words) else { return };
        let command = &mut open.command;
        if !is_quoted && (c.is_whitespace() || ";&|()`".contains(c)) {
            // The parentheses of its patterns are not open before they are closed.
            self.is_unsure |= command.end_word() && is_inside;
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
        if self.at() == In::Comment {
            self.close();
            self.escaped = false;
        }
        if std::mem::take(&mut self.escaped) {
            // The line goes on, with the same letter before.
            return;
        }
        self.before = None;
        self.is_delimiter = false;
        if self.at() == In::Words {
            self.word_letter(';', false);
            self.is_document = !self.documents.is_empty();
        }
        self.begin_line(rest);
    }

    fn letter_of_document(&mut self, c: char, rest: &str) {
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

    /// A here-document begins, with `rest` behind the first `<`.
    fn document(&mut self, rest: &str) {
        // Of `<<<` the line is read once more. The second `<` of `<<` begins nothing.
        if self.before == Some('<') || rest.starts_with("<<") {
            return;
        }
        match delimiter(rest.strip_prefix('<').unwrap_or(rest)) {
            Ok((end, strips_tabs)) => {
                self.delimiters.insert(end.clone());
                self.documents.push_back((end, strips_tabs));
            }
            Err(()) => (self.is_delimiter, self.is_unsure) = (true, true),
        }
    }

    fn open(&mut self, at: In) {
        if self.open.len() >= MAX_OPEN {
            self.is_unsure = true;
            return;
        }
        if matches!(at, In::Double | In::Single)
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
        self.word_letter(c, false);
        let Some(open) = self.open.last_mut() else { return };
        match (c, open.parentheses) {
            ('(', _) => open.parentheses = open.parentheses.saturating_add(1),
            (_, 0) if is_script => {}
            (_, 0) => self.close(),
            _ => open.parentheses = open.parentheses.saturating_sub(1),
        }
    }

    /// What the `${…}` stands in.
    fn around_braces(&self) -> In {
        let around = self.open.iter().rev().map(|open| open.at).find(|at| *at != In::Braces);
        around.unwrap_or(In::Words)
    }

    /// Why only a plain word can stand here.
    fn plain_only(&self) -> Option<Unfit> {
        let is_odd = |open: &Open| matches!(open.at, In::Escapes | In::Backquotes | In::Braces | In::Sum);
        if self.is_document {
            return Some(DOCUMENT);
        }
        if self.at() == In::Comment && !self.is_unsure {
            return None;
        }
        if self.is_torn {
            return Some(LINES);
        }
        if self.is_unsure || self.open.iter().any(is_odd) {
            return Some(ODD);
        }
        if self.is_foreign || self.is_foreign_section || self.is_read_again {
            return Some(AGAIN);
        }
        self.open.iter().any(|open| open.command.brackets > 0).then_some(INDEX)
    }

    /// `value` as it is written here, before `rest`.
    fn value(&self, value: &str, rest: &str) -> Result<String, Unfit> {
        if self.is_delimiter {
            return Err("no value can be in the delimiter of a here-document");
        }
        let plain_only = self.plain_only();
        if plain_only.is_some() && value.is_empty() {
            return Ok(String::new());
        }
        if let Some(why) = plain_only.filter(|_| !is_plain_word(value)) {
            return Err(why);
        }
        let command = self.open.iter().rev().find(|open| open.at == In::Words).map(|open| &open.command);
        let is_command = command.is_some_and(|command| command.words == 0 && !command.is_assignment());
        if is_plain_word(value) {
            let letters = command.is_some_and(|command| command.name == "printf" && command.words == 1);
            if letters && value.contains('%') {
                return Err(FORMAT);
            }
            // Neither a word of the language nor an assignment is in quotes.
            let behind = rest.find(|c| !is_word_letter(c) || c == OPEN).and_then(|end| rest.get(..end));
            let word = command.map(|command| format!("{}{value}{}", command.word, behind.unwrap_or(rest)));
            let is_reserved = word.is_some_and(|word| RESERVED.contains(&&*word));
            let needs_quotes = self.at() == In::Words
                && plain_only.is_none()
                && self.kind == Kind::Shell
                && is_command
                && (is_reserved || value.contains('='));
            return Ok(if needs_quotes { format!("'{value}'") } else { value.to_owned() });
        }
        if self.escaped || self.dollar {
            return Err("a backslash or a dollar sign stands before it");
        }
        if self.at() != In::Comment && self.kind == Kind::Shell {
            let is_format = command.is_some_and(|command| command.name == "printf" && command.words == 1);
            if is_format && value.contains(['%', '\\']) {
                return Err(FORMAT);
            }
            if command.is_some_and(|command| command.name == "echo") && value.contains('\\') {
                return Err("some shells read a backslash in what echo writes: use printf '%s\\n'");
            }
        }
        Ok(match self.at() {
            In::Single => value.replace('\'', r"'\''"),
            In::Double => in_double_quotes(self.kind, value),
            In::Comment => value.to_owned(),
            _ if self.kind == Kind::Grub => {
                let word = |word: &str| if word.is_empty() { String::new() } else { shell_word(word) };
                value.split(' ').map(word).collect::<Vec<_>>().join(" ")
            }
            _ => shell_word(value),
        })
    }

    /// A value was written.
    fn after_value(&mut self, number: usize, written: &str) {
        written.chars().for_each(|c| self.line.push(c));
        self.line.value = Some(number);
        (self.before, self.escaped, self.dollar) = (Some('x'), false, false);
        let is_quoted = self.at() != In::Words || !is_plain_word(written);
        if let Some(open) = self.open.iter_mut().rev().find(|open| open.at == In::Words) {
            open.command.has_word = true;
            written.chars().take(MAX_WORD).for_each(|c| open.command.push(c, is_quoted));
        }
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

    /// Places in which no quotes hold a value. `@` is the value.
    const STRICT: [&str; 47] = [
        "cat <<EOF\nx @\nEOF\n",
        "cat <<'EOF'\nx @\nEOF\n",
        "cat <<\"EOF\"\n\"@\"\nEOF\n",
        "cat <<\\EOF\n'@'\nEOF\n",
        "cat <<-EOF\n\t\"@\"\n\tEOF\n",
        "cat <<A <<'B'; echo\nx\nA\n'@'\nB\n",
        "x=$(cat <<EOF\n\"@\"\nEOF\n)\n",
        "x=\"$(cat <<EOF\n@\nEOF\n)\"\n",
        "cat << EOF > x; y=\"a\"\n'@'\nEOF\n",
        "cat <<EOF\n\\$x \\`y\n'@'\nEOF\n",
        "if true; then cat <<EOF\nit's @\nEOF\nfi\n",
        "x=\"a\nb @ c\"\n",
        "x='a\nb @ c'\n",
        "x=\"a\nb\" y=\"@\"\n",
        "x='it\n'\"@\"\n",
        "a[@]=1\n",
        "a['@']=1\n",
        "a[\"@\"]=1\n",
        "echo \"${a[@]}\"\n",
        "echo ${x:-\"@\"}\n",
        "eval \"echo @\"\n",
        "eval 'echo @'\n",
        "eval echo '@'\n",
        "x='@'; eval \"$x\"\n",
        "x='@'\neval echo $x\n",
        "sh -c 'echo @'\n",
        "bash -ec \"echo '@'\"\n",
        "echo '@' | sh\n",
        "echo '@' |\n sh\n",
        "{ echo '@'\n} | bash\n",
        "bash <<< '@'\n",
        "bash <(echo '@')\n",
        "trap 'echo @' EXIT\n",
        "alias x='@'\n",
        "let 'x=@'\n",
        "declare -i x='@'\n",
        "f() { local 'x[@]=1'; }\n",
        "unset 'x[@]'\n",
        "declare -a x='(@)'\n",
        "(( x = '@' ))\n",
        "((\nx = '@'\n))\n",
        "[[ '@' -eq 1 ]]\n",
        "[ -v '@' ]\n",
        "echo $[ '@' ]\n",
        "awk 'BEGIN { print \"@\" }'\n",
        "sed 's/x/@/'\n",
        "sed -n \\\n -e '@'\n",
    ];
    const HOSTILE: [&str; 9] = [
        "$(touch executed)",
        "`touch executed`",
        "; touch executed;",
        "'; touch executed; '",
        "\"; touch executed; \"",
        "a[$(touch executed)]",
        "x\\",
        "$HOME",
        "} ) touch executed",
    ];

    #[test]
    fn s_13_where_quotes_hold_no_value_only_plain_words_stand() {
        for template in STRICT {
            for value in HOSTILE {
                let made = written(Kind::Shell, template, value);
                assert!(made.is_err(), "{template} {value}: {made:?}");
            }
            for value in ["eth0", "10.0.0.1/24", "a_b-c"] {
                let made = written(Kind::Shell, template, value);
                assert_eq!(made.as_deref(), Ok(&*template.replace('@', value)), "{template}");
            }
        }
    }

    /// In all other places bash executes nothing of a value.
    #[test]
    fn s_13_bash_executes_no_value() {
        const PLACES: [&str; 34] = [
            "x=@\n",
            "echo @ \"@\" '@'\n",
            "printf '%s\\n' \"a @\"\n",
            "printf \"@\"\n",
            "x=$(echo @; echo \"@\")\n",
            "x=$(\n  echo '@'\n)\n",
            "x=\"$(echo \"@\")\"\n",
            "case @ in @) echo @ ;; \"@\") : ;; esac\n",
            "x=$(case a in a) echo @;; esac)\n",
            "for x in @; do echo \"@\"; done\n",
            "if [ \"@\" = @ ]; then echo '@'; fi\n",
            "test -n @ && echo \"$x@\"\n",
            "# it's \"@\n",
            "echo x # don't @\necho @\n",
            "echo a\\\n#it's \\\necho '@'\n",
            "echo a \\\n# it's '\necho @\n",
            "f() { echo \"@\"; }; f\n",
            "(echo @); { echo @; }\n",
            "x='it'\\''s @'\n",
            "x=\"${HOME%'}'}\" y=@\n",
            "x=\"${HOME:-'}\" y='@'\n",
            "echo \"a\\\"@\"\n",
            "echo 'a\\'@\n",
            "echo \\'@\n",
            "export X=@ Y=\"@\"\n",
            "cat > x <<EOF\n$x\nEOF\necho @\n",
            "cat <<A; cat <<B\n'\nA\n\"\nB\necho '@'\n",
            "x=$((1 << 2)) y=@\n",
            "echo `echo '@'`\n",
            "echo $'@'\n",
            "@\n",
            "@ x\n",
            "X=1 @\n",
            "true && @ || @\n",
        ];
        let folder = tempfile::tempdir().unwrap();
        for template in PLACES.into_iter().chain(STRICT) {
            for value in HOSTILE.into_iter().chain(["PATH=x", "if", "a b", "executed", ""]) {
                let Ok(script) = written(Kind::Shell, template, value) else { continue };
                let mut bash = Command::new("timeout");
                bash.args(["10", "bash", "-c", &script]).current_dir(folder.path());
                bash.stdin(std::process::Stdio::null()).output().unwrap();
                assert!(!folder.path().join("executed").exists(), "{script}");
            }
        }
    }

    #[test]
    fn s_13_no_value_ends_a_here_document_or_begins_one() {
        let written = |template: &str, values: &[&str]| {
            let mut text = template.to_owned();
            for (number, value) in values.iter().enumerate() {
                text = text.replacen('@', &mark(Kind::Shell, number, value).unwrap(), 1);
            }
            place(Kind::Shell, &text)
        };
        for (template, values) in [
            ("cat <<EOF\n@\nrm x\nEOF\n", &["EOF"][..]),
            ("cat <<EOF\n@@\nEOF\n", &["E", "OF"]),
            ("cat <<EOF\nE@\nEOF\n", &["OF"]),
            ("cat <<-EOF\n\t@\nEOF\n", &["EOF"]),
            ("cat <<'EOF'\n@", &["EOF"]),
            ("cat <<@\nx\nEOF\n", &["EOF"]),
            ("cat << E@\nx\nEOF\n", &["OF"]),
        ] {
            assert!(written(template, values).is_err(), "{template} {values:?}");
        }
        assert!(written("cat <<EOF\nx@\nEOF\n", &["EOF"]).is_ok());
    }

    #[test]
    fn s_13_what_shells_alter_is_refused() {
        for (template, value) in
            [("printf \"@\"", "100%d"), ("printf @", "a%b"), ("printf '@'", "a\\nb"), ("echo '@'", "a\\nb")]
        {
            assert!(written(Kind::Shell, template, value).is_err(), "{template} {value}");
        }
        for (template, value, text) in [
            ("@ x", "PATH=/x", "'PATH=/x' x"),
            ("@\n", "if", "'if'\n"),
            ("X=1 @", "done", "X=1 'done'"),
            ("@-x", "if", "if-x"),
            ("echo @", "if", "echo if"),
            ("x=@", "a=b", "x=a=b"),
        ] {
            assert_eq!(written(Kind::Shell, template, value).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn s_13_sections_and_scripts_of_other_languages_get_plain_words() {
        let python = "#!/usr/bin/python3\nx = \"@\"\n";
        assert!(written(Kind::Shell, python, "a b").is_err());
        assert!(written(Kind::Shell, "#!/usr/bin/env bash\nx=\"@\"\n", "a b").is_ok());
        let kickstart = "%post --interpreter=/usr/bin/python3\nx = '@'\n%end\n";
        assert!(written(Kind::Shell, kickstart, "a b").is_err());
        let after = "%post --interpreter=/usr/bin/python3\nx = 1\n%end\n%post --interpreter /bin/bash\nx=\"@\"\n%end\n";
        assert!(written(Kind::Shell, after, "a b").is_ok());
        assert!(written(Kind::Shell, "%packages\n@\n%end\nuser --gecos=\"@\"\n", "vim").is_ok());
    }

    #[test]
    fn s_13_grub_follows_strings_over_lines_too() {
        for template in ["set x=\"a\nb @\"", "set x='a\nb' y=\"@\"", "eval \"echo @\""] {
            assert!(written(Kind::Grub, template, "a;b").is_err(), "{template}");
            assert!(written(Kind::Grub, template, "eth0").is_ok(), "{template}");
        }
    }

    /// Long texts take no time that grows with their square.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the test measures time, not the code"
    )]
    fn s_08_placing_takes_no_time_that_grows_with_the_square() {
        let value = mark(Kind::Shell, 1, "a").unwrap();
        for part in
            ["$(", "\"$(", "${x", "`", "x\\\n", "<<E\n", "case ", "((", "|\n", "a[", &value, "x\n", "'", " "]
        {
            let times = [1 << 15, 1 << 18].map(|size| {
                let text = part.repeat(size / part.len()) + &value;
                let began = std::time::Instant::now();
                let _ = (place(Kind::Shell, &text), super::super::ipxe::place(&text));
                began.elapsed()
            });
            // Eight times the text; its square would be 64 times the time.
            assert!(times[1] < times[0] * 30 + std::time::Duration::from_secs(1), "{part:?}: {times:?}");
        }
    }
}
