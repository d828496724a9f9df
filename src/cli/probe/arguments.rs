//! The command line of `lanboot probe`, and the plan that it means on this computer.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::boot::Client;
use super::plan::{Plan, Storm};
use super::start_failure::StartFailure;
use super::wire::Destination;
use crate::config::suggestion;
use crate::net::interface::{self, Interface};
use crate::probe::{Firmware, Ports, Profile, Timing};
use crate::types::{Arch, MacAddr, Uuid};

/// Default for the longest wait for a reply, in seconds. Firmware waits up to 60 s.
const DEFAULT_TIMEOUT: &str = "20";

/// Arguments of `lanboot probe`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Send on this network interface by broadcast, as a machine there would. Needs root or CAP_NET_RAW. If the
    /// interface has no address in the network of the lease, it gets the machine's address during the download
    /// [default: the only interface that is up]
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    interface: Option<String>,
    /// Send to this server by unicast instead, as a DHCP relay agent at this computer's address would. The server
    /// must serve this computer's network, and port 67 must be free here (root). A server on loopback is reached from
    /// any port, without root
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Ipv4Addr>,
    /// Architectures of the machine: names such as bios, uefi-x64, uefi-arm64, uefi-x64-http, or numbers of option
    /// 93. Several are tried one after the other
    #[arg(long, value_name = "ARCH,…", value_delimiter = ',', default_value = "uefi-x64", value_parser = arch)]
    arch: Vec<Arch>,
    /// Firmware of the machine [default: http for architectures that end in -http, else pxe]
    #[arg(long, value_enum)]
    firmware: Option<FirmwareName>,
    /// Hardware address of the machine [default: a locally administered one, the same each time]
    #[arg(long, value_name = "MAC", value_parser = mac)]
    mac: Option<MacAddr>,
    /// UUID of the machine (option 97) [default: zeros]
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    uuid: Option<Uuid>,
    /// DHCP port of the server; replies are expected on the next port
    #[arg(long, value_name = "PORT", default_value_t = 67, value_parser = clap::value_parser!(u16).range(1..65535))]
    dhcp_port: u16,
    /// TFTP port of the server
    #[arg(long, value_name = "PORT", default_value_t = 69, value_parser = clap::value_parser!(u16).range(1..))]
    tftp_port: u16,
    /// Port of proxyDHCP and boot servers
    #[arg(long, value_name = "PORT", default_value_t = 4011, value_parser = clap::value_parser!(u16).range(1..))]
    proxy_port: u16,
    /// Number of machines, with hardware addresses that count up from --mac: a boot storm, with a summary instead of
    /// steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Number of machines that are switched on per second [default: all at once]
    #[arg(long, value_name = "N", requires = "count", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Longest wait for a reply in seconds (firmware waits up to 60 for DHCP)
    #[arg(long, value_name = "SECONDS", default_value = DEFAULT_TIMEOUT, value_parser = timeout)]
    timeout: Duration,
    /// Collect offers for this many seconds before choosing one [default: as the firmware: 4, iPXE up to 2; 0 with
    /// --count]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    collect: Option<Duration>,
    /// Print JSON instead of text: an array with one object for each --arch, or one object with --count
    #[arg(long)]
    json: bool,
}

/// Kinds of network-boot clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum FirmwareName {
    /// PXE of a BIOS ROM or of UEFI, depending on the architecture
    Pxe,
    /// UEFI HTTP boot
    Http,
    /// iPXE
    Ipxe,
    /// A BOOTP client, older than DHCP
    Bootp,
}

impl Arguments {
    /// The plan that these arguments mean on this computer.
    pub(super) fn plan(&self) -> Result<Plan, StartFailure> {
        let destination = match self.server {
            Some(server) => Destination::Server(server),
            None => Destination::Interface(self.interface()?),
        };
        let mac = self.mac.unwrap_or_else(|| derived_mac(&destination));
        let ports = Ports { dhcp: self.dhcp_port, tftp: self.tftp_port, proxy: self.proxy_port };
        let mut clients = Vec::new();
        for (arch, seed) in self.arch.iter().zip(seed()..) {
            let profile = self.profile(*arch, &destination, mac)?;
            let collect = match self.count {
                Some(_) => Duration::ZERO,
                None => profile.firmware.collects_for(),
            };
            let collect = self.collect.unwrap_or(collect);
            let timing = Timing { collect, timeout: Some(self.timeout) };
            clients.push(Client { profile, mac, seed, ports, timing });
        }
        let storm = self.count.map(|count| Storm { count, rate: self.rate });
        Ok(Plan { destination, ports, clients, storm, json: self.json })
    }

    fn profile(&self, arch: Arch, destination: &Destination, mac: MacAddr) -> Result<Profile, StartFailure> {
        let firmware = match self.firmware {
            None => Firmware::of(arch),
            Some(FirmwareName::Pxe) if arch == Arch::BIOS => Firmware::BiosPxe,
            Some(FirmwareName::Pxe) => Firmware::Uefi,
            Some(FirmwareName::Http) => Firmware::UefiHttp,
            Some(FirmwareName::Ipxe) => Firmware::Ipxe,
            Some(FirmwareName::Bootp) => Firmware::Bootp,
        };
        let mut profile = Profile::new(firmware, arch);
        if firmware == Firmware::UefiHttp && profile.arch.map(Firmware::of) != Some(firmware) {
            return Err(StartFailure::Usage(format!("there is no HTTP boot on {arch}")));
        }
        if let Some(uuid) = self.uuid {
            profile = profile.with_uuid(uuid);
        }
        // A network card passes on only frames for its own address or for broadcast, so other addresses need
        // broadcast replies.
        let own = matches!(destination, Destination::Interface(interface) if interface.mac == Some(mac));
        Ok(if own { profile } else { profile.asking_for_broadcast() })
    }

    /// The named interface, or the only Ethernet interface that is up.
    fn interface(&self) -> Result<Interface, StartFailure> {
        let all = interface::list().map_err(|error| StartFailure::Start(error.to_string()))?;
        let names = |interfaces: &[&Interface]| {
            interfaces.iter().map(|interface| &*interface.name).collect::<Vec<_>>().join(", ")
        };
        let found = match &self.interface {
            Some(name) => all.iter().find(|interface| *interface.name == **name).ok_or_else(|| {
                let all = names(&all.iter().collect::<Vec<_>>());
                StartFailure::Start(format!("interface {name} does not exist: this machine has {all}"))
            })?,
            None => {
                let up: Vec<&Interface> = all.iter().filter(|i| i.up && i.mac.is_some()).collect();
                match up[..] {
                    [only] => only,
                    [] => {
                        return Err(StartFailure::Usage(
                            "no Ethernet interface is up: name a --server".to_owned(),
                        ));
                    }
                    _ => {
                        let up = names(&up);
                        return Err(StartFailure::Usage(format!(
                            "name one --interface of {up}, or a --server"
                        )));
                    }
                }
            }
        };
        let name = &found.name;
        if !found.up {
            return Err(StartFailure::Start(format!(
                "interface {name} is down: bring it up with `ip link set {name} up`"
            )));
        }
        if found.mac.is_none() {
            return Err(StartFailure::Start(format!(
                "interface {name} is not Ethernet: ask a server there with --server ADDRESS"
            )));
        }
        Ok(found.clone())
    }
}

/// A locally administered hardware address, the same each time on one computer. With the interface's own address, the
/// probe would get and then release the address that this computer has from DHCP.
fn derived_mac(destination: &Destination) -> MacAddr {
    let [a, b, c] = match destination {
        Destination::Interface(interface) => {
            let [_, _, _, a, b, c] = interface.mac.unwrap_or(MacAddr([0; 6])).0;
            [a, b, c]
        }
        Destination::Server(_) => [0, 0, 1],
    };
    MacAddr([0x02, b'l', b'b', a, b, c])
}

/// A different seed for each run, so that a late reply to an earlier run is not accepted.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(std::process::id()) << 32 | u64::from(now.subsec_nanos())
}

fn arch(text: &str) -> Result<Arch, String> {
    text.parse().map_err(|_| match suggestion(text, Arch::names()) {
        Some(hint) => format!("expected the name or number of an architecture{hint}"),
        None => {
            let names: Vec<&str> = Arch::names().collect();
            format!("expected a number of option 93 or one of {}", names.join(" "))
        }
    })
}

fn mac(text: &str) -> Result<MacAddr, String> {
    text.parse().map_err(|error| format!("expected {error}"))
}

fn uuid(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|error| format!("expected {error}"))
}

/// Parses a waiting time. Zero is refused, because no reply could arrive in time.
fn timeout(text: &str) -> Result<Duration, &'static str> {
    let timeout = seconds(text)?;
    if timeout.is_zero() { Err("expected more than 0 seconds") } else { Ok(timeout) }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected seconds, from 0 to 3600";
    let seconds: f64 = text.parse().map_err(|_| EXPECTED)?;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err(EXPECTED);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| EXPECTED)
}
