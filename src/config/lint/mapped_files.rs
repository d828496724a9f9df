//! Lists the boot files that a configuration maps to clients, each with its key, its clients and the program that
//! starts it. The other lints check this list.

use std::iter;
use std::sync::Arc;

use crate::boot::machine_boot::{MachineBoot, is_ipxe_script};
use crate::boot::menu::ItemAction;
use crate::boot::policy::DEFAULT_IPXE;
use crate::config::lint::local_name::local_name;
use crate::config::settings::Config;
use crate::types::Arch;

/// A boot file that the configuration names.
pub(in crate::config) struct MappedFile {
    /// Name or URL, as written.
    pub(in crate::config) name: Arc<str>,
    /// Key that names the file, such as `boot.arch.bios` or `machines[2].boot`.
    pub(in crate::config) key: String,
    /// Description of the clients that get it, for messages.
    pub(in crate::config) clients: String,
    pub(in crate::config) recipient: Recipient,
}

/// The program that a boot file is sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Recipient {
    /// The firmware of this architecture.
    Firmware(Arch),
    Ipxe,
    /// iPXE without a configured script: `boot.ipxe` is not set.
    DefaultScript,
    /// Plain BOOTP clients of any kind.
    Bootp,
    /// The firmware of a machine or class, of any architecture.
    AnyFirmware,
}

/// Every boot file that `config` names, in the order of the keys.
pub(in crate::config) fn mapped_files(config: &Config) -> Vec<MappedFile> {
    let Some(settings) = &config.dhcp else { return Vec::new() };
    let boot = &settings.boot;
    let mut all = Vec::new();
    let mut add = |name: &Arc<str>, key: String, clients: String, recipient: Recipient| {
        all.push(MappedFile { name: name.clone(), key, clients, recipient });
    };
    for (arch, name) in &boot.arch {
        let key = format!("boot.arch.{}", key_of(*arch));
        add(name, key, format!("{arch} clients"), Recipient::Firmware(*arch));
    }
    // The default script is unused if the server only assigns addresses, or if it has targets and generates a menu
    // from them.
    let boots = !boot.arch.is_empty()
        || boot.menu.is_some()
        || boot.bootp.is_some()
        || settings.machines.iter().any(|machine| machine.boot.is_some())
        || settings.classes.iter().any(|class| class.boot.is_some());
    let uses_default = boots && config.targets.list.is_empty();
    if let Some(name) = boot.ipxe.as_ref().filter(|name| uses_default || ***name != *DEFAULT_IPXE) {
        add(name, "boot.ipxe".to_owned(), "iPXE".to_owned(), Recipient::Ipxe);
    } else if uses_default {
        add(&DEFAULT_IPXE.into(), "boot.ipxe".to_owned(), "iPXE".to_owned(), Recipient::DefaultScript);
    }
    if let Some(name) = &boot.bootp {
        add(name, "boot.bootp".to_owned(), "plain BOOTP clients".to_owned(), Recipient::Bootp);
    }
    let classes = settings.classes.iter().enumerate().filter_map(|(i, class)| {
        Some((format!("dhcp.classes[{i}].boot"), "a client of the class".to_owned(), class.boot.as_ref()?))
    });
    let machines = settings.machines.iter().enumerate().filter_map(|(i, machine)| {
        Some((format!("machines[{i}].boot"), machine.name.to_string(), machine.boot.as_ref()?))
    });
    // With `once`, the machine gets the generated script first and the configured one afterwards.
    let scripts = config.targets.machines().iter().enumerate().filter_map(|(i, machine)| {
        machine.once.as_ref()?;
        Some((format!("machines[{i}].boot"), machine.name.clone(), machine.script.as_ref()?))
    });
    let items = boot.menu.iter().flat_map(|menu| menu.items.iter().enumerate()).filter_map(|(i, item)| {
        let ItemAction::File(boot) = &item.action else { return None };
        Some((format!("boot.menu[{i}].file"), "a client whose user chooses it".to_owned(), boot))
    });
    // Names of iPXE scripts end in `.ipxe`; boot/policy.rs chooses by that.
    let unless_script =
        |name: &str, otherwise| if is_ipxe_script(name) { Recipient::Ipxe } else { otherwise };
    for (key, client, boot) in items.chain(classes).chain(machines) {
        match boot {
            MachineBoot::File(name) => add(name, key, client, unless_script(name, Recipient::AnyFirmware)),
            MachineBoot::ByArch(files) => {
                for (arch, name) in files {
                    let clients = format!("{client} as a {arch} client");
                    let recipient = unless_script(name, Recipient::Firmware(*arch));
                    add(name, format!("{key}.{}", key_of(*arch)), clients, recipient);
                }
            }
        }
    }
    for (key, client, name) in scripts {
        add(name, key, client, Recipient::Ipxe);
    }
    all
}

/// Files of the images folder that `config` maps, each with a short name of its clients, in the order of the keys.
/// The short name is `uefi-x64`, `ipxe`, `bootp`, the name of a machine or `class 1`. Files of targets come last, as
/// in `target debian`.
pub fn clients_by_file(config: &Config) -> Vec<(String, String)> {
    let client = |file: &MappedFile| {
        let key = file.key.strip_prefix("boot.");
        let of_boot = key.map(|key| key.strip_prefix("arch.").unwrap_or(key).to_owned());
        let class =
            file.key.strip_prefix("dhcp.classes[").and_then(|rest| rest.split(']').next()?.parse().ok());
        let class = class.map(|number: usize| format!("class {}", number.saturating_add(1)));
        of_boot.or(class).unwrap_or_else(|| file.clients.clone())
    };
    let mapped = mapped_files(config).into_iter().map(|file| (client(&file), file.name));
    let started = config.targets.list.iter().flat_map(|target| {
        let files = iter::once(&target.kernel).chain(&target.initrd);
        files.map(|name| (format!("target {}", target.name), Arc::clone(name)))
    });
    let all = mapped.chain(started);
    all.filter_map(|(client, name)| Some((local_name(&name, config)?.to_owned(), client))).collect()
}

/// The architecture as a key of the file.
fn key_of(arch: Arch) -> String {
    arch.name().map_or_else(|| arch.number().to_string(), str::to_owned)
}
