//! The facts about this computer that the findings are made from. `gather.rs` reads them; the files beside it judge them.

use std::net::Ipv4Addr;

use crate::net::interface::Interface;
use crate::types::Ipv4Network;

/// The process that examines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// `lanboot doctor`.
    Command,
    /// The running server, which starts no programs.
    Server,
}

/// The facts that were gathered. A fact that could not be read is absent, and [`Facts::not_checked`] has the reason.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// All interfaces of this computer.
    pub(super) interfaces: Vec<Interface>,
    /// More about the interfaces, by name.
    pub(super) links: Vec<Link>,
    pub(super) routes: Vec<Route>,
    /// The container that lanboot runs in, such as `docker`; `None` outside of one.
    pub(super) container: Option<String>,
    /// Whether a time server sets the clock.
    pub(super) clock_is_synchronised: Option<bool>,
    pub(super) disks: Vec<Disk>,
    /// Programs that hold ports of lanboot.
    pub(super) holders: Vec<Holder>,
    /// Virtual machines of QEMU that run here.
    pub(super) virtual_machines: Vec<VirtualMachine>,
    /// DHCP servers that offered something, by the interface that was asked.
    pub(super) servers: Vec<DhcpServer>,
    /// Interfaces on which a DHCPDISCOVER was sent.
    pub(super) asked: Vec<String>,
    /// Checks that were left out, with the reason.
    pub(super) not_checked: Vec<String>,
}

/// The settings of the kernel for an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// The reverse path filter that applies (ip-sysctl: the larger of `all` and the interface): 1 is strict.
    pub(super) rp_filter: u8,
    /// `None` if the interface is no bridge.
    pub(super) bridge: Option<Bridge>,
    /// The bridge or bond that the interface is a port of.
    pub(super) master: Option<String>,
    /// Whether the other end is in another network namespace, as for the interface of a container with its own network.
    pub(super) is_container_end: bool,
}

/// The settings of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) snoops_multicast: bool,
    /// Whether the bridge asks for the groups itself, without which entries of the table expire.
    pub(super) is_querier: bool,
    pub(super) spanning_tree: bool,
}

/// A row of `/proc/net/route`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) network: Ipv4Network,
    /// `None` for a route that rejects packets.
    pub(super) device: Option<String>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) metric: u32,
}

/// A file system that lanboot writes to or reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// The key of the configuration.
    pub(super) key: &'static str,
    pub(super) path: String,
    /// In bytes.
    pub(super) size: u64,
    /// Bytes that users other than root may still write.
    pub(super) free: u64,
    /// Files that can exist, and that can still be created; 0 and 0 if the file system has no such limit.
    pub(super) files: u64,
    pub(super) free_files: u64,
    /// The mount point of the file system if it is in memory.
    pub(super) tmpfs: Option<String>,
    /// Whether the server must write there.
    pub(super) is_written: bool,
}

/// A program that holds a port of lanboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    /// Such as `UDP 0.0.0.0:67`.
    pub(super) port: String,
    pub(super) key: &'static str,
    /// Whether the server starts without the port.
    pub(super) is_optional: bool,
    /// 0 if this user may not see the process.
    pub(super) pid: u32,
    pub(super) name: String,
    /// The systemd service whose main process it is.
    pub(super) unit: Option<String>,
    /// The network of libvirt that the program serves, and whether `virsh` is installed.
    pub(super) libvirt: Option<(String, bool)>,
}

/// A virtual machine of QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VirtualMachine {
    pub(super) pid: u32,
    pub(super) name: Option<String>,
    pub(super) has_uefi: bool,
    pub(super) has_network: bool,
    /// Whether it has a source of random numbers (virtio-rng).
    pub(super) has_rng: bool,
    /// Whether libvirt started it.
    pub(super) by_libvirt: bool,
    /// The words of its command line.
    pub(super) command: Vec<String>,
}

/// A DHCP server that offered something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DhcpServer {
    pub(super) interface: String,
    pub(super) server: Ipv4Addr,
    /// The offered address; `None` for a proxy, which offers only boot files.
    pub(super) offered: Option<Ipv4Addr>,
}
