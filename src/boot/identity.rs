//! The identity of a client: recognizes the program that sent a message, its boot stage and its architectures.
//!
//! `dhcp/request.rs` calls [`Identity::of`] once per message; every decision about boot files rests on it. The
//! recognition uses only the message itself, never earlier messages.

use crate::types::{Arch, Firmware, MacAddr, Stage};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::pxe;

/// The identity of a client, taken from one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub stage: Stage,
    pub firmware: Firmware,
    /// The architectures that the client can boot, its own first. Empty if the message names none or option 93 is
    /// unreadable; such a client must not get the boot file of a BIOS.
    pub arches: Vec<Arch>,
}

impl Identity {
    /// Identifies the sender by options 43, 53, 55, 60, 77, 93, 94, 97 and 175 and by its MAC.
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
            // These clients want an address. GRUB would even accept a proxy's OFFER, which assigns none.
            Firmware::Grub | Firmware::AppleBsdp | Firmware::LinuxIpDhcp | Firmware::Other => Stage::Other,
            _ => Stage::Pxe,
        };
        Identity { stage, firmware, arches }
    }

    /// Whether this is the boot ROM of a Raspberry Pi, which loads files of fixed names and ignores the boot file name.
    pub fn is_raspberry_pi(&self) -> bool {
        self.firmware.is_raspberry_pi()
    }

    /// Returns the first architecture in the message, which logs show.
    pub fn arch(&self) -> Option<Arch> {
        self.arches.first().copied()
    }
}

/// Whether `message` may come from an iPXE although neither option 77 nor 175 says so: it requests iPXE's own options,
/// or has the interface version that only iPXE for UEFI sends. This is too weak to act on before a loop is found
/// (`boot/guard.rs`): Etherboot requests option 175 too, and runs no scripts.
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

/// Whether option 60 or 93 identifies a client of PXE or HTTP boot. Some firmware sends another string in option 60, so
/// that only option 93 identifies it (dnsmasq `dhcp-pxe-vendor`).
fn says_pxe(message: &Message) -> bool {
    let class = vendor_class(message);
    let by_class = class.starts_with(pxe::PXE_CLIENT) || class.starts_with(pxe::HTTP_CLIENT);
    by_class || message.options.get(code::CLIENT_ARCHITECTURE).is_some()
}

/// Returns the architectures in option 93 or, without it, the one in option 60.
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
        // A PXE client that names no architecture is a BIOS, because such ROMs predate the option. UEFI's interface
        // type rules that out.
        None if class.starts_with(pxe::PXE_CLIENT) && !has_uefi_interface(message) => vec![Arch::BIOS],
        None => Vec::new(),
    }
}

/// Returns the architecture in `PXEClient:Arch:NNNNN:UNDI:…`: five decimal digits.
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

/// Returns the kind of program that sent `message` and can boot `arches`. The most specific signs are checked first.
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

/// The beginning of option 60 of Apple's NetBoot (BSDP 1.1).
const APPLE_BSDP: &[u8] = b"AAPLBSDPC";

/// Whether the network card exists only in emulators, whose ROM is iPXE: any virtio card, and the e1000 and PCnet of
/// QEMU and VirtualBox.
fn is_emulated_card(message: &Message) -> bool {
    const VIRTIO: u16 = 0x1af4;
    let card = pxe::ipxe_card(&message.options);
    card.is_some_and(|(vendor, device)| {
        vendor == VIRTIO || matches!((vendor, device), (0x8086, 0x100e) | (0x1022, 0x2000))
    })
}

/// Whether the client is U-Boot (`net/bootp.c`). Depending on its build it sends `U-Boot.armv8` or similar in option
/// 60, and its own architecture. It always sends interface version 0.0. On x86 it sends architecture 0, or none.
fn is_u_boot(message: &Message, arches: &[Arch]) -> bool {
    let class = vendor_class(message);
    let is_pxe = class.starts_with(pxe::PXE_CLIENT) || class.starts_with(pxe::HTTP_CLIENT);
    class.starts_with(b"U-Boot")
        || arches.iter().any(|arch| arch.is_u_boot())
        || !is_pxe && pxe::interface_version(&message.options) == Some((0, 0))
}

/// The OUIs of Raspberry Pis, with the model that boots from the network: 2 and 3; 4, 400 and CM4 (three OUIs); 4 or 5;
/// 5. The later models also identify themselves in option 97.
const RASPBERRY_PI_OUIS: [([u8; 3], Firmware); 6] = [
    ([0xb8, 0x27, 0xeb], Firmware::RaspberryPi3),
    ([0xdc, 0xa6, 0x32], Firmware::RaspberryPi4),
    ([0xe4, 0x5f, 0x01], Firmware::RaspberryPi4),
    ([0x28, 0xcd, 0xc1], Firmware::RaspberryPi4),
    ([0xd8, 0x3a, 0xdd], Firmware::RaspberryPi4),
    ([0x2c, 0xcf, 0x67], Firmware::RaspberryPi5),
];

pub fn is_raspberry_pi_mac(mac: MacAddr) -> bool {
    RASPBERRY_PI_OUIS.iter().any(|(oui, _)| mac.0.starts_with(oui))
}

/// Recognizes the boot ROM of a Raspberry Pi, which claims to be PXE on a BIOS. A Pi that runs UEFI firmware sends
/// UEFI's architecture and is treated as UEFI.
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

/// Whether option 97 holds a serial number, as it does from the 3B+ on. Earlier boot ROMs send 0x44 in every byte.
fn has_serial(message: &Message) -> bool {
    let value = pxe::machine_identifier(&message.options).and_then(|value| value.get(1..));
    value.is_some_and(|id| id.iter().any(|byte| *byte != 0x44))
}

/// Whether the client requests the options that PXELINUX reads: its magic number, or both the configuration file and
/// the path prefix. Firmware that loads PXELINUX requests neither. PXELINUX itself sends no requests; it reads the
/// reply to the firmware.
fn asks_for_pxelinux_options(message: &Message) -> bool {
    let asks = |code| pxe::asks_for(&message.options, code);
    asks(code::PXELINUX_MAGIC) || asks(code::PXELINUX_CONFIG_FILE) && asks(code::PXELINUX_PATH_PREFIX)
}

/// Whether the client is GRUB's `net_dhcp` (`grub-core/net/bootp.c`). Its DISCOVER has only a message type; its
/// transaction id is the time, and `secs` is the lower half of that. Its REQUEST has the same, and a parameter list
/// that begins like no other.
fn is_grub(message: &Message) -> bool {
    const LIST: [u8; 7] = [1, 3, 6, 15, 12, 17, 18];
    let options = &message.options;
    let time = u32::from(message.secs);
    let by_time = time != 0 && message.xid & 0xffff == time;
    let list = options.get(code::PARAMETER_REQUEST_LIST);
    let is_bare = options.iter().all(|(code, _)| code == code::MESSAGE_TYPE);
    list.map_or(is_bare && by_time, |list| list.starts_with(&LIST))
}

/// Whether the client is Linux looking for its root file system: the parameter list of the kernel
/// (`net/ipv4/ipconfig.c`), or the vendor class of klibc.
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
        identified(&message(options))
    }

    fn identified(message: &Message) -> (Stage, Firmware, Vec<u16>) {
        let identity = Identity::of(message);
        let arches = identity.arches.iter().map(|arch| arch.number()).collect();
        (identity.stage, identity.firmware, arches)
    }

    /// Reads the recorded packet of this name in tests/data/packets.
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
    fn recorded_clients_are_recognized() {
        use Firmware::*;
        let table: &[(&str, Stage, Firmware, &[u16])] = &[
            ("aavmf-arm64-pxe-discover", Stage::Pxe, UefiPxe, &[11]),
            ("aavmf-arm64-pxe-request", Stage::Pxe, UefiPxe, &[11]),
            ("apple-bsdp-inform-list-constructed", Stage::Other, AppleBsdp, &[]),
            ("asrock-bios-discover", Stage::Pxe, BiosPxe, &[0]),
            ("asrock-bios-offer-from-dhcp-server", Stage::Other, Other, &[]),
            // A server's packet; but a sender that says only PXEClient counts as a BIOS.
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
            assert_eq!(identified(&recorded(name)), (*stage, *firmware, arches.to_vec()), "{name}");
        }
        let there =
            std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packets")).unwrap();
        assert_eq!(there.count(), table.len(), "every recording has a row");
    }

    #[test]
    fn each_stage_is_recognized_by_its_options() {
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
            // iPXE on s390x sends 0xffff.
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
    fn grub_is_recognized_by_its_transaction_id() {
        let mut bare = message(&[DISCOVER]);
        (bare.xid, bare.secs) = (0x6b02_9194, 0x9194);
        assert_eq!(identified(&bare).1, Firmware::Grub);
        bare.secs = 4;
        assert_eq!(identified(&bare).1, Firmware::Other);
        (bare.xid, bare.secs) = (0x6b02_0000, 0);
        assert_eq!(identified(&bare).1, Firmware::Other);
        let mut named = message(&[DISCOVER, (12, b"host")]);
        (named.xid, named.secs) = (0x6b02_9194, 0x9194);
        assert_eq!(identified(&named).1, Firmware::Other);
    }

    #[test]
    fn a_raspberry_pi_is_recognized_despite_its_bios_architecture() {
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
        assert_eq!(identified(&uefi), (Stage::Pxe, Firmware::UefiPxe, vec![11]), "its UEFI");
        let mut linux = message(&[DISCOVER, (12, b"raspberrypi")]);
        linux.chaddr[..3].copy_from_slice(&old);
        assert_eq!(identified(&linux), (Stage::Other, Firmware::Other, vec![]), "its system");
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
    fn an_unreadable_architecture_is_not_a_bios() {
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
    fn an_ipxe_without_its_options_is_suspected() {
        assert!(may_be_ipxe(&recorded("ipxe-bios-discover")));
        assert!(may_be_ipxe(&message(&[DISCOVER, BIOS_ROM, (55, &[1, 3, 43, 175, 203])])));
        assert!(may_be_ipxe(&message(&[DISCOVER, UEFI, (94, &[1, 3, 10])])));
        for firmware in ["ovmf-x64-pxe-discover", "virtualbox-bios-discover", "raspberrypi3-bootrom-discover"]
        {
            assert!(!may_be_ipxe(&recorded(firmware)), "{firmware}");
        }
    }
}
