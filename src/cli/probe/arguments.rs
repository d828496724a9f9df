//! The arguments of `lanboot probe`, as written and as meant.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::Refusal;
use super::boot::Client;
use super::plan::{Plan, Storm};
use super::wire::Way;
use crate::config::suggestion;
use crate::net::interface::{self, Interface};
use crate::probe::{Firmware, Ports, Profile, Waiting};
use crate::types::{Arch, MacAddr, Uuid};

/// How long a question may stay unanswered, seconds, unless the arguments say otherwise. Firmware asks for 60 s.
const PATIENCE: &str = "20";

/// `lanboot probe …`
#[derive(Debug, Args)]
pub struct Arguments {
    /// Ask on this network interface, by broadcast, as a machine there would. Needs root or CAP_NET_RAW. Without an
    /// address in the network that the server gives, the interface has the machine's address for the time of the download
    /// [default: the only one that is up]
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    interface: Option<String>,
    /// Ask this server by unicast instead, as a DHCP relay agent at this computer's address would: it must serve this
    /// computer's network, port 67 must be free here (root). A server on loopback is asked from any port, without root
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Ipv4Addr>,
    /// What the machine is: names such as bios, uefi-x64, uefi-arm64, uefi-x64-http, or numbers of option 93; several are
    /// tried one after the other
    #[arg(long, value_name = "ARCH,…", value_delimiter = ',', default_value = "uefi-x64", value_parser = arch)]
    arch: Vec<Arch>,
    /// The program in it that boots [default: http for architectures that end in -http, else pxe]
    #[arg(long, value_enum)]
    firmware: Option<FirmwareName>,
    /// Its hardware address [default: one of our own making, the same each time]
    #[arg(long, value_name = "MAC", value_parser = mac)]
    mac: Option<MacAddr>,
    /// Its UUID (option 97) [default: zeros]
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    uuid: Option<Uuid>,
    /// The server's DHCP port; replies are expected on the next one
    #[arg(long, value_name = "PORT", default_value_t = 67, value_parser = clap::value_parser!(u16).range(1..65535))]
    dhcp_port: u16,
    /// The server's TFTP port
    #[arg(long, value_name = "PORT", default_value_t = 69, value_parser = clap::value_parser!(u16).range(1..))]
    tftp_port: u16,
    /// The port of proxyDHCP and boot servers
    #[arg(long, value_name = "PORT", default_value_t = 4011, value_parser = clap::value_parser!(u16).range(1..))]
    proxy_port: u16,
    /// So many machines, with hardware addresses that count up from --mac: a boot storm, and a summary instead of steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// So many of them are switched on each second [default: all at once]
    #[arg(long, value_name = "N", requires = "count", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// The longest that a question may stay unanswered, in seconds (a DHCP question: firmware takes 60)
    #[arg(long, value_name = "SECONDS", default_value = PATIENCE, value_parser = patience)]
    timeout: Duration,
    /// Collect offers for so many seconds before choosing one [default: as the firmware: 4, iPXE up to 2; 0 with --count]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    collect: Option<Duration>,
    /// JSON instead of text: an array with one object for each --arch, or one object with --count
    #[arg(long)]
    json: bool,
}

/// The programs that boot a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum FirmwareName {
    /// The PXE of a BIOS ROM or of UEFI, as the architecture has it
    Pxe,
    /// UEFI HTTP boot
    Http,
    /// iPXE
    Ipxe,
    /// A BOOTP client, older than DHCP
    Bootp,
}

impl Arguments {
    /// What they mean on this machine.
    pub(super) fn plan(&self) -> Result<Plan, Refusal> {
        let way = match self.server {
            Some(server) => Way::Server(server),
            None => Way::Interface(self.interface()?),
        };
        let mac = self.mac.unwrap_or_else(|| made_up(&way));
        let ports = Ports { dhcp: self.dhcp_port, tftp: self.tftp_port, proxy: self.proxy_port };
        let mut clients = Vec::new();
        for (arch, seed) in self.arch.iter().zip(seed()..) {
            let profile = self.profile(*arch, &way, mac)?;
            let collect = match self.count {
                Some(_) => Duration::ZERO,
                None => profile.firmware.collects_for(),
            };
            let collect = self.collect.unwrap_or(collect);
            let waiting = Waiting { collect, patience: Some(self.timeout) };
            clients.push(Client { profile, mac, seed, ports, waiting });
        }
        let storm = self.count.map(|count| Storm { count, rate: self.rate });
        Ok(Plan { way, ports, clients, storm, json: self.json })
    }

    fn profile(&self, arch: Arch, way: &Way, mac: MacAddr) -> Result<Profile, Refusal> {
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
            return Err(Refusal::Usage(format!("there is no HTTP boot on {arch}")));
        }
        if let Some(uuid) = self.uuid {
            profile = profile.with_uuid(uuid);
        }
        // A network card hands on what is sent to its own address and to everybody.
        let own = matches!(way, Way::Interface(interface) if interface.mac == Some(mac));
        Ok(if own { profile } else { profile.asking_for_broadcast() })
    }

    /// The interface that is named, or the only one that can be meant.
    fn interface(&self) -> Result<Interface, Refusal> {
        let all = interface::list().map_err(|error| Refusal::Start(error.to_string()))?;
        let names = |interfaces: &[&Interface]| {
            interfaces.iter().map(|interface| &*interface.name).collect::<Vec<_>>().join(", ")
        };
        let found = match &self.interface {
            Some(name) => all.iter().find(|interface| *interface.name == **name).ok_or_else(|| {
                let all = names(&all.iter().collect::<Vec<_>>());
                Refusal::Start(format!("interface {name} does not exist: this machine has {all}"))
            })?,
            None => {
                let up: Vec<&Interface> = all.iter().filter(|i| i.up && i.mac.is_some()).collect();
                match up[..] {
                    [only] => only,
                    [] => {
                        return Err(Refusal::Usage(
                            "no Ethernet interface is up: name a --server".to_owned(),
                        ));
                    }
                    _ => {
                        let up = names(&up);
                        return Err(Refusal::Usage(format!("say which --interface, of {up}, or a --server")));
                    }
                }
            }
        };
        let name = &found.name;
        if !found.up {
            return Err(Refusal::Start(format!(
                "interface {name} is down: bring it up with `ip link set {name} up`"
            )));
        }
        if found.mac.is_none() {
            return Err(Refusal::Start(format!(
                "interface {name} is not Ethernet: ask a server there with --server ADDRESS"
            )));
        }
        Ok(found.clone())
    }
}

/// A hardware address of our own making (locally administered), the same each time on one machine: the interface's own
/// would get, and then release, the address that this machine itself has from DHCP.
fn made_up(way: &Way) -> MacAddr {
    let [a, b, c] = match way {
        Way::Interface(interface) => {
            let [_, _, _, a, b, c] = interface.mac.unwrap_or(MacAddr([0; 6])).0;
            [a, b, c]
        }
        Way::Server(_) => [0, 0, 1],
    };
    MacAddr([0x02, b'l', b'b', a, b, c])
}

/// Another one for each run, so that no reply to an earlier run is taken for one to this.
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

/// With no time at all nothing would be answered.
fn patience(text: &str) -> Result<Duration, &'static str> {
    let patience = seconds(text)?;
    if patience.is_zero() { Err("expected more than 0 seconds") } else { Ok(patience) }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected seconds, from 0 to 3600";
    let seconds: f64 = text.parse().map_err(|_| EXPECTED)?;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err(EXPECTED);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| EXPECTED)
}
