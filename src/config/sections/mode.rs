//! Reads `dhcp.mode`: one mode for every interface, or one per interface.

use std::collections::BTreeMap;

use crate::boot::plan::Mode;
use crate::config::settings::Interfaces;
use crate::config::syntax::reader::{At, Reader};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::mode::Modes;

/// The key whose mode applies to interfaces without an entry.
const DEFAULT: &str = "default";

/// `dhcp.mode` as written. The default is proxy, because a proxy cannot disturb a network.
#[derive(Debug)]
pub(in crate::config) struct ModeSection {
    pub(in crate::config) default: Option<Mode>,
    pub(in crate::config) by_interface: Vec<(At<String>, Option<Mode>)>,
}

impl Default for ModeSection {
    fn default() -> ModeSection {
        ModeSection { default: Some(Mode::Proxy), by_interface: Vec::new() }
    }
}

impl ModeSection {
    /// The modes that these entries mean.
    pub(in crate::config) fn modes(&self) -> Modes {
        let by_interface: BTreeMap<_, _> =
            self.by_interface.iter().map(|(name, mode)| (name.value.clone(), *mode)).collect();
        Modes { default: self.default, by_interface }
    }

    /// Checks that every interface with a mode is one of the served interfaces.
    pub(in crate::config) fn check(&self, reader: &mut Reader, interfaces: &Interfaces) {
        let Interfaces::Named(served) = interfaces else { return };
        for (name, _) in self.by_interface.iter().filter(|(name, _)| !served.contains(&name.value)) {
            let all = served.join(", ");
            let message = format!("{} is not one of `interfaces`, which are {all}", name.value);
            reader.problem(name.id, message);
        }
    }
}

/// Reads `dhcp.mode`. Returns `None` after a problem.
pub(in crate::config) fn mode(reader: &mut Reader, node: &Node) -> Option<ModeSection> {
    if !matches!(node.data, Data::Map(_)) {
        return word(reader, node).map(|default| ModeSection { default, by_interface: Vec::new() });
    }
    let mut written = ModeSection::default();
    let mut broken = false;
    for (key, value) in reader.entries(node) {
        let mode = word(reader, value);
        broken |= mode.is_none();
        match mode {
            Some(mode) if key.value == DEFAULT => written.default = mode,
            Some(mode) => written.by_interface.push((key, mode)),
            None => {}
        }
    }
    (!broken).then_some(written)
}

fn word(reader: &mut Reader, node: &Node) -> Option<Option<Mode>> {
    reader.choice(node, &[("proxy", Some(Mode::Proxy)), ("server", Some(Mode::Server)), ("off", None)])
}
