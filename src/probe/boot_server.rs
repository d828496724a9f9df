//! Requests to boot servers on port 4011 (PXE 2.1 section 2.2.4; EDK2 `PxeBcDhcp4Discover`; iPXE `dhcp_state_proxy` and
//! `dhcp_state_pxebs`).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::offer::Offer;
use super::profile::{Ask, Firmware, Profile, Sending};
use super::step::{Failure, Ports, Progress, Step, Timing, Transmit};
use super::text::printable;
use crate::types::{MacAddr, Timestamp};

/// The wait of each try: EDK2's `PXEBC_BOOT_REQUEST_TIMEOUT` times 1, 2, 3 and 4, as in PXE 2.1.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3), Duration::from_secs(4)];
/// iPXE waits 2 s for a proxy and 3 s for the servers of a menu (`dhcp.h`), and retries after 1 s.
const IPXE_WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// The boot servers for one request, asked one after the other.
#[derive(Debug)]
pub(super) struct BootServers {
    /// The remaining servers; the first one is being asked.
    left: Vec<SocketAddrV4>,
    item: Option<(u16, String)>,
    /// The client's own address, from the ACK.
    pub(super) address: Ipv4Addr,
    pub(super) xid: u32,
    attempt: u32,
    asked: Timestamp,
    deadline: Timestamp,
}

impl BootServers {
    /// Returns the servers to ask if a proxy, or the server that assigned the address, sent only `PXEClient`.
    pub(super) fn proxies(firmware: Firmware, offers: &[Offer], ports: Ports) -> Vec<SocketAddrV4> {
        let server = |offer: &Offer| match firmware {
            Firmware::Ipxe => offer.server,
            _ if offer.siaddr.is_unspecified() => offer.server,
            _ => offer.siaddr,
        };
        offers.iter().map(|offer| SocketAddrV4::new(server(offer), ports.proxy)).collect()
    }

    /// Returns the servers to ask for a menu item: those that option 43 lists for it, or a broadcast address. EDK2
    /// broadcasts to the DHCP port, iPXE to 4011.
    pub(super) fn of_item(firmware: Firmware, offer: &Offer, item: u16, ports: Ports) -> Vec<SocketAddrV4> {
        let listed = offer.vendor.servers_of(item);
        if listed.is_empty() {
            let port = if firmware == Firmware::Ipxe { ports.proxy } else { ports.dhcp };
            return vec![SocketAddrV4::new(Ipv4Addr::BROADCAST, port)];
        }
        listed.iter().map(|address| SocketAddrV4::new(*address, ports.proxy)).collect()
    }

    /// Prepares a request to `servers`, of which there must be at least one. [`ask`](Self::ask) sends it.
    pub(super) fn new(
        servers: Vec<SocketAddrV4>,
        item: Option<(u16, &[u8])>,
        address: Ipv4Addr,
        xid: u32,
        now: Timestamp,
    ) -> BootServers {
        BootServers {
            left: servers,
            item: item.map(|(number, text)| (number, printable(text))),
            address,
            xid,
            attempt: 1,
            asked: now,
            deadline: now,
        }
    }

    pub(super) fn deadline(&self) -> Timestamp {
        self.deadline
    }

    pub(super) fn is_menu(&self) -> bool {
        self.item.is_some()
    }

    /// Returns the destination port of the current request.
    pub(super) fn port(&self) -> u16 {
        self.left.first().map_or(0, SocketAddrV4::port)
    }

    /// Sends the request to the first remaining server, as try number `attempt`.
    pub(super) fn ask(
        &mut self,
        profile: &Profile,
        mac: MacAddr,
        ports: Ports,
        timing: Timing,
        now: Timestamp,
        step: &mut Step<'_>,
    ) {
        let Some(to) = self.left.first().copied() else { return };
        let everybody = to.ip().is_broadcast();
        let item = self.item.as_ref().map(|(number, _)| *number);
        let sending = Sending {
            ask: Ask::BootServer { address: self.address, server: (!everybody).then_some(*to.ip()), item },
            xid: self.xid,
            elapsed: now.since(self.asked),
            count: u16::try_from(self.attempt).unwrap_or(u16::MAX),
            proxy: true,
        };
        // EDK2 sends from port 4011 except for broadcasts. Other clients keep their DHCP port.
        let own = profile.firmware == Firmware::Uefi && !everybody;
        let from_port = if own { ports.proxy } else { ports.dhcp.saturating_add(1) };
        step.send.push(Transmit::BootServer { from_port, to, payload: profile.message(mac, &sending) });
        step.progress.push(Progress::AskingBootServer { to, item: self.item.clone(), attempt: self.attempt });
        let waits = waits(profile.firmware);
        let wait = waits.iter().take(usize::try_from(self.attempt).unwrap_or(usize::MAX)).next_back();
        let until = now.after(wait.copied().unwrap_or_default());
        let limit = timing.timeout.map_or(until, |timeout| self.asked.after(timeout));
        self.deadline = until.min(limit);
    }

    /// After the deadline, returns whether to ask the same server again.
    pub(super) fn may_retry(&mut self, firmware: Firmware, timing: Timing, now: Timestamp) -> bool {
        let tries_left = usize::try_from(self.attempt).is_ok_and(|attempt| attempt < waits(firmware).len());
        let may_wait = timing.timeout.is_none_or(|timeout| now < self.asked.after(timeout));
        self.attempt = self.attempt.saturating_add(1);
        tries_left && may_wait
    }

    /// Gives up the current server. Returns the failure if no other server remains.
    pub(super) fn next(&mut self, useless: Option<Ipv4Addr>, now: Timestamp) -> Option<Failure> {
        let server = if self.left.is_empty() { return None } else { self.left.remove(0) };
        let waited = now.since(self.asked);
        self.attempt = 1;
        self.asked = now;
        if !self.left.is_empty() {
            return None;
        }
        Some(match useless {
            Some(server) => Failure::BootServerUseless { server },
            None => Failure::BootServerSilent { server, menu: self.is_menu(), waited },
        })
    }
}

fn waits(firmware: Firmware) -> &'static [Duration] {
    if firmware == Firmware::Ipxe { &IPXE_WAITS } else { &WAITS }
}
