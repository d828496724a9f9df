//! Reads `machines:`. One entry is read once and becomes two values: the machine that DHCP knows and the machine that
//! generated boot scripts know.

use std::collections::BTreeMap;

use crate::boot::loader::target::{self, SCRIPT};
use crate::boot::machine_boot::MachineBoot;
use crate::config::sections::classes::uuid;
use crate::config::sections::options::options;
use crate::config::sections::targets::{self, script_of};
use crate::config::sections::written::{BootEntry, MachineEntry, TargetEntry};
use crate::config::syntax::keys::Section;
use crate::config::syntax::reader::{At, Reader};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp;
use crate::dhcp::options::OptionSet;
use crate::wire::option::code;

pub(in crate::config) fn machine(reader: &mut Reader, node: &Node, targets: &[TargetEntry]) -> MachineEntry {
    let fields = reader.fields(node, Section::Machine);
    let named = fields.get("mac").is_some() || fields.get("uuid").is_some();
    if !named && matches!(node.data, Data::Map(_) | Data::Null) {
        reader.problem(node.id, "`mac` or `uuid` must be given, like mac: 52:54:00:12:34:56");
    }
    MachineEntry {
        name: fields.get("name").and_then(|node| {
            let value = reader.text(node, "a name")?.to_owned();
            Some(At { id: node.id, value })
        }),
        mac: fields.get("mac").and_then(|node| reader.parse(node, "")),
        uuid: fields.get("uuid").and_then(|node| uuid(reader, node)),
        address: fields
            .get("address")
            .and_then(|node| reader.parse(node, "an IPv4 address like 192.168.77.10")),
        boot: fields.get("boot").and_then(|node| targets::machine_boot(reader, node, targets)),
        once: fields.get("once").and_then(|node| targets::start(reader, node, targets)),
        vars: fields.get("vars").map_or(BTreeMap::new(), |node| targets::vars(reader, node)),
        options: fields.get("options").map_or(OptionSet::new(), |node| options(reader, node)),
    }
}

pub(in crate::config) fn dhcp_machine(written: MachineEntry) -> Option<dhcp::settings::Machine> {
    let generated = || MachineBoot::File(SCRIPT.into());
    Some(dhcp::settings::Machine {
        name: written.display_name()?.into(),
        mac: written.mac.map(|at| at.value),
        uuid: written.uuid.map(|at| at.value),
        address: written.address.map(|at| at.value),
        boot: match written.boot {
            Some(BootEntry::Start(_)) => Some(generated()),
            // After the one-time target has started, the generated script chains to this file.
            _ if written.once.is_some() => Some(generated()),
            Some(BootEntry::Files(files)) => Some(files),
            None => None,
        },
        options: written.options,
    })
}

pub(in crate::config) fn boot_machine(written: &MachineEntry) -> Option<target::Machine> {
    let (mac, uuid) = (written.mac.map(|at| at.value), written.uuid.map(|at| at.value));
    let host_name = written.options.get(&code::HOSTNAME);
    Some(target::Machine {
        name: written.display_name()?,
        mac,
        uuid,
        address: written.address.map(|at| at.value),
        host_name: host_name.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        boot: match &written.boot {
            Some(BootEntry::Start(start)) => Some(start.clone()),
            _ => None,
        },
        script: match &written.boot {
            Some(BootEntry::Files(boot)) => script_of(boot),
            _ => None,
        },
        once: written.once.as_ref().map(|at| at.value.clone()),
        vars: written.vars.clone(),
    })
}
