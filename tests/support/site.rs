//! Shared code of the tests with real machines: the rule for skipping, a server on a private network, its database.
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanboot::cli::demo::network::{self, Namespace, Need, Network, Running};
use tempfile::TempDir;

use crate::LANBOOT;

/// The address of the server on its private network.
pub const SERVER: &str = "192.168.77.1";

/// Whether test `test` can run: it needs root and the programs in `needs`. If it cannot run, a message goes directly to
/// stderr, because the test harness would hide it. With CI=true the test fails instead, so that no check is lost
/// unnoticed.
pub fn ready(test: &str, needs: &[&[Need]]) -> bool {
    allowed(test, network::obstacles(&needs.concat(), "-E env PATH=\"$PATH\" tests/run"))
}

/// The same as [`ready`], for a test that needs programs but not root.
pub fn ready_without_root(test: &str, needs: &[&[Need]]) -> bool {
    allowed(test, network::missing(&needs.concat()))
}

fn allowed(test: &str, obstacles: Vec<String>) -> bool {
    if obstacles.is_empty() {
        return true;
    }
    let why = obstacles.join("; ");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run and CI=true: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    false
}

/// Polls `is_so` until it is true, for at most one minute.
pub fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "in a minute it did not come true that {what}");
        sleep(Duration::from_millis(50));
    }
}

/// Presses a key on the machine's keyboard, and waits, because the next key would be lost.
pub fn press(monitor: &mut UnixStream, key: &str) {
    writeln!(monitor, "sendkey {key}").unwrap();
    sleep(Duration::from_millis(500));
}

/// A private network and a folder with config.yaml and boot-images/. The fields are dropped in this order.
pub struct Site {
    pub network: Network,
    pub folder: TempDir,
}

impl Site {
    /// A network on which the server has the address [`SERVER`], with `files` in boot-images/.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::Builder::new().prefix("lanboot-test-").tempdir().unwrap();
        fs::create_dir(folder.path().join("boot-images")).unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join("boot-images").join(name), bytes).unwrap();
        }
        Self { network: Network::new(&format!("{SERVER}/24")).unwrap(), folder }
    }

    /// Writes config.yaml: the interface, the folders, and then `rest`. Metrics and HTTP are off unless `rest` sets
    /// them.
    pub fn configure(&self, rest: &str) -> PathBuf {
        let path = self.folder.path();
        let http = if rest.contains("http: {") { "" } else { "http: off\n" };
        let text = format!(
            "interfaces: [{}]\nstate: {}\nimages: {}\nmetrics: off\n{http}{rest}\n",
            network::BRIDGE,
            path.join("state").display(),
            path.join("boot-images").display(),
        );
        let file = path.join("config.yaml");
        fs::write(&file, text).unwrap();
        file
    }

    /// Another network, `far` (as `10.1.0.1/24`), behind a router. The router has the address `near` on this network
    /// and is also a DHCP relay agent (ISC dhcrelay, which adds option 82). Drop the relay agent first.
    pub fn behind_a_relay_agent(&self, near: &str, far: &str) -> (Running, Network) {
        let network = Network::new(far).unwrap();
        let (here, there) = (self.network.namespace(), network.namespace());
        here.ip(&format!("link add relay0 type veth peer name up0 netns {}", there.name())).unwrap();
        // dhcrelay reads raw packets and would see UDP packets whose checksums are not computed yet.
        network::run(here.command("ethtool").args(["-K", "relay0", "tx", "off"])).unwrap();
        network::run(there.command("ethtool").args(["-K", "up0", "tx", "off"])).unwrap();
        here.ip(&format!("link set relay0 master {} up", network::BRIDGE)).unwrap();
        there.ip(&format!("addr add {near} dev up0")).unwrap();
        there.ip("link set up0 up").unwrap();
        network::run(there.command("sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"])).unwrap();
        let (router, _) = near.split_once('/').unwrap();
        let (gateway, length) = far.split_once('/').unwrap();
        let all = Ipv4Addr::from(u32::from(gateway.parse::<Ipv4Addr>().unwrap()) & !0xff);
        here.ip(&format!("route add {all}/{length} via {router}")).unwrap();
        let mut relay = there.command("dhcrelay");
        relay.args(["-4", "-d", "-a", "--no-pid", "-id", network::BRIDGE, "-iu", "up0", SERVER]);
        let mut relay = Running::spawn(relay).unwrap();
        assert!(relay.wait_for("Sending on   Socket", Duration::from_secs(60)), "{}", relay.drain());
        (relay, network)
    }

    /// Starts `lanboot serve` and waits until it is ready.
    pub fn serve(&self, config: &Path) -> Running {
        network::serve(&self.network, &[OsStr::new(&*LANBOOT)], config).unwrap()
    }

    /// A host with an address, for another DHCP server.
    pub fn other_computer(&self) -> Namespace {
        let other = self.network.host("52:54:00:77:00:fe").unwrap();
        other.ip("addr add 192.168.77.254/24 dev eth0").unwrap();
        other.ip("addr add fd77::1/64 dev eth0 nodad").unwrap();
        other
    }

    /// The lease in the database for a hardware address such as `52:54:00:77:00:01`.
    pub fn lease(&self, mac: &str) -> Option<Lease> {
        let wanted: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let database = rusqlite::Connection::open(self.folder.path().join("state/leases.db")).unwrap();
        let mut query = database.prepare("SELECT address, hardware, state, until FROM leases").unwrap();
        let rows = query.query_map([], |row| {
            let lease = Lease {
                address: Ipv4Addr::from(row.get::<_, u32>(0)?).to_string(),
                active: row.get::<_, u32>(2)? == 0,
                until: row.get(3)?,
            };
            Ok((row.get::<_, Vec<u8>>(1)?, lease))
        });
        // The hardware column may have the hardware type before the address.
        let mut found = rows.unwrap().map(Result::unwrap).filter(|(hardware, _)| hardware.ends_with(&wanted));
        found.next().map(|(_, lease)| lease)
    }
}

/// Requirements of a relay agent.
pub const RELAY: &[Need] =
    &[Need { what: "dhcrelay", package: "isc-dhcp-relay" }, Need { what: "sysctl", package: "procps" }];

/// Requirements of [`arm64_machine`], and a GRUB that it loads.
pub const AAVMF: &[Need] = &[
    Need { what: "qemu-system-aarch64", package: "qemu-system-arm" },
    Need { what: AAVMF_CODE, package: "qemu-efi-aarch64" },
    Need { what: AAVMF_VARS, package: "qemu-efi-aarch64" },
    Need { what: GRUB_ARM64, package: "grub-efi-arm64-signed:arm64 (which tests/run unpacks)" },
];

const AAVMF_CODE: &str = "/usr/share/AAVMF/AAVMF_CODE.fd";
const AAVMF_VARS: &str = "/usr/share/AAVMF/AAVMF_VARS.fd";

/// GRUB for network boot of arm64, as tests/run stores it.
pub const GRUB_ARM64: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/firmware/grubnetaa64.efi");

/// Switches on an arm64 machine with UEFI (AAVMF) and no disk on `network`: client architecture 11.
pub fn arm64_machine(network: &Network, mac: &str, dir: &Path) -> Running {
    let tap = network.tap().unwrap();
    let vars = dir.join(format!("vars-{tap}.fd"));
    fs::copy(AAVMF_VARS, &vars).unwrap();
    let mut qemu = network.namespace().command("qemu-system-aarch64");
    qemu.args(["-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.args(["-M", "virt", "-cpu", "cortex-a57", "-m", "512"]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={AAVMF_CODE}")]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", vars.display())]);
    qemu.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
    // An empty romfile makes the machine use the firmware's own network driver.
    qemu.args(["-device", &format!("virtio-net-pci,netdev=lan,mac={mac},bootindex=0,romfile=")]);
    qemu.args(["-device", "virtio-rng-pci"]);
    Running::spawn(qemu).unwrap()
}

/// Requirements of [`dnsmasq`].
pub const DNSMASQ: &[Need] = &[Need { what: "dnsmasq", package: "dnsmasq-base" }];

/// Starts dnsmasq with addresses from .100 to .199 and no boot files, and waits until it listens.
pub fn dnsmasq(host: &Namespace, more: &[&str]) -> Running {
    let mut command = host.command("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--no-ping"]);
    command.args(["--dhcp-range=192.168.77.100,192.168.77.199,10m", "--log-facility=-", "--leasefile-ro"]);
    // Without a file for the process id, several can start at the same time.
    command.args(["--dhcp-authoritative", "--pid-file="]).args(more);
    let mut running = Running::spawn(command).unwrap();
    assert!(running.wait_for("DHCP, IP range", Duration::from_secs(60)), "{}", running.drain());
    running
}

/// Runs an IPv6 router on the network of `host`. Without one iPXE waits 15 s at each boot.
pub fn router(host: &Namespace) -> Running {
    host.ip(&format!("addr add fd77::1/64 dev {} nodad", network::BRIDGE)).unwrap();
    let mut router = host.command("dnsmasq");
    router.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]);
    router.args(ROUTER).args(["--log-facility=-", "--leasefile-ro", "--pid-file="]);
    Running::spawn(router).unwrap()
}

/// Gives `host` a second network, 10.1.0.0/24, to which it passes packets on. Returns a machine there, at 10.1.0.2.
pub fn machine_behind(host: &Namespace) -> Namespace {
    let far = Namespace::new().unwrap();
    host.ip(&format!("link add lan type veth peer name eth0 netns {}", far.name)).unwrap();
    host.ip("addr add 10.1.0.1/24 dev lan").unwrap();
    host.ip("link set lan up").unwrap();
    far.ip("addr add 10.1.0.2/24 dev eth0").unwrap();
    far.ip("link set eth0 up").unwrap();
    far.ip("route add default via 10.1.0.1").unwrap();
    network::run(host.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"])).unwrap();
    far
}

/// Arguments that make dnsmasq such a router.
pub const ROUTER: [&str; 2] = ["--enable-ra", "--dhcp-range=fd77::,ra-only"];

/// A row of the lease table, src/store/sqlite.rs.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: String,
    /// Leased, and neither released nor declined.
    pub active: bool,
    /// Seconds since 1970.
    pub until: i64,
}

impl Lease {
    /// Seconds from now to the end of the lease. Negative if it has ended.
    pub fn remaining(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.until - i64::try_from(now).unwrap()
    }
}
