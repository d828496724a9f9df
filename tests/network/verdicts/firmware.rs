//! Real firmware in QEMU that fails: SeaBIOS with iPXE, and UEFI with and without Secure Boot. All machines run at the
//! same time, each on its own network.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use lanboot::cli::demo::network::{Firmware, NETWORK, Need, OVMF, Running, SEABIOS, SNPONLY, machine};
use support::firmware::linux::{LINUX, LINUX_FILES, SECURE_OVMF, linux_site, secure_machine};
use support::one_at_a_time;
use support::site::{DNSMASQ, GRUB_ARM64, Site, ready, router};

use super::lan::NFT;
use super::place::*;

const ARM_GRUB: &[Need] =
    &[Need { what: GRUB_ARM64, package: "grub-efi-arm64-signed:arm64 (which tests/run unpacks)" }];

/// A GRUB that is not signed.
const UNSIGNED: &[Need] = &[Need { what: GRUB, package: "grub-efi-amd64-bin" }];
const GRUB: &str = "/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi";

const CONFIG: &str = "log: {level: debug}
http: {port: 80}
dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]}
";

/// Number of machines that run at the same time.
const AT_ONCE: usize = 3;

/// A machine of QEMU that fails.
struct Case {
    name: &'static str,
    site: fn() -> Site,
    /// More lines of config.yaml.
    config: String,
    switch_on: fn(&Site, &str) -> Running,
    wanted: Outcome,
    /// Words on its screen.
    screen: &'static str,
}

fn seabios(site: &Site, mac: &str) -> Running {
    machine(&site.network, Firmware::SeaBios, mac, site.folder.path()).unwrap()
}

fn ovmf(site: &Site, mac: &str) -> Running {
    machine(&site.network, Firmware::Ovmf, mac, site.folder.path()).unwrap()
}

fn secure_ovmf(site: &Site, mac: &str) -> Running {
    secure_machine(&site.network, mac, site.folder.path(), &[])
}

fn with_ipxe() -> Site {
    Site::new(&[("snponly.efi", &fs::read(SNPONLY).unwrap())])
}

fn cases() -> Vec<Case> {
    let uefi = |file: &str| format!("boot: {{arch: {{uefi-x64: {file}}}}}\n");
    let target = |files: &str| {
        format!("boot: {{default: debian}}\ntargets:\n  debian: {{{files}, cmdline: console=ttyS0 quiet}}\n")
    };
    vec![
        // It takes the longest.
        Case {
            name: "bios-initrd-no-network",
            site: || linux_site(&[], &[]),
            config: target(LINUX_FILES),
            switch_on: seabios,
            wanted: then_forever(likely("initrd_no_network", "kernel", 60, &["debian/initrd.img", "driver"])),
            screen: "LANBOOT-LINUX started",
        },
        Case {
            name: "uefi-file-missing",
            site: with_ipxe,
            config: uefi("snponyl.efi"),
            switch_on: ovmf,
            wanted: then_forever(certain(
                "file_missing",
                "firmware",
                5,
                &["`snponyl.efi`", "a file `snponly.efi` is there"],
            )),
            screen: "PXE-E23",
        },
        Case {
            name: "uefi-wrong-architecture",
            site: || Site::new(&[("grubnetaa64.efi", &fs::read(GRUB_ARM64).unwrap())]),
            config: uefi("grubnetaa64.efi"),
            switch_on: ovmf,
            wanted: then_forever(certain(
                "wrong_architecture",
                "loader",
                5,
                &["`grubnetaa64.efi`", "`uefi-x64: FILE`"],
            )),
            screen: "Unsupported",
        },
        Case {
            name: "uefi-secure-boot",
            site: || Site::new(&[("grubnetx64.efi", &fs::read(GRUB).unwrap())]),
            config: uefi("grubnetx64.efi"),
            switch_on: secure_ovmf,
            wanted: then_forever(likely(
                "secure_boot_refused",
                "loader",
                5,
                &["`grubnetx64.efi`", "not signed", "shim"],
            )),
            screen: "Access Denied",
        },
        // Its next boot entry is that for IPv6, so DHCP hears nothing of it.
        Case {
            name: "uefi-secure-boot-ipxe",
            site: with_ipxe,
            config: uefi("snponly.efi"),
            switch_on: secure_ovmf,
            wanted: then_forever(likely(
                "secure_boot_refused",
                "loader",
                5,
                &["`snponly.efi`", "not signed", "shim"],
            )),
            screen: "Access Denied",
        },
        Case {
            name: "uefi-ipxe-loop",
            site: with_ipxe,
            config: "boot: {arch: {uefi-x64: snponly.efi}, ipxe: snponly.efi}\n".to_owned(),
            switch_on: ovmf,
            wanted: then_forever(certain("ipxe_loop", "loader", 5, &["`snponly.efi`", "boot.ipxe"])),
            screen: "snponly.efi",
        },
        Case {
            name: "bios-kernel-missing",
            site: || linux_site(&[], &[]),
            config: target("kernel: debian/vmlinuz-6.1, initrd: debian/initrd.img"),
            switch_on: seabios,
            wanted: then_forever(certain(
                "kernel_missing",
                "script",
                5,
                &["debian/vmlinuz-6.1", "debian/vmlinuz-6.0"],
            )),
            screen: "ipxe.org",
        },
    ]
}

/// Switches the machine on, and waits for its verdict. Returns what is wrong with it.
fn fails(case: &Case, number: usize) -> Result<(), String> {
    let place = Place::new((case.site)(), &format!("{CONFIG}{}", case.config));
    let mut server = place.site.serve(&place.config);
    // iPXE waits 15 s for an IPv6 router, which on a busy computer is longer than its limit.
    let _router = router(place.site.network.namespace());
    let mac = mac(number);
    let mut console = (case.switch_on)(&place.site, &mac.to_string());
    let judged = place.wait_for_boot(mac, &case.wanted);
    let screen = console.screen().to_owned();
    let judged = judged.and_then(|()| match screen.contains(case.screen) {
        true => Ok(()),
        false => Err(format!("{:?} is not on its screen", case.screen)),
    });
    judged.map_err(|why| {
        let details = serde_json::to_string_pretty(&place.why(mac)).unwrap();
        format!("---- {}: {why}\n{details}\nconsole:\n{screen}\nserver:\n{}", case.name, server.drain())
    })
}

#[test]
fn real_firmware_gets_the_verdict_that_fits() {
    let name = "verdicts real_firmware_gets_the_verdict_that_fits";
    if !ready(name, &[NETWORK, NFT, SEABIOS, OVMF, SECURE_OVMF, LINUX, ARM_GRUB, UNSIGNED, DNSMASQ]) {
        return;
    }
    let _alone = one_at_a_time();
    for _ in 0..runs() {
        let (cases, next) = (cases(), AtomicUsize::new(0));
        let run = || {
            let mut wrong = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(n) else { return wrong };
                wrong.extend(fails(case, n).err());
            }
        };
        let wrong: Vec<String> = scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
