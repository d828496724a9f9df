//! The listeners of the TFTP server, and everything that their transfers need.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use super::send::SendMethod;
use crate::content::lookup::Files;
use crate::net::snapshot::Now;
use crate::server::tftp::upload::CurrentUploads;
use crate::tftp::{Limits, Ports};

/// Everything that transfers need. `record` is called for each event and must not block.
#[derive(Clone, Debug)]
pub struct Service<F> {
    pub files: Files,
    /// The upload folder, if uploads are on.
    pub uploads: CurrentUploads,
    /// The source ports of transfers.
    pub ports: Ports,
    /// The limits, the allowed clients and the served networks.
    pub now: Now,
    /// Records events.
    pub record: F,
}

impl<F> Service<F> {
    /// Whether `client` is allowed to send requests.
    pub(super) fn admits(&self, client: IpAddr) -> bool {
        let now = self.now.borrow();
        now.config.tftp.as_ref().is_some_and(|tftp| tftp.limits.admits(client, &now.interfaces.networks))
    }

    /// The limits of new transfers.
    pub(super) fn limits(&self) -> Limits {
        let now = self.now.borrow();
        // TFTP is off after a reload, and this request was admitted just before.
        now.config.tftp.as_ref().map_or_else(Limits::smallest, |tftp| tftp.limits.clone())
    }

    /// The best method for sending windows to `client`, whose request arrived on `interface`. If no network card cuts
    /// segmentation offload (veth, bridges, virtio), packet sockets receive the uncut buffer. Firmware may read from a
    /// packet socket, and any machine with a DHCP lease may be firmware. All other clients use UDP sockets, which work
    /// with it.
    pub(super) fn best_send_method(&self, interface: u32, client: IpAddr) -> SendMethod {
        let is_cut =
            || self.now.borrow().interfaces.get(interface).is_some_and(|interface| interface.cuts_offload);
        if is_cut() || !self.files.may_be_from_dhcp(client) {
            SendMethod::Segments
        } else {
            SendMethod::Messages
        }
    }
}

/// A socket for requests, opened by [`listen`](super::listen).
#[derive(Debug)]
pub struct Listener {
    pub socket: Arc<UdpSocket>,
    /// Maximum size of an IP datagram on its interface, in bytes.
    pub mtu: u32,
}

/// All sockets for requests.
pub type Listeners = Arc<[Arc<Listener>]>;
