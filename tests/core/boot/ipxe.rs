//! The boot file for an iPXE, which is either in a machine's ROM or was loaded a moment ago.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::boot::policy::Content;
use lanboot::event::Event;
use lanboot::types::{FileKind, Processor};
use lanboot::wire::dhcp::{Message, MessageType, until_nul};
use support::world::{SERVER, World, bootp, message};

type Options<'a> = &'a [(u8, &'a [u8])];

const BIOS_ROM: Options<'static> = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (77, b"iPXE")];
const UEFI_ROM: Options<'static> = &[(60, b"PXEClient:Arch:00007:UNDI:003010"), (93, &[0, 7]), (77, b"iPXE")];
const HTTP: Options<'static> = &[(60, b"HTTPClient:Arch:00016:UNDI:003000"), (93, &[0, 16])];
const PXE: Options<'static> = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0])];
const SYSTEM: Options<'static> = &[(12, b"node1"), (55, &[1, 28, 3, 6, 12])];

const PXELINUX: Content = Content::Other(FileKind::BiosPxelinux);
const GRUB: Content = Content::Other(FileKind::EfiProgram(Processor::X64));

const SERVE: &str = "dhcp: {mode: server, conflict_check: off, bootp: dynamic, \
     subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]}\n";
const PROXY: &str = "dhcp: {mode: proxy}\n";

/// A server with `boot`, the other settings in `yaml`, and these files.
fn world(mode: &str, yaml: &str, contents: &[(&'static str, Content)]) -> World {
    let mut world = World::new(&format!("{mode}{yaml}"));
    world.contents.extend_from_slice(contents);
    world
}

fn file(message: &Message) -> String {
    String::from_utf8_lossy(until_nul(&message.file)).into_owned()
}

/// The boot file in the OFFER to client `n`.
fn offered(world: &mut World, n: u8, options: Options<'_>) -> String {
    file(&world.ask(&message(n, MessageType::Discover, options)).message)
}

/// One boot of client `n`, from DISCOVER to ACK. For a proxy's client another server sends the ACK, and the proxy sees
/// the client's REQUEST.
fn boot(world: &mut World, n: u8, xid: u32, options: Options<'_>) -> String {
    let mut discover = message(n, MessageType::Discover, options);
    discover.xid = xid;
    let offer = world.ask(&discover).message;
    let is_proxy = offer.yiaddr.is_unspecified();
    let other = Ipv4Addr::new(192, 168, 77, 254);
    let (server, address) =
        if is_proxy { (other, Ipv4Addr::new(192, 168, 77, 150)) } else { (SERVER, offer.yiaddr) };
    let (server, address) = (server.octets(), address.octets());
    let chosen = [options, &[(54, &server[..]), (50, &address[..])]].concat();
    let mut request = message(n, MessageType::Request, &chosen);
    request.xid = xid;
    match world.send(&request) {
        Ok(answer) => assert_eq!(file(&answer.unwrap().message), file(&offer), "one boot, one file"),
        Err(_) => assert!(is_proxy),
    }
    file(&offer)
}

/// The boot file that the boot service names to client `n`, which got its address from another server.
fn asked_on_4011(world: &mut World, n: u8, options: Options<'_>) -> String {
    let client = Ipv4Addr::new(192, 168, 77, 150);
    (world.arrival.boot_service, world.arrival.destination) = (true, SERVER);
    world.arrival.source = SocketAddrV4::new(client, 68);
    let request = Message { ciaddr: client, ..message(n, MessageType::Request, options) };
    file(&world.ask(&request).message)
}

#[test]
fn r_02_an_ipxe_in_rom_gets_the_file_of_its_architecture_in_every_mode() {
    let boot_files = "boot: {arch: {bios: pxelinux.0, uefi-x64: grubx64.efi}}";
    let files = [("pxelinux.0", PXELINUX), ("grubx64.efi", GRUB)];
    for mode in [SERVE, PROXY] {
        for files in [&files[..], &[]] {
            let mut world = world(mode, boot_files, files);
            assert_eq!(offered(&mut world, 1, BIOS_ROM), "pxelinux.0");
            assert_eq!(offered(&mut world, 2, UEFI_ROM), "grubx64.efi");
            assert_eq!(asked_on_4011(&mut world, 1, BIOS_ROM), "pxelinux.0");
            assert_eq!(asked_on_4011(&mut world, 2, UEFI_ROM), "grubx64.efi");
        }
    }
    let mut world = world(SERVE, boot_files, &files);
    assert_eq!(file(&world.ask(&bootp(3)).message), "pxelinux.0");
}

#[test]
fn r_02_a_loaded_ipxe_never_gets_a_build_of_ipxe() {
    let boot_files = "boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-x64-http: 'http://{server}/snponly.efi'}}\n\
                 machines: [{name: a, mac: '02:00:00:00:00:01', boot: own.efi}, {name: b, mac: '02:00:00:00:00:02', boot: {bios: own.kpxe}}]";
    let files = [
        ("own.efi", Content::IpxeBuild),
        ("own.kpxe", Content::IpxeBuild),
        ("http://{server}/snponly.efi", Content::IpxeBuild),
    ];
    for mode in [SERVE, PROXY] {
        let mut world = world(mode, boot_files, &files);
        assert_eq!(offered(&mut world, 9, HTTP), "http://192.168.77.1/snponly.efi");
        for (n, options) in [(1, UEFI_ROM), (1, BIOS_ROM), (2, BIOS_ROM), (9, BIOS_ROM), (9, UEFI_ROM)] {
            assert_eq!(offered(&mut world, n, options), "boot.ipxe", "client {n}");
        }
        for (n, options) in [(2, BIOS_ROM), (1, UEFI_ROM)] {
            assert_eq!(asked_on_4011(&mut world, n, options), "boot.ipxe", "client {n}");
        }
    }
}

#[test]
fn r_02_menus_targets_and_scripts_keep_their_place() {
    let menu = "menu: [{text: a, file: core.0}, {text: disk, local: true}]";
    for mode in [SERVE, PROXY] {
        let mut with_menu = world(mode, &format!("boot: {{arch: {{bios: pxelinux.0}}, {menu}}}"), &[]);
        assert_eq!(offered(&mut with_menu, 1, BIOS_ROM), "pxelinux.0", "no menu for iPXE");
        assert_eq!(offered(&mut with_menu, 1, UEFI_ROM), "boot.ipxe", "nothing else is there");
        let targets = "\ntargets: {t: {kernel: k}}\nmachines: [{mac: '02:00:00:00:00:02', boot: t}]";
        let mut with_targets = world(mode, &format!("boot: {{arch: {{bios: pxelinux.0}}}}{targets}"), &[]);
        assert_eq!(offered(&mut with_targets, 1, BIOS_ROM), "pxelinux.0");
        assert_eq!(offered(&mut with_targets, 2, BIOS_ROM), "lanboot/boot.ipxe", "its machine's target");
        assert_eq!(offered(&mut with_targets, 1, UEFI_ROM), "lanboot/boot.ipxe", "a menu of the targets");
        let default = format!("boot: {{arch: {{bios: pxelinux.0}}, default: menu}}{targets}");
        assert_eq!(offered(&mut world(mode, &default, &[]), 1, BIOS_ROM), "lanboot/boot.ipxe");
        let url = "boot: {arch: {bios: pxelinux.0}, ipxe: 'http://10.0.0.9/menu.php?mac'}";
        assert_eq!(offered(&mut world(mode, url, &[]), 1, BIOS_ROM), "http://10.0.0.9/menu.php?mac");
    }
}

#[test]
fn r_02_an_ipxe_that_loads_an_unknown_loader_again_and_again_gets_the_script() {
    let foreign = "boot: {arch: {uefi-x64-http: 'http://10.0.0.9/ipxe.efi'}}\n\
                   machines: [{mac: '02:00:00:00:00:01', boot: 'http://10.0.0.9/ipxe.efi'}]";
    let missing = "boot: {arch: {uefi-x64: gone.efi}}";
    for mode in [SERVE, PROXY] {
        for (yaml, name) in [(foreign, "http://10.0.0.9/ipxe.efi"), (missing, "gone.efi")] {
            let mut world = world(mode, yaml, &[]);
            for xid in 1..=3 {
                assert_eq!(boot(&mut world, 1, xid, UEFI_ROM), name, "round {xid}");
                world.pass(15);
            }
            for xid in 4..=9 {
                assert_eq!(boot(&mut world, 1, xid, UEFI_ROM), "boot.ipxe", "{mode}{yaml}");
                world.pass(15);
            }
            let warned = world.events.iter().filter_map(|event| match event {
                Event::BootLoop { gets_script, .. } => Some(*gets_script),
                _ => None,
            });
            assert_eq!(warned.collect::<Vec<_>>(), [true], "{mode}{yaml}");
            if name == "gone.efi" {
                assert_eq!(boot(&mut world, 2, 1, UEFI_ROM), name, "another machine");
            }
        }
    }
}

/// People restart a machine often while they work on it. Such restarts of a known loader must not count as a loader
/// that loads itself.
#[test]
fn r_02_a_known_loader_stays_an_ipxe_roms_however_often_it_is_restarted() {
    for mode in [SERVE, PROXY] {
        let mut world = world(mode, "boot: {arch: {bios: pxelinux.0}}", &[("pxelinux.0", PXELINUX)]);
        for xid in 1..=20 {
            assert_eq!(boot(&mut world, 1, xid, BIOS_ROM), "pxelinux.0");
            world.pass(10);
        }
        // PXELINUX loads an iPXE here, on a machine with another firmware, so the machine boots in a loop.
        assert_eq!(boot(&mut world, 2, 1, PXE), "pxelinux.0");
        let files: Vec<String> = (2..7).map(|xid| boot(&mut world, 2, xid, BIOS_ROM)).collect();
        assert_eq!(files, ["pxelinux.0", "pxelinux.0", "boot.ipxe", "boot.ipxe", "boot.ipxe"], "{mode}");
        if mode == SERVE {
            boot(&mut world, 2, 8, SYSTEM);
            assert_eq!(boot(&mut world, 2, 9, BIOS_ROM), "pxelinux.0", "its system ran in between");
        }
    }
}
