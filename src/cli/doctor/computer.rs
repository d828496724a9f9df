//! Judges this computer: programs that hold ports, the container, the clock, the disks, and virtual machines.

use super::facts::{Disk, Facts, Holder, VirtualMachine};
use super::finding::{Finding, word};
use super::network::served;
use crate::config::Config;

/// Judges everything that is not about the network.
pub(super) fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = facts.holders.iter().map(holder).collect();
    found.extend(container(config, facts));
    found.extend(clock(facts));
    found.extend(facts.disks.iter().filter_map(disk));
    found.extend(facts.virtual_machines.iter().filter_map(virtual_machine));
    found
}

/// A program that holds a port of lanboot.
fn holder(holder: &Holder) -> Finding {
    let Holder { port, key, name, pid, .. } = holder;
    let by = match (pid, &holder.libvirt) {
        (0, _) => "another program".to_owned(),
        (_, Some((network, _))) => format!("dnsmasq of the libvirt network {network} (process {pid})"),
        _ => format!("{name} (process {pid})"),
    };
    let what = format!("{port} (`{key}`) is in use by {by}");
    let why = match holder.is_optional {
        true => "clients that ask there for their boot file get no answer",
        false => "lanboot does not start without this port",
    };
    let fix = match (&holder.unit, &holder.libvirt) {
        (_, Some((network, true))) => {
            let network = word(network);
            format!("virsh net-destroy {network} && virsh net-autostart {network} --disable")
        }
        (Some(unit), _) => format!("systemctl disable --now {}", word(unit)),
        _ if *pid == 0 => format!("ss -lnp 'sport = :{}'", port.rsplit(':').next().unwrap_or_default()),
        _ => format!("kill {pid}"),
    };
    let id = if holder.libvirt.is_some() { "libvirt_dnsmasq" } else { "port_taken" };
    match holder.is_optional {
        true => Finding::note(id, what, why, fix),
        false => Finding::problem(id, what, why, fix),
    }
}

/// A container with its own network: broadcasts of clients do not reach it, and TFTP data comes from other ports.
fn container(config: &Config, facts: &Facts) -> Option<Finding> {
    let container = facts.container.as_deref()?;
    let is_end = |name: &str| facts.links.iter().any(|link| link.name == name && link.is_container_end);
    let served = served(config, facts);
    let inside = served.iter().find(|interface| is_end(&interface.name))?;
    let fix = match container {
        "kubernetes" => {
            "kubectl patch deployment lanboot -p '{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}'"
        }
        "podman" => "podman run --network host --cap-add NET_ADMIN,NET_RAW,NET_BIND_SERVICE lanboot",
        "lxc" => "lxc config device add lanboot eth0 nic nictype=macvlan parent=eth0",
        _ => "docker run --network host --cap-add NET_ADMIN,NET_RAW,NET_BIND_SERVICE lanboot",
    };
    Some(Finding::problem(
        "container_network",
        format!("lanboot runs in a container ({container}) with its own network: {} ends in it", inside.name),
        "broadcasts of machines do not enter the network of a container, and their replies leave it with another address",
        fix.to_owned(),
    ))
}

fn clock(facts: &Facts) -> Option<Finding> {
    (facts.clock_is_synchronised == Some(false)).then(|| {
        Finding::note(
            "clock_not_synchronised",
            "no time server sets the clock of this computer".to_owned(),
            "leases end too early or too late after the clock is set, and installers refuse certificates",
            "timedatectl set-ntp true".to_owned(),
        )
    })
}

/// Free space in bytes under which a disk is nearly full.
const LITTLE_SPACE: u64 = 64 << 20;
/// Free space in percent under which a disk is nearly full.
const LITTLE_PERCENT: u64 = 5;
/// Free space in bytes that is enough, whatever the percentage is.
const ENOUGH_SPACE: u64 = 2 << 30;
/// Free files (inodes) under which a file system is nearly full.
const FEW_FILES: u64 = 1000;

fn disk(disk: &Disk) -> Option<Finding> {
    let is_small = disk.size > 0
        && (disk.free < LITTLE_SPACE.min(disk.size / 4)
            || disk.free < ENOUGH_SPACE && disk.free.saturating_mul(100) / disk.size < LITTLE_PERCENT);
    let has_few = disk.files > 0 && disk.free_files < FEW_FILES.min(disk.files / 10);
    if !is_small && !has_few {
        return None;
    }
    let path = word(&disk.path);
    let what = match has_few && !is_small {
        true => {
            format!("only {} files can still be created in {} (`{}`)", disk.free_files, disk.path, disk.key)
        }
        false => format!("only {} MiB are free in {} (`{}`)", disk.free >> 20, disk.path, disk.key),
    };
    let fix = match &disk.tmpfs {
        // Half of it is then free.
        Some(mount) if is_small => {
            let mib = (disk.size.saturating_mul(2) >> 20).max(128);
            format!("mount -o remount,size={mib}M {}", word(mount))
        }
        _ if has_few && !is_small => format!("du --inodes -xd2 {path} | sort -n | tail"),
        _ => format!("du -xhd2 \"$(findmnt -no TARGET -T {path})\" | sort -h | tail -20"),
    };
    let id = "disk_nearly_full";
    Some(match disk.is_written {
        true => Finding::problem(
            id,
            what,
            "without space no lease can be stored, so new machines get no address",
            fix,
        ),
        false => Finding::note(id, what, "images cannot be added or replaced", fix),
    })
}

/// UEFI firmware of 2024 and later has no network without a source of random numbers (EDK2, CVE-2023-45237).
fn virtual_machine(machine: &VirtualMachine) -> Option<Finding> {
    if !machine.has_uefi || !machine.has_network || machine.has_rng {
        return None;
    }
    let name = machine.name.as_deref().unwrap_or("without a name");
    let fix = match &machine.name {
        Some(name) if machine.by_libvirt => format!(
            "virt-xml {} --add-device --rng /dev/urandom && virsh destroy {0} && virsh start {0}",
            word(name)
        ),
        _ => {
            let command: Vec<String> = machine.command.iter().map(|part| word(part)).collect();
            format!("kill {} && {} -device virtio-rng-pci", machine.pid, command.join(" "))
        }
    };
    Some(Finding::note(
        "ovmf_without_rng",
        format!(
            "the virtual machine {name} (process {}) has UEFI firmware and no random number generator",
            machine.pid
        ),
        "OVMF since 2024 does not offer network boot without one",
        fix,
    ))
}
