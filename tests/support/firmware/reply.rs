//! Good replies, and edits that break them.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::probe::models::RequestKind;
use lanboot::wire::dhcp::{BOOTREPLY, Message, MessageType, padded};
use lanboot::wire::option::code;
use lanboot::wire::pxe::BOOT_FILE_AT_ONCE;

use super::mangler::{Answer, Asked};

/// The server that gives addresses, and also files unless a reply names another server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
/// Another address, to see which of the two a machine asks.
pub const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);

/// A reply that a test changes before it is sent, first as a message and then as bytes.
#[derive(Clone, Debug)]
pub struct Reply {
    pub message: Message,
    /// Options in this order, written as they are here.
    pub options: Vec<(u8, Vec<u8>)>,
    /// Whether END is written after them.
    pub end: bool,
    pub from: SocketAddrV4,
}

impl Reply {
    /// The message type of the answer to a request.
    fn kind(question: RequestKind) -> MessageType {
        if question == RequestKind::Discover { MessageType::Offer } else { MessageType::Ack }
    }

    /// A complete answer of one server that gives `address`, without a boot file and without PXE options.
    pub fn plain(asked: &Asked, address: Ipv4Addr) -> Reply {
        let mut message = Message::new(BOOTREPLY);
        message.xid = asked.message.xid;
        message.flags = asked.message.flags;
        message.chaddr = asked.message.chaddr;
        message.yiaddr = address;
        message.siaddr = SERVER;
        let options = vec![
            (code::MESSAGE_TYPE, vec![Reply::kind(asked.question).number()]),
            (code::SERVER_IDENTIFIER, SERVER.octets().to_vec()),
            (code::LEASE_TIME, 3600u32.to_be_bytes().to_vec()),
            (code::SUBNET_MASK, vec![255, 255, 255, 0]),
        ];
        let port = if asked.question == RequestKind::BootServer { 4011 } else { 67 };
        Reply { message, options, end: true, from: SocketAddrV4::new(SERVER, port) }
    }

    /// The same with PXE options and a boot file, in the header and in the options.
    pub fn pxe(asked: &Asked, address: Ipv4Addr, file: &str) -> Reply {
        let mut reply = Reply::plain(asked, address).file(file);
        reply.set(code::VENDOR_CLASS, b"PXEClient");
        reply.set(code::VENDOR_SPECIFIC, &BOOT_FILE_AT_ONCE);
        reply
    }

    /// Names a boot file in the header and in option 67, and the server in the header and in option 66.
    pub fn file(mut self, file: &str) -> Reply {
        self.message.file = padded(file.as_bytes()).unwrap();
        self.message.sname = padded(SERVER.to_string().as_bytes()).unwrap();
        self.set(code::TFTP_SERVER_NAME, format!("{SERVER}\0").as_bytes());
        self.set(code::BOOT_FILE_NAME, format!("{file}\0").as_bytes());
        self
    }

    /// Sets an option, in place or at the end.
    pub fn set(&mut self, code: u8, value: &[u8]) {
        match self.options.iter_mut().find(|(other, _)| *other == code) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.options.push((code, value.to_vec())),
        }
    }

    pub fn with(mut self, code: u8, value: &[u8]) -> Reply {
        self.set(code, value);
        self
    }

    pub fn without(mut self, code: u8) -> Reply {
        self.options.retain(|(other, _)| *other != code);
        self
    }

    pub fn edit(mut self, edit: impl FnOnce(&mut Reply)) -> Reply {
        edit(&mut self);
        self
    }

    pub fn answer(&self) -> Answer {
        let mut bytes = Message { has_cookie: false, ..self.message.clone() }.encode();
        bytes.truncate(236);
        bytes.extend_from_slice(&[99, 130, 83, 99]);
        for (code, value) in &self.options {
            bytes.push(*code);
            bytes.push(u8::try_from(value.len()).unwrap());
            bytes.extend_from_slice(value);
        }
        if self.end {
            bytes.push(255);
        }
        if bytes.len() < 300 && self.end {
            bytes.resize(300, 0);
        }
        Answer { bytes, from: self.from }
    }
}
