//! Renders files for the requesting machine: those of boot-images/ whose name ends in `.j2`. `lookup` calls it.
//!
//! Only files in boot-images/ are compiled. Data from the network is only ever a value. Templates are rendered in
//! separate threads (`pool.rs`) within limits of time, depth and memory (`bounds.rs`): an endless template must not
//! cost more than the boot of the client that asked for it.

mod bounds;
mod limits;
mod pool;
pub mod rendering;
mod variables;
mod walk;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::boot::loader::escape::{
    Syntax, UnquotableReason, UnquotableValue, has_marks, mark, quote_values, shell_word,
};
use crate::boot::loader::facts::Facts;
use crate::boot::name::BootName;
use crate::content::log_once::{Fault, LogOnce};
use crate::event::Refusal;
use crate::images::{Catalog, OpenFile};

use bounds::{bounded, fault, single, too_long};
use pool::Pool;
use variables::variables;

/// The extension of templates. The rendered file is served under the name without it.
pub const EXTENSION: &str = ".j2";
/// Maximum size of a template in bytes.
pub const MAX_TEMPLATE: u64 = 256 << 10;
/// Maximum size of a rendered file in bytes.
pub const MAX_OUTPUT: usize = 1 << 20;
/// Steps of one rendering: minijinja's instructions, plus one for each 64 bytes that it writes or reads. This limits
/// the strings and lists of one rendering to 64 MiB.
const FUEL: u64 = 1_000_000;
/// Maximum nesting of templates: `include`, `import`, `extends`, and macros that call macros.
const MAX_DEPTH: usize = 50;
/// Maximum bytes of all templates that one rendering compiles. The compiled form takes up to fifty times as much
/// memory.
const MAX_SOURCES: u64 = 1 << 20;
/// Maximum number of templates that one rendering looks up. Each lookup opens a file, and a missing file costs no fuel.
const MAX_LOOKUPS: usize = 1000;
/// Maximum time of one rendering. Ordinary templates take a millisecond.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Maximum number of spaces per level of indented JSON.
const MAX_INDENT: i64 = 16;
/// Maximum number of characters of an error message.
const MAX_PROBLEM: usize = 400;

/// The reason why a template cannot be rendered. `Display` shows file and line, the error, and the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The file with the error, relative to boot-images/. It may be an included one.
    pub file: String,
    /// The line with the error, starting at 1, if there is one.
    pub line: Option<usize>,
    /// The error message.
    pub what: String,
    /// The machine that the template was rendered for.
    pub machine: String,
    /// Whether the template needs a value that is not known for this machine.
    pub undefined: bool,
}

impl fmt::Display for TemplateError {
    /// `kickstart.cfg.j2:12: undefined value: … (for node1)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {} (for {})", self.what, self.machine)
    }
}

/// Renders the templates of a folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Templates {
    catalog: Catalog,
    log_once: LogOnce,
    pool: Pool,
}

impl Templates {
    /// Renders the templates of `catalog`; errors are logged through `log_once`.
    pub fn new(catalog: Catalog, log_once: LogOnce) -> Templates {
        Templates { catalog, log_once, pool: Pool::default() }
    }

    /// Renders the open template `open` for the machine of `facts`. It runs in threads of the pool, because it needs a
    /// stack of [`pool::STACK`] bytes. `request` is the JSON that the machine sent by POST. Each fault is recorded once,
    /// not once per machine ([`LogOnce`]).
    ///
    /// # Errors
    /// [`Refusal::Template`]; no part of the text is served then.
    fn text(&self, open: OpenFile, facts: &Facts<'_>, request: Option<&Json>) -> Result<String, Refusal> {
        let name = open.name.clone();
        let made = self.render_here(open, facts, request);
        let fault = |error: &TemplateError| {
            let what = format!("{}:{:?}: {}", error.file, error.line, error.what);
            Fault { what, line: format!("cannot render {error}") }
        };
        self.log_once.report(&name, facts, made.as_ref().err().map(fault));
        made.map_err(|_| Refusal::Template)
    }

    /// Like `Templates::text`, but returns the error instead of logging it. Blocks until a thread with a large stack
    /// has rendered the template.
    pub fn render(&self, open: OpenFile, facts: &Facts<'_>) -> Result<String, TemplateError> {
        let (file, machine) = (open.name.clone(), facts.label());
        let failed =
            |what: &str| TemplateError { file, line: None, what: what.to_owned(), machine, undefined: false };
        let made = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("render".to_owned()).stack_size(pool::STACK);
            let thread = thread.spawn_scoped(scope, || self.render_here(open, facts, None));
            thread.map(std::thread::ScopedJoinHandle::join)
        });
        match made {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(failed("a fault in lanboot ended it: please report it with the template")),
            Err(error) => Err(failed(&format!("there is no thread to render it in: {error}"))),
        }
    }

    /// Renders in the calling thread, which needs a stack of [`pool::STACK`] bytes.
    fn render_here(
        &self,
        open: OpenFile,
        facts: &Facts<'_>,
        request: Option<&Json>,
    ) -> Result<String, TemplateError> {
        let name = open.name.clone();
        let fail = |error: &Error| error_of(error, &name, facts.label());
        let until = Instant::now() + MAX_TIME;
        let source = source(open).map_err(|error| fail(&error))?;
        let guarded = bounds::guard(&source, &syntax()).map_err(|unbounded| {
            let (line, what) = (Some(unbounded.line), unbounded.why);
            TemplateError { file: name.clone(), line, what, machine: facts.label(), undefined: false }
        })?;
        let kind_of = |text: &str| Syntax::of(name.strip_suffix(EXTENSION).unwrap_or(&name), text);
        let marked = |kind, misplaced| {
            let environment = self.environment(kind, misplaced, until);
            let template = environment.template_from_named_str(&name, &guarded)?;
            let mut output = Limited(Vec::new());
            template.render_captured_to(variables(facts, request), &mut output)?;
            Ok(String::from_utf8_lossy(&output.0).into_owned())
        };
        let mut kind = kind_of(&source);
        let mut text = marked(kind, None).map_err(|error| fail(&error))?;
        // A template block may precede the first line, which identifies a script.
        if kind_of(&text) != kind {
            kind = kind_of(&text);
            text = marked(kind, None).map_err(|error| fail(&error))?;
        }
        quote_values(kind, &text).map_err(|misplaced| {
            // Render again to find the line of the value.
            let error = marked(kind, Some(misplaced)).err();
            fail(&error.unwrap_or_else(|| Error::new(ErrorKind::BadEscape, misplaced.reason)))
        })
    }

    /// Sets up the environment that renders a file of this kind until the time `until`. The value `misplaced` is
    /// reported as an error.
    fn environment(
        &self,
        kind: Syntax,
        misplaced: Option<UnquotableValue>,
        until: Instant,
    ) -> Environment<'static> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(syntax());
        // Errors then name the undefined variable.
        environment.set_debug(true);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_DEPTH);
        // `debug` prints every variable.
        environment.remove_global("debug");
        // The kind of the served file decides the escaping, even in files that it includes.
        environment.set_auto_escape_callback(|_| AutoEscape::Custom("place".into()));
        let values = AtomicUsize::new(0);
        environment.set_formatter(move |out, state, value| {
            let number = values.fetch_add(1, Ordering::Relaxed);
            let why =
                misplaced.filter(|misplaced| misplaced.number == number).map(|misplaced| misplaced.reason);
            let value = bounded(state, value, until)?;
            write_value(kind, (number, why), out, state, &value)
        });
        environment.add_filter(limits::BOUNDED, move |state: &State<'_, '_>, value: &Value| {
            bounded(state, value, until)
        });
        environment.add_filter(limits::SINGLE, move |value: &Value| single(value, until));
        environment.add_filter("tojson", json);
        environment.add_filter("sh", move |value: String| {
            let word = shell_word(&value);
            match kind {
                Syntax::Preseed if value.contains(char::is_control) => {
                    Err(fault("the filter sh got a line end or another control character"))
                }
                // A shell that reads the file itself must not see the word quoted twice.
                Syntax::Shell | Syntax::Grub | Syntax::Preseed => Ok(Value::from_safe_string(word)),
                _ => Ok(Value::from(word)),
            }
        });
        let loader = Loader { catalog: self.catalog.clone(), until, used: Arc::default() };
        environment.set_loader(move |name| loader.load(name));
        environment
    }
}

/// Syntax options: a line with only a block leaves no empty line, and the file's last line end stays.
fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    syntax.unwrap_or_default()
}

/// Loads the templates that one rendering includes.
struct Loader {
    catalog: Catalog,
    until: Instant,
    /// The number of lookups, and the bytes of the templates found.
    used: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Loader {
    /// Loads the template `name`; `None` if there is none.
    fn load(&self, name: &str) -> Result<Option<String>, Error> {
        if Instant::now() > self.until {
            return Err(too_long());
        }
        if self.used.0.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
            return Err(fault(format!("it includes more than {MAX_LOOKUPS} templates")));
        }
        // Compile templates only: clients may have uploaded other files here (`tftp.uploads`).
        let name = BootName::parse(name.as_bytes()).ok().filter(|name| name.as_str().ends_with(EXTENSION));
        let Some(name) = name else { return Ok(None) };
        let Ok(open) = self.catalog.open_file(&name) else { return Ok(None) };
        let text = source(open)?;
        let before = self.used.1.fetch_add(text.len(), Ordering::Relaxed);
        if before.saturating_add(text.len()) as u64 > MAX_SOURCES {
            return Err(fault(format!("the templates that it includes have more than {MAX_SOURCES} bytes")));
        }
        let guarded = bounds::guard(&text, &syntax());
        guarded.map(Some).map_err(|unbounded| fault(format!("{name}:{}: {}", unbounded.line, unbounded.why)))
    }
}

/// Reads the source of a template.
fn source(open: OpenFile) -> Result<String, Error> {
    if open.size > MAX_TEMPLATE {
        return Err(fault(format!(
            "a template has at most {MAX_TEMPLATE} bytes, this one has {}",
            open.size
        )));
    }
    let mut text = String::new();
    let read = open.file.take(MAX_TEMPLATE).read_to_string(&mut text);
    read.map_err(|error| fault(format!("it cannot be read as text: {error}")))?;
    if has_marks(&text) {
        return Err(fault("a control character (1 or 2) is in it"));
    }
    Ok(text)
}

/// The filter `tojson` with limited indentation: minijinja's filter writes any number of spaces before each line.
fn json(state: &State<'_, '_>, value: &Value, indent: Option<Value>, more: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => more.get("indent")?,
    };
    if indent.as_ref().and_then(Value::as_i64).is_some_and(|indent| indent > MAX_INDENT) {
        return Err(fault(format!("tojson indents by {MAX_INDENT} spaces at most")));
    }
    let made = minijinja::filters::tojson(value, indent, more)?;
    state.consume_fuel((made.as_bytes().map_or(0, <[u8]>::len) / 4) as u64)?;
    Ok(made)
}

/// Writes a value of `{{ … }}` with marks, so that `place` can quote it. The filter `safe` and `autoescape false` write
/// it unchanged. `why` is the reason if the value is known to be misplaced.
fn write_value(
    kind: Syntax,
    (number, why): (usize, Option<UnquotableReason>),
    out: &mut Output,
    state: &mut State,
    value: &Value,
) -> Result<(), Error> {
    let cannot = |why: &str| {
        let shown = value.to_string().escape_debug().take(60).collect::<String>();
        Error::new(ErrorKind::BadEscape, format!("{shown} cannot be written here: {why}"))
    };
    let text = if value.is_safe() || matches!(state.auto_escape(), AutoEscape::None) {
        value.to_string()
    } else if let Some(text) = value.as_str() {
        why.map_or_else(|| mark(kind, number, text), Err).map_err(|why| {
            let shown = text.escape_debug().take(60).collect::<String>();
            Error::new(ErrorKind::BadEscape, format!("the value {shown} cannot be written here: {why}"))
        })?
    } else if value.is_undefined() {
        // This error gets the name of the variable from minijinja.
        let named = value.get_attr("").err().filter(|error| error.kind() == ErrorKind::UndefinedError);
        return Err(named.unwrap_or_else(|| Error::new(ErrorKind::UndefinedError, "it is nothing")));
    } else if value.is_none() {
        return Err(Error::new(ErrorKind::UndefinedError, "it is nothing"));
    } else if value.is_number() || value.kind() == minijinja::value::ValueKind::Bool {
        value.to_string()
    } else if kind.has_lists() {
        serde_json::to_string(value).map_err(|_| cannot("it is neither text nor a list of texts"))?
    } else {
        return Err(cannot("it is a list or a mapping; use a loop, or the filter join"));
    };
    out.write_str(&text).map_err(|_| Error::new(ErrorKind::WriteFailure, "no more can be written"))
}

/// A buffer that is limited to the maximum size of a rendered file.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_OUTPUT {
            return Err(io::Error::other(format!("more than {MAX_OUTPUT} bytes would be made of it")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn error_of(error: &Error, template: &str, machine: String) -> TemplateError {
    // The error in an included file is the cause of the failed `include`.
    let mut innermost = error;
    while let Some(cause) =
        std::error::Error::source(innermost).and_then(|cause| cause.downcast_ref::<Error>())
    {
        innermost = cause;
    }
    let io = std::error::Error::source(innermost).map(|cause| format!(": {cause}")).unwrap_or_default();
    let what = match (innermost.kind(), innermost.detail()) {
        (ErrorKind::OutOfFuel, _) => {
            format!("it takes more than {FUEL} steps; is there a loop without an end?")
        }
        (ErrorKind::BadEscape | ErrorKind::BadSerialization, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}{io}"),
        (kind, None) => format!("{kind}{io}"),
    };
    let what = what.chars().take(MAX_PROBLEM).collect();
    let undefined = innermost.kind() == ErrorKind::UndefinedError;
    let file = innermost.name().unwrap_or(template).to_owned();
    TemplateError { file, line: innermost.line(), what, machine, undefined }
}

#[cfg(test)]
mod tests;
