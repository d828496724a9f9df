//! Reads statements: words up to a `;`, or up to a block in braces. Included files stand in their place.

use super::lexer::{Kind, Lexer, Token};
use crate::import::failure::Failed;
use crate::import::place::Place;
use crate::import::position::{Fault, Position};
use crate::import::sources::{Source, Sources};

/// The maximum nesting of blocks. Real files have about six levels.
const MAX_DEPTH: usize = 40;
/// The maximum nesting of included files.
const MAX_INCLUDES: usize = 16;
/// The maximum number of tokens in all files. A host has about fifteen.
const MAX_TOKENS: usize = 4_000_000;

/// A statement.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub at: Position,
    /// At least one token, without the `;`.
    pub tokens: Vec<Token>,
    pub block: Option<Vec<Statement>>,
}

impl Statement {
    pub fn place(&self) -> Place {
        self.at.place()
    }

    /// Returns the first word in lower case.
    pub fn keyword(&self) -> String {
        self.tokens.first().and_then(Token::keyword).unwrap_or_default()
    }

    /// Returns the tokens after the first `count`.
    pub fn after(&self, count: usize) -> &[Token] {
        self.tokens.get(count..).unwrap_or_default()
    }

    /// Returns the keyword at `index` in lower case.
    pub fn word(&self, index: usize) -> Option<String> {
        self.tokens.get(index).and_then(Token::keyword)
    }

    /// Returns the word or text at `index`.
    pub fn name(&self, index: usize) -> Option<String> {
        self.tokens.get(index).and_then(name)
    }

    pub fn statements(&self) -> &[Statement] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Returns a word or a text.
pub(super) fn name(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(word) => Some(word.to_string()),
        Kind::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Kind::Sign(_) => None,
    }
}

/// Reads the file at `path` and the files that it includes.
pub(super) fn read(sources: &mut Sources<'_>, path: &str) -> Result<Vec<Statement>, Failed> {
    let source = sources.open(path, None)?;
    let mut reader = Reader { sources, tokens: 0, includes: 0 };
    match reader.file(&source) {
        Ok(statements) => Ok(statements),
        Err(fault) => Err(fault.failed(reader.sources)),
    }
}

struct Reader<'r, 's> {
    sources: &'r mut Sources<'s>,
    tokens: usize,
    /// The number of files that are open.
    includes: usize,
}

impl Reader<'_, '_> {
    fn file(&mut self, source: &Source) -> Result<Vec<Statement>, Fault> {
        let mut lexer = Lexer::new(source.at(1).file, &source.text);
        let mut statements = Vec::new();
        self.block(source, &mut lexer, None, &mut statements, 0)?;
        Ok(statements)
    }

    /// Reads statements up to the `}` of the block that begins at `open`, or up to the end of the file.
    fn block(
        &mut self,
        source: &Source,
        lexer: &mut Lexer<'_>,
        open: Option<Position>,
        into: &mut Vec<Statement>,
        depth: usize,
    ) -> Result<(), Fault> {
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            let Some(token) = lexer.next()? else { return at_end(lexer.here(), tokens.first(), open) };
            self.tokens += 1;
            if self.tokens > MAX_TOKENS {
                return Err(token.at.fault(format!("more than {MAX_TOKENS} words")));
            }
            match token.kind {
                Kind::Sign(b';') => {
                    let Some(first) = tokens.first() else { continue };
                    if let [word, file] = tokens.as_slice()
                        && word.is("include")
                        && let Some(path) = name(file)
                    {
                        let at = word.at;
                        self.include(source, &path, at, into)?;
                        tokens.clear();
                        continue;
                    }
                    let at = first.at;
                    tokens.shrink_to_fit();
                    into.push(Statement { at, tokens: std::mem::take(&mut tokens), block: None });
                }
                // The fields of a record in the definition of an option.
                Kind::Sign(b'{') if is_record(&tokens) => self.record(lexer, token, &mut tokens)?,
                Kind::Sign(b'{') => {
                    let Some(first) = tokens.first() else {
                        return Err(token.at.fault("expected a statement, found `{`"));
                    };
                    let at = first.at;
                    if depth >= MAX_DEPTH {
                        return Err(token.at.fault(format!("more than {MAX_DEPTH} blocks in one another")));
                    }
                    let mut inside = Vec::new();
                    self.block(source, lexer, Some(token.at), &mut inside, depth + 1)?;
                    inside.shrink_to_fit();
                    tokens.shrink_to_fit();
                    into.push(Statement { at, tokens: std::mem::take(&mut tokens), block: Some(inside) });
                }
                Kind::Sign(b'}') if open.is_some() => {
                    return match tokens.first() {
                        None => Ok(()),
                        Some(first) => {
                            let what = format!("expected `;` after {}, found `}}`", first.shown());
                            Err(token.at.fault(what))
                        }
                    };
                }
                Kind::Sign(b'}') => return Err(token.at.fault("this `}` closes no block")),
                _ => tokens.push(token),
            }
        }
    }

    fn include(
        &mut self,
        source: &Source,
        path: &str,
        at: Position,
        into: &mut Vec<Statement>,
    ) -> Result<(), Fault> {
        if self.includes >= MAX_INCLUDES {
            return Err(at.fault(format!("more than {MAX_INCLUDES} levels of included files")));
        }
        let included = self.sources.open(path, Some(source)).map_err(|failed| match failed {
            Failed::Broken(broken) => at.fault(format!("cannot read {path}: {broken}")),
            failed => at.fault(failed.to_string()),
        })?;
        self.includes += 1;
        let statements = self.file(&included);
        self.includes -= 1;
        into.extend(statements?);
        Ok(())
    }

    /// Reads `{ TYPE, TYPE }` into the tokens of its statement.
    fn record(&mut self, lexer: &mut Lexer<'_>, open: Token, tokens: &mut Vec<Token>) -> Result<(), Fault> {
        let at = open.at;
        tokens.push(open);
        loop {
            let Some(token) = lexer.next()? else { return Err(at.fault("this record has no `}`")) };
            self.tokens += 1;
            let is_end = token.is_sign(b'}');
            if token.is_sign(b';') || token.is_sign(b'{') || tokens.len() > 500 {
                return Err(token.at.fault(format!("expected `}}` of the record, found {}", token.shown())));
            }
            tokens.push(token);
            if is_end {
                return Ok(());
            }
        }
    }
}

/// Judges the end of a file after `first`, the first token of an open statement, in the block that begins at `open`.
fn at_end(here: Position, first: Option<&Token>, open: Option<Position>) -> Result<(), Fault> {
    match (first, open) {
        (Some(first), _) => {
            let first = first.shown();
            Err(here.fault(format!("expected `;` or `{{` after {first}, found the end of the file")))
        }
        (None, Some(open)) => Err(open.fault("this block has no `}`")),
        (None, None) => Ok(()),
    }
}

/// Whether a `{` after these tokens begins a record, not a block: `option a code 1 = {` or `= array of {`, and the
/// values of a record, `option a {`.
fn is_record(tokens: &[Token]) -> bool {
    let is_option = tokens.first().is_some_and(|token| token.is("option"));
    is_option && tokens.last().is_some_and(|token| token.is_sign(b'=') || token.is("of"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Found;

    fn shape(text: &str) -> Result<String, String> {
        fn write(statements: &[Statement], out: &mut String) {
            for statement in statements {
                let words: Vec<String> = statement.tokens.iter().map(Token::shown).collect();
                out.push_str(&words.join("").replace('`', ""));
                match &statement.block {
                    None => out.push(';'),
                    Some(inside) => {
                        out.push('{');
                        write(inside, out);
                        out.push('}');
                    }
                }
            }
        }
        let mut read = |name: &str, _: Option<&str>| {
            let bytes = match name {
                "dhcpd.conf" => text.as_bytes().to_vec(),
                "a.conf" => b"a; b { c; }".to_vec(),
                "self.conf" => b"include \"self.conf\";".to_vec(),
                _ => return Err(format!("cannot read {name}")),
            };
            Ok(Found { name: name.to_owned(), bytes })
        };
        let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
        let mut sources = Sources::new(&mut read, &mut list);
        let statements = super::read(&mut sources, "dhcpd.conf").map_err(|failed| failed.to_string())?;
        let mut out = String::new();
        write(&statements, &mut out);
        Ok(out)
    }

    #[test]
    fn statements_and_blocks_are_read() {
        assert_eq!(shape("a b;; c { d; e {} }; f;").unwrap(), "ab;c{d;e{}}f;");
        assert_eq!(
            shape("option a.b code 1 = { text, ip-address }; g { h; }").unwrap(),
            "optiona.bcode1={text,ip-address};g{h;}"
        );
        assert_eq!(shape("x { include \"a.conf\"; } y;").unwrap(), "x{a;b{c;}}y;");
    }

    #[test]
    fn faults_have_their_place() {
        for (text, fault) in [
            ("subnet 1 {\n a;\n", "1:10: this block has no `}`"),
            ("a;\n}", "2:1: this `}` closes no block"),
            ("x { a }", "1:7: expected `;` after `a`, found `}`"),
            ("a b", "1:4: expected `;` or `{` after `a`, found the end of the file"),
            ("{ a; }", "1:1: expected a statement, found `{`"),
            ("include \"none\";", "1:1: cannot read none"),
        ] {
            assert_eq!(shape(text).unwrap_err(), format!("dhcpd.conf:{fault}"), "{text}");
        }
        assert!(shape(&"a {".repeat(100_000)).unwrap_err().contains("more than 40 blocks"));
        assert!(shape("include \"self.conf\";").unwrap_err().contains("more than 16 levels"));
    }
}
