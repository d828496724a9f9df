//! Reads `dhcp.classes`: the name and conditions of each class, and the options and boot files for its clients.

use crate::config::sections::boot_file;
use crate::config::sections::class_names::{check_cycles, class_names, name_of};
use crate::config::sections::conditions::alternatives;
use crate::config::sections::level::level;
use crate::config::sections::routers::router;
use crate::config::sections::written::ClassEntry;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::Reader;
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::classes::Class;

/// Reads the lists of classes of all files. The reader must know their names: see [`class_names`].
pub(in crate::config) fn classes(reader: &mut Reader, lists: &[&Node]) -> Vec<ClassEntry> {
    let nodes: Vec<&Node> = lists.iter().flat_map(|node| reader.list(node)).collect();
    class_names(reader, &nodes);
    let entries: Vec<ClassEntry> =
        nodes.iter().enumerate().map(|(place, node)| class(reader, node, place)).collect();
    check_cycles(reader, &entries);
    entries
}

/// Reads one entry of `dhcp.classes`. Parts with a problem are omitted.
fn class(reader: &mut Reader, node: &Node, place: usize) -> ClassEntry {
    let fields = reader.fields(node, Section::Class);
    let name = name_of(reader, place);
    let matches = match fields.get("match") {
        Some(node) => alternatives(reader, node),
        None => {
            // A class without conditions has only the machines that name it.
            if name.is_none() && matches!(node.data, Data::Map(_) | Data::Null) {
                reader.problem(node.id, "`match` must be given, like {vendor_class: acme}");
            }
            Vec::new()
        }
    };
    let level = level(reader, &fields);
    ClassEntry {
        match_id: fields.get("match").map_or(node.id, |node| node.id),
        router: router(fields.get("options"), &level.options),
        class: Class {
            name,
            alternatives: matches,
            ignore: fields.get("ignore").and_then(|node| reader.bool(node)).unwrap_or(false),
            level,
            boot: fields.get("boot").and_then(|node| boot_file::machine_boot(reader, node)),
        },
    }
}
