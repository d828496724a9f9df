//! `lanboot demo` as a user runs it: the real binary, the real server, a client of every kind.

use std::process::{Command, Output};

fn demo() -> Output {
    Command::new(env!("CARGO_BIN_EXE_lanboot")).arg("demo").output().expect("the binary runs")
}

#[test]
fn every_client_boots_and_stands_in_the_table() {
    let output = demo();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert_eq!(errors, "", "the story is clean");
    assert!(!text.contains('\x1b'), "colour only on a terminal");

    let table: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("CLIENT"))
        .skip(1)
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let expected = [
        ["BIOS PXE ROM", "bios", "127.77.0.", "undionly.kpxe", "307200"],
        ["UEFI x64 PXE", "uefi-x64", "127.77.0.", "snponly.efi", "1048576"],
        ["UEFI arm64 PXE", "uefi-arm64", "127.77.0.", "grubnetaa64.efi", "655367"],
        ["iPXE", "bios", "127.77.0.", "boot.ipxe", "66"],
        ["plain BOOTP", "-", "127.77.0.10", "undionly.kpxe", "307200"],
    ];
    assert_eq!(table.len(), expected.len(), "{text}");
    for (row, expected) in table.iter().zip(expected) {
        let [client, arch, address, file, bytes, _time, "booted"] = row[..] else { panic!("{row:?}") };
        assert_eq!([client, arch, file, bytes], [expected[0], expected[1], expected[3], expected[4]]);
        assert!(address.starts_with(expected[2]), "{row:?}");
    }
}

#[test]
fn each_step_of_a_boot_is_printed() {
    let text = String::from_utf8(demo().stdout).unwrap();
    for step in [
        "DISCOVER",
        "OFFER 127.77.0.",
        "from 127.0.0.1, file snponly.efi",
        "REQUEST 127.77.0.",
        "ACK 127.77.0.",
        "TFTP 127.0.0.1: how big is snponly.efi?",
        "TFTP 127.0.0.1: read snponly.efi",
        "receiving, blocks of 1468 bytes",
        "got all 1048576 bytes",
        "SHA-256 matches the file on disk",
        "BOOTREPLY 127.77.0.10 from 127.0.0.1, file undionly.kpxe",
    ] {
        assert!(text.contains(step), "no {step:?} in\n{text}");
    }
}
