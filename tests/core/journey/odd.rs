//! Odd boots: good ones that look as if they failed, and failures in variations. No good boot gets a verdict at any time, and each
//! failure gets exactly the one that fits.

use lanboot::event::Event;
use lanboot::journey::site::Program;
use lanboot::types::{FileKind, Processor};
use lanboot::wire::dhcp::MessageType;

use super::lab::*;

const YAML: &str = "
dhcp:
  mode: server
  bootp: dynamic
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]
boot:
  arch:
    bios: pxelinux.0
    uefi-x64: shimx64.efi
    uefi-arm64: shimaa64.efi
    uefi-x64-http: 'http://{server}/snponly.efi'
  ipxe: boot.ipxe
  bootp: image.img
";

type Talk = fn(&mut Lab);

const PETITBOOT: &[(u8, &[u8])] = &[(60, b"udhcp 1.30.1"), (93, &[0, 14]), (55, &[1, 3, 6, 209, 210])];
const PI_WITHOUT_PXE: &[(u8, &[u8])] = &[(55, &[1, 3, 43, 60, 66, 67, 128, 129])];
const APPLE: &[(u8, &[u8])] =
    &[(60, b"AAPLBSDPC/i386/MacBookPro12,1"), (43, &[1, 1, 1, 2, 2, 1, 1]), (55, &[43, 60])];
const OTHER_CLIENT_ID: &[(u8, &[u8])] = &[(61, b"\xff\x12\x34\x56\x78\0\x02ab"), (55, &[1, 3, 6, 42])];
const LINUX: &[(u8, &[u8])] = &[(60, b"Linux ipconfig"), (55, &[1, 3, 6, 12, 15, 17, 26])];

fn refused(lab: &mut Lab, names: &[&str]) {
    names.iter().for_each(|name| lab.tftp_refused(name));
}

/// Kernel, RAM disk, and the system's address.
fn linux_by_tftp(lab: &mut Lab) {
    lab.tftp("debian/linux", 9 << 20, 3000);
    lab.tftp("debian/initrd.gz", 40 << 20, 9000);
    system(lab);
}

fn linux_by_http(lab: &mut Lab) {
    lab.http("debian/linux", 9 << 20, 900);
    lab.http("debian/initrd.gz", 40 << 20, 3000);
    system(lab);
}

fn system(lab: &mut Lab) {
    lab.pass(20_000);
    lab.lease(SYSTEM, 10);
}

/// UEFI with a signed shim and GRUB, up to its configuration.
fn grub(lab: &mut Lab) {
    lab.lease(UEFI, 4000);
    shim_and_grub(lab);
}

fn shim_and_grub(lab: &mut Lab) {
    lab.loader("shimx64.efi", FileKind::EfiProgram(Processor::X64), Program::Shim, &["Microsoft UEFI CA"]);
    lab.size_probe("shimx64.efi");
    lab.tftp("shimx64.efi", 900_000, 300);
    refused(lab, &["revocations.efi", "revocations_sbat.efi", "shim_certificate_0.efi"]);
    lab.tftp("grubx64.efi", 2 << 20, 900);
    lab.pass(3000);
    refused(
        lab,
        &[
            "EFI/debian/x86_64-efi/command.lst",
            "grub/x86_64-efi/crypto.lst",
            "grub/grub.cfg-01-02-00-00-00-00-01",
            "grub/grub.cfg-C0A84D32",
            "grub/grub.cfg-C0A84D3",
            "grub/grub.cfg-C",
        ],
    );
    lab.tftp("grub/grub.cfg", 400, 10);
}

fn pxelinux(lab: &mut Lab) {
    lab.lease(BIOS, 0);
    lab.tftp("pxelinux.0", 42_000, 300);
    lab.tftp("ldlinux.c32", 120_000, 300);
    let names =
        ["00000000-0000-0000-0000-000000000000", "01-02-00-00-00-00-01", "C0A84D32", "C0A84D3", "C0A84D"];
    names.iter().for_each(|name| lab.tftp_refused(&format!("pxelinux.cfg/{name}")));
    ["C0A84", "C0A8", "C0A", "C0", "C"].iter().for_each(|name| {
        lab.pass(900);
        lab.tftp_refused(&format!("/pxelinux.cfg/{name}"));
    });
    lab.tftp("pxelinux.cfg/default", 300, 10);
}

/// The file has a menu, or goes on elsewhere.
fn rests(lab: &mut Lab, name: &str) {
    lab.loader(name, FileKind::Text, Program::Menu, &[]);
}

fn ipxe(lab: &mut Lab) {
    lab.boot_to_script();
}

/// Good boots, with the lab's configuration if it is not [`YAML`].
const GOOD: &[(&str, &str, Talk)] = &[
    ("HTTP Boot with HEAD", YAML, |lab| {
        lab.lease(HTTP, 4000);
        lab.http_head("snponly.efi");
        lab.pass(1000);
        lab.http("snponly.efi", 300_000, 800);
        lab.pass(4900);
        lab.lease(IPXE, 300);
        lab.http("boot.ipxe", 500, 0);
        linux_by_http(lab);
    }),
    ("iPXE from BIOS, slowly", SERVER_YAML, |lab| {
        lab.lease(BIOS, 0);
        lab.tftp_starts("undionly.kpxe", 70_000, 512);
        lab.tftp_acknowledges("undionly.kpxe", true);
        lab.pass(60_000);
        lab.tftp_ends("undionly.kpxe", 70_000);
        lab.pass(4900);
        lab.lease(IPXE, 2000);
        lab.pass(15_000);
        lab.http("boot.ipxe", 500, 0);
        lab.pass(29_000);
        linux_by_http(lab);
    }),
    ("PXELINUX that finds its tenth name", YAML, |lab| {
        pxelinux(lab);
        lab.pass(10_000);
        linux_by_tftp(lab);
    }),
    ("PXELINUX whose menu waits for a person", YAML, |lab| {
        rests(lab, "pxelinux.cfg/default");
        pxelinux(lab);
        lab.tftp("menu.c32", 60_000, 100);
        refused(lab, &["splash.png"]);
        lab.pass(600_000);
        linux_by_tftp(lab);
    }),
    ("PXELINUX that boots the disk", YAML, |lab| {
        rests(lab, "pxelinux.cfg/default");
        pxelinux(lab);
        lab.pass(40_000);
        lab.lease(SYSTEM, 10);
    }),
    ("GRUB's names", YAML, |lab| {
        grub(lab);
        lab.pass(10_000);
        linux_by_tftp(lab);
    }),
    ("GRUB's menu without its environment, fonts and theme", YAML, |lab| {
        rests(lab, "grub/grub.cfg");
        grub(lab);
        refused(lab, &["grub/grubenv", "grub/locale/en.gmo", "grub/custom.cfg", "grub/themes/x/theme.txt"]);
        lab.pass(300_000);
        linux_by_tftp(lab);
    }),
    ("GRUB without its environment", YAML, |lab| {
        grub(lab);
        refused(lab, &["grub/grubenv", "grub/fonts/unicode.pf2", "background.png"]);
        lab.pass(10_000);
        linux_by_tftp(lab);
    }),
    ("shim that looks for its helpers", YAML, |lab| {
        lab.lease(UEFI, 4000);
        refused(lab, &["mmx64.efi", "fbx64.efi"]);
        shim_and_grub(lab);
        linux_by_tftp(lab);
    }),
    ("arm64 UEFI", YAML, |lab| {
        lab.lease(ARM, 4000);
        lab.tftp("shimaa64.efi", 900_000, 300);
        refused(lab, &["revocations.efi"]);
        lab.tftp("grubaa64.efi", 2 << 20, 900);
        refused(lab, &["grub/arm64-efi/fs.lst"]);
        lab.tftp("grub/grub.cfg", 400, 10);
        linux_by_tftp(lab);
    }),
    ("a Raspberry Pi without options 60 and 93", YAML, |lab| {
        lab.oui = [0xdc, 0xa6, 0x32];
        lab.lease(PI_WITHOUT_PXE, 10);
        refused(lab, &["12345678/start4.elf", "autoboot.txt", "recovery.elf", "dt-blob.bin"]);
        lab.tftp("config.txt", 200, 10);
        lab.tftp("start4.elf", 2 << 20, 900);
        refused(lab, &["overlays/overlay_map.dtb", "pieeprom.sig"]);
        lab.tftp("kernel8.img", 9 << 20, 900);
        system(lab);
    }),
    ("petitboot", YAML, |lab| {
        lab.lease(PETITBOOT, 10);
        refused(lab, &["pxelinux.cfg/01-02-00-00-00-00-01", "pxelinux.cfg/C0A84D32"]);
        rests(lab, "pxelinux.cfg/default");
        lab.tftp("pxelinux.cfg/default", 300, 10);
        lab.pass(120_000);
        linux_by_tftp(lab);
    }),
    ("Apple NetBoot", YAML, |lab| {
        let message = support::world::message(lab.n, MessageType::Inform, APPLE);
        lab.send(&message);
        lab.pass(2000);
        lab.send(&message);
        lab.tftp("i386/booter", 500_000, 300);
        lab.tftp("i386/mach.macosx", 8 << 20, 900);
        lab.pass(60_000);
        lab.lease(SYSTEM, 10);
    }),
    ("a machine that boots its disk as configured", SERVER_YAML, |lab| {
        let mac = lab.mac();
        lab.journeys.site.local.insert(mac);
        ipxe(lab);
        lab.pass(90_000);
        lab.lease(SYSTEM, 10);
    }),
    ("Windows' boot manager by TFTP", YAML, |lab| {
        lab.loader("pxelinux.0", FileKind::Unknown, Program::Other, &[]);
        lab.lease(BIOS, 0);
        lab.tftp("pxelinux.0", 25_000, 100);
        lab.tftp("bootmgr.exe", 600_000, 300);
        refused(lab, &["\\hiberfil.sys", "\\Boot\\Fonts\\WGL4_Boot.ttf"]);
        lab.tftp("\\boot\\bcd", 20_000, 100);
        lab.tftp("\\Boot\\BOOT.SDI", 3 << 20, 500);
        refused(lab, &["\\Boot\\Fonts\\segmono_boot.TTF", "\\EFI\\Microsoft\\Boot\\SkuSiPolicy.p7b"]);
        lab.tftp("\\sources\\Boot.wim", 300 << 20, 40_000);
        lab.pass(50_000);
        lab.lease(SYSTEM, 10);
    }),
    ("wimboot without a font", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.http("wimboot", 70_000, 10);
        lab.http("boot/bcd", 20_000, 10);
        lab.http("sources/BOOT.WIM", 300 << 20, 9000);
        lab.http_refused("/Boot/Fonts/segmono_boot.ttf");
        lab.pass(50_000);
        lab.lease(SYSTEM, 10);
    }),
    ("a person who switches it off and on while it asks", SERVER_YAML, |lab| {
        lab.discover(UEFI, 0);
        lab.pass(6000);
        lab.again();
        ipxe(lab);
        linux_by_http(lab);
    }),
    ("a person who resets it at iPXE's menu", SERVER_YAML, |lab| {
        rests(lab, "boot.ipxe");
        for _ in 0..3 {
            ipxe(lab);
            lab.pass(120_000);
        }
        linux_by_http(lab);
    }),
    ("a person who resets it at GRUB's menu", YAML, |lab| {
        rests(lab, "grub/grub.cfg");
        for _ in 0..4 {
            grub(lab);
            lab.pass(45_000);
        }
        linux_by_tftp(lab);
    }),
    ("its other card asks as a system", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.n = 2;
        lab.lease(SYSTEM, 10);
        lab.n = 1;
        linux_by_http(lab);
        lab.n = 2;
        lab.lease(SYSTEM, 10);
        lab.n = 1;
    }),
    ("a system with another client identifier", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.http("debian/linux", 9 << 20, 900);
        lab.http("debian/initrd.gz", 40 << 20, 3000);
        lab.pass(30_000);
        lab.lease(OTHER_CLIENT_ID, 10);
    }),
    ("woken again and again until it asks", SERVER_YAML, |lab| {
        for _ in 0..5 {
            let (mac, now) = (lab.mac(), lab.world.now);
            lab.journeys.expect(mac, now);
            lab.pass(1000);
        }
        ipxe(lab);
        linux_by_http(lab);
    }),
    ("iPXE in ROM", SERVER_YAML, |lab| {
        lab.discover(IPXE, 0);
        lab.pass(1000);
        lab.discover(IPXE, 4);
        lab.lease(IPXE, 2000);
        lab.pass(14_000);
        lab.http("boot.ipxe", 500, 0);
        linux_by_http(lab);
    }),
    ("iPXE that looks for autoexec.ipxe", SERVER_YAML, |lab| {
        lab.lease(UEFI, 4000);
        lab.tftp("snponly.efi", 300_000, 500);
        lab.pass(500);
        refused(lab, &["autoexec.ipxe"]);
        lab.pass(4000);
        lab.lease(IPXE, 300);
        lab.http("boot.ipxe", 500, 0);
        linux_by_http(lab);
    }),
    ("a menu without a script for this machine", SERVER_YAML, |lab| {
        rests(lab, "boot.ipxe");
        ipxe(lab);
        lab.http_refused("/hosts/02-00-00-00-00-01.ipxe");
        lab.pass(300_000);
        linux_by_http(lab);
    }),
    ("a script without an optional file, and a slow kernel", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.http_refused("/hosts/02-00-00-00-00-01.ipxe");
        lab.pass(100);
        lab.http("debian/linux", 100 << 20, 20_000);
        linux_by_http(lab);
    }),
    ("a script that goes on at another server", SERVER_YAML, |lab| {
        rests(lab, "boot.ipxe");
        ipxe(lab);
        lab.pass(200_000);
        lab.lease(SYSTEM, 10);
    }),
    ("ESXi", YAML, |lab| {
        lab.lease(UEFI, 4000);
        lab.tftp("shimx64.efi", 900_000, 300);
        lab.tftp("boot.cfg", 4000, 10);
        for module in ["b.b00", "k.b00", "useropts.gz"] {
            lab.tftp(module, 3 << 20, 500);
        }
        lab.tftp("s.v00", 300 << 20, 30_000);
        lab.tftp("imgpayld.tgz", 30 << 20, 3000);
        lab.pass(100_000);
        lab.lease(SYSTEM, 10);
    }),
    ("Ubuntu, whose initrd loads the image", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.http("debian/linux", 9 << 20, 900);
        lab.http("debian/initrd.gz", 90 << 20, 3000);
        lab.pass(20_000);
        lab.lease(LINUX, 10);
        lab.pass(2000);
        lab.http("ubuntu.iso", 2 << 30, 200_000);
        lab.pass(90_000);
        lab.http("autoinstall/user-data", 900, 0);
        lab.http_refused("/autoinstall/vendor-data");
    }),
    ("a system with a fixed address that loads its answers", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.http("debian/linux", 9 << 20, 900);
        lab.http("debian/initrd.gz", 40 << 20, 3000);
        lab.pass(30_000);
        lab.http("preseed.cfg", 900, 0);
        lab.pass(300_000);
    }),
    ("anaconda without its optional images", SERVER_YAML, |lab| {
        ipxe(lab);
        lab.http("debian/linux", 9 << 20, 900);
        lab.http("debian/initrd.gz", 90 << 20, 3000);
        lab.pass(20_000);
        lab.lease(LINUX, 10);
        lab.http_refused("/rhel/.treeinfo");
        lab.http_refused("/rhel/images/updates.img");
        lab.http_refused("/rhel/images/product.img");
        lab.http("rhel/ks.cfg", 900, 0);
    }),
    ("OpenBSD's loader", YAML, |lab| {
        lab.loader("pxelinux.0", FileKind::Unknown, Program::Other, &[]);
        lab.lease(BIOS, 0);
        lab.tftp("pxelinux.0", 90_000, 100);
        refused(lab, &["etc/boot.conf", "etc/random.seed"]);
        lab.pass(4000);
        lab.tftp("bsd", 12 << 20, 4000);
        lab.pass(60_000);
        lab.lease(SYSTEM, 10);
    }),
    ("firmware that asks for sizes alone at first", SERVER_YAML, |lab| {
        lab.lease(UEFI, 4000);
        for _ in 0..3 {
            lab.size_probe("snponly.efi");
            lab.pass(1000);
        }
        lab.tftp("snponly.efi", 300_000, 500);
        lab.pass(1500);
        lab.lease(IPXE, 300);
        lab.http("boot.ipxe", 500, 0);
        linux_by_http(lab);
    }),
];

#[test]
fn odd_boots_that_are_good_get_no_verdict() {
    let mut wrong = Vec::new();
    for (name, yaml, talk) in GOOD {
        let mut lab = Lab::new(yaml);
        talk(&mut lab);
        lab.pass(120_000);
        let state = lab.journeys.verdict(lab.mac(), lab.world.now);
        if !lab.causes.is_empty() || state.is_some() {
            wrong.push(format!("{name}: {:?} {state:?} {:#?}", lab.causes, lab.boots()[0].evidence));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), GOOD.len(), wrong.join("\n"));
}

/// Failures, with the id and the seconds until the verdict.
const FAILURES: &[(&str, &str, &str, u64, Talk)] = &[
    ("PXELINUX names a kernel that is missing", YAML, "script_failed", 5, |lab| {
        pxelinux(lab);
        refused(
            lab,
            &["debian/linux.old", "debian/linux.old.cbt", "debian/linux.old.0", "debian/linux.old.c32"],
        );
    }),
    ("GRUB does not find the target's kernel", YAML, "kernel_missing", 5, |lab| {
        grub(lab);
        refused(lab, &["debian/linux"]);
    }),
    ("the menu's entry does not exist", SERVER_YAML, "script_failed", 5, |lab| {
        rests(lab, "boot.ipxe");
        ipxe(lab);
        lab.pass(60_000);
        lab.http_refused("/debain/vmlinuz");
    }),
    ("the RAM disk ends early by TFTP", YAML, "kernel_missing", 5, |lab| {
        grub(lab);
        lab.tftp("debian/linux", 9 << 20, 3000);
        lab.tftp_starts("debian/initrd.gz", 40 << 20, 1468);
        lab.tftp_acknowledges("debian/initrd.gz", true);
        lab.pass(4000);
        lab.tftp_stops("debian/initrd.gz", 20 << 20, 40 << 20, None);
    }),
    ("HTTP Boot names a file that is missing, in capitals", YAML, "file_missing", 5, |lab| {
        lab.lease(HTTP, 4000);
        lab.http_refused("/SNPONLY.EFI");
    }),
    ("the script that DHCP names is missing", SERVER_YAML, "file_missing", 5, |lab| {
        lab.lease(IPXE, 300);
        lab.http_refused("/boot.ipxe");
    }),
    ("shim finds no GRUB", YAML, "file_missing", 5, |lab| {
        lab.loader(
            "shimx64.efi",
            FileKind::EfiProgram(Processor::X64),
            Program::Shim,
            &["Microsoft UEFI CA"],
        );
        lab.lease(UEFI, 4000);
        lab.tftp("shimx64.efi", 900_000, 300);
        refused(lab, &["revocations.efi", "grubx64.efi"]);
    }),
    ("HTTP Boot of a file for arm64", YAML, "wrong_architecture", 5, |lab| {
        lab.loader("snponly.efi", FileKind::EfiProgram(Processor::Arm64), Program::Ipxe, &[]);
        lab.lease(HTTP, 4000);
        lab.http("snponly.efi", 300_000, 500);
    }),
    ("BIOS gets a UEFI file", YAML, "wrong_architecture", 5, |lab| {
        lab.loader("pxelinux.0", FileKind::EfiProgram(Processor::X64), Program::Grub, &[]);
        lab.lease(BIOS, 0);
        lab.tftp("pxelinux.0", 42_000, 300);
    }),
    ("HTTP Boot of an unsigned GRUB", YAML, "secure_boot_refused", 5, |lab| {
        lab.loader("snponly.efi", FileKind::EfiProgram(Processor::X64), Program::Grub, &[]);
        lab.lease(HTTP, 4000);
        lab.http("snponly.efi", 300_000, 500);
    }),
    ("arm64 with Secure Boot and an unsigned iPXE", YAML, "secure_boot_refused", 5, |lab| {
        lab.loader("shimaa64.efi", FileKind::EfiProgram(Processor::Arm64), Program::Ipxe, &[]);
        lab.lease(ARM, 4000);
        lab.tftp("shimaa64.efi", 300_000, 500);
        lab.pass(20);
        lab.event(Event::AsksByIpv6);
    }),
    ("iPXE without a driver", SERVER_YAML, "ipxe_no_network", 5, |lab| {
        lab.lease(BIOS, 0);
        lab.tftp("undionly.kpxe", 70_000, 300);
    }),
    ("a BIOS that loads iPXE again and again", SERVER_YAML, "ipxe_loop", 5, |lab| {
        for _ in 0..3 {
            lab.lease(BIOS, 0);
            lab.tftp("undionly.kpxe", 70_000, 300);
            lab.pass(4000);
        }
    }),
    ("iPXE's script stops", SERVER_YAML, "script_failed", 30, ipxe),
    ("PXELINUX's configuration stops", YAML, "script_failed", 30, pxelinux),
    ("the kernel alone is loaded", SERVER_YAML, "script_failed", 30, |lab| {
        ipxe(lab);
        lab.http("debian/linux", 9 << 20, 900);
    }),
    ("the initrd has no network", YAML, "initrd_no_network", 60, |lab| {
        grub(lab);
        lab.tftp("debian/linux", 9 << 20, 3000);
        lab.tftp("debian/initrd.gz", 40 << 20, 9000);
    }),
    (
        "the initrd has no network, and iPXE adds an answer file to it",
        SERVER_YAML,
        "initrd_no_network",
        60,
        |lab| {
            lab.boot_to_initrd();
            lab.http("preseed.cfg", 900, 0);
        },
    ),
    ("the answer file is missing before the system asks", SERVER_YAML, "installer_failed", 5, |lab| {
        lab.boot_to_initrd();
        lab.pass(20_000);
        lab.http_refused("/ks.cfg?mac=02");
    }),
    ("the answer file is missing after the system asked", SERVER_YAML, "installer_failed", 5, |lab| {
        lab.boot_to_initrd();
        system(lab);
        lab.pass(9000);
        lab.http_refused("/autoinstall/user-data");
    }),
    ("a BOOTP client repeats its question", YAML, "replies_lost", 16, |lab| {
        for (pause, secs) in [(0, 0), (4, 4), (5, 9), (5, 14)] {
            lab.pass(pause * 1000);
            lab.bootp(secs);
        }
    }),
    ("iPXE takes another server's offer", SERVER_YAML, "other_server_chosen", 5, |lab| {
        lab.lease(UEFI, 4000);
        lab.tftp("snponly.efi", 300_000, 500);
        lab.pass(1500);
        lab.again();
        lab.discover(IPXE, 0);
        lab.pass(300);
        lab.request(IPXE, OTHER, "192.168.77.200".parse().unwrap());
    }),
    ("firmware takes another server's offer and repeats", SERVER_YAML, "other_server_chosen", 5, |lab| {
        lab.discover(BIOS, 0);
        lab.pass(2000);
        lab.request(BIOS, OTHER, "192.168.77.200".parse().unwrap());
        lab.other(MessageType::Ack, None);
    }),
    ("the size is known, and no data arrives", SERVER_YAML, "tftp_blocked", 5, |lab| {
        lab.lease(UEFI, 4000);
        lab.size_probe("snponly.efi");
        lab.tftp_starts("snponly.efi", 300_000, 1468);
    }),
    ("large blocks do not arrive after the size is known", SERVER_YAML, "block_size_too_large", 5, |lab| {
        lab.lease(UEFI, 4000);
        lab.size_probe("snponly.efi");
        lab.tftp_starts("snponly.efi", 300_000, 1468);
        lab.tftp_acknowledges("snponly.efi", false);
    }),
    ("the kernel's data does not arrive", YAML, "tftp_blocked", 5, |lab| {
        grub(lab);
        lab.tftp_starts("debian/linux", 9 << 20, 1468);
    }),
    ("the kernel's connection is reset", SERVER_YAML, "kernel_missing", 5, |lab| {
        ipxe(lab);
        lab.http_stops("debian/linux", 5 << 20, 9 << 20);
    }),
    ("no file for HTTP Boot", PROXY_YAML, "no_file_for_architecture", 5, |lab| {
        lab.discover(HTTP, 0);
        lab.other(MessageType::Offer, None);
    }),
    ("the first question is late, and none is answered in time", SERVER_YAML, "link_flaps", 10, |lab| {
        lab.discover(UEFI, 28);
    }),
    ("no file is asked for by HTTP", YAML, "tftp_not_started", 5, |lab| _ = lab.lease(HTTP, 4000)),
];

#[test]
fn failures_in_variations_get_their_verdict() {
    let mut wrong = Vec::new();
    for (name, yaml, id, seconds, talk) in FAILURES {
        let mut lab = Lab::new(yaml);
        talk(&mut lab);
        lab.pass(seconds * 1000 + 100);
        let ids: Vec<&str> = lab.causes.iter().filter_map(|cause| cause.split(':').next()).collect();
        if ids != [*id] || lab.verdict(0) != Some(id) {
            wrong.push(format!("{name}: {:?}, wanted {id}; {:#?}", lab.causes, lab.boots()[0].evidence));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), FAILURES.len(), wrong.join("\n"));
}
