//! Transfers during a shutdown of `lanboot serve`: the real binary, and clients with transfers in progress.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lanboot::server::drain;
use lanboot::wire::tftp::{Mode, Options, Packet, Request};
use nix::sys::signal::Signal;
use support::lab::{Lab, Serving, content, lease};
use support::one_at_a_time;

/// More than the kernel buffers by itself.
const LARGE: u64 = 64 << 20;

/// A lab with a large file.
fn lab() -> Lab {
    let lab = Lab::new();
    File::create(lab.path().join("boot-images/large")).unwrap().set_len(LARGE).unwrap();
    lab
}

fn connect(lab: &Lab) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A connection that requested `path` and has received the first kibibyte of the answer.
fn ask(lab: &Lab, path: &str) -> TcpStream {
    let mut stream = connect(lab);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1024]).unwrap();
    stream
}

/// Number of bytes that arrive until the connection ends.
fn rest(mut stream: TcpStream) -> u64 {
    let mut all = Vec::new();
    // An aborted connection may be reset.
    let _ = stream.read_to_end(&mut all);
    all.len() as u64
}

/// Time until the server exits, and its last lines.
fn ended(serving: Serving) -> (Duration, Vec<String>) {
    let began = Instant::now();
    let (status, lines) = serving.ended();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    (began.elapsed(), lines)
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

#[test]
fn an_http_transfer_finishes_and_idle_connections_close_at_once() {
    let _alone = one_at_a_time();
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    let idle = ask(&lab, "/snponly.efi");
    let mut idle_rest = idle.try_clone().unwrap();
    let took = content("snponly.efi").len();
    let mut whole = vec![0; took];
    idle_rest.read_exact(&mut whole[..took - 1024 + 100]).unwrap();
    let half_a_head = connect(&lab);
    (&half_a_head).write_all(b"GET /snponly").unwrap();
    let download = ask(&lab, "/large");
    serving.ask_to_stop();
    serving.wait_for("stopping: 1 HTTP and 0 TFTP transfers are running and have 10 s to finish");
    let began = Instant::now();
    rest(idle);
    rest(half_a_head);
    assert!(began.elapsed() < Duration::from_secs(2), "they were not closed: {:?}", began.elapsed());
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).err().map(|error| error.kind());
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));
    let got = rest(download);
    assert!(got > LARGE - 1024, "{got} bytes of {LARGE}");
    let (took, lines) = ended(serving);
    assert!(took < drain::LIMIT / 2, "{took:?}");
    assert!(has(&lines, "s for transfers: 1 finished, 0 aborted"), "{lines:#?}");
    assert!(has(&lines, "sent large to 127.0.0.1 64.0 MiB"), "{lines:#?}");
}

#[test]
fn a_transfer_that_takes_too_long_is_cut_off() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    let stuck = ask(&lab, "/large");
    serving.ask_to_stop();
    let (took, lines) = ended(serving);
    assert!((drain::LIMIT..drain::LIMIT + Duration::from_secs(5)).contains(&took), "{took:?}");
    assert!(has(&lines, "s for transfers: 0 finished, 1 aborted"), "{lines:#?}");
    assert!(has(&lines, "stopped sending large to 127.0.0.1 by HTTP after "), "{lines:#?}");
    assert!(has(&lines, "of 64.0 MiB reason=server_stops"), "{lines:#?}");
    assert!(rest(stuck) < LARGE);
}

#[test]
fn a_second_signal_ends_at_once() {
    let _alone = one_at_a_time();
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    let stuck = ask(&lab, "/large");
    let asked = tftp(&lab, "snponly.efi");
    serving.ask_to_stop();
    serving.wait_for("stopping: 1 HTTP and 1 TFTP transfers are running");
    serving.ask_to_stop();
    let (took, lines) = ended(serving);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(has(&lines, "s for transfers: 0 finished, 2 aborted"), "{lines:#?}");
    assert!(has(&lines, "by HTTP after ") && has(&lines, "reason=server_stops"), "{lines:#?}");
    assert!(has(&lines, "lanboot stops"), "{lines:#?}");
    drop((stuck, asked));
}

/// `kill -HUP`, or a terminal that closes.
#[test]
fn a_hangup_reloads_and_ends_nothing() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    serving.signal(Signal::SIGHUP);
    serving.wait_for("the configuration is reloaded");
    serving.signal(Signal::SIGHUP);
    lease(lab.ports, 1);
    serving.ask_to_stop();
    let (_, lines) = ended(serving);
    assert!(has(&lines, "DHCPACK(lo)") && has(&lines, "stopped"), "{lines:#?}");
}

#[test]
fn nothing_is_waited_for_when_nothing_is_under_way() {
    let _alone = one_at_a_time();
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    serving.ask_to_stop();
    let (took, lines) = ended(serving);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!has(&lines, "for transfers") && has(&lines, "stopped"), "{lines:#?}");
}

/// A socket that requested `name` by TFTP, block by block, and has received nothing yet.
fn tftp(lab: &Lab, name: &str) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let request = Request { name: name.as_bytes(), mode: Mode::Octet, options: Options::default() };
    socket.send_to(&Packet::Rrq(request).encode(), (Ipv4Addr::LOCALHOST, lab.ports.tftp)).unwrap();
    socket
}

/// Appends the next block to `got`, unless it is a block that was sent again, and acknowledges it.
fn block(socket: &UdpSocket, got: &mut Vec<u8>) {
    let mut buffer = [0; 600];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let Ok(Packet::Data { block, data }) = Packet::decode(&buffer[..length]) else {
        panic!("{:02x?}", &buffer[..length]);
    };
    socket.send_to(&Packet::Ack(block).encode(), from).unwrap();
    if usize::from(block) == got.len() / 512 + 1 {
        got.extend(data);
    }
}

#[test]
fn a_tftp_transfer_comes_to_its_end_and_no_other_begins() {
    for engine in ["native", "async-tftp"] {
        let lab = lab();
        let config = lab.config().replace("tftp: {", &format!("tftp: {{engine: {engine}, "));
        lab.write_config(&config);
        let serving = lab.serve(&["serve", "--log", "debug"]);
        let socket = tftp(&lab, "undionly.kpxe");
        let mut got = Vec::new();
        block(&socket, &mut got);
        serving.ask_to_stop();
        serving.wait_for("stopping: 0 HTTP and 1 TFTP transfers are running");
        let other = tftp(&lab, "undionly.kpxe");
        match engine {
            "native" => serving.wait_for("reason=tftp_server_stops"),
            _ => serving.wait_for("refused undionly.kpxe"),
        };
        while got.len() < content("undionly.kpxe").len() {
            block(&socket, &mut got);
        }
        assert!(got == content("undionly.kpxe"), "{engine}: {} bytes", got.len());
        let (took, lines) = ended(serving);
        assert!(took < drain::LIMIT / 2, "{engine}: {took:?}");
        assert!(has(&lines, "1 finished, 0 aborted"), "{engine}: {lines:#?}");
        drop(other);
    }
}

/// The unit allows the server enough time to stop.
#[test]
fn systemd_waits_for_longer_than_transfers_may_take() {
    let unit = include_str!("../../systemd/lanboot.service");
    let value = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s'));
    let seconds: u64 = value.unwrap().parse().unwrap();
    assert!(Duration::from_secs(seconds) >= drain::LIMIT * 2, "{seconds} s");
}
