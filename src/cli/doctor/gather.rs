//! Gathers the facts about this computer: small readers of /proc and /sys, and programs that show what no file does. It
//! changes nothing.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

use super::facts::{Bridge, By, Disk, Facts, Holder, Link, Route, VirtualMachine};
use super::network::served;
use super::servers::{self, Ports};
use crate::cli::check::computer::ports;
use crate::cli::config_file::Loaded;
use crate::net::bind_error::Protocol;
use crate::net::interface;
use crate::types::Ipv4Network;

/// Gathers everything. Asking for DHCP servers takes some seconds.
pub(super) fn gather(loaded: &Loaded, by: By) -> Facts {
    let mut facts = Facts::default();
    match interface::list() {
        Ok(interfaces) => facts.interfaces = interfaces,
        Err(error) => facts.not_checked.push(format!("interfaces: {error}")),
    }
    let names = facts.interfaces.iter().map(|interface| interface.name.to_string());
    facts.links = names.map(|name| link(Path::new("/"), &name)).collect();
    facts.routes = routes(&read("/proc/net/route"));
    facts.container = container();
    facts.clock_is_synchronised = clock_is_synchronised(by);
    if facts.clock_is_synchronised.is_none() && by == By::Command {
        facts.not_checked.push("clock: neither timedatectl nor chronyc shows its state".to_owned());
    }
    facts.disks = disks(loaded);
    // A running server holds its ports, and has reported those that it could not bind.
    if by == By::Command {
        facts.holders =
            ports::taken(loaded).into_iter().flat_map(|(port, pids)| holders(&port, &pids)).collect();
    }
    facts.virtual_machines = processes().filter_map(|pid| virtual_machine(pid, &command_line(pid))).collect();
    ask_servers(loaded, &mut facts);
    facts
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Reads the settings of the interface `name` under `root`, which is `/` except in tests.
pub(super) fn link(root: &Path, name: &str) -> Link {
    let device = root.join("sys/class/net").join(name);
    let number = |path: PathBuf| read(path).trim().parse::<u32>().unwrap_or(0);
    let filter = |name: &str| number(root.join("proc/sys/net/ipv4/conf").join(name).join("rp_filter"));
    let is_set = |file: &str| number(device.join("bridge").join(file)) != 0;
    let bridge = device.join("bridge").is_dir().then(|| Bridge {
        snoops_multicast: is_set("multicast_snooping"),
        is_querier: is_set("multicast_querier"),
        spanning_tree: is_set("stp_state"),
    });
    let master = fs::read_link(device.join("master")).ok();
    let master = master.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    // One end of a veth pair has the number of the other end, while VLANs and macvlan have a type.
    let is_virtual = !device.join("device").exists() && !read(device.join("uevent")).contains("DEVTYPE=");
    let is_end = is_virtual && number(device.join("iflink")) != number(device.join("ifindex"));
    Link {
        name: name.to_owned(),
        rp_filter: u8::try_from(filter("all").max(filter(name))).unwrap_or(0),
        bridge,
        is_container_end: is_end && master.is_none(),
        master,
    }
}

/// Parses `/proc/net/route`: interface, destination, gateway, flags, three numbers, metric, mask; addresses are in
/// hexadecimal in the order of bytes of this computer (proc_net(5)).
pub(super) fn routes(text: &str) -> Vec<Route> {
    const UP: u16 = 1;
    const GATEWAY: u16 = 2;
    const REJECT: u16 = 0x200;
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [device, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
        let flags = u16::from_str_radix(flags, 16).ok()?;
        let prefix = u32::from(address(mask)?).leading_ones();
        let network = Ipv4Network::new(address(destination)?, u8::try_from(prefix).ok()?)?;
        let is_rejecting = flags & REJECT != 0 || device == "*";
        (flags & UP != 0).then_some(Route {
            network,
            device: (!is_rejecting).then(|| device.to_owned()),
            gateway: if flags & GATEWAY != 0 { address(gateway) } else { None },
            metric: metric.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// The container that this process is in.
fn container() -> Option<String> {
    let name = |name: &str| Some(name.to_owned());
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return name("kubernetes");
    }
    if Path::new("/.dockerenv").exists() {
        return name("docker");
    }
    if Path::new("/run/.containerenv").exists() {
        return name("podman");
    }
    // Only root may read it.
    let environment = read("/proc/1/environ");
    let value = environment.split('\0').find_map(|entry| entry.strip_prefix("container="));
    value.map(str::to_owned)
}

/// Whether a time server sets the clock; `None` if nothing on this computer knows.
fn clock_is_synchronised(by: By) -> Option<bool> {
    if is_clock_set_by_timesyncd() {
        return Some(true);
    }
    if by == By::Server {
        return None;
    }
    let timedatectl = output("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    let by_chrony = || {
        let text = output("chronyc", &["-n", "tracking"])?;
        let status = text.lines().find(|line| line.starts_with("Leap status"))?;
        Some(!status.contains("Not synchronised"))
    };
    match timedatectl.as_deref().map(str::trim) {
        Some("yes") => Some(true),
        Some("no") => Some(by_chrony().unwrap_or(false)),
        _ => by_chrony(),
    }
}

/// Whether systemd-timesyncd has set the clock: it makes this file then (systemd-timesyncd.service(8)).
pub(super) fn is_clock_set_by_timesyncd() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

/// The output of a program that succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let ran =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn disks(loaded: &Loaded) -> Vec<Disk> {
    let config = &loaded.config;
    let uploads = config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref());
    let folders = [
        ("state", Some(&config.state), true),
        ("images", Some(&config.images), false),
        ("tftp.uploads", uploads.map(|uploads| &uploads.dir), true),
    ];
    let of = |(key, path, is_written): (&'static str, Option<&PathBuf>, bool)| {
        // A folder that the server creates later is in its parent's file system.
        let path = path?.ancestors().find(|path| path.exists())?;
        let here = statvfs(path).ok()?;
        let in_memory = statfs(path).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC);
        let block = here.fragment_size();
        Some(Disk {
            key,
            path: path.display().to_string(),
            size: here.blocks().saturating_mul(block),
            free: here.blocks_available().saturating_mul(block),
            files: here.files(),
            free_files: here.files_available(),
            tmpfs: if in_memory { mount_point(path) } else { None },
            is_written,
        })
    };
    let mut disks: Vec<Disk> = folders.into_iter().filter_map(of).collect();
    // Folders of one file system are one finding.
    disks.dedup_by(|later, first| (later.size, later.free) == (first.size, first.free));
    disks
}

/// The folder at which the file system of `path` is mounted: the last of its parents on the same device.
fn mount_point(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let path = path.canonicalize().ok()?;
    let device = path.metadata().ok()?.dev();
    let same = |path: &&Path| path.metadata().is_ok_and(|found| found.dev() == device);
    path.ancestors().take_while(same).last().map(|path| path.display().to_string())
}

/// The programs that hold `port`.
fn holders(port: &ports::Port, pids: &[u32]) -> Vec<Holder> {
    let protocol = if port.protocol == Protocol::Udp { "UDP" } else { "TCP" };
    let shown = Holder {
        port: format!("{protocol} {}", port.address),
        key: port.key,
        is_optional: port.is_optional,
        ..Holder::default()
    };
    if pids.is_empty() {
        return vec![shown];
    }
    let of = |pid: &u32| Holder {
        pid: *pid,
        name: read(format!("/proc/{pid}/comm")).trim().to_owned(),
        unit: unit(*pid),
        libvirt: libvirt_network(&command_line(*pid)).map(|network| (network, is_installed("virsh"))),
        ..shown.clone()
    };
    pids.iter().map(of).collect()
}

/// The service of systemd whose main process `pid` is. Other processes of a service are not stopped by that of their unit
/// name, because the unit may be that of a login or of a container.
fn unit(pid: u32) -> Option<String> {
    let groups = read(format!("/proc/{pid}/cgroup"));
    let unit =
        groups.lines().filter_map(|line| line.rsplit('/').next()).find(|unit| unit.ends_with(".service"))?;
    let main = output("systemctl", &["show", "--property=MainPID", "--value", unit])?;
    (main.trim() == pid.to_string()).then(|| unit.to_owned())
}

/// The network of libvirt that a dnsmasq with this command line serves: its file is
/// `/var/lib/libvirt/dnsmasq/NETWORK.conf`.
pub(super) fn libvirt_network(command: &[String]) -> Option<String> {
    let is_dnsmasq = command.first()?.rsplit('/').next()? == "dnsmasq";
    let file = command.iter().find_map(|word| word.strip_prefix("--conf-file="))?;
    let (folder, name) = file.rsplit_once('/')?;
    let name = name.strip_suffix(".conf")?;
    (is_dnsmasq && folder.ends_with("libvirt/dnsmasq")).then(|| name.to_owned())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Reads the command line of a QEMU process; `None` for other programs.
pub(super) fn virtual_machine(pid: u32, command: &[String]) -> Option<VirtualMachine> {
    let program = command.first()?.rsplit('/').next()?;
    if !program.starts_with("qemu-system-") && program != "qemu-kvm" && program != "kvm" {
        return None;
    }
    let has = |parts: &[&str]| command.iter().any(|word| parts.iter().any(|part| word.contains(part)));
    let after = |option: &str| {
        let place = command.iter().position(|word| word == option)?;
        command.get(place.checked_add(1)?)
    };
    let name = after("-name").and_then(|value| {
        let name = value.split(',').next()?;
        Some(name.strip_prefix("guest=").unwrap_or(name).to_owned())
    });
    Some(VirtualMachine {
        pid,
        name,
        has_uefi: has(&["OVMF", "AAVMF", "edk2-", "QEMU_EFI"]),
        has_network: has(&["-net-pci", "e1000", "rtl8139", "vmxnet3", "virtio-net"])
            || has(&["-netdev", "-nic"]),
        has_rng: has(&["virtio-rng"]),
        by_libvirt: has(&["/libvirt/"]),
        command: command.to_vec(),
    })
}

/// Asks for DHCP servers on the served interfaces on which DHCP is on.
fn ask_servers(loaded: &Loaded, facts: &mut Facts) {
    let Some(settings) = &loaded.config.dhcp else { return };
    let mut asked = served(&loaded.config, facts);
    asked.retain(|interface| !interface.loopback && settings.modes.on(&interface.name).is_some());
    let ports = Ports { server: settings.ports.server, client: settings.ports.client };
    let (mut names, mut heard, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, result) in servers::ask(&asked, ports) {
        match result {
            Ok(found) => {
                names.push(name);
                heard.extend(found);
            }
            Err(error) => failed.push(format!("DHCP servers on {name}: {error}; try as root")),
        }
    }
    facts.asked = names;
    facts.servers = heard;
    facts.not_checked.extend(failed);
}
