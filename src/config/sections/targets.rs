//! Reads `targets:`, `boot.default`, and the `boot`, `once` and `vars` of machines: the systems that machines start,
//! and the variables of their scripts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::boot::loader::facts;
use crate::boot::loader::installer::with_log_arguments;
use crate::boot::loader::script::{ONLY_IPXE, ipxe_problem};
use crate::boot::loader::target::{BootAction, Machine, Target, Targets, Var};
use crate::boot::machine_boot::{MachineBoot, is_ipxe_script};
use crate::config::sections::boot_file;
use crate::config::sections::written::{BootEntry, File, TargetEntry};
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{At, Reader, one_or_more, suggestion};
use crate::config::syntax::tree::{Data, Node};

/// Maximum length of a target's name. The name becomes a menu entry and a PXELINUX label.
const MAX_NAME: usize = 32;
/// Maximum length of a kernel command line in bytes, before variables are replaced: COMMAND_LINE_SIZE on x86.
const MAX_CMDLINE: usize = 2048;
/// iPXE's `item` and GRUB's `menuentry` parse words that begin with `-` as options.
const NO_OPTION: &str = "a word that does not begin with `-`, which loaders would take for an option";
/// Names that can be started like a target but are built in.
const BUILT_IN: [(&str, BootAction); 2] = [("local", BootAction::Local), ("menu", BootAction::Menu)];

/// Reads the `targets` of all files.
pub(in crate::config) fn targets(reader: &mut Reader, nodes: &[&Node]) -> Vec<TargetEntry> {
    let mut found = Vec::new();
    let mut seen: HashMap<String, u32> = HashMap::new();
    let entries: Vec<_> = nodes.iter().flat_map(|node| reader.entries(node)).collect();
    for (key, node) in entries {
        if let Some(first) = seen.insert(key.value.clone(), key.id) {
            reader.conflict(key.id, first, format!("another file has the target `{}` already", key.value));
            continue;
        }
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some((name, _)) = BUILT_IN.iter().find(|(name, _)| *name == key.value) {
            reader.problem(key.id, format!("`{name}` is built in: give the target another name"));
        } else if !key.value.chars().all(is_letter) || !(1..=MAX_NAME).contains(&key.value.len()) {
            let name = format!("expected a name of at most {MAX_NAME} letters, digits, `.`, `_` and `-`");
            reader.problem(key.id, format!("{name}, found {:?}", key.value));
        } else if key.value.starts_with('-') {
            reader.problem(key.id, format!("expected {NO_OPTION}, found {:?}", key.value));
        }
        found.push(target(reader, key.value.into(), node));
    }
    found
}

fn target(reader: &mut Reader, name: Arc<str>, node: &Node) -> TargetEntry {
    let fields = reader.fields(node, Section::Target);
    if fields.get("kernel").is_none() && matches!(node.data, Data::Map(_) | Data::Null) {
        reader.problem(node.id, "`kernel` must be given, like debian/linux");
    }
    TargetEntry {
        name,
        title: fields.get("title").and_then(|node| title(reader, node)),
        kernel: fields.get("kernel").and_then(|node| file_name(reader, node, "a kernel")),
        initrd: fields.get("initrd").map_or(Vec::new(), |node| {
            one_or_more(node).iter().filter_map(|node| file_name(reader, node, "a RAM disk")).collect()
        }),
        cmdline: fields.get("cmdline").and_then(|node| cmdline(reader, node)),
    }
}

/// Reads the title of a target in menus. It must fit on one line, and iPXE parses it as words of a command.
fn title(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node, "what a menu calls it")?;
    let is_option = text.starts_with('-');
    let problem = is_option.then(|| format!("expected {NO_OPTION}, found {text:?}"));
    let problem = problem.or_else(|| ipxe_problem(text));
    match problem {
        Some(message) => {
            reader.problem(node.id, message);
            None
        }
        None => Some(text.to_owned()),
    }
}

/// Reads the name of a file: a path relative to the images folder, or a URL.
fn file_name(reader: &mut Reader, node: &Node, what: &str) -> Option<At<Arc<str>>> {
    let text = reader.text(node, &format!("the name of {what} like debian/linux, or a URL"))?;
    let problem = if let Some((scheme, rest)) = text.split_once("://") {
        let known = ["http", "https", "tftp"].contains(&scheme.to_ascii_lowercase().as_str());
        (!known || !rest.contains('/')).then_some("a URL with http, https or tftp")
    } else if text.starts_with(['/', '\\']) || text.split(['/', '\\']).any(|part| part == "..") {
        Some("a name inside the images folder and relative to it")
    } else {
        None
    };
    // PXELINUX ends a name at a comma, and iPXE at a space.
    let problem = problem.or_else(|| text.contains([' ', ',']).then_some("a name without spaces and commas"));
    match problem {
        _ if text.contains("${") => {
            reader.problem(node.id, ONLY_IPXE);
            None
        }
        Some(expected) => {
            reader.problem(node.id, format!("expected {expected}, found {text:?}"));
            None
        }
        None => Some(At { id: node.id, value: text.into() }),
    }
}

/// Reads a kernel command line. Line breaks become spaces.
fn cmdline(reader: &mut Reader, node: &Node) -> Option<At<String>> {
    let text = match &node.data {
        Data::Text(text) => text.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        Data::Null => String::new(),
        _ => {
            reader.expected(node, "the kernel's command line, as text");
            return None;
        }
    };
    let text = text.trim();
    let problem = if text.len() > MAX_CMDLINE {
        Some(format!("expected at most {MAX_CMDLINE} bytes, found {}", text.len()))
    } else if text.chars().any(char::is_control) {
        Some("a control character is in it".to_owned())
    } else {
        ipxe_problem(text)
    };
    match problem {
        Some(message) => {
            reader.problem(node.id, message);
            None
        }
        None => Some(At { id: node.id, value: text.to_owned() }),
    }
}

/// Reads `boot.default`, or `once` of a machine: the name of a target, `local` or `menu`.
pub(in crate::config) fn start(
    reader: &mut Reader,
    node: &Node,
    targets: &[TargetEntry],
) -> Option<At<BootAction>> {
    let text = reader.text(node, "the name of one of `targets`, local or menu")?;
    let found = parse_action(text, targets);
    if found.is_none() {
        let names =
            || targets.iter().map(|target| &*target.name).chain(BUILT_IN.iter().map(|(name, _)| *name));
        let hint = suggestion(text, names())
            .unwrap_or_else(|| format!("; there are {}", names().collect::<Vec<_>>().join(", ")));
        reader.problem(node.id, format!("unknown target {text:?}{hint}"));
    }
    found.map(|value| At { id: node.id, value })
}

/// Reads `boot` of a machine: anything that [`start`] accepts, a file, or files by architecture.
pub(in crate::config) fn machine_boot(
    reader: &mut Reader,
    node: &Node,
    targets: &[TargetEntry],
) -> Option<BootEntry> {
    if let Data::Text(text) = &node.data {
        if let Some(start) = parse_action(text, targets) {
            return Some(BootEntry::Start(start));
        }
        // Any other word may name a file, but a word that resembles a target's name is probably a typing mistake.
        let hint = suggestion(text, targets.iter().map(|target| &*target.name));
        if let Some(hint) = hint.filter(|_| !text.contains(['.', '/'])) {
            reader.problem(node.id, format!("unknown target {text:?}{hint}"));
            return None;
        }
    }
    boot_file::machine_boot(reader, node).map(BootEntry::Files)
}

fn parse_action(text: &str, targets: &[TargetEntry]) -> Option<BootAction> {
    let built_in = BUILT_IN.into_iter().find(|(name, _)| *name == text).map(|(_, start)| start);
    let target = || targets.iter().find(|target| *target.name == *text);
    built_in.or_else(|| target().map(|target| BootAction::Target(Arc::clone(&target.name))))
}

pub(in crate::config) fn vars(reader: &mut Reader, node: &Node) -> BTreeMap<String, Var> {
    let mut found = BTreeMap::new();
    for (key, node) in reader.entries(node) {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if facts::NAMES.contains(&key.value.as_str()) || key.value == facts::REQUEST {
            reader.problem(key.id, format!("`{}` is lanboot's own variable: use another name", key.value));
        } else if !key.value.chars().all(is_word) || key.value.starts_with(|c: char| c.is_ascii_digit()) {
            reader.problem(
                key.id,
                format!("expected a name of letters, digits and `_`, found {:?}", key.value),
            );
        }
        found.extend(var(reader, node).map(|value| (key.value, value)));
    }
    found
}

fn var(reader: &mut Reader, node: &Node) -> Option<Var> {
    match &node.data {
        Data::Bool(value) => Some(Var::Bool(*value)),
        Data::Int(number) => match i64::try_from(*number) {
            Ok(number) => Some(Var::Int(number)),
            Err(_) => {
                reader.expected(node, "a number of at most 64 bits, or text in quotes");
                None
            }
        },
        Data::Float(number) => Some(Var::Float(*number)),
        Data::Text(text) => Some(Var::Text(text.clone())),
        Data::List(items) => Some(Var::List(items.iter().filter_map(|item| var(reader, item)).collect())),
        Data::Map(_) => {
            let entries = reader.entries(node);
            let entries = entries.into_iter().filter_map(|(key, node)| Some((key.value, var(reader, node)?)));
            Some(Var::Map(entries.collect()))
        }
        Data::Null | Data::Tagged(_) => {
            reader.expected(node, "a value");
            None
        }
    }
}

/// Checks the rules that involve both targets and machines, and builds the targets of `file` with `machines`.
pub(in crate::config) fn check(reader: &mut Reader, file: &File, machines: Vec<Machine>) -> Targets {
    let own: BTreeSet<&str> =
        file.machines.iter().flat_map(|machine| machine.vars.keys()).map(String::as_str).collect();
    for target in &file.targets {
        for name in target.kernel.iter().chain(&target.initrd) {
            unknown_variable(reader, name.id, &name.value, &own);
        }
        target.cmdline.iter().for_each(|line| unknown_variable(reader, line.id, &line.value, &own));
    }
    for machine in &file.machines {
        let is_loader = matches!(&machine.boot, Some(BootEntry::Files(boot)) if script_of(boot).is_none());
        if let Some(once) = machine.once.as_ref().filter(|_| is_loader) {
            let what = "a target, local, menu, the name of an iPXE script, or left out";
            reader.problem(once.id, format!("with `once`, `boot` is {what}: loaders belong in `boot.arch`"));
        }
    }
    let list = file.targets.iter().filter_map(|target| target_of(target, file.syslog)).collect();
    Targets::new(list, file.default.as_ref().map(|at| at.value.clone()), file.boot.ipxe.clone(), machines)
}

/// The target as it is booted. `syslog` is the port of the receiver.
fn target_of(written: &TargetEntry, syslog: Option<u16>) -> Option<Target> {
    let kernel = &written.kernel.as_ref()?.value;
    let cmdline = written.cmdline.as_ref().map_or("", |line| &line.value);
    Some(Target {
        name: Arc::clone(&written.name),
        title: written.title.clone().unwrap_or_else(|| written.name.to_string()),
        kernel: Arc::clone(kernel),
        initrd: written.initrd.iter().map(|name| Arc::clone(&name.value)).collect(),
        cmdline: match syslog.and_then(|port| with_log_arguments(kernel, cmdline, port)) {
            Some(with) => with.into(),
            None => cmdline.into(),
        },
    })
}

pub(in crate::config) fn script_of(boot: &MachineBoot) -> Option<Arc<str>> {
    match boot {
        MachineBoot::File(name) if is_ipxe_script(name) => Some(Arc::clone(name)),
        _ => None,
    }
}

/// Records a mistake in the `{…}` of `text`. `own` holds the variables of all machines.
fn unknown_variable(reader: &mut Reader, id: u32, text: &str, own: &BTreeSet<&str>) {
    let names = || facts::NAMES.iter().copied().filter(|name| *name != "vars").chain(own.iter().copied());
    let closed = || format!("a }} without its {{ in {text:?}");
    let mut parts = text.split('{');
    let mut problem = parts.next().filter(|part| part.contains('}')).map(|_| closed());
    for part in parts {
        problem = problem.or_else(|| match part.split_once('}') {
            None => Some(format!("a {{ without its }} in {text:?}")),
            Some((_, after)) if after.contains('}') => Some(closed()),
            Some((word, _)) if !names().any(|name| name == word) => {
                let hint = suggestion(word, names()).unwrap_or_else(|| {
                    let known = facts::NAMES.iter().filter(|name| **name != "vars");
                    let known = known.copied().collect::<Vec<_>>().join(", ");
                    format!("; there are {known}, and what `vars` of a machine has")
                });
                Some(format!("unknown variable {{{word}}}{hint}"))
            }
            Some(_) => None,
        });
    }
    if let Some(message) = problem {
        reader.problem(id, message);
    }
}

/// Files that `targets` name, each with its key and a description of the clients that request it.
pub(in crate::config) fn target_files(targets: &Targets) -> Vec<(Arc<str>, String, String)> {
    let mut named_files = Vec::new();
    for target in &targets.list {
        let who = format!("a machine that starts {}", target.name);
        named_files.push((
            Arc::clone(&target.kernel),
            format!("targets.{}.kernel", target.name),
            who.clone(),
        ));
        for (i, name) in target.initrd.iter().enumerate() {
            named_files.push((Arc::clone(name), format!("targets.{}.initrd[{i}]", target.name), who.clone()));
        }
    }
    named_files
}
