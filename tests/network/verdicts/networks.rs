//! Separate networks for full pools, other machines at the addresses, other DHCP servers, relay agents and slow disks.

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running, run, serve};
use lanboot::types::MacAddr;
use support::site::{DNSMASQ, RELAY, Site, dnsmasq, ready};

use super::client::*;
use super::lan::{IPXE_FILES, NFT, add_files};
use super::place::*;

const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];

const BOOT: &str = "log: {level: debug}
http: {port: 80}
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}
  ipxe: boot.ipxe
targets:
  debian: {kernel: debian/linux, initrd: debian/initrd.gz}
";

/// A server that gives the addresses of `pool`.
fn server_of(pool: &str) -> String {
    format!(
        "{BOOT}dhcp:\n  mode: server\n  conflict_check: 100ms\n  subnets: [{{network: 192.168.77.0/24, pool: {pool}}}]\n"
    )
}

fn place(config: &str, stories: &[Story]) -> Place {
    let site = Site::new(&[]);
    add_files(&site);
    Place::new(site, &format!("{config}{}", entries(stories)))
}

/// A host that uses these addresses without a lease.
fn squatter(place: &Place, mac: &str, addresses: &[&str]) -> Namespace {
    let host = place.site.network.host(mac).unwrap();
    for address in addresses {
        host.ip(&format!("addr add {address}/24 dev eth0")).unwrap();
    }
    host
}

/// Runs all networks at the same time, as often as is wanted.
fn run_all(networks: &[fn() -> Vec<String>]) {
    for _ in 0..runs() {
        let wrong: Vec<String> = scope(|scope| {
            let threads: Vec<_> = networks.iter().map(|network| scope.spawn(network)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(failed)).collect()
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn failed(panic: Box<dyn std::any::Any + Send>) -> Vec<String> {
    let text = panic.downcast_ref::<String>().cloned();
    vec![text.unwrap_or_else(|| "a network could not be made".to_owned())]
}

/// Plays `stories`. The lines of those that go wrong, with the log of the server.
fn play(place: &Place, stories: &[Story]) -> Vec<String> {
    let mut server = place.site.serve(&place.config);
    played(place, stories, &mut server)
}

fn played(place: &Place, stories: &[Story], server: &mut Running) -> Vec<String> {
    let mut wrong = place.play(stories);
    if !wrong.is_empty() {
        wrong.push(format!("---- the server:\n{}", server.drain()));
    }
    wrong
}

// ---- addresses ------------------------------------------------------------------------------------------------------

/// Two systems have the two addresses of the pool.
fn full_pool() -> Vec<String> {
    const STORIES: &[Story] = &[Story {
        name: "pool-exhausted",
        entry: "",
        wanted: certain("pool_exhausted", "firmware", 5, &["192.168.77.0/24", "all 2", "lanboot leases"]),
        act: |machine, _| machine.discovers(UEFI, 3),
    }];
    let place = place(&server_of("192.168.77.50-192.168.77.51"), STORIES);
    let mut server = place.site.serve(&place.config);
    for mac in ["52:54:00:15:02:01", "52:54:00:15:02:02"] {
        let host = place.site.network.host(mac).unwrap();
        run(host.command("udhcpc").args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-s", "/bin/true"]))
            .unwrap();
    }
    played(&place, STORIES, &mut server)
}

/// Another machine has each address of the pool.
fn every_address_in_use() -> Vec<String> {
    const STORIES: &[Story] = &[Story {
        name: "all-in-use",
        entry: "",
        wanted: certain(
            "address_conflict",
            "firmware",
            5,
            &["52:54:00:15:02:03", "192.168.77.5", "ip neigh"],
        ),
        act: |machine, _| machine.discovers(UEFI, 3),
    }];
    let place = place(&server_of("192.168.77.50-192.168.77.51"), STORIES);
    let _squatter = squatter(&place, "52:54:00:15:02:03", &["192.168.77.50", "192.168.77.51"]);
    play(&place, STORIES)
}

/// A machine finds another one at its address, and declines it.
fn declined() -> Vec<String> {
    const STORIES: &[Story] = &[
        Story {
            name: "declines",
            entry: "",
            wanted: certain("address_conflict", "firmware", 5, &["52:54:00:15:02:04", "192.168.77."]),
            act: |machine, place| {
                let squatter = squatter(place, "52:54:00:15:02:04", &[]);
                let address = machine.lease(UEFI).yiaddr;
                squatter.ip(&format!("addr add {address}/24 dev eth0")).unwrap();
                machine.decline(UEFI);
                seconds(7);
                drop(squatter);
            },
        },
        // The machine asks again after ten seconds, as RFC 2131 section 3.1 wants it, and gets another address.
        Story {
            name: "declines-and-boots",
            entry: "",
            wanted: Outcome::Checked,
            act: |machine, place| {
                let squatter = squatter(place, "52:54:00:15:02:05", &[]);
                let address = machine.lease(SYSTEM).yiaddr;
                squatter.ip(&format!("addr add {address}/24 dev eth0")).unwrap();
                machine.decline(SYSTEM);
                seconds(2);
                machine.boot_to_initrd();
                machine.lease(SYSTEM);
            },
        },
    ];
    let place = place(&server_of("192.168.77.50-192.168.77.99"), STORIES);
    play(&place, STORIES)
}

/// A router answers ARP for every address (proxy ARP).
fn proxy_arp() -> Vec<String> {
    const STORIES: &[Story] = &[
        Story {
            name: "proxy-arp-declines",
            entry: "",
            wanted: certain("address_conflict", "firmware", 5, &["52:54:00:15:02:06", "proxy ARP"]),
            act: |machine, _| {
                machine.lease(UEFI);
                machine.decline(UEFI);
            },
        },
        Story { name: "proxy-arp-boots", entry: "", wanted: Outcome::Boots, act: boots },
    ];
    let place = place(&server_of("192.168.77.50-192.168.77.99"), STORIES);
    let router = place.site.network.host("52:54:00:15:02:06").unwrap();
    let stop = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| answer_all_arp(&router, "52:54:00:15:02:06".parse().unwrap(), &stop));
        let wrong = play(&place, STORIES);
        stop.store(true, Ordering::Relaxed);
        wrong
    })
}

/// Answers each ARP request, except those for the server and of machines for their own address.
fn answer_all_arp(host: &Namespace, own: MacAddr, stop: &AtomicBool) {
    enter(host);
    let socket = packet_socket(0x0806);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let mut request = [0; 64];
        let Ok(len) = (&socket).read(&mut request) else { continue };
        let (asked, from) = (&request[38..42], &request[28..32]);
        if len < 42 || request[20..22] != [0, 1] || asked == [192, 168, 77, 1] || asked == from {
            continue;
        }
        let mut reply = request;
        reply[..6].copy_from_slice(&request[6..12]);
        reply[6..12].copy_from_slice(&own.0);
        reply[21] = 2;
        reply[22..28].copy_from_slice(&own.0);
        reply[28..32].copy_from_slice(asked);
        reply[32..42].copy_from_slice(&request[22..32]);
        (&socket).write_all(&reply[..42]).unwrap();
    }
}

fn boots(machine: &mut Client<'_>, _: &Place) {
    machine.boot_to_initrd();
    seconds(3);
    machine.lease(SYSTEM);
}

#[test]
fn addresses_that_machines_cannot_have() {
    if ready("verdicts addresses_that_machines_cannot_have", &[NETWORK, NFT, IPXE_FILES, UDHCPC]) {
        run_all(&[full_pool, every_address_in_use, declined, proxy_arp]);
    }
}

// ---- other DHCP servers ---------------------------------------------------------------------------------------------

/// A proxy beside a DHCP server that names no boot files.
fn beside() -> Vec<String> {
    const STORIES: &[Story] = &[
        Story { name: "boots-beside", entry: "", wanted: Outcome::Boots, act: boots },
        Story {
            name: "answers-of-4011-lost",
            entry: "",
            wanted: certain("port_4011_silent", "firmware", 5, &["again and again", "4011"]),
            act: |machine, place| {
                place.drop_to(machine, "udp sport 4011");
                machine.lease(UEFI);
                for pause in [4, 4, 4] {
                    assert_eq!(machine.ask_4011(UEFI, Duration::from_secs(pause)), None);
                }
            },
        },
        Story {
            name: "no-file-beside",
            entry: "",
            wanted: certain("no_file_for_architecture", "firmware", 5, &["uefi-arm64"]),
            act: |machine, _| machine.discovers(ARM, 3),
        },
        Story {
            name: "offers-not-selected",
            entry: "",
            wanted: likely("offers_not_selected", "firmware", 5, &["192.168.77.254", "option 67"]),
            act: |machine, _| machine.discovers(UEFI, 4),
        },
        Story {
            name: "tftp-not-started-beside",
            entry: "",
            wanted: likely("tftp_not_started", "firmware", 5, &["snponly.efi"]),
            act: |machine, place| {
                place.drop_from(machine, "udp dport 69");
                machine.lease(UEFI);
                assert!(machine.ask_4011(UEFI, Duration::from_secs(4)).is_some());
                assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
            },
        },
        Story {
            name: "file-missing-beside",
            entry: "boot: snponyl.efi",
            wanted: certain("file_missing", "firmware", 5, &["`snponyl.efi`", "`snponly.efi`"]),
            act: |machine, _| {
                machine.lease(UEFI);
                assert!(machine.ask_4011(UEFI, Duration::from_secs(4)).is_some());
                assert_eq!(machine.load("snponyl.efi", LARGE_BLOCKS), Err(Failed::Refused(1)));
            },
        },
    ];
    let place = place(&format!("{BOOT}dhcp: {{mode: proxy}}\n"), STORIES);
    let other = place.site.other_computer();
    let _dnsmasq = dnsmasq(&other, &[]);
    play(&place, STORIES)
}

/// A proxy beside a DHCP server that names a boot file itself.
fn beside_a_boot_server() -> Vec<String> {
    const STORIES: &[Story] = &[Story {
        name: "takes-the-others-file",
        entry: "",
        wanted: certain("other_server_chosen", "firmware", 5, &["192.168.77.254", "67"]),
        act: |machine, _| _ = machine.lease(UEFI),
    }];
    let place = place(&format!("{BOOT}dhcp: {{mode: proxy}}\n"), STORIES);
    let other = place.site.other_computer();
    let _dnsmasq = dnsmasq(&other, &["--dhcp-boot=theirs.efi,,192.168.77.254"]);
    play(&place, STORIES)
}

/// Two DHCP servers that both give addresses.
fn second_server() -> Vec<String> {
    const STORIES: &[Story] = &[
        Story {
            name: "takes-the-others-offer",
            entry: "",
            wanted: certain("other_server_chosen", "firmware", 5, &["192.168.77.254", "mode: proxy"]),
            act: |machine, _| {
                machine.again();
                let offers = machine.offers(UEFI, 0, Duration::from_secs(4));
                let theirs = offers
                    .iter()
                    .find(|offer| offer.options.ip(54) == Some(Ipv4Addr::new(192, 168, 77, 254)));
                machine.take(UEFI, theirs.expect("an offer of dnsmasq"));
            },
        },
        Story {
            name: "takes-none",
            entry: "",
            wanted: likely("offers_not_selected", "firmware", 5, &["192.168.77.254"]),
            act: |machine, _| machine.discovers(UEFI, 4),
        },
    ];
    let place = place(&server_of("192.168.77.50-192.168.77.99"), STORIES);
    let other = place.site.other_computer();
    let _dnsmasq = dnsmasq(&other, &[]);
    play(&place, STORIES)
}

#[test]
fn other_dhcp_servers() {
    if ready("verdicts other_dhcp_servers", &[NETWORK, NFT, IPXE_FILES, DNSMASQ]) {
        run_all(&[beside, beside_a_boot_server, second_server]);
    }
}

// ---- relay agents ---------------------------------------------------------------------------------------------------

const RELAYED: &str = "dhcp:
  mode: server
  conflict_check: 300ms
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99, options: {router: 10.1.0.1}}
";

/// A place whose machines are behind a relay agent, which must be dropped first.
fn relayed_place(config: &str, stories: &[Story]) -> (Place, Running) {
    let mut place = place(&format!("{BOOT}{config}"), stories);
    let (relay, far) = place.site.behind_a_relay_agent("192.168.77.2/24", "10.1.0.1/24");
    place.far = Some(far);
    (place, relay)
}

/// Machines behind a relay agent and a router.
fn behind_a_relay_agent() -> Vec<String> {
    const STORIES: &[Story] = &[
        Story { name: "boots-behind", entry: "", wanted: Outcome::Boots, act: boots },
        Story {
            name: "no-router",
            entry: "options: {router: null}",
            wanted: likely("tftp_not_started", "firmware", 5, &["snponly.efi", "router"]),
            act: |machine, _| {
                machine.lease(UEFI);
                assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
            },
        },
        Story {
            name: "narrow-path",
            entry: "",
            wanted: likely("block_size_too_large", "firmware", 5, &["1468 bytes", "MTU"]),
            act: |machine, place| {
                machine.lease(UEFI);
                // The router cuts packets into fragments, and firmware drops them.
                let far = place.far.as_ref().unwrap();
                far.namespace().ip("link set br0 mtu 1400").unwrap();
                let file = place.site.folder.path().join("fragments.nft");
                let rule = "ip frag-off & 0x3fff != 0 drop";
                let chain = format!("chain c {{\n type filter hook prerouting priority -450;\n {rule}\n}}");
                fs::write(&file, format!("table ip firmware {{\n{chain}\n}}\n")).unwrap();
                run(Command::new("nft").arg("-f").arg(&file)).unwrap();
                assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
            },
        },
    ];
    let (place, _relay) = relayed_place(RELAYED, STORIES);
    play(&place, STORIES)
}

/// The relay agent never gets the replies.
fn behind_a_relay_agent_that_hears_nothing() -> Vec<String> {
    const STORIES: &[Story] = &[Story {
        name: "relay-drops",
        entry: "",
        wanted: likely("relay_drops_replies", "firmware", 5, &["10.1.0.1", "port 67"]),
        act: |machine, _| machine.discovers(UEFI, 4),
    }];
    let (place, _relay) = relayed_place(RELAYED, STORIES);
    place.nft("add rule bridge switch output meta oifname relay0 udp dport 67 drop\n");
    play(&place, STORIES)
}

/// Another machine has the only address behind the relay agent, and answers ping.
fn address_in_use_behind_a_relay_agent() -> Vec<String> {
    const STORIES: &[Story] = &[Story {
        name: "answers-ping",
        entry: "",
        wanted: certain("address_conflict", "firmware", 5, &["10.1.0.50", "another machine"]),
        act: |machine, _| machine.discovers(UEFI, 3),
    }];
    let config = RELAYED.replace("10.1.0.50-10.1.0.99", "10.1.0.50-10.1.0.50");
    let (place, _relay) = relayed_place(&config, STORIES);
    let squatter = place.far.as_ref().unwrap().host("52:54:00:15:02:07").unwrap();
    squatter.ip("addr add 10.1.0.50/24 dev eth0").unwrap();
    squatter.ip("route add default via 10.1.0.1").unwrap();
    play(&place, STORIES)
}

#[test]
fn relay_agents_and_slow_disks() {
    if ready("verdicts relay_agents_and_slow_disks", &[NETWORK, NFT, IPXE_FILES, RELAY]) {
        run_all(&[
            behind_a_relay_agent,
            behind_a_relay_agent_that_hears_nothing,
            address_in_use_behind_a_relay_agent,
            slow_disk,
            slow_boot_files,
        ]);
    }
}

// ---- disks ----------------------------------------------------------------------------------------------------------

/// The library that makes syncs wait while a file exists, see tests/support/eio.c.
fn build_shim(place: &Place) -> PathBuf {
    let shim = place.site.folder.path().join("eio.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/eio.c");
    run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).args([source, "-ldl"])).unwrap();
    shim
}

/// The disk with the boot files does not respond.
fn slow_boot_files() -> Vec<String> {
    const STORIES: &[Story] = &[
        Story {
            name: "slow-boot-file",
            entry: "",
            wanted: likely("server_slow", "firmware", 5, &["read a boot file", "`images`", "faster disk"]),
            act: |machine, place| {
                machine.lease(UEFI);
                fs::write(place.site.folder.path().join("slow"), "").unwrap();
                assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
            },
        },
        // All threads that serve files may wait for the disk, so its request is not even read.
        Story {
            name: "another-one-that-waits",
            entry: "",
            wanted: likely("server_slow", "firmware", 5, &["read a boot file"]),
            act: |machine, place| {
                let slow = place.site.folder.path().join("slow");
                support::site::until(|| slow.exists(), "the disk is slow");
                machine.lease(UEFI);
                assert_eq!(machine.load("snponly.efi", LARGE_BLOCKS), Err(Failed::Silent));
            },
        },
    ];
    let place = place(&server_of("192.168.77.50-192.168.77.99"), STORIES);
    let (shim, slow) = (build_shim(&place), place.site.folder.path().join("slow"));
    let (preload, slow) = (format!("LD_PRELOAD={}", shim.display()), format!("SLOW_READ={}", slow.display()));
    let words = ["env", &preload, &slow, &*support::LANBOOT].map(std::ffi::OsStr::new);
    let mut server = serve(&place.site.network, &words, &place.config).unwrap();
    played(&place, STORIES, &mut server)
}

/// The lease is stored later than the machine waits.
fn slow_disk() -> Vec<String> {
    const STORIES: &[Story] = &[Story {
        name: "slow-disk",
        entry: "",
        wanted: likely("server_slow", "firmware", 13, &["faster disk"]),
        act: |machine, place| {
            let slow = place.site.folder.path().join("slow");
            let offer = machine.offer(UEFI);
            fs::write(&slow, "").unwrap();
            for _ in 0..3 {
                machine.request(UEFI, &offer, 0);
                seconds(4);
            }
            seconds(6);
            fs::remove_file(&slow).unwrap();
        },
    }];
    let place = place(&server_of("192.168.77.50-192.168.77.99"), STORIES);
    let (shim, slow) = (build_shim(&place), place.site.folder.path().join("slow"));
    let (preload, slow) = (format!("LD_PRELOAD={}", shim.display()), format!("SLOW={}", slow.display()));
    let words = ["env", &preload, &slow, &*support::LANBOOT].map(std::ffi::OsStr::new);
    let mut server = serve(&place.site.network, &words, &place.config).unwrap();
    played(&place, STORIES, &mut server)
}
