//! A DHCP client of the real server, for tests that observe the server's process.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use lanboot::wire::dhcp::{Message, MessageType};

use crate::lab::{Lab, Serving};
use crate::world::message;

/// A DHCP client of the real server on loopback.
pub struct Client {
    pub socket: UdpSocket,
    pub mac: [u8; 6],
    xid: u32,
}

impl Client {
    /// The client with MAC 02:00:00:00 and this number.
    pub fn new(lab: &Lab, n: u16) -> Client {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        let [high, low] = n.to_be_bytes();
        Client { socket, mac: [2, 0, 0, 0, high, low], xid: u32::from(n) << 16 }
    }

    pub fn message(&mut self, kind: MessageType, options: &[(u8, &[u8])]) -> Message {
        let mut message = message(0, kind, options);
        message.chaddr[..6].copy_from_slice(&self.mac);
        self.xid += 1;
        Message { xid: self.xid, ..message }
    }

    /// The answer to a message, if one arrives in time.
    pub fn ask(&mut self, kind: MessageType, options: &[(u8, &[u8])]) -> Option<Message> {
        let message = self.message(kind, options);
        self.exchange(&message)
    }

    pub fn exchange(&self, message: &Message) -> Option<Message> {
        self.socket.send(&message.encode()).ok()?;
        let mut bytes = [0; 1500];
        loop {
            let len = self.socket.recv(&mut bytes).ok()?;
            let answer = Message::decode(&bytes[..len]).unwrap();
            if answer.xid == message.xid {
                return Some(answer);
            }
        }
    }

    /// The ACK to a REQUEST for the offered address.
    pub fn take(&mut self, address: Ipv4Addr) -> Option<Message> {
        let options: [(u8, &[u8]); 2] = [(50, &address.octets()), (54, &Ipv4Addr::LOCALHOST.octets())];
        let answer = self.ask(MessageType::Request, &options)?;
        (answer.message_type() == Some(Ok(MessageType::Ack))).then_some(answer)
    }

    pub fn renew(&mut self, address: Ipv4Addr) -> Option<Message> {
        let message = self.message(MessageType::Request, &[]);
        let answer = self.exchange(&Message { ciaddr: address, ..message })?;
        (answer.message_type() == Some(Ok(MessageType::Ack))).then_some(answer)
    }

    pub fn lease(&mut self) -> Option<Ipv4Addr> {
        let address = self.ask(MessageType::Discover, &[])?.yiaddr;
        self.take(address).map(|ack| ack.yiaddr)
    }

    pub fn hardware(&self) -> String {
        self.mac.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Memory of the server's process in RAM, in KiB.
pub fn resident(serving: &Serving) -> i64 {
    resident_of(serving.pid())
}

/// The same for the process with this id.
pub fn resident_of(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
