//! Why a port cannot be bound, in words that help: missing rights, or who has it.

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::Path;

use crate::server::StartError;

/// Programs known to hold the ports of DHCP, TFTP and HTTP, and how to make them let go.
const KNOWN: &[(&str, &str)] = &[
    ("dnsmasq", "stop it with `systemctl stop dnsmasq`, or if libvirt runs it, `virsh net-destroy default`"),
    (
        "systemd-network",
        "set DHCPServer=no in the .network file of systemd-networkd, or stop systemd-networkd",
    ),
    ("dhcpd", "stop it with `systemctl stop isc-dhcp-server`"),
    ("kea-dhcp4", "stop it with `systemctl stop kea-dhcp4-server`"),
    ("in.tftpd", "stop it with `systemctl stop tftpd-hpa`"),
    ("atftpd", "stop it with `systemctl stop atftpd`"),
    ("inetd", "take its tftp line out of /etc/inetd.conf"),
    ("udhcpd", "stop it"),
    ("nginx", "stop it with `systemctl stop nginx`"),
    ("apache2", "stop it with `systemctl stop apache2`"),
    ("httpd", "stop it with `systemctl stop httpd`"),
    ("lighttpd", "stop it with `systemctl stop lighttpd`"),
    ("caddy", "stop it with `systemctl stop caddy`"),
    ("lanboot", "another lanboot is running: stop it with `systemctl stop lanboot`"),
];

/// What to tell a person when binding the UDP port of `address` failed with `error`; `key` is where the port is set.
pub fn explain(address: SocketAddrV4, key: &str, error: &io::Error) -> StartError {
    StartError(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let (by, advice) = holder(address.port(), "/proc/net/udp", "ss -lunp");
            format!("{address} is in use by {by}: {advice}, or set another port in `{key}`")
        }
        _ => cannot_bind(address, key, error),
    })
}

/// As [`explain`], for the TCP port of HTTP.
pub fn explain_http(address: SocketAddrV4, error: &io::Error) -> StartError {
    StartError(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let (by, advice) = holder(address.port(), "/proc/net/tcp", "ss -ltnp");
            format!(
                "{address} is in use by {by}: {advice}, or set another port in `http.port` (boot URLs then name it: \
                 http://{{server}}:8080/…), or `http: off`"
            )
        }
        _ => cannot_bind(address, "http.port", error),
    })
}

fn cannot_bind(address: SocketAddrV4, key: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "permission denied binding {address}: run as root or grant CAP_NET_BIND_SERVICE \
             (systemd/lanboot.service does), or set a port above 1023 in `{key}`"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot bind {address}: no interface of this machine has that address (`ip address` lists them)"
        ),
        _ => format!("cannot bind {address}: {error}"),
    }
}

/// Who has the port `port`, of those in the kernel's `table`, and what to do about it; `command` lists them.
fn holder(port: u16, table: &str, command: &str) -> (String, String) {
    let processes = processes();
    let sockets = sockets_on(port, &fs::read_to_string(table).unwrap_or_default());
    let owner = processes.iter().find(|process| sockets.iter().any(|inode| process.has_socket(inode)));
    if let Some(owner) = owner {
        let by = format!("{} (process {})", owner.name, owner.pid);
        return (by, advice(&owner.name).unwrap_or("stop it").to_owned());
    }
    // Without root another user's sockets cannot be seen, but its processes' names can.
    let likely = processes.iter().find_map(|process| Some((process, advice(&process.name)?)));
    match likely {
        Some((process, advice)) => (
            format!("another program, probably {} (process {})", process.name, process.pid),
            advice.to_owned(),
        ),
        None => ("another program".to_owned(), format!("find it with `{command} 'sport = :{port}'` as root")),
    }
}

fn advice(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| name.starts_with(known)).map(|(_, advice)| *advice)
}

/// The inode numbers of the sockets bound to `port`, from the text of /proc/net/udp or tcp.
fn sockets_on(port: u16, table: &str) -> Vec<String> {
    let on_port = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let (_, hex) = local.rsplit_once(':')?;
        let inode = fields.nth(7)?;
        (u16::from_str_radix(hex, 16).ok()? == port).then(|| inode.to_owned())
    };
    table.lines().skip(1).filter_map(on_port).collect()
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

/// All processes but this one.
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
    fn the_socket_table_of_the_kernel_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             314: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 98765 2 0 0\n\
             315: 0100007F:1A6F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11111 2 0 0\n";
        assert_eq!(sockets_on(67, table), ["98765"]);
        assert_eq!(sockets_on(0x1a6f, table), ["11111"]);
        assert!(sockets_on(69, table).is_empty());
    }

    #[test]
    fn errors_say_what_was_attempted_and_what_to_do() {
        let address = "0.0.0.0:67".parse().unwrap();
        let denied =
            explain(address, "dhcp.ports.server", &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(
            denied.starts_with(
                "permission denied binding 0.0.0.0:67: run as root or grant CAP_NET_BIND_SERVICE"
            )
        );
        let busy = explain(address, "dhcp.ports.server", &io::ErrorKind::AddrInUse.into()).to_string();
        assert!(busy.starts_with("0.0.0.0:67 is in use by ") && busy.contains("dhcp.ports.server"), "{busy}");
        let taken = explain_http(address, &io::ErrorKind::AddrInUse.into()).to_string();
        assert!(taken.starts_with("0.0.0.0:67 is in use by ") && taken.contains("`http: off`"), "{taken}");
    }
}
