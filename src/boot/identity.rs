//! Who is asking: what a message tells about the machine and how far it has booted.

use crate::types::{Arch, Stage};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::pxe;

/// What is known of a client from one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// How far it has booted.
    pub stage: Stage,
    /// The architectures it says it can boot, its own first. Empty for a client that says none.
    pub arches: Vec<Arch>,
}

impl Identity {
    /// Reads options 53, 60, 77, 93 and 175.
    pub fn of(message: &Message) -> Identity {
        let options = &message.options;
        let vendor_class = options.get(code::VENDOR_CLASS).unwrap_or_default();
        let mut arches: Vec<Arch> = pxe::architectures(options).collect();
        let stage = if message.message_type().is_none() {
            Stage::Bootp
        } else if pxe::is_ipxe(options) {
            Stage::Ipxe
        } else if vendor_class.starts_with(pxe::HTTP_CLIENT) {
            Stage::Http
        } else if vendor_class.starts_with(pxe::PXE_CLIENT) || !arches.is_empty() {
            // Some firmware puts another string in option 60 and is known by option 93 alone (dnsmasq `dhcp-pxe-vendor`).
            Stage::Pxe
        } else {
            Stage::Other
        };
        if arches.is_empty() && vendor_class.starts_with(pxe::PXE_CLIENT) {
            arches.extend(arch_in_vendor_class(vendor_class));
        }
        if stage == Stage::Pxe && arches == [Arch::BIOS] && is_raspberry_pi(message) {
            arches = vec![Arch::RASPBERRY_PI];
        }
        Identity { stage, arches }
    }

    /// Whether it is the boot ROM of a Raspberry Pi, which boots by files of fixed names and not by the one we name.
    pub fn is_raspberry_pi(&self) -> bool {
        self.arches == [Arch::RASPBERRY_PI]
    }

    /// The architecture shown in logs: the first one it says.
    pub fn arch(&self) -> Option<Arch> {
        self.arches.first().copied()
    }
}

/// Manufacturer parts of the MAC addresses of Raspberry Pis: 1 to 3, 4, 400, Pico and CM4, 5.
const RASPBERRY_PI_OUIS: [[u8; 3]; 6] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0x28, 0xcd, 0xc1],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
];

/// Whether a client that calls itself a BIOS is a Raspberry Pi: by its MAC, or from the 4 on by option 97.
fn is_raspberry_pi(message: &Message) -> bool {
    let by_mac = message.mac().is_some_and(|mac| RASPBERRY_PI_OUIS.iter().any(|oui| mac.0.starts_with(oui)));
    by_mac || pxe::is_raspberry_pi_identifier(&message.options)
}

/// The architecture in `PXEClient:Arch:NNNNN:…`, decimal. A PXE client that names none is a BIOS: such ROMs predate it.
fn arch_in_vendor_class(text: &[u8]) -> Option<Arch> {
    let Some(rest) = text.strip_prefix(b"PXEClient:Arch:") else { return Some(Arch::BIOS) };
    let digits = std::str::from_utf8(rest.get(..5)?).ok()?;
    digits.parse().ok().map(Arch::from_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dhcp::BOOTREQUEST;

    fn identity(options: &[(u8, &[u8])]) -> (Stage, Vec<u16>) {
        let mut message = Message::new(BOOTREQUEST);
        for (code, value) in options {
            message.options.push(*code, value);
        }
        let identity = Identity::of(&message);
        (identity.stage, identity.arches.iter().map(|arch| arch.number()).collect())
    }

    #[test]
    fn every_stage_is_known_by_its_options() {
        let discover = (53, &[1][..]);
        assert_eq!(identity(&[]), (Stage::Bootp, vec![]));
        assert_eq!(identity(&[discover]), (Stage::Other, vec![]));
        let uefi = (60, &b"PXEClient:Arch:00007:UNDI:003000"[..]);
        assert_eq!(identity(&[discover, uefi, (93, &[0, 7])]), (Stage::Pxe, vec![7]));
        assert_eq!(
            identity(&[discover, (60, b"HTTPClient:Arch:00016"), (93, &[0, 16])]),
            (Stage::Http, vec![16])
        );
        assert_eq!(identity(&[discover, uefi, (93, &[0, 7]), (77, b"iPXE")]), (Stage::Ipxe, vec![7]));
        assert_eq!(identity(&[discover, (175, &[1, 1, 1])]), (Stage::Ipxe, vec![]));
        assert_eq!(identity(&[discover, (60, b"HW-Client"), (93, &[0, 11])]), (Stage::Pxe, vec![11]));
    }

    #[test]
    fn a_raspberry_pi_that_calls_itself_a_bios_is_told_apart() {
        let discover = (53, &[1][..]);
        let rom = (60, &b"PXEClient:Arch:00000:UNDI:002001"[..]);
        assert_eq!(identity(&[discover, rom, (93, &[0, 0]), (97, b"RPi4\x01\x02")]), (Stage::Pxe, vec![41]));
        assert_eq!(identity(&[discover, rom, (93, &[0, 0]), (97, b"\0RPi5")]), (Stage::Pxe, vec![41]));
        assert_eq!(
            identity(&[discover, rom, (93, &[0, 11]), (97, b"RPi4")]),
            (Stage::Pxe, vec![11]),
            "its UEFI"
        );
        let mut message = Message::new(BOOTREQUEST);
        message.chaddr[..3].copy_from_slice(&[0xb8, 0x27, 0xeb]);
        message.options.push(53, &[1]);
        message.options.push(60, rom.1);
        assert!(Identity::of(&message).is_raspberry_pi());
    }

    #[test]
    fn without_option_93_the_vendor_class_names_the_architecture() {
        let discover = (53, &[1][..]);
        assert_eq!(identity(&[discover, (60, b"PXEClient:Arch:00011:UNDI:003000")]), (Stage::Pxe, vec![11]));
        assert_eq!(identity(&[discover, (60, b"PXEClient")]), (Stage::Pxe, vec![0]));
        assert_eq!(identity(&[discover, (60, b"PXEClient:Arch:0000B")]), (Stage::Pxe, vec![]));
        assert_eq!(identity(&[discover, (60, b"PXEClient:Arch:7")]), (Stage::Pxe, vec![]));
    }
}
