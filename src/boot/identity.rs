//! Who is asking: what a message tells about the program that sent it and how far the machine has booted.

use crate::types::{Arch, Firmware, MacAddr, Stage};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::pxe;

/// What is known of a client from one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// How far it has booted.
    pub stage: Stage,
    /// What kind of program it is.
    pub firmware: Firmware,
    /// The architectures it says it can boot, its own first. Empty for a client that says none, or none that can be
    /// read: nobody knows then what it boots, and it must not get a BIOS's file.
    pub arches: Vec<Arch>,
}

impl Identity {
    /// Reads options 43, 53, 55, 60, 77, 93, 94, 97 and 175, and the MAC.
    pub fn of(message: &Message) -> Identity {
        let mut arches = arches_of(message);
        let firmware = firmware_of(message, &arches);
        if firmware.is_raspberry_pi() {
            arches = vec![Arch::RASPBERRY_PI];
        }
        let stage = match firmware {
            Firmware::Bootp => Stage::Bootp,
            Firmware::Ipxe | Firmware::IpxeRom => Stage::Ipxe,
            Firmware::HttpBoot => Stage::Http,
            Firmware::UBoot if arches.first().is_some_and(|arch| arch.is_http()) => Stage::Http,
            Firmware::Pxelinux if !says_pxe(message) => Stage::Other,
            // These want an address; GRUB would even take a proxy's offer of none for one.
            Firmware::Grub | Firmware::AppleBsdp | Firmware::LinuxIpDhcp | Firmware::Other => Stage::Other,
            _ => Stage::Pxe,
        };
        Identity { stage, firmware, arches }
    }

    /// Whether it is the boot ROM of a Raspberry Pi, which boots by files of fixed names and not by the one we name.
    pub fn is_raspberry_pi(&self) -> bool {
        self.firmware.is_raspberry_pi()
    }

    /// The architecture shown in logs: the first one it says.
    pub fn arch(&self) -> Option<Arch> {
        self.arches.first().copied()
    }
}

/// Whether `message` may come from an iPXE although neither option 77 nor 175 says so: it asks for iPXE's own options,
/// or has the interface version that only iPXE for UEFI has. Too weak to go by before anything went wrong
/// (`boot/guard.rs`): Etherboot asks for option 175 too, and runs no script.
pub fn may_be_ipxe(message: &Message) -> bool {
    const IPXE_FOR_UEFI: (u8, u8) = (3, 10);
    let options = &message.options;
    pxe::is_ipxe(options)
        || pxe::asks_for(options, code::ETHERBOOT)
        || pxe::interface_version(options) == Some(IPXE_FOR_UEFI)
}

fn vendor_class(message: &Message) -> &[u8] {
    message.options.get(code::VENDOR_CLASS).unwrap_or_default()
}

/// Whether option 60 or 93 says that it is a client of PXE or HTTP boot. Some firmware puts another string in option
/// 60 and is known by option 93 alone (dnsmasq `dhcp-pxe-vendor`).
fn says_pxe(message: &Message) -> bool {
    let class = vendor_class(message);
    let by_class = class.starts_with(pxe::PXE_CLIENT) || class.starts_with(pxe::HTTP_CLIENT);
    by_class || message.options.get(code::CLIENT_ARCHITECTURE).is_some()
}

/// Option 93, and without it what option 60 says.
fn arches_of(message: &Message) -> Vec<Arch> {
    let options = &message.options;
    if options.get(code::CLIENT_ARCHITECTURE).is_some() {
        return pxe::architectures(options).collect();
    }
    let class = vendor_class(message);
    let rest = class.strip_prefix(pxe::PXE_CLIENT).or_else(|| class.strip_prefix(pxe::HTTP_CLIENT));
    let Some(rest) = rest else { return Vec::new() };
    match rest.strip_prefix(b":Arch:") {
        Some(text) => arch_in(text).into_iter().collect(),
        // A PXE client that names none is a BIOS: such ROMs predate it. Not if its interface is UEFI's.
        None if class.starts_with(pxe::PXE_CLIENT) && !has_uefi_interface(message) => vec![Arch::BIOS],
        None => Vec::new(),
    }
}

/// The number that `PXEClient:Arch:NNNNN:UNDI:…` has: five digits, decimal.
fn arch_in(text: &[u8]) -> Option<Arch> {
    let (digits, _) = text.split_at_checked(5)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(Arch::from_number)
}

fn has_uefi_interface(message: &Message) -> bool {
    pxe::interface_version(&message.options).is_some_and(|(major, _)| major >= 3)
}

/// What kind of program sent `message`, which says that it can boot `arches`. The most telling signs come first.
fn firmware_of(message: &Message, arches: &[Arch]) -> Firmware {
    let options = &message.options;
    let class = vendor_class(message);
    let first = arches.first().copied();
    if message.message_type().is_none() {
        Firmware::Bootp
    } else if pxe::is_ipxe(options) {
        if first.unwrap_or(Arch::BIOS) == Arch::BIOS && is_emulated_card(message) {
            Firmware::IpxeRom
        } else {
            Firmware::Ipxe
        }
    } else if class.starts_with(APPLE_BSDP) {
        Firmware::AppleBsdp
    } else if is_u_boot(message, arches) {
        Firmware::UBoot
    } else if let Some(model) = raspberry_pi(message, first) {
        model
    } else if asks_for_pxelinux_options(message) {
        Firmware::Pxelinux
    } else if says_pxe(message) {
        let http = class.starts_with(pxe::HTTP_CLIENT)
            || !class.starts_with(pxe::PXE_CLIENT) && first.is_some_and(Arch::is_http);
        match first {
            _ if http => Firmware::HttpBoot,
            Some(Arch::BIOS) => Firmware::BiosPxe,
            Some(arch) if arch.is_uefi() => Firmware::UefiPxe,
            _ => Firmware::OtherPxe,
        }
    } else if is_grub(message) {
        Firmware::Grub
    } else if is_linux_ip_dhcp(message) {
        Firmware::LinuxIpDhcp
    } else {
        Firmware::Other
    }
}

/// How option 60 of Apple's NetBoot begins (BSDP 1.1).
const APPLE_BSDP: &[u8] = b"AAPLBSDPC";

/// Cards that in practice only emulators have, and whose ROM there is iPXE: virtio of any kind; the e1000 and PCnet of
/// QEMU and VirtualBox.
fn is_emulated_card(message: &Message) -> bool {
    const VIRTIO: u16 = 0x1af4;
    let card = pxe::ipxe_card(&message.options);
    card.is_some_and(|(vendor, device)| {
        vendor == VIRTIO || matches!((vendor, device), (0x8086, 0x100e) | (0x1022, 0x2000))
    })
}

/// U-Boot (`net/bootp.c`): `U-Boot.armv8` and the like in option 60, where that is configured; an architecture of its
/// own, likewise; and always interface version 0.0. On x86 it says architecture 0, or none.
fn is_u_boot(message: &Message, arches: &[Arch]) -> bool {
    let class = vendor_class(message);
    let is_pxe = class.starts_with(pxe::PXE_CLIENT) || class.starts_with(pxe::HTTP_CLIENT);
    class.starts_with(b"U-Boot")
        || arches.iter().any(|arch| arch.is_u_boot())
        || !is_pxe && pxe::interface_version(&message.options) == Some((0, 0))
}

/// Manufacturer parts of the MAC addresses of Raspberry Pis, and the model that boots from the network and has them: 2
/// and 3; 4, 400 and CM4 (three); 4 or 5; 5. The later ones also say what they are in option 97.
const RASPBERRY_PI_OUIS: [([u8; 3], Firmware); 6] = [
    ([0xb8, 0x27, 0xeb], Firmware::RaspberryPi3),
    ([0xdc, 0xa6, 0x32], Firmware::RaspberryPi4),
    ([0xe4, 0x5f, 0x01], Firmware::RaspberryPi4),
    ([0x28, 0xcd, 0xc1], Firmware::RaspberryPi4),
    ([0xd8, 0x3a, 0xdd], Firmware::RaspberryPi4),
    ([0x2c, 0xcf, 0x67], Firmware::RaspberryPi5),
];

/// Whether the MAC is one of a Raspberry Pi.
pub fn is_raspberry_pi_mac(mac: MacAddr) -> bool {
    RASPBERRY_PI_OUIS.iter().any(|(oui, _)| mac.0.starts_with(oui))
}

/// The boot ROM of a Raspberry Pi: it calls itself a PXE client on a BIOS. A Pi that runs UEFI says so and is one.
fn raspberry_pi(message: &Message, first: Option<Arch>) -> Option<Firmware> {
    if !says_pxe(message) || !matches!(first, Some(Arch::BIOS | Arch::RASPBERRY_PI) | None) {
        return None;
    }
    let by_mac =
        message.mac().and_then(|mac| RASPBERRY_PI_OUIS.iter().find(|(oui, _)| mac.0.starts_with(oui)));
    match (pxe::raspberry_pi_model(&message.options), by_mac) {
        (Some(b'5'), _) => Some(Firmware::RaspberryPi5),
        (Some(_), _) => Some(Firmware::RaspberryPi4),
        (None, Some((_, Firmware::RaspberryPi3))) if has_serial(message) => Some(Firmware::RaspberryPi3Plus),
        (None, Some((_, model))) => Some(*model),
        (None, None) => (first == Some(Arch::RASPBERRY_PI)).then_some(Firmware::RaspberryPi4),
    }
}

/// Whether option 97 holds the serial number, as from the 3B+ on; before it was 0x44 throughout, for all of them.
fn has_serial(message: &Message) -> bool {
    let value = pxe::machine_identifier(&message.options).and_then(|value| value.get(1..));
    value.is_some_and(|id| id.iter().any(|byte| *byte != 0x44))
}

/// Whether it asks for what PXELINUX reads: its magic number, or both the configuration file and the path. Firmware
/// that hands over to PXELINUX asks for neither, nor does PXELINUX, which reads the reply to the firmware.
fn asks_for_pxelinux_options(message: &Message) -> bool {
    let asks = |code| pxe::asks_for(&message.options, code);
    asks(code::PXELINUX_MAGIC) || asks(code::PXELINUX_CONFIG_FILE) && asks(code::PXELINUX_PATH_PREFIX)
}

/// GRUB's `net_dhcp` (`grub-core/net/bootp.c`): a DISCOVER with nothing but its type, and the time as transaction id
/// and, cut to its lower half, as seconds; a REQUEST with the same and a list that begins like no other.
fn is_grub(message: &Message) -> bool {
    const LIST: [u8; 7] = [1, 3, 6, 15, 12, 17, 18];
    let options = &message.options;
    let time = u32::from(message.secs);
    let by_time = time != 0 && message.xid & 0xffff == time;
    let list = options.get(code::PARAMETER_REQUEST_LIST);
    let is_bare = options.iter().all(|(code, _)| code == code::MESSAGE_TYPE);
    list.map_or(is_bare && by_time, |list| list.starts_with(&LIST))
}

/// Linux finding its root: the kernel's request list (`net/ipv4/ipconfig.c`), or klibc's vendor class.
fn is_linux_ip_dhcp(message: &Message) -> bool {
    const LIST: [u8; 7] = [1, 3, 6, 12, 15, 17, 26];
    let list = message.options.get(code::PARAMETER_REQUEST_LIST).unwrap_or_default();
    vendor_class(message).starts_with(b"Linux ipconfig") || list.starts_with(&LIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dhcp::BOOTREQUEST;
    use std::path::Path;

    const DISCOVER: (u8, &[u8]) = (53, &[1]);
    const BIOS_ROM: (u8, &[u8]) = (60, b"PXEClient:Arch:00000:UNDI:002001");
    const UEFI: (u8, &[u8]) = (60, b"PXEClient:Arch:00007:UNDI:003000");

    fn message(options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        for (code, value) in options {
            message.options.push(*code, value);
        }
        message
    }

    fn identity(options: &[(u8, &[u8])]) -> (Stage, Firmware, Vec<u16>) {
        shown(&message(options))
    }

    fn shown(message: &Message) -> (Stage, Firmware, Vec<u16>) {
        let identity = Identity::of(message);
        let arches = identity.arches.iter().map(|arch| arch.number()).collect();
        (identity.stage, identity.firmware, arches)
    }

    /// The recording with this name in tests/data/packets.
    #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
    fn recorded(name: &str) -> Message {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packets");
        let text = std::fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap();
        let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        let digits: String = digits.split_whitespace().collect();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        Message::decode(&bytes).unwrap()
    }

    #[test]
    fn every_recorded_client_is_known() {
        use Firmware::*;
        let table: &[(&str, Stage, Firmware, &[u16])] = &[
            ("aavmf-arm64-pxe-discover", Stage::Pxe, UefiPxe, &[11]),
            ("aavmf-arm64-pxe-request", Stage::Pxe, UefiPxe, &[11]),
            ("apple-bsdp-inform-list-constructed", Stage::Other, AppleBsdp, &[]),
            ("asrock-bios-discover", Stage::Pxe, BiosPxe, &[0]),
            ("asrock-bios-offer-from-dhcp-server", Stage::Other, Other, &[]),
            // Not a client's, but whoever says only PXEClient is a BIOS.
            ("asrock-bios-offer-from-pixiecore-proxy", Stage::Pxe, BiosPxe, &[0]),
            ("bootpc-bootp", Stage::Bootp, Bootp, &[]),
            ("dhclient-discover", Stage::Other, Other, &[]),
            ("dhclient-request", Stage::Other, Other, &[]),
            ("dhclient-request-renew", Stage::Other, Other, &[]),
            ("dhcpcd-request-rebind", Stage::Other, Other, &[]),
            ("docsis-cm-relayed-discover", Stage::Other, Other, &[]),
            ("docsis-erouter-relayed-discover", Stage::Other, Other, &[]),
            ("grub-2.06-x64-discover", Stage::Other, Grub, &[]),
            ("grub-2.06-x64-request", Stage::Other, Grub, &[]),
            ("hyperv-gen2-uefi-discover", Stage::Pxe, UefiPxe, &[7]),
            ("ipxe-bios-discover", Stage::Ipxe, IpxeRom, &[0]),
            ("ipxe-bios-discover-relayed-o82", Stage::Ipxe, IpxeRom, &[0]),
            ("ipxe-bios-request", Stage::Ipxe, IpxeRom, &[0]),
            ("ipxe-bios-request-4011", Stage::Ipxe, IpxeRom, &[0]),
            ("ipxe-efi-x64-discover", Stage::Ipxe, Ipxe, &[7]),
            ("ipxe-efi-x64-request", Stage::Ipxe, Ipxe, &[7]),
            ("klibc-ipconfig-bootp-bootp", Stage::Bootp, Bootp, &[]),
            ("ovmf-x64-http-discover", Stage::Http, HttpBoot, &[16]),
            ("ovmf-x64-http-request", Stage::Http, HttpBoot, &[16]),
            ("ovmf-x64-pxe-discover", Stage::Pxe, UefiPxe, &[7]),
            ("ovmf-x64-pxe-request", Stage::Pxe, UefiPxe, &[7]),
            ("ovmf-x64-pxe-request-4011", Stage::Pxe, UefiPxe, &[7]),
            ("raspberrypi3-bootrom-discover", Stage::Pxe, RaspberryPi3Plus, &[41]),
            ("synthetic-bootp-plain", Stage::Bootp, Bootp, &[]),
            ("synthetic-no-end", Stage::Other, Other, &[]),
            ("synthetic-option-overload", Stage::Pxe, BiosPxe, &[0]),
            ("synthetic-pxe-two-archs", Stage::Pxe, UefiPxe, &[7, 7]),
            ("synthetic-split-option", Stage::Other, Other, &[]),
            ("synthetic-truncated-option", Stage::Other, Other, &[]),
            ("udhcpc-discover", Stage::Other, Other, &[]),
            ("udhcpc-release", Stage::Other, Other, &[]),
            ("udhcpc-request", Stage::Other, Other, &[]),
            ("udhcpc-request-renew", Stage::Other, Other, &[]),
            ("uefi-x64-http-hw-discover", Stage::Http, HttpBoot, &[16]),
            ("virtualbox-bios-discover", Stage::Pxe, BiosPxe, &[0]),
        ];
        for (name, stage, firmware, arches) in table {
            assert_eq!(shown(&recorded(name)), (*stage, *firmware, arches.to_vec()), "{name}");
        }
        let there =
            std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packets")).unwrap();
        assert_eq!(there.count(), table.len(), "every recording has a row");
    }

    #[test]
    fn every_stage_is_known_by_its_options() {
        use Firmware::*;
        type Row<'a> = (&'a [(u8, &'a [u8])], Stage, Firmware, &'a [u16]);
        let table: &[Row<'_>] = &[
            (&[], Stage::Bootp, Bootp, &[]),
            (&[DISCOVER], Stage::Other, Other, &[]),
            (&[DISCOVER, BIOS_ROM, (93, &[0, 0])], Stage::Pxe, BiosPxe, &[0]),
            (&[DISCOVER, UEFI, (93, &[0, 7])], Stage::Pxe, UefiPxe, &[7]),
            (&[DISCOVER, (60, b"HTTPClient:Arch:00016"), (93, &[0, 16])], Stage::Http, HttpBoot, &[16]),
            (&[DISCOVER, (60, b"HTTPClient:Arch:00019:UNDI:003000")], Stage::Http, HttpBoot, &[19]),
            (&[DISCOVER, (60, b"HTTPClient")], Stage::Http, HttpBoot, &[]),
            (&[DISCOVER, (60, b"Vendor"), (93, &[0, 16])], Stage::Http, HttpBoot, &[16]),
            (&[DISCOVER, UEFI, (93, &[0, 7]), (77, b"iPXE")], Stage::Ipxe, Ipxe, &[7]),
            (&[DISCOVER, UEFI, (93, &[0, 9]), (77, b"\x04iPXE")], Stage::Ipxe, Ipxe, &[7]),
            (&[DISCOVER, (175, &[1, 1, 1])], Stage::Ipxe, Ipxe, &[]),
            // s390x's iPXE says 0xffff.
            (&[DISCOVER, (77, b"iPXE"), (93, &[255, 255])], Stage::Ipxe, Ipxe, &[65535]),
            (&[DISCOVER, (60, b"HW-Client"), (93, &[0, 11])], Stage::Pxe, UefiPxe, &[11]),
            (
                &[DISCOVER, (60, b"PXEClient"), (93, &[0, 14]), (55, &[1, 3, 209, 210])],
                Stage::Pxe,
                Pxelinux,
                &[14],
            ),
            (&[DISCOVER, (55, &[1, 3, 208])], Stage::Other, Pxelinux, &[]),
            (&[DISCOVER, (60, b"PXEClient"), (93, &[0, 31])], Stage::Pxe, OtherPxe, &[31]),
            (&[DISCOVER, (60, b"PXEClient"), (93, &[3, 231])], Stage::Pxe, OtherPxe, &[999]),
            (&[DISCOVER, (60, b"U-Boot.armv8"), (93, &[0, 22]), (94, &[1, 0, 0])], Stage::Pxe, UBoot, &[22]),
            (&[DISCOVER, (60, b"U-Boot.armv7"), (93, &[0, 21])], Stage::Pxe, UBoot, &[21]),
            (&[DISCOVER, (93, &[0, 24])], Stage::Http, UBoot, &[24]),
            (&[DISCOVER, (94, &[1, 0, 0]), (55, &[1, 3, 6, 12, 17])], Stage::Pxe, UBoot, &[]),
            (&[DISCOVER, (60, b"U-Boot.x86"), (93, &[0, 0])], Stage::Pxe, UBoot, &[0]),
            (&[(53, &[8]), (60, b"AAPLBSDPC/i386/iMac14,3")], Stage::Other, AppleBsdp, &[]),
            (&[DISCOVER, (60, b"Linux ipconfig")], Stage::Other, LinuxIpDhcp, &[]),
            (&[DISCOVER, (55, &[1, 3, 6, 12, 15, 17, 26, 40])], Stage::Other, LinuxIpDhcp, &[]),
            (&[(53, &[3]), (55, &[1, 3, 6, 15, 12, 17, 18])], Stage::Other, Grub, &[]),
            (&[DISCOVER, (60, b"MSFT 5.0"), (55, &[1, 3, 6, 15, 31, 33])], Stage::Other, Other, &[]),
        ];
        for (options, stage, firmware, arches) in table {
            assert_eq!(identity(options), (*stage, *firmware, arches.to_vec()), "{options:?}");
        }
    }

    #[test]
    fn grub_is_known_by_the_time_in_its_bare_discover() {
        let mut bare = message(&[DISCOVER]);
        (bare.xid, bare.secs) = (0x6b02_9194, 0x9194);
        assert_eq!(shown(&bare).1, Firmware::Grub);
        bare.secs = 4;
        assert_eq!(shown(&bare).1, Firmware::Other);
        (bare.xid, bare.secs) = (0x6b02_0000, 0);
        assert_eq!(shown(&bare).1, Firmware::Other);
        let mut named = message(&[DISCOVER, (12, b"host")]);
        (named.xid, named.secs) = (0x6b02_9194, 0x9194);
        assert_eq!(shown(&named).1, Firmware::Other);
    }

    #[test]
    fn a_raspberry_pi_that_calls_itself_a_bios_is_told_apart() {
        let model = |mac: [u8; 3], options: &[(u8, &[u8])]| {
            let mut message = message(&[&[DISCOVER, BIOS_ROM, (93, &[0, 0])], options].concat());
            message.chaddr[..3].copy_from_slice(&mac);
            let identity = Identity::of(&message);
            assert_eq!(identity.arches == [Arch::RASPBERRY_PI], identity.is_raspberry_pi());
            identity.firmware
        };
        let old = [0xb8, 0x27, 0xeb];
        let fours = [&[0][..], &[0x44; 16]].concat();
        let serial = [&[0][..], &[0xd4, 0x65, 0x9b, 0xbd].repeat(4)].concat();
        assert_eq!(model(old, &[]), Firmware::RaspberryPi3);
        assert_eq!(model(old, &[(97, &fours)]), Firmware::RaspberryPi3);
        assert_eq!(model(old, &[(97, &serial)]), Firmware::RaspberryPi3Plus);
        assert_eq!(model([0xdc, 0xa6, 0x32], &[]), Firmware::RaspberryPi4);
        assert_eq!(model([2, 0, 0], &[(97, b"RPi4\x01\x02")]), Firmware::RaspberryPi4);
        assert_eq!(model([2, 0, 0], &[(97, b"\0RPi5")]), Firmware::RaspberryPi5);
        assert_eq!(
            model([0xd8, 0x3a, 0xdd], &[(97, b"RPi5\x01")]),
            Firmware::RaspberryPi5,
            "97 knows better"
        );
        assert_eq!(model([2, 0, 0], &[(97, &serial)]), Firmware::BiosPxe);
        let uefi = message(&[DISCOVER, UEFI, (93, &[0, 11]), (97, b"RPi4")]);
        assert_eq!(shown(&uefi), (Stage::Pxe, Firmware::UefiPxe, vec![11]), "its UEFI");
        let mut linux = message(&[DISCOVER, (12, b"raspberrypi")]);
        linux.chaddr[..3].copy_from_slice(&old);
        assert_eq!(shown(&linux), (Stage::Other, Firmware::Other, vec![]), "its system");
        assert_eq!(identity(&[DISCOVER, (93, &[0, 41])]), (Stage::Pxe, Firmware::RaspberryPi4, vec![41]));
    }

    #[test]
    fn without_option_93_the_vendor_class_names_the_architecture() {
        let arches = |class: &[u8]| identity(&[DISCOVER, (60, class)]);
        assert_eq!(arches(b"PXEClient:Arch:00011:UNDI:003000"), (Stage::Pxe, Firmware::UefiPxe, vec![11]));
        assert_eq!(arches(b"PXEClient:Arch:00007"), (Stage::Pxe, Firmware::UefiPxe, vec![7]));
        assert_eq!(arches(b"PXEClient:Arch:00009"), (Stage::Pxe, Firmware::UefiPxe, vec![7]));
        assert_eq!(arches(b"PXEClient"), (Stage::Pxe, Firmware::BiosPxe, vec![0]));
    }

    #[test]
    fn an_architecture_that_cannot_be_read_is_not_a_bios() {
        let unknown = (Stage::Pxe, Firmware::OtherPxe, vec![]);
        for class in
            ["PXEClient:Arch:0000B", "PXEClient:Arch:7", "PXEClient:Arch:+0000", "PXEClient:Arch:99999"]
        {
            assert_eq!(identity(&[DISCOVER, (60, class.as_bytes())]), unknown, "{class}");
        }
        for bad in [&[0][..], &[0, 7, 0], &[]] {
            assert_eq!(identity(&[DISCOVER, (60, b"PXEClient"), (93, bad)]), unknown, "{bad:?}");
        }
        assert_eq!(identity(&[DISCOVER, (60, b"PXEClient"), (94, &[1, 3, 0])]), unknown, "UEFI's interface");
        assert_eq!(identity(&[DISCOVER, (60, b"PXEClient"), (94, &[1, 2, 1])]).2, [0], "a BIOS's");
    }

    #[test]
    fn rfc4578_2_3_option_97_may_be_anything_or_nothing() {
        let rom = [DISCOVER, UEFI, (93, &[0, 7][..])];
        let expected = identity(&rom);
        for id in [&[0; 17][..], &[0xff; 17], &[0; 16], &[1, 2, 3], &[], &[7; 40]] {
            assert_eq!(identity(&[&rom[..], &[(97, id)]].concat()), expected, "{id:?}");
        }
    }

    #[test]
    fn an_ipxe_that_hides_is_still_suspected() {
        assert!(may_be_ipxe(&recorded("ipxe-bios-discover")));
        assert!(may_be_ipxe(&message(&[DISCOVER, BIOS_ROM, (55, &[1, 3, 43, 175, 203])])));
        assert!(may_be_ipxe(&message(&[DISCOVER, UEFI, (94, &[1, 3, 10])])));
        for firmware in ["ovmf-x64-pxe-discover", "virtualbox-bios-discover", "raspberrypi3-bootrom-discover"]
        {
            assert!(!may_be_ipxe(&recorded(firmware)), "{firmware}");
        }
    }
}
