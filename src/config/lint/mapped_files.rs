//! The boot files that a configuration maps: each with its key, who gets it, and what it must be.

use std::iter;
use std::sync::Arc;

use crate::boot::menu::Boots;
use crate::boot::policy::{DEFAULT_IPXE, MachineBoot, is_ipxe_script};
use crate::config::lint::local_name::local_name;
use crate::config::syntax::place::{node_at, say_how_many_more, shown};
use crate::config::syntax::tree::{parse, place_of};
use crate::config::{Config, Problem};
use crate::types::Arch;

/// A boot file that the configuration names.
pub(in crate::config) struct Mapped {
    /// Its name, or a URL, as written.
    pub(in crate::config) name: Arc<str>,
    /// The key that names it, such as `boot.arch.bios` or `machines[2].boot`.
    pub(in crate::config) key: String,
    /// Which clients get it, for people.
    pub(in crate::config) clients: String,
    /// What gets it.
    pub(in crate::config) to: Target,
}

/// What a boot file is mapped to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Target {
    /// The firmware of this architecture.
    Firmware(Arch),
    /// iPXE.
    Ipxe,
    /// iPXE, but only where nothing else is there for it: `boot.ipxe` is left out.
    DefaultScript,
    /// Plain BOOTP clients, which may be anything.
    Bootp,
    /// The firmware of a machine or class, of whatever architecture.
    AnyFirmware,
}

/// Every boot file that `config` names, in the order of the keys.
pub(in crate::config) fn mapped(config: &Config) -> Vec<Mapped> {
    let Some(settings) = &config.dhcp else { return Vec::new() };
    let boot = &settings.boot;
    let mut all = Vec::new();
    let mut add = |name: &Arc<str>, key: String, clients: String, to: Target| {
        all.push(Mapped { name: name.clone(), key, clients, to });
    };
    for (arch, name) in &boot.arch {
        let key = format!("boot.arch.{}", key_of(*arch));
        add(name, key, format!("{arch} clients"), Target::Firmware(*arch));
    }
    // A server that only gives addresses has no use for the default script; nor has one with targets, which makes a menu.
    let boots = !boot.arch.is_empty()
        || boot.menu.is_some()
        || boot.bootp.is_some()
        || settings.machines.iter().any(|machine| machine.boot.is_some())
        || settings.classes.iter().any(|class| class.boot.is_some());
    let uses_default = boots && config.targets.list.is_empty();
    if let Some(name) = boot.ipxe.as_ref().filter(|name| uses_default || ***name != *DEFAULT_IPXE) {
        add(name, "boot.ipxe".to_owned(), "iPXE".to_owned(), Target::Ipxe);
    } else if uses_default {
        add(&DEFAULT_IPXE.into(), "boot.ipxe".to_owned(), "iPXE".to_owned(), Target::DefaultScript);
    }
    if let Some(name) = &boot.bootp {
        add(name, "boot.bootp".to_owned(), "plain BOOTP clients".to_owned(), Target::Bootp);
    }
    let classes = settings.classes.iter().enumerate().filter_map(|(i, class)| {
        Some((format!("dhcp.classes[{i}].boot"), "a client of the class".to_owned(), class.boot.as_ref()?))
    });
    let machines = settings.machines.iter().enumerate().filter_map(|(i, machine)| {
        Some((format!("machines[{i}].boot"), machine.name.to_string(), machine.boot.as_ref()?))
    });
    // With `once` the script that is made comes first, and the one that is named after that.
    let scripts = config.targets.machines().iter().enumerate().filter_map(|(i, machine)| {
        machine.once.as_ref()?;
        Some((format!("machines[{i}].boot"), machine.name.clone(), machine.script.as_ref()?))
    });
    let items = boot.menu.iter().flat_map(|menu| menu.items.iter().enumerate()).filter_map(|(i, item)| {
        let Boots::File(boot) = &item.boots else { return None };
        Some((format!("boot.menu[{i}].file"), "a client whose user chooses it".to_owned(), boot))
    });
    // A name that iPXE gets says so: that is how boot/policy.rs chooses.
    let unless_script = |name: &str, to| if is_ipxe_script(name) { Target::Ipxe } else { to };
    for (key, client, boot) in items.chain(classes).chain(machines) {
        match boot {
            MachineBoot::File(name) => add(name, key, client, unless_script(name, Target::AnyFirmware)),
            MachineBoot::ByArch(files) => {
                for (arch, name) in files {
                    let clients = format!("{client} as a {arch} client");
                    let to = unless_script(name, Target::Firmware(*arch));
                    add(name, format!("{key}.{}", key_of(*arch)), clients, to);
                }
            }
        }
    }
    for (key, client, name) in scripts {
        add(name, key, client, Target::Ipxe);
    }
    all
}

/// The files of the images folder that `config` maps, each with who gets it, in the order of the keys: `uefi-x64`,
/// `ipxe`, `bootp`, the name of a machine, `class 1`; and last those of targets, `target debian`.
pub fn clients(config: &Config) -> Vec<(String, String)> {
    let client = |file: &Mapped| {
        let key = file.key.strip_prefix("boot.");
        let of_boot = key.map(|key| key.strip_prefix("arch.").unwrap_or(key).to_owned());
        let class =
            file.key.strip_prefix("dhcp.classes[").and_then(|rest| rest.split(']').next()?.parse().ok());
        let class = class.map(|number: usize| format!("class {}", number.saturating_add(1)));
        of_boot.or(class).unwrap_or_else(|| file.clients.clone())
    };
    let mapped = mapped(config).into_iter().map(|file| (client(&file), file.name));
    let started = config.targets.list.iter().flat_map(|target| {
        let files = iter::once(&target.kernel).chain(&target.initrd);
        files.map(|name| (format!("target {}", target.name), Arc::clone(name)))
    });
    let all = mapped.chain(started);
    all.filter_map(|(client, name)| Some((local_name(&name, config)?.to_owned(), client))).collect()
}

/// Messages about keys of the file whose `text` is given, as problems in the order of their places. Of more than anybody
/// reads the last says how many more there are.
pub(in crate::config) fn problems_at(
    text: &str,
    messages: impl IntoIterator<Item = (String, String)>,
) -> Vec<Problem> {
    let Ok(root) = parse(text) else { return Vec::new() };
    let mut messages = messages.into_iter();
    let placed = messages.by_ref().take(shown(text)).map(|(path, message)| {
        let (line, column) = place_of(text, node_at(&root, &path, same_key).id);
        Problem { line, column, path, message }
    });
    let mut problems: Vec<Problem> = placed.collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    say_how_many_more(&mut problems, messages.count());
    problems
}

/// The architecture as a key of the file.
fn key_of(arch: Arch) -> String {
    arch.name().map_or_else(|| arch.number().to_string(), str::to_owned)
}

/// An architecture is written as a name or as one of its numbers.
fn same_key(written: &str, wanted: &str) -> bool {
    written == wanted || matches!((written.parse::<Arch>(), wanted.parse::<Arch>()), (Ok(a), Ok(b)) if a == b)
}
