//! Tests of values in shell scripts, some with real shells.

use super::super::mark;
use super::*;
use std::process::Command;

/// Renders `template` with each `@` replaced by `value`.
fn written(kind: Syntax, template: &str, value: &str) -> Result<String, UnquotableReason> {
    quote_values(kind, &template.replace('@', &mark(kind, 1, value)?)).map_err(|misplaced| misplaced.reason)
}

/// A real shell must read the original value at any depth of quotes.
#[test]
fn a_real_shell_reads_values_in_nested_quotes() {
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
            let script = written(Syntax::Shell, template, value).unwrap();
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), value, "{script}");
        }
    }
}

#[test]
fn only_plain_words_are_allowed_where_quotes_fail() {
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
        assert_eq!(written(Syntax::Shell, template, "a-1").as_deref(), Ok(&*template.replace('@', "a-1")));
        for value in ["(reboot)", "a\\", "$(reboot)", "`reboot`", "a}b", "a'b"] {
            assert!(written(Syntax::Shell, template, value).is_err(), "{template} {value}");
        }
    }
    // GRUB has none of these constructs.
    assert_eq!(written(Syntax::Grub, "echo `(@", "a;b").as_deref(), Ok("echo `('a;b'"));
}

/// Contexts in which no quotes protect a value. `@` is the value.
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
fn s_13_only_plain_words_are_allowed_where_quotes_fail() {
    for template in STRICT {
        for value in HOSTILE {
            let made = written(Syntax::Shell, template, value);
            assert!(made.is_err(), "{template} {value}: {made:?}");
        }
        for value in ["eth0", "10.0.0.1/24", "a_b-c"] {
            let made = written(Syntax::Shell, template, value);
            assert_eq!(made.as_deref(), Ok(&*template.replace('@', value)), "{template}");
        }
    }
}

/// Bash must not execute any part of a value in the other contexts.
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
            let Ok(script) = written(Syntax::Shell, template, value) else { continue };
            let mut bash = Command::new("timeout");
            bash.args(["10", "bash", "-c", &script]).current_dir(folder.path());
            bash.stdin(std::process::Stdio::null()).output().unwrap();
            assert!(!folder.path().join("executed").exists(), "{script}");
        }
    }
}

#[test]
fn s_13_no_value_ends_or_begins_a_here_document() {
    let written = |template: &str, values: &[&str]| {
        let mut text = template.to_owned();
        for (number, value) in values.iter().enumerate() {
            text = text.replacen('@', &mark(Syntax::Shell, number, value).unwrap(), 1);
        }
        quote_values(Syntax::Shell, &text)
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
fn s_13_values_that_shells_alter_are_refused() {
    for (template, value) in
        [("printf \"@\"", "100%d"), ("printf @", "a%b"), ("printf '@'", "a\\nb"), ("echo '@'", "a\\nb")]
    {
        assert!(written(Syntax::Shell, template, value).is_err(), "{template} {value}");
    }
    for (template, value, text) in [
        ("@ x", "PATH=/x", "'PATH=/x' x"),
        ("@\n", "if", "'if'\n"),
        ("X=1 @", "done", "X=1 'done'"),
        ("@-x", "if", "if-x"),
        ("echo @", "if", "echo if"),
        ("x=@", "a=b", "x=a=b"),
    ] {
        assert_eq!(written(Syntax::Shell, template, value).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn s_13_other_languages_get_plain_words() {
    let python = "#!/usr/bin/python3\nx = \"@\"\n";
    assert!(written(Syntax::Shell, python, "a b").is_err());
    assert!(written(Syntax::Shell, "#!/usr/bin/env bash\nx=\"@\"\n", "a b").is_ok());
    let kickstart = "%post --interpreter=/usr/bin/python3\nx = '@'\n%end\n";
    assert!(written(Syntax::Shell, kickstart, "a b").is_err());
    let after =
        "%post --interpreter=/usr/bin/python3\nx = 1\n%end\n%post --interpreter /bin/bash\nx=\"@\"\n%end\n";
    assert!(written(Syntax::Shell, after, "a b").is_ok());
    assert!(written(Syntax::Shell, "%packages\n@\n%end\nuser --gecos=\"@\"\n", "vim").is_ok());
}

#[test]
fn s_13_grub_follows_strings_over_lines_too() {
    for template in ["set x=\"a\nb @\"", "set x='a\nb' y=\"@\"", "eval \"echo @\""] {
        assert!(written(Syntax::Grub, template, "a;b").is_err(), "{template}");
        assert!(written(Syntax::Grub, template, "eth0").is_ok(), "{template}");
    }
}

/// The time for long texts must not grow with the square of their length.
#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test measures time, not the code"
)]
fn s_08_placing_takes_no_time_that_grows_with_the_square() {
    let value = mark(Syntax::Shell, 1, "a").unwrap();
    for part in
        ["$(", "\"$(", "${x", "`", "x\\\n", "<<E\n", "case ", "((", "|\n", "a[", &value, "x\n", "'", " "]
    {
        let times = [1 << 15, 1 << 18].map(|size| {
            let text = part.repeat(size / part.len()) + &value;
            let began = std::time::Instant::now();
            let _ = (quote_values(Syntax::Shell, &text), super::super::ipxe::quote_values(&text));
            began.elapsed()
        });
        // The text is 8 times as long; quadratic time would be 64 times as long.
        assert!(times[1] < times[0] * 30 + std::time::Duration::from_secs(1), "{part:?}: {times:?}");
    }
}
