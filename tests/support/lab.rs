//! A folder with a configuration and boot files, the real binary that serves them on loopback, and clients.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lanboot::probe::{Input, Kind, Machine, Ports, Progress, Step, Transmit};
use lanboot::types::{MacAddr, Timestamp};
use nix::sys::signal::Signal;

use crate::LANBOOT;

/// Longest wait for any event before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Boot files of the lab, and their sizes.
pub const FILES: [(&str, usize); 3] =
    [("undionly.kpxe", 70_000), ("snponly.efi", 1 << 20), ("boot.ipxe", 66)];

/// Bytes that differ from file to file, with the first bytes of a file of that kind.
pub fn content(name: &str) -> Vec<u8> {
    let (_, size) = FILES.iter().find(|(file, _)| *file == name).expect("a file of the lab");
    let mut bytes: Vec<u8> = (0..*size).map(|i| (i * 31 + i / 251 + name.len()) as u8).collect();
    let head = match name.split_once('.') {
        Some((_, "ipxe")) => b"#!ipxe\n".to_vec(),
        Some((_, "efi")) => ipxe_head(0x8664),
        _ => b"\xea\x05\0\xc0\x07 PXENV+ ".to_vec(),
    };
    bytes[..head.len()].copy_from_slice(&head);
    bytes
}

/// The first bytes of an EFI application for this machine type.
pub fn efi_head(machine: u16) -> Vec<u8> {
    let mut head = vec![0; 256];
    head[..2].copy_from_slice(b"MZ");
    head[0x3c] = 0x40;
    head[0x40..0x44].copy_from_slice(b"PE\0\0");
    head[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
    head[0x44 + 20 + 68] = 10;
    head
}

/// The first bytes of an iPXE for UEFI, whose data follows at once: 77, 4, `iPXE` of the DHCP options that it sends.
pub fn ipxe_head(machine: u16) -> Vec<u8> {
    let mut head = efi_head(machine);
    // One section after an optional header of 0x80 bytes: its name, its size, and its position.
    (head[0x46], head[0x54]) = (1, 0x80);
    head[0xd8..0xdd].copy_from_slice(b".data");
    (head[0xe8], head[0xed]) = (0x10, 1);
    head.extend(b"\x4d\x04iPXE\0\0\0\0\0\0\0\0\0\0");
    head
}

/// A configuration, its boot files and its state. Deleted on drop.
pub struct Lab {
    pub folder: tempfile::TempDir,
    pub ports: Ports,
    pub client_port: u16,
    /// The TCP port of HTTP.
    pub http: u16,
}

impl Lab {
    pub fn new() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("boot-images")).unwrap();
        for (name, _) in FILES {
            fs::write(folder.path().join("boot-images").join(name), content(name)).unwrap();
        }
        let [dhcp, tftp, client_port] = free_ports();
        let ports = Ports { dhcp, tftp, ..Ports::default() };
        let lab = Lab { folder, ports, client_port, http: free_tcp_port() };
        lab.write_config(&lab.config());
        lab
    }

    /// The text of config.yaml.
    pub fn config(&self) -> String {
        format!(
            "interfaces: [lo]
state: state
dhcp:
  mode: server
  ports: {{server: {}, client: {}}}
  subnets:
    - {{network: 127.0.0.0/8, pool: 127.77.0.50-127.77.255.99, lease: 10m}}
boot:
  arch: {{bios: undionly.kpxe, uefi-x64: snponly.efi}}
  ipxe: boot.ipxe
tftp: {{port: {}}}
http: {{port: {}}}
web: off
",
            self.ports.dhcp, self.client_port, self.ports.tftp, self.http
        )
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.path().join("config.yaml")
    }

    pub fn write_config(&self, text: &str) {
        fs::write(self.config_file(), text).unwrap();
    }

    /// Runs `lanboot` with these arguments and this lab's configuration until it exits.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = lanboot(arguments);
        // The computer that runs the tests has neither the lab's interfaces nor its ports.
        if arguments.first() == Some(&"check") {
            command.arg("--file-only");
        }
        command.arg("--config").arg(self.config_file()).output().unwrap()
    }

    /// Starts the server and waits until it is ready. The arguments come after `--config`.
    pub fn serve(&self, arguments: &[&str]) -> Serving {
        let serving = self.serve_silently(arguments);
        serving.wait_for("TFTP on ");
        serving
    }

    /// Starts the server without waiting until it is ready, which some arguments keep it from logging.
    pub fn serve_silently(&self, arguments: &[&str]) -> Serving {
        let mut command = lanboot(&[]);
        command.arg("--config").arg(self.config_file()).args(arguments);
        Serving::start(command)
    }

    /// Starts the server with these environment variables and waits until it is ready.
    pub fn serve_with(&self, variables: &[(&str, &Path)]) -> Serving {
        let mut command = lanboot(&[]);
        command.arg("--config").arg(self.config_file()).arg("serve").envs(variables.iter().copied());
        let serving = Serving::start(command);
        serving.wait_for("TFTP on ");
        serving
    }

    /// The leases on disk: address, hardware address in hex, state.
    pub fn leases(&self) -> Vec<(String, String, String)> {
        let database = rusqlite::Connection::open(self.path().join("state/leases.db")).unwrap();
        let mut statement = database.prepare("SELECT address, hardware, state FROM lease_list").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }
}

/// The binary, without environment variables of the tests that would change its output.
pub fn lanboot(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*LANBOOT);
    command.args(arguments).stdin(Stdio::null());
    for name in ["JOURNAL_STREAM", "NOTIFY_SOCKET", "RUST_LOG", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command
}

/// Three free UDP ports below the kernel's ephemeral range, so that no other test's socket gets one of them by chance.
pub fn free_ports() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % 1000) as u16 * 12;
    let mut found = Vec::new();
    while found.len() < 3 {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            found.push(port);
        }
    }
    [found[0], found[1], found[2]]
}

/// A TCP port that no program listens on, below the kernel's ephemeral range.
pub fn free_tcp_port() -> u16 {
    loop {
        let [port, ..] = free_ports();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

type Lines = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running server and its log. Killed on drop.
pub struct Serving {
    child: Child,
    lines: Lines,
    reader: Option<JoinHandle<()>>,
}

impl Serving {
    /// Runs `command`, which becomes the server.
    pub fn start(mut command: Command) -> Serving {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = Lines::default();
        let (into, mut child_errors) = (Arc::clone(&lines), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                into.0.lock().unwrap().push(line);
                into.1.notify_all();
            }
            let mut errors = String::new();
            let _ = child_errors.read_to_string(&mut errors);
            into.0.lock().unwrap().extend(errors.lines().map(str::to_owned));
        });
        Serving { child, lines, reader: Some(reader) }
    }

    /// The first line that contains `text`. Waits for it if necessary.
    pub fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in the log:\n{}", lines.join("\n"));
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Length of the log so far, in bytes.
    pub fn log_bytes(&self) -> usize {
        self.lines.0.lock().unwrap().iter().map(|line| line.len() + 1).sum()
    }

    /// Number of lines so far that contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.lines.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the server at once, as a power cut would.
    pub fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the server to stop. Returns its exit status and its complete log.
    pub fn terminate(self) -> (ExitStatus, Vec<String>) {
        self.ask_to_stop();
        self.ended()
    }

    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits until the server exits. Returns its exit status and its complete log.
    pub fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not stop after SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        };
        self.reader.take().unwrap().join().unwrap();
        let lines = self.lines.0.lock().unwrap().clone();
        (status, lines)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The result of a boot over real sockets.
#[derive(Default)]
pub struct Boot {
    pub address: Option<Ipv4Addr>,
    pub content: Vec<u8>,
    pub last: Option<Progress>,
}

/// Boots a client of this kind with MAC 02:00:00:00:00:n from the lab's server, up to its last block or its failure.
pub fn boot(ports: Ports, kind: Kind, n: u8) -> Boot {
    run(ports, kind, n, |_| false)
}

/// Boots client `n` until it has read the server's first answer.
pub fn ask(ports: Ports, kind: Kind, n: u8) {
    run(ports, kind, n, |progress| matches!(progress, Progress::Offered(_) | Progress::Ignored { .. }));
}

/// The address that client `n` gets: DISCOVER, OFFER, REQUEST, ACK, and no other message.
pub fn lease(ports: Ports, n: u8) -> Ipv4Addr {
    let boot = run(ports, Kind::UefiX64, n, |progress| matches!(progress, Progress::Acknowledged(_)));
    boot.address.unwrap_or_else(|| panic!("client {n} got no address: {:?}", boot.last))
}

fn run(ports: Ports, kind: Kind, n: u8, is_enough: impl Fn(&Progress) -> bool) -> Boot {
    let dhcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut tftp: Option<UdpSocket> = None;
    let seed = u64::from(dhcp.local_addr().unwrap().port());
    let mut machine = Machine::new(kind.profile(), MacAddr([2, 0, 0, 0, 0, n]), ports, seed);
    let began = Instant::now();
    let now = || Timestamp(began.elapsed().as_millis().try_into().unwrap());
    let mut datagram = vec![0; 65536];
    let mut boot = Boot::default();
    let mut step = machine.start(now());
    loop {
        boot.content.extend_from_slice(step.received.unwrap_or_default());
        for progress in std::mem::take(&mut step.progress) {
            if let Progress::Acknowledged(offer) | Progress::BootpReplied(offer) = &progress {
                boot.address = Some(offer.address);
            }
            let enough = is_enough(&progress);
            boot.last = Some(progress);
            if enough {
                return boot;
            }
        }
        send(&step, &dhcp, &mut tftp, ports, boot.address);
        let Some(until) = step.wait_until else { return boot };
        let socket = tftp.as_ref().unwrap_or(&dhcp);
        socket.set_read_timeout(Some(until.since(now()) + Duration::from_millis(1))).unwrap();
        let input = match socket.recv_from(&mut datagram) {
            Ok((len, SocketAddr::V4(from))) if tftp.is_some() => Input::Tftp(&datagram[..len], from),
            Ok((len, SocketAddr::V4(from))) => Input::Dhcp(&datagram[..len], from),
            _ => Input::Timeout,
        };
        step = machine.handle(input, now());
    }
}

fn send(
    step: &Step<'_>,
    dhcp: &UdpSocket,
    tftp: &mut Option<UdpSocket>,
    ports: Ports,
    address: Option<Ipv4Addr>,
) {
    for transmit in &step.send {
        let (socket, to, payload) = match transmit {
            Transmit::Dhcp(payload) => (dhcp, SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.dhcp), payload),
            Transmit::TftpOpen { to, payload } => {
                let socket = UdpSocket::bind((address.expect("an ACK comes before TFTP"), 0)).unwrap();
                (&*tftp.insert(socket), *to, payload)
            }
            Transmit::Tftp { to, payload } => (tftp.as_ref().expect("an open transfer"), *to, payload),
            other => panic!("not expected of this lab: {other:?}"),
        };
        socket.send_to(payload, to).unwrap();
    }
}

/// The standard output, the standard error and the exit code of a run.
pub fn printed(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("it ended by itself"))
}
