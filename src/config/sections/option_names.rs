//! Maps the names that other DHCP servers use for options to lanboot's options, so that error messages can suggest
//! the right one.

use crate::config::syntax::reader::suggestion;
use crate::wire::option::{TABLE, by_code};

/// Names in dnsmasq (`dnsmasq --help dhcp`), ISC dhcpd (dhcp-options(5)), Kea and common usage for options that
/// lanboot names differently. They are searched before similar spellings, because some resemble the name of an
/// unrelated option.
const OTHER_NAMES: &[(&str, u8)] = &[
    ("netmask", 1),
    ("mask", 1),
    ("routers", 3),
    ("gateway", 3),
    ("gateways", 3),
    ("default_gateway", 3),
    ("time_servers", 4),
    ("ien116_name_servers", 5),
    ("dns_server", 6),
    ("dns_servers", 6),
    ("domain_name_server", 6),
    ("domain_name_servers", 6),
    ("name_servers", 6),
    ("nameserver", 6),
    ("nameservers", 6),
    ("log_servers", 7),
    ("cookie_servers", 8),
    ("syslog", 7),
    ("lpr_servers", 9),
    ("impress_servers", 10),
    ("resource_location_servers", 11),
    ("host_name", 12),
    ("boot_size", 13),
    ("merit_dump", 14),
    ("domain_name", 15),
    ("rootpath", 17),
    ("extension_path", 18),
    ("ip_forward_enable", 19),
    ("max_dgram_reassembly", 22),
    ("default_ip_ttl", 23),
    ("mtu", 26),
    ("broadcast", 28),
    ("router_discovery", 31),
    ("router_solicitation", 32),
    ("static_route", 33),
    ("arp_timeout", 35),
    ("ethernet_encap", 36),
    ("ieee802_3_encapsulation", 36),
    ("tcp_ttl", 37),
    ("tcp_keepalive", 38),
    ("nis_server", 41),
    ("ntp_server", 42),
    ("ntp_servers", 42),
    ("vendor_encap", 43),
    ("vendor_encapsulated_options", 43),
    ("netbios_ns", 44),
    ("wins", 44),
    ("wins_server", 44),
    ("wins_servers", 44),
    ("netbios_dd", 45),
    ("netbios_dd_server", 45),
    ("netbios_nodetype", 46),
    ("font_servers", 48),
    ("x_windows_fs", 48),
    ("x_display_manager", 49),
    ("x_windows_dm", 49),
    ("lease", 51),
    ("dhcp_lease_time", 51),
    ("default_lease_time", 51),
    ("max_lease_time", 51),
    ("dhcp_server_identifier", 54),
    ("t1", 58),
    ("dhcp_renewal_time", 58),
    ("t2", 59),
    ("dhcp_rebinding_time", 59),
    ("vendor_class_identifier", 60),
    ("nis+_domain", 64),
    ("nis+_server", 65),
    ("tftp_server", 66),
    ("bootfile", 67),
    ("bootfile_name", 67),
    ("mobile_ip_home", 68),
    ("smtp_server", 69),
    ("pop_server", 70),
    ("pop3_server", 70),
    ("nntp_server", 71),
    ("www_server", 72),
    ("irc_server", 74),
    ("pcode", 100),
    ("timezone", 100),
    ("tcode", 101),
    ("v6_only_preferred", 108),
    ("v4_captive_portal", 114),
    ("default_url", 114),
    ("search", 119),
    ("search_domain", 119),
    ("search_domains", 119),
    ("domain_search_list", 119),
    ("sip_server", 120),
    ("classless_route", 121),
    ("classless_static_route", 121),
    ("classless_static_routes", 121),
    ("rfc3442_classless_static_routes", 121),
    ("wpad_url", 252),
];

/// Code of the option that another server calls `name`.
pub(in crate::config) fn code_by_other_name(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, code)| *code)
}

/// Suggestion for an error message about the unknown option `name`.
pub(in crate::config) fn unknown_name_hint(name: &str) -> String {
    if let Some(row) = code_by_other_name(name).and_then(by_code) {
        return format!("; did you mean `{}`?", row.name);
    }
    let underscored = name.to_ascii_lowercase().replace('-', "_");
    suggestion(&underscored, TABLE.iter().map(|row| row.name)).unwrap_or_else(|| {
        "; docs/options.md has the names, and a number from 1 to 254 works for any option".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::option::by_name;

    #[test]
    fn other_names_are_not_ours_and_map_to_known_options() {
        for (name, code) in OTHER_NAMES {
            assert_eq!(by_name(name), None, "{name}");
            assert!(by_code(*code).is_some(), "{name}");
        }
    }

    #[test]
    fn names_of_other_servers_lead_to_our_option() {
        for (name, ours) in [
            ("ntp_servers", "ntp"),
            ("NTP-Server", "ntp"),
            ("dns_servers", "dns"),
            ("domain-name-servers", "dns"),
            ("name_servers", "dns"),
            ("domain_name", "domain"),
            ("wins", "netbios_name_servers"),
            ("mtu", "interface_mtu"),
            ("gateway", "router"),
            ("search_domains", "domain_search"),
            ("hostnam", "hostname"),
        ] {
            assert_eq!(unknown_name_hint(name), format!("; did you mean `{ours}`?"), "{name}");
        }
    }
}
