//! Puts a boot file into the header fields and options of a reply, so that every firmware finds it.
//!
//! `dhcp/reply.rs` and `dhcp/proxy.rs` call [`plan`] for each reply with a boot file.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::fetch::SERVER;
use crate::boot::fetch::{HTTP_PORT, Served};
use crate::boot::identity::Identity;
use crate::boot::menu::MenuPart;
use crate::boot::policy::Choice;
use crate::types::{Arch, Firmware, Stage};
use crate::wire::dhcp::{Message, padded};
use crate::wire::option::code;
use crate::wire::pxe;

/// The role of lanboot on a network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// DHCP server: assigns addresses and boot files.
    Server,
    /// proxyDHCP: another DHCP server assigns the addresses, and lanboot adds boot files only (PXE 2.1 section 2.2.3).
    Proxy,
}

/// The boot fields and options of a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The address of the server that has the boot file.
    pub siaddr: Ipv4Addr,
    /// The server's address as text. shim, U-Boot and old ROMs read only the header; EDK2 and GRUB read the options.
    pub sname: [u8; 64],
    /// The boot file's name. All zero if the name is too long for the field, so that only option 67 has it.
    pub file: [u8; 128],
    /// The options in the order in which they are sent.
    pub options: Vec<(u8, Vec<u8>)>,
}

/// Delay of replies to a Raspberry Pi 3. Its boot ROM cannot receive for a while after it has sent a request, and
/// retries only after 5 s (Raspberry Pi documentation, `boot-net.adoc`; raspberrypi/firmware#934).
const RASPBERRY_PI_DELAY: Duration = Duration::from_millis(1500);

/// Returns the boot fields and options for the client that sent `request`, with the boot file `choice` on `server`.
/// Returns `None` for a client that boots nothing from here: it must not take us for a boot server. Replies from port
/// 4011 always use [`Mode::Proxy`], whichever server assigns the addresses.
///
/// The name goes into both `file` and option 67, the server into both `sname` and option 66: EDK2 and GRUB prefer
/// option 67; iPXE, PXELINUX and U-Boot prefer `file`. Both options end in NUL, because an old ROM reads on into the
/// next option's code. Option overload (52) is never used, because GRUB then ignores `file`.
pub fn plan(
    request: &Message,
    identity: &Identity,
    choice: Option<&Choice>,
    server: Ipv4Addr,
    served: Served,
    mode: Mode,
) -> Option<Plan> {
    // A Raspberry Pi requests files of fixed names. It gets a boot file name only if one is configured for it.
    if choice.is_none() && !identity.is_raspberry_pi() {
        return None;
    }
    let stage = identity.stage;
    // A menu names us as the server of its items, even if its first item belongs to another server.
    let us = server;
    let elsewhere = choice.and_then(|choice| on_other_server(&choice.file, stage));
    let named = elsewhere.map(|(server, _)| server).or(choice.and_then(|choice| choice.server));
    let server = named.unwrap_or(us);
    let server_text = server.to_string();
    // The protocols and ports of another server are unknown.
    let served = if server == us { served } else { Served::default() };
    let name = elsewhere.map(|(_, name)| name).or(choice.map(|choice| &*choice.file));
    let file = name.map(|name| file_name(name, stage, server, served)).unwrap_or_default();
    let mut options = Vec::with_capacity(8);
    let class = vendor_class(request, identity);
    options.extend(class.map(|class| (code::VENDOR_CLASS, class.to_vec())));
    let menu = choice.and_then(|choice| choice.menu.as_ref());
    let vendor = class.and_then(|_| vendor_options(identity, mode, menu, us));
    options.extend(vendor.map(|vendor| (code::VENDOR_SPECIFIC, vendor.into_owned())));
    if let Some(id) = pxe::machine_identifier(&request.options) {
        options.push((code::MACHINE_IDENTIFIER, id.to_vec()));
    }
    // A BOOTP client gets the 64-byte vendor field of RFC 951, and the header already has all of this.
    if stage != Stage::Bootp {
        options.push((code::TFTP_SERVER_NAME, with_nul(&server_text)));
    }
    if stage != Stage::Bootp && !file.is_empty() {
        options.push((code::BOOT_FILE_NAME, with_nul(&file)));
    }
    if stage == Stage::Ipxe && mode == Mode::Server {
        options.push((code::ETHERBOOT, pxe::IPXE_NO_PROXY.to_vec()));
    }
    let blocks = choice.and_then(|choice| choice.size).and_then(blocks);
    options.extend(blocks.map(|blocks| (code::BOOT_FILE_SIZE, blocks.to_be_bytes().to_vec())));
    Some(Plan {
        siaddr: server,
        sname: padded(server_text.as_bytes()).unwrap_or([0; 64]),
        file: padded(file.as_bytes()).unwrap_or([0; 128]),
        options,
    })
}

/// Splits `tftp://ADDRESS/NAME` into the server and the name on it, for firmware. Firmware takes a server and a name, and
/// would ask us for the whole URL; the other stages take the URL.
fn on_other_server(file: &str, stage: Stage) -> Option<(Ipv4Addr, &str)> {
    if !matches!(stage, Stage::Pxe | Stage::Bootp) {
        return None;
    }
    let (server, name) = file.strip_prefix("tftp://")?.split_once('/')?;
    Some((server.parse().ok()?, name))
}

/// Whether the client uses an offered address without a REQUEST, as the boot ROM of a Raspberry Pi 3 does
/// (raspberrypi/firmware#934). The address must stay reserved for it while it boots.
pub fn uses_offered_address(identity: &Identity) -> bool {
    matches!(identity.firmware, Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus)
}

/// Returns the delay before a reply may be sent; zero for all clients but those that would miss an early reply.
pub fn reply_delay(identity: &Identity) -> Duration {
    // A recording attributed to a Pi 3 contains a serial number, which only the 3B+ should send. So both models get the
    // delay.
    if uses_offered_address(identity) { RASPBERRY_PI_DELAY } else { Duration::ZERO }
}

/// Returns the boot file name as the client must get it. UEFI HTTP boot accepts only URLs, so a plain name becomes one.
/// It becomes one for iPXE too if TFTP is off, because iPXE fetches plain names over TFTP.
fn file_name(name: &str, stage: Stage, server: Ipv4Addr, served: Served) -> String {
    let name = name.replace(SERVER, &server.to_string());
    let wants_url = match stage {
        Stage::Http => true,
        Stage::Ipxe => served.tftp.is_none() && served.http.is_some(),
        Stage::Pxe | Stage::Bootp | Stage::Other => false,
    };
    if !wants_url || name.contains("://") {
        return name;
    }
    Served { http: served.http.or(Some(HTTP_PORT)), tftp: None }
        .url(server.into(), name.trim_start_matches('/'))
}

/// Returns option 60 of the reply: `PXEClient` or `HTTPClient` if the client sent one of them. Firmware with a class of
/// its vendor, recognized by option 93, gets that class up to the first colon (dnsmasq `dhcp-pxe-vendor`). Other clients
/// get none.
fn vendor_class<'a>(request: &'a Message, identity: &Identity) -> Option<&'a [u8]> {
    use Firmware::{BiosPxe, HttpBoot, OtherPxe, UefiPxe};
    let sent = request.options.get(code::VENDOR_CLASS)?;
    let standard = [pxe::PXE_CLIENT, pxe::HTTP_CLIENT].into_iter().find(|class| sent.starts_with(class));
    let by_arch = matches!(identity.firmware, BiosPxe | UefiPxe | OtherPxe | HttpBoot);
    let vendor_part = || sent.split(|byte| *byte == b':').next().filter(|part| !part.is_empty());
    standard.or_else(|| if by_arch { vendor_part() } else { None })
}

/// Returns option 43 for a PXE client: the menu, the chosen item, or the instruction to load the named file at once.
///
/// In proxy mode, UEFI without a menu gets no option 43. Some UEFI firmware skips a proxy whose offer has "bypass boot
/// server discovery", and asks port 4011 if option 43 is missing (dnsmasq since 2.76 and pixiecore do the same).
fn vendor_options(
    identity: &Identity,
    mode: Mode,
    menu: Option<&MenuPart>,
    us: Ipv4Addr,
) -> Option<Cow<'static, [u8]>> {
    if identity.stage == Stage::Http {
        return None;
    }
    if identity.is_raspberry_pi() {
        return Some(pxe::RASPBERRY_PI_MENU.into());
    }
    match menu {
        Some(MenuPart::Chosen(item)) => return Some(item.encode().into()),
        // `check` reports a menu that is too long.
        Some(MenuPart::Whole(shown)) => {
            if let Ok(menu) = shown.encode(us) {
                return Some(menu.into());
            }
        }
        None => {}
    }
    (!is_sent_to_boot_service(identity, mode)).then(|| pxe::BOOT_FILE_AT_ONCE[..].into())
}

/// Whether a client without a menu asks port 4011 again for the file that the offer already names.
fn is_sent_to_boot_service(identity: &Identity, mode: Mode) -> bool {
    const FIRST_UEFI: u16 = 6;
    mode == Mode::Proxy && identity.arch().map_or(0, Arch::number) >= FIRST_UEFI
}

/// Whether the client loads the file named in a proxy's offer without asking port 4011. iPXE and HTTP boot always do,
/// whatever their architecture.
pub fn loads_from_offer(identity: &Identity, choice: &Choice) -> bool {
    let takes_it = matches!(identity.stage, Stage::Ipxe | Stage::Http);
    takes_it || choice.menu.is_none() && !is_sent_to_boot_service(identity, Mode::Proxy)
}

fn with_nul(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Returns the file size in blocks of 512 bytes, if it is an exact multiple. EDK2 multiplies this by 512 and skips
/// asking the TFTP server (`PxeBcBoot.c`), so a rounded number would break the boot.
fn blocks(size: u64) -> Option<u16> {
    if size == 0 || !size.is_multiple_of(512) {
        return None;
    }
    u16::try_from(size / 512).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Rule;
    use crate::wire::dhcp::{BOOTREQUEST, until_nul};

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
    const BOTH: Served = Served { http: Some(80), tftp: Some(69) };

    /// A DISCOVER with these options.
    fn message(options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        for (code, value) in [(53, &[1][..])].iter().chain(options) {
            assert!(message.options.push(*code, value));
        }
        message
    }

    /// The plan for the sender of these options, whose boot file is `file` of this size.
    fn planned(mode: Mode, options: &[(u8, &[u8])], file: &str, size: Option<u64>) -> Plan {
        let message = message(options);
        let choice = Choice { size, ..Choice::new(&file.into(), Rule::Ipxe) };
        plan(&message, &Identity::of(&message), Some(&choice), SERVER, BOTH, mode).unwrap()
    }

    fn in_mode(mode: Mode, options: &[(u8, &[u8])]) -> Plan {
        planned(mode, options, "x", None)
    }

    fn option(plan: &Plan, code: u8) -> Option<&[u8]> {
        plan.options.iter().find(|(other, _)| *other == code).map(|(_, value)| &value[..])
    }

    #[test]
    fn name_and_server_are_in_header_and_options() {
        let plan =
            planned(Mode::Server, &[(60, b"PXEClient:Arch:00007"), (97, &[0; 17])], "snponly.efi", None);
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
    fn clients_without_pxeclient_get_no_pxeclient_class() {
        let plan = planned(Mode::Server, &[(60, b"U-Boot.armv8"), (97, &[1; 16])], "boot.scr", None);
        assert_eq!((option(&plan, 60), option(&plan, 43), option(&plan, 97)), (None, None, None));
        let plan = planned(Mode::Server, &[(60, b"HTTPClient:Arch:00016")], "http://{server}/a.efi", None);
        assert_eq!(option(&plan, 60), Some(&b"HTTPClient"[..]));
        assert_eq!(option(&plan, 43), None);
        assert_eq!(until_nul(&plan.file), b"http://192.168.77.1/a.efi");
    }

    #[test]
    fn a_raspberry_pi_gets_its_menu() {
        let pi: [(u8, &[u8]); 3] =
            [(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (97, b"RPi4abcdefghijkl")];
        let request = message(&pi);
        for mode in [Mode::Server, Mode::Proxy] {
            let found = plan(&request, &Identity::of(&request), None, SERVER, BOTH, mode).unwrap();
            assert_eq!(option(&found, 43), Some(pxe::RASPBERRY_PI_MENU));
            assert_eq!(option(&found, 66), Some(&b"192.168.77.1\0"[..]));
            assert_eq!((option(&found, 67), found.file), (None, [0; 128]));
        }
        let other = message(&pi[..2]);
        assert_eq!(plan(&other, &Identity::of(&other), None, SERVER, BOTH, Mode::Server), None);
    }

    #[test]
    fn only_a_raspberry_pi_3_gets_a_delayed_reply() {
        let mut pi = message(&[(60, b"PXEClient:Arch:00000:UNDI:002001"), (97, &[0x44; 17])]);
        assert_eq!(reply_delay(&Identity::of(&pi)), Duration::ZERO);
        pi.chaddr[..3].copy_from_slice(&[0xb8, 0x27, 0xeb]);
        assert_eq!(reply_delay(&Identity::of(&pi)), RASPBERRY_PI_DELAY);
        let later = message(&[(60, b"PXEClient:Arch:00000:UNDI:002001"), (97, b"RPi4abcdefghijkl")]);
        assert_eq!(reply_delay(&Identity::of(&later)), Duration::ZERO);
    }

    #[test]
    fn a_proxy_sends_only_uefi_to_port_4011() {
        let bios: [(u8, &[u8]); 2] = [(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0])];
        let uefi: [(u8, &[u8]); 2] = [(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])];
        let at_once = Some(&[6, 1, 8, 255][..]);
        for (mode, of_bios, of_uefi) in [(Mode::Server, at_once, at_once), (Mode::Proxy, at_once, None)] {
            let (bios, uefi) = (in_mode(mode, &bios), in_mode(mode, &uefi));
            assert_eq!((option(&bios, 43), option(&uefi, 43)), (of_bios, of_uefi), "{mode:?}");
            assert_eq!((option(&uefi, 60), until_nul(&uefi.file)), (Some(&b"PXEClient"[..]), &b"x"[..]));
        }
    }

    #[test]
    fn a_vendors_own_class_is_echoed() {
        let echoed = |class: &[u8], arch: &[u8]| {
            let plan = in_mode(Mode::Server, &[(60, class), (93, arch)]);
            (option(&plan, 60).map(<[u8]>::to_vec), option(&plan, 43).is_some())
        };
        assert_eq!(echoed(b"HW-Client:Arch:00011", &[0, 11]), (Some(b"HW-Client".to_vec()), true));
        assert_eq!(echoed(b"HW-Client", &[0, 11]), (Some(b"HW-Client".to_vec()), true));
        assert_eq!(echoed(b":", &[0, 11]), (None, false));
        assert_eq!(echoed(b"U-Boot.armv8", &[0, 22]), (None, false));
    }

    #[test]
    fn http_boot_always_gets_a_url() {
        for (name, url) in [
            ("grub.efi", "http://192.168.77.1/grub.efi"),
            ("https://boot.example/x.efi", "https://boot.example/x.efi"),
        ] {
            let plan = planned(Mode::Server, &[(60, b"HTTPClient:Arch:00016")], name, None);
            assert_eq!(until_nul(&plan.file), url.as_bytes());
            assert_eq!(option(&plan, 67), Some(&with_nul(url)[..]));
        }
    }

    #[test]
    fn r_21_firmware_gets_the_server_and_the_name_of_a_tftp_url() {
        let firmware = [(60, &b"PXEClient:Arch:00007"[..]), (93, &[0, 7])];
        let found = planned(Mode::Server, &firmware, "tftp://10.0.0.9//srv/x.efi", None);
        assert_eq!((found.siaddr, until_nul(&found.file)), (Ipv4Addr::new(10, 0, 0, 9), &b"/srv/x.efi"[..]));
        assert_eq!(
            (option(&found, 66), option(&found, 67)),
            (Some(&b"10.0.0.9\0"[..]), Some(&b"/srv/x.efi\0"[..]))
        );
        let ipxe = planned(Mode::Server, &[(77, b"iPXE"), (93, &[0, 7])], "tftp://10.0.0.9/x.efi", None);
        assert_eq!((ipxe.siaddr, until_nul(&ipxe.file)), (SERVER, &b"tftp://10.0.0.9/x.efi"[..]));
    }

    #[test]
    fn ipxe_gets_a_url_without_tftp() {
        let named = |stage, served| file_name("lanboot/boot.ipxe", stage, SERVER, served);
        let by_http = Served { http: Some(8080), tftp: None };
        assert_eq!(named(Stage::Ipxe, by_http), "http://192.168.77.1:8080/lanboot/boot.ipxe");
        assert_eq!(named(Stage::Http, by_http), "http://192.168.77.1:8080/lanboot/boot.ipxe");
        assert_eq!(named(Stage::Pxe, by_http), "lanboot/boot.ipxe");
        for served in [BOTH, Served { http: None, tftp: Some(69) }, Served::default()] {
            assert_eq!(named(Stage::Ipxe, served), "lanboot/boot.ipxe");
        }
        assert_eq!(file_name("tftp://x/y", Stage::Ipxe, SERVER, by_http), "tftp://x/y");
    }

    #[test]
    fn ipxe_skips_the_wait_for_a_proxy_in_server_mode() {
        let ipxe: [(u8, &[u8]); 3] = [(60, b"PXEClient:Arch:00000"), (93, &[0, 0]), (77, b"iPXE")];
        assert_eq!(option(&in_mode(Mode::Server, &ipxe), 175), Some(&[0xb0, 1, 1][..]));
        assert_eq!(option(&in_mode(Mode::Proxy, &ipxe), 175), None);
    }

    #[test]
    fn option_13_is_sent_only_when_it_is_exact() {
        let size = |bytes| {
            planned(Mode::Server, &[(93, &[0, 0])], "x", bytes)
                .options
                .into_iter()
                .find(|(code, _)| *code == 13)
        };
        assert_eq!(size(Some(1024)), Some((13, vec![0, 2])));
        for bytes in [None, Some(0), Some(1025), Some(512 * 65536)] {
            assert_eq!(size(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_name_is_only_in_option_67() {
        let name = "d/".repeat(70);
        let plan = planned(Mode::Server, &[(93, &[0, 0])], &name, None);
        assert_eq!(plan.file, [0; 128]);
        assert_eq!(option(&plan, 67).map(<[u8]>::len), Some(141));
    }
}
