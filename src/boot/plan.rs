//! How a boot file is put into a reply, so that every firmware finds it where it looks.

use std::net::Ipv4Addr;

use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::types::Stage;
use crate::wire::dhcp::{Message, padded};
use crate::wire::option::code;
use crate::wire::pxe;

/// The boot fields and options of a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The TFTP server's address in text. shim, U-Boot and old ROMs read only the header; EDK2 and GRUB the options.
    pub sname: [u8; 64],
    /// The boot file's name; all zero when it is too long for the field and stands in option 67 alone.
    pub file: [u8; 128],
    /// Options, in the order in which they go out.
    pub options: Vec<(u8, Vec<u8>)>,
}

/// What to tell a client that sent `request`, given its boot file, when `server` serves it. `None` for a client that
/// boots nothing from here: it must not take us for a boot server.
///
/// The name goes into `file` and option 67 alike, and the server into `sname` and option 66: EDK2 and GRUB prefer 67,
/// iPXE, PXELINUX and U-Boot prefer `file`. Both options end in NUL: an old ROM reads on into the next option's tag.
/// No option overload (52): GRUB then ignores `file`.
pub fn plan(
    request: &Message,
    identity: &Identity,
    choice: Option<&Choice>,
    server: Ipv4Addr,
) -> Option<Plan> {
    // A Raspberry Pi asks for its files by fixed names; the one named here is only for those who gave it one.
    if choice.is_none() && !identity.is_raspberry_pi() {
        return None;
    }
    let stage = identity.stage;
    let server_text = server.to_string();
    let file = choice.map(|choice| choice.file.replace("{server}", &server_text)).unwrap_or_default();
    let mut options = Vec::with_capacity(6);
    let vendor_class = request.options.get(code::VENDOR_CLASS).unwrap_or_default();
    for class in [pxe::PXE_CLIENT, pxe::HTTP_CLIENT] {
        if vendor_class.starts_with(class) {
            options.push((code::VENDOR_CLASS, class.to_vec()));
        }
    }
    if vendor_class.starts_with(pxe::PXE_CLIENT) {
        let pi = identity.is_raspberry_pi();
        let menu = if pi { pxe::RASPBERRY_PI_MENU } else { &pxe::BOOT_FILE_AT_ONCE };
        options.push((code::VENDOR_SPECIFIC, menu.to_vec()));
    }
    if let Some(id) = pxe::machine_identifier(&request.options) {
        options.push((code::MACHINE_IDENTIFIER, id.to_vec()));
    }
    // A BOOTP client gets the 64-byte vendor field of RFC 951; the header says all this already.
    if stage != Stage::Bootp {
        options.push((code::TFTP_SERVER_NAME, with_nul(&server_text)));
    }
    if stage != Stage::Bootp && !file.is_empty() {
        options.push((code::BOOT_FILE_NAME, with_nul(&file)));
    }
    if stage == Stage::Ipxe {
        options.push((code::ETHERBOOT, pxe::IPXE_NO_PROXY.to_vec()));
    }
    let blocks = choice.and_then(|choice| choice.size).and_then(blocks);
    options.extend(blocks.map(|blocks| (code::BOOT_FILE_SIZE, blocks.to_be_bytes().to_vec())));
    Some(Plan {
        sname: padded(server_text.as_bytes()).unwrap_or([0; 64]),
        file: padded(file.as_bytes()).unwrap_or([0; 128]),
        options,
    })
}

fn with_nul(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// The file's size in blocks of 512 bytes if that says it exactly. EDK2 takes 512 times this for the file's size and
/// does not ask the TFTP server (`PxeBcBoot.c`), so a rounded number would break the boot.
fn blocks(size: u64) -> Option<u16> {
    if size == 0 || !size.is_multiple_of(512) {
        return None;
    }
    u16::try_from(size / 512).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Arch, Firmware, Rule};
    use crate::wire::dhcp::{BOOTREQUEST, until_nul};

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

    fn planned(options: &[(u8, &[u8])], stage: Stage, file: &str, size: Option<u64>) -> Plan {
        let mut request = Message::new(BOOTREQUEST);
        for (code, value) in options {
            request.options.push(*code, value);
        }
        let identity = Identity { stage, firmware: Firmware::UefiPxe, arches: vec![] };
        let choice = Choice { size, ..Choice::new(&file.into(), Rule::Ipxe) };
        plan(&request, &identity, Some(&choice), SERVER).unwrap()
    }

    fn option(plan: &Plan, code: u8) -> Option<&[u8]> {
        plan.options.iter().find(|(other, _)| *other == code).map(|(_, value)| &value[..])
    }

    #[test]
    fn name_and_server_stand_in_header_and_options_alike() {
        let plan = planned(&[(60, b"PXEClient:Arch:00007"), (97, &[0; 17])], Stage::Pxe, "snponly.efi", None);
        assert_eq!(until_nul(&plan.file), b"snponly.efi");
        assert_eq!(until_nul(&plan.sname), b"192.168.77.1");
        assert_eq!(option(&plan, 67), Some(&b"snponly.efi\0"[..]));
        assert_eq!(option(&plan, 66), Some(&b"192.168.77.1\0"[..]));
        assert_eq!(option(&plan, 60), Some(&b"PXEClient"[..]));
        assert_eq!(option(&plan, 43), Some(&[6, 1, 8, 255][..]));
        assert_eq!(option(&plan, 97), Some(&[0; 17][..]));
        assert_eq!(option(&plan, 175), None);
    }

    #[test]
    fn clients_that_do_not_say_pxeclient_are_not_told_so() {
        let plan = planned(&[(60, b"U-Boot.armv8"), (97, &[1; 16])], Stage::Pxe, "boot.scr", None);
        assert_eq!((option(&plan, 60), option(&plan, 43), option(&plan, 97)), (None, None, None));
        let plan = planned(&[(60, b"HTTPClient:Arch:00016")], Stage::Http, "http://{server}/a.efi", None);
        assert_eq!(option(&plan, 60), Some(&b"HTTPClient"[..]));
        assert_eq!(option(&plan, 43), None);
        assert_eq!(until_nul(&plan.file), b"http://192.168.77.1/a.efi");
    }

    #[test]
    fn a_raspberry_pi_finds_its_menu_and_needs_no_file_name() {
        let mut request = Message::new(BOOTREQUEST);
        request.options.push(60, b"PXEClient:Arch:00000:UNDI:002001");
        let pi = Identity {
            stage: Stage::Pxe,
            firmware: Firmware::RaspberryPi4,
            arches: vec![Arch::RASPBERRY_PI],
        };
        let found = plan(&request, &pi, None, SERVER).unwrap();
        assert_eq!(option(&found, 43), Some(pxe::RASPBERRY_PI_MENU));
        assert_eq!(option(&found, 66), Some(&b"192.168.77.1\0"[..]));
        assert_eq!((option(&found, 67), found.file), (None, [0; 128]));
        let other = Identity { stage: Stage::Pxe, firmware: Firmware::BiosPxe, arches: vec![Arch::BIOS] };
        assert_eq!(plan(&request, &other, None, SERVER), None);
    }

    #[test]
    fn ipxe_is_told_not_to_wait_for_a_proxy() {
        let plan = planned(&[(60, b"PXEClient:Arch:00000")], Stage::Ipxe, "boot.ipxe", None);
        assert_eq!(option(&plan, 175), Some(&[0xb0, 1, 1][..]));
    }

    #[test]
    fn option_13_is_sent_only_when_it_is_exact() {
        let size =
            |bytes| planned(&[], Stage::Pxe, "x", bytes).options.into_iter().find(|(code, _)| *code == 13);
        assert_eq!(size(Some(1024)), Some((13, vec![0, 2])));
        for bytes in [None, Some(0), Some(1025), Some(512 * 65536)] {
            assert_eq!(size(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_name_too_long_for_the_header_stands_in_option_67_alone() {
        let name = "d/".repeat(70);
        let plan = planned(&[], Stage::Pxe, &name, None);
        assert_eq!(plan.file, [0; 128]);
        assert_eq!(option(&plan, 67).map(<[u8]>::len), Some(141));
    }
}
