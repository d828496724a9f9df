//! The sockets for requests, and what the transfers that begin there need.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use super::send::How;
use crate::content::lookup::Files;
use crate::net::served::Now;
use crate::server::tftp::upload::Uploads;
use crate::tftp::{Limits, Ports};

/// What the transfers need. `record` is called for each thing that happens; it must not wait.
#[derive(Clone, Debug)]
pub struct Service<F> {
    /// The files.
    pub files: Files,
    /// Where clients may put files; `None` means nowhere.
    pub uploads: Option<Uploads>,
    /// What is granted, and to whom.
    pub limits: Limits,
    /// Which ports transfers are sent from.
    pub ports: Ports,
    /// Who may ask.
    pub served: Now,
    /// Takes the events.
    pub record: F,
}

impl<F> Service<F> {
    /// Whether `client` may ask.
    pub(super) fn admits(&self, client: Ipv4Addr) -> bool {
        self.limits.admits(client, &self.served.borrow().networks)
    }

    /// The best way to send windows to `client`, whose request came in by that interface. Segmentation offload would
    /// reach a packet socket uncut where no card cuts it (veth, bridges, virtio). Firmware may read from one, and
    /// machines that got their address by DHCP may be firmware; other clients use the kernel's sockets, where it does
    /// no harm.
    pub(super) fn best_way(&self, interface: u32, client: Ipv4Addr) -> How {
        let is_cut = || self.served.borrow().get(interface).is_some_and(|interface| interface.cuts_offload);
        if is_cut() || !self.files.may_be_from_dhcp(client) { How::Segments } else { How::Messages }
    }
}

/// A socket for requests, made by [`listen`].
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: Arc<UdpSocket>,
    /// Largest IP datagram of its interface, in bytes.
    pub mtu: u32,
}

/// The sockets for requests.
pub type Listeners = Arc<[Arc<Listener>]>;
