//! Machines on the server's own network, all at the same time.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lanboot::cli::demo::network::{NETWORK, Need, SNPONLY};
use serde_json::Value;
use support::site::{Site, ready, until};

use super::client::*;
use super::place::*;

pub const NFT: &[Need] = &[Need { what: "nft", package: "nftables" }];
pub const IPXE_FILES: &[Need] =
    &[Need { what: SNPONLY, package: "ipxe" }, Need { what: UNDIONLY, package: "ipxe" }];
const UNDIONLY: &str = "/usr/lib/ipxe/undionly.kpxe";

const CONFIG: &str = "log: {level: debug}
http: {port: 80}
dhcp:
  mode: server
  conflict_check: 100ms
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.200, options: {router: 192.168.77.1}}]
boot:
  arch:
    bios: undionly.kpxe
    uefi-x64: snponly.efi
    uefi-x64-http: 'http://{server}/snponly.efi'
  ipxe: boot.ipxe
targets:
  debian: {kernel: debian/linux, initrd: debian/initrd.gz}
  broken: {kernel: debian/linux, initrd: debian/initrd.xz}
";

/// A UEFI program for this PE machine type, that is no iPXE and not signed.
pub fn efi(machine: [u8; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 200_000];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60..64].copy_from_slice(&64u32.to_le_bytes());
    bytes[64..68].copy_from_slice(b"PE\0\0");
    bytes[68..70].copy_from_slice(&machine);
    bytes[84..86].copy_from_slice(&240u16.to_le_bytes());
    bytes[88..90].copy_from_slice(&0x20bu16.to_le_bytes());
    bytes[156..158].copy_from_slice(&10u16.to_le_bytes());
    bytes[196..200].copy_from_slice(&16u32.to_le_bytes());
    bytes
}

pub const X64: [u8; 2] = [0x64, 0x86];
pub const ARM64: [u8; 2] = [0x64, 0xaa];

/// The boot files of these tests in boot-images/ of `site`.
pub fn add_files(site: &Site) {
    let images = site.folder.path().join("boot-images");
    fs::create_dir(images.join("debian")).unwrap();
    let copy = |from: &str, to: &str| _ = fs::copy(Path::new(from), images.join(to)).unwrap();
    copy(SNPONLY, "snponly.efi");
    copy(UNDIONLY, "undionly.kpxe");
    for (name, bytes) in [
        ("arm.efi", efi(ARM64)),
        ("own.efi", efi(X64)),
        ("boot.ipxe", b"#!ipxe\nkernel /debian/linux\ninitrd /debian/initrd.gz\nboot\n".to_vec()),
        ("own.ipxe", b"#!ipxe\nkernel /debain/linux\nboot\n".to_vec()),
        ("debian/linux", vec![1; 4 << 20]),
        ("debian/initrd.gz", vec![2; 20 << 20]),
        ("debian/shrinks", vec![3; 40 << 20]),
    ] {
        fs::write(images.join(name), bytes).unwrap();
    }
}

const STORIES: &[Story] = &[
    Story { name: "boots", entry: "", wanted: Outcome::Boots, act: boots },
    Story { name: "boots-a-target", entry: "boot: debian", wanted: Outcome::Boots, act: boots },
    Story {
        name: "no-file",
        entry: "",
        wanted: certain(
            "no_file_for_architecture",
            "firmware",
            5,
            &["uefi-arm64: grubnetaa64.efi", "boot.arch"],
        ),
        act: |machine, _| machine.discovers(ARM, 3),
    },
    Story {
        name: "no-file-for-a-rare-one",
        entry: "",
        wanted: certain("no_file_for_architecture", "firmware", 5, &["`boot.arch`", "riscv"]),
        act: |machine, _| machine.discovers(RISCV, 2),
    },
    Story {
        name: "file-missing",
        entry: "boot: snponyl.efi",
        wanted: certain("file_missing", "firmware", 5, &["`snponyl.efi`", "a file `snponly.efi` is there"]),
        act: |machine, _| {
            machine.lease(UEFI);
            assert_eq!(machine.load("snponyl.efi", LARGE_BLOCKS), Err(Failed::Refused(1)));
        },
    },
    Story {
        name: "file-missing-by-http",
        entry: "boot: 'http://{server}/snponly.eif'",
        wanted: then_again(certain("file_missing", "firmware", 5, &["snponly.eif", "snponly.efi"])),
        act: |machine, _| {
            machine.lease(HTTP);
            assert_eq!(machine.get("/snponly.eif").0, 404);
            machine.discovers(HTTP, 1);
        },
    },
    Story {
        name: "file-missing-for-a-loader",
        entry: "boot: own.efi",
        wanted: likely("file_missing", "loader", 5, &["grubx64.efi"]),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            assert_eq!(machine.load("revocations.efi", LARGE_BLOCKS), Err(Failed::Refused(1)));
            assert_eq!(machine.load("grubx64.efi", LARGE_BLOCKS), Err(Failed::Refused(1)));
        },
    },
    Story {
        name: "replies-lost",
        entry: "",
        wanted: certain("replies_lost", "firmware", 5, &["4 DISCOVERs, we answered 4", "firewall"]),
        act: |machine, place| {
            place.drop_to(machine, "udp dport 68");
            machine.discovers(UEFI, 4);
        },
    },
    Story {
        name: "replies-lost-and-it-gives-up",
        entry: "",
        wanted: likely("replies_lost", "firmware", 13, &["2 DISCOVERs, we answered 2"]),
        act: |machine, place| {
            place.drop_to(machine, "udp dport 68");
            machine.discovers(BIOS, 2);
        },
    },
    Story {
        name: "ack-lost",
        entry: "",
        wanted: certain("replies_lost", "firmware", 13, &["repeats its REQUEST"]),
        act: |machine, place| {
            let offer = machine.offer(UEFI);
            place.drop_to(machine, "udp dport 68");
            for pause in EDK2 {
                seconds(pause.min(4));
                machine.request(UEFI, &offer, 0);
            }
        },
    },
    Story {
        name: "tftp-not-started",
        entry: "",
        wanted: likely("tftp_not_started", "firmware", 5, &["`snponly.efi`", "TFTP", "port 69"]),
        act: |machine, place| {
            place.drop_from(machine, "udp dport 69");
            machine.lease(UEFI);
            assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
        },
    },
    Story {
        name: "http-not-started",
        entry: "",
        wanted: likely("tftp_not_started", "firmware", 5, &["by HTTP"]),
        act: |machine, _| _ = machine.lease(HTTP),
    },
    Story {
        name: "tftp-blocked",
        entry: "",
        wanted: likely("tftp_blocked", "firmware", 5, &["`snponly.efi`", "ports: single"]),
        act: |machine, place| {
            place.drop_to(machine, "udp sport 1024-65535");
            machine.lease(UEFI);
            assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
        },
    },
    Story {
        name: "tftp-blocked-without-options",
        entry: "",
        wanted: likely("tftp_blocked", "firmware", 5, &["`undionly.kpxe`"]),
        act: |machine, place| {
            place.drop_to(machine, "udp sport 1024-65535");
            machine.lease(BIOS);
            assert_eq!(machine.load("undionly.kpxe", None), Err(Failed::Silent));
        },
    },
    Story {
        name: "tftp-blocked-the-other-way",
        entry: "",
        wanted: likely("tftp_blocked", "firmware", 5, &["`snponly.efi`"]),
        act: |machine, place| {
            place.drop_from(machine, "udp dport 1024-65535");
            machine.lease(UEFI);
            assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
        },
    },
    Story {
        name: "block-size",
        entry: "",
        wanted: likely("block_size_too_large", "firmware", 5, &["1468 bytes", "max_block_size: 1368"]),
        act: |machine, _| {
            // As on a path through a tunnel: larger packets are lost, and nobody reports it.
            machine.host.ip("link set eth0 mtu 1400").unwrap();
            machine.lease(UEFI);
            assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
        },
    },
    Story {
        name: "wrong-architecture",
        entry: "boot: arm.efi",
        wanted: then_again(certain(
            "wrong_architecture",
            "loader",
            5,
            &["`arm.efi`", "arm64", "`uefi-x64: FILE`"],
        )),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            seconds(1);
            machine.discovers(UEFI, 1);
        },
    },
    Story {
        name: "wrong-architecture-and-it-hangs",
        entry: "boot: snponly.efi",
        wanted: certain("wrong_architecture", "loader", 5, &["`snponly.efi`", "bios"]),
        act: |machine, _| {
            machine.lease(BIOS);
            machine.load_named(BIOS);
        },
    },
    Story {
        name: "secure-boot",
        entry: "",
        wanted: then_again(likely("secure_boot_refused", "loader", 5, &["not signed", "shim"])),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            // OVMF goes on with its next boot entry.
            sleep(Duration::from_millis(20));
            machine.discovers(HTTP, 1);
        },
    },
    Story {
        name: "secure-boot-and-it-is-silent",
        entry: "boot: own.efi",
        wanted: likely("secure_boot_refused", "loader", 5, &["`own.efi`", "not signed"]),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
        },
    },
    Story {
        name: "secure-boot-and-ipv6",
        entry: "",
        wanted: likely("secure_boot_refused", "loader", 5, &["`snponly.efi`", "not signed"]),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            // OVMF goes on with its boot entry for IPv6.
            sleep(Duration::from_millis(20));
            machine.solicit_by_ipv6();
        },
    },
    Story {
        name: "ipxe-no-network-and-ipv6",
        entry: "",
        wanted: likely("ipxe_no_network", "loader", 5, &["`snponly.efi`", "ipxe.efi"]),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            // Its banner is there for two seconds.
            sleep(Duration::from_millis(2500));
            machine.solicit_by_ipv6();
        },
    },
    Story {
        name: "boots-and-asks-by-ipv6",
        entry: "",
        wanted: Outcome::Boots,
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            machine.solicit_by_ipv6();
            seconds(2);
            machine.lease(IPXE);
            machine.solicit_by_ipv6();
            machine.load_named(IPXE);
            assert_eq!(machine.get("/debian/linux").0, 200);
            assert_eq!(machine.get("/debian/initrd.gz").0, 200);
            machine.lease(SYSTEM);
        },
    },
    Story {
        name: "ipxe-no-network",
        entry: "",
        wanted: likely("ipxe_no_network", "loader", 5, &["`snponly.efi`", "ipxe.efi"]),
        act: |machine, _| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
        },
    },
    Story {
        name: "ipxe-loop",
        entry: "boot: snponly.efi",
        wanted: certain("ipxe_loop", "loader", 5, &["`snponly.efi` 3 times", "boot.ipxe"]),
        act: |machine, _| {
            // Firmware alone: an iPXE that does not identify itself.
            for _ in 0..3 {
                machine.lease(UEFI);
                machine.load_named(UEFI);
                seconds(3);
            }
        },
    },
    Story {
        name: "script-silent",
        entry: "boot: own.ipxe",
        wanted: likely("script_failed", "script", 30, &["`own.ipxe`", "asked for nothing"]),
        act: |machine, _| {
            machine.lease(IPXE);
            machine.load_named(IPXE);
        },
    },
    Story {
        name: "script-misspelt",
        entry: "boot: own.ipxe",
        wanted: certain("script_failed", "script", 5, &["`own.ipxe` names `debain/linux`"]),
        act: |machine, _| {
            machine.lease(IPXE);
            machine.load_named(IPXE);
            assert_eq!(machine.get("/debain/linux").0, 404);
        },
    },
    Story {
        name: "ipxe-loop-by-its-script",
        entry: "",
        wanted: certain("ipxe_loop", "script", 5, &["`snponly.efi` 3 times", "`boot.ipxe` starts it again"]),
        act: |machine, _| {
            machine.boot_to_script();
            for _ in 0..2 {
                assert!(machine.load("snponly.efi", LARGE_BLOCKS).is_ok());
                seconds(1);
                machine.lease(IPXE);
                machine.load_named(IPXE);
            }
        },
    },
    Story {
        name: "ipxe-uses-another-card",
        entry: "",
        wanted: certain("ipxe_no_network", "loader", 5, &["52:54:00:15:02:09", "snponly.efi"]),
        act: |machine, place| {
            machine.lease(UEFI);
            machine.load_named(UEFI);
            let card = place.site.network.host("52:54:00:15:02:09").unwrap();
            let uuid = machine.uuid;
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    enter(&card);
                    let mac = "52:54:00:15:02:09".parse().unwrap();
                    let mut other = Client::new(mac, &card, machine.server);
                    other.uuid = uuid;
                    other.lease(IPXE);
                });
                other.join().unwrap();
            });
        },
    },
    Story {
        name: "link-flaps",
        entry: "",
        wanted: likely("link_flaps", "firmware", 9, &["28 s old", "portfast"]),
        act: |machine, place| {
            // Spanning tree keeps the port closed, and the machine gives up when it opens.
            place.while_closed(machine.host, || {
                machine.discovers(UEFI, 3);
                seconds(15);
            });
            seconds(1);
            machine.discover(UEFI, 28);
        },
    },
    Story {
        name: "file-elsewhere",
        entry: "boot: {uefi-x64: {file: theirs.efi, server: 192.168.77.9}}",
        wanted: Outcome::Boots,
        act: |machine, _| {
            // The other server's loader starts a system, of which nothing is seen here.
            machine.lease(UEFI);
            seconds(8);
            machine.lease(SYSTEM);
        },
    },
    Story {
        name: "never-seen",
        entry: "boot: debian",
        wanted: Outcome::Checked,
        act: |machine, place| {
            let details = place.why(machine.mac);
            assert_eq!(details["verdict"]["id"], "never_seen", "{details}");
            assert_eq!(details["verdict"]["confidence"], "certain", "{details}");
            assert_eq!(details["boots"].as_array().map(Vec::len), Some(0), "{details}");
        },
    },
    Story {
        name: "boots-its-disk-after-once",
        entry: "boot: debian",
        wanted: Outcome::Checked,
        act: |machine, place| {
            boots(machine, place);
            stays_silent_after(machine, place, &["once", "boots-its-disk-after-once", "debian"]);
        },
    },
    Story {
        name: "boots-its-disk-after-wake",
        entry: "boot: debian",
        wanted: Outcome::Checked,
        act: |machine, place| {
            boots(machine, place);
            stays_silent_after(machine, place, &["wake", "boots-its-disk-after-wake"]);
        },
    },
    Story {
        name: "boots-its-disk-as-configured",
        entry: "boot: local",
        wanted: Outcome::Boots,
        act: |machine, _| {
            machine.boot_to_script();
            seconds(35);
        },
    },
    Story {
        name: "initrd-missing",
        entry: "boot: broken",
        wanted: certain("kernel_missing", "kernel", 5, &["debian/initrd.xz", "debian/initrd.gz", "targets"]),
        act: |machine, _| {
            machine.boot_to_script();
            assert_eq!(machine.get("/debian/linux").0, 200);
            assert_eq!(machine.get("/debian/initrd.xz").0, 404);
        },
    },
    Story {
        name: "initrd-reset",
        entry: "boot: debian",
        wanted: likely("kernel_missing", "kernel", 5, &["debian/initrd.gz", "of 20971520 bytes"]),
        act: |machine, _| {
            machine.boot_to_script();
            assert_eq!(machine.get("/debian/linux").0, 200);
            machine.get_beginning("/debian/initrd.gz");
        },
    },
    Story {
        name: "not-enough-ram",
        entry: "boot: debian",
        wanted: then_again(likely("not_enough_ram", "kernel", 5, &["debian/initrd.gz", "memory"])),
        act: |machine, _| {
            machine.boot_to_initrd();
            seconds(6);
            machine.discovers(UEFI, 1);
        },
    },
    Story {
        name: "little-memory-by-its-report",
        entry: "boot: debian",
        wanted: then_again(certain(
            "not_enough_ram",
            "kernel",
            5,
            &["has 96 MiB", "about 128 MiB", "smaller"],
        )),
        act: |machine, _| {
            machine.boot_to_script();
            machine.report_memory(96);
            assert_eq!(machine.get("/debian/linux").0, 200);
            assert_eq!(machine.get("/debian/initrd.gz").0, 200);
            seconds(6);
            machine.discovers(UEFI, 1);
        },
    },
    Story {
        name: "little-memory-and-a-reset",
        entry: "boot: debian",
        wanted: certain("not_enough_ram", "kernel", 5, &["has 100 MiB", "about 128 MiB"]),
        act: |machine, _| {
            machine.boot_to_script();
            machine.report_memory(100);
            assert_eq!(machine.get("/debian/linux").0, 200);
            machine.get_beginning("/debian/initrd.gz");
        },
    },
    Story {
        name: "enough-memory-by-its-report",
        entry: "boot: debian",
        wanted: Outcome::Boots,
        act: |machine, _| {
            machine.boot_to_script();
            machine.report_memory(4096);
            assert_eq!(machine.get("/debian/linux").0, 200);
            assert_eq!(machine.get("/debian/initrd.gz").0, 200);
            seconds(3);
            machine.lease(SYSTEM);
        },
    },
    Story {
        name: "initrd-no-network",
        entry: "boot: debian",
        wanted: likely("initrd_no_network", "kernel", 60, &["debian/initrd.gz", "driver"]),
        act: |machine, _| machine.boot_to_initrd(),
    },
    Story {
        name: "installer-failed",
        entry: "boot: debian",
        wanted: certain("installer_failed", "os", 5, &["preseed.cfg", "cmdline"]),
        act: |machine, place| {
            boots(machine, place);
            seconds(1);
            assert_eq!(machine.get("/preseed.cfg").0, 404);
        },
    },
];

/// The machine is expected to boot from the network after this command, and boots its disk.
fn stays_silent_after(machine: &mut Client<'_>, place: &Place, command: &[&str]) {
    let is_booted = |details: &Value| details["boots"][0]["result"] == "booted";
    until(|| is_booted(&place.why(machine.mac)), "it has booted");
    let (text, code) = place.lanboot(command);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(place.why(machine.mac)["verdict"], Value::Null, "it may be on its way");
    seconds(6);
    let details = place.why(machine.mac);
    assert_eq!(details["verdict"]["id"], "booted_from_disk", "{details}");
    assert!(details["verdict"]["advice"].as_str().unwrap().contains("boot order"), "{details}");
    assert!(is_booted(&details), "{details}");
    machine.again();
    machine.discover(UEFI, 0);
    until(|| place.why(machine.mac)["verdict"] == Value::Null, "it asks");
}

/// A whole boot.
fn boots(machine: &mut Client<'_>, _: &Place) {
    machine.boot_to_initrd();
    seconds(3);
    machine.lease(SYSTEM);
}

#[test]
fn machines_get_the_verdict_that_fits() {
    if !ready("verdicts machines_get_the_verdict_that_fits", &[NETWORK, NFT, IPXE_FILES]) {
        return;
    }
    for _ in 0..runs() {
        let site = Site::new(&[]);
        add_files(&site);
        let place = Place::new(site, &format!("{CONFIG}{}", entries(STORIES)));
        let mut server = place.site.serve(&place.config);
        let wrong = place.play(STORIES);
        assert_all(&wrong, &mut server);
        // The verdict is also a line of the log.
        let log = server.drain();
        let is_logged = |line: &str| {
            line.contains("WARN stuck little-memory-by-its-report ") && line.contains(" has 96 MiB of memory")
        };
        assert!(log.lines().any(is_logged), "{log}");
    }
}
