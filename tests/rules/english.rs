//! Holds the English of comments and docs to the rules that a program can check. The list grows: a phrase that a reader
//! stumbled over is added here when it is removed.

use std::fs;
use std::path::Path;

use crate::sources::{root, sources};

/// Phrases of the private dialect that the code was once written in, with plain words for them.
const BANNED: [(&str, &str); 25] = [
    ("told of", "logged, reported"),
    ("is told", "is sent, is reported, is configured"),
    ("are told", "are sent, are reported, are configured"),
    ("was told", "was sent, was reported, was configured"),
    ("tells of", "reports"),
    ("heard of", "known, received"),
    ("who asks", "the client"),
    ("whoever asks", "the client"),
    ("what is beneath", "the layer below"),
    ("beneath", "under, in"),
    ("anew", "again"),
    ("all the same", "anyway"),
    ("mended", "fixed"),
    ("for good", "forever"),
    ("of its own", "its own"),
    ("of their own", "their own"),
    ("of ours", "our"),
    ("of theirs", "their"),
    ("nothing is said", "nothing is logged"),
    ("is said to be", "is reported as"),
    ("by and by", "gradually"),
    ("as far as it goes", "within its limit"),
    ("makes up", "forges, generates"),
    ("come to their end", "end"),
    ("in its stead", "instead"),
];

/// Words that begin a free relative clause. A sentence names its subject instead.
const OPENINGS: [&str; 7] = ["What ", "Who ", "Whose ", "Whoever ", "Whatever ", "Where it ", "Which."];

/// A piece of English and the line where it begins.
struct Text {
    line: usize,
    words: String,
}

/// The comments of Rust code: each run of comment lines is one text.
fn comments(code: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let mut last = 0;
    for (number, line) in (1..).zip(code.lines()) {
        let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
        let comment = comment.trim_start_matches(['/', '!']).trim();
        let is_table = comment.starts_with('|');
        match texts.last_mut().filter(|_| last + 1 == number && !comment.is_empty() && !is_table) {
            Some(text) => {
                text.words.push(' ');
                text.words.push_str(comment);
            }
            None if !is_table => texts.push(Text { line: number, words: comment.to_owned() }),
            None => {}
        }
        last = if comment.is_empty() { 0 } else { number };
    }
    texts
}

/// The paragraphs of a page, without blocks of code and tables.
fn paragraphs(page: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let (mut last, mut is_code) = (0, false);
    for (number, line) in (1..).zip(page.lines()) {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
            continue;
        }
        if is_code || line.is_empty() || line.starts_with('|') {
            continue;
        }
        let begins = ["- ", "* ", "#", "1. "].iter().any(|mark| line.starts_with(mark));
        let words = line.trim_start_matches(['-', '*', '#', ' ']);
        match texts.last_mut().filter(|_| last + 1 == number && !begins) {
            Some(text) => {
                text.words.push(' ');
                text.words.push_str(words);
            }
            None => texts.push(Text { line: number, words: words.to_owned() }),
        }
        last = number;
    }
    texts
}

/// `words` without what is in backticks: names are not English.
fn without_code(words: &str) -> String {
    words.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Every breach of the rules in `text`.
fn breaches(path: &Path, text: &Text) -> Vec<String> {
    let words = without_code(&text.words);
    let place = format!("{}:{}", path.display(), text.line);
    let lower = words.to_lowercase();
    let is_word = |at: usize, phrase: &str| {
        let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !letter(lower[..at].chars().next_back()) && !letter(lower[at + phrase.len()..].chars().next())
    };
    let banned =
        BANNED.iter().filter(|(phrase, _)| lower.match_indices(phrase).any(|(at, _)| is_word(at, phrase)));
    let mut found: Vec<String> =
        banned.map(|(phrase, plain)| format!("{place}: “{phrase}”: write {plain}")).collect();
    let sentences =
        std::iter::once(words.as_str()).chain(words.match_indices(". ").map(|(at, _)| &words[at + 2..]));
    for sentence in sentences {
        // A question may begin so.
        let end = sentence.find(['.', '?']).map(|at| sentence.as_bytes()[at]);
        if end != Some(b'?')
            && let Some(opening) = OPENINGS.iter().find(|opening| sentence.starts_with(**opening))
        {
            found.push(format!("{place}: a sentence begins with “{}”: name the subject", opening.trim_end()));
        }
    }
    found
}

#[test]
fn comments_are_plain_english() {
    let texts = sources(&["src", "tests", "benches"])
        .into_iter()
        .filter(|source| !source.path.ends_with("english.rs"));
    let found: Vec<String> = texts
        .flat_map(|source| {
            comments(&source.text)
                .into_iter()
                .flat_map(move |text| breaches(&source.path, &text))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} breaches of the rules in tests/rules/english.rs:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn pages_are_plain_english() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let others = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    let pages = pages.filter(|path| path.extension().is_some_and(|it| it == "md")).chain(others);
    let found: Vec<String> = pages
        .flat_map(|path| {
            let page = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().to_owned();
            paragraphs(&page).into_iter().flat_map(move |text| breaches(&name, &text)).collect::<Vec<_>>()
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} breaches of the rules in tests/rules/english.rs:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_rules_find_what_they_are_for() {
    let path = Path::new("src/x.rs");
    let of = |code: &str| comments(code).iter().flat_map(|text| breaches(path, text)).count();
    assert_eq!(of("/// What cannot be opened is told of once.\n"), 3);
    assert_eq!(of("// Nothing is wrong here. Who knows?\n"), 0, "a question");
    assert_eq!(of("/// Read from the front.\n/// Whose turn it is\n"), 1, "sentences go over lines");
    assert_eq!(of("/// `told of` is a name.\n"), 0);
    assert_eq!(of("let told_of = \"told of\";\n"), 0, "no comment");
    let page = "# Boot\n\n```\ntold of\n```\n\n- Where it boots, it is mended.\n";
    let found: Vec<usize> = paragraphs(page).iter().map(|text| breaches(path, text).len()).collect();
    assert_eq!(found, [0, 2]);
}
