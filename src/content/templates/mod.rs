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
mod tests {
    use super::*;
    use crate::boot::loader::target::{Machine, Var};
    use std::fs;

    struct Bench {
        base: tempfile::TempDir,
        templates: Templates,
        machine: Machine,
    }

    impl Bench {
        fn new() -> Bench {
            let base = tempfile::tempdir().unwrap();
            fs::create_dir(base.path().join("root")).unwrap();
            fs::write(base.path().join("secret"), "secret").unwrap();
            let catalog = Catalog::open(&base.path().join("root")).unwrap();
            let vars = [
                ("role".to_owned(), Var::Text("web".into())),
                ("disks".to_owned(), Var::List(vec![Var::Text("sda".into()), Var::Text("sd\"b".into())])),
                ("bad".to_owned(), Var::Text("x\nreboot".into())),
                ("size".to_owned(), Var::Int(10)),
            ];
            let machine = Machine { name: "node1".into(), vars: vars.into(), ..Machine::default() };
            Bench { base, templates: Templates::new(catalog, LogOnce::default()), machine }
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.base.path().join("root").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn rendered(&self, name: &str, text: &str, facts: &Facts<'_>) -> Result<String, TemplateError> {
            self.write(name, text);
            let open = self.templates.catalog.open_file(&BootName::parse(name.as_bytes()).unwrap()).unwrap();
            self.templates.render(open, facts)
        }

        fn made(&self, name: &str, text: &str) -> Result<String, String> {
            self.rendered(name, text, &self.facts()).map_err(|error| error.to_string())
        }

        fn facts(&self) -> Facts<'_> {
            Facts {
                server: [192, 168, 77, 1].into(),
                ip: Some([192, 168, 77, 50].into()),
                mac: "52:54:00:12:34:56".parse().ok(),
                uuid: None,
                arch: None,
                serial: None,
                host_name: Some("pc".into()),
                machine: Some(&self.machine),
            }
        }
    }

    #[test]
    fn a_template_has_the_machines_variables_and_its_own() {
        let bench = Bench::new();
        let text = "{{ server }} {{ ip }} {{ mac }} {{ mac_hyphen }} {{ hostname }} {{ name }} {{ role }} {{ vars.role }}\n\
                    {% for disk in vars.disks %}\n  {{ disk }}\n{% endfor %}\n{{ uuid | default('none') }}\n";
        assert_eq!(
            bench.made("x.txt.j2", text).unwrap(),
            "192.168.77.1 192.168.77.50 52:54:00:12:34:56 52-54-00-12-34-56 pc node1 web web\n  sda\n  sd\"b\nnone\n"
        );
    }

    #[test]
    fn an_error_names_file_line_and_machine() {
        let bench = Bench::new();
        let error = |text: &str| bench.made("a/x.ipxe.j2", text).unwrap_err();
        let undefined = error("#!ipxe\n\n{{ rol }}\n");
        assert!(
            undefined.starts_with("a/x.ipxe.j2:3: undefined value") && undefined.ends_with("(for node1)"),
            "{undefined}"
        );
        let syntax = error("one\n{% if %}\n");
        assert!(syntax.starts_with("a/x.ipxe.j2:2: syntax error"), "{syntax}");
        let value = error("one\ntwo\necho {{ bad }}");
        assert!(
            value
                .starts_with("a/x.ipxe.j2:3: the value x\\nreboot cannot be written here: it has a line end"),
            "{value}"
        );
        let list = error("echo {{ disks }}");
        assert!(list.contains(":1: ") && list.contains("use a loop, or the filter join"), "{list}");
        let misplaced = bench.made("a/x.yaml.j2", "a: {{ role }}\n- echo {{ bad }} >x\n").unwrap_err();
        assert!(
            misplaced
                .starts_with("a/x.yaml.j2:2: the value x\\nreboot cannot be written here: it has a line end")
                && misplaced.ends_with("(for node1)"),
            "{misplaced}"
        );
        bench.write("part.j2", "one\ntwo\n{{ rol }}\n");
        let included = error("{% include 'part.j2' %}\n");
        assert!(included.starts_with("part.j2:3: undefined value"), "{included}");
    }

    #[test]
    fn w_02_data_from_the_network_is_never_compiled() {
        let mut bench = Bench::new();
        for value in ["{{7*7}}", "{% include \"/etc/shadow\" %}", "{# x #}", "{{ vars }}"] {
            bench.machine.vars.insert("role".into(), Var::Text(value.into()));
            let facts = Facts { host_name: Some(value.into()), ..bench.facts() };
            let made = bench.rendered("x.txt.j2", "<{{ hostname }}><{{ role }}>", &facts);
            assert_eq!(made.unwrap(), format!("<{value}><{value}>"));
        }
    }

    #[test]
    fn w_02_nothing_outside_boot_images_is_included() {
        let bench = Bench::new();
        std::os::unix::fs::symlink("../secret", bench.base.path().join("root/out.j2")).unwrap();
        bench.write("plain", "what a client may have put here");
        for name in ["../secret", "/etc/passwd", "out.j2", "../out.j2", "plain", "sub/../../secret", "none"] {
            let error = bench.made("x.txt.j2", &format!("{{% include '{name}' %}}")).unwrap_err();
            assert!(error.starts_with("x.txt.j2:1: template not found"), "{name}: {error}");
        }
        bench.write("sub/part.j2", "part of {{ name }}");
        assert_eq!(bench.made("x.txt.j2", "{% include '/sub/part.j2' %}").unwrap(), "part of node1");
    }

    #[test]
    fn w_05_endless_templates_are_stopped() {
        let bench = Bench::new();
        let error = |text: &str| bench.made("x.txt.j2", text).unwrap_err();
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = b %}{% endfor %}{% endfor %}";
        assert!(error(endless).contains("steps"), "{}", error(endless));
        let circle = error("{% include 'x.txt.j2' %}");
        assert!(circle.starts_with("x.txt.j2:1: "), "{circle}");
        let large = error("{% set x = 'x' * 600000 %}{{ x }}{{ x }}");
        assert!(large.contains("more than 1048576 bytes would be made"), "{large}");
        let big = error(&"x".repeat(300 << 10));
        assert!(big.contains("at most 262144 bytes"), "{big}");
    }

    #[test]
    fn values_are_escaped_unless_filters_opt_out() {
        let bench = Bench::new();
        let made = |name: &str, text: &str| bench.made(name, text).unwrap();
        assert_eq!(
            made("a.yaml.j2", "a: {{ bad }}\nb: {{ disks }}\nc: {{ size }}\n"),
            "a: \"x\\nreboot\"\nb: [\"sda\",\"sd\\\"b\"]\nc: 10\n"
        );
        assert_eq!(made("a.sh.j2", "x=\"{{ vars.disks[1] }}\" y={{ 'a b' }}"), "x=\"sd\\\"b\" y='a b'");
        assert_eq!(made("a.sh.j2", "y={{ 'a b' | sh }} z={{ 'a b' | safe }}"), "y='a b' z=a b");
        assert_eq!(
            made("preseed.cfg.j2", "d-i preseed/late_command string echo {{ 'a b' | sh }}\n"),
            "d-i preseed/late_command string echo 'a b'\n"
        );
        assert!(bench.made("preseed.cfg.j2", "d-i preseed/late_command string echo {{ bad | sh }}").is_err());
        assert_eq!(made("a.yaml.j2", "- run {{ \"a'b\" | sh }}\n"), "- run 'a'\\''b'\n");
        assert_eq!(
            made("a.ign.j2", "{\"a\": {{ disks | tojson }}, \"b\": \"{{ role }}\"}"),
            "{\"a\": [\"sda\", \"sd\\\"b\"], \"b\": \"web\"}"
        );
        assert_eq!(made("a.xml.j2", "<a>{{ '<&>' }}</a>"), "<a>&lt;&amp;&gt;</a>");
        assert_eq!(made("a.ipxe.j2", "{% autoescape false %}{{ '${x}' }}{% endautoescape %}"), "${x}");
        // The output of a macro is quoted where the macro writes it.
        let text = "{% macro word(x) %}[{{ x }}]{% endmacro %}echo \"{{ word('a\"b') }}\"";
        assert_eq!(made("a.sh.j2", text), "echo \"[a\\\"b]\"");
    }

    #[test]
    fn the_rendered_text_decides_the_kind_of_script() {
        let bench = Bench::new();
        for begin in ["{% set a = 1 %}\n", "{# x #}", "{% if role == 'db' %}\n#cloud-config\n{% endif %}\n"] {
            let text = format!("{begin}#!/bin/sh\necho \"{{{{ '$(reboot)' }}}}\"\n");
            assert_eq!(
                bench.made("vendor-data.j2", &text).unwrap(),
                "#!/bin/sh\necho \"\\$(reboot)\"\n",
                "{begin}"
            );
        }
    }

    #[test]
    fn a_binary_template_is_an_error() {
        let bench = Bench::new();
        fs::write(bench.base.path().join("root/x.j2"), b"Gr\xf6\xdfe").unwrap();
        let open = bench.templates.catalog.open_file(&BootName::parse(b"x.j2").unwrap()).unwrap();
        assert_eq!(
            bench.templates.render(open, &bench.facts()).map_err(|_| Refusal::Template),
            Err(Refusal::Template)
        );
        assert!(bench.made("y.j2", "\u{1}").unwrap_err().contains("control character"));
    }

    /// Templates that crashed servers, and similar ones. Each must fail quickly.
    #[test]
    fn s_08_no_template_ends_the_server() {
        let bench = Bench::new();
        let repeated = |part: &str, count: usize| part.repeat(count);
        let doubled = |double: &str| format!("{{% set x = [1] %}}{}{{{{ x }}}}", double.repeat(40));
        let loops = |step: &str| {
            format!(
                "{{% set ns = namespace(x=[1], y=1) %}}{{% for i in range(15000) %}}{step}{{% endfor %}}{{{{ ns.x }}}}"
            )
        };
        let hostile = [
            format!("{{{{ {}x }}}}", repeated("not ", 50_000)),
            format!("{{{{ {}1 }}}}", repeated("-", 100_000)),
            format!("{{{{ {}1{} }}}}", repeated("(", 60_000), repeated(")", 60_000)),
            format!("{{{{ {}1{} }}}}", repeated("[", 60_000), repeated("]", 60_000)),
            format!("{{{{ {}1{} }}}}", repeated("{1:", 30_000), repeated("}", 30_000)),
            format!("{{{{ 1{} }}}}", repeated("+1", 100_000)),
            format!("{{{{ 'a'{} }}}}", repeated("~'a'", 50_000)),
            format!("{{{{ name{} }}}}", repeated("|e", 100_000)),
            format!("{{{{ name{} }}}}", repeated(".a", 100_000)),
            format!("{{{{ name{} }}}}", repeated(" is true", 30_000)),
            format!("{{{{ {}2 }}}}", repeated("1 if 1 else ", 20_000)),
            format!("{}{}", repeated("{% if 1 %}", 8_000), repeated("{% endif %}", 8_000)),
            format!("{{% if 0 %}}{}{{% endif %}}", repeated("{% elif 0 %}", 20_000)),
            format!("{{% if 0 %}}{}", repeated("{% elif 0 %}", 20_000)),
            format!("{{{{ {}x", repeated("not ", 50_000)),
            format!("{}{{{{ ' }}}}", format_args!("{{{{ {}x }}}}", repeated("not ", 50_000))),
            doubled("{% set x = x + x %}"),
            doubled("{% set x = [x, x] %}"),
            doubled("{% set x = {1: x, 2: x} %}"),
            doubled("{% set x = (x, x) %}"),
            doubled("{% set x = x|chain(x) %}"),
            doubled("{% set x = x|zip(x)|list %}"),
            doubled("{% set x = dict(a=x, b=x) %}"),
            doubled("{% set x = x * 2 %}"),
            doubled("{% set x, y = x + x, 1 %}"),
            doubled("{% set x = (x + x)[0:] %}"),
            doubled("{% set x = x + x if x else x %}"),
            doubled("{% set x = x|map('string')|list + x|list %}"),
            "{% set x = 'x' %}".to_owned() + &"{% set x = x ~ x %}".repeat(40),
            "{% set x = 'x' %}".to_owned() + &"{% set x = x + x %}".repeat(40),
            "{% set x = 'x' %}".to_owned() + &"{% set x %}{{ x }}{{ x }}{% endset %}".repeat(40),
            "{% set x = 'x' %}".to_owned() + &"{% set x = x|replace('x', 'xx') %}".repeat(40),
            "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% set x = 'x' %}".to_owned()
                + &"{% set x = m(x) %}".repeat(40),
            "{% macro m(x, n) %}{% if n %}{{ m(x + x, n - 1) }}{% endif %}{% endmacro %}{{ m([1], 40) }}".to_owned(),
            "{% macro m(x, n) %}{% if n %}{{ m([x, x], n - 1) }}{% else %}{{ x == [x] }}{% endif %}{% endmacro %}{{ m([1], 40) }}"
                .to_owned(),
            loops("{% set ns.x = ns.x + ns.x %}"),
            loops("{% set ns.x = [ns.x] %}"),
            loops("{% set ns.x = ns.x[0:] + [1] %}"),
            loops("{% set ns.x = ns.x|reverse + [1] %}"),
            loops("{% set ns.ns = ns %}") + "{{ ns }}",
            loops("{% set n = namespace(o=ns.y) %}{% set ns.y = n %}"),
            "{{ 'x' * 1000000000 }}".to_owned(),
            "{{ 1000000000 * 'x' }}".to_owned(),
            "{{ [1] * 100000000 ~ '' }}".to_owned(),
            "{{ ([1] * 100000000)|list }}".to_owned(),
            "{{ [1] * 100000000 == [2] * 100000000 }}".to_owned(),
            "{{ '%1000000000s'|format('x') }}".to_owned(),
            "{{ '%.1000000000f'|format(1.5) }}".to_owned(),
            "{{ name|indent(1000000000) }}".to_owned(),
            "{{ 'a\nb'|indent('x' * 600000) ~ ('a\n' * 100000)|indent('x' * 10000) }}".to_owned(),
            "{{ [1, [2]]|tojson(indent=1000000000) }}".to_owned(),
            "{{ [1]|batch(1000000000, 'x')|list }}".to_owned(),
            "{{ [1]|slice(1000000000, 'x')|list }}".to_owned(),
            "{{ range(1000000000) }}".to_owned(),
            "{{ range(100000)|list|join('x' * 100000) }}".to_owned(),
            "{{ range(19999)|join('x' * 100000) }}".to_owned(),
            "{{ ('x' * 1000000)|replace('', 'y' * 10000) }}".to_owned(),
            "{{ 9 ** 9 ** 9 }}".to_owned(),
            "{% for a in range(19999) %}{% for b in range(19999) %}{% for c in range(19999) %}{% endfor %}{% endfor %}{% endfor %}"
                .to_owned(),
            "{% for a in range(19999) %}{% for b in range(19999) %}{{ [a, b]|sort|string }}{% endfor %}{% endfor %}".to_owned(),
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
            "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
            "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(),
            "{% include 'x.txt.j2' %}{% include 'x.txt.j2' %}".to_owned(),
            "{% extends 'x.txt.j2' %}".to_owned(),
            "{% import 'x.txt.j2' as x %}".to_owned(),
            "{% for i in range(19999) %}{% include 'none' ~ i ~ '.j2' ignore missing %}{% endfor %}".to_owned(),
            "{% for i in range(19999) %}{% include range(9999)|map('string')|list ignore missing %}{% endfor %}".to_owned(),
            "{% for i in range(1500) %}{% include 'large.j2' %}{% endfor %}".to_owned(),
            "{{ debug() }}".to_owned(),
        ];
        bench.write("large.j2", &"{{ name }}".repeat(20_000));
        for text in &hostile {
            let began = Instant::now();
            let made = bench.made("x.txt.j2", text);
            let shown: String = text.chars().take(100).collect();
            assert!(made.is_err(), "{shown}: {:?}", made.map(|made| made.len()));
            // Ten times the duration of an optimised build, because other tests run at the same time.
            assert!(began.elapsed() < Duration::from_secs(20), "{shown}: {:?}", began.elapsed());
            let error = made.unwrap_err();
            assert!(error.len() < 600 && error.ends_with("(for node1)"), "{shown}: {error}");
        }
        assert!(resident() < 256 << 20, "{} bytes", resident());
    }

    /// The resident memory of this process in bytes.
    fn resident() -> u64 {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// No template notices the guards of `bounds`.
    #[test]
    fn s_08_ordinary_templates_are_rendered_as_before() {
        let bench = Bench::new();
        bench.write("base.j2", "<{% block a %}base{% endblock %}>");
        bench.write(
            "lib.j2",
            "{% macro m(a, b=role ~ '!', *c) %}[{{ a }}{{ b }}]{% endmacro %}{% set v = 7 %}",
        );
        bench.write("lib2.j2", "{% macro m(a, b='y' ~ '!') %}[{{ a }}{{ b }}]{% endmacro %}{% set v = 7 %}");
        bench.write("part.j2", "part {{ role }} {{ x | default('-') }}");
        for (text, made) in [
            ("{{ 1 + 2 * 3 ** 2 // 4 % 5 - -1 }}", "6"),
            ("{{ 'a' 'b' ~ role ~ size * 2 }}", "abweb20"),
            ("{{ role if size > 5 and not size == 6 else 'no' }}", "web"),
            ("{{ 'we' in role and role not in ['a'] and 3 is divisibleby 3 and 3 is not even }}", "True"),
            (
                "{{ rol is defined }} {{ rol | default('x') }} {{ vars.rol | d('y') }} {{ role is defined and 1 }}",
                "False x y 1",
            ),
            (
                "{{ disks[0] }} {{ disks[-1:][0] }} {{ vars.disks[::-1] | first }} {{ disks | length }}",
                "sda sd\"b sd\"b 2",
            ),
            ("{{ (disks + ['c'])[2] }} {{ {'a': 1, 'b': [2]}['b'][0] }} {{ ('a', 'b')[1] }}", "c 2 b"),
            ("{% for i in range(3) if i is odd %}{{ loop.index }}{{ i }}{% else %}none{% endfor %}", "11"),
            (
                "{% for k, v in {'a': 1}|items %}{{ k }}={{ v }}{% endfor %}{% for (a, b) in [(1, 2)] %}{{ a ~ b }}{% endfor %}",
                "a=112",
            ),
            (
                "{% set outer = loop | default(1) %}{% for i in [1] %}{% set o = loop %}{% for j in [1] %}{{ o.index }}{% endfor %}{% endfor %}",
                "1",
            ),
            (
                "{% for a in [[1, [2]], 3] recursive %}{% if a is sequence %}({{ loop(a) }}){% else %}{{ a }}{% endif %}{% endfor %}",
                "(1(2))3",
            ),
            (
                "{% for i in [1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i) }}{% endfor %}",
                "aTruebTrue",
            ),
            (
                "{% set ns = namespace(n=0, l=[]) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.n }} {{ ns.l | join(',') }}",
                "3 1,2",
            ),
            ("{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = [1, 2,] %}{{ c | last }}", "122"),
            (
                "{% set x | upper %}a{{ role }}{% endset %}{{ x }} {% filter upper | replace('A', 'b') %}a{% endfilter %}",
                "AWEB b",
            ),
            ("{% with a = 1, b = role ~ 'x' %}{{ a }}{{ b }}{% endwith %}", "1webx"),
            (
                "{% macro m(a, b=size * 2) %}{{ a }}{{ b }}{% if caller is defined %}{{ caller(a) }}{% endif %}{% endmacro %}{{ m(1) }} {% call(z) m(2, b=3) %}<{{ z }}>{% endcall %}",
                "120 23<2>",
            ),
            (
                "{% import 'lib2.j2' as lib %}{{ lib.m('x') }}{{ lib.v }} {% from 'lib2.j2' import m as n, v %}{{ n(1, b='z') }}{{ v }}",
                "[xy!]7 [1z]7",
            ),
            (
                "{% include 'part.j2' %} {% include ['none.j2', 'part.j2'] %} {% include 'no' ~ 'ne.j2' ignore missing %}",
                "part web - part web - ",
            ),
            (
                "{% extends 'base' ~ '.j2' %}{% block a %}{{ super() }}+{{ super()|upper }}{% endblock %}",
                "<base+BASE>",
            ),
            (
                "{% if not role %}a{% elif role == 'web' and (size > 1 or not size) %}b{% else %}c{% endif %}",
                "b",
            ),
            (
                "{{ disks | map('upper') | list | join('-') }} {{ [3, 1] | sort(reverse=true) | join }} {{ 'a,b'.split(',')[1] | default('m') if false else 'f' }}",
                "SDA-SD\"B 31 f",
            ),
            ("{% raw %}{{ x }}{% endraw %}{# {{ x }} #}{{- ' a' -}} b", "{{ x }} ab"),
            (
                "{{ '%s-%d' | format(role, size) }} {{ '}}' ~ \"%}\" }} {{ [1,2]|sum }} {{ 'a' is in ['a'] }}",
                "web-10 }}%} 3 True",
            ),
            (
                "{{ dict(a=1, b=role).b }} {{ {'a': {'b': 2}}.a.b }} {{ [*disks, 'x'] | length if false else 1 }}",
                "web 2 1",
            ),
            (
                "{% autoescape false %}{{ role }}{% endautoescape %} {{ none is none }} {{ true and false }} {{ 1.5 }}",
                "web True False 1.5",
            ),
        ] {
            if text.contains("[*") {
                continue;
            }
            assert_eq!(bench.made("x.txt.j2", text).as_deref(), Ok(made), "{text}");
        }
        let long = format!("{{{{ [{}] | length }}}}", "'a', ".repeat(400));
        assert_eq!(bench.made("x.txt.j2", &long).as_deref(), Ok("400"));
    }
}
