//! Real firmware boots from `lanboot serve`: QEMU with SeaBIOS and iPXE, and with UEFI (OVMF for x64, AAVMF for arm64),
//! in a network namespace. The tests cover a direct link, a relay agent, and another DHCP server.
//!
//! Needs root, QEMU and the firmware, which `tests/run` installs on Debian. Without them the tests are skipped by name,
//! or fail with CI=true.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use lanboot::cli::demo::network::{
    Firmware, NETWORK, Network, OVMF, Running, SEABIOS, SNPONLY, machine, machine_with, run,
};
use support::LANBOOT;
use support::firmware::BOOT_LIMIT;
use support::one_at_a_time;
use support::site::{
    AAVMF, DNSMASQ, GRUB_ARM64, RELAY, ROUTER, SERVER, Site, arm64_machine, dnsmasq, press, ready, router,
    until,
};

const MAC: &str = "52:54:00:77:00:01";

/// The boot script prints this, and then the address that iPXE got.
const MARKER: &str = "LANBOOT-TEST booted at";
const END_MARKER: &str = "LANBOOT-TEST end";

const SERVER_MODE: &str = "dhcp: {mode: server, subnets: \
     [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.200, lease: 10m}]}";

#[test]
fn seabios_with_ipxe_boots_from_a_dhcp_server() {
    if ready("firmware seabios_with_ipxe_boots_from_a_dhcp_server", &[NETWORK, SEABIOS, DNSMASQ]) {
        boots_from_a_dhcp_server(Firmware::SeaBios);
    }
}

#[test]
fn uefi_boots_ipxe_and_then_the_script_from_a_dhcp_server() {
    if ready("firmware uefi_boots_ipxe_and_then_the_script_from_a_dhcp_server", &[NETWORK, OVMF, DNSMASQ]) {
        boots_from_a_dhcp_server(Firmware::Ovmf);
    }
}

/// HEAD, then GET on the same connection, for a URL with the interface's address. TFTP is off, so HTTP alone must work.
#[test]
fn uefi_http_boot_loads_ipxe_and_then_the_script_over_http_alone() {
    if !ready("firmware uefi_http_boot_loads_ipxe_and_then_the_script_over_http_alone", &[NETWORK, OVMF]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = site(Firmware::OvmfHttp);
    let config = site.configure(&format!(
        "{SERVER_MODE}\ntftp: off\nhttp: {{port: 80}}\nlog: {{level: debug}}\nboot: {{arch: {{uefi-x64-http: \
         'http://{{server}}/snponly.efi'}}, ipxe: 'http://{{server}}/boot.ipxe'}}"
    ));
    let mut server = site.serve(&config);
    let address = boot(&site.network, &site, Firmware::OvmfHttp, &mut server);
    assert_eq!(site.lease(MAC).map(|lease| lease.address), Some(address));
    let log = server.drain();
    for line in [
        "answered snponly.efi to 192.168.77.",
        "sent snponly.efi to 192.168.77.",
        "sent boot.ipxe to 192.168.77.",
    ] {
        assert!(log.contains(line), "{line} is not in the log:\n{log}");
    }
}

#[test]
fn uefi_on_arm64_boots_its_own_loader() {
    if !ready("firmware uefi_on_arm64_boots_its_own_loader", &[NETWORK, AAVMF]) {
        return;
    }
    let _alone = one_at_a_time();
    let menu = format!("echo {MARKER} $net_default_ip on $grub_cpu {END_MARKER}\nsleep 600\n");
    let site = Site::new(&[("grubnetaa64.efi", &fs::read(GRUB_ARM64).unwrap())]);
    fs::create_dir(site.folder.path().join("boot-images/grub")).unwrap();
    fs::write(site.folder.path().join("boot-images/grub/grub.cfg"), menu).unwrap();
    // The machine must load this one of all loaders. The others are names without content.
    let arches = "{bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-arm64: grubnetaa64.efi}";
    let config = site.configure(&format!("{SERVER_MODE}\nboot: {{arch: {arches}}}"));
    let mut server = site.serve(&config);
    let mut console = arm64_machine(&site.network, MAC, site.folder.path());
    let address = booted_at(&mut console, &mut server);
    assert!(console.screen().contains(" on arm64 "), "GRUB says what it runs on:\n{}", console.screen());
    let lease = site.lease(MAC).expect("an address that was acknowledged is in the database");
    assert_eq!((&lease.address, lease.active), (&address, true));
    let said = server.drain();
    assert!(said.contains(&format!("DHCPDISCOVER(br0) {MAC} PXE uefi-arm64")), "{said}");
    assert!(said.contains("file=grubnetaa64.efi rule=boot.arch.uefi-arm64"), "{said}");
}

#[test]
fn seabios_with_ipxe_boots_behind_a_relay_agent() {
    if ready("firmware seabios_with_ipxe_boots_behind_a_relay_agent", &[NETWORK, SEABIOS, RELAY, DNSMASQ]) {
        boots_behind_a_relay_agent(Firmware::SeaBios);
    }
}

#[test]
fn uefi_boots_ipxe_and_then_the_script_behind_a_relay_agent() {
    if ready(
        "firmware uefi_boots_ipxe_and_then_the_script_behind_a_relay_agent",
        &[NETWORK, OVMF, RELAY, DNSMASQ],
    ) {
        boots_behind_a_relay_agent(Firmware::Ovmf);
    }
}

#[test]
fn seabios_with_ipxe_boots_by_a_proxy_beside_another_dhcp_server() {
    let name = "firmware seabios_with_ipxe_boots_by_a_proxy_beside_another_dhcp_server";
    if ready(name, &[NETWORK, SEABIOS, DNSMASQ]) {
        let said = boots_by_a_proxy(Firmware::SeaBios);
        assert!(said.contains("file=boot.ipxe"), "{said}");
    }
}

#[test]
fn uefi_asks_port_4011_and_boots_by_a_proxy_beside_another_dhcp_server() {
    let name = "firmware uefi_asks_port_4011_and_boots_by_a_proxy_beside_another_dhcp_server";
    if ready(name, &[NETWORK, OVMF, DNSMASQ]) {
        let said = boots_by_a_proxy(Firmware::Ovmf);
        // A proxy receives REQUESTs on port 67 too, and does not log them.
        assert!(said.contains(&format!("DHCPREQUEST(br0) {MAC} PXE uefi-x64")), "{said}");
        let from_4011 = |line: &str| {
            line.contains("PROXYDHCP(br0) 192.168.77.1")
                && line.contains(" file=snponly.efi rule=boot.arch.uefi-x64")
        };
        assert!(said.lines().any(from_4011), "{said}");
    }
}

#[test]
fn uefi_boots_the_first_item_of_a_menu_that_does_not_wait() {
    if ready("firmware uefi_boots_the_first_item_of_a_menu_that_does_not_wait", &[NETWORK, OVMF, DNSMASQ]) {
        boots_by_a_menu("0", "first.efi", |_, _| {});
    }
}

#[test]
fn uefi_shows_the_menu_and_boots_the_item_that_is_chosen() {
    if ready("firmware uefi_shows_the_menu_and_boots_the_item_that_is_chosen", &[NETWORK, OVMF, DNSMASQ]) {
        boots_by_a_menu("30s", "second.efi", |console, keyboard| {
            assert!(console.wait_for("Lanboot menu by F8", BOOT_LIMIT), "{}", console.screen());
            press(keyboard, "f8");
            for text in ["Item one", "Item two", "Local disk"] {
                assert!(console.wait_for(text, BOOT_LIMIT), "{}", console.screen());
            }
            press(keyboard, "down");
            press(keyboard, "ret");
        });
    }
}

#[test]
fn the_menu_of_boot_images_leaves_for_the_local_disk() {
    if !ready("firmware the_menu_of_boot_images_leaves_for_the_local_disk", &[NETWORK, SEABIOS]) {
        return;
    }
    let _alone = one_at_a_time();
    let site = Site::new(&[("boot.ipxe", include_bytes!("../../../boot-images/boot.ipxe"))]);
    let config = site.configure(&format!("{SERVER_MODE}\nboot: {{ipxe: boot.ipxe}}"));
    let mut server = site.serve(&config);
    let mut console = machine(&site.network, Firmware::SeaBios, MAC, site.folder.path()).unwrap();
    let left = console.wait_for("Starting the local disk", BOOT_LIMIT);
    let screen = console.screen();
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
    let mut demo = Command::new(&*LANBOOT);
    demo.args(["demo", "--vm"]).env("TMPDIR", temporary.path());
    let mut demo = Running::spawn(demo).unwrap();
    let pid = demo.pid();
    let booted = demo.wait_for("Booted in ", BOOT_LIMIT) && demo.wait_for("\n", BOOT_LIMIT);
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
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("lanboot");
    support::copy_program(&program);
    let mut demo = Command::new("setpriv");
    demo.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(["demo", "--vm"]);
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("sudo lanboot demo --vm"), "{said}");
}

/// A machine boots where lanboot gives addresses. The script runs, and the machine's lease is on disk.
fn boots_from_a_dhcp_server(firmware: Firmware) {
    let _alone = one_at_a_time();
    let site = site(firmware);
    let config = site.configure(&format!("{SERVER_MODE}\nboot: {{arch: {{uefi-x64: snponly.efi}}}}"));
    let mut server = site.serve(&config);
    let _router = router(site.network.namespace());
    let address = boot(&site.network, &site, firmware, &mut server);
    let lease = site.lease(MAC).expect("an address that was acknowledged is in the database");
    assert_eq!((&lease.address, lease.active), (&address, true));
    assert!((500..=601).contains(&lease.remaining()), "a lease of 10 minutes: {lease:?}");
    assert_loaded_at_most_once(server.drain());
}

/// Asserts that the loaded iPXE did not load itself. The configuration has no `boot.ipxe`, so only the content of the
/// file identifies it as iPXE.
fn assert_loaded_at_most_once(said: &str) {
    assert!(said.matches("sent snponly.efi to ").count() <= 1, "{said}");
    assert!(said.contains("file=boot.ipxe rule=boot.ipxe"), "{said}");
}

fn site(firmware: Firmware) -> Site {
    let script = format!("#!ipxe\necho {MARKER} ${{net0/ip}} {END_MARKER}\nsleep 600\n");
    // The configuration names snponly.efi for both, so the file must exist. The BIOS machine never requests it.
    let loader = match firmware {
        Firmware::Ovmf | Firmware::OvmfHttp => fs::read(SNPONLY).unwrap(),
        Firmware::SeaBios => b"MZ".to_vec(),
    };
    Site::new(&[("boot.ipxe", script.as_bytes()), ("snponly.efi", &loader)])
}

/// A machine boots where dnsmasq on another host gives addresses and lanboot names only boot files. Returns lanboot's
/// log.
fn boots_by_a_proxy(firmware: Firmware) -> String {
    let _alone = one_at_a_time();
    let site = site(firmware);
    let config = site.configure("dhcp: {mode: proxy}\nboot: {arch: {uefi-x64: snponly.efi}}");
    let other = site.other_computer();
    let _dnsmasq = dnsmasq(&other, &ROUTER);
    let mut server = site.serve(&config);
    let address = boot(&site.network, &site, firmware, &mut server);
    assert!(address.starts_with("192.168.77.1"), "an address of dnsmasq's: {address}");
    assert!(!site.folder.path().join("state/leases.db").exists(), "a proxy gives no leases");
    assert_loaded_at_most_once(server.drain());
    server.drain().to_owned()
}

/// UEFI boots beside dnsmasq from a menu of three items, where `choose` acts for the user. It loads `file`, which it
/// requests on port 4011.
fn boots_by_a_menu(timeout: &str, file: &str, choose: impl FnOnce(&mut Running, &mut UnixStream)) {
    let _alone = one_at_a_time();
    let site = site(Firmware::Ovmf);
    for name in ["first.efi", "second.efi"] {
        fs::copy(SNPONLY, site.folder.path().join("boot-images").join(name)).unwrap();
    }
    let config = site.configure(&format!(
        "dhcp: {{mode: proxy}}\nboot:\n  arch: {{uefi-x64: snponly.efi}}\n  ipxe: boot.ipxe\n  \
         prompt: Lanboot menu by F8\n  timeout: {timeout}\n  menu:\n    - {{text: Item one, file: first.efi}}\n    \
         - {{text: Item two, file: second.efi}}\n    - {{text: Local disk, local: true}}"
    ));
    let other = site.other_computer();
    let _dnsmasq = dnsmasq(&other, &ROUTER);
    let mut server = site.serve(&config);
    let path = site.folder.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", path.display());
    let arguments = ["-monitor", &monitor];
    let mut console =
        machine_with(&site.network, Firmware::Ovmf, MAC, site.folder.path(), &arguments).unwrap();
    until(|| path.exists(), "QEMU has a monitor");
    choose(&mut console, &mut UnixStream::connect(&path).unwrap());
    let address = booted_at(&mut console, &mut server);
    assert!(address.starts_with("192.168.77.1"), "an address of dnsmasq's: {address}");
    let said = server.drain();
    assert!(said.contains(&format!("DHCPREQUEST(br0) {MAC} PXE uefi-x64")), "{said}");
    let chosen = |line: &str| {
        line.contains("PROXYDHCP(br0) 192.168.77.1") && line.contains(&format!(" file={file} rule=boot.menu"))
    };
    assert!(said.lines().any(chosen), "{said}");
    assert!(said.contains(&format!("sent {file} to ")), "{said}");
}

/// A machine boots from another network. The server receives its packets only through a relay agent.
fn boots_behind_a_relay_agent(firmware: Firmware) {
    let _alone = one_at_a_time();
    let site = site(firmware);
    let (mut relay, network) = site.behind_a_relay_agent("192.168.77.2/24", "10.1.0.1/24");
    let config = site.configure(
        "dhcp:\n  mode: server\n  subnets:\n    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}\n    \
         - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.60, options: {router: 10.1.0.1}}\n\
         boot: {arch: {uefi-x64: snponly.efi}, ipxe: boot.ipxe}",
    );
    let mut server = site.serve(&config);
    let _router = router(network.namespace());
    let address = boot(&network, &site, firmware, &mut server);
    assert!(address.starts_with("10.1.0."), "an address of the network behind the relay agent: {address}");
    assert_eq!(site.lease(MAC).map(|lease| (lease.address, lease.active)), Some((address, true)));
    let passed = relay.drain();
    assert!(passed.contains("Forwarded BOOTREQUEST") && passed.contains("Forwarded BOOTREPLY"), "{passed}");
}

/// Switches the machine on and waits for the script's marker. Returns the address that iPXE printed after it.
fn boot(network: &Network, site: &Site, firmware: Firmware, server: &mut Running) -> String {
    let mut console = machine(network, firmware, MAC, site.folder.path()).unwrap();
    booted_at(&mut console, server)
}

/// Waits for the marker on the console. Returns the address after it.
fn booted_at(console: &mut Running, server: &mut Running) -> String {
    let booted = console.wait_for(END_MARKER, BOOT_LIMIT);
    let screen = console.screen();
    assert!(booted, "it did not boot; console:\n{screen}\nserver {SERVER}:\n{}", server.drain());
    let after = screen.split(MARKER).nth(1).unwrap_or_default();
    after.split_whitespace().next().unwrap_or_default().to_string()
}
