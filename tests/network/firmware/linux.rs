//! Complete boots: from firmware by a loader to a Linux userspace that prints its command line, and then from the local
//! disk. Only lanboot selects what the machines and the loaders start.
//!
//! Needs root, QEMU, the firmware, and a kernel and loaders from packages, which `tests/run` downloads on Debian.
//! Without them the tests are skipped by name, or fail with CI=true.

use std::fs;
use std::os::unix::net::UnixStream;

use lanboot::cli::demo::network::{Firmware, NETWORK, OVMF, Running, SEABIOS, SNPONLY, machine_with};
use support::firmware::BOOT_LIMIT;
use support::firmware::linux::*;
use support::one_at_a_time;
use support::site::{DNSMASQ, ROUTER, SERVER, Site, dnsmasq, press, ready, router};

const MAC: &str = "52:54:00:77:00:21";

/// Lines of config.yaml: a server that logs its transfers, a target, and one machine that starts it once and then
/// `then`.
fn config(boot: &str, cmdline: &str, then: &str) -> String {
    let files = LINUX_FILES.replace(", ", "\n    ");
    format!(
        "log: {{level: debug}}\nhttp: {{port: 80}}\nboot: {{{boot}}}\n\
         dhcp: {SERVER_MODE}\n\
         targets:\n  debian:\n    title: Debian's kernel\n    {files}\n    cmdline: {CMDLINE} {cmdline}\n\
         machines: [{{name: node1, mac: '{MAC}', vars: {{role: web}}, boot: {then}, once: debian}}]\n"
    )
}

const SERVER_MODE: &str =
    "{mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.200}]}";

/// Contains characters that loaders and shells interpret.
const CMDLINE: &str =
    "console=ttyS0 quiet who={mac} role={role} ds=nocloud;s=http://{server}/$x say=\"two words\" ---";

/// Waits for Linux, which must have received its command line. The loader may add words before it.
fn assert_starts_linux(console: &mut Running, server: &mut Running) {
    let line = linux_booted(console, server);
    let read = format!("<{MAC}> <web> <two words>");
    let appended = format!("console=ttyS0 quiet who={MAC} role=web ds=nocloud;s=http://{SERVER}/$x ");
    assert!(line.contains(&read) && line.contains(&appended) && line.contains(" ---"), "{line}");
}

/// Waits until the console has shown each of `texts`, in this order. Linux must not start.
fn assert_shows(console: &mut Running, server: &mut Running, texts: &[&str]) {
    let last = texts.last().unwrap();
    let shown = console.wait_for(last, BOOT_LIMIT);
    let screen = console.screen();
    let all = texts.iter().try_fold(screen, |rest, text| rest.split_once(text).map(|(_, after)| after));
    assert!(shown && all.is_some(), "not all of {texts:?}; console:\n{screen}\nserver:\n{}", server.drain());
    assert!(!screen.contains("LANBOOT-LINUX"), "{screen}");
}

fn assert_said(server: &mut Running, lines: &[&str]) {
    let said = server.drain();
    for line in lines {
        assert!(said.contains(line), "{line} is not in the log:\n{said}");
    }
}

/// Writes a file for [`MAC`] alone.
fn own_file(site: &Site, name: &str, text: &str) {
    let path = site.folder.path().join("boot-images").join(MAC.replace(':', "-")).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Boots twice from `lanboot serve`, which is killed and restarted in between: first Linux, and then the machine's next
/// target, where the console shows `then`. Returns the first console output.
fn boots_linux_once(site: &Site, config: &str, switch_on: impl Fn() -> Running, then: &[&str]) -> String {
    let config = site.configure(config);
    let mut server = site.serve(&config);
    let mut console = switch_on();
    assert_starts_linux(&mut console, &mut server);
    assert_said(&mut server, &["once debian of node1 is over: it was sent debian/initrd.img"]);
    let screen = console.screen().to_owned();
    drop((console, server));
    let mut server = site.serve(&config);
    assert_shows(&mut switch_on(), &mut server, then);
    screen
}

fn switch_on(site: &Site, firmware: Firmware, arguments: &[String]) -> Running {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    machine_with(&site.network, firmware, MAC, site.folder.path(), &arguments).unwrap()
}

#[test]
fn seabios_boots_ipxe_and_linux_by_http_once_and_then_the_disk() {
    let name = "firmware_linux seabios_boots_ipxe_and_linux_by_http_once_and_then_the_disk";
    if !ready(name, &[NETWORK, SEABIOS, LINUX, DNSMASQ]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = linux_site(&[], &[]);
    let _router = router(site.network.namespace());
    let disk = bios_disk(site.folder.path());
    let config = config("", "done=http://{server}/{mac}/done", "local");
    let switch_on = || switch_on(&site, Firmware::SeaBios, &disk);
    let screen = boots_linux_once(&site, &config, switch_on, &["Starting the local disk", DISK]);
    assert!(screen.contains("LANBOOT-LINUX said that it is done"), "{screen}");
    assert!(screen.contains(&format!("http://{SERVER}/debian/vmlinuz-6.0...")), "{screen}");
}

#[test]
fn seabios_boots_pxelinux_and_linux_by_tftp_once_and_then_its_menu() {
    let name = "firmware_linux seabios_boots_pxelinux_and_linux_by_tftp_once_and_then_its_menu";
    if !ready(name, &[NETWORK, SEABIOS, LINUX, PXELINUX.packages, DNSMASQ]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = linux_site(&[PXELINUX], &[]);
    let _router = router(site.network.namespace());
    // QEMU's ROM is iPXE and loads its script. This script makes it do the same as any other ROM. PXELINUX reads from
    // it the folder that PXELINUX was loaded from.
    let script = format!("#!ipxe\nset net0/filename lpxelinux.0\nchain tftp://{SERVER}/lpxelinux.0\n");
    own_file(&site, "lanboot/boot.ipxe", &script);
    let disk = bios_disk(site.folder.path());
    let menu = ["The local disk", "Debian's kernel", "Booting from local disk", DISK];
    let switch_on = || switch_on(&site, Firmware::SeaBios, &disk);
    boots_linux_once(&site, &config("", "", "menu"), switch_on, &menu);
}

#[test]
fn uefi_boots_ipxe_and_linux_by_http_and_again_from_its_menu() {
    let name = "firmware_linux uefi_boots_ipxe_and_linux_by_http_and_again_from_its_menu";
    if !ready(name, &[NETWORK, OVMF, LINUX, DNSMASQ]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = linux_site(&[], &[("snponly.efi", &fs::read(SNPONLY).unwrap())]);
    let _router = router(site.network.namespace());
    let mut server = site.serve(&site.configure(&config("arch: {uefi-x64: snponly.efi}", "", "menu")));
    let mut console = switch_on(&site, Firmware::Ovmf, &[]);
    assert_starts_linux(&mut console, &mut server);
    drop(console);
    let path = site.folder.path().join("monitor");
    let monitor = ["-monitor".to_owned(), format!("unix:{},server=on,wait=off", path.display())];
    let mut console = switch_on(&site, Firmware::Ovmf, &monitor);
    assert_shows(&mut console, &mut server, &["The local disk", "Debian's kernel"]);
    let mut keyboard = UnixStream::connect(&path).unwrap();
    press(&mut keyboard, "down");
    press(&mut keyboard, "ret");
    assert_starts_linux(&mut console, &mut server);
}

#[test]
fn uefi_with_secure_boot_boots_shim_grub_and_linux_once_and_then_its_menu() {
    let name = "firmware_linux uefi_with_secure_boot_boots_shim_grub_and_linux_once_and_then_its_menu";
    if !ready(name, &[NETWORK, OVMF, SECURE_OVMF, LINUX, SHIM.packages, GRUB.packages]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = linux_site(&[SHIM, GRUB], &[("snponly.efi", &fs::read(SNPONLY).unwrap())]);
    let disk = uefi_disk(&site);
    let disk: Vec<&str> = disk.iter().map(String::as_str).collect();
    let switch_on = || secure_machine(&site.network, MAC, site.folder.path(), &disk);
    let settings = config("arch: {uefi-x64: shimx64.efi}", "", "menu");
    let menu = ["The local disk", "Debian's kernel", "Starting the local disk", DISK];
    let screen = boots_linux_once(&site, &settings, switch_on, &menu);
    assert!(screen.contains("secureboot: Secure boot enabled"), "{screen}");
    // Secure Boot refuses an unsigned program.
    let mut server = site.serve(&site.configure(&config("arch: {uefi-x64: snponly.efi}", "", "menu")));
    let refused = ["NBP filename is snponly.efi", "BdsDxe: failed to load Boot", "Access Denied"];
    assert_shows(&mut switch_on(), &mut server, &refused);
}

/// HTTP on a non-standard port, and no TFTP. Files are found only through their URLs.
fn by_http_alone() -> String {
    let boot = "arch: {uefi-x64-http: 'http://{server}:8080/snponly.efi'}";
    config(boot, "", "local").replace("port: 80", "port: 8080") + "tftp: off\n"
}

#[test]
fn uefi_http_boots_ipxe_and_linux_by_http_alone_once() {
    let name = "firmware_linux uefi_http_boots_ipxe_and_linux_by_http_alone_once";
    if !ready(name, &[NETWORK, OVMF, LINUX, DNSMASQ]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = linux_site(&[], &[("snponly.efi", &fs::read(SNPONLY).unwrap())]);
    let _router = router(site.network.namespace());
    // The next entry in the boot order is network boot by IPv6.
    let left = ["Starting the local disk", "BdsDxe: failed to start Boot", ">>Start HTTP Boot over IPv6"];
    boots_linux_once(&site, &by_http_alone(), || switch_on(&site, Firmware::OvmfHttp, &[]), &left);
}

#[test]
fn uefi_http_boots_ipxe_and_linux_by_a_proxy_beside_another_dhcp_server() {
    let name = "firmware_linux uefi_http_boots_ipxe_and_linux_by_a_proxy_beside_another_dhcp_server";
    if !ready(name, &[NETWORK, OVMF, LINUX, DNSMASQ]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = linux_site(&[], &[("snponly.efi", &fs::read(SNPONLY).unwrap())]);
    let other = site.other_computer();
    let _dnsmasq = dnsmasq(&other, &ROUTER);
    let mut server = site.serve(&site.configure(&by_http_alone().replace(SERVER_MODE, "{mode: proxy}")));
    let mut console = switch_on(&site, Firmware::OvmfHttp, &[]);
    assert_starts_linux(&mut console, &mut server);
    assert_said(&mut server, &["PROXYDHCP(br0)"]);
}
