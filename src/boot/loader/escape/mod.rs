//! Escapes the values in a text that is rendered for one machine. No value may end the line, word or quotes that
//! contain it, or be read as a command.
//!
//! Escaping has two steps. [`mark`] gets each value alone, and refuses values that cannot be written anywhere in such a
//! file. [`quote_values`] gets the whole text and quotes each marked value for its context, or reports that no quoting works
//! there. The template engine of `content/` calls both.

mod commands;
mod ipxe;
mod marks;
mod preseed;
mod quotes;
mod shell;
mod syntax;
mod word;
mod yaml;

pub use marks::{UnquotableReason, UnquotableValue, has_marks};
pub use quotes::shell_word;
pub use syntax::Syntax;

use marks::{CLOSE, OPEN, Piece, render};
use quotes::{escaped_json, json};

/// Prepares `value` for a text that is passed to [`quote_values`]. `number` identifies the value in errors.
///
/// # Errors
/// Refuses line ends and other control characters that the syntax cannot escape, and everything that iPXE would not
/// read as text.
pub fn mark(kind: Syntax, number: usize, value: &str) -> Result<String, UnquotableReason> {
    let many_lines = matches!(kind, Syntax::Yaml | Syntax::Json | Syntax::Xml);
    let is_writable = |c: char| !c.is_control() || (many_lines && matches!(c, '\n' | '\r' | '\t'));
    if !value.chars().all(is_writable) {
        return Err("it has a line end or another control character in it");
    }
    match kind {
        Syntax::Ipxe if value.contains("${") => Err("it has ${ in it, which iPXE would expand"),
        // iPXE's exec.c reads these words as the end of a command, and # as the beginning of a comment.
        Syntax::Ipxe
            if value.split(' ').any(|word| matches!(word, "||" | "&&" | ";") || word.starts_with('#')) =>
        {
            Err("it has a word in it that ends a command of iPXE (||, &&, ;) or begins a comment (#)")
        }
        Syntax::Preseed if value.ends_with('\\') => Err("it ends in \\, which joins two lines in preseed"),
        Syntax::Pxelinux | Syntax::Plain => Ok(value.to_owned()),
        Syntax::Xml => Ok(xml(value)),
        Syntax::Ipxe | Syntax::Preseed | Syntax::Grub | Syntax::Shell | Syntax::Yaml | Syntax::Json => {
            Ok(format!("{OPEN}{number}{OPEN}{value}{CLOSE}"))
        }
    }
}

/// Quotes every marked value in `text` for its context.
///
/// # Errors
/// No quoting makes a value safe in its context.
pub fn quote_values(kind: Syntax, text: &str) -> Result<String, UnquotableValue> {
    match kind {
        Syntax::Shell | Syntax::Grub => shell::quote_values(kind, text),
        Syntax::Yaml => yaml::quote_values(text),
        Syntax::Json => in_json(text),
        Syntax::Ipxe => ipxe::quote_values(text),
        Syntax::Preseed => preseed::quote_values(text),
        Syntax::Pxelinux | Syntax::Xml | Syntax::Plain => Ok(text.to_owned()),
    }
}

fn in_json(text: &str) -> Result<String, UnquotableValue> {
    let (mut in_string, mut escaped) = (false, false);
    render(text, |piece, _, out| {
        match piece {
            Piece::Character(c) => {
                in_string ^= c == '"' && !escaped;
                escaped = c == '\\' && in_string && !escaped;
                out.push(c);
            }
            Piece::Value { number, .. } if escaped => {
                return Err(UnquotableValue { number, reason: "a backslash precedes it" });
            }
            Piece::Value { value, .. } if in_string => out.push_str(&escaped_json(value)),
            Piece::Value { value, .. } => out.push_str(&json(value)),
        }
        Ok(())
    })
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
    fn written(kind: Syntax, template: &str, value: &str) -> Result<String, UnquotableReason> {
        let marked = mark(kind, 1, value)?;
        quote_values(kind, &template.replace('@', &marked)).map_err(|misplaced| misplaced.reason)
    }

    fn ok(kind: Syntax, template: &str, value: &str) -> String {
        written(kind, template, value).unwrap()
    }

    #[test]
    fn the_syntax_follows_from_the_file_name() {
        for (name, kind) in [
            ("boot.ipxe", Syntax::Ipxe),
            ("pxelinux.cfg/01-52-54-00-12-34-56", Syntax::Pxelinux),
            ("bios/pxelinux.cfg/default", Syntax::Pxelinux),
            ("grub/grub.cfg", Syntax::Grub),
            ("grub.cfg-01-52-54-00-12-34-56", Syntax::Grub),
            ("grub/menu.cfg", Syntax::Grub),
            ("52-54-00-12-34-56/user-data", Syntax::Yaml),
            ("net.YAML", Syntax::Yaml),
            ("config.ign", Syntax::Json),
            ("ks.cfg", Syntax::Shell),
            ("rhel9.ks", Syntax::Shell),
            ("kickstart-web.cfg", Syntax::Shell),
            ("kickstart", Syntax::Shell),
            ("kickstart.yaml", Syntax::Yaml),
            ("preseed.cfg", Syntax::Preseed),
            ("autounattend.xml", Syntax::Xml),
            ("config.txt", Syntax::Plain),
        ] {
            assert_eq!(Syntax::of(name, ""), kind, "{name}");
        }
        assert_eq!(Syntax::of("user-data", "#!/bin/sh\n"), Syntax::Shell);
    }

    #[test]
    fn d_14_no_value_ends_its_line() {
        for kind in
            [Syntax::Ipxe, Syntax::Pxelinux, Syntax::Grub, Syntax::Shell, Syntax::Preseed, Syntax::Plain]
        {
            for value in ["a\nb", "a\rb", "\u{1b}[2J", "a\0", "\u{85}"] {
                assert!(written(kind, "@", value).is_err(), "{kind:?} {value:?}");
            }
        }
        assert!(written(Syntax::Yaml, "@", "a\u{1}b").is_err(), "what marks values is no value");
        assert_eq!(ok(Syntax::Yaml, "a: @\n", "b\nc: d"), "a: \"b\\nc: d\"\n");
        assert_eq!(ok(Syntax::Yaml, "# @\n", "b\nc: d"), "# b\\nc: d\n");
    }

    #[test]
    fn ipxe_gets_no_command_and_no_variable() {
        assert_eq!(ok(Syntax::Ipxe, "echo @", "it's \"x\" a;b a||b"), "echo it's \"x\" a;b a||b");
        for value in ["x || reboot", "x && y", "; shell", "${net0/mac}", "x #y", "#"] {
            assert!(written(Syntax::Ipxe, "echo @", value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_shell_value_is_one_word_in_any_quotes() {
        let value = "a'b\"$(reboot) `x`";
        assert_eq!(ok(Syntax::Shell, "x=@", value), "x='a'\\''b\"$(reboot) `x`'");
        assert_eq!(ok(Syntax::Shell, "x=\"-@-\"", value), "x=\"-a'b\\\"\\$(reboot) \\`x\\`-\"");
        assert_eq!(ok(Syntax::Shell, "x='-@-'", value), "x='-a'\\''b\"$(reboot) `x`-'");
        assert_eq!(ok(Syntax::Shell, "x=@ # don't @\ny=@", "a b"), "x='a b' # don't a b\ny='a b'");
        assert_eq!(ok(Syntax::Shell, "url http://@/ks", "192.168.77.1"), "url http://192.168.77.1/ks");
        assert_eq!(ok(Syntax::Shell, "x=\\\"@", "a b"), "x=\\\"'a b'", "an escaped quote opens nothing");
        assert_eq!(ok(Syntax::Shell, "x=@", ""), "x=''");
    }

    /// A real shell must read the original value: this proves the rules above.
    #[test]
    fn a_real_shell_reads_the_value_back() {
        for value in
            ["a'b", "$(echo x)", "`id`", "a\\", "a\"b", "x; y", "*", "~", "a  b", "!x", "#x", "Größe"]
        {
            for template in ["printf %s @", "printf %s \"@\"", "printf %s '@'", "printf %s \"it's @\""] {
                let script = ok(Syntax::Shell, template, value);
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
            ok(Syntax::Grub, "linux /k @", "console=ttyS0 ds=nocloud;s=http://x/"),
            "linux /k console=ttyS0 'ds=nocloud;s=http://x/'"
        );
        assert_eq!(ok(Syntax::Grub, "menuentry \"@\" {", "a\"b$c"), "menuentry \"a\\\"b\\$c\" {");
        assert_eq!(ok(Syntax::Grub, "menuentry '@' {", "it's"), "menuentry 'it'\\''s' {");
    }

    #[test]
    fn yaml_and_json_values_read_back_unchanged() {
        assert_eq!(ok(Syntax::Yaml, "a: @", "node1"), "a: node1");
        assert_eq!(ok(Syntax::Yaml, "a: \"@\"", "x\"y"), "a: \"x\\\"y\"");
        assert_eq!(ok(Syntax::Yaml, "s: http://@/x", "10.0.0.1"), "s: http://10.0.0.1/x");
        assert_eq!(ok(Syntax::Yaml, "  server @ iburst", "10.0.0.1"), "  server 10.0.0.1 iburst");
        assert!(written(Syntax::Json, "{\"a\": \"\\@\"}", "\"").is_err());
        assert_eq!(ok(Syntax::Json, "{\"a\": @}", "x"), "{\"a\": \"x\"}");
        assert_eq!(ok(Syntax::Json, "{\"a\": \"http://@/\"}", "x"), "{\"a\": \"http://x/\"}");
    }

    #[test]
    fn xml_is_escaped() {
        assert_eq!(ok(Syntax::Xml, "<a b=\"@\"/>", "<&\">'"), "<a b=\"&lt;&amp;&quot;&gt;&#39;\"/>");
        assert!(written(Syntax::Preseed, "d-i x string @", "x\\").is_err());
    }

    proptest! {
        #[test]
        fn any_value_reads_back_from_yaml_and_json(value in "[ -~\n\t'\"#:,\\[\\]{}&*!|>%@\\\\é-]{0,12}") {
            let text = |yaml: &str| {
                let read: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml:?}: {e}"));
                assert_eq!(read.as_mapping().unwrap().len(), 2, "{yaml:?}");
                read["a"].as_str().unwrap_or_else(|| panic!("{yaml:?}")).to_owned()
            };
            let yaml = |template: &str| text(&ok(Syntax::Yaml, template, &value));
            // An `@` in the value would be taken for the placeholder.
            prop_assume!(!value.contains('@'));
            prop_assert_eq!(&yaml("a: @\nb: 1\n"), &value);
            prop_assert_eq!(&yaml("{a: @, b: 1}\n"), &value);
            prop_assert_eq!(&yaml("a: \"@\"\nb: 1\n"), &value);
            if !value.contains(['\n', '\t']) {
                prop_assert_eq!(&yaml("a: '@'\nb: 1\n"), &value);
            }
            let json = |template: &str| -> String {
                let read: serde_json::Value = serde_json::from_str(&ok(Syntax::Json, template, &value)).unwrap();
                read["a"].as_str().unwrap().to_owned()
            };
            prop_assert_eq!(&json("{\"a\": @, \"b\": 1}"), &value);
            prop_assert_eq!(&json("{\"a\": \"@\", \"b\": 1}"), &value);
        }
    }
}
