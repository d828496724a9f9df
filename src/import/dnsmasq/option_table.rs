//! The options that dnsmasq knows by name (`opttab` in `dhcp-common.c`).

/// The form of an option's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Guessed from the text.
    Any,
    /// Guessed from the text, but never a number without a size.
    Internal,
    Addresses,
    Name,
    /// Domain names in DNS form.
    Names,
    /// A time of four bytes.
    Time,
    /// A number of this many bytes.
    Number(usize),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub code: u32,
    name: &'static str,
    pub form: Form,
    /// Whether the option cannot be set by its name.
    pub is_internal: bool,
}

/// The option with this name, in any case.
pub(super) fn by_name(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

/// The option with this number.
pub(super) fn by_code(code: u32) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.code == code)
}

const fn row(code: u32, name: &'static str, form: Form, is_internal: bool) -> Row {
    Row { code, name, form, is_internal }
}

use Form::{Addresses, Any, Internal, Name, Names, Number, Time};

const TABLE: &[Row] = &[
    row(1, "netmask", Addresses, false),
    row(2, "time-offset", Number(4), false),
    row(3, "router", Addresses, false),
    row(6, "dns-server", Addresses, false),
    row(7, "log-server", Addresses, false),
    row(9, "lpr-server", Addresses, false),
    row(12, "hostname", Name, true),
    row(13, "boot-file-size", Number(2), false),
    row(15, "domain-name", Name, false),
    row(16, "swap-server", Addresses, false),
    row(17, "root-path", Name, false),
    row(18, "extension-path", Name, false),
    row(19, "ip-forward-enable", Number(1), false),
    row(20, "non-local-source-routing", Number(1), false),
    row(21, "policy-filter", Addresses, false),
    row(22, "max-datagram-reassembly", Number(2), false),
    row(23, "default-ttl", Number(1), false),
    row(26, "mtu", Number(2), false),
    row(27, "all-subnets-local", Number(1), false),
    row(28, "broadcast", Addresses, true),
    row(31, "router-discovery", Number(1), false),
    row(32, "router-solicitation", Addresses, false),
    row(33, "static-route", Addresses, false),
    row(34, "trailer-encapsulation", Number(1), false),
    row(35, "arp-timeout", Number(4), false),
    row(36, "ethernet-encap", Number(1), false),
    row(37, "tcp-ttl", Number(1), false),
    row(38, "tcp-keepalive", Number(4), false),
    row(40, "nis-domain", Name, false),
    row(41, "nis-server", Addresses, false),
    row(42, "ntp-server", Addresses, false),
    row(43, "vendor-encap", Internal, true),
    row(44, "netbios-ns", Addresses, false),
    row(45, "netbios-dd", Addresses, false),
    row(46, "netbios-nodetype", Number(1), false),
    row(47, "netbios-scope", Any, false),
    row(48, "x-windows-fs", Addresses, false),
    row(49, "x-windows-dm", Addresses, false),
    row(50, "requested-address", Addresses, true),
    row(51, "lease-time", Time, true),
    row(52, "option-overload", Internal, true),
    row(53, "message-type", Internal, true),
    row(54, "server-identifier", Addresses, true),
    row(55, "parameter-request", Internal, true),
    row(56, "message", Internal, true),
    row(57, "max-message-size", Internal, true),
    row(58, "T1", Time, false),
    row(59, "T2", Time, false),
    row(60, "vendor-class", Any, false),
    row(61, "client-id", Internal, true),
    row(64, "nis+-domain", Name, false),
    row(65, "nis+-server", Addresses, false),
    row(66, "tftp-server", Name, false),
    row(67, "bootfile-name", Name, false),
    row(68, "mobile-ip-home", Addresses, false),
    row(69, "smtp-server", Addresses, false),
    row(70, "pop3-server", Addresses, false),
    row(71, "nntp-server", Addresses, false),
    row(74, "irc-server", Addresses, false),
    row(77, "user-class", Any, false),
    row(80, "rapid-commit", Any, false),
    row(81, "FQDN", Internal, true),
    row(82, "agent-id", Internal, true),
    row(93, "client-arch", Number(2), false),
    row(94, "client-interface-id", Any, false),
    row(97, "client-machine-id", Any, false),
    row(100, "posix-timezone", Name, false),
    row(101, "tzdb-timezone", Name, false),
    row(108, "ipv6-only", Number(4), false),
    row(118, "subnet-select", Internal, true),
    row(119, "domain-search", Names, false),
    row(120, "sip-server", Any, false),
    row(121, "classless-static-route", Any, false),
    row(125, "vendor-id-encap", Any, false),
    row(150, "tftp-server-address", Addresses, false),
    row(255, "server-ip-address", Addresses, false),
];
