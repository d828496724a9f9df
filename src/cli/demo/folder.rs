//! Creates the temporary folder of the demo, with generated boot files and a configuration.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::probe::Ports;

/// The configuration, with placeholders like `@STATE@` for values that differ between runs.
const CONFIG: &str = include_str!("config.yaml.in");

/// Names and sizes of boot files with meaningless content. Clients only load them and do not run them.
const LOADERS: [(&str, usize); 3] =
    [("undionly.kpxe", 300 * 1024), ("snponly.efi", 1024 * 1024), ("grubnetaa64.efi", 640 * 1024 + 7)];

const SCRIPT: &str = "#!ipxe\necho lanboot demo: this machine would boot from here\nshell\n";

/// A temporary folder, which is deleted on drop, and the ports to serve it on.
pub(super) struct Folder {
    root: TempDir,
    /// Ports of the server.
    pub(super) ports: Ports,
    /// Port configured instead of the clients' port 68. Nothing listens there, because on loopback the server answers
    /// to the sender's port.
    client_port: u16,
}

impl Folder {
    /// Creates the boot files and finds free ports.
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

    /// The folder of the boot files.
    pub(super) fn images(&self) -> PathBuf {
        self.root.path().join("boot-images")
    }

    /// The text of `config.yaml`.
    pub(super) fn config(&self) -> String {
        CONFIG
            .replace("@STATE@", &quoted(&self.root.path().join("state")))
            .replace("@IMAGES@", &quoted(&self.images()))
            .replace("@DHCP_PORT@", &self.ports.dhcp.to_string())
            .replace("@CLIENT_PORT@", &self.client_port.to_string())
            .replace("@TFTP_PORT@", &self.ports.tftp.to_string())
    }

    /// SHA-256 of a boot file on disk.
    ///
    /// # Errors
    /// There is no such file.
    pub(super) fn digest(&self, name: &str) -> io::Result<[u8; 32]> {
        Ok(Sha256::digest(fs::read(self.images().join(name))?).into())
    }
}

/// Finds three UDP ports that are free on loopback. If another program takes one before the server does, the demo
/// reports it and can be run again.
fn free_ports() -> io::Result<[u16; 3]> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    let [a, b, c] = &held;
    Ok([a.local_addr()?.port(), b.local_addr()?.port(), c.local_addr()?.port()])
}

/// Returns `size` pseudo-random bytes that depend only on the name (xorshift).
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
