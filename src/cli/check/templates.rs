//! Renders every template of the images folder for every machine of the configuration and for an unknown machine, to
//! find errors before a machine boots. `lanboot check` calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::boot::loader::facts::Facts;
use crate::boot::loader::script::{Loader, script};
use crate::boot::loader::target::{BootAction, Machine};
use crate::boot::machine_boot::is_ipxe_script;
use crate::boot::name::BootName;
use crate::config::{Config, clients_by_file};
use crate::content::log_once::LogOnce;
use crate::content::once::BootState;
use crate::content::templates::{EXTENSION, TemplateError, Templates};
use crate::images::Catalog;
use crate::probe::models;
use crate::types::{Arch, FileKind, MacAddr};

/// Maximum number of entries that are searched for templates.
const MAX_ENTRIES: usize = 100_000;
/// Maximum depth of nested folders.
const MAX_DEPTH: usize = 16;
/// Maximum number of renderings. With many machines, only the first ones are covered.
const MAX_RENDERINGS: usize = 20_000;
/// Maximum time for the renderings of one template. A slow template is slow for every machine, and has been reported
/// by then.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Data of an unknown machine. The addresses are reserved for documentation.
const UNKNOWN_MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0, 0x53, 1]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERIAL: &str = "10000000abcdef01";
const HOST_NAME: &str = "host";
const UUID: &str = "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab";

/// Result of rendering all templates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TemplateReport {
    /// Number of templates. All of them were rendered.
    pub templates: usize,
    /// Lines `FILE:LINE: problem (for MACHINE)`, with FILE relative to the images folder. For targets, lines `KEY:
    /// problem (for MACHINE)`.
    pub problems: Vec<String>,
    /// Lines of the same form that may be intended: they only concern machines without an entry, or boot loaders that
    /// the configuration does not mention.
    pub notes: Vec<String>,
}

/// Renders every template for every machine of `config`.
///
/// UUID, architecture, host name, serial number and address of a machine are invented, because only the machine
/// itself knows them. A value that is undefined for a machine without an entry is only a note if some machine with an
/// entry gets the file. The template may then be meant for known machines only.
pub fn check(config: &Config) -> TemplateReport {
    let mut found = TemplateReport::default();
    let Ok(catalog) = Catalog::open(&config.images) else { return found };
    let templates = Templates::new(catalog.clone(), LogOnce::default());
    let arches = arches(config);
    let machines = config.targets.machines();
    let mut names = Vec::new();
    collect(&config.images, "", 0, &mut { MAX_ENTRIES }, &mut names);
    let mut left = MAX_RENDERINGS;
    for name in &names {
        let Ok(clean) = BootName::parse(name.as_bytes()) else { continue };
        let owner = only_for(&clean, machines);
        let mut errors = Vec::new();
        let mut renders_for_known = false;
        let began = Instant::now();
        for machine in machines.iter().filter(|machine| owner.is_none_or(|owner| owner == *machine)) {
            for arch in &arches {
                let Ok(open) = catalog.open_file(&clean) else { continue };
                left = left.saturating_sub(1);
                if left == 0 || began.elapsed() > MAX_TIME {
                    break;
                }
                match templates.render(open, &facts(Some(machine), *arch)) {
                    Ok(_) => renders_for_known = true,
                    Err(error) => errors.push(error),
                }
            }
        }
        found.templates += 1;
        add_unique(&mut found.problems, errors.iter());
        if owner.is_none() {
            let unknown = arches.iter().filter_map(|arch| {
                if began.elapsed() > MAX_TIME && !errors.is_empty() {
                    return None;
                }
                let open = catalog.open_file(&clean).ok()?;
                templates.render(open, &facts(None, *arch)).err()
            });
            let unknown: Vec<TemplateError> = unknown.collect();
            let (notes, problems): (Vec<_>, Vec<_>) =
                unknown.iter().partition(|error| error.undefined && renders_for_known);
            add_unique(&mut found.notes, notes.into_iter());
            add_unique(&mut found.problems, problems.into_iter());
        }
    }
    let (problems, notes) = targets(config, &arches, &catalog);
    found.problems.extend(problems);
    found.notes.extend(notes);
    found
}

/// Adds one line for each fault. The same fault may occur for many machines and architectures.
fn add_unique<'e>(lines: &mut Vec<String>, errors: impl Iterator<Item = &'e TemplateError>) {
    let mut machines = MachinesByFault::default();
    let mut first = Vec::new();
    for error in errors {
        let fault = format!("{} {:?} {}", error.file, error.line, error.what);
        if machines.add(&fault, &error.machine) {
            first.push((fault, error));
        }
    }
    for (fault, error) in first {
        lines.push(TemplateError { machine: machines.text(&fault), ..error.clone() }.to_string());
    }
}

/// The machines that each fault occurs for, each once, in the order of the configuration.
#[derive(Default)]
struct MachinesByFault(BTreeMap<String, Vec<String>>);

impl MachinesByFault {
    /// Adds a machine to a fault. Returns whether the fault is new.
    fn add(&mut self, fault: &str, machine: &str) -> bool {
        let machines = self.0.entry(fault.to_owned()).or_default();
        let is_first = machines.is_empty();
        if !machines.iter().any(|known| known == machine) {
            machines.push(machine.to_owned());
        }
        is_first
    }

    /// `node1`, `node1 and node2` or `node1 and 7 other machines`
    fn text(&self, fault: &str) -> String {
        match self.0.get(fault).map(Vec::as_slice) {
            None | Some([]) => String::new(),
            Some([one]) => one.clone(),
            Some([one, two]) => format!("{one} and {two}"),
            Some([one, others @ ..]) => format!("{one} and {} other machines", others.len()),
        }
    }
}

/// Errors in the scripts for targets: problems for loaders that the configuration leads to, and notes for loaders
/// that it may lead to.
fn targets(config: &Config, arches: &[Arch], catalog: &Catalog) -> (BTreeSet<String>, BTreeSet<String>) {
    let served = BootState::in_memory(config).served();
    let machines = config.targets.machines().iter();
    let own = machines.flat_map(|machine| {
        let starts = [&machine.boot, &machine.once].into_iter().flatten();
        starts.map(move |start| (start, Some(machine)))
    });
    let default = config.targets.default.iter().map(|start| (start, None));
    let starts: Vec<(&BootAction, Option<&Machine>)> = own.chain(default).collect();
    let errors = |loader: Loader| {
        let mut machines = MachinesByFault::default();
        for ((start, machine), arch) in starts.iter().flat_map(|start| arches.iter().map(move |a| (start, a)))
        {
            let name = machine.map_or("a machine without an entry", |machine| &machine.name);
            if let Err(error) = script(loader, start, &config.targets, &facts(*machine, *arch), served) {
                machines.add(&format!("{}: {}", error.key, error.reason), name);
            }
        }
        let line = |fault: &String| format!("{fault} (for {})", machines.text(fault));
        machines.0.keys().map(line).collect::<Vec<_>>()
    };
    let (loaders, are_all_known) = loaders(config, catalog);
    let mut problems = BTreeSet::new();
    loaders.iter().for_each(|loader| problems.extend(errors(*loader)));
    let mut notes = BTreeSet::new();
    if !are_all_known {
        let others = [Loader::Grub, Loader::Pxelinux].into_iter().filter(|loader| !loaders.contains(loader));
        others.for_each(|loader| notes.extend(errors(loader)));
    }
    notes.retain(|note| !problems.contains(note));
    (problems, notes)
}

/// The loaders that the configuration leads to, always including iPXE, and whether these are all.
fn loaders(config: &Config, catalog: &Catalog) -> (Vec<Loader>, bool) {
    let (mut found, mut are_all_known) = (vec![Loader::Ipxe], config.dhcp.is_some());
    for (name, client) in clients_by_file(config) {
        if client.starts_with("target ") {
            continue;
        }
        let kind = BootName::parse(name.as_bytes()).ok().and_then(|name| catalog.kind(&name));
        match kind {
            Some(FileKind::BiosPxelinux) => found.push(Loader::Pxelinux),
            Some(FileKind::BiosIpxe | FileKind::IpxeScript) => {}
            _ => match models::Loader::of_file(&name) {
                Some(models::Loader::Ipxe) => {}
                Some(models::Loader::Pxelinux | models::Loader::SyslinuxEfi) => {
                    found.push(Loader::Pxelinux);
                }
                Some(models::Loader::ShimX64 | models::Loader::ShimArm64 | models::Loader::Grub) => {
                    found.push(Loader::Grub);
                }
                None => are_all_known &= is_ipxe_script(&name),
            },
        }
    }
    let each_once = [Loader::Ipxe, Loader::Grub, Loader::Pxelinux].into_iter();
    (each_once.filter(|loader| found.contains(loader)).collect(), are_all_known)
}

/// The architectures in the configuration, or the two most common ones if it names none.
fn arches(config: &Config) -> Vec<Arch> {
    let configured = config.dhcp.iter().flat_map(|settings| settings.boot.arch.keys().copied());
    let mut arches: Vec<Arch> = configured.collect();
    if arches.is_empty() {
        arches.extend([Arch::BIOS, Arch::UEFI_X64]);
    }
    arches
}

/// The only machine that gets a file, because the file name contains its MAC.
fn only_for<'m>(name: &BootName, machines: &'m [Machine]) -> Option<&'m Machine> {
    let has = |machine: &&Machine| {
        let text = name.as_str().to_ascii_lowercase();
        machine.macs.iter().map(ToString::to_string).any(|mac| {
            let spellings = [mac.replace(':', "-"), mac];
            spellings.iter().any(|mac| text.contains(mac.as_str()))
        })
    };
    machines.iter().find(has)
}

fn facts(machine: Option<&Machine>, arch: Arch) -> Facts<'_> {
    Facts {
        server: SERVER.into(),
        ip: machine.and_then(|machine| machine.address).or(Some(ADDRESS)).map(Into::into),
        mac: machine.and_then(|machine| machine.macs.first().copied()).or(Some(UNKNOWN_MAC)),
        uuid: machine.and_then(|machine| machine.uuid).or(UUID.parse().ok()),
        arch: Some(arch),
        serial: Some(SERIAL.to_owned()),
        host_name: Some(HOST_NAME.to_owned()),
        machine,
    }
}

/// Collects the templates in `folder`, by their names relative to the images folder.
fn collect(folder: &Path, prefix: &str, depth: usize, budget: &mut usize, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().take(*budget).collect();
    *budget = budget.saturating_sub(entries.len());
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Hidden files are not served.
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {
                collect(&entry.path(), &format!("{name}/"), depth + 1, budget, names);
            }
            Ok(_) if name.ends_with(EXTENSION) => names.push(name),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(yaml: &str, files: &[(&str, &str)]) -> TemplateReport {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let config = Config { images: folder.path().to_owned(), ..crate::config::load(yaml).unwrap() };
        check(&config)
    }

    const MACHINES: &str = "{dhcp: {mode: off}, machines: [
        {name: a, mac: 52:54:00:00:00:01, vars: {role: web}}, {name: b, mac: 52:54:00:00:00:02, vars: {role: db, disk: sda}}]}";

    #[test]
    fn every_template_is_rendered_for_every_machine() {
        let files = [
            ("boot.ipxe.j2", "#!ipxe\necho {{ role }}\n"),
            ("sub/ks.cfg.j2", "\n\nx {{ disk }}\n"),
            ("plain", "{{"),
        ];
        let found = found(MACHINES, &files);
        assert_eq!(found.templates, 2);
        assert_eq!(found.problems.len(), 1, "{found:?}");
        assert!(
            found.problems[0].starts_with("sub/ks.cfg.j2:3: undefined value")
                && found.problems[0].ends_with("(for a)"),
            "{found:?}"
        );
        assert!(
            found.notes[0].starts_with("boot.ipxe.j2:2: ")
                && found.notes[0].contains("(for 02:00:5e:00:53:01)"),
            "{found:?}"
        );
    }

    #[test]
    fn r_48_a_fault_has_one_line_for_all_its_machines() {
        let found = found(MACHINES, &[("ks.cfg.j2", "{{ disc }}\n")]);
        let of_machines: Vec<&String> =
            found.problems.iter().filter(|line| line.ends_with("(for a and b)")).collect();
        assert_eq!(of_machines.len(), 1, "{found:?}");
        assert!(found.problems.iter().all(|line| !line.ends_with("(for a)")), "{found:?}");
        let mut machines = MachinesByFault::default();
        let are_new = ["a", "a", "b", "c"].map(|name| machines.add("x", name));
        assert_eq!(
            (machines.text("x").as_str(), are_new),
            ("a and 2 other machines", [true, false, false, false])
        );
    }

    #[test]
    fn errors_in_any_branch_are_problems() {
        let unused = found("{dhcp: {mode: off}}", &[("x.j2", "{{ rol }}")]);
        assert_eq!((unused.problems.len(), unused.notes.len()), (1, 0), "{unused:?}");
        let branch = "{% if arch == 'uefi-x64' %}\n{{ rol }}\n{% endif %}\n";
        let branch = found(MACHINES, &[("x.j2", branch)]);
        let [line] = &branch.problems[..] else { panic!("{branch:?}") };
        assert!(line.starts_with("x.j2:2:") && line.ends_with("(for a and b)"), "{branch:?}");
    }

    #[test]
    fn s_08_templates_that_end_servers_are_problems() {
        let doubled = format!("{{% set x = [1] %}}{}{{{{ x }}}}", "{% set x = x + x %}".repeat(40));
        let nots = format!("{{{{ {}x }}}}", "not ".repeat(50_000));
        let long = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a == b }}{% endfor %}{% endfor %}";
        let found =
            found(MACHINES, &[("a.j2", &doubled), ("b.j2", &nots), ("c.j2", long), ("d.j2", "{{ role }}")]);
        let has = |start: &str, part: &str| {
            found.problems.iter().any(|line| line.starts_with(start) && line.contains(part))
        };
        assert!(has("a.j2:1: ", "more than 20000 elements"), "{found:?}");
        assert!(has("b.j2:1: ", "a tag has 50001 words and signs"), "{found:?}");
        assert!(has("c.j2", "it takes"), "{found:?}");
        assert_eq!(found.templates, 4);
    }

    #[test]
    fn a_machines_file_is_rendered_for_it_only() {
        let name = "pxelinux.cfg/01-52-54-00-00-00-02.j2";
        assert_eq!(
            found(MACHINES, &[(name, "{{ disk }}")]),
            TemplateReport { templates: 1, ..TemplateReport::default() }
        );
    }

    #[test]
    fn a_missing_machine_variable_is_a_problem() {
        let yaml = "{dhcp: {mode: off}, targets: {t: {kernel: k, cmdline: 'x={disk}'}}, machines: [
            {name: a, mac: 52:54:00:00:00:01, boot: t}, {name: b, mac: 52:54:00:00:00:02, once: t, vars: {disk: sda}}]}";
        assert_eq!(
            found(yaml, &[]).problems,
            ["targets.t.cmdline: {disk} is not known of this machine (for a)"]
        );
    }

    const QUOTES: &str = "targets: {q: {kernel: k, cmdline: \"a='b'\"}}, machines: [{name: a, mac: 52:54:00:00:00:01, boot: q}]";

    #[test]
    fn unsupported_words_are_problems_for_used_loaders() {
        let with = |boot: &str, files: &[(&str, &str)]| {
            found(&format!("{{dhcp: {{mode: proxy}}, boot: {{arch: {{{boot}}}}}, {QUOTES}}}"), files)
        };
        for grub in
            ["uefi-arm64: grubnetaa64.efi", "uefi-x64: shimx64.efi", "bios: x.0, uefi-x64: grubx64.efi"]
        {
            let grub = with(grub, &[]);
            assert_eq!((grub.problems.len(), grub.notes.len()), (1, 0), "{grub:?}");
            assert!(
                grub.problems[0].starts_with("targets.q.cmdline: GRUB cannot pass a='b' to a kernel"),
                "{grub:?}"
            );
        }
        let unknown = with("bios: x.0", &[]);
        assert_eq!((unknown.problems.len(), unknown.notes.len()), (0, 1), "{unknown:?}");
        assert_eq!(with("bios: pxelinux.0, uefi-x64: snponly.efi", &[]), TemplateReport::default());
        let elsewhere = found(&format!("{{dhcp: {{mode: off}}, {QUOTES}}}"), &[]);
        assert_eq!((elsewhere.problems.len(), elsewhere.notes.len()), (0, 1), "{elsewhere:?}");
    }

    #[test]
    fn facts_of_machines_are_invented() {
        let text = "{{ hostname }} {{ serial }} {{ uuid }} {{ ip }}\n";
        let found = found("{dhcp: {mode: off}}", &[("x.j2", text)]);
        assert_eq!(found, TemplateReport { templates: 1, ..TemplateReport::default() });
    }
}
