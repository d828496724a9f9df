//! Real firmware boots from `lanboot serve`: QEMU with SeaBIOS and iPXE, and with UEFI (OVMF), in a network namespace.
//!
//! Needs root, QEMU and the firmware (`tests/run` installs them on Debian); skipped by name without, failed with
//! CI=true.

mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use lab::{LANBOOT, SERVER, Site, one_at_a_time, ready, until};
use lanboot::cli::demo::lab::{Firmware, NETWORK, OVMF, Running, SEABIOS, SNPONLY, machine, run};

const MAC: &str = "52:54:00:77:00:01";

/// What the boot script prints before and after the address that iPXE got.
const MARKER: &str = "LANBOOT-TEST booted at";
const END_MARKER: &str = "LANBOOT-TEST end";

/// The longest wait for a boot, which takes 15 to 40 s on two cores.
const LIMIT: Duration = Duration::from_secs(90);

const SERVER_MODE: &str = "dhcp: {mode: server, subnets: \
     [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.200, lease: 10m}]}";

#[test]
fn seabios_with_ipxe_boots_from_a_dhcp_server() {
    if ready("firmware seabios_with_ipxe_boots_from_a_dhcp_server", &[NETWORK, SEABIOS]) {
        boots_from_a_dhcp_server(Firmware::SeaBios);
    }
}

#[test]
fn uefi_boots_ipxe_and_then_the_script_from_a_dhcp_server() {
    if ready("firmware uefi_boots_ipxe_and_then_the_script_from_a_dhcp_server", &[NETWORK, OVMF]) {
        boots_from_a_dhcp_server(Firmware::Ovmf);
    }
}

#[test]
fn the_menu_of_boot_images_leaves_for_the_local_disk() {
    if !ready("firmware the_menu_of_boot_images_leaves_for_the_local_disk", &[NETWORK, SEABIOS]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = Site::new(&[("boot.ipxe", include_bytes!("../boot-images/boot.ipxe"))]);
    let config = site.configure(&format!("{SERVER_MODE}\nboot: {{ipxe: boot.ipxe}}"));
    let mut server = site.serve(&config);
    let mut console = machine(&site.network, Firmware::SeaBios, MAC, site.folder.path()).unwrap();
    let left = console.wait_for("Starting the local disk", LIMIT);
    let screen = console.drain();
    assert!(left, "the menu did not end; console:\n{screen}\nserver:\n{}", server.drain());
    for entry in ["Start", "The local disk", "iPXE shell", "Restart the machine"] {
        assert!(screen.contains(entry), "the menu shows {entry:?}; console:\n{screen}");
    }
}

#[test]
fn demo_vm_boots_a_machine_and_cleans_up() {
    if !ready("firmware demo_vm_boots_a_machine_and_cleans_up", &[NETWORK, OVMF]) {
        return;
    }
    let _alone = one_at_a_time();
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Command::new(LANBOOT);
    demo.args(["demo", "--vm"]).env("TMPDIR", temporary.path());
    let mut demo = Running::spawn(demo).unwrap();
    let pid = demo.pid();
    let booted = demo.wait_for("Booted in ", LIMIT) && demo.wait_for("\n", LIMIT);
    assert!(booted, "it printed:\n{}", demo.drain());
    until(|| demo.ended().is_some(), "the demonstration ends");
    assert_eq!(demo.ended().and_then(|status| status.code()), Some(0));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "its temporary folder is gone");
    let namespaces = run(Command::new("ip").args(["netns", "list"])).unwrap().stdout;
    let namespaces = String::from_utf8_lossy(&namespaces);
    assert!(!namespaces.contains(&format!("lanboot-{pid}-")), "its network is gone: {namespaces}");
}

#[test]
fn demo_vm_without_root_says_what_to_run() {
    if !ready("firmware demo_vm_without_root_says_what_to_run", &[NETWORK]) {
        return;
    }
    // Copied, because the build folder may be closed to other users.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("lanboot");
    fs::copy(LANBOOT, &program).unwrap();
    let mut demo = Command::new("setpriv");
    demo.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(["demo", "--vm"]);
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("sudo lanboot demo --vm"), "{said}");
}

/// A machine boots where lanboot gives the addresses: the script runs, and its lease is on the disk.
fn boots_from_a_dhcp_server(firmware: Firmware) {
    let _alone = one_at_a_time();
    let site = site(firmware);
    let config =
        site.configure(&format!("{SERVER_MODE}\nboot: {{arch: {{uefi-x64: snponly.efi}}, ipxe: boot.ipxe}}"));
    let mut server = site.serve(&config);
    let address = boot(&site, firmware, &mut server);
    let lease = site.lease(MAC).expect("an address that was acknowledged is in the database");
    assert_eq!((&lease.address, lease.active), (&address, true));
    assert!((500..=601).contains(&lease.remaining()), "a lease of 10 minutes: {lease:?}");
}

fn site(firmware: Firmware) -> Site {
    let script = format!("#!ipxe\necho {MARKER} ${{net0/ip}} {END_MARKER}\nsleep 600\n");
    // The configuration names snponly.efi for both, so it has to be there; the BIOS machine never asks for it.
    let loader = match firmware {
        Firmware::Ovmf => fs::read(SNPONLY).unwrap(),
        Firmware::SeaBios => b"MZ".to_vec(),
    };
    Site::new(&[("boot.ipxe", script.as_bytes()), ("snponly.efi", &loader)])
}

/// Switches the machine on and waits for the script's marker; the address that iPXE printed after it.
fn boot(site: &Site, firmware: Firmware, server: &mut Running) -> String {
    let mut console = machine(&site.network, firmware, MAC, site.folder.path()).unwrap();
    let booted = console.wait_for(END_MARKER, LIMIT);
    let screen = console.drain();
    assert!(booted, "{firmware:?} did not boot; console:\n{screen}\nserver {SERVER}:\n{}", server.drain());
    let after = screen.split(MARKER).nth(1).unwrap_or_default();
    after.split_whitespace().next().unwrap_or_default().to_string()
}
