//! The options of PXE clients: 43, 60, 77, 93, 94, 97 and 175 (RFC 4578, RFC 3004, PXE 2.1 section 2, iPXE).

use std::net::Ipv4Addr;

use crate::types::{Arch, Uuid};
use crate::wire::dhcp::Options;
pub use crate::wire::option::HTTP_CLIENT;
use crate::wire::option::code;

/// Option 43 that makes a client load the named file at once: suboption 6, discovery control, bit 3 ("do not prompt, no
/// multicast or broadcast discovery", PXE 2.1 table 2-1). Without it, EDK2 expects a boot server on port 4011 because
/// of option 60.
pub const BOOT_FILE_AT_ONCE: [u8; 4] = [6, 1, 8, 255];

/// Option 43 that the boot ROM of a Raspberry Pi requires: discovery control, menu prompt `PXE`, and a menu with the
/// item `Raspberry Pi Boot` (Raspberry Pi documentation, "network boot"; raspberrypi/firmware#894).
pub const RASPBERRY_PI_MENU: &[u8] = b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff";

/// Option 175, suboption 176 = 1, `no-pxedhcp`: iPXE skips its two-second wait for a proxyDHCP server (iPXE `dhcp.c`).
pub const IPXE_NO_PROXY: [u8; 3] = [176, 1, 1];

/// The maximum length of option 43. RFC 3396 would allow more, but firmware reads only the first part.
pub const MAX_VENDOR_OPTIONS: usize = 255;

/// The boot server type of the local disk (PXE 2.1 table 2-1, PXE_BOOT_MENU: "type 0 is local boot").
pub const LOCAL_BOOT: u16 = 0;

/// An item of a boot menu as sent to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MenuItem<'a> {
    /// The boot server type of the item.
    pub kind: u16,
    /// The text in the menu.
    pub text: &'a str,
    /// The server to ask for the boot file on port 4011; `None` for local boot.
    pub server: Option<Ipv4Addr>,
}

/// Encodes option 43 with a menu (PXE 2.1 table 2-1): discovery control (only servers in the list, by unicast), boot
/// servers, menu and prompt. `timeout` is the number of seconds until the first item boots: 0 boots it immediately, 255
/// shows the menu and waits forever.
///
/// # Errors
/// Returns the length if it is more than [`MAX_VENDOR_OPTIONS`].
pub fn menu(prompt: &str, timeout: u8, items: &[MenuItem<'_>]) -> Result<Vec<u8>, usize> {
    const DISCOVERY_CONTROL: [u8; 3] = [6, 1, 0b111];
    const END: u8 = 255;
    let (mut servers, mut menu) = (Vec::new(), Vec::new());
    for item in items {
        let kind = item.kind.to_be_bytes();
        if let Some(server) = item.server {
            servers.extend([&kind[..], &[1], &server.octets()].concat());
        }
        // A text too long for its length byte makes the whole option too long, which is an error.
        menu.extend([&kind[..], &[item.text.len() as u8], item.text.as_bytes()].concat());
    }
    let prompt = [&[timeout], prompt.as_bytes()].concat();
    let mut bytes = DISCOVERY_CONTROL.to_vec();
    for (suboption, value) in [(8, servers), (9, menu), (10, prompt)] {
        if !value.is_empty() {
            bytes.extend([suboption, value.len() as u8]);
            bytes.extend(value);
        }
    }
    bytes.push(END);
    if bytes.len() <= MAX_VENDOR_OPTIONS { Ok(bytes) } else { Err(bytes.len()) }
}

/// Returns the value of a suboption of option 43; of repeated ones, the first. iPXE and some ROMs leave out the END
/// mark, or send two.
pub fn suboption(options: &Options, wanted: u8) -> Option<&[u8]> {
    const PAD: u8 = 0;
    const END: u8 = 255;
    let mut rest = options.get(code::VENDOR_SPECIFIC)?;
    loop {
        match rest {
            [PAD, tail @ ..] => rest = tail,
            [END, ..] | [] | [_] => return None,
            [number, len, tail @ ..] => {
                let (value, next) = tail.split_at_checked(usize::from(*len))?;
                if *number == wanted {
                    return Some(value);
                }
                rest = next;
            }
        }
    }
}

/// The menu item that a client chose: suboption 71 of option 43 (PXE 2.1 table 2-1, PXE_BOOT_ITEM).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootItem {
    /// The boot server type.
    pub kind: u16,
    /// The number of the file within the boot server type; 0 is the first.
    pub layer: u16,
}

impl BootItem {
    /// Returns the item that a message asks for.
    pub fn of(options: &Options) -> Option<BootItem> {
        let [a, b, c, d] = *suboption(options, 71)? else { return None };
        Some(BootItem { kind: u16::from_be_bytes([a, b]), layer: u16::from_be_bytes([c, d]) })
    }

    /// Encodes option 43 of the reply, which repeats the item.
    pub fn encode(self) -> Vec<u8> {
        let ([a, b], [c, d]) = (self.kind.to_be_bytes(), self.layer.to_be_bytes());
        vec![71, 4, a, b, c, d, 255]
    }
}

/// The beginning of option 60 of PXE clients, and its whole value in the reply.
pub const PXE_CLIENT: &[u8] = b"PXEClient";

/// Returns the architectures in option 93, a list of 16-bit numbers (RFC 4578 section 2.1). The list is empty if the
/// option is missing or has an odd length.
pub fn architectures(options: &Options) -> impl Iterator<Item = Arch> {
    let value = options.get(code::CLIENT_ARCHITECTURE).filter(|value| value.len().is_multiple_of(2));
    value.unwrap_or_default().chunks_exact(2).filter_map(|pair| {
        let number: [u8; 2] = pair.try_into().ok()?;
        Some(Arch::from_number(u16::from_be_bytes(number)))
    })
}

/// Whether the client is iPXE: option 175 is present, or option 77 is `iPXE`, raw as iPXE sends it or in the format of
/// RFC 3004.
pub fn is_ipxe(options: &Options) -> bool {
    let user_class = options.get(code::USER_CLASS).unwrap_or_default();
    options.get(code::ETHERBOOT).is_some() || has_user_class(user_class, b"iPXE")
}

/// Returns the UUIDs that option 97 can mean: in the byte order of SMBIOS, which firmware sends, and in that of the
/// text, which RFC 4578 section 2.3 may require. Accepts 16 bytes without the type byte too. Returns `None` if the UUID
/// is only a placeholder.
pub fn machine_uuids(options: &Options) -> Option<[Uuid; 2]> {
    let value = options.get(code::MACHINE_IDENTIFIER)?;
    let bytes: [u8; 16] = value.try_into().ok().or_else(|| value.strip_prefix(&[0])?.try_into().ok())?;
    let uuids = [Uuid::from_smbios(bytes), Uuid::from_network(bytes)];
    uuids.iter().all(|uuid| !uuid.is_junk()).then_some(uuids)
}

/// Returns the user classes in `value` (option 77): the whole value, as iPXE sends it raw, and each instance of RFC
/// 3004.
pub fn user_classes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    let instances = std::iter::from_fn(move || {
        let [len, tail @ ..] = rest else { return None };
        let (instance, next) = tail.split_at_checked(usize::from(*len))?;
        rest = next;
        Some(instance)
    });
    std::iter::once(value).chain(instances)
}

/// Whether `value` (option 77) contains `name`, either raw (iPXE leaves out the length byte) or as an instance of RFC
/// 3004.
pub fn has_user_class(value: &[u8], name: &[u8]) -> bool {
    user_classes(value).any(|class| class == name)
}

/// Returns option 97 if it is an identifier that a reply can repeat: 17 bytes, type 0 (RFC 4578 section 2.3).
pub fn machine_identifier(options: &Options) -> Option<&[u8]> {
    options.get(code::MACHINE_IDENTIFIER).filter(|value| value.len() == 17 && value.first() == Some(&0))
}

/// Whether the client requests option `wanted` in option 55.
pub fn asks_for(options: &Options, wanted: u8) -> bool {
    options.get(code::PARAMETER_REQUEST_LIST).unwrap_or_default().contains(&wanted)
}

/// Returns the major and minor version of the client's network interface (option 94, type 1, RFC 4578 section 2.2): 2.1
/// in a BIOS, 3.0 and 3.16 in EDK2, 3.10 in iPXE for UEFI, 0.0 in U-Boot.
pub fn interface_version(options: &Options) -> Option<(u8, u8)> {
    match options.get(code::CLIENT_NETWORK_INTERFACE)? {
        [1, major, minor] => Some((*major, *minor)),
        _ => None,
    }
}

/// Returns the vendor and device of the PCI network card that iPXE uses: suboption 177 of option 175, bus type 1 (iPXE
/// `dhcp.h`). Returns `None` for other buses.
pub fn ipxe_card(options: &Options) -> Option<(u16, u16)> {
    let mut rest = options.get(code::ETHERBOOT)?;
    while let [number, len, tail @ ..] = rest {
        let (value, next) = tail.split_at_checked(usize::from(*len))?;
        if let (177, [1, a, b, c, d]) = (*number, value) {
            return Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
        }
        rest = next;
    }
    None
}

/// Returns the model digit of a Raspberry Pi 4 or later: option 97 begins with `RPi4` or `RPi5`, with or without a type
/// byte (rpi-eeprom).
pub fn raspberry_pi_model(options: &Options) -> Option<u8> {
    let value = options.get(code::MACHINE_IDENTIFIER).unwrap_or_default();
    value.strip_prefix(&[0]).unwrap_or(value).strip_prefix(b"RPi")?.first().copied()
}

/// Returns the serial number in option 97 of a Raspberry Pi 4 or 5, in the eight digits that also name its folder. The
/// option has four fields of four bytes: `RPi4`, board revision, end of the MAC, serial number; numbers are
/// little-endian (Raspberry Pi documentation, "DHCP_OPTION97"). A serial number of zero gives `None`.
pub fn raspberry_pi_serial(options: &Options) -> Option<String> {
    let value = options.get(code::MACHINE_IDENTIFIER).filter(|_| raspberry_pi_model(options).is_some())?;
    let fields = value.strip_prefix(&[0]).unwrap_or(value);
    let serial: [u8; 4] = fields.get(12..16)?.try_into().ok()?;
    let serial = u32::from_le_bytes(serial);
    (serial != 0).then(|| format!("{serial:08x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(code: u8, value: &[u8]) -> Options {
        let mut options = Options::default();
        options.push(code, value);
        options
    }

    #[test]
    fn rfc4578_2_1_option_93_is_a_list() {
        let list = |value| architectures(&options(93, value)).map(Arch::number).collect::<Vec<_>>();
        assert_eq!(list(&[0, 7]), [7]);
        assert_eq!(list(&[0, 11, 0, 9]), [11, 7]);
        assert_eq!(list(&[0, 7, 0]), [0u16; 0]);
        assert_eq!(architectures(&Options::default()).count(), 0);
    }

    #[test]
    fn pxe_2_1_table_2_1_a_menu_is_encoded() {
        let ours = Some(Ipv4Addr::new(192, 168, 77, 1));
        let items = [
            MenuItem { kind: 0x8000, text: "Debian", server: ours },
            MenuItem { kind: LOCAL_BOOT, text: "Disk", server: None },
        ];
        let expected = [
            &[6, 1, 7][..],
            &[8, 7, 0x80, 0, 1, 192, 168, 77, 1],
            &[9, 16, 0x80, 0, 6],
            b"Debian",
            &[0, 0, 4],
            b"Disk",
            &[10, 4, 20],
            b"F8?",
            &[255],
        ];
        assert_eq!(menu("F8?", 20, &items), Ok(expected.concat()));
        assert_eq!(
            menu("", 0, &items[1..]),
            Ok([&[6, 1, 7, 9, 7, 0, 0, 4][..], b"Disk\x0a\x01\0\xff"].concat())
        );
    }

    #[test]
    fn a_menu_fits_one_option_or_fails() {
        let text = |len| "x".repeat(len);
        let encoded = |len: usize| menu("", 9, &[MenuItem { kind: 0, text: &text(len), server: None }]);
        let longest = MAX_VENDOR_OPTIONS - encoded(0).unwrap().len();
        assert_eq!(encoded(longest).unwrap().len(), 255);
        assert_eq!(encoded(longest + 1), Err(256));
        assert_eq!(encoded(300 + longest), Err(555));
    }

    #[test]
    fn pxe_2_1_table_2_1_the_choice_is_echoed() {
        let read = |value: &[u8]| BootItem::of(&options(43, value)).map(|item| (item.kind, item.layer));
        for recorded in [&[71, 4, 0x80, 1, 0, 0, 255, 255][..], &[71, 4, 0x80, 1, 0, 0]] {
            assert_eq!(read(recorded), Some((0x8001, 0)));
        }
        assert_eq!(read(&[0, 1, 2, 9, 9, 71, 4, 0, 1, 0x80, 0]), Some((1, 0x8000)));
        for other in [&[][..], &[71], &[71, 4, 0], &[71, 2, 0, 1], &[255, 71, 4, 0, 0, 0, 0], &[6, 9, 8]] {
            assert_eq!(read(other), None, "{other:?}");
        }
        assert_eq!(read(&BootItem { kind: 0x8002, layer: 3 }.encode()), Some((0x8002, 3)));
    }

    #[test]
    fn rfc3004_4_ipxe_is_recognized_by_its_user_class() {
        assert!(is_ipxe(&options(77, b"iPXE")));
        assert!(is_ipxe(&options(77, b"\x04iPXE")));
        assert!(is_ipxe(&options(77, b"\x03lab\x04iPXE")));
        assert!(is_ipxe(&options(175, &[])));
        for other in [&b"iPX"[..], b"xiPXE", b"\x05iPXE", b"", b"\x00", b"\xff"] {
            assert!(!is_ipxe(&options(77, other)), "{other:?}");
        }
    }

    #[test]
    fn rfc4578_2_3_a_uuid_has_two_byte_orders() {
        let uuid = |text: &str| text.parse::<Uuid>().unwrap();
        let bytes: Vec<u8> = (0..17).collect();
        let expected =
            [uuid("04030201-0605-0807-090a-0b0c0d0e0f10"), uuid("01020304-0506-0708-090a-0b0c0d0e0f10")];
        assert_eq!(machine_uuids(&options(97, &bytes)), Some(expected));
        assert_eq!(machine_uuids(&options(97, &bytes[1..])), Some(expected), "without its type");
        for bad in [&[0; 17][..], &[0xff; 16], &[1; 17], &[1, 2, 3], &[]] {
            assert_eq!(machine_uuids(&options(97, bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn ipxe_names_its_card_among_its_features() {
        let card = |value: &[u8]| ipxe_card(&options(175, value));
        assert_eq!(card(&[0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0xeb, 3, 1, 0, 0]), Some((0x1af4, 0x1000)));
        assert_eq!(card(&[0xeb, 3, 1, 0, 0, 0xb1, 5, 1, 0x80, 0x86, 0x10, 0x0e]), Some((0x8086, 0x100e)));
        for other in
            [&[0xb1, 5, 2, 0x1a, 0xf4, 0x10, 0][..], &[0xb1, 2, 1, 0x1a], &[0xb1, 9, 1], &[0xb1], &[]]
        {
            assert_eq!(card(other), None, "{other:?}");
        }
    }

    #[test]
    fn rfc4578_2_2_the_interface_version_requires_undi() {
        assert_eq!(interface_version(&options(94, &[1, 3, 16])), Some((3, 16)));
        for other in [&[2, 3, 16][..], &[1, 3], &[1, 3, 16, 0], &[]] {
            assert_eq!(interface_version(&options(94, other)), None, "{other:?}");
        }
    }

    #[test]
    fn rfc4578_2_3_a_machine_identifier_is_17_bytes_of_type_0() {
        assert!(machine_identifier(&options(97, &[0; 17])).is_some());
        for bad in [&[0; 16][..], &[0; 18], &[1; 17], &[]] {
            assert!(machine_identifier(&options(97, bad)).is_none());
        }
    }

    #[test]
    fn a_raspberry_pis_serial_number_is_read_from_option_97() {
        let id = b"RPi4\x14\x31\xc0\x00\x32\x01\x02\x03\xef\xcd\x0b\x10";
        assert_eq!(raspberry_pi_serial(&options(97, id)).as_deref(), Some("100bcdef"));
        assert_eq!(raspberry_pi_serial(&options(97, &[&[0], &id[..]].concat())).as_deref(), Some("100bcdef"));
        for other in [&id[..15], b"RPi4", &[0; 17], b"", b"RPi5\0\0\0\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(raspberry_pi_serial(&options(97, other)), None, "{other:?}");
        }
    }
}
