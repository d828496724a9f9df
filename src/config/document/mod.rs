//! The text of a `config.yaml` that lanboot writes: its sections in their usual order. `import/` builds documents from the
//! configurations of other servers. Nothing here reads a configuration.

mod remove;
mod value;
mod write;

pub use remove::Removed;
pub use value::{List, Map, Origin, Value};
pub use write::write;

/// The sections of `config.yaml` in the order of the file. Empty sections are not written.
#[derive(Debug, Default)]
pub struct Document {
    /// Comment lines at the top.
    pub header: Vec<String>,
    /// `interfaces`, `state` and `images`.
    pub top: Map,
    /// `dhcp`, without `subnets`, `options` and `classes`.
    pub dhcp: Map,
    /// `dhcp.subnets`: one mapping each.
    pub subnets: List,
    /// `dhcp.options`.
    pub options: Map,
    /// `dhcp.classes`: one mapping each.
    pub classes: List,
    pub boot: Map,
    pub targets: Map,
    /// One mapping each.
    pub machines: List,
    /// `tftp` and `http`.
    pub transfer: Map,
}

impl Document {
    /// The comment lines at the top, and all sections in one mapping: see [`write_file`].
    pub fn into_tree(self) -> (Vec<String>, Map) {
        let Document {
            header,
            mut top,
            mut dhcp,
            subnets,
            options,
            classes,
            boot,
            targets,
            machines,
            transfer,
        } = self;
        for (key, list) in [("subnets", subnets), ("classes", classes)] {
            if !list.is_empty() {
                dhcp.set(key, list);
            }
        }
        if !options.is_empty() {
            dhcp.set("options", options);
        }
        for (key, mut map) in [("dhcp", dhcp), ("boot", boot), ("targets", targets)] {
            if !map.is_empty() {
                map.is_block = true;
                top.set(key, map);
            }
        }
        if !machines.is_empty() {
            top.set("machines", machines);
        }
        for entry in transfer.entries {
            top.entries.push(entry);
        }
        (header, top)
    }
}

/// The text of a file with these comment lines at the top.
pub fn write_file(header: &[String], top: &Map) -> String {
    let mut out = String::new();
    write::comments(&mut out, header, 0);
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&write(top));
    out
}
