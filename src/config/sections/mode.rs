//! `dhcp.mode`: one word for every interface, or a word for each.

use std::collections::BTreeMap;

use crate::boot::plan::Mode;
use crate::config::Interfaces;
use crate::config::syntax::reader::{At, Reader};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::mode::Modes;

/// The key that stands for every interface without an entry.
const DEFAULT: &str = "default";

/// `dhcp.mode` as written. What is not written is a proxy: it harms no network.
#[derive(Debug)]
pub(in crate::config) struct Written {
    pub(in crate::config) default: Option<Mode>,
    pub(in crate::config) by_interface: Vec<(At<String>, Option<Mode>)>,
}

impl Default for Written {
    fn default() -> Written {
        Written { default: Some(Mode::Proxy), by_interface: Vec::new() }
    }
}

impl Written {
    /// As it is meant.
    pub(in crate::config) fn modes(&self) -> Modes {
        let by_interface: BTreeMap<_, _> =
            self.by_interface.iter().map(|(name, mode)| (name.value.clone(), *mode)).collect();
        Modes { default: self.default, by_interface }
    }

    /// Interfaces that have a mode are served.
    pub(in crate::config) fn check(&self, reader: &mut Reader, interfaces: &Interfaces) {
        let Interfaces::Named(served) = interfaces else { return };
        for (name, _) in self.by_interface.iter().filter(|(name, _)| !served.contains(&name.value)) {
            let all = served.join(", ");
            let message = format!("{} is not one of `interfaces`, which are {all}", name.value);
            reader.problem(name.id, message);
        }
    }
}

/// Reads `dhcp.mode`; `None` after a problem.
pub(in crate::config) fn mode(reader: &mut Reader, node: &Node) -> Option<Written> {
    if !matches!(node.data, Data::Map(_)) {
        return word(reader, node).map(|default| Written { default, by_interface: Vec::new() });
    }
    let mut written = Written::default();
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
