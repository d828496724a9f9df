//! A private network on this computer, with real programs and real firmware in it.
//!
//! [`Network`] is a network namespace with a bridge. [`Network::host`] connects another namespace to the bridge,
//! [`machine`] starts QEMU on a tap of the bridge, and [`serve`] runs `lanboot serve` in the network's namespace.
//! Everything is created with `ip` and removed on drop, so a panic or an early return leaves nothing behind. `demo
//! --vm` and the tests that need real machines use this file.
//!
//! It needs root, because only root can create namespaces, bridges and taps.

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

use super::escape::Escape;
pub use super::needs::{NETWORK, Need, OVMF, SEABIOS, SNPONLY, missing, obstacles, present};
use super::needs::{OVMF_CODE, OVMF_VARS};

/// Name of the bridge in the network's namespace: the interface for the server.
pub const BRIDGE: &str = "br0";

/// Maximum time from the start of a server to `READY=1`.
const READY_WAIT: Duration = Duration::from_secs(20);

/// A network namespace, deleted on drop. Drop the [`Running`] programs in it first.
#[derive(Debug)]
pub struct Namespace {
    /// Name for `ip netns` and in `/run/netns`.
    pub name: String,
}

impl Namespace {
    /// Creates `lanboot-PID-N` and brings its loopback up.
    ///
    /// # Errors
    /// The output of `ip`, if the kernel refuses (no root, no namespaces).
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let name = format!("lanboot-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let made = Self { name };
        made.ip("link set lo up")?;
        Ok(made)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command to run in the namespace. It is killed when this process dies, and it has its own process group, so
    /// that Ctrl-C only reaches this process.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs `ip` in the namespace with the space-separated arguments in `words`.
    ///
    /// # Errors
    /// The output of `ip`.
    pub fn ip(&self, words: &str) -> io::Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split(' '))).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failure here cannot be handled, and a panic in drop would hide the original error.
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// Deletes the namespaces of earlier runs that were killed.
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

/// A switch with an IP address: the namespace of the server, with the bridge [`BRIDGE`] in it.
#[derive(Debug)]
pub struct Network {
    namespace: Namespace,
    ports: AtomicU32,
}

impl Network {
    /// Creates the namespace and the bridge with `address`, such as `192.168.77.1/24`.
    ///
    /// # Errors
    /// The output of `ip`.
    pub fn new(address: &str) -> io::Result<Self> {
        let namespace = Namespace::new()?;
        // With spanning tree or a forward delay, the first DISCOVER of a fast client would be lost.
        namespace.ip(&format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0"))?;
        namespace.ip(&format!("addr add {address} dev {BRIDGE}"))?;
        namespace.ip(&format!("link set {BRIDGE} up"))?;
        Ok(Self { namespace, ports: AtomicU32::new(0) })
    }

    /// The namespace that contains the bridge.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Creates another host on this network: a namespace whose `eth0`, with the hardware address `mac`, is connected
    /// to the bridge and has no IP address.
    ///
    /// # Errors
    /// The output of `ip` or `ethtool`.
    pub fn host(&self, mac: &str) -> io::Result<Namespace> {
        let host = Namespace::new()?;
        let port = self.port("veth");
        let name = &host.name;
        self.namespace.ip(&format!("link add {port} type veth peer name eth0 address {mac} netns {name}"))?;
        // With transmit offload, a raw-socket client would see UDP checksums that are not filled in yet.
        run(host.command("ethtool").args(["-K", "eth0", "tx", "off"]))?;
        run(self.namespace.command("ethtool").args(["-K", &port, "tx", "off"]))?;
        self.plug(&port)?;
        host.ip("link set eth0 up")?;
        Ok(host)
    }

    /// Creates a tap interface on the bridge for QEMU and returns its name.
    ///
    /// # Errors
    /// The output of `ip`.
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
    /// SeaBIOS with QEMU's iPXE in the ROM of the network card: client architecture 0, user class iPXE from the
    /// start.
    SeaBios,
    /// UEFI x64 (OVMF) with its own network driver and PXE stack: client architecture 7.
    Ovmf,
    /// OVMF with PXE disabled, so that it tries HTTP boot: client architecture 16.
    OvmfHttp,
}

/// Starts a QEMU machine without a disk on `network`. Its console is the output of the [`Running`], and its UEFI
/// variable store is a file in `dir`. It is emulated without KVM, which works everywhere and is fast enough for
/// firmware.
///
/// # Errors
/// The output of `ip`, a failed copy of the variable store, or a failed start of QEMU.
pub fn machine(network: &Network, firmware: Firmware, mac: &str, dir: &Path) -> io::Result<Running> {
    machine_with(network, firmware, mac, dir, &[])
}

/// Starts a machine like [`machine`], with additional arguments for QEMU.
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
            // Newer edk2 has no network without a source of randomness. With an empty romfile the firmware uses its
            // own driver for the card.
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

/// Starts `lanboot serve --config CONFIG` in the network's namespace and waits until it sends `READY=1`
/// (sd_notify(3)). `program` is the binary and the words before it, as in `setpriv … lanboot`.
///
/// # Errors
/// The server ended or was not ready within 20 s; the error contains its output.
pub fn serve(network: &Network, program: &[&OsStr], config: &Path) -> io::Result<Running> {
    let (Some((first, rest)), Some(dir)) = (program.split_first(), config.parent()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no server program, or no folder for it"));
    };
    let path = dir.join("notify.sock");
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path)?;
    // The server may run as another user, which must be able to send the message.
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

/// A program in the background with all its output. It is killed on drop.
#[derive(Debug)]
pub struct Running {
    child: Child,
    chunks: Receiver<Vec<u8>>,
    text: String,
    /// `text` without escape sequences.
    screen: String,
    escape: Escape,
}

/// Result of [`Running::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// New output.
    Text(String),
    /// No output within the time limit.
    Quiet,
    /// The program has closed its output.
    Closed,
}

impl Running {
    /// Starts `command`, with standard output and standard error in one stream, in the order of printing.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let (mut reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // The command holds the writing ends of the pipe. Unless it is dropped, the reader never sees the end.
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
        Ok(Self { child, chunks, text: String::new(), screen: String::new(), escape: Escape::None })
    }

    /// Waits at most `limit` for the next piece of output.
    pub fn next(&mut self, limit: Duration) -> Next {
        match self.chunks.recv_timeout(limit) {
            Ok(chunk) => {
                let text = String::from_utf8_lossy(&chunk).into_owned();
                self.text.push_str(&text);
                self.screen.extend(text.chars().filter(|character| self.escape.is_text(*character)));
                Next::Text(text)
            }
            Err(RecvTimeoutError::Timeout) => Next::Quiet,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    /// Waits until the output, without escape sequences, contains `wanted`. Returns false if `limit` passes or the
    /// program ends first.
    pub fn wait_for(&mut self, wanted: &str, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while !self.screen.contains(wanted) {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Next::Text(_) => {}
                Next::Quiet | Next::Closed => return self.screen.contains(wanted),
            }
        }
        true
    }

    /// All output received so far.
    pub fn drain(&mut self) -> &str {
        while let Next::Text(_) = self.next(Duration::from_millis(10)) {}
        &self.text
    }

    /// All output received so far, without escape sequences. Boot loaders move the cursor in the middle of a word.
    pub fn screen(&mut self) -> &str {
        self.drain();
        &self.screen
    }

    /// The exit status, if the program has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The process id, for signals.
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

/// Runs `command` to its end. The error contains the command and its output.
///
/// # Errors
/// The program cannot be started, or ends with another status than 0.
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
