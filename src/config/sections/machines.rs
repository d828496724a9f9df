//! Reads `machines:`. One entry is read once and becomes two values: the machine that DHCP knows and the machine that
//! generated boot scripts know.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::loader::target::{self, SCRIPT};
use crate::boot::machine_boot::MachineBoot;
use crate::config::sections::class_names::listed_classes;
use crate::config::sections::conditions::uuid;
use crate::config::sections::level::level;
use crate::config::sections::option_values::hex;
use crate::config::sections::routers::router;
use crate::config::sections::targets::{self, script_of};
use crate::config::sections::written::{BootEntry, ClientIdEntry, MachineEntry, TargetEntry};
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{At, Fields, Reader, one_or_more};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp;
use crate::dhcp::machines::RelayPort;
use crate::types::MacAddr;
use crate::wire::option::code;

pub(in crate::config) fn machine(reader: &mut Reader, node: &Node, targets: &[TargetEntry]) -> MachineEntry {
    let fields = reader.fields(node, Section::Machine);
    let is_named = KEYS.iter().any(|key| fields.get(key).is_some());
    if !is_named && matches!(node.data, Data::Map(_) | Data::Null) {
        let keys = KEYS.map(|key| format!("`{key}`")).join(", ");
        reader.problem(node.id, format!("one of {keys} must be given, like mac: 52:54:00:12:34:56"));
    }
    let level = level(reader, &fields);
    MachineEntry {
        name: fields.get("name").and_then(|node| {
            let value = reader.text(node, "a name")?.to_owned();
            if value.contains(char::is_whitespace) && has_no_host_name(fields.get("options")) {
                let message = "a name with a space is no host name: templates have no `hostname` before the machine sends \
                               one; use a hyphen, or give it `options: {hostname: …}`";
                reader.note(node.id, message.to_owned());
            }
            Some(At { id: node.id, value })
        }),
        macs: fields.get("mac").map_or(Vec::new(), |node| macs(reader, node)),
        uuid: fields.get("uuid").and_then(|node| uuid(reader, node)),
        client_id: fields.get("id").and_then(|node| client_id(reader, node)),
        port: port(reader, &fields),
        addresses: fields.get("address").map_or(Vec::new(), |node| addresses(reader, node)),
        classes: fields.get("class").map_or(Vec::new(), |node| listed_classes(reader, node)),
        ignore: fields.get("ignore").and_then(|node| reader.bool(node)).unwrap_or(false),
        boot: fields.get("boot").and_then(|node| targets::machine_boot(reader, node, targets)),
        once: fields.get("once").and_then(|node| targets::start(reader, node, targets)),
        vars: fields.get("vars").map_or(BTreeMap::new(), |node| targets::vars(reader, node)),
        router: router(fields.get("options"), &level.options),
        level,
    }
}

/// Whether `options` of a machine, if it has any, do not set the host name.
fn has_no_host_name(options: Option<&Node>) -> bool {
    let Some(Data::Map(entries)) = options.map(|node| &node.data) else { return true };
    let is_host_name = |key: &Node| match &key.data {
        Data::Text(name) => name == "hostname" || name == "12",
        Data::Int(code) => *code == 12,
        _ => false,
    };
    !entries.iter().any(|(key, _)| is_host_name(key))
}

/// Keys that identify a machine, in the order in which clients are compared with them.
const KEYS: [&str; 5] = ["mac", "uuid", "id", "circuit_id", "remote_id"];

/// Reads one MAC or a list of them. Addresses that no network card has are a problem.
fn macs(reader: &mut Reader, node: &Node) -> Vec<At<MacAddr>> {
    if one_or_more(node).is_empty() {
        reader.expected(node, "a MAC address like 52:54:00:12:34:56");
    }
    let mut macs: Vec<At<MacAddr>> = reader.parse_each(node, "");
    macs.retain(|at| {
        let [first, ..] = at.value.0;
        let what = match at.value {
            MacAddr::BROADCAST => "the broadcast address",
            MacAddr([0, 0, 0, 0, 0, 0]) => "the address of no card",
            _ if first & 1 == 1 => "a multicast address",
            _ => return true,
        };
        reader.problem(at.id, format!("expected the MAC address of a machine, found {}, {what}", at.value));
        false
    });
    macs
}

fn addresses(reader: &mut Reader, node: &Node) -> Vec<At<Ipv4Addr>> {
    const WHAT: &str = "an IPv4 address like 192.168.77.10";
    if one_or_more(node).is_empty() {
        reader.expected(node, WHAT);
    }
    reader.parse_each(node, WHAT)
}

/// Reads a client identifier (option 61): `hex:…`, or text.
fn client_id(reader: &mut Reader, node: &Node) -> Option<At<ClientIdEntry>> {
    let text = reader.text(node, "a client identifier (option 61): hex:… or text")?;
    let (bytes, is_text) = bytes_of(reader, node, text)?;
    // RFC 2132 section 9.14: at least two bytes. A text may come after a zero byte.
    let least = if is_text { 1 } else { 2 };
    if !(least..=254).contains(&bytes.len()) {
        reader.problem(node.id, format!("expected {least} to 254 bytes, found {}", bytes.len()));
        return None;
    }
    Some(At { id: node.id, value: ClientIdEntry { text: text.to_owned(), bytes, is_text } })
}

/// Reads `circuit_id` and `remote_id`.
fn port(reader: &mut Reader, fields: &Fields<'_>) -> Option<At<RelayPort>> {
    let mut part = |key| {
        let node = fields.get(key)?;
        let text = reader.text(node, "a suboption of option 82: hex:… or text")?;
        Some((node.id, Arc::<[u8]>::from(bytes_of(reader, node, text)?.0)))
    };
    let (circuit_id, remote_id) = (part("circuit_id"), part("remote_id"));
    let id = circuit_id.as_ref().or(remote_id.as_ref())?.0;
    let (circuit_id, remote_id) = (circuit_id.map(|(_, bytes)| bytes), remote_id.map(|(_, bytes)| bytes));
    Some(At { id, value: RelayPort { circuit_id, remote_id } })
}

/// The bytes of `hex:…`, or those of the text. Returns whether it is text too.
fn bytes_of(reader: &mut Reader, node: &Node, text: &str) -> Option<(Vec<u8>, bool)> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return Some((text.strip_prefix("text:").unwrap_or(text).as_bytes().to_vec(), true));
    };
    let bytes = hex(digits).filter(|bytes| !bytes.is_empty());
    if bytes.is_none() {
        reader.expected(node, "hex: and pairs of hexadecimal digits, like hex:0a0b");
    }
    bytes.map(|bytes| (bytes, false))
}

pub(in crate::config) fn dhcp_machine(written: MachineEntry) -> Option<dhcp::machines::Machine> {
    let generated = || MachineBoot::File(SCRIPT.into());
    let ids = written.client_id.as_ref().map(|at| {
        let ClientIdEntry { bytes, is_text, .. } = &at.value;
        // dnsmasq accepts a zero byte before a text too, because some clients put it there.
        let marked = is_text.then(|| [&[0], bytes.as_slice()].concat());
        [Some(bytes.clone()).filter(|bytes| bytes.len() >= 2), marked].into_iter().flatten().map(Arc::from)
    });
    Some(dhcp::machines::Machine {
        name: written.display_name()?.into(),
        macs: written.macs.iter().map(|at| at.value).collect(),
        uuid: written.uuid.map(|at| at.value),
        ids: ids.into_iter().flatten().collect(),
        port: written.port.map(|at| at.value),
        addresses: written.addresses.iter().map(|at| at.value).collect(),
        classes: written.classes,
        ignore: written.ignore,
        boot: match written.boot {
            Some(BootEntry::Start(_)) => Some(generated()),
            // After the one-time target has started, the generated script chains to this file.
            _ if written.once.is_some() => Some(generated()),
            Some(BootEntry::Files(files)) => Some(files),
            None => None,
        },
        level: written.level,
    })
}

pub(in crate::config) fn boot_machine(written: &MachineEntry) -> Option<target::Machine> {
    let host_name = written.level.options.constant(code::HOSTNAME);
    Some(target::Machine {
        name: written.display_name()?,
        macs: written.macs.iter().map(|at| at.value).collect(),
        uuid: written.uuid.map(|at| at.value),
        address: written.addresses.first().map(|at| at.value),
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
        requested: None,
        vars: written.vars.clone(),
    })
}
