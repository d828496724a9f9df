//! Packets recorded from real firmware, and the reply to each of them by the DHCP server and by a proxy beside another
//! server: one snapshot for each packet and mode.
//!
//! The replies were compared with the requirements of these clients (PXE 2.1, RFC 2131 and the sources of the
//! firmware). A changed snapshot is a changed reply on the wire.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use lanboot::boot::plan::Mode;
use lanboot::types::Escaped;
use lanboot::wire::dhcp::{Message, until_nul};
use lanboot::wire::option::{Printed, by_code};
use support::world::{Answer, SERVER, World};

/// A campus that has a file for every architecture, answers all BOOTP, and serves each network in the recordings.
const CAMPUS: &str = "
dhcp:
  mode: server
  bootp: dynamic
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.200
      lease: 1h
      relays: [GIADDRS]
      options: {router: 192.168.77.1, dns: 192.168.77.1, domain: lab.example}
boot:
  arch:
    bios: undionly.kpxe
    uefi-x64: snponly.efi
    uefi-arm64: snponly-arm64.efi
    uefi-x64-http: http://{server}/snponly.efi
";

fn packet(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let digits: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.bytes())
        .filter(u8::is_ascii_hexdigit)
        .collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn every_recorded_packet_gets_the_reply_that_its_client_needs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packets");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 41, "the recordings are there");
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // The names of the recordings from the boot service's port.
        let from_port = match name.as_str() {
            "ovmf-x64-pxe-request-4011" => Some(4011),
            "ipxe-bios-request-4011" => Some(68),
            _ => None,
        };
        assert_eq!(name.contains("4011"), from_port.is_some(), "{name}");
        let shown = show(Mode::Server, &packet(&path), from_port);
        assert_snapshot(&name, &shown);
        let shown = show(Mode::Proxy, &packet(&path), from_port);
        assert_snapshot(&format!("proxy-{name}"), &shown);
    }
}

#[test]
fn a_mac_whose_class_boots_gets_its_list_of_images() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/packets/apple-bsdp-inform-list-constructed.hex");
    let yaml = "dhcp: {mode: proxy, classes: [{match: {vendor_class: AAPLBSDPC}, boot: mac/grubx64.efi}]}";
    let answer = World::new(yaml).send_bytes(&packet(&path)).unwrap().unwrap();
    assert_snapshot("apple-bsdp-inform-list-mapped", &text(&answer));
}

/// Compares `shown` with `tests/snapshots/NAME.snap`.
fn assert_snapshot(name: &str, shown: &str) {
    insta::with_settings!({ snapshot_path => "../../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, shown);
    });
}

/// The answer of a lone server with these subnets, or of a proxy beside another server, as text. A message to the boot
/// service comes from a port of the client's address.
fn show(mode: Mode, bytes: &[u8], from_port: Option<u16>) -> String {
    let request = Message::decode(bytes).unwrap();
    let relays = if request.giaddr.is_unspecified() { String::new() } else { request.giaddr.to_string() };
    let mut world = World::new(&CAMPUS.replace("GIADDRS", &relays));
    world.arrival.mode = mode;
    if let Some(port) = from_port {
        world.arrival.boot_service = true;
        world.arrival.destination = SERVER;
        world.arrival.source = SocketAddrV4::new(request.ciaddr, port);
    }
    world.sizes = vec![("undionly.kpxe", 70_000), ("snponly.efi", 512 * 300)];
    match world.send_bytes(bytes) {
        Ok(Some(answer)) => text(&answer),
        Ok(None) => format!("no answer: {:?}", world.events),
        Err(reason) => format!("no answer: reason={}", reason.name()),
    }
}

fn text(answer: &Answer) -> String {
    let reply = Message::decode(&answer.bytes).unwrap();
    assert_eq!(reply, answer.message, "the reply survives the wire");
    // None of these clients has configured its address yet.
    let route = format!("{:?}", answer.route).replace(", has_address: false", "");
    let mut text = format!("{route}, {} bytes\n", answer.bytes.len());
    if answer.wait > Duration::ZERO {
        let _ = writeln!(text, "after {:?}", answer.wait);
    }
    for (name, address) in [
        ("ciaddr", reply.ciaddr),
        ("yiaddr", reply.yiaddr),
        ("siaddr", reply.siaddr),
        ("giaddr", reply.giaddr),
    ] {
        if address != Ipv4Addr::UNSPECIFIED {
            let _ = writeln!(text, "{name} {address}");
        }
    }
    let _ = writeln!(text, "flags {:#06x}, hops {}, secs {}", reply.flags, reply.hops, reply.secs);
    let _ = writeln!(text, "sname \"{}\"", Escaped(until_nul(&reply.sname)));
    let _ = writeln!(text, "file \"{}\"", Escaped(until_nul(&reply.file)));
    for (code, value) in reply.options.iter() {
        let name = by_code(code).map_or("?", |row| row.name);
        let _ = writeln!(text, "{code} {name} {}", Printed(code, value));
    }
    text
}
