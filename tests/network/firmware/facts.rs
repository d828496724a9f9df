//! iPXE in the ROM of QEMU's card reports facts about its machine, and a report that fails does not stop the boot.
//!
//! Needs root, QEMU and the firmware. Without them the test is skipped by name, or fails with CI=true.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use lanboot::boot::fetch::Served;
use lanboot::boot::loader::script::chain;
use lanboot::cli::demo::network::{Firmware, NETWORK, SEABIOS, machine_with, run};
use support::LANBOOT;
use support::firmware::BOOT_LIMIT;
use support::one_at_a_time;
use support::site::{SERVER, Site, ready, until};

const MAC: &str = "52:54:00:77:00:41";
const MARKER: &str = "LANBOOT-TEST goes on";

/// The command with which generated scripts report.
fn report() -> String {
    let server: IpAddr = SERVER.parse().unwrap();
    let script = chain("x", server, Served { http: Some(80), tftp: Some(69) });
    script.lines().nth(1).unwrap().to_owned()
}

#[test]
fn ipxe_reports_facts_and_boots_on_if_reports_fail() {
    if !ready("firmware ipxe_reports_facts_and_boots_on_if_reports_fail", &[NETWORK, SEABIOS]) {
        return;
    }
    let _alone = one_at_a_time();
    let right = report();
    // Of another machine, which is refused; to an address that no host has; to a port that is closed.
    let refused = right.replace("${netX/mac}", "52:54:00:77:00:42");
    let silent = right.replace(&format!("//{SERVER}/"), "//192.168.77.99/");
    let closed = right.replace(&format!("//{SERVER}/"), &format!("//{SERVER}:81/"));
    assert!(refused != right && silent != right && closed != right);
    let script =
        format!("#!ipxe\n{refused}\n{silent}\n{closed}\necho {MARKER}\n{right}\nimgstat\nsleep 600\n");
    let site = Site::new(&[("own.ipxe", script.as_bytes())]);
    let config = site.configure(&format!(
        "dhcp: {{mode: server, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}}]}}\n\
         http: {{port: 80}}\nlog: {{level: debug}}\nmachines: [{{name: n1, mac: '{MAC}', boot: own.ipxe}}]"
    ));
    let mut server = site.serve(&config);
    let arguments = ["-smbios", "type=1,manufacturer=A & T,product=P=1 #2,serial=S%201"];
    let mut console =
        machine_with(&site.network, Firmware::SeaBios, MAC, site.folder.path(), &arguments).unwrap();
    let shown = console.wait_for(MARKER, BOOT_LIMIT);
    server.wait_for(" facts 192.168.77.", BOOT_LIMIT);
    let said = server.drain().to_owned();
    assert!(shown, "console:\n{}\nserver:\n{said}", console.screen());
    assert!(!console.screen().contains("lanboot-facts :"), "the answer is freed:\n{}", console.screen());
    let facts =
        said.lines().find(|line| line.contains(" facts 192.168.77.")).unwrap_or_else(|| panic!("{said}"));
    // 2019's iPXE of Debian has no `memsize`; SMBIOS has what QEMU was started with.
    for part in [
        " n1 memory=256 MiB ",
        r#"manufacturer="A & T""#,
        r#"product="P=1 #2""#,
        r#"serial="S%201""#,
        r#"platform="pcbios""#,
    ] {
        assert!(facts.contains(part), "{part} is not in {facts}");
    }
    assert!(said.contains("reason=facts_of_other_machine"), "{said}");
    let product = || {
        let mut command = Command::new(&*LANBOOT);
        let listed = run(command.args(["machines", "--json", "--config"]).arg(&config)).unwrap().stdout;
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        listed[0]["hardware"]["product"].clone()
    };
    until(|| product() == "P=1 #2", "the machine has its hardware");
    eprintln!("{facts}");
    drop(fs::remove_file(&config));
}
