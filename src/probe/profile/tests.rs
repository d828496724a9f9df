//! Compares the probe's messages with the recorded ones.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::wire::dhcp::Message;

const DISCOVER: Ask = Ask::Discover;

/// Reads a recorded packet in tests/data/packets.
fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/packets/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods)] // a test may read its data
    let text = std::fs::read_to_string(path).unwrap();
    let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Returns the message of the probe in place of the recorded client.
fn probe_message(profile: &Profile, recording: &[u8], ask: Ask, seconds: u64, count: u16) -> Vec<u8> {
    let recording = Message::decode(recording).unwrap();
    let elapsed = Duration::from_secs(seconds);
    // The lowest bit says that iPXE has a proxy's offer.
    let proxy = recording.secs & 3 == 3;
    let sending = Sending { ask, xid: recording.xid, elapsed, count, proxy };
    profile.message(recording.mac().unwrap(), &sending)
}

fn request(last: u8) -> Ask {
    requested_from(last, 1)
}

fn requested_from(last: u8, server: u8) -> Ask {
    let ip = |last| Ipv4Addr::new(192, 168, 77, last);
    Ask::Request { address: ip(last), server: ip(server) }
}

fn boot_server(last: u8, item: Option<u16>) -> Ask {
    let ip = |last| Ipv4Addr::new(192, 168, 77, last);
    Ask::BootServer { address: ip(last), server: Some(ip(1)), item }
}

#[test]
fn uefi_sends_the_messages_of_ovmf_and_aavmf() {
    let x64 = Kind::UefiX64.profile();
    let arm64 = Kind::UefiArm64.profile();
    for (profile, name, ask) in [
        (x64, "ovmf-x64-pxe-discover", DISCOVER),
        (x64, "ovmf-x64-pxe-request", request(56)),
        (x64, "ovmf-x64-pxe-request-4011", boot_server(156, None)),
        (arm64, "aavmf-arm64-pxe-discover", DISCOVER),
    ] {
        let recording = recorded(name);
        assert_eq!(probe_message(profile, &recording, ask, 0, 1), recording, "{name}");
    }
}

#[test]
fn uefi_http_boot_sends_the_messages_of_ovmf() {
    let profile = Profile::new(Firmware::UefiHttp, Arch::UEFI_X64);
    for (name, ask) in [("ovmf-x64-http-discover", DISCOVER), ("ovmf-x64-http-request", request(56))] {
        let recording = recorded(name);
        assert_eq!(probe_message(&profile, &recording, ask, 0, 1), recording, "{name}");
    }
}

#[test]
fn ipxe_sends_its_recorded_messages() {
    let bios = Profile::new(Firmware::Ipxe, Arch::BIOS);
    let efi = Profile::new(Firmware::Ipxe, Arch::UEFI_X64);
    for (profile, name, ask, count) in [
        (bios, "ipxe-bios-discover", DISCOVER, 1),
        (bios, "ipxe-bios-request", request(50), 4),
        (bios, "ipxe-bios-request-4011", boot_server(150, Some(0x8001)), 1),
        (efi, "ipxe-efi-x64-discover", DISCOVER, 1),
        (efi, "ipxe-efi-x64-request", requested_from(156, 2), 2),
    ] {
        let recording = recorded(name);
        assert_eq!(probe_message(&profile, &recording, ask, 3, count), recording, "{name}");
    }
}

#[test]
fn a_bios_rom_sends_the_messages_of_virtualbox() {
    let recording = recorded("virtualbox-bios-discover");
    let options = Message::decode(&recording).unwrap().options;
    let [bytes, _] = crate::wire::pxe::machine_uuids(&options).unwrap();
    let profile = Profile::new(Firmware::BiosPxe, Arch::BIOS).with_uuid(bytes);
    assert_eq!(probe_message(&profile, &recording, DISCOVER, 0, 1), recording);
}

#[test]
fn rfc951_3_bootp_sends_the_messages_of_bootpc() {
    let recording = recorded("bootpc-bootp");
    assert_eq!(probe_message(Kind::Bootp.profile(), &recording, DISCOVER, 0, 1), recording);
}

#[test]
fn rfc2131_4_4_6_a_release_has_the_same_identity() {
    let address = Ipv4Addr::new(192, 168, 77, 50);
    let server = Ipv4Addr::new(192, 168, 77, 1);
    let mac = crate::types::MacAddr([2, 0, 0, 0, 0, 1]);
    let ask = Ask::Release { address, server };
    let sending = Sending { ask, xid: 7, elapsed: Duration::ZERO, count: 9, proxy: false };
    for (firmware, identifier) in [(Firmware::Uefi, None), (Firmware::Ipxe, Some(&[1, 2, 0, 0, 0, 0, 1][..]))]
    {
        let payload = Profile::new(firmware, Arch::BIOS).message(mac, &sending);
        let release = Message::decode(&payload).unwrap();
        assert_eq!((release.ciaddr, release.flags, release.secs), (address, 0, 0));
        assert_eq!(release.options.ip(54), Some(server));
        assert_eq!(release.options.get(61), identifier);
        assert_eq!(release.options.get(50), None);
        assert_eq!(release.options.u8(53), Some(7));
    }
}

#[test]
fn the_architecture_is_in_options_60_and_93() {
    let message = |firmware, arch: &str| {
        let arch: Arch = arch.parse().unwrap();
        let sending = Sending { ask: DISCOVER, xid: 1, elapsed: Duration::ZERO, count: 1, proxy: false };
        let payload = Profile::new(firmware, arch).message(crate::types::MacAddr([2; 6]), &sending);
        let options = Message::decode(&payload).unwrap().options;
        let class = String::from_utf8(options.get(60).unwrap().to_vec()).unwrap();
        (class, options.u16(93).unwrap())
    };
    let riscv = ("PXEClient:Arch:00027:UNDI:003000".to_owned(), 27);
    assert_eq!(message(Firmware::Uefi, "uefi-riscv64"), riscv);
    let http = ("HTTPClient:Arch:00019:UNDI:003000".to_owned(), 19);
    assert_eq!(message(Firmware::UefiHttp, "uefi-arm64"), http);
    assert_eq!(message(Firmware::UefiHttp, "uefi-arm64-http"), http);
    assert_eq!(Firmware::of("uefi-arm64-http".parse().unwrap()), Firmware::UefiHttp);
    assert_eq!(Firmware::of("uefi-arm64".parse().unwrap()), Firmware::Uefi);
    assert_eq!(Firmware::of(Arch::BIOS), Firmware::BiosPxe);
}
