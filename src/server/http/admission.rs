//! Decides which requests are answered at all: by the client's address, and for browsers by their name for this server.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::Config;
use crate::event::HttpRefusal;
use crate::http::{Request, target};
use crate::net::snapshot::Now;

/// The kernel's file with this computer's host name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The admitted clients. The default admits all.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    now: Option<Now>,
    /// This computer's names, which clients may use besides its addresses.
    names: Vec<String>,
}

impl Admission {
    /// Admits clients in the served networks and in those of `http.allow`.
    pub fn new(now: Now) -> Admission {
        let host_name = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
        let host_name = host_name.trim();
        let mut names =
            Vec::from([host_name, host_name.split('.').next().unwrap_or_default()].map(str::to_owned));
        names.retain(|name| !name.is_empty());
        Admission { now: Some(now), names }
    }

    /// Whether a client at `address` is admitted: as for TFTP, and also this computer over loopback.
    pub fn admits(&self, address: IpAddr) -> bool {
        let Some(now) = &self.now else { return true };
        let now = now.borrow();
        let mut networks =
            now.config.http.iter().flat_map(|http| &http.allow).chain(&now.interfaces.networks);
        let address = address.to_canonical();
        address.is_loopback()
            || matches!(address, IpAddr::V4(address) if networks.any(|network| network.contains(address)))
    }

    /// Refuses a browser's request that uses a foreign name for this server. A web page's owner can point such a name
    /// to this server, and could then read boot files as its own (DNS rebinding). Firmware, loaders and installers send
    /// neither Origin nor Sec-Fetch-*, and may use any name.
    ///
    /// # Errors
    /// [`HttpRefusal::ForeignHost`].
    pub fn check_host(&self, request: &Request<'_>) -> Result<(), HttpRefusal> {
        if !request.is_of_browser() {
            return Ok(());
        }
        // The authority of an absolute target precedes Host (RFC 9112 section 3.2.2).
        let host = match target::authority(request.target) {
            Some(authority) => Some(authority),
            None => request.one("host").and_then(|host| std::str::from_utf8(host).ok()),
        };
        if host.is_some_and(|host| self.is_own_name(host)) { Ok(()) } else { Err(HttpRefusal::ForeignHost) }
    }

    /// Whether `host`, with or without a port, is a name of this server.
    fn is_own_name(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            let is_ours = |now: &Now| now.borrow().interfaces.own.contains(&address);
            return address.is_loopback() || self.now.as_ref().is_some_and(is_ours);
        }
        let is_in_url =
            |now: &Now| names_in_urls(&now.borrow().config).iter().any(|own| own.eq_ignore_ascii_case(name));
        name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
            || self.now.as_ref().is_some_and(is_in_url)
    }
}

/// The host names in URLs of boot files and targets, because people may open these in a browser too.
fn names_in_urls(config: &Config) -> Vec<String> {
    let policy = config.dhcp.as_ref().map(|settings| &settings.boot);
    let by_dhcp = policy.into_iter().flat_map(|boot| boot.arch.values().chain(&boot.ipxe).chain(&boot.bootp));
    let targets = &config.targets;
    let by_targets =
        targets.list.iter().flat_map(|target| std::iter::once(&target.kernel).chain(&target.initrd));
    let urls = by_dhcp.chain(by_targets).chain(&targets.ipxe);
    let authorities = urls.filter_map(|url| target::authority(url));
    authorities.map(|host| host.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::served::Served;
    use crate::net::snapshot::Snapshot;

    fn admission(yaml: &str, networks: &[&str]) -> Admission {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        let own = vec![Ipv4Addr::new(192, 168, 77, 1)];
        let mut served = Served::new(Vec::new(), networks);
        served.own = own;
        Admission::new(Snapshot::new(crate::config::load(yaml).unwrap(), served).fixed())
    }

    #[test]
    fn s_10_served_networks_and_loopback_are_admitted() {
        let yaml = "{dhcp: {mode: off}, http: {allow: [10.9.0.0/16]}}";
        let admission = admission(yaml, &["192.168.77.0/24", "10.1.0.0/24"]);
        for (address, expected) in [
            ([192, 168, 77, 9], true),
            ([10, 1, 0, 7], true),
            ([10, 9, 8, 7], true),
            ([127, 3, 2, 1], true),
            ([192, 168, 78, 9], false),
            ([203, 0, 113, 5], false),
        ] {
            assert_eq!(admission.admits(address.into()), expected, "{address:?}");
        }
    }

    #[test]
    fn s_16_only_browsers_must_know_the_servers_name() {
        let yaml = "{dhcp: {mode: off}, targets: {a: {kernel: 'http://boot.example:8080/linux'}}}";
        let admission = admission(yaml, &[]);
        let check = |target: &str, fields: &str| {
            let head = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
            admission.check_host(&Request::parse(head.as_bytes()).unwrap())
        };
        let own = std::fs::read_to_string(HOST_NAME).unwrap();
        let own = own.trim();
        for host in
            ["192.168.77.1", "192.168.77.1:80", "127.0.0.1:8080", "LOCALHOST", "boot.example:8080", own]
        {
            for browser in ["Origin: http://x\r\n", "Sec-Fetch-Mode: cors\r\n", ""] {
                assert_eq!(check("/x", &format!("Host: {host}\r\n{browser}")), Ok(()), "{host} {browser}");
            }
        }
        let foreign = Err(HttpRefusal::ForeignHost);
        for host in
            ["evil.example", "192.168.77.2", "localhost.evil.example", "boot.example.evil:80", "[::1]", ""]
        {
            assert_eq!(check("/x", &format!("Host: {host}\r\n")), Ok(()), "firmware may say {host:?}");
            for browser in ["origin: null\r\n", "SEC-FETCH-SITE: same-origin\r\n", "sec-fetch-user: ?1\r\n"] {
                assert_eq!(check("/x", &format!("Host: {host}\r\n{browser}")), foreign, "{host:?} {browser}");
            }
        }
        let browser = "Host: localhost\r\nOrigin: http://evil.example\r\n";
        assert_eq!(check("http://evil.example/x", browser), foreign, "the target names the host");
        assert_eq!(check("http://localhost/x", &browser.replace("Host: localhost", "Host: evil")), Ok(()));
    }
}
