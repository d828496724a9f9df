//! One DHCP message on its way out, as each firmware writes it.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Firmware, Profile};
use crate::types::{Arch, MacAddr};
use crate::wire::dhcp::{BOOTREQUEST, FLAG_BROADCAST, Message, MessageType};
use crate::wire::option::code;

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::probe) enum Ask {
    /// DHCPDISCOVER, or the BOOTREQUEST of a client that knows no DHCP.
    Discover,
    /// DHCPREQUEST for an offered address.
    Request {
        /// The offered address.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
    /// The question to a boot server on port 4011 (PXE 2.1 section 2.2.4): a DHCPREQUEST without options 50 and, but for
    /// iPXE, 54.
    BootServer {
        /// The address the client has.
        address: Ipv4Addr,
        /// Who is asked; `None`: everybody.
        server: Option<Ipv4Addr>,
        /// The chosen item of the menu, if there was one.
        item: Option<u16>,
    },
    /// DHCPRELEASE (RFC 2131 section 4.4.6). Firmware never does that; we leave nothing behind.
    Release {
        /// The address that is given back.
        address: Ipv4Addr,
        /// Who gave it.
        server: Ipv4Addr,
    },
}

/// One DHCP message on its way out.
#[derive(Clone, Copy, Debug)]
pub(in crate::probe) struct Sending {
    /// What it asks.
    pub(in crate::probe) ask: Ask,
    /// Transaction id.
    pub(in crate::probe) xid: u32,
    /// Since the boot began; for a question to a boot server, since that was first asked.
    pub(in crate::probe) elapsed: Duration,
    /// Messages sent in this boot, this one included; for a question to a boot server, those to it.
    pub(in crate::probe) count: u16,
    /// Whether a proxy's offer is at hand.
    pub(in crate::probe) proxy: bool,
}

impl Profile {
    /// The UDP payload that this client with hardware address `mac` sends.
    pub(in crate::probe) fn message(&self, mac: MacAddr, sending: &Sending) -> Vec<u8> {
        let mut payload = self.compose(mac, sending).encode();
        if payload.len() < self.padded_to && !matches!(sending.ask, Ask::Release { .. }) {
            payload.resize(self.padded_to, 0);
        }
        payload
    }

    /// The message in it.
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

    /// `secs`: EDK2 counts from 0, BIOS ROMs from 4, and iPXE writes there how often it sent and what it has
    /// (iPXE `dhcp.c`: `count << 2 | offer << 1 | proxy`).
    fn seconds(&self, sending: &Sending) -> u16 {
        let elapsed = u16::try_from(sending.elapsed.as_secs()).unwrap_or(u16::MAX);
        match (self.firmware, sending.ask) {
            (_, Ask::Release { .. }) => 0,
            // It asks for an item of a menu in a state of its own, which knows of no offers.
            (Firmware::Ipxe, Ask::Discover | Ask::BootServer { item: Some(_), .. }) => sending.count << 2,
            (Firmware::Ipxe, _) => (sending.count << 2) | 2 | u16::from(sending.proxy),
            (Firmware::BiosPxe, _) => elapsed.saturating_add(4),
            _ => elapsed,
        }
    }

    /// EDK2 asks boot servers for unicast unless it asks all of them (`PxeBcDhcp4.c`); iPXE wants broadcasts once it has an
    /// address, because a unicast reply may then be rejected (iPXE `dhcp.c`).
    fn asks_for_broadcast(&self, ask: Ask) -> bool {
        match ask {
            Ask::Discover | Ask::Request { .. } => self.broadcast,
            Ask::BootServer { server, .. } => server.is_none() || self.firmware == Firmware::Ipxe,
            Ask::Release { .. } => false,
        }
    }

    fn bios_options(&self, message: &mut Message, ask: Ask) {
        put_type(message, ask);
        // No REQUEST of such a ROM is recorded: the DISCOVER's options, and 50 and 54.
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

    /// EDK2 has the options of this question sorted.
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
        // Asking for an item of a menu it repeats the class that the server sent it (recorded).
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
        // A proxy is named to itself (`dhcp_proxy_tx`), the server of a menu's item is not (recorded).
        if let Ask::BootServer { server: Some(server), item: None, .. } = ask {
            message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        }
    }

    /// The identity must be that of the REQUEST, or the server finds no such lease.
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

    /// Option 60, the architecture in decimal (PXE 2.1 table 2-1; UEFI 2.10 section 24.7.3 for HTTP).
    fn vendor_class(&self) -> String {
        let [_, major, minor] = self.interface;
        let arch = self.arch.map_or(0, Arch::number);
        format!("{}:Arch:{arch:05}:UNDI:{major:03}{minor:03}", self.vendor_class)
    }

    fn arch_bytes(&self) -> [u8; 2] {
        self.arch.map_or(0, Arch::number).to_be_bytes()
    }

    /// Option 97: type 0 and the UUID.
    fn machine_identifier(&self) -> [u8; 17] {
        let mut identifier = [0; 17];
        for (to, from) in identifier.iter_mut().skip(1).zip(self.uuid) {
            *to = from;
        }
        identifier
    }
}

/// Option 43 with the chosen item and layer 0 (PXE 2.1 table 2-1, tag 71).
fn boot_item(item: u16) -> [u8; 7] {
    let [high, low] = item.to_be_bytes();
    [71, 4, high, low, 0, 0, 255]
}

/// Option 61 as iPXE sends it: hardware type and address.
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
