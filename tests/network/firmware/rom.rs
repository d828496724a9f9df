//! Machines with iPXE in ROM, as in QEMU, Proxmox and VirtualBox, boot the file of `boot.arch`: PXELINUX by TFTP and by
//! HTTP, the Debian installer's tree, and GRUB on UEFI. There is no `boot.ipxe`, neither as a key nor as a file.
//!
//! Needs root, QEMU, the firmware, and loaders from packages, which `tests/run` downloads on Debian. Without them the
//! tests are skipped by name, or fail with CI=true.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{
    Firmware, NETWORK, Need, OVMF, Running, SEABIOS, machine, machine_with, run,
};
use support::LANBOOT;
use support::firmware::BOOT_LIMIT;
use support::one_at_a_time;
use support::site::{DNSMASQ, ROUTER, SERVER, Site, dnsmasq, press, ready, router, until};

/// A package file, as tests/run stores it.
macro_rules! package {
    ($name:literal) => {
        Need {
            what: concat!(env!("CARGO_MANIFEST_DIR"), "/target/firmware/packages/", $name, ".deb"),
            package: "(tests/run downloads it)",
        }
    };
}

const PXELINUX: &[Need] = &[package!("pxelinux"), package!("syslinux-common"), package!("syslinux-efi")];
/// The folder that the Debian installer boots from, as its package contains it.
const INSTALLER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/firmware/debian-installer");
const INSTALLER_NEEDS: &[Need] = &[Need {
    what: concat!(env!("CARGO_MANIFEST_DIR"), "/target/firmware/debian-installer/pxelinux.0"),
    package: "debian-installer-12-netboot-amd64 (which tests/run unpacks)",
}];
/// iPXE for UEFI in the ROM of QEMU's card, and a GRUB that it loads.
const UEFI_ROM: &[Need] =
    &[Need { what: EFI_ROM, package: "ipxe-qemu" }, Need { what: GRUB, package: "grub-efi-amd64-bin" }];
const EFI_ROM: &str = "/usr/lib/ipxe/qemu/efi-virtio.rom";
const GRUB: &str = "/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi";

const MAC: &str = "52:54:00:77:00:31";

const BESIDE: &str = "dhcp: {mode: proxy}";
const ALONE: &str =
    "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]}";

/// Servers that end iPXE's waits. Beside a proxy they also give addresses.
fn other_server(site: &Site, mode: &str) -> Vec<Running> {
    if mode == ALONE {
        return vec![router(site.network.namespace())];
    }
    vec![dnsmasq(&site.other_computer(), &ROUTER)]
}

/// Waits until the server has logged `line`.
fn assert_says(server: &mut Running, console: &mut Running, line: &str) {
    let end = Instant::now() + BOOT_LIMIT;
    while !server.wait_for(line, Duration::from_millis(200)) {
        let is_over = Instant::now() > end || console.ended().is_some();
        assert!(!is_over, "no {line:?}; server:\n{}\nconsole:\n{}", server.drain(), console.drain());
    }
}

fn assert_shows(console: &mut Running, server: &mut Running, text: &str) {
    let shown = console.wait_for(text, BOOT_LIMIT);
    assert!(shown, "no {text:?}; console:\n{}\nserver:\n{}", console.drain(), server.drain());
}

/// lpxelinux.0 loads its second part and its configuration by TFTP, and a part of the configuration by HTTP.
fn boots_pxelinux(mode: &str) {
    let _alone = one_at_a_time();
    let site = Site::new(&[("more.cfg", b"SAY LANBOOT-TEST loaded by HTTP\n")]);
    let config =
        site.configure(&format!("{mode}\nhttp: {{port: 80}}\nboot: {{arch: {{bios: lpxelinux.0}}}}"));
    let mut add = Command::new(&*LANBOOT);
    add.arg("--config").arg(&config).args(["images", "add", "--arch", "amd64", "pxelinux"]);
    PXELINUX.iter().for_each(|package| _ = add.args(["--deb", package.what]));
    run(&mut add).unwrap();
    let folder = site.folder.path().join("boot-images/pxelinux.cfg");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("default"),
        format!("SAY LANBOOT-TEST default\nINCLUDE http://{SERVER}/more.cfg\n"),
    )
    .unwrap();
    let checked =
        Command::new(&*LANBOOT).args(["check", "--file-only", "--config"]).arg(&config).output().unwrap();
    assert_eq!((checked.status.code(), &checked.stderr[..]), (Some(0), &b""[..]), "{checked:?}");
    let _others = other_server(&site, mode);
    let mut server = site.serve(&config);
    let mut console = machine(&site.network, Firmware::SeaBios, MAC, site.folder.path()).unwrap();
    assert_shows(&mut console, &mut server, "LANBOOT-TEST default");
    assert_shows(&mut console, &mut server, "LANBOOT-TEST loaded by HTTP");
    let said = server.drain();
    assert!(said.contains(&format!("{MAC} file=lpxelinux.0 rule=boot.arch.bios")), "{said}");
    assert!(!said.contains("boot.ipxe"), "{said}");
}

#[test]
fn r_02_seabios_with_ipxe_boots_pxelinux_from_a_dhcp_server() {
    let name = "firmware_rom r_02_seabios_with_ipxe_boots_pxelinux_from_a_dhcp_server";
    if ready(name, &[NETWORK, SEABIOS, DNSMASQ, PXELINUX]) {
        boots_pxelinux(ALONE);
    }
}

#[test]
fn r_02_seabios_with_ipxe_boots_pxelinux_beside_another_dhcp_server() {
    let name = "firmware_rom r_02_seabios_with_ipxe_boots_pxelinux_beside_another_dhcp_server";
    if ready(name, &[NETWORK, SEABIOS, DNSMASQ, PXELINUX]) {
        boots_pxelinux(BESIDE);
    }
}

/// The installer shows its menu, and loads its kernel after Enter is pressed.
fn boots_the_installer(mode: &str) {
    let _alone = one_at_a_time();
    let site = Site::new(&[]);
    let images = site.folder.path().join("boot-images");
    run(Command::new("cp").args(["-a", "--", INSTALLER]).arg(images.join("tree"))).unwrap();
    let config =
        site.configure(&format!("{mode}\nlog: {{level: debug}}\nboot: {{arch: {{bios: pxelinux.0}}}}"));
    let text = fs::read_to_string(&config).unwrap().replace("boot-images\n", "boot-images/tree\n");
    fs::write(&config, text).unwrap();
    let _others = other_server(&site, mode);
    let mut server = site.serve(&config);
    let path = site.folder.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", path.display());
    let arguments = ["-monitor", &monitor];
    let mut console =
        machine_with(&site.network, Firmware::SeaBios, MAC, site.folder.path(), &arguments).unwrap();
    until(|| path.exists(), "QEMU has a monitor");
    assert_shows(&mut console, &mut server, "installer menu");
    let mut keyboard = UnixStream::connect(&path).unwrap();
    // A key is lost if it comes before the menu waits for one.
    for _ in 0..20 {
        press(&mut keyboard, "ret");
        if server.wait_for("sent debian-installer/amd64/linux to ", Duration::from_secs(3)) {
            break;
        }
    }
    assert_says(&mut server, &mut console, "sent debian-installer/amd64/linux to ");
    assert!(
        server.drain().contains(&format!("{MAC} file=pxelinux.0 rule=boot.arch.bios")),
        "{}",
        server.drain()
    );
}

#[test]
fn r_02_seabios_with_ipxe_boots_the_debian_installer_from_a_dhcp_server() {
    let name = "firmware_rom r_02_seabios_with_ipxe_boots_the_debian_installer_from_a_dhcp_server";
    if ready(name, &[NETWORK, SEABIOS, DNSMASQ, INSTALLER_NEEDS]) {
        boots_the_installer(ALONE);
    }
}

#[test]
fn r_02_seabios_with_ipxe_boots_the_debian_installer_beside_another_dhcp_server() {
    let name = "firmware_rom r_02_seabios_with_ipxe_boots_the_debian_installer_beside_another_dhcp_server";
    if ready(name, &[NETWORK, SEABIOS, DNSMASQ, INSTALLER_NEEDS]) {
        boots_the_installer(BESIDE);
    }
}

#[test]
fn r_02_uefi_with_ipxe_in_rom_boots_grub() {
    let name = "firmware_rom r_02_uefi_with_ipxe_in_rom_boots_grub";
    if !ready(name, &[NETWORK, OVMF, DNSMASQ, UEFI_ROM]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = Site::new(&[("grubnetx64.efi", &fs::read(GRUB).unwrap())]);
    let images = site.folder.path().join("boot-images");
    fs::create_dir(images.join("grub")).unwrap();
    fs::write(images.join("grub/grub.cfg"), "echo LANBOOT-TEST GRUB at $net_default_ip\nsleep 600\n")
        .unwrap();
    let config = site.configure(&format!("{ALONE}\nboot: {{arch: {{uefi-x64: grubnetx64.efi}}}}"));
    let _others = other_server(&site, ALONE);
    let mut server = site.serve(&config);
    let tap = site.network.tap().unwrap();
    let (code, vars) = (OVMF[1].what, site.folder.path().join("vars.fd"));
    fs::copy(OVMF[2].what, &vars).unwrap();
    let mut qemu = site.network.namespace().command("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.args(["-M", "q35", "-m", "512", "-device", "virtio-rng-pci"]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={code}")]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", vars.display())]);
    qemu.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
    qemu.args(["-device", &format!("virtio-net-pci,netdev=lan,mac={MAC},bootindex=0,romfile={EFI_ROM}")]);
    let mut console = Running::spawn(qemu).unwrap();
    assert_shows(&mut console, &mut server, "LANBOOT-TEST GRUB at 192.168.77.");
    let said = server.drain();
    assert!(said.contains(&format!("DHCPDISCOVER(br0) {MAC} iPXE uefi-x64")), "the ROM is iPXE: {said}");
    assert!(said.contains("file=grubnetx64.efi rule=boot.arch.uefi-x64"), "{said}");
}
