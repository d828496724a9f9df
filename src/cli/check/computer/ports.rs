//! The ports of the configuration: whether they are free, and which program holds them. Each port is bound for a moment.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use super::findings::Findings;
use crate::boot::plan::Mode;
use crate::cli::config_file::{Loaded, PLACES};
use crate::config::Config;
use crate::net::bind_error::{self, Protocol};
use crate::net::served;
use crate::store::holder_of_lock;

const PART: &str = "ports";

/// A port that the server binds.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Port {
    pub(in crate::cli) protocol: Protocol,
    pub(in crate::cli) address: SocketAddr,
    pub(in crate::cli) key: &'static str,
    /// Whether the server starts without it.
    pub(in crate::cli) is_optional: bool,
}

/// The ports that other programs hold, with those programs as far as this user may see them.
pub(in crate::cli) fn taken(loaded: &Loaded) -> Vec<(Port, Vec<u32>)> {
    let is_taken = |port: &Port| match bind(port) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bind_error::is_taken(port.protocol, port.address)
        }
        _ => false,
    };
    let taken = ports(&loaded.config).into_iter().filter(is_taken);
    let with_holders = taken.map(|port| (port, bind_error::holders(port.protocol, port.address.port())));
    with_holders.filter(|(_, holders)| !holders.iter().any(|pid| is_ours(*pid, loaded))).collect()
}

pub(super) fn check(loaded: &Loaded, found: &mut Findings) {
    for port in ports(&loaded.config) {
        let Err(error) = bind(&port) else { continue };
        let holders = bind_error::holders(port.protocol, port.address.port());
        if holders.iter().any(|pid| is_ours(*pid, loaded)) {
            continue;
        }
        match error.kind() {
            ErrorKind::AddrInUse if port.is_optional => {
                let why = explain(&port, loaded, &error);
                found.note(PART, format!("{why}; clients that ask there for their boot file get no answer"));
            }
            ErrorKind::AddrInUse => found.problem(PART, explain(&port, loaded, &error)),
            // Without the right to bind it, the kernel's table still shows whether it is taken.
            ErrorKind::PermissionDenied if bind_error::is_taken(port.protocol, port.address) => {
                found.problem(PART, explain(&port, loaded, &ErrorKind::AddrInUse.into()));
            }
            ErrorKind::PermissionDenied => {
                let message = format!("not checked: {}", explain(&port, loaded, &error));
                found.note(PART, message);
            }
            // Already reported as an address that this computer does not have.
            ErrorKind::AddrNotAvailable => {}
            _ => found.problem(PART, explain(&port, loaded, &error)),
        }
    }
}

/// Checks the addresses and the certificate of the web listener.
pub(super) fn check_web(loaded: &Loaded, found: &mut Findings) {
    let Some(web) = &loaded.config.web else { return };
    for address in &web.listen {
        let Err(error) = TcpListener::bind(address) else { continue };
        let holders = bind_error::holders(Protocol::Tcp, address.port());
        if error.kind() == ErrorKind::AddrInUse && holders.iter().any(|pid| is_ours(*pid, loaded)) {
            continue;
        }
        let why = format!("{address} cannot be bound for `web.listen`: {error}");
        if web.is_listen_given {
            found.problem(PART, why);
        } else {
            found.note(PART, format!("{why}; the server starts without the web listener"));
        }
    }
    if let Err(why) = crate::server::web::check_certificate(&loaded.config) {
        found.problem(PART, why);
    }
}

fn explain(port: &Port, loaded: &Loaded, error: &io::Error) -> String {
    let or_proxy = loaded.config.dhcp.as_ref().is_some_and(|settings| settings.modes.has(Mode::Server));
    match port.protocol {
        Protocol::Udp => bind_error::explain(port.address, port.key, or_proxy, error).to_string(),
        Protocol::Tcp => bind_error::explain_http(port.address, error).to_string(),
    }
}

/// The ports that the server would bind now.
fn ports(config: &Config) -> Vec<Port> {
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let mut ports = Vec::new();
    let mut udp = |address, key, is_optional| {
        ports.push(Port { protocol: Protocol::Udp, address, key, is_optional });
    };
    if let Some(settings) = &config.dhcp {
        // A proxy reads port 67 from the wire if another server holds it.
        let is_server = served::may_be(config, Mode::Server);
        if is_server {
            udp(any(settings.ports.server), "dhcp.ports.server", false);
        }
        // The offers of a server name the boot file. Only firmware that ignores it asks on the other port.
        udp(any(settings.ports.proxy), "dhcp.ports.proxy", is_server);
    }
    if let Some(port) = config.syslog {
        udp(any(port), "syslog", false);
    }
    let addresses = |listen: &[Ipv4Addr]| match listen {
        [] => served::find(config).map_or(Vec::new(), |(served, _)| {
            served.interfaces().flat_map(|interface| interface.addresses.to_vec()).collect()
        }),
        listen => listen.to_vec(),
    };
    if let Some(tftp) = &config.tftp {
        addresses(&tftp.listen)
            .into_iter()
            .for_each(|to| udp(SocketAddr::from((to, tftp.port)), "tftp.port", false));
    }
    if let Some(http) = &config.http {
        ports.extend(addresses(&http.listen).into_iter().map(|to| Port {
            protocol: Protocol::Tcp,
            address: SocketAddr::from((to, http.port)),
            key: "http.port",
            is_optional: false,
        }));
    }
    ports
}

fn bind(port: &Port) -> io::Result<()> {
    match port.protocol {
        Protocol::Udp => UdpSocket::bind(port.address).map(drop),
        Protocol::Tcp => TcpListener::bind(port.address).map(drop),
    }
}

/// Whether the process is the lanboot of this configuration: it has locked the leases in `state`, or it is a lanboot that
/// was started with this file.
fn is_ours(pid: u32, loaded: &Loaded) -> bool {
    holder_of_lock(&loaded.config.state) == Some(pid) || config_of(pid) == loaded.path.canonicalize().ok()
}

/// The configuration file of a running lanboot; `None` for other programs, and for a process that this user may not look
/// at.
fn config_of(pid: u32) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let name = fs::read_to_string(process.join("comm")).ok()?;
    if !name.starts_with("lanboot") {
        return None;
    }
    let line = fs::read(process.join("cmdline")).ok()?;
    let words: Vec<&str> =
        line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
    let folder = fs::read_link(process.join("cwd")).ok()?;
    let given = words.iter().enumerate().find_map(|(i, word)| match word.strip_prefix("--config") {
        Some("") => words.get(i + 1).copied(),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let file = match given {
        Some(file) => folder.join(file),
        None => PLACES.iter().map(|place| folder.join(Path::new(place))).find(|path| path.exists())?,
    };
    file.canonicalize().ok()
}
