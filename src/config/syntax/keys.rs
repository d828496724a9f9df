//! The keys of `config.yaml`: one table with the section, name, type, default and meaning of each key. Three things are
//! made from it: the reader finds unknown keys, `lanboot schema` prints the JSON schema (`config/schema.rs`), and
//! docs/configuration.md is the reference (`config/reference.rs`). Add a key here, one row per line, then read it in its
//! section.

use crate::config::syntax::key::Kind::{
    Address, Any, Bool, Each, Either, List, Map, Named, Network, Number, Off, Path, Range, Text, Time, Word,
};
use crate::config::syntax::key::{Key, Kind, PORT, REQUIRED, Section, key};
use crate::config::syntax::service_keys::{HTTP, LOG, TFTP, UPLOADS, WEB, WEB_TLS};

impl Section {
    /// Every section, in the order of the reference.
    pub(in crate::config) const ALL: [Section; 23] = [
        Section::Top,
        Section::Included,
        Section::IncludedDhcp,
        Section::Dhcp,
        Section::Ports,
        Section::Subnet,
        Section::Pool,
        Section::Lease,
        Section::Class,
        Section::Match,
        Section::Exact,
        Section::Route,
        Section::Boot,
        Section::ServerFile,
        Section::MenuItem,
        Section::Target,
        Section::Machine,
        Section::Tftp,
        Section::Uploads,
        Section::Http,
        Section::Web,
        Section::WebTls,
        Section::Log,
    ];

    /// The keys that are read.
    pub(in crate::config) fn keys(self) -> &'static [Key] {
        match self {
            Section::Top => TOP,
            Section::Included => INCLUDED,
            Section::IncludedDhcp => INCLUDED_DHCP,
            Section::Dhcp => DHCP,
            Section::Ports => PORTS,
            Section::Subnet => SUBNET,
            Section::Pool => POOL,
            Section::Lease => LEASE,
            Section::Class => CLASS,
            Section::Match => MATCH,
            Section::Exact => EXACT,
            Section::Route => ROUTE,
            Section::Boot => BOOT,
            Section::ServerFile => SERVER_FILE,
            Section::MenuItem => MENU_ITEM,
            Section::Target => TARGET,
            Section::Machine => MACHINE,
            Section::Tftp => TFTP,
            Section::Uploads => UPLOADS,
            Section::Http => HTTP,
            Section::Web => WEB,
            Section::WebTls => WEB_TLS,
            Section::Log => LOG,
        }
    }

    /// The place of the section in the file. `[]` stands for each item of a list, `NAME` for each name.
    pub(in crate::config) fn path(self) -> &'static str {
        match self {
            Section::Top => "",
            Section::Included => "an included file",
            Section::IncludedDhcp => "dhcp of an included file",
            Section::Dhcp => "dhcp",
            Section::Ports => "dhcp.ports",
            Section::Subnet => "dhcp.subnets[]",
            Section::Pool => "dhcp.subnets[].pools[]",
            Section::Lease => "dhcp.subnets[].lease",
            Section::Class => "dhcp.classes[]",
            Section::Match => "dhcp.classes[].match",
            Section::Exact => "dhcp.classes[].match.KEY",
            Section::Route => "options.classless_routes[]",
            Section::Boot => "boot",
            Section::ServerFile => "boot.arch.NAME",
            Section::MenuItem => "boot.menu[]",
            Section::Target => "targets.NAME",
            Section::Machine => "machines[]",
            Section::Tftp => "tftp",
            Section::Uploads => "tftp.uploads",
            Section::Http => "http",
            Section::Web => "web",
            Section::WebTls => "web.tls",
            Section::Log => "log",
        }
    }
}

/// Reserved keys that are not implemented yet. Only `off` is accepted for them, which is the current behaviour.
/// When you implement one, delete its row and add its name to the table of its section.
pub(in crate::config) const NOT_IMPLEMENTED: &[(Section, &str)] = &[(Section::Top, "metrics")];

const OPTIONS: Kind = Named("option", &Any);
const FILE: Kind = Text("a boot file or URL");
const FILES: Kind = Either(&[FILE, Map(Section::ServerFile), BY_ARCH]);
const BY_ARCH: Kind = Named("architecture", &Either(&[FILE, Map(Section::ServerFile)]));
const MODES: Kind = Word(&["proxy", "server", "off"]);
/// Text with `*` for any letters and `?` for one letter, `hex:…`, or `{is: text}`.
const PATTERN: Kind = Each(&Either(&[Text("a pattern"), Map(Section::Exact)]));
/// Conditions: a mapping, or a list of which one must match.
const CONDITIONS: Kind = Either(&[Map(Section::Match), List(&Map(Section::Match))]);
const CLASSES: Kind = Each(&Text("the name of a class"));
const IGNORE: &str = "Give these clients no answer.";
const LEASE_TIME: Kind = Either(&[Word(&["infinite"]), Time]);
const LEASE_TIMES: Kind = Either(&[Word(&["infinite"]), Time, Map(Section::Lease)]);
const LEASE_PART: Kind = Either(&[Time, Text("a percentage")]);

#[rustfmt::skip]
const TOP: &[Key] = &[
    key("include", Each(&Path), "[]", "More files with `machines`, `targets`, `dhcp.classes` and `dhcp.subnets`. Paths are relative to the folder of the file that has them, and `*` and `?` match names. At most 64 MiB in all."),
    key("interfaces", Either(&[Word(&["auto"]), Each(&Text("an interface"))]), "auto", "The interfaces to serve. `auto`: every interface that is up and has an IPv4 address, except loopback."),
    key("state", Path, "/var/lib/lanboot", "The folder of files that must survive a restart, such as the lease database. It must not be in `images`."),
    key("images", Path, "boot-images", "The folder that clients download from. Names that begin with a dot are never sent."),
    key("dhcp", Map(Section::Dhcp), "", "DHCP, as the only server or beside another one."),
    key("boot", Map(Section::Boot), "", "The boot files, the boot menu and the default target."),
    key("targets", Named("target", &Map(Section::Target)), "{}", "Systems that loaders start: the same for iPXE, GRUB and PXELINUX."),
    key("machines", List(&Map(Section::Machine)), "[]", "One entry for each machine that is special."),
    key("tftp", Either(&[Off, Map(Section::Tftp)]), "", "TFTP. `off`: no TFTP."),
    key("http", Either(&[Off, Map(Section::Http)]), "", "The files of `images` over HTTP/1.1. `off`: no HTTP."),
    key("web", Either(&[Off, Map(Section::Web)]), "", "The dashboard, the API and the metrics. `off`: only the control socket has the API."),
    key("syslog", Either(&[Off, Word(&["on"]), PORT]), "off", "The receiver of log lines of installers and initrds, by UDP and TCP. `on`: port 514. Targets of Debian's and Red Hat's installers log there."),
    key("log", Map(Section::Log), "", "The log."),
];

#[rustfmt::skip]
const INCLUDED: &[Key] = &[
    key("include", Each(&Path), "[]", "More files."),
    key("dhcp", Map(Section::IncludedDhcp), "", "Classes and subnets."),
    key("targets", Named("target", &Map(Section::Target)), "{}", "Targets, besides those of other files."),
    key("machines", List(&Map(Section::Machine)), "[]", "Machines, after those of other files."),
];

#[rustfmt::skip]
const INCLUDED_DHCP: &[Key] = &[
    key("subnets", List(&Map(Section::Subnet)), "[]", "Subnets, after those of other files."),
    key("classes", List(&Map(Section::Class)), "[]", "Classes, after those of other files."),
];

#[rustfmt::skip]
const DHCP: &[Key] = &[
    key("mode", Either(&[MODES, Named("interface or `default`", &MODES)]), "proxy", "`proxy`: another DHCP server gives the addresses, and lanboot adds the boot files. `server`: lanboot gives addresses too. `off`: TFTP and HTTP only."),
    key("authoritative", Either(&[Bool, Word(&["strict"])]), "true", "`true`: refuse an address that is wrong for this network or another machine's. `false`: refuse only clients with a lease from here, and give no new address while another server gives them. `strict`: refuse all addresses that were not given from here."),
    key("match_client_id", Bool, "true", "`false`: a machine is its hardware address, whatever client id (option 61) it sends."),
    key("echo_client_id", Bool, "true", "`false`: replies do not repeat the client id (option 61). RFC 6842 demands it, but some old clients discard such replies."),
    key("always_broadcast", Bool, "false", "Answer every client on our own wires by broadcast, renewals too."),
    key("conflict_check", Either(&[Off, Time]), "500ms", "Time to ask by ARP or ping whether an address is in use, before its first offer. From 10ms to 5s."),
    key("bootp", Either(&[Bool, Word(&["dynamic", "off"])]), "true", "`true`: answer plain BOOTP clients that are in `machines`. `dynamic`: give others an address of the pool too, forever. `off`: answer none."),
    key("fqdn_suffix", Text("a domain name"), "", "Completes a client's partial name (option 81). Left out: the option `domain`."),
    key("subnet_selection", Bool, "false", "Clients and relay agents choose their subnet by option 118 (RFC 3011)."),
    key("ports", Map(Section::Ports), "", "UDP ports, for tests."),
    key("subnets", List(&Map(Section::Subnet)), "[]", "The networks in which lanboot gives addresses, for `mode: server`. A proxy answers only the relay agents named here, or without any, all."),
    key("options", OPTIONS, "{}", "Options for every subnet. Those of the machine, its classes and its subnet come before these."),
    key("always_send", Each(&Text("an option")), "[]", "Options that are sent even if the client does not ask for them."),
    key("renew", LEASE_PART, "", "The time when clients renew their lease (T1): a time, or a percentage of the lease. Left out: 50%."),
    key("rebind", LEASE_PART, "", "The time when clients ask any server to extend their lease (T2). Left out: 87.5%."),
    key("decline_time", Time, "10m", "The time for which an address is not offered after another machine was found there. It doubles each time."),
    key("next_server", Either(&[Word(&["{server}"]), Address]), "", "`siaddr` for clients that do not boot from the network. `{server}` is lanboot's own address."),
    key("server_name", Text("a name"), "", "`sname` for clients that do not boot from the network."),
    key("boot_file", Text("a file name"), "", "`file` for clients that do not boot from the network."),
    key("classes", List(&Map(Section::Class)), "[]", "Classes of clients, in order. A client may be in several, and the earlier one counts."),
];

#[rustfmt::skip]
const PORTS: &[Key] = &[
    key("server", PORT, "67", "The port of servers and relay agents."),
    key("client", PORT, "68", "The port of clients."),
    key("proxy", PORT, "4011", "The port of the PXE boot service."),
];

#[rustfmt::skip]
const SUBNET: &[Key] = &[
    key("network", Network, REQUIRED, "The network, as address and prefix length."),
    key("pool", Each(&Range), "[]", "Addresses for any client. Without a pool, only `machines` get addresses."),
    key("pools", List(&Map(Section::Pool)), "[]", "Pools with their own settings. They are used in order, and before `pool`."),
    key("class", CLASSES, "", "Only clients in one of these classes get addresses of this subnet. Built-in classes: `known` and `unknown` (with and without an entry in `machines`), `pxe`, `http`, `ipxe`, `bootp`."),
    key("lease", LEASE_TIMES, "1h", "The lease time. A mapping sets bounds for clients that ask for a time."),
    key("boot_lease", Time, "", "The lease time of firmware and boot loaders, which ask for no time. Left out: as `lease`."),
    key("relays", Each(&Either(&[Address, Network])), "[]", "Relay agents outside this network whose clients are in it, by address or network. The longest prefix counts."),
    key("shared_network", Text("a name"), "", "Subnets on one wire have one name here. A client may get an address of any of them."),
    key("options", OPTIONS, "{}", "Options for clients in this subnet."),
    key("always_send", Each(&Text("an option")), "[]", "Options that are sent even if the client does not ask for them."),
    key("renew", LEASE_PART, "", "The time when clients renew their lease (T1): a time, or a percentage of the lease. Left out: 50%."),
    key("rebind", LEASE_PART, "", "The time when clients ask any server to extend their lease (T2). Left out: 87.5%."),
    key("decline_time", Time, "", "The time for which an address is not offered after another machine was found there. It doubles each time."),
    key("next_server", Either(&[Word(&["{server}"]), Address]), "", "`siaddr` for clients that do not boot from the network. `{server}` is lanboot's own address."),
    key("server_name", Text("a name"), "", "`sname` for clients that do not boot from the network."),
    key("boot_file", Text("a file name"), "", "`file` for clients that do not boot from the network."),
];

#[rustfmt::skip]
const POOL: &[Key] = &[
    key("range", Range, REQUIRED, "The addresses."),
    key("class", CLASSES, "", "Only clients in one of these classes get addresses of this pool. Built-in classes as for the subnet."),
    key("options", OPTIONS, "{}", "Options for clients with an address of this pool. They come before those of the subnet."),
    key("always_send", Each(&Text("an option")), "[]", "Options that are sent even if the client does not ask for them."),
    key("lease", LEASE_TIMES, "", "The lease time. Left out: that of the subnet."),
    key("next_server", Either(&[Word(&["{server}"]), Address]), "", "`siaddr` for clients that do not boot from the network. `{server}` is lanboot's own address."),
    key("server_name", Text("a name"), "", "`sname` for clients that do not boot from the network."),
    key("boot_file", Text("a file name"), "", "`file` for clients that do not boot from the network."),
];

#[rustfmt::skip]
const LEASE: &[Key] = &[
    key("default", LEASE_TIME, "1h", "For clients that ask for no time."),
    key("min", LEASE_TIME, "2m", "The shortest lease, if that is less than `default`."),
    key("max", LEASE_TIME, "", "The longest lease. Left out: `default`."),
];

#[rustfmt::skip]
const CLASS: &[Key] = &[
    key("name", Text("a name"), "", "The name by which pools, subnets, machines and other classes refer to the class."),
    key("match", CONDITIONS, "", "The clients of this class. All conditions of a mapping must hold; of a list of mappings, one. A class with a name needs none: it then has only the machines that name it."),
    key("ignore", Bool, "false", IGNORE),
    key("options", OPTIONS, "{}", "Options for clients of this class."),
    key("always_send", Each(&Text("an option")), "[]", "Options that are sent even if the client does not ask for them."),
    key("lease", LEASE_TIMES, "", "The lease time. It comes before that of the pool and the subnet."),
    key("next_server", Either(&[Word(&["{server}"]), Address]), "", "`siaddr` for clients that do not boot from the network. `{server}` is lanboot's own address."),
    key("server_name", Text("a name"), "", "`sname` for clients that do not boot from the network."),
    key("boot_file", Text("a file name"), "", "`file` for clients that do not boot from the network."),
    key("boot", FILES, "", "The boot file of clients of this class."),
];

#[rustfmt::skip]
const MATCH: &[Key] = &[
    key("vendor_class", PATTERN, "", "Option 60: its beginning, or with `*` or `?` all of it."),
    key("user_class", PATTERN, "", "Option 77, raw or as in RFC 3004."),
    key("hostname", PATTERN, "", "The host name of option 12 or 81."),
    key("arch", Each(&Text("an architecture")), "", "The client architecture (option 93), by name or number."),
    key("mac", Each(&Text("a MAC address or its beginning")), "", "The hardware address: its beginning, or a pattern with `*` and `?`."),
    key("uuid", Each(&Text("a UUID")), "", "Option 97."),
    key("client_id", PATTERN, "", "Option 61 without any conversion, as text or `hex:01*`."),
    key("circuit_id", PATTERN, "", "Suboption 1 of option 82, as text or `hex:0a0b`."),
    key("remote_id", PATTERN, "", "Suboption 2 of option 82, as text or `hex:0a0b`."),
    key("relay", Each(&Either(&[Address, Network])), "", "The address of the relay agent (`giaddr`)."),
    key("subnet", Each(&Network), "", "The network of a subnet: the client is in it, or in one that shares its wire."),
    key("class", CLASSES, "", "Another class, which may stand later, or a built-in one."),
    key("not", CONDITIONS, "", "Conditions that must not hold: none of the mappings as a whole."),
    key("relay.N", PATTERN, "", "A suboption of option 82, by number."),
    key("vendor.N", PATTERN, "", "`vendor.ENTERPRISE`: the data of that enterprise in option 124. `vendor.ENTERPRISE.N`: its suboption in option 125."),
    key("option.N", PATTERN, "", "Any option, by number or name."),
];

#[rustfmt::skip]
const EXACT: &[Key] = &[
    key("is", Text("a text"), REQUIRED, "Exactly this text, in which no letter has a special meaning."),
];

#[rustfmt::skip]
const ROUTE: &[Key] = &[
    key("to", Network, REQUIRED, "The destination network."),
    key("via", Address, REQUIRED, "The router."),
];

#[rustfmt::skip]
const BOOT: &[Key] = &[
    key("arch", BY_ARCH, "{}", "The boot file of each client architecture (option 93), by name or number. `{server}` is the address that the client asked."),
    key("ipxe", FILE, "", "The file of every iPXE. Left out: the file of its architecture; if that file is iPXE itself, the script made from `targets`, or without targets `boot.ipxe`."),
    key("bootp", FILE, "", "The file of plain BOOTP clients. Left out: the file of `bios`."),
    key("menu", List(&Map(Section::MenuItem)), "[]", "Items that PXE firmware offers people instead of `arch`."),
    key("prompt", Text("a line"), "Press F8 for the boot menu", "The text that firmware shows while it waits for a key."),
    key("timeout", Either(&[Off, Time, Number(0, 0)]), "10s", "The time after which the first item boots. `0`: at once. `off`: wait at the menu."),
    key("default", Text("a target, `menu` or `local`"), "", "Started where a machine has no `boot`. iPXE then gets a script made for it, and neither `ipxe` nor a file of `arch`."),
];

#[rustfmt::skip]
const SERVER_FILE: &[Key] = &[
    key("file", Text("a file name"), REQUIRED, "The name on the other server. It may be absolute."),
    key("server", Text("an address"), REQUIRED, "The server. A host name only for architectures that boot by HTTP."),
];

#[rustfmt::skip]
const MENU_ITEM: &[Key] = &[
    key("text", Text("a line"), REQUIRED, "The text that the menu shows, in ASCII."),
    key("file", FILES, "", "A loader that the firmware gets by TFTP."),
    key("server", Address, "", "Another boot server."),
    key("local", Bool, "", "`true`: the local disk."),
];

#[rustfmt::skip]
const TARGET: &[Key] = &[
    key("title", Text("a line"), "", "The name in menus. Left out: the target's name."),
    key("kernel", FILE, REQUIRED, "The kernel: a name in `images`, or a URL."),
    key("initrd", Each(&FILE), "[]", "The RAM disks."),
    key("cmdline", Text("a command line"), "", "The kernel's command line. It may contain `{server}`, `{mac}`, `{mac_hyphen}`, `{uuid}`, `{arch}`, `{ip}`, `{hostname}`, `{name}`, `{serial}`, and the names in `vars` of the machine."),
];

#[rustfmt::skip]
const MACHINE: &[Key] = &[
    key("name", Text("a name"), "", "The name in logs. Left out: the MAC."),
    key("mac", Each(&Text("a MAC address")), "", "The hardware addresses by which the machine is recognized. It has one address at a time, with the card that asks last."),
    key("uuid", Text("a UUID"), "", "The UUID by which the machine is recognized (option 97), if no entry has its MAC."),
    key("id", Text("a client id"), "", "The client id by which the machine is recognized (option 61), as text or `hex:20aabb`, if no entry has its MAC or UUID."),
    key("circuit_id", Text("a suboption"), "", "Suboption 1 of option 82 by which the machine is recognized, as text or `hex:0a0b`, if no other key fits."),
    key("remote_id", Text("a suboption"), "", "As `circuit_id`, for suboption 2. With both, both must fit."),
    key("address", Each(&Address), "", "The addresses that are reserved for it, at most one in each subnet."),
    key("class", CLASSES, "", "Classes of `dhcp.classes` that it is in, in addition to those that match."),
    key("ignore", Bool, "false", "Give it no answer."),
    key("boot", FILES, "", "In place of `boot` at the top: a file, files by architecture, or a target, `menu` or `local`."),
    key("once", Text("a target, `menu` or `local`"), "", "A target that it starts one time; then `boot` counts again."),
    key("vars", Named("variable", &Any), "{}", "Values for templates and for `cmdline` of targets."),
    key("options", OPTIONS, "{}", "Options for this machine."),
    key("always_send", Each(&Text("an option")), "[]", "Options that are sent even if the client does not ask for them."),
    key("lease", LEASE_TIMES, "", "The lease time. It comes before that of its classes, its pool and its subnet."),
    key("next_server", Either(&[Word(&["{server}"]), Address]), "", "`siaddr` for clients that do not boot from the network. `{server}` is lanboot's own address."),
    key("server_name", Text("a name"), "", "`sname` for clients that do not boot from the network."),
    key("boot_file", Text("a file name"), "", "`file` for clients that do not boot from the network."),
];
