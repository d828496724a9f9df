//! Lists the keys of every section: the keys that are read, and reserved keys that are not implemented yet.

/// A mapping in the file, named after its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Section {
    Top,
    Dhcp,
    Ports,
    Subnet,
    Pool,
    Lease,
    Class,
    Route,
    Boot,
    Target,
    MenuItem,
    Machine,
    Tftp,
    Uploads,
    Http,
    Log,
}

impl Section {
    /// The keys that are read.
    pub(in crate::config) fn keys(self) -> &'static [&'static str] {
        match self {
            Section::Top => &[
                "interfaces",
                "state",
                "images",
                "dhcp",
                "boot",
                "targets",
                "machines",
                "tftp",
                "http",
                "log",
            ],
            Section::Dhcp => &[
                "mode",
                "authoritative",
                "match_client_id",
                "always_broadcast",
                "conflict_check",
                "bootp",
                "fqdn_suffix",
                "subnet_selection",
                "ports",
                "subnets",
                "options",
                "classes",
            ],
            Section::Ports => &["server", "client", "proxy"],
            Section::Subnet => {
                &["network", "pool", "pools", "lease", "boot_lease", "relays", "shared_network", "options"]
            }
            Section::Pool => &["range", "options"],
            Section::Lease => &["default", "min", "max"],
            Section::Class => &["match", "options", "boot"],
            Section::Route => &["to", "via"],
            Section::Boot => &["arch", "ipxe", "bootp", "default", "menu", "prompt", "timeout"],
            Section::Target => &["title", "kernel", "initrd", "cmdline"],
            Section::Machine => &["name", "mac", "uuid", "address", "boot", "once", "vars", "options"],
            Section::MenuItem => &["text", "file", "server", "local"],
            Section::Tftp => &[
                "port",
                "listen",
                "engine",
                "max_block_size",
                "max_window",
                "max_transfers",
                "max_per_client",
                "allow",
                "ports",
                "uploads",
            ],
            Section::Uploads => &["dir", "max_size", "max_total", "max_files"],
            Section::Http => &["port", "listen", "max_per_client", "allow"],
            Section::Log => &["format", "level"],
        }
    }
}

/// Reserved keys that are not implemented yet. Only `off` is accepted for them, which is the current behaviour.
/// When you implement one, delete its row and add its name to [`Section::keys`].
pub(in crate::config) const NOT_IMPLEMENTED: &[(Section, &str)] = &[(Section::Top, "metrics")];
