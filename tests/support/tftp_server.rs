//! A TFTP server in memory, as a function of packets. It has no timer. Every ACK brings the next window.
//!
//! Shares only `wire::tftp` with lanboot's own server, so that neither hides a fault of the other.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;

use lanboot::wire::tftp::{ErrorCode, Options, Packet, Request};

/// The first port of transfers.
const FIRST_PORT: u16 = 50000;

/// Files, and the limits for options.
#[derive(Debug)]
pub struct TftpServer {
    /// By name.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The largest `blksize` granted; 0 for a server that knows no options at all.
    pub max_block: u16,
    /// The largest `windowsize` granted.
    pub max_window: u16,
    /// Port of the request (69), for the packets that go there.
    pub port: u16,
    transfers: HashMap<SocketAddrV4, Transfer>,
    next_port: u16,
}

#[derive(Debug)]
struct Transfer {
    port: u16,
    name: Vec<u8>,
    block_size: usize,
    window: u64,
    /// Number of blocks that the client has, without wrapping.
    acknowledged: u64,
}

/// A datagram from the server: the port it comes from, and its payload.
pub type Reply = (u16, Vec<u8>);

impl TftpServer {
    pub fn new(port: u16, files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> TftpServer {
        TftpServer {
            files: files.into_iter().map(|(name, content)| (name.as_bytes().to_vec(), content)).collect(),
            max_block: 1468,
            max_window: 8,
            port,
            transfers: HashMap::new(),
            next_port: FIRST_PORT,
        }
    }

    /// Answers `payload`, which `client` sent to port `to`.
    pub fn handle(&mut self, client: SocketAddrV4, to: u16, payload: &[u8]) -> Vec<Reply> {
        match Packet::decode(payload) {
            Ok(Packet::Rrq(request)) if to == self.port => self.open(client, &request),
            Ok(Packet::Ack(block)) => self.acknowledge(client, to, block),
            Ok(Packet::Error { .. }) => {
                self.transfers.retain(|peer, transfer| *peer != client || transfer.port != to);
                Vec::new()
            }
            other => panic!("a client sent {other:?} to port {to}"),
        }
    }

    /// Opens a transfer on a new port, also for a repeated request. The client then uses only one of them.
    fn open(&mut self, client: SocketAddrV4, request: &Request<'_>) -> Vec<Reply> {
        let port = self.next_port;
        self.next_port += 1;
        let Some(content) = self.files.get(request.name) else {
            let error = Packet::Error { code: ErrorCode::NOT_FOUND, message: b"File not found" };
            return vec![(port, error.encode())];
        };
        let granted = if self.max_block == 0 {
            Options { block_size: None, timeout: None, transfer_size: None, window_size: None }
        } else {
            Options {
                block_size: request.options.block_size.map(|size| size.min(self.max_block)),
                timeout: None,
                transfer_size: request.options.transfer_size.map(|_| content.len() as u64),
                window_size: request.options.window_size.map(|window| window.min(self.max_window)),
            }
        };
        let transfer = Transfer {
            port,
            name: request.name.to_vec(),
            block_size: granted.block_size.unwrap_or(512).into(),
            window: granted.window_size.unwrap_or(1).into(),
            acknowledged: 0,
        };
        let plain =
            granted == Options { block_size: None, timeout: None, transfer_size: None, window_size: None };
        let replies =
            if plain { transfer.send_window(content) } else { vec![(port, Packet::OAck(granted).encode())] };
        self.transfers.insert(client, transfer);
        replies
    }

    fn acknowledge(&mut self, client: SocketAddrV4, to: u16, block: u16) -> Vec<Reply> {
        let Some(transfer) = self.transfers.get_mut(&client).filter(|transfer| transfer.port == to) else {
            let error = Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER, message: b"Unknown transfer ID" };
            return vec![(to, error.encode())];
        };
        // The acknowledged block with this 16-bit number: at most one window after the last ACK, or an old one.
        let step = u64::from(block.wrapping_sub(transfer.acknowledged as u16));
        if step <= transfer.window {
            transfer.acknowledged += step;
        } else {
            return Vec::new();
        }
        match self.files.get(&transfer.name) {
            Some(content) => transfer.send_window(content),
            None => Vec::new(),
        }
    }
}

impl Transfer {
    /// The blocks after the last one that the client has. Empty if it has all of them.
    fn send_window(&self, content: &[u8]) -> Vec<Reply> {
        let last = (content.len() / self.block_size) as u64 + 1;
        let until = (self.acknowledged + self.window).min(last);
        (self.acknowledged + 1..=until)
            .map(|block| {
                let start = (block as usize - 1) * self.block_size;
                let end = (start + self.block_size).min(content.len());
                (self.port, Packet::Data { block: block as u16, data: &content[start..end] }.encode())
            })
            .collect()
    }
}
