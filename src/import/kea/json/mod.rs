//! Reads the JSON of Kea's configuration files: with comments of three kinds, commas before a closing bracket, and
//! `<?include "file"?>` (`dhcp4_lexer.ll` in Kea). Every value and key keeps its place.

mod lexer;
mod node;

pub(super) use node::{Data, Entry, Node};

use lexer::{Reader, Token, include_name, skip_space, token};

use crate::import::failure::Failed;
use crate::import::position::{Fault, Position};
use crate::import::sources::Sources;

/// The maximum nesting of lists and maps. Kea's own configurations have about ten levels.
const MAX_DEPTH: usize = 64;
/// The maximum nesting of included files, as in Kea.
const MAX_INCLUDES: usize = 10;
/// The maximum number of values in all files. A reservation has about ten.
const MAX_VALUES: usize = 4_000_000;

/// Parses the file at `path` and the files that it includes.
pub(super) fn parse(sources: &mut Sources<'_>, path: &str) -> Result<Node, Failed> {
    let first = Reader::new(sources.open(path, None)?);
    let mut parser = Parser { stack: vec![first], sources, values: 0 };
    match parser.file() {
        Ok(node) => Ok(node),
        Err(fault) => Err(fault.failed(parser.sources)),
    }
}

struct Parser<'p, 's> {
    /// The file that is being read is the last one. Files that include it come before it.
    stack: Vec<Reader>,
    sources: &'p mut Sources<'s>,
    values: usize,
}

impl Parser<'_, '_> {
    fn file(&mut self) -> Result<Node, Fault> {
        let node = self.value(0)?;
        let (here, token) = self.token()?;
        match token {
            Token::End => Ok(node),
            token => Err(here.fault(format!("expected the end of the file, found {}", token.words()))),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        let (here, token) = self.token()?;
        self.value_from(here, token, depth)
    }

    fn value_from(&mut self, here: Position, token: Token, depth: usize) -> Result<Node, Fault> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(here.fault(format!("more than {MAX_VALUES} values")));
        }
        if depth > MAX_DEPTH {
            return Err(here.fault(format!("more than {MAX_DEPTH} levels of lists and maps")));
        }
        let data = match token {
            Token::OpenMap => self.map(depth)?,
            Token::OpenList => self.list(depth)?,
            Token::Text(text) => Data::Text(text),
            Token::Word(data) => data,
            token => return Err(here.fault(format!("expected a value, found {}", token.words()))),
        };
        Ok(Node { place: here.place(), data })
    }

    fn list(&mut self, depth: usize) -> Result<Data, Fault> {
        let mut items = Vec::new();
        loop {
            let (here, token) = self.token()?;
            if token == Token::CloseList {
                break;
            }
            items.push(self.value_from(here, token, depth + 1)?);
            match self.token()? {
                (_, Token::Comma) => {}
                (_, Token::CloseList) => break,
                (here, token) => {
                    return Err(here.fault(format!("expected `,` or `]`, found {}", token.words())));
                }
            }
        }
        items.shrink_to_fit();
        Ok(Data::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Data, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (here, key) = match self.token()? {
                (_, Token::CloseMap) => break,
                (here, Token::Text(key)) => (here, key),
                (here, token) => {
                    return Err(
                        here.fault(format!("expected a name in quotes or `}}`, found {}", token.words()))
                    );
                }
            };
            match self.token()? {
                (_, Token::Colon) => {}
                (here, token) => {
                    return Err(here.fault(format!("expected `:` after {key:?}, found {}", token.words())));
                }
            }
            let value = self.value(depth + 1)?;
            if entries.iter().any(|entry| entry.key == key) {
                return Err(here.fault(format!("{key:?} is given twice in one map")));
            }
            entries.push(Entry { place: here.place(), key, value });
            match self.token()? {
                (_, Token::Comma) => {}
                (_, Token::CloseMap) => break,
                (here, token) => {
                    return Err(here.fault(format!("expected `,` or `}}`, found {}", token.words())));
                }
            }
        }
        entries.shrink_to_fit();
        Ok(Data::Map(entries))
    }

    /// Returns the next token. The end of an included file is no token.
    fn token(&mut self) -> Result<(Position, Token), Fault> {
        loop {
            let files = self.stack.len();
            let Some(source) = self.stack.last_mut() else {
                return Ok((Position::start(0), Token::End));
            };
            skip_space(source)?;
            let here = source.here;
            let Some(byte) = source.peek(0) else {
                if files > 1 {
                    self.stack.pop();
                    continue;
                }
                return Ok((here, Token::End));
            };
            if source.starts_with(b"<?") {
                let name = include_name(source)?;
                if files > MAX_INCLUDES {
                    return Err(here.fault(format!("more than {MAX_INCLUDES} levels of included files")));
                }
                let opened = self.sources.open(&name, Some(&source.source));
                let included = opened.map_err(|failed| here.fault(failed.to_string()))?;
                self.stack.push(Reader::new(included));
                continue;
            }
            return Ok((here, token(source, byte)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Found;
    use crate::import::place::Place;

    fn read(text: &str) -> Result<Node, String> {
        let mut read = |name: &str, _: Option<&str>| {
            let bytes = match name {
                "kea.conf" => text.as_bytes().to_vec(),
                "hosts.json" => b"{\"a\": 1}, # one\n {\"b\": 2}".to_vec(),
                "self.json" => b"<?include \"self.json\"?>".to_vec(),
                _ => return Err(format!("cannot read {name}")),
            };
            Ok(Found { name: name.to_owned(), bytes })
        };
        let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
        parse(&mut Sources::new(&mut read, &mut list), "kea.conf").map_err(|failed| failed.to_string())
    }

    #[test]
    fn comments_and_commas_are_read_as_kea_does() {
        let node = read(
            "# one\n// two\n{ /* three\n */ \"Dhcp4\": {\"a\": [1, -2, 3.5,], \"b\": tRue, \"c\": null,\n \
             \"d\": \"x\\u00e9\\n\",},}",
        )
        .unwrap();
        let inside = node.get("Dhcp4").unwrap();
        assert_eq!(inside.get("a").unwrap().items().len(), 3);
        assert_eq!(inside.get("b").unwrap().bool(), Some(true));
        assert_eq!(inside.get("d").unwrap().text(), Some("x\u{e9}\n"));
        assert_eq!(inside.get("d").unwrap().place, Place { file: 0, line: 5 });
    }

    #[test]
    fn includes_are_read_in_their_place() {
        let node = read("[<?include \"hosts.json\"?>, 3]").unwrap();
        assert_eq!(node.items().len(), 3);
        assert_eq!(node.items()[1].place, Place { file: 1, line: 2 });
        assert_eq!(read("[<?include \"none\"?>]").unwrap_err(), "kea.conf:1:2: cannot read none");
        let endless = read("<?include \"self.json\"?>").unwrap_err();
        assert_eq!(endless, "self.json:1:1: more than 10 levels of included files");
    }

    #[test]
    fn faults_have_their_places() {
        for (text, fault) in [
            ("", "1:1: expected a value, found the end of the file"),
            ("{\"a\": 1\n\"b\": 2}", "2:1: expected `,` or `}`, found the text \"b\""),
            ("{\"a\" 1}", "1:6: expected `:` after \"a\", found a number"),
            ("{a: 1}", "1:2: expected a value, found `a`"),
            ("[1 2]", "1:4: expected `,` or `]`, found a number"),
            ("{\"a\": \"x\n\"}", "1:7: this text has no closing `\"` on its line"),
            ("/* x", "1:1: this comment has no `*/`"),
            ("{} {}", "1:4: expected the end of the file, found `{`"),
            ("{\"a\": 1, \"a\": 2}", "1:10: \"a\" is given twice in one map"),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("kea.conf:{fault}"), "{text}");
        }
        assert!(read(&"[".repeat(100_000)).unwrap_err().ends_with("more than 64 levels of lists and maps"));
    }
}
