//! Values in a file that is made for one machine, written so that they stay values where they land: no value ends the
//! line, the word or the quotes that it stands in, or is read as a command.
//!
//! Two steps. [`mark`] is given each value alone, and refuses what can be written nowhere in such a file; [`place`] is
//! given the whole text and quotes each marked value for its place. Quotes are followed within a line: a string that
//! goes on over several lines counts as unquoted from the second on.

use std::fmt::Write as _;

/// What reads the file, by which its values are escaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An iPXE script. It has no quotes, and fills in `${…}` wherever it stands.
    Ipxe,
    /// PXELINUX's configuration: a keyword, and the value to the end of the line.
    Pxelinux,
    /// GRUB's configuration: words and quotes like a shell's.
    Grub,
    /// A shell script, or a Kickstart file, whose commands are split like a shell's and whose sections are scripts.
    Shell,
    /// Debian's preseed: the value to the end of the line.
    Preseed,
    /// YAML: cloud-init, Butane.
    Yaml,
    /// JSON: Ignition.
    Json,
    /// XML: Windows' answer files.
    Xml,
    /// Anything else.
    Plain,
}

/// Why a value cannot be written in such a file.
pub type Unfit = &'static str;

const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

impl Kind {
    /// The kind of the file `name` that begins with `text`: by its extension or the name that its reader asks for.
    pub fn of(name: &str, text: &str) -> Kind {
        let name = name.to_ascii_lowercase();
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", &name));
        let parent = folder.rsplit('/').next().unwrap_or_default();
        let extension = last.rsplit_once('.').map_or("", |(_, extension)| extension);
        match (last, extension) {
            _ if parent == "pxelinux.cfg" => Kind::Pxelinux,
            ("syslinux.cfg" | "isolinux.cfg" | "extlinux.conf", _) => Kind::Pxelinux,
            _ if last.starts_with("grub.cfg") => Kind::Grub,
            (_, "cfg") if parent == "grub" => Kind::Grub,
            (_, "ipxe") => Kind::Ipxe,
            ("user-data" | "vendor-data", _) if text.starts_with("#!") => Kind::Shell,
            ("user-data" | "vendor-data" | "meta-data" | "network-config", _) => Kind::Yaml,
            ("preseed.cfg" | "preseed", _) | (_, "preseed" | "seed") => Kind::Preseed,
            ("ks.cfg" | "kickstart" | "kickstart.cfg", _) | (_, "ks" | "sh" | "bash") => Kind::Shell,
            (_, "grub") => Kind::Grub,
            (_, "yaml" | "yml" | "bu") => Kind::Yaml,
            (_, "json" | "ign") => Kind::Json,
            (_, "xml" | "html" | "htm") => Kind::Xml,
            _ => Kind::Plain,
        }
    }

    /// Whether lists and mappings can be written in it as they are: both are JSON, which is YAML too.
    pub fn has_lists(self) -> bool {
        matches!(self, Kind::Yaml | Kind::Json)
    }
}

/// `value`, ready to stand in a text that is given to [`place`].
///
/// # Errors
/// What cannot be written: a line end or another control character, except where the kind can escape it; and of an
/// iPXE script what iPXE would take for more than text.
pub fn mark(kind: Kind, value: &str) -> Result<String, Unfit> {
    let many_lines = matches!(kind, Kind::Yaml | Kind::Json | Kind::Xml);
    let is_fit = |c: char| !c.is_control() || (many_lines && matches!(c, '\n' | '\r' | '\t'));
    if !value.chars().all(is_fit) {
        return Err("it has a line end or another control character in it");
    }
    match kind {
        Kind::Ipxe if value.contains("${") => Err("it has ${ in it, which iPXE would fill in"),
        // iPXE's exec.c takes these for the end of a command where they stand as words, and # for a comment.
        Kind::Ipxe
            if value.split(' ').any(|word| matches!(word, "||" | "&&" | ";") || word.starts_with('#')) =>
        {
            Err("it has a word in it that ends a command of iPXE (||, &&, ;) or begins a comment (#)")
        }
        Kind::Preseed if value.ends_with('\\') => Err("it ends in \\, by which preseed joins two lines"),
        Kind::Ipxe | Kind::Pxelinux | Kind::Preseed | Kind::Plain => Ok(value.to_owned()),
        Kind::Xml => Ok(xml(value)),
        Kind::Grub | Kind::Shell | Kind::Yaml | Kind::Json => Ok(format!("{OPEN}{value}{CLOSE}")),
    }
}

/// Whether `text` has in it what [`mark`] sets around values; no text of a person has.
pub fn has_marks(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// Where in a line something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Plain,
    Single,
    Double,
    Comment,
}

/// The text with every marked value written for its place.
pub fn place(kind: Kind, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut at, mut line) = (At::Plain, 0);
    let mut escaped = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == OPEN {
            let (value, after) = rest.split_once(CLOSE).unwrap_or((rest, ""));
            let before = out.get(line..).unwrap_or_default().to_owned();
            write_value(kind, at, (&before, value, after), &mut out);
            (rest, escaped) = (after, false);
            continue;
        }
        let before = out.get(line..).and_then(|line| line.chars().next_back());
        out.push(c);
        if c == '\n' {
            (at, line, escaped) = (At::Plain, out.len(), false);
        } else if escaped {
            escaped = false;
        } else {
            escaped = c == '\\' && (at == At::Double || (at == At::Plain && is_shell(kind)));
            at = after(kind, at, before, c);
        }
    }
    out
}

fn is_shell(kind: Kind) -> bool {
    matches!(kind, Kind::Shell | Kind::Grub)
}

/// Where the next character stands, when `c` stands at `at` after `before`.
fn after(kind: Kind, at: At, before: Option<char>, c: char) -> At {
    // In a shell a quote may begin in a word; in YAML one in a word is a letter (`don't`).
    let begins = is_shell(kind) || before.is_none_or(|c| c.is_whitespace() || "[{,:(".contains(c));
    let begins_comment = kind != Kind::Json && before.is_none_or(char::is_whitespace);
    match (at, c) {
        (At::Plain, '"') if begins || kind == Kind::Json => At::Double,
        (At::Plain, '\'') if begins && kind != Kind::Json => At::Single,
        (At::Plain, '#') if begins_comment => At::Comment,
        (At::Double, '"') | (At::Single, '\'') => At::Plain,
        _ => at,
    }
}

/// Writes `value`, which stands between `before` (of the same line) and `after`.
fn write_value(kind: Kind, at: At, (before, value, after): (&str, &str, &str), out: &mut String) {
    match (kind, at) {
        (Kind::Json, At::Plain) => write_json(value, out),
        (Kind::Json | Kind::Yaml, At::Double | At::Comment) => out.push_str(&json_letters(value)),
        (Kind::Yaml, At::Plain) if stands_alone(before, after) && !is_word(value) => write_json(value, out),
        (Kind::Yaml, At::Plain) if !is_part_of_plain(value) => write_json(value, out),
        (Kind::Yaml, At::Single) => out.push_str(&value.replace('\'', "''").replace(['\n', '\r'], " ")),
        (Kind::Shell, At::Plain) => out.push_str(&shell_word(value)),
        (Kind::Grub, At::Plain) => {
            let words: Vec<String> = value
                .split(' ')
                .map(|word| if word.is_empty() { String::new() } else { shell_word(word) })
                .collect();
            out.push_str(&words.join(" "));
        }
        (Kind::Shell | Kind::Grub, At::Single) => out.push_str(&value.replace('\'', r"'\''")),
        (Kind::Shell | Kind::Grub, At::Double) => {
            for c in value.chars() {
                // In GRUB a backslash before a backquote would stay.
                if matches!(c, '"' | '\\' | '$') || (c == '`' && kind == Kind::Shell) {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        _ => out.push_str(value),
    }
}

/// One word for a shell or for GRUB: in single quotes if it needs them.
pub fn shell_word(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Whether a value between `before` and `after` is all there is of a YAML scalar.
fn stands_alone(before: &str, after: &str) -> bool {
    let before = before.trim_end_matches(' ');
    let begins = before.ends_with([':', '-', '[', '{', ',']);
    let after = after.trim_start_matches(' ');
    begins && (after.is_empty() || after.starts_with(['\n', ',', ']', '}', '#']))
}

/// Whether YAML reads `value`, standing alone, as this text and nothing else.
fn is_word(value: &str) -> bool {
    const OTHERWISE: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@".contains(c))
        && !OTHERWISE.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether `value` can be part of a plain YAML scalar without ending it.
fn is_part_of_plain(value: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || " _-./:=@%+".contains(c);
    let trimmed = value.trim_matches(' ').len() == value.len();
    trimmed && value.chars().all(is_plain) && !value.contains(": ") && !value.ends_with(':')
}

fn write_json(value: &str, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "\"{}\"", json_letters(value));
}

/// The inside of a JSON string (RFC 8259 section 7), which is that of a double-quoted YAML scalar too.
fn json_letters(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out
}

fn xml(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `template` with each `@` replaced by `value`.
    fn written(kind: Kind, template: &str, value: &str) -> Result<String, Unfit> {
        let marked = mark(kind, value)?;
        Ok(place(kind, &template.replace('@', &marked)))
    }

    fn ok(kind: Kind, template: &str, value: &str) -> String {
        written(kind, template, value).unwrap()
    }

    #[test]
    fn the_kind_is_known_by_the_name_that_the_reader_asks_for() {
        for (name, kind) in [
            ("boot.ipxe", Kind::Ipxe),
            ("pxelinux.cfg/01-52-54-00-12-34-56", Kind::Pxelinux),
            ("bios/pxelinux.cfg/default", Kind::Pxelinux),
            ("grub/grub.cfg", Kind::Grub),
            ("grub.cfg-01-52-54-00-12-34-56", Kind::Grub),
            ("grub/menu.cfg", Kind::Grub),
            ("52-54-00-12-34-56/user-data", Kind::Yaml),
            ("net.YAML", Kind::Yaml),
            ("config.ign", Kind::Json),
            ("ks.cfg", Kind::Shell),
            ("rhel9.ks", Kind::Shell),
            ("preseed.cfg", Kind::Preseed),
            ("autounattend.xml", Kind::Xml),
            ("config.txt", Kind::Plain),
        ] {
            assert_eq!(Kind::of(name, ""), kind, "{name}");
        }
        assert_eq!(Kind::of("user-data", "#!/bin/sh\n"), Kind::Shell);
    }

    #[test]
    fn d_14_no_value_ends_its_line() {
        for kind in [Kind::Ipxe, Kind::Pxelinux, Kind::Grub, Kind::Shell, Kind::Preseed, Kind::Plain] {
            for value in ["a\nb", "a\rb", "\u{1b}[2J", "a\0", "\u{85}"] {
                assert!(written(kind, "@", value).is_err(), "{kind:?} {value:?}");
            }
        }
        assert!(written(Kind::Yaml, "@", "a\u{1}b").is_err(), "what marks values is no value");
        assert_eq!(ok(Kind::Yaml, "a: @\n", "b\nc: d"), "a: \"b\\nc: d\"\n");
        assert_eq!(ok(Kind::Yaml, "# @\n", "b\nc: d"), "# b\\nc: d\n");
    }

    #[test]
    fn ipxe_gets_no_command_and_nothing_to_fill_in() {
        assert_eq!(ok(Kind::Ipxe, "echo @", "it's \"x\" a;b a||b"), "echo it's \"x\" a;b a||b");
        for value in ["x || reboot", "x && y", "; shell", "${net0/mac}", "x #y", "#"] {
            assert!(written(Kind::Ipxe, "echo @", value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_shell_reads_one_word_in_any_quotes() {
        let value = "a'b\"$(reboot) `x`";
        assert_eq!(ok(Kind::Shell, "x=@", value), "x='a'\\''b\"$(reboot) `x`'");
        assert_eq!(ok(Kind::Shell, "x=\"-@-\"", value), "x=\"-a'b\\\"\\$(reboot) \\`x\\`-\"");
        assert_eq!(ok(Kind::Shell, "x='-@-'", value), "x='-a'\\''b\"$(reboot) `x`-'");
        assert_eq!(ok(Kind::Shell, "x=@ # don't @\ny=@", "a b"), "x='a b' # don't a b\ny='a b'");
        assert_eq!(ok(Kind::Shell, "url http://@/ks", "192.168.77.1"), "url http://192.168.77.1/ks");
        assert_eq!(ok(Kind::Shell, "x=\\\"@", "a b"), "x=\\\"'a b'", "an escaped quote opens nothing");
        assert_eq!(ok(Kind::Shell, "x=@", ""), "x=''");
    }

    /// What a real shell reads is the value: the proof of the rules above.
    #[test]
    fn a_real_shell_reads_the_value_back() {
        for value in
            ["a'b", "$(echo x)", "`id`", "a\\", "a\"b", "x; y", "*", "~", "a  b", "!x", "#x", "Größe"]
        {
            for template in ["printf %s @", "printf %s \"@\"", "printf %s '@'", "printf %s \"it's @\""] {
                let script = ok(Kind::Shell, template, value);
                let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
                let expected =
                    if template.contains("it's") { format!("it's {value}") } else { value.to_owned() };
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{script}");
            }
        }
    }

    #[test]
    fn grub_reads_words_and_no_command() {
        assert_eq!(
            ok(Kind::Grub, "linux /k @", "console=ttyS0 ds=nocloud;s=http://x/"),
            "linux /k console=ttyS0 'ds=nocloud;s=http://x/'"
        );
        assert_eq!(ok(Kind::Grub, "menuentry \"@\" {", "a\"b$c"), "menuentry \"a\\\"b\\$c\" {");
        assert_eq!(ok(Kind::Grub, "menuentry '@' {", "it's"), "menuentry 'it'\\''s' {");
    }

    #[test]
    fn yaml_and_json_read_the_same_text_back() {
        assert_eq!(ok(Kind::Yaml, "a: @", "node1"), "a: node1");
        assert_eq!(ok(Kind::Yaml, "a: \"@\"", "x\"y"), "a: \"x\\\"y\"");
        assert_eq!(ok(Kind::Yaml, "s: http://@/x", "10.0.0.1"), "s: http://10.0.0.1/x");
        assert_eq!(ok(Kind::Yaml, "  server @ iburst", "10.0.0.1"), "  server 10.0.0.1 iburst");
        assert_eq!(ok(Kind::Json, "{\"a\": @}", "x"), "{\"a\": \"x\"}");
        assert_eq!(ok(Kind::Json, "{\"a\": \"http://@/\"}", "x"), "{\"a\": \"http://x/\"}");
    }

    #[test]
    fn xml_is_escaped() {
        assert_eq!(ok(Kind::Xml, "<a b=\"@\"/>", "<&\">'"), "<a b=\"&lt;&amp;&quot;&gt;&#39;\"/>");
        assert!(written(Kind::Preseed, "d-i x string @", "x\\").is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_value_yaml_and_json_read_it_back(value in "[ -~\n\t'\"#:,\\[\\]{}&*!|>%@\\\\é-]{0,12}") {
            let text = |yaml: &str| {
                let read: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml:?}: {e}"));
                assert_eq!(read.as_mapping().unwrap().len(), 2, "{yaml:?}");
                read["a"].as_str().unwrap_or_else(|| panic!("{yaml:?}")).to_owned()
            };
            let yaml = |template: &str| text(&ok(Kind::Yaml, template, &value));
            // `@` in the value would be taken for the place.
            prop_assume!(!value.contains('@'));
            prop_assert_eq!(&yaml("a: @\nb: 1\n"), &value);
            prop_assert_eq!(&yaml("{a: @, b: 1}\n"), &value);
            prop_assert_eq!(&yaml("a: \"@\"\nb: 1\n"), &value);
            if !value.contains(['\n', '\t']) {
                prop_assert_eq!(&yaml("a: '@'\nb: 1\n"), &value);
            }
            let json = |template: &str| -> String {
                let read: serde_json::Value = serde_json::from_str(&ok(Kind::Json, template, &value)).unwrap();
                read["a"].as_str().unwrap().to_owned()
            };
            prop_assert_eq!(&json("{\"a\": @, \"b\": 1}"), &value);
            prop_assert_eq!(&json("{\"a\": \"@\", \"b\": 1}"), &value);
        }
    }
}
