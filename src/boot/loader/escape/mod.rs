//! Escapes the values in a text that is rendered for one machine. No value may end the line, word or quotes that
//! contain it, or be read as a command.
//!
//! Escaping has two steps. [`mark`] gets each value alone, and refuses values that cannot be written anywhere in such a
//! file. [`place`] gets the whole text and quotes each marked value for its context, or reports that no quoting works
//! there. The template engine of `content/` calls both.

use std::fmt::Write as _;

mod commands;
mod ipxe;
mod preseed;
mod shell;
mod word;
mod yaml;

/// The syntax of the file, which determines how values are escaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An iPXE script. It has no quotes and replaces `${…}` everywhere.
    Ipxe,
    /// A PXELINUX configuration: a keyword, then the value to the end of the line.
    Pxelinux,
    /// A GRUB configuration: words and quotes as in a shell.
    Grub,
    /// A shell script; or a Kickstart file, whose commands are split as in a shell and whose sections are scripts.
    Shell,
    /// A Debian preseed file: the value ends with the line.
    Preseed,
    /// YAML: cloud-init, Butane.
    Yaml,
    /// JSON: Ignition.
    Json,
    /// XML: answer files of Windows.
    Xml,
    /// Any other text.
    Plain,
}

/// The reason why a value cannot be written, for the user.
pub type Unfit = &'static str;

const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

impl Kind {
    /// Returns the syntax of the file `name` that begins with `text`, judged by its extension or its well-known name.
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
            ("ks.cfg", _) | (_, "ks" | "sh" | "bash") => Kind::Shell,
            (_, "grub") => Kind::Grub,
            (_, "yaml" | "yml" | "bu") => Kind::Yaml,
            (_, "json" | "ign") => Kind::Json,
            (_, "xml" | "html" | "htm") => Kind::Xml,
            _ if last.starts_with("kickstart") => Kind::Shell,
            _ => Kind::Plain,
        }
    }

    /// Whether lists and mappings can be written in this syntax: both are written as JSON, which is valid YAML.
    pub fn has_lists(self) -> bool {
        matches!(self, Kind::Yaml | Kind::Json)
    }
}

/// Prepares `value` for a text that is passed to [`place`]. `number` identifies the value in errors.
///
/// # Errors
/// Refuses line ends and other control characters that the syntax cannot escape, and everything that iPXE would not
/// read as text.
pub fn mark(kind: Kind, number: usize, value: &str) -> Result<String, Unfit> {
    let many_lines = matches!(kind, Kind::Yaml | Kind::Json | Kind::Xml);
    let is_fit = |c: char| !c.is_control() || (many_lines && matches!(c, '\n' | '\r' | '\t'));
    if !value.chars().all(is_fit) {
        return Err("it has a line end or another control character in it");
    }
    match kind {
        Kind::Ipxe if value.contains("${") => Err("it has ${ in it, which iPXE would expand"),
        // iPXE's exec.c reads these words as the end of a command, and # as the beginning of a comment.
        Kind::Ipxe
            if value.split(' ').any(|word| matches!(word, "||" | "&&" | ";") || word.starts_with('#')) =>
        {
            Err("it has a word in it that ends a command of iPXE (||, &&, ;) or begins a comment (#)")
        }
        Kind::Preseed if value.ends_with('\\') => Err("it ends in \\, which joins two lines in preseed"),
        Kind::Pxelinux | Kind::Plain => Ok(value.to_owned()),
        Kind::Xml => Ok(xml(value)),
        Kind::Ipxe | Kind::Preseed | Kind::Grub | Kind::Shell | Kind::Yaml | Kind::Json => {
            Ok(format!("{OPEN}{number}{OPEN}{value}{CLOSE}"))
        }
    }
}

/// Whether `text` contains the marker characters of [`mark`], which no template contains.
pub fn has_marks(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// A value that cannot be quoted in its context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misplaced {
    /// The number passed to [`mark`].
    pub number: usize,
    pub why: Unfit,
}

/// Quotes every marked value in `text` for its context.
///
/// # Errors
/// No quoting makes a value safe in its context.
pub fn place(kind: Kind, text: &str) -> Result<String, Misplaced> {
    match kind {
        Kind::Shell | Kind::Grub => shell::place(kind, text),
        Kind::Yaml => yaml::place(text),
        Kind::Json => in_json(text),
        Kind::Ipxe => ipxe::place(text),
        Kind::Preseed => preseed::place(text),
        Kind::Pxelinux | Kind::Xml | Kind::Plain => Ok(text.to_owned()),
    }
}

/// A part of a text with marked values.
enum Piece<'t> {
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

fn in_json(text: &str) -> Result<String, Misplaced> {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some((piece, after)) = next_piece(rest) {
        rest = after;
        match piece {
            Piece::Character(c) => {
                in_string ^= c == '"' && !escaped;
                escaped = c == '\\' && in_string && !escaped;
                out.push(c);
            }
            Piece::Value { number, .. } if escaped => {
                return Err(Misplaced { number, why: "a backslash precedes it" });
            }
            Piece::Value { value, .. } if in_string => out.push_str(&escaped_json(value)),
            Piece::Value { value, .. } => out.push_str(&json(value)),
        }
    }
    Ok(out)
}

/// Returns one word for a shell or GRUB, in single quotes if necessary.
pub fn shell_word(value: &str) -> String {
    if is_plain_word(value) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Whether a shell reads `value` as one word without quotes.
fn is_plain_word(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    !value.is_empty() && value.chars().all(is_plain)
}

fn json(value: &str) -> String {
    format!("\"{}\"", escaped_json(value))
}

/// Escapes the inside of a JSON string (RFC 8259 section 7), which is valid in a double-quoted YAML scalar too.
fn escaped_json(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // JSON allows these characters unescaped; YAML does not.
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether YAML 1.1 or 1.2 reads `c` as a line end.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
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

    /// Renders `template` with each `@` replaced by `value`.
    fn written(kind: Kind, template: &str, value: &str) -> Result<String, Unfit> {
        let marked = mark(kind, 1, value)?;
        place(kind, &template.replace('@', &marked)).map_err(|misplaced| misplaced.why)
    }

    fn ok(kind: Kind, template: &str, value: &str) -> String {
        written(kind, template, value).unwrap()
    }

    #[test]
    fn the_syntax_follows_from_the_file_name() {
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
            ("kickstart-web.cfg", Kind::Shell),
            ("kickstart", Kind::Shell),
            ("kickstart.yaml", Kind::Yaml),
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
    fn ipxe_gets_no_command_and_no_variable() {
        assert_eq!(ok(Kind::Ipxe, "echo @", "it's \"x\" a;b a||b"), "echo it's \"x\" a;b a||b");
        for value in ["x || reboot", "x && y", "; shell", "${net0/mac}", "x #y", "#"] {
            assert!(written(Kind::Ipxe, "echo @", value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_shell_value_is_one_word_in_any_quotes() {
        let value = "a'b\"$(reboot) `x`";
        assert_eq!(ok(Kind::Shell, "x=@", value), "x='a'\\''b\"$(reboot) `x`'");
        assert_eq!(ok(Kind::Shell, "x=\"-@-\"", value), "x=\"-a'b\\\"\\$(reboot) \\`x\\`-\"");
        assert_eq!(ok(Kind::Shell, "x='-@-'", value), "x='-a'\\''b\"$(reboot) `x`-'");
        assert_eq!(ok(Kind::Shell, "x=@ # don't @\ny=@", "a b"), "x='a b' # don't a b\ny='a b'");
        assert_eq!(ok(Kind::Shell, "url http://@/ks", "192.168.77.1"), "url http://192.168.77.1/ks");
        assert_eq!(ok(Kind::Shell, "x=\\\"@", "a b"), "x=\\\"'a b'", "an escaped quote opens nothing");
        assert_eq!(ok(Kind::Shell, "x=@", ""), "x=''");
    }

    /// A real shell must read the original value: this proves the rules above.
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
    fn grub_values_are_words() {
        assert_eq!(
            ok(Kind::Grub, "linux /k @", "console=ttyS0 ds=nocloud;s=http://x/"),
            "linux /k console=ttyS0 'ds=nocloud;s=http://x/'"
        );
        assert_eq!(ok(Kind::Grub, "menuentry \"@\" {", "a\"b$c"), "menuentry \"a\\\"b\\$c\" {");
        assert_eq!(ok(Kind::Grub, "menuentry '@' {", "it's"), "menuentry 'it'\\''s' {");
    }

    #[test]
    fn yaml_and_json_values_read_back_unchanged() {
        assert_eq!(ok(Kind::Yaml, "a: @", "node1"), "a: node1");
        assert_eq!(ok(Kind::Yaml, "a: \"@\"", "x\"y"), "a: \"x\\\"y\"");
        assert_eq!(ok(Kind::Yaml, "s: http://@/x", "10.0.0.1"), "s: http://10.0.0.1/x");
        assert_eq!(ok(Kind::Yaml, "  server @ iburst", "10.0.0.1"), "  server 10.0.0.1 iburst");
        assert!(written(Kind::Json, "{\"a\": \"\\@\"}", "\"").is_err());
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
        fn any_value_reads_back_from_yaml_and_json(value in "[ -~\n\t'\"#:,\\[\\]{}&*!|>%@\\\\é-]{0,12}") {
            let text = |yaml: &str| {
                let read: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml:?}: {e}"));
                assert_eq!(read.as_mapping().unwrap().len(), 2, "{yaml:?}");
                read["a"].as_str().unwrap_or_else(|| panic!("{yaml:?}")).to_owned()
            };
            let yaml = |template: &str| text(&ok(Kind::Yaml, template, &value));
            // An `@` in the value would be taken for the placeholder.
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
