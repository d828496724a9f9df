//! Limits of templates that the fuel of minijinja does not set: how deep its parser and its values nest, and how large
//! lists and mappings become.
//!
//! Fuel bounds the bytes of texts and the steps. It does not see a list that is added to itself forty times, because
//! minijinja joins lists lazily, nor a list in a list in a list. So [`guard`] adds a filter behind each operand of each
//! expression before the template is compiled, and that filter ([`bounded`], [`single`]) looks at the value. Every
//! value that a template works on has then been measured, and one tag can only combine as many as it names.
//!
//! Called for each template that is compiled, and by minijinja for each operand. Nothing here may be skipped for a
//! template that "is simple": simple ones abort servers too.

use std::collections::BTreeMap;
use std::time::Instant;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Tokens of one tag. The parser, the compiler and the release of what they built recurse once for each `not`, `.x` or
/// `|x` of an expression; a stack of 64 MiB holds 50 times this depth in a debug build.
const MAX_TOKENS: usize = 1000;
/// Branches of one `if`. Each `elif` is an `if` inside the one before, for the parser.
const MAX_BRANCHES: usize = 200;
/// Elements of a list or mapping, with those of the lists in it, each counted where it stands.
const MAX_ELEMENTS: usize = 20_000;
/// Bytes of the texts in a list or mapping, each counted where it stands. A file that is made has as many.
const MAX_BYTES: usize = 1 << 20;
/// Lists and mappings inside one another. Printing, comparing and releasing them recurses.
const MAX_NESTED: usize = 32;
/// Elements that cost one step.
const ELEMENTS_PER_STEP: usize = 4;

/// The filter behind an operand.
pub(super) const BOUNDED: &str = "lanboot_bounded";
/// The filter behind an operand of `~` or `*`.
pub(super) const SINGLE: &str = "lanboot_single";

/// A template that is not compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbounded {
    /// The line in it, from 1.
    pub line: usize,
    /// For people.
    pub why: String,
}

/// `source` with the guards in it. Lines stay where they are. What cannot be read is left to the parser to report.
pub(super) fn guard(source: &str, syntax: &SyntaxConfig) -> Result<String, Unbounded> {
    let Ok(tokens) = tokenize(source, false, syntax.clone()).collect::<Result<Vec<_>, _>>() else {
        // The parser stops at the same token; what stands before it must not be too much either.
        return before_fault(source, syntax).map(|()| source.to_owned());
    };
    let mut walk = Walk { tokens: &tokens, at: 0, guards: Vec::new(), branches: Vec::new() };
    walk.template()?;
    let mut out = String::with_capacity(source.len() + walk.guards.len() * (BOUNDED.len() + 1));
    let mut from = 0;
    for (end, filter) in walk.guards {
        out.push_str(source.get(from..end).unwrap_or_default());
        out.push('|');
        out.push_str(filter);
        from = end;
    }
    out.push_str(source.get(from..).unwrap_or_default());
    Ok(out)
}

fn before_fault(source: &str, syntax: &SyntaxConfig) -> Result<(), Unbounded> {
    let tokens: Vec<_> = tokenize(source, false, syntax.clone()).map_while(Result::ok).collect();
    Walk { tokens: &tokens, at: 0, guards: Vec::new(), branches: Vec::new() }.template()
}

/// What a bracket belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    /// An operand of its own: `( … )`, `[ … ]`, `{ … }`.
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
    /// Where it ends in the source.
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

struct Walk<'t> {
    tokens: &'t [(Token<'t>, Span)],
    at: usize,
    guards: Vec<(usize, &'static str)>,
    /// For each `if` that is open, its branches so far.
    branches: Vec<usize>,
}

impl<'t> Walk<'t> {
    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<&'t (Token<'t>, Span)> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    fn template(&mut self) -> Result<(), Unbounded> {
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
                self.expression(plain)
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
                level.operand = Some(constant)
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

    /// Where a name with dots in it ends.
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
    /// What it is with a bracket behind it.
    fn called(self, is_call: bool) -> Option<Special> {
        match self {
            Special::Engine if is_call => Some(self),
            Special::Called(false) if is_call => Some(Special::Called(true)),
            _ => None,
        }
    }
}

/// What is read behind a bracket that closes `group`, which began in `before`.
fn closed(group: Group, before: Level, end: usize) -> Level {
    let name = before.operand.and_then(|operand| operand.name).filter(|_| group == Group::Postfix);
    Level { operand: Some(Operand { end, is_constant: group == Group::Test, name }), ..before }
}

/// The value of an operand, measured; a list or mapping that is made while it is read becomes one that is there.
pub(super) fn bounded(state: &State<'_, '_>, value: &Value, until: Instant) -> Result<Value, Error> {
    if Instant::now() > until {
        return Err(too_long());
    }
    let mut measure = Measure { elements: 0, bytes: 0 };
    let made = measure.value(value, 0)?;
    state.consume_fuel((measure.elements / ELEMENTS_PER_STEP) as u64)?;
    Ok(made.unwrap_or_else(|| value.clone()))
}

/// The value of an operand of `~` or `*`: no list or mapping, which these would repeat or print.
pub(super) fn single(value: &Value, until: Instant) -> Result<Value, Error> {
    if Instant::now() > until {
        return Err(too_long());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::Plain => {
            Err(fault("~ and * take texts and numbers; of a list, make a text with the filter join"))
        }
        _ => Ok(value.clone()),
    }
}

/// The error of a template whose time is over.
pub(super) fn too_long() -> Error {
    fault("it takes too long: make it shorter, or have its loops do less")
}

pub(super) fn fault(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, why.into())
}

/// What was counted of one value.
struct Measure {
    elements: usize,
    bytes: usize,
}

impl Measure {
    /// Measures `value`. `None` if it can stay as it is; else what it becomes.
    fn value(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {}
            ValueKind::Plain => {
                return Err(fault("a macro, a function or a loop stands here, where only a value can"));
            }
            _ => {
                // A text alone is paid for with fuel.
                let length = value.as_bytes().map_or(0, <[u8]>::len);
                self.bytes = self.bytes.saturating_add(if depth > 0 { length } else { 0 });
                return self.check().map(|()| None);
            }
        }
        if depth >= MAX_NESTED {
            return Err(fault(format!("lists and mappings are nested more than {MAX_NESTED} times here")));
        }
        if let Some(items) = value.downcast_object_ref::<Vec<Value>>() {
            return Ok(self.items(items, depth)?.map(Value::from));
        }
        if let Some(items) = value.downcast_object_ref::<Tuple>() {
            return Ok(self.items(items, depth)?.map(|items| Value::from(Tuple::from(items))));
        }
        if let Some(entries) = value.downcast_object_ref::<BTreeMap<Value, Value>>() {
            return self.entries(entries, depth);
        }
        if value.kind() == ValueKind::Map {
            let mut entries = BTreeMap::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                self.count()?;
                let entry = value.get_item(&key)?;
                let entry = self.value(&entry, depth + 1)?.unwrap_or(entry);
                entries.insert(key, entry);
            }
            return Ok(Some(Value::from_object(entries)));
        }
        let mut items = Vec::new();
        for item in value.try_iter()?.checked() {
            let item = item?;
            self.count()?;
            items.push(self.value(&item, depth + 1)?.unwrap_or(item));
        }
        Ok(Some(Value::from(items)))
    }

    /// The elements of a list, if any of them becomes another.
    fn items(&mut self, items: &[Value], depth: usize) -> Result<Option<Vec<Value>>, Error> {
        let mut changed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.count()?;
            if let Some(other) = self.value(item, depth + 1)? {
                changed.push((index, other));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let mut items = items.to_vec();
        for (index, other) in changed {
            items[index] = other;
        }
        Ok(Some(items))
    }

    fn entries(&mut self, entries: &BTreeMap<Value, Value>, depth: usize) -> Result<Option<Value>, Error> {
        let mut changed = Vec::new();
        for (key, entry) in entries {
            self.count()?;
            self.value(key, depth + 1)?;
            if let Some(other) = self.value(entry, depth + 1)? {
                changed.push((key.clone(), other));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let mut entries = entries.clone();
        entries.extend(changed);
        Ok(Some(Value::from_object(entries)))
    }

    fn count(&mut self) -> Result<(), Error> {
        self.elements = self.elements.saturating_add(1);
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        if self.elements > MAX_ELEMENTS {
            return Err(fault(format!("a list or mapping has more than {MAX_ELEMENTS} elements here")));
        }
        if self.bytes > MAX_BYTES {
            return Err(fault(format!(
                "the texts of a list or mapping have more than {MAX_BYTES} bytes here"
            )));
        }
        Ok(())
    }
}
