//! Real DHCP clients on a private network: `udhcpc` gets, renews and releases a lease from `lanboot serve`.
//!
//! Needs root and udhcpc, which `tests/run` installs on Debian. Without them the tests are skipped by name, or fail
//! with CI=true.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running};
use nix::sys::signal::{Signal, kill};
use support::one_at_a_time;
use support::site::{RELAY, Site, ready, until};

const MAC: &str = "52:54:00:77:00:02";

const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];

/// Long enough for udhcpc's retries on a busy computer.
const LIMIT: Duration = Duration::from_secs(20);

/// The script that udhcpc runs: it prints the event's variables, and configures the address, from which a renewal is
/// sent.
const SCRIPT: &str = "#!/bin/sh\n\
    case $1 in\n\
    bound) ip addr add $ip/$mask dev $interface ;;\n\
    deconfig) ip addr flush dev $interface ;;\n\
    esac\n\
    echo \"EVENT $1 ip=$ip mask=$mask router=$router dns=$dns domain=$domain lease=$lease serverid=$serverid.\"\n";

#[test]
fn udhcpc_gets_renews_and_releases_a_lease() {
    if !ready("clients udhcpc_gets_renews_and_releases_a_lease", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(
        "dhcp:\n  mode: server\n  subnets:\n    - network: 192.168.77.0/24\n      \
         pool: 192.168.77.50-192.168.77.60\n      lease: 10m\n      \
         options: {router: 192.168.77.1, dns: [192.168.77.1, 9.9.9.9], domain: lab.example}",
    );
    let mut server = site.serve(&config);
    let host = site.network.host(MAC).unwrap();
    let script = site.folder.path().join("udhcpc.sh");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = host.command("udhcpc");
    command.args(["-f", "-i", "eth0", "-t", "10", "-T", "1", "-s"]).arg(&script);
    let mut client = Running::spawn(command).unwrap();

    // The client gets a lease.
    expect(&mut client, &mut server, "EVENT bound ip=192.168.77.");
    let said = client.drain().to_string();
    let given = said.split("EVENT bound ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let address = given.split(['=', ' ']).nth(1).unwrap_or_default().to_string();
    assert_eq!(
        given,
        format!(
            "ip={address} mask=24 router=192.168.77.1 dns=192.168.77.1 9.9.9.9 domain=lab.example lease=600 \
             serverid=192.168.77.1."
        )
    );
    let lease = site.lease(MAC).expect("an acknowledged lease is in the database");
    assert_eq!((&lease.address, lease.active), (&address, true));
    // The store rounds up to a whole second.
    assert!((590..=601).contains(&lease.remaining()), "{} s of {lease:?}", lease.remaining());

    // The client renews it. After some time, the renewal moves the lease's end.
    until(|| lease.remaining() < 598, "two seconds of the lease pass");
    kill(client.pid(), Signal::SIGUSR1).unwrap();
    expect(&mut client, &mut server, &format!("EVENT renew ip={address} "));
    let renewed = site.lease(MAC).expect("a renewed lease is in the database");
    assert_eq!(renewed.address, address);
    assert!(renewed.until > lease.until, "renewed {renewed:?}, before {lease:?}");

    // The client releases it. A RELEASE has no reply (RFC 2131 §4.4.6), so the test polls the database.
    kill(client.pid(), Signal::SIGUSR2).unwrap();
    expect(&mut client, &mut server, "entering released state");
    until(|| site.lease(MAC).is_none_or(|lease| !lease.active), "the released lease is over");
}

/// Starts udhcpc on a host and waits for its first lease.
fn udhcpc(host: &Namespace) -> Running {
    let mut command = host.command("udhcpc");
    command.args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-T", "3", "-s", "/bin/true"]);
    Running::spawn(command).unwrap()
}

#[test]
fn rfc2131_2_2_arp_finds_a_used_address_while_others_are_served() {
    let _alone = one_at_a_time();
    if !ready("clients rfc2131_2_2_an_address_that_somebody_uses_is_found_by_arp", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(
        "dhcp: {mode: server, conflict_check: 2s, \
         subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]}",
    );
    let mut server = site.serve(&config);
    let old = site.network.host(MAC).unwrap();
    expect(&mut udhcpc(&old), &mut server, "lease of 192.168.77.50 obtained");
    let squatter = site.network.host("52:54:00:77:00:99").unwrap();
    squatter.ip("addr add 192.168.77.51/24 dev eth0").unwrap();
    let new = site.network.host("52:54:00:77:00:03").unwrap();
    let mut new = udhcpc(&new);
    let conflict = "conflict(br0) 192.168.77.51 is used by 52:54:00:77:00:99; it is not offered for a while";
    assert!(server.wait_for(conflict, LIMIT), "{}", server.drain());
    // The server checks the next address for two seconds now. A client with an earlier lease need not wait for that.
    let began = Instant::now();
    expect(&mut udhcpc(&old), &mut server, "lease of 192.168.77.50 obtained");
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    expect(&mut new, &mut server, "lease of 192.168.77.52 obtained");
}

#[test]
fn ping_finds_a_used_address_behind_a_relay_agent() {
    if !ready("clients an_address_that_somebody_uses_behind_a_relay_agent", &[NETWORK, UDHCPC, RELAY]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24}, \
         {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.60}]}",
    );
    let (_relay, far) = site.behind_a_relay_agent("192.168.77.254/24", "10.1.0.1/24");
    let mut server = site.serve(&config);
    let squatter = far.host("52:54:00:77:00:99").unwrap();
    squatter.ip("addr add 10.1.0.50/24 dev eth0").unwrap();
    squatter.ip("route add default via 10.1.0.1").unwrap();
    let client = far.host(MAC).unwrap();
    expect(&mut udhcpc(&client), &mut server, "lease of 10.1.0.51 obtained");
    assert!(server.wait_for("10.1.0.50 is used by ", LIMIT), "{}", server.drain());
}

/// Starts udhcpc with this client identifier (option 61). It configures the address that it gets.
fn with_id(site: &Site, host: &Namespace, id: &str) -> Running {
    let script = site.folder.path().join("udhcpc.sh");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = host.command("udhcpc");
    command
        .args(["-f", "-i", "eth0", "-t", "10", "-T", "3", "-C", "-x", &format!("0x3d:{id}"), "-s"])
        .arg(script);
    Running::spawn(command).unwrap()
}

#[test]
fn r_04_copies_of_a_system_get_addresses_of_their_own() {
    if !ready("clients r_04_copies_of_a_system_get_addresses_of_their_own", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]}",
    );
    let mut server = site.serve(&config);
    let id = "ff12345678000200002ab11122334455667788";
    let host = |n: u8| site.network.host(&format!("52:54:00:77:04:{n:02x}")).unwrap();
    let (first, second) = (host(1), host(2));
    let mut original = with_id(&site, &first, id);
    expect(&mut original, &mut server, "EVENT bound ip=192.168.77.50 ");
    // The first client answers at its address, so the second is another machine.
    let mut copy = with_id(&site, &second, id);
    expect(&mut copy, &mut server, "EVENT bound ip=192.168.77.51 ");
    assert!(server.wait_for("duplicate_client_id(br0) ", LIMIT), "{}", server.drain());

    // The network card of a machine is replaced: the old MAC no longer answers, and the new one gets the address.
    let other_id = "ff12345678000200002ab1ffffffffffffffff";
    let old_card = host(3);
    let mut machine = with_id(&site, &old_card, other_id);
    expect(&mut machine, &mut server, "EVENT bound ip=192.168.77.52 ");
    drop(machine);
    drop(old_card);
    let new_card = host(4);
    let mut machine = with_id(&site, &new_card, other_id);
    expect(&mut machine, &mut server, "EVENT bound ip=192.168.77.52 ");
}

/// Waits for a line of the client. A failure shows the output of both sides.
fn expect(client: &mut Running, server: &mut Running, wanted: &str) {
    let seen = client.wait_for(wanted, LIMIT);
    assert!(seen, "no {wanted:?}; the client:\n{}\nthe server:\n{}", client.drain(), server.drain());
}
