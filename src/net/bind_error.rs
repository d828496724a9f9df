//! Explains to the administrator why a port could not be bound: missing rights, or another program that holds it. Every
//! listener of the server calls this when `bind` fails. It never changes or stops the other program.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::net::StartError;

/// A program that is known to hold ports of DHCP, TFTP or HTTP.
struct Program {
    /// The start of its process name.
    name: &'static str,
    /// The ports that it holds by default.
    uses: &'static [(Protocol, u16)],
    /// How to make it free the port.
    advice: &'static str,
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    /// The kernel's lists of sockets, joined. A socket of IPv6 may hold the port of IPv4 too.
    fn table(self) -> String {
        let files = match self {
            Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
            Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        };
        files.map(|file| fs::read_to_string(file).unwrap_or_default()).concat()
    }

    /// The command that shows the owner of a socket.
    fn command(self) -> &'static str {
        match self {
            Protocol::Udp => "ss -lunp",
            Protocol::Tcp => "ss -ltnp",
        }
    }
}

const fn program(name: &'static str, uses: &'static [(Protocol, u16)], advice: &'static str) -> Program {
    Program { name, uses, advice }
}

const DHCP: (Protocol, u16) = (Protocol::Udp, 67);
const TFTP: (Protocol, u16) = (Protocol::Udp, 69);
const PROXY: (Protocol, u16) = (Protocol::Udp, 4011);
const SYSLOG: (Protocol, u16) = (Protocol::Udp, 514);
const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);

/// If several of these programs run and use a port, the first in this list is the most likely holder. systemd-networkd
/// comes last: it runs on many computers and is a DHCP server on few.
const PROGRAMS: &[Program] = &[
    program(
        "lanboot",
        &[DHCP, TFTP, PROXY, HTTP],
        "another lanboot is running: stop it with `systemctl stop lanboot`",
    ),
    program(
        "dnsmasq",
        &[DHCP, TFTP, PROXY],
        "stop it with `systemctl stop dnsmasq`, or if libvirt runs it, `virsh net-destroy default`",
    ),
    program("dhcpd", &[DHCP], "stop it with `systemctl stop isc-dhcp-server`"),
    program("kea-dhcp4", &[DHCP], "stop it with `systemctl stop kea-dhcp4-server`"),
    program("rsyslogd", &[SYSLOG], "take `imudp` and `imtcp` out of its configuration, in /etc/rsyslog.conf"),
    program("udhcpd", &[DHCP], "stop it"),
    program("in.tftpd", &[TFTP], "stop it with `systemctl stop tftpd-hpa`"),
    program("atftpd", &[TFTP], "stop it with `systemctl stop atftpd`"),
    program("inetd", &[TFTP], "take its tftp line out of /etc/inetd.conf"),
    program("nginx", &[HTTP], "stop it with `systemctl stop nginx`"),
    program("apache2", &[HTTP], "stop it with `systemctl stop apache2`"),
    program("httpd", &[HTTP], "stop it with `systemctl stop httpd`"),
    program("lighttpd", &[HTTP], "stop it with `systemctl stop lighttpd`"),
    program("caddy", &[HTTP], "stop it with `systemctl stop caddy`"),
    program(
        "systemd-network",
        &[DHCP],
        "set DHCPServer=no in the .network file of systemd-networkd, or stop systemd-networkd",
    ),
];

/// Explains why the UDP port of `address` could not be bound. `key` is the configuration key of the port. `or_proxy` is
/// set if proxyDHCP could work without the port.
pub fn explain(address: SocketAddr, key: &str, or_proxy: bool, error: &io::Error) -> StartError {
    let port = address.port();
    StartError(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let (by, advice) = holder(Protocol::Udp, port, &processes());
            let instead = match (port, or_proxy) {
                (67, true) => ", or leave the addresses to it with `dhcp.mode: proxy`".to_owned(),
                (69, _) => {
                    format!(
                        ", or set `tftp: off`; other ports in `{key}` are for tests: firmware asks 69 only"
                    )
                }
                // Firmware asks no other ports than 67 and 4011 either.
                (67 | 4011, _) => String::new(),
                _ => format!(", or set another port in `{key}`"),
            };
            format!("{address} is in use by {by}: {advice}{instead}")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "{}; ports above 1023 in `{key}` are for tests: firmware asks no others than 67 and 69",
                denied(address)
            )
        }
        _ => cannot_bind(address, error),
    })
}

/// Like [`explain`], for the TCP port of HTTP.
pub fn explain_http(address: SocketAddr, error: &io::Error) -> StartError {
    const INSTEAD: &str =
        "another port in `http.port` (boot URLs then name it: http://{server}:8080/…), or `http: off`";
    StartError(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let (by, advice) = holder(Protocol::Tcp, address.port(), &processes());
            format!("{address} is in use by {by}: {advice}, or set {INSTEAD}")
        }
        io::ErrorKind::PermissionDenied => format!("{}, or set {INSTEAD}", denied(address)),
        _ => cannot_bind(address, error),
    })
}

fn denied(address: SocketAddr) -> String {
    format!(
        "permission denied binding {address}: run as root or grant CAP_NET_BIND_SERVICE \
         (systemd/lanboot.service does)"
    )
}

fn cannot_bind(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot bind {address}: no interface of this machine has that address (`ip address` lists them)"
        ),
        _ => format!("cannot bind {address}: {error}"),
    }
}

/// Names the process that holds `port`, and says what to do about it.
fn holder(protocol: Protocol, port: u16, processes: &[Process]) -> (String, String) {
    let sockets = sockets_on(port, &protocol.table());
    let owner = processes.iter().find(|process| sockets.iter().any(|inode| process.has_socket(inode)));
    if let Some(owner) = owner {
        let by = format!("{} (process {})", owner.name, owner.pid);
        let known = PROGRAMS.iter().find(|known| owner.name.starts_with(known.name));
        return (by, known.map_or("stop it", |known| known.advice).to_owned());
    }
    // Without root, the owner of another user's socket is hidden, but process names are not.
    let mut users = PROGRAMS.iter().filter(|known| known.uses.contains(&(protocol, port)));
    let likely = users.find_map(|known| {
        let process = processes.iter().find(|process| process.name.starts_with(known.name))?;
        Some((process, known.advice))
    });
    match likely {
        Some((process, advice)) => (
            format!("another program, probably {} (process {})", process.name, process.pid),
            advice.to_owned(),
        ),
        None => {
            let command = protocol.command();
            ("another program".to_owned(), format!("find it with `{command} 'sport = :{port}'` as root"))
        }
    }
}

/// The processes that hold `port`, as far as this user may see them.
pub fn holders(protocol: Protocol, port: u16) -> Vec<u32> {
    let sockets = sockets_on(port, &protocol.table());
    let holds = |process: &Process| sockets.iter().any(|inode| process.has_socket(inode));
    processes().iter().filter(|process| holds(process)).map(|process| process.pid).collect()
}

/// Whether a socket is bound to the port of `address`, at this address or at all addresses. Any user may see that.
pub fn is_taken(protocol: Protocol, address: SocketAddr) -> bool {
    let is_any = |ip: &str| ip.bytes().all(|digit| digit == b'0');
    // The kernel prints words of 32 bits in the byte order of the processor.
    let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
    let own: String = match address.ip() {
        IpAddr::V4(ip) => word(ip.octets()),
        IpAddr::V6(ip) => ip.octets().as_chunks::<4>().0.iter().map(|bytes| word(*bytes)).collect(),
    };
    let is_it = |line: &str| {
        let (ip, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(port == address.port() && (is_any(ip) || ip == own || is_any(&own)))
    };
    protocol.table().lines().any(|line| is_it(line) == Some(true))
}

/// Returns the inode numbers of the sockets bound to `port`, from the text of `/proc/net/udp` or `/proc/net/tcp`.
fn sockets_on(port: u16, table: &str) -> Vec<String> {
    let on_port = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let (_, hex) = local.rsplit_once(':')?;
        let inode = fields.nth(7)?;
        (u16::from_str_radix(hex, 16).ok()? == port).then(|| inode.to_owned())
    };
    table.lines().filter_map(on_port).collect()
}

struct Process {
    pid: u32,
    name: String,
}

impl Process {
    fn has_socket(&self, inode: &str) -> bool {
        let wanted = format!("socket:[{inode}]");
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(&wanted)))
    }
}

/// All processes except this one.
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let process = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (pid != std::process::id()).then(|| Process { pid, name: name.trim().to_owned() })
    };
    entries.flatten().filter_map(process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_socket_table_is_parsed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             314: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 98765 2 0 0\n\
             315: 0100007F:1A6F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11111 2 0 0\n";
        assert_eq!(sockets_on(67, table), ["98765"]);
        assert_eq!(sockets_on(0x1a6f, table), ["11111"]);
        assert!(sockets_on(69, table).is_empty());
    }

    #[test]
    fn errors_give_the_address_and_advice() {
        let address = "0.0.0.0:67".parse().unwrap();
        let denied =
            explain(address, "dhcp.ports.server", true, &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(
            denied.starts_with(
                "permission denied binding 0.0.0.0:67: run as root or grant CAP_NET_BIND_SERVICE"
            )
        );
        let busy = explain(address, "dhcp.ports.server", true, &io::ErrorKind::AddrInUse.into()).to_string();
        assert!(busy.starts_with("0.0.0.0:67 is in use by "), "{busy}");
        assert!(busy.ends_with(", or leave the addresses to it with `dhcp.mode: proxy`"), "{busy}");
        assert!(
            denied.ends_with("`dhcp.ports.server` are for tests: firmware asks no others than 67 and 69"),
            "{denied}"
        );
        let taken = explain_http(address, &io::ErrorKind::AddrInUse.into()).to_string();
        assert!(taken.starts_with("0.0.0.0:67 is in use by ") && taken.contains("`http: off`"), "{taken}");
    }

    #[test]
    fn a_hidden_owner_is_guessed_by_its_default_ports() {
        // No process has the number 0, so no process is found to own a socket.
        let process = |name: &str| Process { pid: 0, name: name.to_owned() };
        let running = ["python3", "systemd-network", "dnsmasq", "nginx"].map(process);
        let guess = |protocol, port| holder(protocol, port, &running).0;
        assert_eq!(guess(Protocol::Udp, 67), "another program, probably dnsmasq (process 0)");
        assert_eq!(guess(Protocol::Udp, 4011), "another program, probably dnsmasq (process 0)");
        assert_eq!(guess(Protocol::Tcp, 80), "another program, probably nginx (process 0)");
        let (by, advice) = holder(Protocol::Tcp, 8080, &running);
        assert_eq!(by, "another program");
        assert_eq!(advice, "find it with `ss -ltnp 'sport = :8080'` as root");
    }
}
