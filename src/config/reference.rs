//! Makes docs/configuration.md, the reference of all keys, from the table of keys. `lanboot schema --markdown` prints
//! it, and tests/rules compares it with the page.

use crate::config::syntax::key::{Key, Kind, REQUIRED, Section};

/// The introduction of the page.
const HEAD: &str = "\
# Look up a key of config.yaml

You want to know which keys there are, which values they take, and what happens without them. This page lists every
key. [configure.md](configure.md) shows how to use them, and [config.yaml](../config.yaml) has them all in context.

`lanboot schema` prints the same as a JSON schema, for editors. `lanboot schema --markdown` prints this page. It is
made from the table that reads the file (`src/config/syntax/keys.rs`), so it is always complete.

- Durations: `90s`, `30m`, `1h`, `7d`, or combined as in `1h30m`.
- Sizes: bytes, or `64KiB`, `256MiB`, `1GiB`.
- Relative paths start at the folder of the file.
- *one or a list*: a single value may stand without brackets.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push('\n');
    for section in Section::ALL {
        page.push_str(&format!("- [{}](#{})\n", title(section), anchor(&title(section))));
    }
    for section in Section::ALL {
        page.push_str(&format!(
            "\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
            title(section)
        ));
        section.keys().iter().for_each(|key| page.push_str(&row(key)));
    }
    page
}

fn title(section: Section) -> String {
    match section {
        Section::Top => "The top of the file".to_owned(),
        Section::Included => "An included file".to_owned(),
        Section::IncludedDhcp => "`dhcp` of an included file".to_owned(),
        _ => format!("`{}`", section.path()),
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(title: &str) -> String {
    let letters = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    letters.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn row(key: &Key) -> String {
    let default = match key.default {
        REQUIRED => "required".to_owned(),
        "" => String::new(),
        default => format!("`{default}`"),
    };
    format!("| `{}` | {} | {default} | {} |\n", key.name, words(&key.kind), key.about)
}

/// The type in words, for a cell of a table.
fn words(kind: &Kind) -> String {
    match kind {
        Kind::Any => "any value".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Off => "`off`".to_owned(),
        Kind::Number(least, most) if least == most => format!("`{least}`"),
        Kind::Number(least, most) => format!("{least} to {most}"),
        Kind::Text(what) => (*what).to_owned(),
        Kind::Word(words) => any_of(words.iter().map(|word| format!("`{word}`"))),
        Kind::Time => "a duration".to_owned(),
        Kind::Size => "a size".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Address => "an IPv4 address".to_owned(),
        Kind::Network => "a network like 192.168.77.0/24".to_owned(),
        Kind::Range => "a range like 192.168.77.50-192.168.77.200".to_owned(),
        Kind::Map(section) => format!("[a mapping](#{})", anchor(&title(*section))),
        Kind::Named(what, Kind::Any) => format!("a mapping: {what} → value"),
        Kind::Named(what, value) => format!("a mapping: {what} → {}", words(value)),
        Kind::List(item) => format!("a list: {}", words(item)),
        Kind::Each(item) => format!("{}; one or a list", words(item)),
        Kind::Either(kinds) => any_of(kinds.iter().map(words)),
    }
}

/// `a, b or c`, or `a or b, or c` if one of them has an `or` in it.
fn any_of(items: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = items.collect();
    if all.iter().any(|item| item.contains(" or ")) {
        return all.join(", or ");
    }
    let last = all.pop().unwrap_or_default();
    if all.is_empty() { last } else { format!("{} or {last}", all.join(", ")) }
}
