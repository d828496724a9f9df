//! A private network on this machine, with real programs and real firmware on it.
//!
//! [`Network`] is a network namespace with a bridge; [`Network::host`] plugs another namespace into the bridge;
//! [`machine`] starts QEMU on a tap of the bridge; [`serve`] runs `lanboot serve` in the network's namespace. All of
//! it is made with `ip` and ended by `Drop`, so a panic or an early return leaves nothing behind. `demo --vm` and the
//! tests that need real machines share this file.
//!
//! Needs root: namespaces, bridges and taps are the kernel's.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

pub use super::needs::{NETWORK, Need, OVMF, SEABIOS, SNPONLY, missing, obstacles, present};
use super::needs::{OVMF_CODE, OVMF_VARS};

/// The bridge's name inside the network's namespace: the interface that the server is to serve.
pub const BRIDGE: &str = "br0";

/// How long a server may take from its start to `READY=1`.
const READY_WAIT: Duration = Duration::from_secs(20);

/// A network namespace; deleted on drop, after what ran in it (drop the [`Running`]s first).
#[derive(Debug)]
pub struct Namespace {
    /// Its name, for `ip netns` and `/run/netns`.
    pub name: String,
}

impl Namespace {
    /// Makes `lanboot-PID-N` with its loopback up.
    ///
    /// # Errors
    /// What `ip` printed, when the kernel refuses (no root, no namespaces).
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let name = format!("lanboot-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let made = Self { name };
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// Its name, as `ip netns` has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside: killed when this process dies, however that happens, and out of the
    /// terminal's reach, so that Ctrl-C goes to this process only.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs `ip` inside, with words split at spaces.
    ///
    /// # Errors
    /// What `ip` printed.
    pub fn ip(&self, words: &str) -> io::Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split(' '))).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and a panic in drop would hide the first one.
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// Deletes the namespaces of earlier runs that were killed before their drops.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("lanboot-").and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.filter(|pid| pid.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(owner).exists() {
            let _ = run(Command::new("ip").args(["netns", "del", &name]));
        }
    }
}

/// A switch with an address: the namespace of the server, with the bridge [`BRIDGE`] in it.
#[derive(Debug)]
pub struct Network {
    namespace: Namespace,
    ports: AtomicU32,
}

impl Network {
    /// Makes the namespace and the bridge, which gets `address` (as `192.168.77.1/24`).
    ///
    /// # Errors
    /// What `ip` printed.
    pub fn new(address: &str) -> io::Result<Self> {
        let namespace = Namespace::new()?;
        // Without spanning tree and forward delay the first DISCOVER of a fast client is not lost.
        namespace.ip(&format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0"))?;
        namespace.ip(&format!("addr add {address} dev {BRIDGE}"))?;
        namespace.ip(&format!("link set {BRIDGE} up"))?;
        Ok(Self { namespace, ports: AtomicU32::new(0) })
    }

    /// The namespace that has the bridge.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Another host on this network: a namespace whose `eth0`, with the hardware address `mac`, is plugged into
    /// the bridge, without an IP address.
    ///
    /// # Errors
    /// What `ip` or `ethtool` printed.
    pub fn host(&self, mac: &str) -> io::Result<Namespace> {
        let host = Namespace::new()?;
        let port = self.port("veth");
        let name = &host.name;
        self.namespace.ip(&format!("link add {port} type veth peer name eth0 address {mac} netns {name}"))?;
        // With transmit offload a raw-socket client sees UDP checksums that nobody has filled in yet.
        run(host.command("ethtool").args(["-K", "eth0", "tx", "off"]))?;
        run(self.namespace.command("ethtool").args(["-K", &port, "tx", "off"]))?;
        self.plug(&port)?;
        host.ip("link set eth0 up")?;
        Ok(host)
    }

    /// A new tap interface on the bridge, for QEMU; its name.
    ///
    /// # Errors
    /// What `ip` printed.
    pub fn tap(&self) -> io::Result<String> {
        let port = self.port("tap");
        self.namespace.ip(&format!("tuntap add {port} mode tap"))?;
        self.plug(&port)?;
        Ok(port)
    }

    fn port(&self, kind: &str) -> String {
        format!("{kind}{}", self.ports.fetch_add(1, Ordering::Relaxed))
    }

    fn plug(&self, port: &str) -> io::Result<()> {
        self.namespace.ip(&format!("link set {port} master {BRIDGE}"))?;
        self.namespace.ip(&format!("link set {port} up"))
    }
}

/// The firmware of a [`machine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS with QEMU's iPXE in the network card's ROM: client architecture 0, user class iPXE from the start.
    SeaBios,
    /// UEFI x64 (OVMF) with its own network driver and PXE stack: client architecture 7.
    Ovmf,
    /// The same with PXE switched off in its settings, so that it tries HTTP boot: client architecture 16.
    OvmfHttp,
}

/// Switches on a QEMU machine without a disk on `network`. Its console is the [`Running`]'s output; the UEFI variable
/// store is written to `dir`. Emulated, not KVM: the same everywhere, and fast enough for firmware.
///
/// # Errors
/// What `ip` printed; a copy of the variable store that failed; QEMU that could not be started.
pub fn machine(network: &Network, firmware: Firmware, mac: &str, dir: &Path) -> io::Result<Running> {
    machine_with(network, firmware, mac, dir, &[])
}

/// As [`machine`], with further arguments for QEMU.
///
/// # Errors
/// Those of [`machine`].
pub fn machine_with(
    network: &Network,
    firmware: Firmware,
    mac: &str,
    dir: &Path,
    arguments: &[&str],
) -> io::Result<Running> {
    let tap = network.tap()?;
    let mut qemu = network.namespace().command("qemu-system-x86_64");
    qemu.args(arguments);
    qemu.args(["-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
    let card = format!("virtio-net-pci,netdev=lan,mac={mac},bootindex=0");
    match firmware {
        Firmware::SeaBios => {
            qemu.args(["-M", "pc,graphics=off", "-m", "256", "-device", &card]);
        }
        Firmware::Ovmf | Firmware::OvmfHttp => {
            let vars = dir.join(format!("vars-{tap}.fd"));
            fs::copy(OVMF_VARS, &vars)?;
            let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}");
            let vars = format!("if=pflash,format=raw,unit=1,file={}", vars.display());
            qemu.args(["-M", "q35", "-m", "512", "-drive", &code, "-drive", &vars]);
            // Newer edk2 has no network without a source of randomness; an empty romfile leaves the card to the
            // firmware's own driver.
            qemu.args(["-device", "virtio-rng-pci", "-device", &format!("{card},romfile=")]);
            if firmware == Firmware::OvmfHttp {
                for protocol in ["IPv4", "IPv6"] {
                    qemu.args(["-fw_cfg", &format!("name=opt/org.tianocore/{protocol}PXESupport,string=n")]);
                }
            }
        }
    }
    Running::spawn(qemu)
}

/// Starts `lanboot serve --config CONFIG` in the network's namespace and waits until it says `READY=1`
/// (sd_notify(3)). `program` is the binary and what stands before it, as in `setpriv … lanboot`.
///
/// # Errors
/// When the server ends or is not ready in 20 s; the error has what it printed.
pub fn serve(network: &Network, program: &[&OsStr], config: &Path) -> io::Result<Running> {
    let (Some((first, rest)), Some(dir)) = (program.split_first(), config.parent()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no server program, or no folder for it"));
    };
    let path = dir.join("notify.sock");
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path)?;
    // Whoever the server runs as must be able to say that it is ready.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut command = network.namespace().command(first);
    command.args(rest).arg("serve").arg("--config").arg(config).env("NOTIFY_SOCKET", &path);
    let mut server = Running::spawn(command)?;
    let until = Instant::now() + READY_WAIT;
    let mut message = [0; 1024];
    loop {
        let said =
            socket.recv(&mut message).ok().and_then(|length| message.get(..length)).unwrap_or_default();
        if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(server);
        }
        if server.ended().is_some() || Instant::now() > until {
            let what = format!("the server did not become ready; it printed:\n{}", server.drain());
            return Err(io::Error::other(what));
        }
    }
}

/// A program in the background, with everything that it prints; killed on drop.
#[derive(Debug)]
pub struct Running {
    child: Child,
    chunks: Receiver<Vec<u8>>,
    text: String,
}

/// What [`Running::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// New output.
    Text(String),
    /// Nothing within the time given.
    Quiet,
    /// The program has closed its output.
    Closed,
}

impl Running {
    /// Starts `command` with its output and its errors in one stream, in the order in which they were printed.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let (mut reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // The command holds the pipe's writing ends: without this the reader would never see the end.
        drop(command);
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer.get(..length).unwrap_or_default().to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, chunks, text: String::new() })
    }

    /// The next piece of output, waited for at most `limit`.
    pub fn next(&mut self, limit: Duration) -> Next {
        match self.chunks.recv_timeout(limit) {
            Ok(chunk) => {
                let text = String::from_utf8_lossy(&chunk).into_owned();
                self.text.push_str(&text);
                Next::Text(text)
            }
            Err(RecvTimeoutError::Timeout) => Next::Quiet,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    /// Waits until the output so far contains `wanted`: false when `limit` passes or the program ends first.
    pub fn wait_for(&mut self, wanted: &str, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while !self.text.contains(wanted) {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Next::Text(_) => {}
                Next::Quiet | Next::Closed => return self.text.contains(wanted),
            }
        }
        true
    }

    /// All that the program has printed and that was received so far.
    pub fn drain(&mut self) -> &str {
        while let Next::Text(_) = self.next(Duration::from_millis(10)) {}
        &self.text
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The process, for signals.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end; an error has the command and what it printed.
///
/// # Errors
/// When the program cannot be started or ends with another status than 0.
pub fn run(command: &mut Command) -> io::Result<Output> {
    let what = format!("{command:?}").replace('"', "");
    let output =
        command.output().map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{what}: {}: {}", output.status, said.trim())))
}
