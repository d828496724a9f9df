//! The systemd unit: how much it permits, and that the server works with exactly that.
//!
//! The first two tests need `systemd-analyze`, not a running systemd. The last one needs root: it gives the server the
//! unit's user and capabilities with `setpriv`, on the standard ports, in a network namespace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::time::Duration;

use lanboot::cli::demo::network::{NETWORK, Need, Running, run, serve};
use support::LANBOOT;
use support::site::{SERVER, Site, ready, ready_without_root};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/lanboot.service");

const ANALYZE: &[Need] = &[Need { what: "systemd-analyze", package: "systemd" }];
const CLIENTS: &[Need] =
    &[Need { what: "udhcpc", package: "udhcpc" }, Need { what: "curl", package: "curl" }];

/// The user and group `nobody` of every Linux. This user owns no files, like the unit's user.
const NOBODY: u32 = 65534;

#[test]
fn the_unit_has_no_mistakes() {
    if !ready_without_root("systemd the_unit_has_no_mistakes", &[ANALYZE]) {
        return;
    }
    // `systemd-analyze verify` requires that the program exists, so the unit is checked with the path of the program
    // under test.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("lanboot.service");
    fs::write(&unit, fs::read_to_string(UNIT).unwrap().replace("/usr/bin/lanboot", &LANBOOT)).unwrap();
    let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Errors in other units of this computer may be reported too. They do not concern this test.
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("lanboot")).collect();
    assert!(about_us.is_empty(), "{about_us:?}");
}

#[test]
fn the_unit_is_exposed_less_than_two_points() {
    if !ready_without_root("systemd the_unit_is_exposed_less_than_two_points", &[ANALYZE]) {
        return;
    }
    // With a threshold (in tenths) the exit status shows whether the unit stays below it.
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", "--threshold=20", UNIT]);
    run(&mut command).expect("systemd-analyze security: an exposure of 2.0 or less");
}

/// Otherwise the server would not be confined, and would keep rights that it could inherit.
#[test]
fn s_15_the_unit_lets_the_server_give_up_rights() {
    let unit = fs::read_to_string(UNIT).unwrap();
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let last = filters.last().unwrap();
    for call in ["capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(last.split(' ').any(|word| word == call), "{call} is allowed by {filters:?}");
    }
}

/// With this setting systemd makes every call of `openat2` fail, because seccomp cannot read its flags. The server then
/// does not start. `tests/long package` starts the unit itself.
#[test]
fn the_unit_lets_the_server_confine_lookups() {
    let unit = fs::read_to_string(UNIT).unwrap();
    assert!(!unit.lines().any(|line| line.starts_with("RestrictSUIDSGID=")), "openat2 would fail");
}

/// `web.listen` takes addresses of both versions of IP (`check_refuses_other_addresses_without_tls`).
#[test]
fn the_unit_permits_every_address_that_the_web_listener_takes() {
    let families = unit_value("RestrictAddressFamilies");
    for family in ["AF_INET", "AF_INET6", "AF_PACKET", "AF_NETLINK", "AF_UNIX"] {
        assert!(families.split(' ').any(|word| word == family), "{family} is none of {families}");
    }
}

#[test]
fn f_06_the_unit_says_which_boot_it_is() {
    // /proc/sys/kernel/random/boot_id does not exist with ProcSubset=pid.
    assert_eq!(unit_value("ProcSubset"), "pid");
    assert_eq!(unit_value("Environment"), "LANBOOT_BOOT_ID=%b");
}

#[test]
fn d_25_the_server_works_with_the_units_capabilities_and_no_others() {
    let name = "systemd d_25_the_server_works_with_the_units_capabilities_and_no_others";
    if !ready(name, &[NETWORK, CLIENTS]) {
        return;
    }
    let site = Site::new(&[("boot.ipxe", b"#!ipxe\n")]);
    let config = site.configure(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60, lease: 10m}]}\n\
         boot: {ipxe: boot.ipxe}",
    );
    // The same as StateDirectory= does.
    let folder = site.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.join("state")).unwrap();
    chown(folder.join("state"), Some(NOBODY), Some(NOBODY)).unwrap();
    let program = folder.join("lanboot");
    support::copy_program(&program);

    let capabilities = setpriv_capabilities(&unit_value("AmbientCapabilities"));
    assert_eq!(capabilities, setpriv_capabilities(&unit_value("CapabilityBoundingSet")));
    let bounding = format!("--bounding-set=-all,{capabilities}");
    let inheritable = format!("--inh-caps=-all,{capabilities}");
    let ambient = format!("--ambient-caps=-all,{capabilities}");
    let user = format!("--reuid={NOBODY}");
    let group = format!("--regid={NOBODY}");
    let words =
        ["setpriv", &user, &group, "--clear-groups", "--no-new-privs", &inheritable, &ambient, &bounding];
    let mut words: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
    words.push(program.as_os_str());

    // serve() returns when READY=1 has arrived through NOTIFY_SOCKET.
    let mut server = serve(&site.network, &words, &config).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    // CAP_NET_BIND_SERVICE is 10 and CAP_NET_RAW 13 in linux/capability.h.
    assert_eq!(u64::from_str_radix(effective, 16), Ok(1 << 10 | 1 << 13), "{status}");

    let client = site.network.host("52:54:00:77:00:03").unwrap();
    let mut udhcpc = client.command("udhcpc");
    udhcpc.args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-T", "1", "-s", "/bin/true"]);
    let mut udhcpc = Running::spawn(udhcpc).unwrap();
    let leased = udhcpc.wait_for("lease of 192.168.77.", Duration::from_secs(20));
    assert!(leased, "udhcpc: {}\nserver: {}", udhcpc.drain(), server.drain());

    client.ip("addr add 192.168.77.9/24 dev eth0").unwrap();
    let mut curl = client.command("curl");
    curl.args(["--silent", "--show-error", "--max-time", "10", &format!("tftp://{SERVER}/boot.ipxe")]);
    assert_eq!(run(&mut curl).unwrap().stdout, b"#!ipxe\n");
}

/// The value of a setting of the unit.
fn unit_value(key: &str) -> String {
    let unit = fs::read_to_string(UNIT).unwrap();
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("{UNIT} has no {key}=")).to_string()
}

/// Converts `CAP_NET_RAW CAP_X` to the form of setpriv(1): `+net_raw,+x`.
fn setpriv_capabilities(unit: &str) -> String {
    let words = unit.split_whitespace().map(|word| format!("+{}", word.to_lowercase().replace("cap_", "")));
    words.collect::<Vec<_>>().join(",")
}
