//! Encodes the DHCP messages of each firmware.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::probe::profile::firmware::{Firmware, Profile};
use crate::types::{Arch, MacAddr};
use crate::wire::dhcp::{BOOTREQUEST, FLAG_BROADCAST, Message, MessageType};
use crate::wire::option::code;

/// The purpose of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::probe) enum Ask {
    /// DHCPDISCOVER, or the BOOTREQUEST of a client without DHCP.
    Discover,
    /// DHCPREQUEST for an offered address.
    Request {
        address: Ipv4Addr,
        /// The server that made the offer.
        server: Ipv4Addr,
    },
    /// The request to a boot server on port 4011 (PXE 2.1 section 2.2.4): a DHCPREQUEST without option 50 and, except
    /// for iPXE, without 54.
    BootServer {
        /// The client's address.
        address: Ipv4Addr,
        /// The boot server; `None` for all of them.
        server: Option<Ipv4Addr>,
        /// The chosen menu item, if any.
        item: Option<u16>,
    },
    /// DHCPRELEASE (RFC 2131 section 4.4.6). Firmware never sends one; the probe does, to leave no lease behind.
    Release {
        /// The released address.
        address: Ipv4Addr,
        /// The server that assigned it.
        server: Ipv4Addr,
    },
}

/// The parameters of one DHCP message.
#[derive(Clone, Copy, Debug)]
pub(in crate::probe) struct Sending {
    pub(in crate::probe) ask: Ask,
    /// The transaction id.
    pub(in crate::probe) xid: u32,
    /// The time since the boot began; in a request to a boot server, since its first try.
    pub(in crate::probe) elapsed: Duration,
    /// The number of messages of this boot, including this one; in a request to a boot server, of those to it.
    pub(in crate::probe) count: u16,
    /// Whether the client has an offer of a proxy.
    pub(in crate::probe) proxy: bool,
}

impl Profile {
    /// Encodes the UDP payload of a client with hardware address `mac`.
    pub(in crate::probe) fn message(&self, mac: MacAddr, sending: &Sending) -> Vec<u8> {
        let mut payload = self.compose(mac, sending).encode();
        if payload.len() < self.padded_to && !matches!(sending.ask, Ask::Release { .. }) {
            payload.resize(self.padded_to, 0);
        }
        payload
    }

    /// Composes the message.
    pub(in crate::probe) fn compose(&self, mac: MacAddr, sending: &Sending) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.xid = sending.xid;
        message.secs = self.seconds(sending);
        message.flags = if self.asks_for_broadcast(sending.ask) { FLAG_BROADCAST } else { 0 };
        if let Ask::BootServer { address, .. } | Ask::Release { address, .. } = sending.ask {
            message.ciaddr = address;
        }
        for (to, from) in message.chaddr.iter_mut().zip(mac.0) {
            *to = from;
        }
        match (self.firmware, sending.ask) {
            (Firmware::Bootp, _) => {}
            (_, Ask::Release { .. }) => self.release_options(&mut message, sending.ask, mac),
            (Firmware::Uefi, Ask::BootServer { .. }) => self.edk2_boot_server_options(&mut message),
            (Firmware::BiosPxe, _) => self.bios_options(&mut message, sending.ask),
            (Firmware::Uefi | Firmware::UefiHttp, _) => self.edk2_options(&mut message, sending.ask),
            (Firmware::Ipxe, _) => self.ipxe_options(&mut message, sending.ask, mac),
        }
        if let Ask::BootServer { item: Some(item), .. } = sending.ask {
            message.options.push(code::VENDOR_SPECIFIC, &boot_item(item));
        }
        message
    }

    /// Returns `secs`. EDK2 counts from 0, BIOS ROMs from 4. iPXE writes its number of messages and its state there
    /// (iPXE `dhcp.c`: `count << 2 | offer << 1 | proxy`).
    fn seconds(&self, sending: &Sending) -> u16 {
        let elapsed = u16::try_from(sending.elapsed.as_secs()).unwrap_or(u16::MAX);
        match (self.firmware, sending.ask) {
            (_, Ask::Release { .. }) => 0,
            // iPXE requests a menu item in a separate state, which knows of no offers.
            (Firmware::Ipxe, Ask::Discover | Ask::BootServer { item: Some(_), .. }) => sending.count << 2,
            (Firmware::Ipxe, _) => (sending.count << 2) | 2 | u16::from(sending.proxy),
            (Firmware::BiosPxe, _) => elapsed.saturating_add(4),
            _ => elapsed,
        }
    }

    /// Whether the client sets the broadcast flag. EDK2 asks a single boot server for unicast (`PxeBcDhcp4.c`). iPXE
    /// asks for broadcasts once it has an address, because a unicast reply may then be rejected (iPXE `dhcp.c`).
    fn asks_for_broadcast(&self, ask: Ask) -> bool {
        match ask {
            Ask::Discover | Ask::Request { .. } => self.broadcast,
            Ask::BootServer { server, .. } => server.is_none() || self.firmware == Firmware::Ipxe,
            Ask::Release { .. } => false,
        }
    }

    fn bios_options(&self, message: &mut Message, ask: Ask) {
        put_type(message, ask);
        // No REQUEST of such a ROM is recorded. This sends the options of the DISCOVER, and 50 and 54.
        put_choice(message, ask);
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        self.put_max_size(message, ask);
        message.options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        message.options.push(code::VENDOR_CLASS, self.vendor_class().as_bytes());
    }

    fn edk2_options(&self, message: &mut Message, ask: Ask) {
        put_type(message, ask);
        put_choice(message, ask);
        self.put_max_size(message, ask);
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        message.options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::VENDOR_CLASS, self.vendor_class().as_bytes());
    }

    /// EDK2 sends the options of this request sorted by code.
    fn edk2_boot_server_options(&self, message: &mut Message) {
        message.options.push(code::MESSAGE_TYPE, &[MessageType::Request.number()]);
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        message.options.push(code::MAX_MESSAGE_SIZE, &self.max_message_size(Ask::Discover).to_be_bytes());
        message.options.push(code::VENDOR_CLASS, self.vendor_class().as_bytes());
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        message.options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
    }

    fn ipxe_options(&self, message: &mut Message, ask: Ask, mac: MacAddr) {
        put_type(message, ask);
        self.put_max_size(message, ask);
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        // A request for a menu item repeats the class that the server sent (recorded).
        let class = match ask {
            Ask::BootServer { item: Some(_), .. } => self.vendor_class.to_owned(),
            _ => self.vendor_class(),
        };
        message.options.push(code::VENDOR_CLASS, class.as_bytes());
        message.options.push(code::USER_CLASS, b"iPXE");
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        message.options.push(code::ETHERBOOT, &[&[0xb1, 5, 1], &self.card[..], self.features].concat());
        message.options.push(code::CLIENT_IDENTIFIER, &client_identifier(mac));
        message.options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
        put_choice(message, ask);
        // A proxy's own address is in its request (`dhcp_proxy_tx`); that of a menu item's server is not (recorded).
        if let Ask::BootServer { server: Some(server), item: None, .. } = ask {
            message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        }
    }

    /// The identity must be the same as in the REQUEST, or the server finds no such lease.
    fn release_options(&self, message: &mut Message, ask: Ask, mac: MacAddr) {
        put_type(message, ask);
        put_choice(message, ask);
        if self.firmware == Firmware::Ipxe {
            message.options.push(code::CLIENT_IDENTIFIER, &client_identifier(mac));
        }
    }

    fn put_max_size(&self, message: &mut Message, ask: Ask) {
        message.options.push(code::MAX_MESSAGE_SIZE, &self.max_message_size(ask).to_be_bytes());
    }

    fn max_message_size(&self, ask: Ask) -> u16 {
        let [discover, request] = self.max_message_size;
        if ask == Ask::Discover { discover } else { request }
    }

    /// Returns option 60 with the architecture in decimal (PXE 2.1 table 2-1; UEFI 2.10 section 24.7.3 for HTTP).
    fn vendor_class(&self) -> String {
        let [_, major, minor] = self.interface;
        let arch = self.arch.map_or(0, Arch::number);
        format!("{}:Arch:{arch:05}:UNDI:{major:03}{minor:03}", self.vendor_class)
    }

    fn arch_bytes(&self) -> [u8; 2] {
        self.arch.map_or(0, Arch::number).to_be_bytes()
    }

    /// Returns option 97: type 0 and the UUID.
    fn machine_identifier(&self) -> [u8; 17] {
        let mut identifier = [0; 17];
        for (to, from) in identifier.iter_mut().skip(1).zip(self.uuid) {
            *to = from;
        }
        identifier
    }
}

/// Returns option 43 with the chosen item and layer 0 (PXE 2.1 table 2-1, tag 71).
fn boot_item(item: u16) -> [u8; 7] {
    let [high, low] = item.to_be_bytes();
    [71, 4, high, low, 0, 0, 255]
}

/// Returns option 61 as iPXE sends it: hardware type and address.
fn client_identifier(mac: MacAddr) -> [u8; 7] {
    let [a, b, c, d, e, f] = mac.0;
    [1, a, b, c, d, e, f]
}

fn put_type(message: &mut Message, ask: Ask) {
    let kind = match ask {
        Ask::Discover => MessageType::Discover,
        Ask::Request { .. } | Ask::BootServer { .. } => MessageType::Request,
        Ask::Release { .. } => MessageType::Release,
    };
    message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
}

fn put_choice(message: &mut Message, ask: Ask) {
    match ask {
        Ask::Request { address, server } => {
            message.options.push(code::SERVER_IDENTIFIER, &server.octets());
            message.options.push(code::REQUESTED_ADDRESS, &address.octets());
        }
        Ask::Release { server, .. } => {
            message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        }
        Ask::Discover | Ask::BootServer { .. } => {}
    }
}
