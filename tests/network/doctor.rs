//! `lanboot doctor`: each finding is made, found, fixed by the command that it prints, and gone.
//!
//! Needs root. Without it the tests are skipped by name, or fail with CI=true.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lanboot::cli::demo::network::{BRIDGE, NETWORK, Namespace, Need, Running, run};
use serde_json::Value;
use support::LANBOOT;
use support::site::{DNSMASQ, Site, dnsmasq, ready};

const FIREWALL: &[Need] =
    &[Need { what: "nft", package: "nftables" }, Need { what: "iptables", package: "iptables" }];
const SYSCTL: &[Need] = &[Need { what: "sysctl", package: "procps" }];

const DHCP: &str = "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]}\n\
    boot: {arch: {uefi-x64: own.efi}}";

/// A UEFI boot program for the processor of this PE machine type.
fn efi(machine: [u8; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60..64].copy_from_slice(&64u32.to_le_bytes());
    bytes[64..68].copy_from_slice(b"PE\0\0");
    bytes[68..70].copy_from_slice(&machine);
    bytes[88..90].copy_from_slice(&0x20bu16.to_le_bytes());
    bytes[156..158].copy_from_slice(&10u16.to_le_bytes());
    bytes
}

const X64: [u8; 2] = [0x64, 0x86];
const ARM64: [u8; 2] = [0x64, 0xaa];

/// A computer to examine. Its own programs come before those of the system.
struct Patient {
    site: Site,
    config: PathBuf,
}

impl Patient {
    fn new(rest: &str) -> Patient {
        let site = Site::new(&[("own.efi", &efi(X64))]);
        fs::create_dir(site.folder.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(&*LANBOOT, site.folder.path().join("bin/lanboot")).unwrap();
        let config = site.configure(rest);
        Patient { site, config }
    }

    fn here(&self) -> &Namespace {
        self.site.network.namespace()
    }

    fn path(&self) -> &Path {
        self.site.folder.path()
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.path().join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.here().command(program);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.path().join("bin").display()));
        command.current_dir(self.path());
        command
    }

    /// The findings with the id `id`.
    fn findings(&self, id: &str) -> Vec<Value> {
        let mut command = self.command("lanboot");
        let output = command.args(["doctor", "--json", "--config"]).arg(&self.config).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {output:?}");
        });
        let findings = json["findings"].as_array().unwrap();
        let has_problem = findings.iter().any(|finding| finding["severity"] == "problem");
        assert_eq!(json["ok"].as_bool(), Some(!has_problem), "{json}");
        assert_eq!(output.status.code(), Some(i32::from(has_problem)), "{json}");
        for finding in findings {
            for key in ["what", "why", "fix"] {
                assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
            }
        }
        findings.iter().filter(|finding| finding["id"] == id).cloned().collect()
    }

    /// Finds `id` with `about` in its text, runs its command, and does not find it again.
    fn is_cured_of(&self, id: &str, about: &str) {
        let found = self.findings(id);
        assert!(!found.is_empty(), "{id} was not found");
        assert!(found.iter().any(|one| one["what"].as_str().unwrap().contains(about)), "{id}: {found:?}");
        for finding in found {
            run(self.command("sh").args(["-c", finding["fix"].as_str().unwrap()])).unwrap();
        }
        let left = self.findings(id);
        assert!(left.is_empty(), "{id} is still there: {left:?}");
    }
}

#[test]
fn doctor_finds_and_fixes_interfaces_addresses_and_routes() {
    let name = "doctor doctor_finds_and_fixes_interfaces_addresses_and_routes";
    if !ready(name, &[NETWORK, SYSCTL]) {
        return;
    }
    let patient =
        Patient::new(&DHCP.replace(
            "60}]}",
            "60}, {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.60, relays: [10.9.0.77]}]}",
        ));
    let here = patient.here();
    here.ip(&format!("link set {BRIDGE} down")).unwrap();
    patient.is_cured_of("interface_down", BRIDGE);
    here.ip(&format!("addr flush dev {BRIDGE}")).unwrap();
    patient.is_cured_of("interface_without_address", BRIDGE);
    here.ip(&format!("addr flush dev {BRIDGE}")).unwrap();
    here.ip(&format!("addr add 10.9.0.1/24 dev {BRIDGE}")).unwrap();
    patient.is_cured_of("address_off_subnets", "10.9.0.1");
    here.ip("link add other5 type bridge").unwrap();
    here.ip("link set other5 up").unwrap();
    here.ip("route add 192.168.77.48/28 dev other5").unwrap();
    patient.is_cured_of("route_elsewhere", "other5");
    patient.is_cured_of("no_route_to_subnet", "10.1.0.0/24");
    here.ip("route del 10.1.0.0/24").unwrap();
    here.ip("route add unreachable 10.1.0.0/24").unwrap();
    // First the route that rejects, then the missing one.
    let found = patient.findings("no_route_to_subnet").remove(0);
    run(patient.command("sh").args(["-c", found["fix"].as_str().unwrap()])).unwrap();
    patient.is_cured_of("no_route_to_subnet", "10.1.0.0/24");
    run(here.command("sysctl").args(["-q", "-w", &format!("net.ipv4.conf.{BRIDGE}.rp_filter=1")])).unwrap();
    patient.is_cured_of("rp_filter", BRIDGE);
    patient.is_cured_of("multicast_snooping", BRIDGE);
    here.ip(&format!("link set {BRIDGE} type bridge stp_state 1")).unwrap();
    patient.is_cured_of("bridge_spanning_tree", BRIDGE);
}

#[test]
fn doctor_opens_every_kind_of_firewall() {
    if !ready("doctor doctor_opens_every_kind_of_firewall", &[NETWORK, FIREWALL]) {
        return;
    }
    let patient = Patient::new(&format!("{DHCP}\nhttp: {{port: 8080}}"));
    let sh = |script: &str| run(patient.command("sh").args(["-c", script])).map(drop).unwrap();
    assert_eq!(patient.findings("firewall"), [] as [Value; 0]);
    sh("nft 'add table inet lan; add chain inet lan in { type filter hook input priority 0; policy drop; }'");
    patient.is_cured_of("firewall", "67, 4011, 69");
    sh(
        "nft 'flush ruleset; add table inet lan; add chain inet lan in { type filter hook prerouting priority -300; }; \
        add rule inet lan in udp dport { 69, 4011 } reject'",
    );
    // The hook `prerouting` cannot reject. Where the kernel refuses it, a drop is the same for clients.
    patient.is_cured_of("firewall", "4011");
    sh(
        "nft 'flush ruleset; add table netdev lan; add chain netdev lan in { type filter hook ingress device br0 priority 0; }; \
        add rule netdev lan in udp dport 67 drop'",
    );
    patient.is_cured_of("firewall", "67");
    sh("nft flush ruleset; iptables -P INPUT DROP; iptables -A INPUT -p udp --dport 67 -j ACCEPT");
    patient.is_cured_of("firewall", "32768-60999");
    sh(
        "iptables -F; iptables -P INPUT ACCEPT; iptables -t raw -A PREROUTING -i br0 -p udp -m udp --dport 69 -j DROP",
    );
    patient.is_cured_of("firewall", "raw PREROUTING");
}

#[test]
fn doctor_finds_and_stops_programs_on_its_ports() {
    if !ready("doctor doctor_finds_and_stops_programs_on_its_ports", &[NETWORK, DNSMASQ]) {
        return;
    }
    let patient = Patient::new(DHCP);
    let other = dnsmasq(patient.here(), &[]);
    patient.is_cured_of("port_taken", &format!("dnsmasq (process {})", other.pid()));
    drop(other);
    // As libvirt starts it for the network `default`.
    let folder = patient.path().join("libvirt/dnsmasq");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("default.conf"), "port=0\ndhcp-range=192.168.77.100,192.168.77.199\nno-ping\n")
        .unwrap();
    let mut command = patient.here().command("dnsmasq");
    command.args(["--keep-in-foreground", "--user=root", "--leasefile-ro", "--log-facility=-"]);
    command.arg(format!("--conf-file={}", folder.join("default.conf").display()));
    let mut of_libvirt = Running::spawn(command).unwrap();
    assert!(
        of_libvirt.wait_for("DHCP, IP range", std::time::Duration::from_secs(60)),
        "{}",
        of_libvirt.drain()
    );
    let pid = of_libvirt.pid();
    patient.program("virsh", &format!("[ \"$1\" != net-destroy ] || kill {pid}"));
    patient.is_cured_of("libvirt_dnsmasq", "libvirt network default");
}

#[test]
fn doctor_hears_other_dhcp_servers_and_makes_way() {
    if !ready("doctor doctor_hears_other_dhcp_servers_and_makes_way", &[NETWORK, DNSMASQ]) {
        return;
    }
    let patient = Patient::new(DHCP);
    assert_eq!(patient.findings("other_dhcp_server"), [] as [Value; 0]);
    let computer = patient.site.other_computer();
    let _other = dnsmasq(&computer, &[]);
    patient.is_cured_of("other_dhcp_server", "192.168.77.254");
    let text = fs::read_to_string(&patient.config).unwrap();
    assert!(text.contains("mode: proxy"), "{text}");
    run(patient.command("lanboot").args(["check", "--file-only", "--config"]).arg(&patient.config)).unwrap();
}

#[test]
fn doctor_finds_and_fixes_files_disks_and_the_clock() {
    if !ready("doctor doctor_finds_and_fixes_files_disks_and_the_clock", &[NETWORK]) {
        return;
    }
    let patient = Patient::new(DHCP);
    let served = patient.path().join("boot-images/own.efi");
    fs::rename(&served, patient.path().join("own.efi")).unwrap();
    patient.is_cured_of("loader_missing", "own.efi");
    fs::write(&served, efi(ARM64)).unwrap();
    patient.is_cured_of("loader_wrong", "arm64");

    patient.program(
        "timedatectl",
        "if [ \"$1\" = set-ntp ]; then touch synchronised; elif [ -e synchronised ]; then echo yes; else echo no; fi",
    );
    patient.is_cured_of("clock_not_synchronised", "time server");

    let state = patient.path().join("state");
    fs::create_dir_all(&state).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64M", "tmpfs"]).arg(&state)).unwrap();
    let filled = fs::write(state.join("filler"), vec![1; 60 << 20]);
    let cured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        filled.unwrap();
        patient.is_cured_of("disk_nearly_full", "state");
    }));
    run(Command::new("umount").arg("-l").arg(&state)).unwrap();
    if let Err(panic) = cured {
        std::panic::resume_unwind(panic);
    }
}
