//! The names of this server that browsers may use. A web page's owner can point another name to this server, and could
//! then read the API as its own (DNS rebinding).

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::http::uri::Authority;

use crate::net::snapshot::Snapshot;

/// The kernel's file with this computer's host name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// This computer's host name, with and without its domain. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HostNames(Arc<[String]>);

impl HostNames {
    /// Reads the host name.
    pub fn read() -> HostNames {
        HostNames::of(&std::fs::read_to_string(HOST_NAME).unwrap_or_default())
    }

    fn of(host_name: &str) -> HostNames {
        let host_name = host_name.trim();
        let short = host_name.split('.').next().unwrap_or_default();
        HostNames(
            [host_name, short].iter().filter(|name| !name.is_empty()).map(ToString::to_string).collect(),
        )
    }

    /// Whether `host`, the value of a Host field, is a name of this server. `local` is the address that the client
    /// connected to. An address as such is never another page's name.
    pub(super) fn is_own(&self, host: &str, local: IpAddr, snapshot: &Snapshot) -> bool {
        let Ok(authority) = Authority::from_str(host) else { return false };
        let name = authority.host();
        let port = authority.as_str().strip_prefix(name).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
            return false;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = address.parse::<IpAddr>() {
            let address = address.to_canonical();
            let is_ours = |address| snapshot.interfaces.own.iter().any(|own| IpAddr::from(*own) == address);
            return address.is_loopback() || address == local.to_canonical() || is_ours(address);
        }
        let configured = snapshot.config.web.iter().flat_map(|web| &web.names);
        name.eq_ignore_ascii_case("localhost")
            || self.0.iter().chain(configured).any(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::served::Served;
    use std::net::Ipv4Addr;

    #[test]
    fn w_07_only_own_names_are_accepted() {
        let names = HostNames::of("boot1.lab.example\n");
        let config = crate::config::load("{dhcp: {mode: off}, web: {names: [pxe.example]}}").unwrap();
        let mut served = Served::new(Vec::new(), []);
        served.own = vec![Ipv4Addr::new(192, 168, 77, 1)];
        let snapshot = Snapshot::new(config, served);
        let local = IpAddr::from([10, 0, 0, 1]);
        for host in [
            "localhost",
            "LOCALHOST:8067",
            "127.0.0.1:8067",
            "127.9.9.9",
            "[::1]:8067",
            "192.168.77.1",
            "10.0.0.1:80",
            "boot1",
            "BOOT1.lab.example:8067",
            "boot1.lab.example.",
            "pxe.example:8067",
        ] {
            assert!(names.is_own(host, local, &snapshot), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8067",
            "localhost.evil.example",
            "192.168.77.2",
            "10.0.0.2",
            "[::2]",
            "boot1.evil.example",
            "user@localhost",
            "localhost:x",
            "localhost/",
            "boot1 ",
            "127.0.0.1.evil.example",
        ] {
            assert!(!names.is_own(host, local, &snapshot), "{host}");
        }
    }
}
