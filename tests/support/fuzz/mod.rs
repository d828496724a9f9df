//! Properties that hold for any bytes: the checks of the fuzz targets of tests/fuzz. `cargo test` also runs them on the
//! stored corpora (tests/rules/corpus.rs).

pub mod bytes;
pub mod config;
pub mod decide;
pub mod decode;
pub mod http;
pub mod import;
pub mod import_dnsmasq;
pub mod import_servers;
pub mod reply;
pub mod sequence;
pub mod tftp;
pub mod transfer;

/// A target's name and its check.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by the name of its corpus.
pub const TARGETS: [Target; 11] = [
    ("dhcp_decode", decode::check),
    ("dhcp_decide", decide::check),
    ("dhcp_sequence", sequence::check),
    ("config", config::check),
    ("leases_import", import::check),
    ("import_dnsmasq", import_dnsmasq::check),
    ("import_kea", import_servers::check_kea),
    ("import_dhcpd", import_servers::check_dhcpd),
    ("tftp_request", tftp::check),
    ("tftp_transfer", transfer::check),
    ("http_request", http::check),
];
