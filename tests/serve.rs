//! `lanboot serve` on loopback and high ports: the real binary, real sockets, real files, real leases.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use lanboot::probe::{Kind, Progress};
use lanboot::wire::dhcp::COOKIE;

use common::need;
use lab::{Boot, Lab, boot, content, lease};

mod common;
#[path = "common/lab.rs"]
mod lab;

fn assert_booted(boot: &Boot, file: &str) {
    assert!(matches!(boot.last, Some(Progress::Finished { .. })), "{file}: {:?}", boot.last);
    assert!(boot.content == content(file), "{file} came as it is");
}

#[test]
fn clients_boot_and_the_log_tells_it_in_the_words_that_people_grep_for() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let firmware = boot(lab.ports, Kind::UefiX64, 1);
    assert_booted(&firmware, "snponly.efi");
    assert_booted(&boot(lab.ports, Kind::BiosPxe, 2), "undionly.kpxe");
    let script = boot(lab.ports, Kind::Ipxe, 1);
    assert_booted(&script, "boot.ipxe");
    assert_eq!(script.address, firmware.address, "one machine, one address");

    let address = firmware.address.unwrap();
    for line in [
        "DHCPDISCOVER(lo) 02:00:00:00:00:01 PXE uefi-x64".to_owned(),
        format!("DHCPOFFER(lo) {address} 02:00:00:00:00:01 file=snponly.efi"),
        "DHCPREQUEST(lo) 02:00:00:00:00:01 PXE uefi-x64".to_owned(),
        format!("DHCPACK(lo) {address} 02:00:00:00:00:01 file=snponly.efi"),
        format!("DHCPACK(lo) {address} 02:00:00:00:00:01 file=boot.ipxe"),
        format!("sent snponly.efi to {address} 1.0 MiB"),
        format!("sent boot.ipxe to {address} 66 B"),
    ] {
        serving.wait_for(&line);
    }
    assert!(serving.wait_for("DHCP server on lo").contains(&format!("port {}", lab.ports.dhcp)));
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().all(|line| !line.contains("ERROR") && !line.contains('\x1b')), "{lines:#?}");
    assert!(lines.last().unwrap().ends_with("stopped"), "{lines:#?}");
    let lease = (address.to_string(), "020000000001".to_owned(), "leased".to_owned());
    assert!(lab.leases().contains(&lease), "{:?}", lab.leases());
    assert_eq!(lab.leases().len(), 2);
}

#[test]
fn curl_fetches_a_file_from_the_same_process() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    lease(lab.ports, 1);
    let url = format!("tftp://127.0.0.1:{}/snponly.efi", lab.ports.tftp);
    let output = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
    assert!(output.status.success() && output.stdout == content("snponly.efi"), "{:?}", output.status);
    serving.wait_for("sent snponly.efi to 127.0.0.1 1.0 MiB");
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let address = lease(lab.ports, 1);
    serving.kill_9();
    let stored = [(address.to_string(), "020000000001".to_owned(), "leased".to_owned())];
    assert_eq!(lab.leases(), stored);

    let serving = lab.serve(&["serve"]);
    serving.wait_for("1 leases in ");
    // The other client comes first: were the lease forgotten, it would get this address.
    let other = lease(lab.ports, 2);
    assert_ne!(other, address);
    assert_eq!(lease(lab.ports, 1), address);
    let (status, _) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!(lab.leases().len(), 2);
}

#[test]
fn kill_9_in_a_storm_of_clients_loses_nothing_that_was_acknowledged() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let clients: Vec<_> = (1..=8u8)
        .map(|thread| {
            let ports = lab.ports;
            std::thread::spawn(move || {
                (0..8).map(|n| (thread * 8 + n, lease(ports, thread * 8 + n))).collect::<Vec<_>>()
            })
        })
        .collect();
    let given: Vec<(u8, Ipv4Addr)> = clients.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    serving.kill_9();
    let mut expected: Vec<_> = given
        .iter()
        .map(|(n, address)| (address.to_string(), format!("0200000000{n:02x}"), "leased".to_owned()))
        .collect();
    let mut stored = lab.leases();
    expected.sort();
    stored.sort();
    assert_eq!(stored, expected);
    let mut addresses: Vec<Ipv4Addr> = given.iter().map(|(_, address)| *address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 64, "no address twice");
}

#[test]
fn garbage_is_dropped_with_a_reason_and_hinders_nobody() {
    let lab = Lab::new();
    let mut serving = lab.serve(&["serve"]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for i in 0..5000 {
        let mut bytes: Vec<u8> = (0..next() % 1501).map(|_| (next() >> 24) as u8).collect();
        // Every other one looks like a message, so that what is inside is read too.
        if i % 2 == 1 && bytes.len() >= 240 {
            bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
            bytes[24..28].fill(0);
            bytes[236..240].copy_from_slice(&COOKIE);
        }
        socket.send_to(&bytes, (Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
    }
    let asked = Instant::now();
    lease(lab.ports, 77);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "after garbage an address took {took:?}");
    assert!(serving.is_alive());
    assert_booted(&boot(lab.ports, Kind::Ipxe, 78), "boot.ipxe");
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    for reason in ["too_short", "bad_hlen", "not_a_request", "malformed"] {
        let ends = format!("reason={reason}");
        for begin in ["dropped(lo)", "dropped in all: "] {
            let told = lines.iter().any(|line| line.contains(begin) && line.ends_with(&ends));
            assert!(told, "no line with {begin} … {ends}");
        }
    }
    assert!(lines.iter().all(|line| !line.contains("reason=fault") && !line.contains("panicked")));
}

#[test]
fn missing_boot_files_are_named_at_start_with_the_clients_they_are_for() {
    let lab = Lab::new();
    std::fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    std::fs::remove_file(lab.path().join("boot-images/boot.ipxe")).unwrap();
    let serving = lab.serve(&["serve"]);
    let line = serving.wait_for("snponly.efi of boot.arch.uefi-x64 is not in ");
    assert!(
        line.contains("WARN") && line.contains("boot-images: ") && line.contains("cannot boot"),
        "{line}"
    );
    serving.wait_for("boot.ipxe of boot.ipxe is not in ");
    assert_booted(&boot(lab.ports, Kind::BiosPxe, 1), "undionly.kpxe");
    let failed = boot(lab.ports, Kind::UefiX64, 2).last.unwrap().to_string();
    assert!(failed.contains("the TFTP server refused snponly.efi: error 1"), "{failed}");
    assert_eq!(serving.terminate().0.code(), Some(0));
}
