//! Reads the expressions of a template as minijinja's parser does, and finds where guards of their operands are to stand.
//!
//! It follows brackets and the words between operands, and builds no tree, so that no template makes it recurse. Called
//! by `bounds.rs` for each template before it is compiled.

use minijinja::machinery::{Span, Token};

use super::bounds::{BOUNDED, MAX_BRANCHES, MAX_TOKENS, SINGLE, Unbounded};

/// The construct that a bracket belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    /// Its own operand: `( … )`, `[ … ]`, `{ … }`.
    Operand,
    /// Behind an operand: a call, an index or a slice.
    Postfix,
    /// The arguments of a filter.
    Filter,
    /// The arguments of a test, whose result is true or false.
    Test,
}

/// An operand that was read.
#[derive(Clone, Copy, Debug)]
struct Operand {
    /// Offset of its end in the source.
    end: usize,
    /// It needs no guard: a constant, or the result of a test.
    is_constant: bool,
    /// The name that it is so far, with at most one call behind it.
    name: Option<Special>,
}

/// Names that stand for something that is no list, mapping or text and must be passed on as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Special {
    /// `loop` and `caller`, alone or called.
    Engine,
    /// `namespace(…)` and `super()`, called.
    Called(bool),
}

/// An expression up to where it is being read.
#[derive(Clone, Copy, Default, Debug)]
struct Level {
    operand: Option<Operand>,
    /// A `~` or `*` stands before the operand.
    is_single: bool,
}

/// How an expression is read.
#[derive(Clone, Copy, Default)]
struct Reading {
    /// It ends at a comma.
    to_comma: bool,
    /// It is a call that must stay one: of `{% call %}` and `{% do %}`.
    is_call: bool,
    /// It begins with the name of a filter.
    is_filter: bool,
}

pub(super) struct Walk<'t> {
    tokens: &'t [(Token<'t>, Span)],
    at: usize,
    /// Offsets of guards in the source, and their filters.
    pub guards: Vec<(usize, &'static str)>,
    /// For each `if` that is open, its branches so far.
    branches: Vec<usize>,
}

impl<'t> Walk<'t> {
    /// For these tokens.
    pub fn new(tokens: &'t [(Token<'t>, Span)]) -> Walk<'t> {
        Walk { tokens, at: 0, guards: Vec::new(), branches: Vec::new() }
    }

    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<&'t (Token<'t>, Span)> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    /// Reads all of them.
    pub fn template(&mut self) -> Result<(), Unbounded> {
        while let Some((token, span)) = self.next() {
            if !matches!(token, Token::VariableStart | Token::BlockStart) {
                continue;
            }
            let begin = self.at;
            let is_end =
                |(token, _): &(Token<'_>, Span)| matches!(token, Token::VariableEnd | Token::BlockEnd);
            let rest = self.tokens.get(begin..).unwrap_or_default();
            let length = rest.iter().position(is_end).unwrap_or(rest.len());
            let line = usize::from(span.start_line);
            if length > MAX_TOKENS {
                let why = format!(
                    "a tag has {length} words and signs, and may have {MAX_TOKENS}: split it with {{% set %}}"
                );
                return Err(Unbounded { line, why });
            }
            if matches!(token, Token::VariableStart) {
                self.expression(Reading::default());
            } else {
                self.block(line)?;
            }
            self.at = self.at.max(begin + length);
        }
        Ok(())
    }

    /// Reads a tag of statements behind its `{%`.
    fn block(&mut self, line: usize) -> Result<(), Unbounded> {
        let Some((Token::Ident(keyword), _)) = self.next() else { return Ok(()) };
        match *keyword {
            "if" => self.branches.push(1),
            "endif" => _ = self.branches.pop(),
            "elif" => {
                let count = self.branches.last_mut();
                if count.is_some_and(|count| {
                    *count += 1;
                    *count > MAX_BRANCHES
                }) {
                    let why = format!("an `if` has more than {MAX_BRANCHES} branches: use a mapping instead");
                    return Err(Unbounded { line, why });
                }
            }
            _ => {}
        }
        let plain = Reading::default();
        match *keyword {
            "if" | "elif" | "include" | "import" | "extends" | "from" | "autoescape" => {
                self.expression(plain);
            }
            "do" => self.expression(Reading { is_call: true, ..plain }),
            "filter" => self.expression(Reading { is_filter: true, ..plain }),
            "for" => {
                self.skip_to(|token| matches!(token, Token::Ident("in")));
                self.expression(plain);
            }
            "set" => match self.skip_to(|token| matches!(token, Token::Assign | Token::Pipe)) {
                Some(Token::Pipe) => self.expression(Reading { is_filter: true, ..plain }),
                _ => self.expression(plain),
            },
            "with" => self.defaults(),
            "macro" => {
                self.skip_to(|token| matches!(token, Token::ParenOpen));
                self.defaults();
            }
            "call" => {
                if matches!(self.peek(), Some(Token::ParenOpen)) {
                    self.at += 1;
                    self.defaults();
                    self.at += 1;
                }
                self.expression(Reading { is_call: true, ..plain });
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads `name = expression, …`, where names may have no expression, up to what closes it.
    fn defaults(&mut self) {
        while let Some(token) = self.peek() {
            match token {
                Token::Assign => {
                    self.at += 1;
                    self.expression(Reading { to_comma: true, ..Reading::default() });
                }
                Token::ParenClose | Token::BlockEnd => return,
                // The target of `with` may be a tuple.
                Token::ParenOpen => {
                    self.skip_to(|token| matches!(token, Token::ParenClose));
                }
                _ => self.at += 1,
            }
        }
    }

    /// Goes on behind the next such token of this tag.
    fn skip_to(&mut self, wanted: impl Fn(&Token<'_>) -> bool) -> Option<&'t Token<'t>> {
        while let Some(token) = self.peek().filter(|token| !matches!(token, Token::BlockEnd)) {
            self.at += 1;
            if wanted(token) {
                return Some(token);
            }
        }
        None
    }

    /// Reads an expression up to what is no part of it, and puts guards behind its operands.
    fn expression(&mut self, reading: Reading) {
        let mut outer: Vec<(Group, Level)> = Vec::new();
        let mut level = Level::default();
        if reading.is_filter && !self.filter(&mut outer, &mut level) {
            return;
        }
        while let Some((token, span)) = self.tokens.get(self.at) {
            let is_call = reading.is_call && outer.is_empty();
            let goes_on = match token {
                Token::VariableEnd | Token::BlockEnd => false,
                Token::Comma if reading.to_comma && outer.is_empty() => false,
                Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                    self.finish(&mut level, false, is_call);
                    match outer.pop() {
                        Some((group, before)) => {
                            level = closed(group, before, span.end_offset as usize);
                            self.at += 1;
                            true
                        }
                        None => false,
                    }
                }
                _ if level.operand.is_none() => self.operand(&mut outer, &mut level),
                _ => self.behind(&mut outer, &mut level, is_call),
            };
            if !goes_on {
                break;
            }
        }
        self.finish(&mut level, false, reading.is_call);
    }

    /// Reads a token where an operand is to come.
    fn operand(&mut self, outer: &mut Vec<(Group, Level)>, level: &mut Level) -> bool {
        let Some((token, span)) = self.next() else { return false };
        let end = span.end_offset as usize;
        let constant = Operand { end, is_constant: true, name: None };
        match token {
            Token::Ident("true" | "True" | "false" | "False" | "none" | "None") => {
                level.operand = Some(constant);
            }
            Token::Ident("not") => {}
            Token::Ident(name) => {
                if matches!(self.peek(), Some(Token::Assign)) {
                    // The name of an argument.
                    self.at += 1;
                    return true;
                }
                let name = match *name {
                    "loop" | "caller" => Some(Special::Engine),
                    "namespace" | "super" => Some(Special::Called(false)),
                    _ => None,
                };
                level.operand = Some(Operand { end, is_constant: false, name });
            }
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
                level.operand = Some(constant);
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                outer.push((Group::Operand, *level));
                *level = Level::default();
            }
            // Signs, the stars of arguments, the colons of slices, and commas at an end.
            _ => {}
        }
        true
    }

    /// Reads a token behind an operand.
    fn behind(&mut self, outer: &mut Vec<(Group, Level)>, level: &mut Level, is_call: bool) -> bool {
        let Some((token, _)) = self.next() else { return false };
        match token {
            Token::Dot => {
                let Some((_, span)) = self.next() else { return false };
                level.operand =
                    Some(Operand { end: span.end_offset as usize, is_constant: false, name: None });
            }
            Token::ParenOpen | Token::BracketOpen => {
                let is_paren = matches!(token, Token::ParenOpen);
                if let Some(operand) = &mut level.operand {
                    operand.name = operand.name.and_then(|name| name.called(is_paren));
                }
                outer.push((Group::Postfix, *level));
                *level = Level::default();
            }
            Token::Pipe => {
                // Only the result of the filter is an operand of what stands before it.
                let before = level.is_single;
                level.is_single = false;
                self.finish(level, false, is_call);
                level.is_single = before;
                return self.filter(outer, level);
            }
            Token::Ident("is") => {
                self.finish(level, false, is_call);
                return self.test(outer, level);
            }
            Token::Ident("and" | "or" | "if" | "else" | "in" | "not") => {
                self.finish(level, false, is_call);
                *level = Level::default();
            }
            Token::Ident(_) | Token::Assign => return false,
            // One text after the other is one text.
            Token::Str(_) | Token::String(_) => {}
            token => {
                let is_single = matches!(token, Token::Tilde | Token::Mul);
                self.finish(level, is_single, is_call);
                *level = Level { operand: None, is_single };
            }
        }
        true
    }

    /// Reads the name of a filter and the bracket of its arguments.
    fn filter(&mut self, outer: &mut Vec<(Group, Level)>, level: &mut Level) -> bool {
        let Some(end) = self.dotted_name() else { return false };
        level.operand = Some(Operand { end, is_constant: false, name: None });
        if matches!(self.peek(), Some(Token::ParenOpen)) {
            self.at += 1;
            outer.push((Group::Filter, *level));
            *level = Level::default();
        }
        true
    }

    /// Reads the name of a test and what its argument begins with.
    fn test(&mut self, outer: &mut Vec<(Group, Level)>, level: &mut Level) -> bool {
        if matches!(self.peek(), Some(Token::Ident("not"))) {
            self.at += 1;
        }
        let Some(end) = self.dotted_name() else { return false };
        level.operand = Some(Operand { end, is_constant: true, name: None });
        match self.peek() {
            Some(Token::ParenOpen) => {
                self.at += 1;
                outer.push((Group::Test, *level));
                *level = Level::default();
            }
            Some(Token::Ident("and" | "or" | "else" | "is")) => {}
            // An argument without brackets, as minijinja reads it. Its guard is one of the result as well.
            Some(
                Token::Ident(_)
                | Token::Str(_)
                | Token::String(_)
                | Token::Int(_)
                | Token::Int128(_)
                | Token::Float(_)
                | Token::Plus
                | Token::Minus
                | Token::BracketOpen
                | Token::BraceOpen,
            ) => level.operand = None,
            _ => {}
        }
        true
    }

    /// Reads a name with dots in it, and returns the offset of its end.
    fn dotted_name(&mut self) -> Option<usize> {
        let (Token::Ident(_), span) = self.next()? else { return None };
        let mut end = span.end_offset as usize;
        while matches!(self.peek(), Some(Token::Dot)) {
            self.at += 1;
            let (_, span) = self.next()?;
            end = span.end_offset as usize;
        }
        Some(end)
    }

    /// Puts a guard behind the operand, with `is_single` before an operator that takes texts and numbers only.
    fn finish(&mut self, level: &mut Level, is_single: bool, is_call: bool) {
        let Some(operand) = level.operand.take() else { return };
        let is_exempt = matches!(operand.name, Some(Special::Engine | Special::Called(true)));
        if !operand.is_constant && !is_exempt && !is_call {
            self.guards.push((operand.end, if is_single || level.is_single { SINGLE } else { BOUNDED }));
        }
    }
}

impl Special {
    /// The same name with a bracket behind it.
    fn called(self, is_call: bool) -> Option<Special> {
        match self {
            Special::Engine if is_call => Some(self),
            Special::Called(false) if is_call => Some(Special::Called(true)),
            _ => None,
        }
    }
}

/// The state behind a bracket that closes `group`, which began in `before`.
fn closed(group: Group, before: Level, end: usize) -> Level {
    let name = before.operand.and_then(|operand| operand.name).filter(|_| group == Group::Postfix);
    Level { operand: Some(Operand { end, is_constant: group == Group::Test, name }), ..before }
}
