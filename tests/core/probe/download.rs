//! The probe's download over a network that loses, repeats and reorders datagrams, in virtual time. It ends with the
//! file or with a reason, never with wrong content.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::probe::{Failure, Input, Kind, Machine, Ports, Progress, Step, Transmit};
use lanboot::types::{MacAddr, Timestamp};
use lanboot::wire::dhcp::{BOOTREPLY, Message, MessageType, padded};
use lanboot::wire::option::code;

use support::tftp_server::TftpServer;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);

/// A client, a server, and the wire between them.
struct Lan {
    machine: Machine,
    server: TftpServer,
    /// The client's local port; a new one for each transfer.
    port: u16,
    /// Datagrams to the client: source and payload, DHCP from port 67.
    to_client: VecDeque<(SocketAddrV4, Vec<u8>)>,
    /// Percentage of datagrams that are lost. A third as many are repeated or overtaken.
    loss: u64,
    random: u64,
    now: Timestamp,
}

impl Lan {
    fn new(kind: Kind, content: Vec<u8>, loss: u64, seed: u64) -> Lan {
        Lan {
            machine: Machine::new(kind.profile(), MacAddr([2, 0, 0, 0, 0, 1]), Ports::default(), seed),
            server: TftpServer::new(69, [("boot", content)]),
            port: 1024,
            to_client: VecDeque::new(),
            loss,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: Timestamp(1_000_000),
        }
    }

    /// Boots to the end. Returns the content received and the last progress report.
    fn boot(mut self) -> (Vec<u8>, Progress) {
        let mut content = Vec::new();
        let mut last = None;
        let started = self.machine.start(self.now);
        let mut wait_until = self.perform(started, &mut content, &mut last);
        while let Some(deadline) = wait_until {
            let arrived = self.to_client.pop_front();
            let step = match &arrived {
                Some((from, payload)) if from.port() == 67 => {
                    self.machine.handle(Input::Dhcp(payload, *from), self.now)
                }
                Some((from, payload)) => self.machine.handle(Input::Tftp(payload, *from), self.now),
                None => {
                    self.now = deadline;
                    self.machine.handle(Input::Timeout, self.now)
                }
            };
            wait_until = self.perform(step, &mut content, &mut last);
        }
        (content, last.expect("something happened"))
    }

    fn perform(
        &mut self,
        step: Step<'_>,
        content: &mut Vec<u8>,
        last: &mut Option<Progress>,
    ) -> Option<Timestamp> {
        content.extend_from_slice(step.received.unwrap_or_default());
        *last = step.progress.into_iter().next_back().or(last.take());
        for transmit in step.send {
            let (to, payload) = match transmit {
                Transmit::Dhcp(payload) => (SocketAddrV4::new(SERVER, 67), payload),
                Transmit::TftpOpen { to, payload } => {
                    self.port += 1;
                    self.to_client.clear();
                    (to, payload)
                }
                Transmit::Tftp { to, payload } => (to, payload),
                other @ (Transmit::BootServer { .. } | Transmit::Http { .. }) => panic!("{other:?}"),
            };
            if self.lost() {
                continue;
            }
            let replies = if to.port() == 67 {
                vec![(67, answer(&payload))]
            } else {
                self.server.handle(SocketAddrV4::new(CLIENT, self.port), to.port(), &payload)
            };
            for (from, payload) in replies {
                self.deliver(SocketAddrV4::new(SERVER, from), payload);
            }
        }
        step.wait_until
    }

    fn deliver(&mut self, from: SocketAddrV4, payload: Vec<u8>) {
        if self.lost() {
            return;
        }
        match self.next() % 100 {
            n if n < self.loss / 6 => self.to_client.push_back((from, payload.clone())),
            n if n < self.loss / 3 => return self.to_client.push_front((from, payload)),
            _ => {}
        }
        self.to_client.push_back((from, payload));
    }

    fn lost(&mut self) -> bool {
        self.next() % 100 < self.loss
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

/// The answer of a server that serves every client.
fn answer(request: &[u8]) -> Vec<u8> {
    let request = Message::decode(request).unwrap();
    let mut reply = Message::new(BOOTREPLY);
    reply.xid = request.xid;
    reply.chaddr = request.chaddr;
    reply.yiaddr = CLIENT;
    reply.siaddr = SERVER;
    reply.file = padded(b"boot").unwrap();
    let answer = match request.message_type() {
        Some(Ok(MessageType::Discover)) => Some(MessageType::Offer),
        Some(Ok(MessageType::Request)) => Some(MessageType::Ack),
        _ => None,
    };
    if let Some(answer) = answer {
        reply.options.push(code::MESSAGE_TYPE, &[answer.number()]);
        reply.options.push(code::SERVER_IDENTIFIER, &SERVER.octets());
    }
    reply.encode()
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn every_kind_loads_files_of_every_awkward_size() {
    for kind in Kind::ALL {
        for size in [1, 511, 512, 513, 1432, 1456, 1468, 1468 * 4, 1468 * 4 + 1, 100_000] {
            let (got, last) = Lan::new(kind, content(size), 0, 1).boot();
            assert_eq!(last, Progress::Finished { bytes: size as u64 }, "{kind:?}");
            assert!(got == content(size), "{kind:?}, {size} bytes");
        }
    }
}

#[test]
fn every_kind_loads_from_a_server_without_options() {
    for kind in Kind::ALL {
        let mut lan = Lan::new(kind, content(5000), 0, 1);
        lan.server.max_block = 0;
        assert!(lan.boot().0 == content(5000), "{kind:?}");
    }
}

#[test]
fn more_than_65535_blocks_are_loaded_with_and_without_windows() {
    for kind in [Kind::Bootp, Kind::UefiX64] {
        let mut lan = Lan::new(kind, content(65535 * 512 + 2000), 0, 1);
        lan.server.max_block = 512;
        let (got, last) = lan.boot();
        assert_eq!(last, Progress::Finished { bytes: 65535 * 512 + 2000 });
        assert!(got == content(65535 * 512 + 2000), "{kind:?}");
    }
}

#[test]
fn loss_repetition_and_reordering_end_in_the_file_or_a_reason() {
    let mut loaded = 0;
    for kind in Kind::ALL {
        for seed in 1..=40 {
            let loss = seed % 4 * 10;
            let (got, last) = Lan::new(kind, content(20_000), loss, seed).boot();
            match last {
                Progress::Finished { bytes } => {
                    loaded += 1;
                    assert_eq!(bytes, 20_000);
                    assert!(got == content(20_000), "{kind:?}, seed {seed}");
                }
                Progress::Failed(
                    Failure::TftpSilent { .. }
                    | Failure::NoOffer { .. }
                    | Failure::NoAck { .. }
                    // Our ACKs to a stray second transfer cause this error.
                    | Failure::TftpError { code: 5, .. },
                ) if loss > 0 => {}
                other => panic!("{kind:?}, seed {seed}, {loss}% loss: {other}"),
            }
        }
    }
    assert!(loaded >= 150, "only {loaded} of 200 boots");
}

#[test]
fn a_missing_file_is_reported_with_the_servers_words() {
    let mut lan = Lan::new(Kind::UefiArm64, Vec::new(), 0, 1);
    lan.server.files.clear();
    let text = lan.boot().1.to_string();
    assert_eq!(text, "failed: the TFTP server refused boot: error 1, File not found");
}
