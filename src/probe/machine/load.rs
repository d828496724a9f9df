//! The steps of a machine after it got its address: boot servers, menu, and loading the file.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Machine, State};
use crate::probe::boot_server::BootServers;
use crate::probe::choice::Plan;
use crate::probe::download::Download;
use crate::probe::fetch::Fetch;
use crate::probe::offer::{self, Offer};
use crate::probe::profile::Firmware;
use crate::probe::step::{Failure, Progress, Step};
use crate::probe::text::printable;
use crate::types::Timestamp;

impl Machine {
    /// The address was assigned: continues with the boot file.
    pub(super) fn acknowledged(&mut self, ack: Offer, plan: Plan, now: Timestamp, step: &mut Step<'_>) {
        self.lease = Some((ack.address, ack.server));
        self.deadline = None;
        step.progress.push(Progress::Acknowledged(ack.clone()));
        let firmware = self.profile.firmware;
        match plan {
            // iPXE prefers the settings of the ACK to those of a proxy.
            _ if firmware == Firmware::Ipxe && !ack.file.is_empty() => self.boot(ack, true, now, step),
            Plan::Ack => self.boot(ack, true, now, step),
            Plan::Offer(offer) => self.boot(offer, true, now, step),
            Plan::BootServers(offers) => {
                let servers = BootServers::proxies(firmware, &offers, self.ports);
                let xid = if firmware == Firmware::Ipxe { self.xid } else { self.next_xid() };
                self.state = State::Asking(BootServers::new(servers, None, ack.address, xid, now));
                self.ask_boot_server(true, None, now, step);
            }
        }
    }

    /// Asks the current boot server again, or the next one. `useless` is a server that answered without a boot file.
    pub(super) fn ask_boot_server(
        &mut self,
        again: bool,
        useless: Option<Ipv4Addr>,
        now: Timestamp,
        step: &mut Step<'_>,
    ) {
        let State::Asking(servers) = &mut self.state else { return };
        if !again && let Some(failure) = servers.next(useless, now) {
            return self.fail(failure, step);
        }
        servers.ask(&self.profile, self.mac, self.ports, self.timing, now, step);
    }

    pub(super) fn boot_server_answered(&mut self, answer: Offer, now: Timestamp, step: &mut Step<'_>) {
        let State::Asking(servers) = &self.state else { return };
        step.progress.push(Progress::BootServerAnswered(answer.clone()));
        let may_have_menu = !servers.is_menu();
        // EDK2 accepts an answer with a file or any of option 43's tags 6 to 10, even if it then finds no file.
        if answer.file.is_empty() && !(may_have_menu && answer.vendor.discovers) {
            return self.ask_boot_server(false, Some(answer.server), now, step);
        }
        self.boot(answer, may_have_menu, now, step);
    }

    /// Follows `offer`: shows its menu, or loads its file.
    pub(super) fn boot(&mut self, offer: Offer, may_have_menu: bool, now: Timestamp, step: &mut Step<'_>) {
        self.deadline = None;
        let file_at_once = offer.vendor.file_at_once() && !offer.file.is_empty();
        if may_have_menu && !file_at_once && !offer.vendor.menu.is_empty() {
            return self.choose_from_menu(&offer, now, step);
        }
        if offer.file.is_empty() {
            return self.fail(Failure::NoFile { server: offer.server }, step);
        }
        if offer::is_url(&offer.file) || self.profile.firmware == Firmware::UefiHttp {
            return self.fetch(&offer, now, step);
        }
        if offer.next_server.is_unspecified() {
            let file = printable(&offer.file);
            return self.fail(Failure::NoNextServer { server: offer.server, file }, step);
        }
        let server = SocketAddrV4::new(offer.next_server, self.ports.tftp);
        let timeout = self.timing.timeout;
        self.state = State::Loading(Download::start(&self.profile, server, offer.file, timeout, now, step));
    }

    /// Takes the first item of the menu, as without any key press.
    fn choose_from_menu(&mut self, offer: &Offer, now: Timestamp, step: &mut Step<'_>) {
        let Some((item, text)) = offer.vendor.menu.first() else { return };
        if *item == 0 {
            return self.fail(Failure::LocalBoot { text: printable(text) }, step);
        }
        let address = self.lease.map_or(offer.address, |(address, _)| address);
        let servers = BootServers::of_item(self.profile.firmware, offer, *item, self.ports);
        // iPXE sends transaction id 0 in its request for a menu item (recorded).
        let xid = if self.profile.firmware == Firmware::Ipxe { 0 } else { self.next_xid() };
        self.state = State::Asking(BootServers::new(servers, Some((*item, text)), address, xid, now));
        self.ask_boot_server(true, None, now, step);
    }

    /// Loads a URL, if this firmware supports that.
    fn fetch(&mut self, offer: &Offer, now: Timestamp, step: &mut Step<'_>) {
        let url = printable(&offer.file);
        match self.profile.firmware {
            Firmware::Ipxe | Firmware::UefiHttp if offer.file.starts_with(b"http://") => {
                let head = self.profile.firmware == Firmware::UefiHttp;
                self.state = State::Fetching(Fetch::start(url, head, self.timing.timeout, now, step));
            }
            Firmware::Ipxe | Firmware::UefiHttp => self.fail(Failure::BadUrl { url }, step),
            _ => self.fail(Failure::NotTftp { url }, step),
        }
    }
}
