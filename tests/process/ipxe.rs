//! The boot file that the real binary gives an iPXE while boot files are replaced.

use std::fs;

use lanboot::probe::Kind;
use support::lab::{self, Lab};

#[test]
fn r_02_a_file_that_is_replaced_by_an_ipxe_build_counts_at_once() {
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    lab.write_config(&lab.config().replace("  ipxe: boot.ipxe\n", ""));
    let build = lab::content("undionly.kpxe");
    let mut pxelinux = build.clone();
    pxelinux[..12].copy_from_slice(b"\xea\x24\x7c\0\0\x90\x90\x90\xac\xc8\x83\x29");
    let serving = lab.serve(&["serve"]);
    let ipxe = |n: u8| lab::boot(lab.ports, Kind::Ipxe, n).content;
    assert!(ipxe(1) == lab::content("boot.ipxe"), "undionly.kpxe is an iPXE");
    for round in 0..4 {
        // Replaced by a rename, or overwritten in place with the same size.
        let path = images.join(if round % 2 == 0 { "new" } else { "undionly.kpxe" });
        for (bytes, expected) in [(&pxelinux, &pxelinux), (&build, &lab::content("boot.ipxe"))] {
            fs::write(&path, bytes).unwrap();
            if round % 2 == 0 {
                fs::rename(&path, images.join("undionly.kpxe")).unwrap();
            }
            assert!(ipxe(2 + round) == *expected, "round {round}");
        }
    }
    fs::remove_file(images.join("undionly.kpxe")).unwrap();
    assert!(lab::boot(lab.ports, Kind::Ipxe, 7).content.is_empty(), "a missing file counts as no iPXE");
    serving.wait_for("02:00:00:00:00:07 file=undionly.kpxe rule=boot.arch.bios");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

#[test]
fn r_02_after_once_an_ipxe_in_rom_boots_the_file_of_its_architecture() {
    let lab = Lab::new();
    let config =
        lab.config().replace("  ipxe: boot.ipxe\n", "").replace("bios: undionly.kpxe", "bios: linux");
    let machine = "targets: {t: {kernel: kernel}}\nmachines: [{mac: '02:00:00:00:00:01', once: t}]\n";
    lab.write_config(&format!("{config}{machine}"));
    fs::write(lab.path().join("boot-images/linux"), b"\xfa\x31\xc0\x8e").unwrap();
    fs::write(lab.path().join("boot-images/kernel"), b"k").unwrap();
    let serving = lab.serve(&["serve"]);
    let script = lab::boot(lab.ports, Kind::Ipxe, 1).content;
    assert!(String::from_utf8_lossy(&script).contains("/kernel "), "{script:?}");
    let url = format!("http://127.0.0.1:{}/02-00-00-00-00-01/done", lab.http);
    let done = std::process::Command::new("curl").args(["-sf", "-X", "POST", &url]).status();
    if !done.is_ok_and(|done| done.success()) {
        eprintln!("SKIPPED: curl is not there");
        return;
    }
    assert_eq!(lab::boot(lab.ports, Kind::Ipxe, 1).content, b"\xfa\x31\xc0\x8e");
    assert_eq!(serving.terminate().0.code(), Some(0));
}
