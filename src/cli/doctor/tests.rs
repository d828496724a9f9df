//! Judges captured facts.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::facts::{Bridge, DhcpServer, Disk, Facts, Holder, Link, Route};
use super::finding::{Finding, Severity};
use super::{boot_files, computer, gather, network};
use crate::cli::config_file::{Given, Loaded, load_file};
use crate::net::interface::Interface;
use crate::types::Ipv4Network;

const SERVER: &str = "dhcp: {mode: server, subnets: [{network: 10.0.0.0/24, pool: 10.0.0.1-10.0.0.9}]}\n";

/// A configuration for the interface eth1 with `rest`.
fn loaded(rest: &str) -> (tempfile::TempDir, Loaded) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, format!("interfaces: [eth1]\n{rest}")).unwrap();
    let loaded =
        load_file(Given { file: Some(&file), state: None }).unwrap_or_else(|error| panic!("{error}"));
    (folder, loaded)
}

fn network(text: &str) -> Ipv4Network {
    let (address, prefix) = text.split_once('/').unwrap();
    Ipv4Network::new(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
}

fn interface(name: &str, addresses: &[&str], up: bool) -> Interface {
    let networks: Arc<[Ipv4Network]> = addresses.iter().map(|one| network(one)).collect();
    let own = addresses.iter().map(|one| one.split('/').next().unwrap().parse().unwrap());
    Interface {
        index: 2,
        name: name.into(),
        addresses: own.collect(),
        networks,
        mac: None,
        link: None,
        mtu: 1500,
        cuts_offload: false,
        loopback: false,
        up,
    }
}

/// A computer with this interface and a route to each of its networks.
fn computer(interface: Interface) -> Facts {
    let route = |network: &Ipv4Network| Route {
        network: *network,
        device: Some(interface.name.to_string()),
        gateway: None,
        metric: 0,
    };
    let routes = interface.networks.iter().map(route).collect();
    Facts { routes, interfaces: vec![interface], ..Facts::default() }
}

fn ids(found: &[Finding]) -> Vec<&'static str> {
    found.iter().map(|finding| finding.id).collect()
}

#[test]
fn an_interface_gets_a_free_address_of_its_subnet() {
    let (_folder, loaded) = loaded(SERVER);
    let found = network::judge(&loaded.config, &computer(interface("eth1", &[], false)));
    let [down, bare] = &found[..2] else { panic!("{found:?}") };
    assert_eq!((down.id, &down.fix[..]), ("interface_down", "ip link set eth1 up"));
    assert_eq!(bare.fix, "ip address add 10.0.0.10/24 dev eth1", "those before it are in the pool");
    let found = network::judge(&loaded.config, &computer(interface("eth1", &["10.9.0.1/24"], true)));
    let off = found.iter().find(|finding| finding.id == "address_off_subnets").unwrap();
    assert_eq!(off.fix, "ip address add 10.0.0.10/24 dev eth1");
    let found = network::judge(&loaded.config, &computer(interface("eth1", &["10.0.0.10/24"], true)));
    assert_eq!(found, []);
    let found = network::judge(&loaded.config, &computer(interface("eth2", &["10.0.0.10/24"], true)));
    assert!(ids(&found).contains(&"interface_missing"), "{found:?}");
}

#[test]
fn routes_lead_to_the_clients() {
    let (_folder, loaded) = loaded(
        "dhcp: {mode: server, subnets: [{network: 10.0.0.0/24, pool: 10.0.0.1-10.0.0.9}, {network: 10.1.0.0/24, pool: \
         10.1.0.1-10.1.0.9, relays: [10.9.0.77]}]}\n",
    );
    let mut facts = computer(interface("eth1", &["10.0.0.10/24", "10.9.0.1/24"], true));
    let found = network::judge(&loaded.config, &facts);
    assert_eq!(ids(&found), ["no_route_to_subnet"]);
    assert_eq!(found[0].fix, "ip route add 10.1.0.0/24 via 10.9.0.77");
    // As the kernel prints a default route, the one of eth1, a more specific one, and `ip route add unreachable 10.1.0.0/24`.
    let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        tun0\t0000000A\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0\n\
        *\t0000010A\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    facts.routes = gather::routes(table);
    assert_eq!(facts.routes.len(), 4, "{:?}", facts.routes);
    assert_eq!(facts.routes[0].gateway, Some(Ipv4Addr::new(192, 168, 2, 1)));
    let found = network::judge(&loaded.config, &facts);
    assert_eq!(ids(&found), ["route_elsewhere", "no_route_to_subnet"]);
    assert_eq!(found[0].fix, "ip route delete 10.0.0.0/28 dev tun0");
    assert_eq!(found[1].fix, "ip route delete unreachable 10.1.0.0/24");
    facts.routes.truncate(2);
    assert_eq!(network::judge(&loaded.config, &facts), [], "the default route leads there");
}

#[test]
fn filters_of_the_kernel_are_read_and_judged() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path: PathBuf = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/sys/net/ipv4/conf/all/rp_filter", "1\n");
    write("proc/sys/net/ipv4/conf/eth1/rp_filter", "0\n");
    for file in ["ifindex", "iflink"] {
        write(&format!("sys/class/net/eth1/{file}"), "4\n");
    }
    for (file, value) in [("multicast_snooping", "1\n"), ("multicast_querier", "0\n"), ("stp_state", "1\n")] {
        write(&format!("sys/class/net/eth1/bridge/{file}"), value);
    }
    let link = gather::link(root.path(), "eth1");
    let bridge = Bridge { snoops_multicast: true, is_querier: false, spanning_tree: true };
    let wanted = Link { name: "eth1".into(), rp_filter: 1, bridge: Some(bridge), ..Link::default() };
    assert_eq!(link, wanted);
    let (_folder, loaded) = loaded(SERVER);
    let mut facts = computer(interface("eth1", &["10.0.0.10/24"], true));
    facts.links = vec![link];
    let found = network::judge(&loaded.config, &facts);
    assert_eq!(ids(&found), ["rp_filter", "multicast_snooping", "bridge_spanning_tree"]);
    assert_eq!(found[0].fix, "sysctl -w net.ipv4.conf.eth1.rp_filter=2");
    assert!(found.iter().all(|finding| finding.severity == Severity::Note), "{found:?}");
    facts.container = Some("docker".to_owned());
    assert_eq!(computer::judge(&loaded.config, &facts), [], "the bridge is on the computer itself");
    write("sys/class/net/eth1/iflink", "5\n");
    write("sys/class/net/eth1/uevent", "INTERFACE=eth1\nIFINDEX=4\n");
    facts.links = vec![gather::link(root.path(), "eth1")];
    let found = computer::judge(&loaded.config, &facts);
    assert!(found[0].id == "container_network" && found[0].fix.contains("--network host"), "{found:?}");
    write("sys/class/net/eth1/uevent", "DEVTYPE=macvlan\nINTERFACE=eth1\nIFINDEX=4\n");
    assert!(!gather::link(root.path(), "eth1").is_container_end);
}

#[test]
fn holders_of_ports_are_stopped_by_the_program_that_started_them() {
    let (_folder, loaded) = loaded(SERVER);
    let holder = Holder {
        port: "UDP 0.0.0.0:67".into(),
        key: "dhcp.ports.server",
        pid: 812,
        name: "dhcpd".into(),
        ..Holder::default()
    };
    let network = || Some("default".to_owned());
    let cases = [
        (holder.clone(), "port_taken", "kill 812"),
        (
            Holder { unit: Some("isc-dhcp-server.service".into()), ..holder.clone() },
            "port_taken",
            "systemctl disable --now isc-dhcp-server.service",
        ),
        (
            Holder { libvirt: network().map(|name| (name, true)), ..holder.clone() },
            "libvirt_dnsmasq",
            "virsh net-destroy default && virsh net-autostart default --disable",
        ),
        (
            Holder { libvirt: network().map(|name| (name, false)), ..holder.clone() },
            "libvirt_dnsmasq",
            "kill 812",
        ),
        (Holder { pid: 0, ..holder }, "port_taken", "ss -lnp 'sport = :67'"),
    ];
    for (holder, id, fix) in cases {
        let found = computer::judge(&loaded.config, &Facts { holders: vec![holder], ..Facts::default() });
        assert_eq!((found[0].id, &found[0].fix[..]), (id, fix));
    }
    let command =
        ["/usr/sbin/dnsmasq", "--conf-file=/var/lib/libvirt/dnsmasq/default.conf"].map(str::to_owned);
    assert_eq!(gather::libvirt_network(&command), network());
    assert_eq!(gather::libvirt_network(&["dnsmasq".to_owned()]), None);
}

#[test]
fn disks_the_clock_and_virtual_machines_are_judged() {
    let (_folder, loaded) = loaded(SERVER);
    let disk = Disk {
        key: "state",
        path: "/var/lib/lanboot".into(),
        size: 100 << 30,
        free: 1 << 30,
        files: 0,
        free_files: 0,
        tmpfs: None,
        is_written: true,
    };
    let judge =
        |disk: Disk| computer::judge(&loaded.config, &Facts { disks: vec![disk], ..Facts::default() });
    assert_eq!(ids(&judge(disk.clone())), ["disk_nearly_full"]);
    assert_eq!(judge(Disk { free: 3 << 30, ..disk.clone() }), [], "enough, though only 3 %");
    assert_eq!(
        judge(Disk { size: 32 << 20, free: 16 << 20, ..disk.clone() }),
        [],
        "a small one is half empty"
    );
    let few = judge(Disk { free: 50 << 30, files: 100_000, free_files: 3, ..disk.clone() });
    assert!(few[0].what.contains("only 3 files"), "{few:?}");
    let memory = Disk { tmpfs: Some("/run/state".into()), size: 100 << 20, free: 0, ..disk };
    assert_eq!(judge(memory)[0].fix, "mount -o remount,size=200M /run/state");
    let clock = Facts { clock_is_synchronised: Some(false), ..Facts::default() };
    assert_eq!(ids(&computer::judge(&loaded.config, &clock)), ["clock_not_synchronised"]);
    let words = "/usr/bin/qemu-system-x86_64 -name guest=n1,debug-threads=on -drive if=pflash,file=/usr/share/OVMF/OVMF_CODE.fd \
         -netdev tap,id=lan -device virtio-net-pci,netdev=lan";
    let command: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let machine = gather::virtual_machine(42, &command).unwrap();
    let found =
        computer::judge(&loaded.config, &Facts { virtual_machines: vec![machine], ..Facts::default() });
    assert!(found[0].id == "ovmf_without_rng" && found[0].what.contains("n1 (process 42)"), "{found:?}");
    assert!(found[0].fix.ends_with("-device virtio-rng-pci"), "{}", found[0].fix);
    let with = [command, vec!["-device".into(), "virtio-rng-pci".into()]].concat();
    assert!(gather::virtual_machine(42, &with).unwrap().has_rng);
    assert!(gather::virtual_machine(42, &["/usr/bin/python3".to_owned()]).is_none());
}

#[test]
fn another_dhcp_server_makes_lanboot_a_proxy() {
    let (_folder, one_mode) = loaded(SERVER);
    let mut facts = computer(interface("eth1", &["10.0.0.10/24"], true));
    let other = Ipv4Addr::new(10, 0, 0, 254);
    let heard = |server, offered| DhcpServer { interface: "eth1".into(), server, offered };
    facts.servers = vec![
        heard(Ipv4Addr::new(10, 0, 0, 10), Some(Ipv4Addr::new(10, 0, 0, 3))),
        heard(other, Some(Ipv4Addr::new(10, 0, 0, 100))),
    ];
    facts.asked = vec!["eth1".to_owned()];
    let found = boot_files::servers(&one_mode, &facts, false);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!(finding.id, "other_dhcp_server");
    let path = one_mode.path.display();
    assert_eq!(finding.fix, format!("sed -i -E '2s/(mode: *)server/\\1proxy/' {path}"));
    let found = boot_files::servers(&one_mode, &facts, true);
    assert!(found[0].fix.ends_with(&format!("&& lanboot reload --config {path}")), "{}", found[0].fix);
    let (_folder, by_interface) = loaded(
        "dhcp:\n  mode:\n    eth1: server\n    default: off\n  subnets: [{network: 10.0.0.0/24, pool: 10.0.0.1-10.0.0.9}]\n",
    );
    let found = boot_files::servers(&by_interface, &facts, false);
    assert!(found[0].fix.contains("'4s/(eth1: *)server/"), "{}", found[0].fix);
    let (_folder, proxy) = loaded("dhcp: {mode: proxy}\n");
    assert_eq!(boot_files::servers(&proxy, &facts, false), [], "a proxy needs another server");
    facts.servers.clear();
    assert_eq!(ids(&boot_files::servers(&proxy, &facts, false)), ["no_dhcp_server"]);
    facts.servers = vec![heard(other, None)];
    assert_eq!(ids(&boot_files::servers(&proxy, &facts, false)), ["other_boot_server", "no_dhcp_server"]);
}

#[test]
fn loaders_that_are_missing_wrong_or_unsigned_are_found() {
    let (folder, loaded) = loaded(
        "boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-arm64: sub/own.efi}}\ndhcp: {mode: proxy}\n",
    );
    let images = folder.path().join("boot-images");
    fs::create_dir_all(images.join("sub")).unwrap();
    let mut efi = vec![0; 512];
    efi[..2].copy_from_slice(b"MZ");
    efi[60..64].copy_from_slice(&64u32.to_le_bytes());
    efi[64..70].copy_from_slice(b"PE\0\0\x64\x86");
    // The optional header of 64 bits, for an EFI application.
    efi[84..86].copy_from_slice(&240u16.to_le_bytes());
    efi[88..90].copy_from_slice(&0x20bu16.to_le_bytes());
    efi[156..158].copy_from_slice(&10u16.to_le_bytes());
    efi[196..200].copy_from_slice(&16u32.to_le_bytes());
    fs::write(images.join("snponly.efi"), &efi).unwrap();
    fs::write(images.join("sub/own.efi"), &efi).unwrap();
    let found = boot_files::loaders(&loaded);
    let of = |id: &str| -> Vec<&Finding> { found.iter().filter(|finding| finding.id == id).collect() };
    let path = loaded.path.display();
    assert_eq!(of("loader_missing")[0].fix, format!("lanboot images add ipxe --config {path}"));
    let [wrong] = of("loader_wrong")[..] else { panic!("{found:?}") };
    assert!(wrong.what.contains("boot.arch.uefi-arm64"), "{wrong:?}");
    assert_eq!(wrong.fix, format!("lanboot images add ./own.efi --name sub/own.efi --force --config {path}"));
    assert_eq!(of("loader_unsigned").len(), 2, "{found:?}");
}
