//! What the demo serves: a temporary folder with boot files of its own making, and the configuration for it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::probe::Ports;

/// The configuration, with `@NAMES@` for what differs from run to run.
const CONFIG: &str = include_str!("config.yaml.in");

/// Boot files that are only bytes, and how many. Clients do not run them; they only load them.
const LOADERS: [(&str, usize); 3] =
    [("undionly.kpxe", 300 * 1024), ("snponly.efi", 1024 * 1024), ("grubnetaa64.efi", 640 * 1024 + 7)];

/// The script of iPXE.
const SCRIPT: &str = "#!ipxe\necho lanboot demo: this machine would boot from here\nshell\n";

/// A folder that is deleted on drop, and the ports to serve it on.
pub(super) struct Folder {
    root: TempDir,
    /// The ports of the server.
    pub(super) ports: Ports,
    /// What stands in for the clients' port 68: nobody listens there, because on loopback the server answers to the
    /// port that asked.
    client_port: u16,
}

impl Folder {
    /// Writes the boot files and looks for free ports.
    ///
    /// # Errors
    /// The folder cannot be written, or loopback has no free UDP port.
    pub(super) fn new() -> io::Result<Folder> {
        let root = tempfile::Builder::new().prefix("lanboot-demo-").tempdir()?;
        fs::create_dir(root.path().join("boot-images"))?;
        fs::create_dir(root.path().join("state"))?;
        let [dhcp, tftp, client_port] = free_ports()?;
        let folder = Folder { root, ports: Ports { dhcp, tftp, ..Ports::default() }, client_port };
        for (name, size) in LOADERS {
            fs::write(folder.images().join(name), bytes(name, size))?;
        }
        fs::write(folder.images().join("boot.ipxe"), SCRIPT)?;
        Ok(folder)
    }

    /// Where the boot files are.
    pub(super) fn images(&self) -> PathBuf {
        self.root.path().join("boot-images")
    }

    /// The text of config.yaml.
    pub(super) fn config(&self) -> String {
        CONFIG
            .replace("@STATE@", &quoted(&self.root.path().join("state")))
            .replace("@IMAGES@", &quoted(&self.images()))
            .replace("@DHCP_PORT@", &self.ports.dhcp.to_string())
            .replace("@CLIENT_PORT@", &self.client_port.to_string())
            .replace("@TFTP_PORT@", &self.ports.tftp.to_string())
    }

    /// The SHA-256 of a boot file as it is on disk.
    ///
    /// # Errors
    /// There is no such file.
    pub(super) fn digest(&self, name: &str) -> io::Result<[u8; 32]> {
        Ok(Sha256::digest(fs::read(self.images().join(name))?).into())
    }
}

/// Three different UDP ports that are free on loopback now. Another program may take one before the server does;
/// then the demo says so and can be run again.
fn free_ports() -> io::Result<[u16; 3]> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    let [a, b, c] = &held;
    Ok([a.local_addr()?.port(), b.local_addr()?.port(), c.local_addr()?.port()])
}

/// `size` bytes that look random, differ from file to file and are the same in every run (xorshift).
fn bytes(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(0x9e37_79b9_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    let mut content = Vec::with_capacity(size + 4);
    while content.len() < size {
        content.extend_from_slice(&next());
    }
    content.truncate(size);
    content
}

/// A path as a YAML string.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}
