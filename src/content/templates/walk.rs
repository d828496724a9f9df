//! Finds the positions of guards behind the operands of a template's expressions. `bounds.rs` calls it for each
//! template before it is compiled.
//!
//! It reads expressions as minijinja's parser does, follows brackets and the keywords between operands, and builds no
//! tree, so that no template makes it recurse.

use minijinja::machinery::{Span, Token};

use super::limits::{BOUNDED, MAX_BRANCHES, MAX_TOKENS, SINGLE, Unbounded};

/// The construct that a bracket belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    /// An operand itself: `( … )`, `[ … ]`, `{ … }`.
    Operand,
    /// Behind an operand: a call, an index or a slice.
    Postfix,
    /// The arguments of a filter.
    Filter,
    /// The arguments of a test, whose result is true or false.
    Test,
}

#[derive(Clone, Copy, Debug)]
struct Operand {
    /// Offset of its end in the source.
    end: usize,
    /// Whether it needs no guard, because it is a constant or the result of a test.
    is_constant: bool,
    /// The special name that the operand consists of so far, with at most one call behind it.
    name: Option<Special>,
}

/// Names of values that are neither list, mapping nor string, and must be passed on unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Special {
    /// `loop` and `caller`, with or without a call.
    Engine,
    /// `namespace(…)` and `super()`; true once they are called.
    Called(bool),
}

/// The state of an expression that is being read.
#[derive(Clone, Copy, Default, Debug)]
struct Level {
    operand: Option<Operand>,
    /// Whether a `~` or `*` precedes the operand.
    is_single: bool,
}

/// The way that an expression is read.
#[derive(Clone, Copy, Default)]
struct Reading {
    /// Whether it ends at a comma.
    to_comma: bool,
    /// Whether it is the call of `{% call %}` or `{% do %}`, which must stay a call.
    is_call: bool,
    /// Whether it starts with the name of a filter.
    is_filter: bool,
}

/// Reads the tokens of a template, and collects the guards.
pub(super) struct Walk<'t> {
    tokens: &'t [(Token<'t>, Span)],
    at: usize,
    /// Offsets of guards in the source, with their filters.
    pub guards: Vec<(usize, &'static str)>,
    /// The number of branches so far of each open `if`.
    branches: Vec<usize>,
}

impl<'t> Walk<'t> {
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

    /// Reads the whole template.
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

    /// Reads a statement tag after its `{%`.
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

    /// Reads `name = expression, …` up to the closing token; the expressions are optional.
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

    /// Skips to behind the next wanted token of this tag, and returns the token.
    fn skip_to(&mut self, wanted: impl Fn(&Token<'_>) -> bool) -> Option<&'t Token<'t>> {
        while let Some(token) = self.peek().filter(|token| !matches!(token, Token::BlockEnd)) {
            self.at += 1;
            if wanted(token) {
                return Some(token);
            }
        }
        None
    }

    /// Reads an expression up to its end, and adds guards behind its operands.
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
                _ => self.after_operand(&mut outer, &mut level, is_call),
            };
            if !goes_on {
                break;
            }
        }
        self.finish(&mut level, false, reading.is_call);
    }

    /// Reads a token where an operand is expected.
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
                    // This is the name of an argument.
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
            // Signs, the stars of arguments, the colons of slices, and trailing commas.
            _ => {}
        }
        true
    }

    /// Reads a token after an operand.
    fn after_operand(&mut self, outer: &mut Vec<(Group, Level)>, level: &mut Level, is_call: bool) -> bool {
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
                // Only the result of the filter is the operand of the operator before it.
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
            // Adjacent string literals are one string.
            Token::Str(_) | Token::String(_) => {}
            token => {
                let is_single = matches!(token, Token::Tilde | Token::Mul);
                self.finish(level, is_single, is_call);
                *level = Level { operand: None, is_single };
            }
        }
        true
    }

    /// Reads the name of a filter and the opening bracket of its arguments.
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

    /// Reads the name of a test and the start of its argument.
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
            // Minijinja accepts one argument without brackets. Its guard also guards the result.
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

    /// Reads a dotted name, and returns the offset of its end.
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

    /// Adds a guard behind the operand. `is_single` is set before an operator that takes only strings and numbers.
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

/// The state behind the bracket that closes `group`, which was opened in the state `before`.
fn closed(group: Group, before: Level, end: usize) -> Level {
    let name = before.operand.and_then(|operand| operand.name).filter(|_| group == Group::Postfix);
    Level { operand: Some(Operand { end, is_constant: group == Group::Test, name }), ..before }
}
