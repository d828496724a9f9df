//! What each kind of network-boot client sends: one table, byte for byte as the recordings in `tests/data/packets`.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::types::{Arch, MacAddr};
use crate::wire::dhcp::{BOOTREQUEST, FLAG_BROADCAST, Message, MessageType};
use crate::wire::option::code;
use crate::wire::tftp;

/// The clients we can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A BIOS option ROM with PXE 2.1, as Intel Boot Agent (recorded: VirtualBox and an ASRock board).
    BiosPxe,
    /// UEFI on x64: EDK2 (recorded: OVMF 2022.11).
    UefiX64,
    /// UEFI on 64-bit ARM: EDK2 (recorded: AAVMF 2022.11).
    UefiArm64,
    /// iPXE, in a ROM or loaded a moment ago (recorded: QEMU's ROM; `undionly.kpxe` sends the same).
    Ipxe,
    /// A client older than DHCP (RFC 951; recorded: bootpc).
    Bootp,
}

/// One row of the table: what makes a client's packets its own.
#[derive(Debug)]
pub struct Profile {
    /// Which client this is.
    pub kind: Kind,
    /// What people call it.
    pub name: &'static str,
    /// Its architecture (option 93); `None` for a client that says none.
    pub arch: Option<Arch>,
    /// Option 60, as sent.
    vendor_class: &'static [u8],
    /// Option 55, as sent.
    request_list: &'static [u8],
    /// Option 57 in its DISCOVER and in its REQUEST, bytes.
    max_message_size: [u16; 2],
    /// Option 94, as sent: UNDI and its version.
    interface: [u8; 3],
    /// Whether it asks for broadcast replies.
    broadcast: bool,
    /// Bytes that its DHCP messages are filled up to.
    padded_to: usize,
    /// How it first asks for the file's size, if it does.
    pub(super) size_probe: Option<SizeProbe>,
    /// The options of the transfer itself.
    pub(super) tftp: tftp::Options,
}

/// A read request only for the file's size, and the ERROR that ends it once the size is known.
#[derive(Debug)]
pub(super) struct SizeProbe {
    /// The options of the request.
    pub(super) options: tftp::Options,
    /// The code of the ERROR.
    pub(super) abort: tftp::ErrorCode,
    /// Its text.
    pub(super) message: &'static [u8],
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::BiosPxe, Kind::UefiX64, Kind::UefiArm64, Kind::Ipxe, Kind::Bootp];

    /// What it sends.
    pub fn profile(self) -> &'static Profile {
        match self {
            Kind::BiosPxe => &BIOS_PXE,
            Kind::UefiX64 => &UEFI_X64,
            Kind::UefiArm64 => &UEFI_ARM64,
            Kind::Ipxe => &IPXE,
            Kind::Bootp => &BOOTP,
        }
    }

    /// Whether it is EDK2's network stack.
    pub(super) fn is_uefi(self) -> bool {
        matches!(self, Kind::UefiX64 | Kind::UefiArm64)
    }
}

const NO_TFTP_OPTIONS: tftp::Options =
    tftp::Options { block_size: None, timeout: None, transfer_size: None, window_size: None };

static BIOS_PXE: Profile = Profile {
    kind: Kind::BiosPxe,
    name: "BIOS PXE ROM",
    arch: Some(Arch::BIOS),
    vendor_class: b"PXEClient:Arch:00000:UNDI:002001",
    request_list: &[
        1, 2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
        67, 128, 129, 130, 131, 132, 133, 134, 135,
    ],
    max_message_size: [1260, 1260],
    interface: [1, 2, 1],
    broadcast: true,
    padded_to: 548,
    size_probe: Some(SizeProbe {
        options: tftp::Options { transfer_size: Some(0), ..NO_TFTP_OPTIONS },
        abort: tftp::ErrorCode::UNDEFINED,
        message: b"TFTP Aborted",
    }),
    tftp: tftp::Options { block_size: Some(1456), ..NO_TFTP_OPTIONS },
};

const EDK2_REQUEST_LIST: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
    128, 129, 130, 131, 132, 133, 134, 135,
];

const EDK2_TFTP: tftp::Options =
    tftp::Options { block_size: Some(1468), window_size: Some(4), ..NO_TFTP_OPTIONS };

const EDK2_SIZE_PROBE: SizeProbe = SizeProbe {
    options: tftp::Options { transfer_size: Some(0), ..EDK2_TFTP },
    abort: tftp::ErrorCode::OPTIONS,
    message: b"User aborted the transfer",
};

static UEFI_X64: Profile = Profile {
    kind: Kind::UefiX64,
    name: "UEFI x64 PXE",
    arch: Some(Arch::UEFI_X64),
    vendor_class: b"PXEClient:Arch:00007:UNDI:003000",
    request_list: EDK2_REQUEST_LIST,
    // 0xff00 in the REQUEST is what EDK2 sends; it still drops what is longer than 1472.
    max_message_size: [1472, 0xff00],
    interface: [1, 3, 0],
    broadcast: true,
    padded_to: 0,
    size_probe: Some(EDK2_SIZE_PROBE),
    tftp: EDK2_TFTP,
};

static UEFI_ARM64: Profile = Profile {
    kind: Kind::UefiArm64,
    name: "UEFI arm64 PXE",
    arch: Some(Arch::UEFI_ARM64),
    vendor_class: b"PXEClient:Arch:00011:UNDI:003000",
    request_list: EDK2_REQUEST_LIST,
    max_message_size: [1472, 0xff00],
    interface: [1, 3, 0],
    broadcast: true,
    padded_to: 0,
    size_probe: Some(EDK2_SIZE_PROBE),
    tftp: EDK2_TFTP,
};

static IPXE: Profile = Profile {
    kind: Kind::Ipxe,
    name: "iPXE",
    arch: Some(Arch::BIOS),
    vendor_class: b"PXEClient:Arch:00000:UNDI:002001",
    request_list: &[
        1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203,
    ],
    max_message_size: [1472, 1472],
    interface: [1, 2, 1],
    broadcast: false,
    padded_to: 0,
    size_probe: None,
    tftp: tftp::Options { block_size: Some(1432), transfer_size: Some(0), ..NO_TFTP_OPTIONS },
};

static BOOTP: Profile = Profile {
    kind: Kind::Bootp,
    name: "plain BOOTP",
    arch: None,
    vendor_class: &[],
    request_list: &[],
    max_message_size: [0, 0],
    interface: [0, 0, 0],
    broadcast: true,
    padded_to: 0,
    size_probe: None,
    tftp: NO_TFTP_OPTIONS,
};

/// iPXE's feature list (option 175) as recorded: its PCI device, its version, and what was compiled in.
const IPXE_FEATURES: &[u8] = &[
    0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0xeb, 3, 1, 0, 0, 0x17, 1, 1, 0x22, 1, 1, 0x13, 1, 1, 0x11, 1, 1, 0x27,
    1, 1, 0x19, 1, 1, 0x29, 1, 1, 0x10, 1, 2, 0x21, 1, 1, 0x15, 1, 1, 0x18, 1, 1, 0x12, 1, 1,
];

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// DHCPDISCOVER, or the BOOTREQUEST of a client that knows no DHCP.
    Discover,
    /// DHCPREQUEST for an offered address.
    Request {
        /// The offered address.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
}

/// One DHCP message on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// What it asks.
    pub(super) ask: Ask,
    /// Transaction id.
    pub(super) xid: u32,
    /// Since the boot began.
    pub(super) elapsed: Duration,
    /// Messages sent in this boot, this one included.
    pub(super) count: u16,
}

impl Profile {
    /// The UDP payload that this client with hardware address `mac` sends.
    pub(super) fn message(&self, mac: MacAddr, sending: &Sending) -> Vec<u8> {
        let mut message = Message::new(BOOTREQUEST);
        message.xid = sending.xid;
        message.secs = self.seconds(sending);
        message.flags = if self.broadcast { FLAG_BROADCAST } else { 0 };
        for (to, from) in message.chaddr.iter_mut().zip(mac.0) {
            *to = from;
        }
        match self.kind {
            Kind::Bootp => {}
            Kind::BiosPxe => self.bios_options(&mut message, sending.ask),
            Kind::UefiX64 | Kind::UefiArm64 => self.edk2_options(&mut message, sending.ask),
            Kind::Ipxe => self.ipxe_options(&mut message, sending.ask, mac),
        }
        let mut payload = message.encode();
        if payload.len() < self.padded_to {
            payload.resize(self.padded_to, 0);
        }
        payload
    }

    /// `secs`: EDK2 counts from 0, BIOS ROMs from 4, and iPXE writes there how often it sent and what it has
    /// (iPXE `dhcp.c`: `count << 2 | offer << 1 | proxy`).
    fn seconds(&self, sending: &Sending) -> u16 {
        let elapsed = u16::try_from(sending.elapsed.as_secs()).unwrap_or(u16::MAX);
        match self.kind {
            Kind::Ipxe => {
                let has_offer = matches!(sending.ask, Ask::Request { .. });
                sending.count.wrapping_shl(2) | (u16::from(has_offer) << 1)
            }
            Kind::BiosPxe => elapsed.saturating_add(4),
            _ => elapsed,
        }
    }

    fn bios_options(&self, message: &mut Message, ask: Ask) {
        put_type(message, ask);
        // No REQUEST of such a ROM is recorded: the DISCOVER's options, and 50 and 54.
        put_choice(message, ask);
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        self.put_max_size(message, ask);
        message.options.push(code::MACHINE_IDENTIFIER, &MACHINE_IDENTIFIER);
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        message.options.push(code::VENDOR_CLASS, self.vendor_class);
    }

    fn edk2_options(&self, message: &mut Message, ask: Ask) {
        put_type(message, ask);
        put_choice(message, ask);
        self.put_max_size(message, ask);
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        message.options.push(code::MACHINE_IDENTIFIER, &MACHINE_IDENTIFIER);
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::VENDOR_CLASS, self.vendor_class);
    }

    fn ipxe_options(&self, message: &mut Message, ask: Ask, mac: MacAddr) {
        let [a, b, c, d, e, f] = mac.0;
        put_type(message, ask);
        self.put_max_size(message, ask);
        message.options.push(code::CLIENT_ARCHITECTURE, &self.arch_bytes());
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &self.interface);
        message.options.push(code::VENDOR_CLASS, self.vendor_class);
        message.options.push(code::USER_CLASS, b"iPXE");
        message.options.push(code::PARAMETER_REQUEST_LIST, self.request_list);
        message.options.push(code::ETHERBOOT, IPXE_FEATURES);
        message.options.push(code::CLIENT_IDENTIFIER, &[1, a, b, c, d, e, f]);
        message.options.push(code::MACHINE_IDENTIFIER, &MACHINE_IDENTIFIER);
        put_choice(message, ask);
    }

    fn put_max_size(&self, message: &mut Message, ask: Ask) {
        let [discover, request] = self.max_message_size;
        let size = if ask == Ask::Discover { discover } else { request };
        message.options.push(code::MAX_MESSAGE_SIZE, &size.to_be_bytes());
    }

    fn arch_bytes(&self) -> [u8; 2] {
        self.arch.map_or(0, Arch::number).to_be_bytes()
    }
}

/// Option 97: type 0 and a GUID of zeros, as QEMU's machines have without `-uuid`.
const MACHINE_IDENTIFIER: [u8; 17] = [0; 17];

fn put_type(message: &mut Message, ask: Ask) {
    let kind = if ask == Ask::Discover { MessageType::Discover } else { MessageType::Request };
    message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
}

fn put_choice(message: &mut Message, ask: Ask) {
    if let Ask::Request { address, server } = ask {
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        message.options.push(code::REQUESTED_ADDRESS, &address.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISCOVER: Ask = Ask::Discover;

    /// The bytes of a recording in tests/data/packets.
    fn recorded(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/data/packets/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        #[allow(clippy::disallowed_methods)] // a test may read its data
        let text = std::fs::read_to_string(path).unwrap();
        let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// What we would have sent in the place of the client that was recorded.
    fn ours(kind: Kind, recording: &[u8], ask: Ask, seconds: u64, count: u16) -> Vec<u8> {
        let recording = Message::decode(recording).unwrap();
        let elapsed = Duration::from_secs(seconds);
        let sending = Sending { ask, xid: recording.xid, elapsed, count };
        kind.profile().message(recording.mac().unwrap(), &sending)
    }

    fn request(last: u8) -> Ask {
        Ask::Request { address: Ipv4Addr::new(192, 168, 77, last), server: Ipv4Addr::new(192, 168, 77, 1) }
    }

    #[test]
    fn uefi_sends_what_ovmf_and_aavmf_were_recorded_sending() {
        for (kind, name, ask) in [
            (Kind::UefiX64, "ovmf-x64-pxe-discover", DISCOVER),
            (Kind::UefiX64, "ovmf-x64-pxe-request", request(56)),
            (Kind::UefiArm64, "aavmf-arm64-pxe-discover", DISCOVER),
        ] {
            let recording = recorded(name);
            assert_eq!(ours(kind, &recording, ask, 0, 1), recording, "{name}");
        }
    }

    #[test]
    fn ipxe_sends_what_it_was_recorded_sending() {
        let discover = recorded("ipxe-bios-discover");
        assert_eq!(ours(Kind::Ipxe, &discover, DISCOVER, 0, 1), discover);
        let recording = recorded("ipxe-bios-request");
        assert_eq!(ours(Kind::Ipxe, &recording, request(50), 3, 4), recording);
    }

    #[test]
    fn bios_rom_sends_what_virtualbox_was_recorded_sending_but_its_guid() {
        let mut recording = recorded("virtualbox-bios-discover");
        let at = recording.windows(2).position(|pair| pair == [97, 17]).unwrap() + 2;
        recording[at..at + 17].fill(0);
        assert_eq!(ours(Kind::BiosPxe, &recording, DISCOVER, 0, 1), recording);
    }

    #[test]
    fn rfc951_3_bootp_sends_what_bootpc_was_recorded_sending() {
        let recording = recorded("bootpc-bootp");
        assert_eq!(ours(Kind::Bootp, &recording, DISCOVER, 0, 1), recording);
    }
}
