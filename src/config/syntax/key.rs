//! The types of the tables in `keys.rs` and `service_keys.rs`: a key, the type of its value, and its section.

/// The type of a value. It decides the words of the reference and the JSON schema. The sections check values more
/// closely than a schema can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    /// Any value, such as the value of a DHCP option.
    Any,
    Bool,
    /// `off`.
    Off,
    /// A whole number between two bounds.
    Number(u32, u32),
    /// Text. The words say which, such as `a MAC address`.
    Text(&'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A duration such as `30m`.
    Time,
    /// A number of bytes such as `64KiB`.
    Size,
    /// The path of a file or folder, relative to the folder of `config.yaml`.
    Path,
    Address,
    Network,
    /// A range of addresses.
    Range,
    /// A mapping with the keys of a section.
    Map(Section),
    /// A mapping from names to values. The words say what the names are.
    Named(&'static str, &'static Kind),
    List(&'static Kind),
    /// One value, or a list.
    Each(&'static Kind),
    Either(&'static [Kind]),
}

/// A key of a section.
#[derive(Debug)]
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) kind: Kind,
    /// The value if the key is left out, as YAML. Empty if there is none.
    pub(in crate::config) default: &'static str,
    /// The meaning, in Markdown.
    pub(in crate::config) about: &'static str,
}

/// The default of a key that must be given.
pub(in crate::config) const REQUIRED: &str = "!";

pub(super) const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default, about }
}

/// A mapping in the file, named after its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Section {
    Top,
    Included,
    IncludedDhcp,
    Dhcp,
    Ports,
    Subnet,
    Pool,
    Lease,
    Class,
    Match,
    Exact,
    Route,
    Boot,
    ServerFile,
    MenuItem,
    Target,
    Machine,
    Tftp,
    Uploads,
    Http,
    Web,
    WebTls,
    Log,
}

/// The type of a port.
pub(super) const PORT: Kind = Kind::Number(1, 65535);
