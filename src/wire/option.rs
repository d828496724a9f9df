//! The table of DHCP options: code, name and kind of each. `config/` parses values by it, and logs print values by it.

use std::fmt;
use std::net::Ipv4Addr;

use crate::types::{Escaped, Quoted, to_hex};
use crate::wire::names;

/// The beginning of option 60 of UEFI HTTP boot clients, and its whole value in the reply.
pub const HTTP_CLIENT: &[u8] = b"HTTPClient";

/// The encoding of an option's value (RFC 2132, unless the table names another RFC). Lengths are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One IPv4 address; 4 bytes.
    Ip,
    /// One or more IPv4 addresses; a multiple of 4 bytes.
    Ips,
    /// Any number of IPv4 addresses, also none; a multiple of 4 bytes.
    IpsOrNone,
    /// Pairs of IPv4 addresses, or of address and mask; a multiple of 8 bytes.
    IpPairs,
    /// 0 or 1; 1 byte.
    Bool,
    /// An unsigned number; 1 byte.
    U8,
    /// An unsigned number; 2 bytes.
    U16,
    /// A list of unsigned numbers of 1 byte.
    U8s,
    /// A list of unsigned numbers of 2 bytes.
    U16s,
    /// An unsigned number, often seconds; 4 bytes.
    U32,
    /// A signed number; 4 bytes.
    I32,
    /// Text of at least 1 byte.
    Text,
    /// DNS names without compression (RFC 1035 section 3.1).
    Names,
    /// DNS names with compression (RFC 3397 section 2, RFC 1035 section 4.1.4).
    SearchList,
    /// Classless static routes (RFC 3442).
    Routes,
    /// Opaque bytes.
    Bytes,
    /// No value, because the presence of the option is its meaning (RFC 4039); 0 bytes.
    Empty,
}

impl Kind {
    /// Whether `bytes` has a valid length for this kind, including the lengths inside it.
    ///
    /// Firmware parses options without checking lengths (PixieFail), so the server never sends a value that fails this
    /// check.
    pub fn fits(self, bytes: &[u8]) -> bool {
        let len = bytes.len();
        match self {
            Kind::Ip | Kind::U32 | Kind::I32 => len == 4,
            Kind::Ips => len > 0 && len.is_multiple_of(4),
            Kind::IpsOrNone => len.is_multiple_of(4),
            Kind::IpPairs => len > 0 && len.is_multiple_of(8),
            Kind::Bool | Kind::U8 => len == 1,
            Kind::U16 => len == 2,
            Kind::U16s => len > 0 && len.is_multiple_of(2),
            Kind::Text | Kind::Bytes | Kind::U8s => len > 0,
            Kind::Names => names::are_uncompressed(bytes),
            Kind::SearchList => names::read(bytes).is_some(),
            Kind::Routes => routes(bytes).is_some(),
            Kind::Empty => len == 0,
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition {
    pub code: u8,
    /// The name in config.yaml and in logs.
    pub name: &'static str,
    pub kind: Kind,
}

/// Returns the row of option `code`; `None` if the option is not registered.
pub fn by_code(code: u8) -> Option<&'static Definition> {
    TABLE.iter().find(|row| row.code == code)
}

/// Returns the row named `name`. Underscores and hyphens are equivalent.
pub fn by_name(name: &str) -> Option<&'static Definition> {
    let name = name.replace('-', "_");
    TABLE.iter().find(|row| row.name == name)
}

/// Displays an option's value by its kind. Bytes that do not fit the kind are shown in hexadecimal.
pub struct Printed<'a>(pub u8, pub &'a [u8]);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Printed(code, bytes) = self;
        let kind = by_code(*code).map_or(Kind::Bytes, |row| row.kind);
        // Clients may compress any names, and the server does so only where it may, so `fits` would refuse some.
        if matches!(kind, Kind::Names | Kind::SearchList)
            && let Some(names) = names::read(bytes)
        {
            return write_joined(f, names.iter().map(|labels| labels.join(&b'.')).map(Shown));
        }
        if !kind.fits(bytes) {
            return write_hex(f, bytes);
        }
        match kind {
            Kind::Ip | Kind::Ips | Kind::IpsOrNone | Kind::IpPairs => {
                write_joined(f, bytes.chunks_exact(4).map(ip_of))
            }
            Kind::Bool | Kind::U8 | Kind::U16 | Kind::U32 => write!(f, "{}", number_of(bytes)),
            Kind::U8s => write_joined(f, bytes.iter()),
            Kind::U16s => write_joined(f, bytes.chunks_exact(2).map(number_of)),
            Kind::I32 => write!(f, "{}", (*bytes).try_into().map_or(0, i32::from_be_bytes)),
            Kind::Text => write!(f, "{}", Quoted(bytes)),
            Kind::Empty => Ok(()),
            Kind::Routes => write_joined(f, routes(bytes).unwrap_or_default().into_iter()),
            Kind::Names | Kind::SearchList | Kind::Bytes => write_hex(f, bytes),
        }
    }
}

fn ip_of(bytes: &[u8]) -> Ipv4Addr {
    bytes.try_into().map_or(Ipv4Addr::UNSPECIFIED, |octets: [u8; 4]| Ipv4Addr::from(octets))
}

fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A route of option 121.
struct Route {
    to: Ipv4Addr,
    prefix: u8,
    via: Ipv4Addr,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} via {}", self.to, self.prefix, self.via)
    }
}

/// Decodes the routes of option 121 (RFC 3442): the prefix, the significant octets and the router of each. Returns
/// `None` if the value is malformed or empty.
fn routes(bytes: &[u8]) -> Option<Vec<Route>> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while let [prefix, tail @ ..] = rest {
        let (octets, tail) = tail.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let mut to = [0; 4];
        to.get_mut(..octets.len())?.copy_from_slice(octets);
        let (via, tail) = tail.split_at_checked(4)?;
        if *prefix > 32 {
            return None;
        }
        found.push(Route { to: Ipv4Addr::from(to), prefix: *prefix, via: ip_of(via) });
        rest = tail;
    }
    (!found.is_empty()).then_some(found)
}

/// Displays a name from the wire.
struct Shown(Vec<u8>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    for (i, item) in items.enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { "," })?;
    }
    Ok(())
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str(&to_hex(bytes))
}

macro_rules! table {
    ($($code:literal $name:ident $kind:ident $constant:ident;)*) => {
        /// Option codes by name.
        pub mod code {
            $(#[doc = concat!("Option ", stringify!($code), ", `", stringify!($name), "`.")]
            pub const $constant: u8 = $code;)*
        }

        /// All options that lanboot knows by name, in the order of their codes.
        pub const TABLE: &[Definition] =
            &[$(Definition { code: $code, name: stringify!($name), kind: Kind::$kind },)*];
    };
}

// RFC 2132 defines 1 to 61 and 64 to 76. The registry "BOOTP Vendor Extensions and DHCP Options" lists the documents of
// the others. Codes for vendors (128 to 135, 224 to 254) have no name; they are set by number.
table! {
    1 subnet_mask Ip SUBNET_MASK;
    2 time_offset I32 TIME_OFFSET;
    3 router Ips ROUTER;
    4 time_server Ips TIME_SERVER;
    5 name_server Ips NAME_SERVER;
    6 dns Ips DNS;
    7 log_server Ips LOG_SERVER;
    8 cookie_server Ips COOKIE_SERVER;
    9 lpr_server Ips LPR_SERVER;
    10 impress_server Ips IMPRESS_SERVER;
    11 resource_location_server Ips RESOURCE_LOCATION_SERVER;
    12 hostname Text HOSTNAME;
    13 boot_file_size U16 BOOT_FILE_SIZE;
    14 merit_dump_file Text MERIT_DUMP_FILE;
    15 domain Text DOMAIN;
    16 swap_server Ip SWAP_SERVER;
    17 root_path Text ROOT_PATH;
    18 extensions_path Text EXTENSIONS_PATH;
    19 ip_forwarding Bool IP_FORWARDING;
    20 non_local_source_routing Bool NON_LOCAL_SOURCE_ROUTING;
    21 policy_filter IpPairs POLICY_FILTER;
    22 max_datagram_reassembly U16 MAX_DATAGRAM_REASSEMBLY;
    23 default_ttl U8 DEFAULT_TTL;
    24 path_mtu_aging_timeout U32 PATH_MTU_AGING_TIMEOUT;
    25 path_mtu_plateau_table U16s PATH_MTU_PLATEAU_TABLE;
    26 interface_mtu U16 INTERFACE_MTU;
    27 all_subnets_local Bool ALL_SUBNETS_LOCAL;
    28 broadcast_address Ip BROADCAST_ADDRESS;
    29 perform_mask_discovery Bool PERFORM_MASK_DISCOVERY;
    30 mask_supplier Bool MASK_SUPPLIER;
    31 perform_router_discovery Bool PERFORM_ROUTER_DISCOVERY;
    32 router_solicitation_address Ip ROUTER_SOLICITATION_ADDRESS;
    33 static_routes IpPairs STATIC_ROUTES;
    34 trailer_encapsulation Bool TRAILER_ENCAPSULATION;
    35 arp_cache_timeout U32 ARP_CACHE_TIMEOUT;
    36 ethernet_encapsulation Bool ETHERNET_ENCAPSULATION;
    37 default_tcp_ttl U8 DEFAULT_TCP_TTL;
    38 tcp_keepalive_interval U32 TCP_KEEPALIVE_INTERVAL;
    39 tcp_keepalive_garbage Bool TCP_KEEPALIVE_GARBAGE;
    40 nis_domain Text NIS_DOMAIN;
    41 nis_servers Ips NIS_SERVERS;
    42 ntp Ips NTP;
    43 vendor_specific Bytes VENDOR_SPECIFIC;
    44 netbios_name_servers Ips NETBIOS_NAME_SERVERS;
    45 netbios_dd_servers Ips NETBIOS_DD_SERVERS;
    46 netbios_node_type U8 NETBIOS_NODE_TYPE;
    47 netbios_scope Text NETBIOS_SCOPE;
    48 x_font_servers Ips X_FONT_SERVERS;
    49 x_display_managers Ips X_DISPLAY_MANAGERS;
    50 requested_address Ip REQUESTED_ADDRESS;
    51 lease_time U32 LEASE_TIME;
    52 overload U8 OVERLOAD;
    53 message_type U8 MESSAGE_TYPE;
    54 server_identifier Ip SERVER_IDENTIFIER;
    55 parameter_request_list U8s PARAMETER_REQUEST_LIST;
    56 message Text MESSAGE;
    57 max_message_size U16 MAX_MESSAGE_SIZE;
    58 renewal_time U32 RENEWAL_TIME;
    59 rebinding_time U32 REBINDING_TIME;
    60 vendor_class Text VENDOR_CLASS;
    61 client_identifier Bytes CLIENT_IDENTIFIER;
    62 netware_ip_domain Text NETWARE_IP_DOMAIN;
    63 netware_ip_information Bytes NETWARE_IP_INFORMATION;
    64 nisplus_domain Text NISPLUS_DOMAIN;
    65 nisplus_servers Ips NISPLUS_SERVERS;
    66 tftp_server_name Text TFTP_SERVER_NAME;
    67 boot_file_name Text BOOT_FILE_NAME;
    68 mobile_ip_home_agents IpsOrNone MOBILE_IP_HOME_AGENTS;
    69 smtp_servers Ips SMTP_SERVERS;
    70 pop3_servers Ips POP3_SERVERS;
    71 nntp_servers Ips NNTP_SERVERS;
    72 www_servers Ips WWW_SERVERS;
    73 finger_servers Ips FINGER_SERVERS;
    74 irc_servers Ips IRC_SERVERS;
    75 streettalk_servers Ips STREETTALK_SERVERS;
    76 stda_servers Ips STDA_SERVERS;
    77 user_class Bytes USER_CLASS;
    78 slp_directory_agent Bytes SLP_DIRECTORY_AGENT;
    79 slp_service_scope Bytes SLP_SERVICE_SCOPE;
    80 rapid_commit Empty RAPID_COMMIT;
    81 fqdn Bytes FQDN;
    82 relay_agent_information Bytes RELAY_AGENT_INFORMATION;
    83 isns Bytes ISNS;
    85 nds_servers Ips NDS_SERVERS;
    86 nds_tree_name Text NDS_TREE_NAME;
    87 nds_context Text NDS_CONTEXT;
    88 bcmcs_domains Names BCMCS_DOMAINS;
    89 bcmcs_servers Ips BCMCS_SERVERS;
    90 authentication Bytes AUTHENTICATION;
    91 last_transaction_time U32 LAST_TRANSACTION_TIME;
    92 associated_addresses Ips ASSOCIATED_ADDRESSES;
    93 client_architecture U16s CLIENT_ARCHITECTURE;
    94 client_network_interface Bytes CLIENT_NETWORK_INTERFACE;
    95 ldap_url Text LDAP_URL;
    97 machine_identifier Bytes MACHINE_IDENTIFIER;
    98 user_authentication Text USER_AUTHENTICATION;
    99 civic_location Bytes CIVIC_LOCATION;
    100 posix_timezone Text POSIX_TIMEZONE;
    101 tzdb_timezone Text TZDB_TIMEZONE;
    108 ipv6_only_preferred U32 IPV6_ONLY_PREFERRED;
    109 dhcp4o6_source_address Bytes DHCP4O6_SOURCE_ADDRESS;
    112 netinfo_servers Ips NETINFO_SERVERS;
    113 netinfo_tag Text NETINFO_TAG;
    114 captive_portal Text CAPTIVE_PORTAL;
    116 auto_configure U8 AUTO_CONFIGURE;
    117 name_service_search U16s NAME_SERVICE_SEARCH;
    118 subnet_selection Ip SUBNET_SELECTION;
    119 domain_search SearchList DOMAIN_SEARCH;
    120 sip_servers Bytes SIP_SERVERS;
    121 classless_routes Routes CLASSLESS_ROUTES;
    122 cablelabs_client Bytes CABLELABS_CLIENT;
    123 geo_configuration Bytes GEO_CONFIGURATION;
    124 vendor_identifying_class Bytes VENDOR_IDENTIFYING_CLASS;
    125 vendor_identifying_information Bytes VENDOR_IDENTIFYING_INFORMATION;
    136 pana_agents Ips PANA_AGENTS;
    137 lost_server Names LOST_SERVER;
    138 capwap_controllers Ips CAPWAP_CONTROLLERS;
    139 mos_addresses Bytes MOS_ADDRESSES;
    140 mos_domains Bytes MOS_DOMAINS;
    141 sip_ua_domains Names SIP_UA_DOMAINS;
    142 andsf_servers Ips ANDSF_SERVERS;
    143 sztp_redirect Bytes SZTP_REDIRECT;
    144 geo_location Bytes GEO_LOCATION;
    145 forcerenew_nonce_capable U8s FORCERENEW_NONCE_CAPABLE;
    146 rdnss_selection Bytes RDNSS_SELECTION;
    147 dots_agent Names DOTS_AGENT;
    148 dots_addresses Ips DOTS_ADDRESSES;
    150 tftp_server_address Ips TFTP_SERVER_ADDRESS;
    151 status_code Bytes STATUS_CODE;
    152 base_time U32 BASE_TIME;
    153 start_time_of_state U32 START_TIME_OF_STATE;
    154 query_start_time U32 QUERY_START_TIME;
    155 query_end_time U32 QUERY_END_TIME;
    156 dhcp_state U8 DHCP_STATE;
    157 data_source U8 DATA_SOURCE;
    158 pcp_servers Bytes PCP_SERVERS;
    159 port_parameters Bytes PORT_PARAMETERS;
    160 captive_portal_old Text CAPTIVE_PORTAL_OLD;
    161 mud_url Text MUD_URL;
    162 encrypted_dns Bytes ENCRYPTED_DNS;
    175 etherboot Bytes ETHERBOOT;
    208 pxelinux_magic Bytes PXELINUX_MAGIC;
    209 pxelinux_config_file Text PXELINUX_CONFIG_FILE;
    210 pxelinux_path_prefix Text PXELINUX_PATH_PREFIX;
    211 pxelinux_reboot_time U32 PXELINUX_REBOOT_TIME;
    212 ipv6_rapid_deployment Bytes IPV6_RAPID_DEPLOYMENT;
    213 access_domain Names ACCESS_DOMAIN;
    220 subnet_allocation Bytes SUBNET_ALLOCATION;
    221 virtual_subnet_selection Bytes VIRTUAL_SUBNET_SELECTION;
    252 wpad Text WPAD;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_its_names_are_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        for row in TABLE {
            assert_eq!(by_name(row.name), Some(row));
            assert_eq!(by_code(row.code), Some(row));
        }
        assert_eq!(by_name("domain-search").map(|row| row.code), Some(code::DOMAIN_SEARCH));
    }

    #[test]
    fn values_print_by_their_kind_and_bad_lengths_as_hex() {
        assert_eq!(Printed(6, &[192, 168, 77, 1, 1, 1, 1, 1]).to_string(), "192.168.77.1,1.1.1.1");
        assert_eq!(Printed(51, &[0, 0, 14, 16]).to_string(), "3600");
        assert_eq!(Printed(51, &[14, 16]).to_string(), "0e10");
        assert_eq!(Printed(12, b"a\x1bb").to_string(), "\"a\\x1bb\"");
        assert_eq!(Printed(224, &[1, 255]).to_string(), "01ff");
        assert_eq!(Printed(55, &[1, 3, 119]).to_string(), "1,3,119");
    }

    #[test]
    fn rfc3397_and_rfc3442_names_and_routes_print_readably() {
        assert_eq!(Printed(119, b"\x03eng\x03lab\0\x02ad\xc0\x04").to_string(), "eng.lab,ad.lab");
        assert_eq!(Printed(119, b"\x02a\n\0").to_string(), "a\\x0a");
        assert_eq!(Printed(119, b"\x09ab").to_string(), "096162");
        let routes = [0, 10, 0, 0, 1, 25, 10, 229, 0, 128, 10, 0, 0, 2];
        assert_eq!(Printed(121, &routes).to_string(), "0.0.0.0/0 via 10.0.0.1,10.229.0.128/25 via 10.0.0.2");
        for bad in [&[][..], &[0, 10, 0, 0], &[33, 1, 2, 3, 4, 5, 10, 0, 0, 1], &routes[..13]] {
            assert!(!Kind::Routes.fits(bad), "{bad:?}");
        }
    }
}
