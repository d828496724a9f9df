//! Groups machines that boot the same, so that a rehearsal of thousands of machines takes no longer than one of a few.
//! `mod.rs` calls it.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use crate::boot::loader::target;
use crate::config::Config;
use crate::dhcp::level::Level;
use crate::dhcp::machines::Machine;
use crate::dhcp::options::OptionSet;
use crate::dhcp::settings::Settings;
use crate::wire::option::code;

/// Conditions of classes that tell single machines apart, as they are named in `dhcp::classes::Condition`.
const OF_ONE_MACHINE: [&str; 3] = ["Mac(", "Uuid(", "Option(61,"];

/// The group of each machine, and the first machine of each group. Machines of one group differ in their names, MACs,
/// UUIDs, addresses, host names and lease times alone, have their addresses in one subnet, and no folder with files for one of them.
pub(super) fn of<'m>(
    config: &Config,
    settings: &Settings,
    machines: &[&'m Machine],
) -> (Vec<usize>, Vec<&'m Machine>) {
    let classes = format!("{:?}", settings.classes);
    let are_alone = OF_ONE_MACHINE.iter().any(|name| classes.contains(name));
    let folders = folders(config);
    let (mut by_key, mut first): (HashMap<String, usize>, Vec<&Machine>) = Default::default();
    let mut groups = Vec::with_capacity(machines.len());
    for (i, machine) in machines.iter().enumerate() {
        let is_alone = are_alone || has_folder(&folders, machine);
        let key = if is_alone { i.to_string() } else { key(config, settings, machine) };
        let group = *by_key.entry(key).or_insert_with(|| {
            first.push(machine);
            first.len() - 1
        });
        groups.push(group);
    }
    (groups, first)
}

/// The part of the entry on which the boot depends.
fn key(config: &Config, settings: &Settings, machine: &Machine) -> String {
    let place_of = |address| settings.subnets.iter().position(|one| one.network.contains(address));
    let places: Vec<Option<usize>> = machine.addresses.iter().map(|address| place_of(*address)).collect();
    let mac = machine.macs.first().copied();
    let maker = mac.map(|mac| mac.0.first_chunk::<3>().copied());
    let has =
        (machine.uuid.is_some(), machine.macs.is_empty(), machine.ids.is_empty(), machine.port.is_some());
    let entry = Machine {
        name: "".into(),
        macs: Vec::new(),
        uuid: None,
        ids: Vec::new(),
        port: None,
        addresses: Vec::new(),
        level: Level { options: OptionSet::default(), lease: None, ..machine.level.clone() },
        ..machine.clone()
    };
    let options: Vec<_> = machine.level.options.iter().filter(|(code, _)| *code != code::HOSTNAME).collect();
    let boots = config.targets.machine(mac, machine.uuid).map(|known| target::Machine {
        name: String::new(),
        macs: Vec::new(),
        uuid: None,
        address: None,
        host_name: None,
        ..known.clone()
    });
    format!("{places:?} {maker:?} {has:?} {entry:?} {options:?} {boots:?}")
}

/// The names of the folders in the folder of boot files, with letters and digits alone. A folder may belong to a machine.
fn folders(config: &Config) -> BTreeSet<String> {
    let entries = fs::read_dir(&config.images).into_iter().flatten().flatten();
    entries.map(|entry| plain(&entry.file_name().to_string_lossy())).collect()
}

fn has_folder(folders: &BTreeSet<String>, machine: &Machine) -> bool {
    let names = machine.macs.iter().map(ToString::to_string);
    let names = names.chain(machine.uuid.map(|uuid| uuid.to_string()));
    let own = |name: &String| folders.iter().any(|folder| folder.contains(name));
    !folders.is_empty() && names.map(|name| plain(&name)).any(|name| own(&name))
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
