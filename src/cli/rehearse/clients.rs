//! Lists the clients to rehearse: every machine of the configuration, and one machine without an entry. Each gets one
//! client for every firmware that it can have and for which a boot file is mapped. `mod.rs` calls it. Nothing here
//! boots a client.

use std::collections::BTreeSet;

use crate::boot::machine_boot::{MachineBoot, is_ipxe_script};
use crate::dhcp::machines::Machine;
use crate::dhcp::settings::{BootpMode, Settings};
use crate::probe::models::{Firmware, ModelClient};
use crate::types::{Arch, MacAddr};

/// The MAC address of a machine without an entry, or with an entry that has only a UUID. It is locally administered.
const STRANGER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 1]);
/// Manufacturer part of the MAC addresses of the Raspberry Pi 2 and 3.
const PI_3: [u8; 3] = [0xb8, 0x27, 0xeb];
/// One of the manufacturer parts of the Raspberry Pi 4.
const PI_4: [u8; 3] = [0xdc, 0xa6, 0x32];

/// The clients that `machine` can be; `None` stands for any machine without an entry. iPXE is listed for every
/// architecture, because the file that an iPXE in ROM gets depends on its architecture.
pub(super) fn clients(settings: &Settings, machine: Option<&Machine>) -> Vec<ModelClient> {
    let mac = machine.and_then(|machine| machine.macs.first().copied()).unwrap_or(STRANGER);
    let uuid = machine.and_then(|machine| machine.uuid);
    let asker = |firmware, arch| ModelClient { firmware, arch, mac, uuid };
    let arches = arches(settings, machine);
    let mut clients = Vec::new();
    for arch in &arches {
        clients.extend(firmware_of(*arch).map(|firmware| asker(firmware, *arch)));
    }
    let has_rom = |arch: &&Arch| **arch == Arch::BIOS || arch.is_uefi() && !arch.is_http();
    let ipxes = arches.iter().filter(has_rom).map(|arch| asker(Firmware::Ipxe, *arch));
    clients.extend(ipxes);
    if !arches.iter().any(|arch| has_rom(&arch)) && names_script(settings, machine) {
        clients.push(asker(Firmware::Ipxe, Arch::BIOS));
    }
    clients.extend(raspberry_pis(settings, machine, asker(Firmware::RaspberryPi4, Arch::RASPBERRY_PI)));
    let has_bootp_file = settings.boot.bootp.is_some() || settings.boot.arch.contains_key(&Arch::BIOS);
    let is_answered =
        settings.bootp == BootpMode::Dynamic || machine.is_some_and(|m| !m.addresses.is_empty());
    if has_bootp_file && is_answered && settings.bootp != BootpMode::Off {
        clients.push(asker(Firmware::Bootp, Arch::BIOS));
    }
    clients
}

/// The architectures with a mapped file that `machine` may get.
fn arches(settings: &Settings, machine: Option<&Machine>) -> BTreeSet<Arch> {
    let mut arches: BTreeSet<Arch> = settings.boot.arch.keys().copied().collect();
    let own = machine.and_then(|machine| machine.boot.as_ref());
    let said = own.into_iter().chain(settings.classes.iter().filter_map(|class| class.boot.as_ref()));
    for boot in said {
        if let MachineBoot::ByArch(files) = boot {
            arches.extend(files.keys());
        }
    }
    arches
}

/// The firmware that uses this architecture; `None` if there is no model, as for PowerPC.
fn firmware_of(arch: Arch) -> Option<Firmware> {
    match arch {
        Arch::BIOS => Some(Firmware::BootAgent),
        _ if arch.is_u_boot() && !arch.is_http() => Some(Firmware::UBoot),
        _ if arch.efi_processor().is_some() && arch.is_http() => Some(Firmware::Edk2Http),
        _ if arch.efi_processor().is_some() => Some(Firmware::Edk2Pxe),
        _ => None,
    }
}

/// Whether an iPXE script is mapped directly, for the iPXE in the ROM of emulators and some network cards.
fn names_script(settings: &Settings, machine: Option<&Machine>) -> bool {
    let own = machine.and_then(|machine| machine.boot.as_ref());
    let said = own.into_iter().chain(settings.classes.iter().filter_map(|class| class.boot.as_ref()));
    said.into_iter().any(|boot| matches!(boot, MachineBoot::File(file) if is_ipxe_script(file)))
}

/// The models of Raspberry Pi that the machine can be, by its MAC address. A machine without an entry can be all of
/// them if the configuration maps `arm-rpiboot`.
fn raspberry_pis(settings: &Settings, machine: Option<&Machine>, asker: ModelClient) -> Vec<ModelClient> {
    let of = |firmware, oui: [u8; 3]| {
        let [a, b, c] = oui;
        let [.., d, e, f] = asker.mac.0;
        ModelClient { firmware, mac: MacAddr([a, b, c, d, e, f]), ..asker }
    };
    let all = [
        of(Firmware::RaspberryPi3, PI_3),
        of(Firmware::RaspberryPi3Plus, PI_3),
        of(Firmware::RaspberryPi4, PI_4),
    ];
    match machine {
        None if settings.boot.arch.contains_key(&Arch::RASPBERRY_PI) => all.to_vec(),
        None => Vec::new(),
        Some(_) => all.into_iter().filter(|pi| pi.mac == asker.mac).collect(),
    }
}
