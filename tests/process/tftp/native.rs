//! lanboot's own TFTP server over loopback: real clients, and hand-made packets where no client behaves as the test
//! needs. Tests that need no socket are in tests/core/tftp.rs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use lanboot::event::{Event, Refusal, TransferStop, Unanswered, UploadStop};
use lanboot::tftp::rtt::RoundTrip;
use lanboot::tftp::{Limits, Ports};
use lanboot::wire::tftp::{ErrorCode, Mode, Options, Packet, Request};
use support::need;
use support::one_at_a_time;
use support::tftp_live::{
    self as live, LOOPBACK_MTU, Server, Setup, block, client, content, count, curl, error_of, fetch_all,
    limits, next, rrq,
};

fn server() -> Server {
    Server::native(Setup::default())
}

fn ack(socket: &UdpSocket, block: u16) {
    socket.send(&Packet::Ack(block).encode()).unwrap();
}

fn unanswered(server: &Server, wanted: Unanswered) -> Event {
    server.event(|event| matches!(event, Event::TftpUnanswered { reason, .. } if *reason == wanted))
}

/// Fetches `name` in one window after another, and returns its bytes.
fn fetch(server: &Server, name: &str, options: Options) -> Vec<u8> {
    let (socket, first) = server.ask(rrq(name, options));
    receive(&socket, first)
}

/// Receives a file whose first answer is `answer`, and returns its bytes.
fn receive(socket: &UdpSocket, mut answer: Vec<u8>) -> Vec<u8> {
    let (mut size, mut window) = (512, 1);
    if let Ok(Packet::OAck(granted)) = Packet::decode(&answer) {
        size = granted.block_size.unwrap_or(512).into();
        window = granted.window_size.unwrap_or(1);
        ack(socket, 0);
        answer = next(socket);
    }
    let (mut bytes, mut number) = (Vec::new(), 1_u16);
    loop {
        let Ok(Packet::Data { block, data }) = Packet::decode(&answer) else { panic!("{answer:?}") };
        if block != number {
            // On a busy machine, the end of a window may be sent again.
            let behind = number.wrapping_sub(block);
            assert!(
                (1..=window).contains(&behind),
                "block {block} for {number}: nothing is lost on loopback"
            );
            answer = next(socket);
            continue;
        }
        bytes.extend_from_slice(data);
        let last = data.len() < size;
        if last || number % window == 0 {
            ack(socket, number);
        }
        if last {
            return bytes;
        }
        number = number.wrapping_add(1);
        answer = next(socket);
    }
}

#[test]
fn curl_fetches_every_size() {
    if need("curl", "curl") {
        fetch_all(&server(), |name, got, port| curl(&[], name, got, port));
    }
}

#[test]
fn curl_fetches_every_size_with_a_larger_block() {
    if need("curl", "curl") {
        fetch_all(&server(), |name, got, port| curl(&["--tftp-blksize", "1468"], name, got, port));
    }
}

#[test]
fn curl_fetches_every_size_without_options() {
    if need("curl", "curl") {
        fetch_all(&server(), |name, got, port| curl(&["--tftp-no-options"], name, got, port));
    }
}

fn atftp(options: &[&str], name: &str, got: &std::path::Path, port: u16) -> Command {
    let mut command = Command::new("atftp");
    for option in options {
        command.args(["--option", option]);
    }
    command.args(["-g", "-r", name, "-l"]).arg(got);
    command.arg("127.0.0.1").arg(port.to_string());
    command
}

#[test]
fn atftp_fetches_every_size() {
    if need("atftp", "atftp") {
        fetch_all(&server(), |name, got, port| atftp(&["blksize 512"], name, got, port));
    }
}

#[test]
fn atftp_fetches_every_size_with_a_window() {
    if need("atftp", "atftp") {
        fetch_all(&server(), |name, got, port| atftp(&["blksize 512", "windowsize 8"], name, got, port));
    }
}

#[test]
fn tftp_hpa_fetches_every_size() {
    if need("tftp", "tftp-hpa") {
        fetch_all(&server(), |name, got, port| {
            let mut command = Command::new("tftp");
            command.args(["-m", "binary", "127.0.0.1", &port.to_string(), "-c", "get", name]).arg(got);
            command
        });
    }
}

#[test]
fn one_port_is_enough_for_everything() {
    if need("curl", "curl") {
        let server = Server::native(Setup { ports: Ports::Single, ..Setup::default() });
        fetch_all(&server, |name, got, port| curl(&["--tftp-blksize", "1468"], name, got, port));
        assert_eq!(server.error("missing").0, ErrorCode::NOT_FOUND);
        let (socket, _) = server.ask(rrq("short", Options::default()));
        assert_eq!(socket.peer_addr().unwrap().port(), server.port);
    }
}

#[test]
fn a_range_of_ports_is_kept_to() {
    let (first, last) = (41_800, 41_820);
    let server = Server::native(Setup { ports: Ports::Range { first, last }, ..Setup::default() });
    let open: Vec<UdpSocket> = (0..5).map(|_| server.ask(rrq("long", Options::default())).0).collect();
    for socket in &open {
        assert!((first..=last).contains(&socket.peer_addr().unwrap().port()));
    }
    let missing = client();
    missing
        .send_to(&rrq("missing", Options::default()).encode(), (Ipv4Addr::LOCALHOST, server.port))
        .unwrap();
    let (_, from) = missing.recv_from(&mut [0; 100]).unwrap();
    assert_eq!(from.port(), server.port, "an error takes no port of the range");
}

#[test]
fn every_port_of_a_range_is_a_transfer_and_the_silent_give_way_for_those_beyond() {
    for (first, last) in [(41_881, 41_881), (41_882, 41_883), (41_884, 41_891)] {
        let server = Server::native(Setup { ports: Ports::Range { first, last }, ..Setup::default() });
        let silent: Vec<UdpSocket> = (0..40)
            .map(|_| {
                let (socket, answer) = server.ask(rrq("long", Options::default()));
                assert_eq!(block(&answer), 1, "{first}-{last}");
                socket
            })
            .collect();
        let count = usize::from(last - first) + 1;
        assert_eq!(server.active_transfers(), count);
        let mut ports: Vec<u16> =
            silent[..count].iter().map(|socket| socket.peer_addr().unwrap().port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, (first..=last).collect::<Vec<_>>());
    }
}

#[test]
fn rfc1350_4_each_transfer_has_its_own_port() {
    let server = server();
    let (socket, _) = server.ask(rrq("long", Options::default()));
    let (other, _) = server.ask(rrq("long", Options::default()));
    let ports = [&socket, &other].map(|socket| socket.peer_addr().unwrap().port());
    assert!(ports[0] != server.port && ports[1] != server.port && ports[0] != ports[1], "{ports:?}");
}

#[test]
fn replies_come_from_the_address_the_request_came_to() {
    for ports in [Ports::Ephemeral, Ports::Single] {
        let address = Ipv4Addr::UNSPECIFIED;
        let server = Server::native(Setup { address, ports, ..Setup::default() });
        for asked in [[127, 0, 0, 1], [127, 0, 0, 9], [127, 1, 2, 3]] {
            for name in ["short", "missing"] {
                let socket = client();
                let request = rrq(name, Options::default()).encode();
                socket.send_to(&request, (Ipv4Addr::from(asked), server.port)).unwrap();
                let (_, from) = socket.recv_from(&mut [0; 1000]).unwrap();
                assert_eq!(from.ip(), Ipv4Addr::from(asked), "{name} {ports:?}");
            }
        }
    }
}

#[test]
fn rfc2348_a_block_is_never_larger_than_the_interface_carries() {
    let server = server();
    let asked = |block_size| Options { block_size: Some(block_size), ..Options::default() };
    assert_eq!(server.oack("long", asked(65464)), asked(1468));
    assert_eq!(server.oack("long", asked(1024)), asked(1024));
    assert_eq!(server.oack("long", asked(8)), asked(8));
    let limits = Limits { max_block_size: Some(1024), ..limits() };
    let configured = Server::native(Setup { limits, ..Setup::default() });
    assert_eq!(configured.oack("long", asked(1468)), asked(1024));
}

#[test]
fn rfc7440_every_window_and_block_size_brings_the_file() {
    let server = Server::native(Setup { mtu: LOOPBACK_MTU, ..Setup::default() });
    let file = content((3 << 20) + 17);
    fs::write(server.root().join("large"), &file).unwrap();
    for (block_size, window_size) in
        [(512, 1), (1468, 4), (1468, 16), (1468, 64), (1400, 7), (9000, 8), (65464, 2)]
    {
        let asked = Options {
            block_size: Some(block_size),
            window_size: Some(window_size),
            transfer_size: Some(0),
            timeout: None,
        };
        let got = fetch(&server, "large", asked);
        assert!(got == file, "{block_size} {window_size}");
    }
    server.wait_until_idle();
    let resent: u64 = server
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::TftpSent { resent, .. } => *resent,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(resent, 0);
}

#[test]
fn rfc2347_an_answer_that_is_longer_than_a_block_is_one_datagram() {
    for ports in [Ports::Ephemeral, Ports::Single] {
        for size in [8, 9, 32, 123, 124] {
            let server = Server::native(Setup { ports, ..Setup::default() });
            let asked = Options {
                block_size: Some(size),
                window_size: Some(4),
                timeout: Some(10),
                ..Options::default()
            };
            let (socket, answer) = server.ask(rrq("long", asked));
            assert_eq!(Packet::decode(&answer), Ok(Packet::OAck(asked)), "{ports:?}");
            ack(&socket, 0);
            for number in 1..=4 {
                assert_eq!(block(&next(&socket)), number, "{ports:?}: blocks of {size} bytes");
            }
            drop(server);
            assert_eq!(error_of(&next(&socket)).1, "The server stops", "{ports:?}: blocks of {size} bytes");
        }
    }
}

#[test]
fn t_12_no_more_than_a_window_is_sent_unacknowledged() {
    let server = server();
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let asked = Options { window_size: Some(65535), ..Options::default() };
    let (socket, _) = server.ask(rrq("large", asked));
    ack(&socket, 0);
    let blocks: Vec<u16> = (0..64).map(|_| block(&next(&socket))).collect();
    assert_eq!(blocks, (1..=64).collect::<Vec<u16>>());
    assert_eq!(block(&next(&socket)), 64, "its end once more, in case that was lost");
    assert_eq!(block(&next(&socket)), 1, "what follows is the same window, sent again");
}

#[test]
fn t_20_uploads_are_refused_and_write_nothing() {
    let server = server();
    for (name, options) in
        [("new", Options::default()), ("long", Options { transfer_size: Some(1), ..Options::default() })]
    {
        let request = Packet::Wrq(Request { name: name.as_bytes(), mode: Mode::Octet, options });
        assert_eq!(error_of(&server.ask(request).1).0, ErrorCode::ACCESS_VIOLATION);
    }
    assert_eq!(server.refusal(), ("new".to_owned(), Refusal::Upload));
    assert!(!server.root().join("new").exists());
    assert_eq!(fs::read(server.root().join("long")).unwrap(), content(513));
}

#[test]
fn t_08_a_missing_file_is_said_to_be_so_without_a_path() {
    let server = server();
    let long = "x".repeat(255);
    for name in ["missing", "sub", "sub/missing", "/etc/passwd", "%2e%2e/secret", &long] {
        let not_found = (ErrorCode::NOT_FOUND, "File not found".to_owned());
        assert_eq!(server.error(name), not_found, "{name}");
    }
    assert_eq!(server.refusal(), ("missing".to_owned(), Refusal::NotFound));
}

#[test]
fn t_19_no_name_leads_outside_the_folder() {
    let server = server();
    fs::write(server.base.path().join("secret"), "secret").unwrap();
    symlink("../secret", server.root().join("out")).unwrap();
    symlink(server.base.path().join("secret"), server.root().join("absolute")).unwrap();
    symlink("..", server.root().join("parent")).unwrap();
    let names =
        ["../secret", r"..\secret", "sub/../../secret", "/../secret", "out", "absolute", "parent/secret", ""];
    for name in names {
        let refused = (ErrorCode::ACCESS_VIOLATION, "Access violation".to_owned());
        assert_eq!(server.error(name), refused, "{name}");
    }
}

#[test]
fn t_19_backslashes_leading_slashes_and_trailing_junk_find_the_file() {
    let server = server();
    fs::write(server.root().join("sub/bcd"), "bcd").unwrap();
    for name in [r"\sub\bcd", "/sub/bcd", "//sub/./bcd", "sub/bcd "] {
        assert_eq!(fetch(&server, name, Options::default()), b"bcd", "{name}");
    }
}

#[test]
fn t_13_strangers_get_nothing_until_their_network_is_allowed() {
    let server = Server::native(Setup { served: "192.0.2.0/24", ..Setup::default() });
    let stranger = client();
    for name in ["long", "missing"] {
        let request = rrq(name, Options::default()).encode();
        stranger.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    }
    let upload = Packet::Wrq(Request { name: b"x", mode: Mode::Octet, options: Options::default() });
    stranger.send_to(&upload.encode(), (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    unanswered(&server, Unanswered::NotAllowed);
    assert_eq!(count(&stranger, Duration::from_millis(300)), 0);

    let limits = Limits { allow: vec!["127.0.0.0/8".parse().unwrap()], ..limits() };
    let server = Server::native(Setup { limits, served: "192.0.2.0/24", ..Setup::default() });
    assert_eq!(fetch(&server, "short", Options::default()), content(511));
}

#[test]
fn t_13_a_silent_source_gets_three_copies_of_the_first_answer() {
    let server = server();
    for options in [Options::default(), Options { transfer_size: Some(0), ..Options::default() }] {
        let (socket, _) = server.ask(rrq("long", options));
        assert_eq!(count(&socket, Duration::from_millis(4500)), 2, "after 1 and 2 s");
    }
    let silent =
        |event: &Event| matches!(event, Event::TftpStopped { stop: TransferStop::Silent, resent: 2, .. });
    server.event(silent);
    server.wait_until_idle();
}

#[test]
fn t_13_errors_to_one_network_are_bounded() {
    let server = server();
    let socket = client();
    let request = rrq("missing", Options::default()).encode();
    let until = Instant::now() + Duration::from_secs(20);
    let refused =
        |event: &Event| matches!(event, Event::TftpUnanswered { reason: Unanswered::ErrorRate, .. });
    while !server.events.lock().unwrap().iter().any(refused) {
        assert!(Instant::now() < until, "thousands of errors a second were sent");
        for _ in 0..500 {
            socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        }
    }
}

#[test]
fn transfers_are_bounded_in_number() {
    let limits = Limits { max_transfers: 1, ..limits() };
    let server = Server::native(Setup { limits, ..Setup::default() });
    fs::write(server.root().join("large"), content(4 << 10)).unwrap();
    let (first, _) = server.ask(rrq("large", Options::default()));
    ack(&first, 1);
    assert_eq!(block(&next(&first)), 2, "it gets on");
    assert_eq!(server.error("short"), (ErrorCode::UNDEFINED, "Server is busy, try again".to_owned()));
    assert_eq!(server.refusal(), ("short".to_owned(), Refusal::Busy));
    first.send(&Packet::Error { code: ErrorCode::UNDEFINED, message: b"enough" }.encode()).unwrap();
    server.wait_until_idle();
    assert_eq!(fetch(&server, "short", Options::default()), content(511));
}

#[test]
fn a_transfer_without_acknowledgement_is_evicted_first() {
    let limits = Limits { max_per_client: 2, ..limits() };
    let server = Server::native(Setup { limits, ..Setup::default() });
    let silent: Vec<UdpSocket> = (0..5).map(|_| server.ask(rrq("long", Options::default())).0).collect();
    server.wait("three gave way", || {
        let evicted =
            |event: &&Event| matches!(event, Event::TftpStopped { stop: TransferStop::Evicted, .. });
        server.events.lock().unwrap().iter().filter(evicted).count() == 3
    });
    assert_eq!(server.active_transfers(), 2);
    assert_eq!(fetch(&server, "short", Options::default()), content(511));
    drop(silent);
}

/// CVE-2024-2169: two servers that answer errors with errors never stop.
#[test]
fn t_01_what_is_no_request_gets_no_answer() {
    for ports in [Ports::Ephemeral, Ports::Single] {
        let server = Server::native(Setup { ports, ..Setup::default() });
        let socket = client();
        let packets: [&[u8]; 10] = [
            b"",
            b"\0",
            b"\0\x05",
            b"\0\x05\0",
            b"\0\x05\0\x01x\0",
            b"\0\x04\0\x01",
            b"\0\x03\0\x01x",
            b"\0\x06",
            b"\0\0",
            b"\0\x63",
        ];
        for packet in packets {
            socket.send_to(packet, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        }
        unanswered(&server, Unanswered::NotRequest);
        assert_eq!(count(&socket, Duration::from_millis(300)), 0);
        assert_eq!(fetch(&server, "short", Options::default()), content(511), "and it goes on");
    }
}

#[test]
fn rfc1350_5_a_request_that_cannot_be_read_gets_error_4() {
    for ports in [Ports::Ephemeral, Ports::Single] {
        let server = Server::native(Setup { ports, served: "127.0.0.1/32", ..Setup::default() });
        let requests: [&[u8]; 7] = [
            b"\0\x01",
            b"\0\x01short",
            b"\0\x01short\0",
            b"\0\x01short\0octet",
            b"\0\x01short\0mail\0",
            b"\0\x01short\0\0",
            b"\0\x02x\0octet\0blksize\0",
        ];
        for request in requests {
            let socket = client();
            socket.send_to(request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
            assert_eq!(error_of(&next(&socket)).0, ErrorCode::ILLEGAL, "{request:?}");
        }
        unanswered(&server, Unanswered::Malformed);
        let stranger = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        stranger.send_to(requests[0], (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        assert_eq!(
            count(&stranger, Duration::from_millis(300)),
            0,
            "a client that is not allowed gets no answer"
        );
        unanswered(&server, Unanswered::NotAllowed);
    }
}

#[test]
fn t_05_a_name_that_is_too_long_gets_an_error() {
    let server = server();
    for (len, code) in [
        (400, ErrorCode::ACCESS_VIOLATION),
        (1500, ErrorCode::ACCESS_VIOLATION),
        (4096, ErrorCode::ILLEGAL),
        (60_000, ErrorCode::ILLEGAL),
    ] {
        let name = "x".repeat(len);
        let socket = client();
        let request = rrq(&name, Options::default()).encode();
        socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        assert_eq!(error_of(&next(&socket)).0, code, "{len}");
    }
    unanswered(&server, Unanswered::Malformed);
    assert_eq!(fetch(&server, "short", Options::default()), content(511));
}

#[test]
fn t_02_short_errors_to_a_transfer_are_survived() {
    let server = server();
    let (socket, _) = server.ask(rrq("long", Options::default()));
    for packet in [b"\0\x05".as_slice(), b"", b"\0", b"\0\x05\0"] {
        socket.send(packet).unwrap();
    }
    ack(&socket, 1);
    assert_eq!(block(&next(&socket)), 2, "what is no packet is passed over");
    socket.send(b"\0\x05\0\0").unwrap();
    server.event(|event| {
        matches!(event, Event::TftpStopped { stop: TransferStop::Refused { code: 0, .. }, .. })
    });
}

#[test]
fn t_14_a_size_probe_is_over_at_once() {
    let _alone = one_at_a_time();
    let server = server();
    let asked = Options { transfer_size: Some(0), block_size: Some(1468), ..Options::default() };
    for code in [ErrorCode::OPTIONS, ErrorCode::UNDEFINED] {
        let (probe, answer) = server.ask(rrq("long", asked));
        assert!(matches!(Packet::decode(&answer), Ok(Packet::OAck(o)) if o.transfer_size == Some(513)));
        let began = Instant::now();
        probe.send(&Packet::Error { code, message: b"User aborted the transfer" }.encode()).unwrap();
        let port = probe.local_addr().unwrap().port();
        server.event(|event| matches!(event, Event::TftpSizeProbe { peer, .. } if peer.port() == port));
        server.wait_until_idle();
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(count(&probe, Duration::from_millis(50)), 0);
    }
}

#[test]
fn t_16_a_request_sent_twice_is_one_transfer() {
    for ports in [Ports::Ephemeral, Ports::Single] {
        let server = Server::native(Setup { ports, ..Setup::default() });
        let socket = client();
        let request = rrq("long", Options::default()).encode();
        for _ in 0..3 {
            socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        }
        unanswered(&server, Unanswered::Duplicate);
        assert_eq!(server.active_transfers(), 1);
        assert_eq!(count(&socket, RoundTrip::FIRST_TIMEOUT * 3 / 4), 1);
    }
}

#[test]
fn another_request_from_the_same_port_starts_a_new_transfer() {
    let server = server();
    let socket = client();
    for (name, size) in [("long", 512), ("short", 511)] {
        let request = rrq(name, Options::default()).encode();
        socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        assert_eq!(next(&socket).len(), 4 + size);
    }
    server.event(|event| matches!(event, Event::TftpStopped { stop: TransferStop::Replaced, .. }));
    assert_eq!(server.active_transfers(), 1);
}

#[test]
fn a_port_used_again_at_once_gets_its_next_file() {
    let server = server();
    let socket = client();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let request = rrq("short", Options::default()).encode();
    let mut late = 0;
    for _ in 0..500 {
        socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        // The last ACK and the next request leave together.
        match socket.recv_from(&mut [0; 600]) {
            Ok((_, from)) => _ = socket.send_to(&Packet::Ack(1).encode(), from).unwrap(),
            Err(_) => late += 1,
        }
    }
    assert_eq!(late, 0, "requests were taken for copies");
}

#[test]
fn rfc1123_4_2_3_5_a_request_to_all_gets_no_answer() {
    let server = Server::native(Setup { address: Ipv4Addr::UNSPECIFIED, ..Setup::default() });
    let socket = client();
    socket.set_broadcast(true).unwrap();
    let request = rrq("short", Options::default()).encode();
    socket.send_to(&request, (Ipv4Addr::new(127, 255, 255, 255), server.port)).unwrap();
    unanswered(&server, Unanswered::Broadcast);
    assert_eq!(count(&socket, Duration::from_millis(200)), 0);
}

#[test]
fn f_18_a_file_replaced_during_a_transfer_is_finished_as_it_was() {
    let server = server();
    let (old, new) = (content(100_000), vec![9; 100_000]);
    fs::write(server.root().join("kernel"), &old).unwrap();
    let (socket, first) = server.ask(rrq("kernel", Options::default()));
    fs::write(server.root().join("kernel.new"), &new).unwrap();
    fs::rename(server.root().join("kernel.new"), server.root().join("kernel")).unwrap();
    let mut got = first[4..].to_vec();
    let mut number = 1;
    while got.len() < old.len() {
        ack(&socket, number);
        got.extend_from_slice(&next(&socket)[4..]);
        number += 1;
    }
    assert!(got == old);
    assert!(fetch(&server, "kernel", Options::default()) == new);
}

#[test]
fn a_file_that_becomes_shorter_ends_in_an_error() {
    let server = server();
    fs::write(server.root().join("log"), content(200_000)).unwrap();
    let (socket, _) = server.ask(rrq("log", Options::default()));
    fs::write(server.root().join("log"), b"short").unwrap();
    let mut number = 1;
    let error = loop {
        ack(&socket, number);
        let answer = next(&socket);
        match Packet::decode(&answer) {
            Ok(Packet::Data { block, data }) => {
                assert_eq!((block, data.len()), (number + 1, 512), "never the end of the file");
                number = block;
            }
            _ => break answer,
        }
    };
    assert_eq!(error_of(&error), (ErrorCode::UNDEFINED, "The server's disk failed".to_owned()));
    server.event(|event| matches!(event, Event::TftpStopped { stop: TransferStop::Unreadable, .. }));
}

#[test]
fn a_client_that_closes_its_port_is_let_go_at_once() {
    let server = server();
    let (socket, _) = server.ask(rrq("long", Options::default()));
    ack(&socket, 1);
    next(&socket);
    drop(socket);
    server.event(|event| matches!(event, Event::TftpStopped { stop: TransferStop::Unreachable, .. }));
    assert_eq!(server.active_transfers(), 0);
}

#[test]
fn t_07_ten_thousand_requests_and_errors_leave_nothing_behind() {
    let _alone = one_at_a_time();
    let server = server();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let sockets: Vec<UdpSocket> = (0..200).map(|_| client()).collect();
    let before = open();
    let asked = Options { transfer_size: Some(0), ..Options::default() };
    let mut buf = [0; 600];
    for round in 0..50 {
        for (i, socket) in sockets.iter().enumerate() {
            let request = rrq(if (i + round) % 2 == 0 { "long" } else { "short" }, asked).encode();
            socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
        }
        for (i, socket) in sockets.iter().enumerate() {
            let (_, from) = socket.recv_from(&mut buf).unwrap();
            if (i * 7 + round) % 3 > 0 {
                let error = Packet::Error { code: ErrorCode::OPTIONS, message: b"" };
                socket.send_to(&error.encode(), from).unwrap();
            }
        }
    }
    drop(sockets);
    server.wait("all transfers are over", || server.active_transfers() == 0);
    server.wait("all sockets are closed", || open() < before);
    assert_eq!(fetch(&server, "short", Options::default()), content(511));
}

#[test]
fn stopping_ends_transfers_with_an_event_and_a_word_to_the_client() {
    let server = server();
    let (socket, _) = server.ask(rrq("long", Options::default()));
    let events = server.events.clone();
    drop(server);
    let stopped = |event: &Event| matches!(event, Event::TftpStopped { stop: TransferStop::ServerStops, .. });
    assert!(events.lock().unwrap().iter().any(stopped));
    assert_eq!(error_of(&next(&socket)).1, "The server stops");
}

/// The complete program with 40 descriptors.
#[test]
fn f_14_without_descriptors_transfers_are_refused_and_nothing_spins() {
    let _alone = one_at_a_time();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("boot-images")).unwrap();
    fs::write(folder.path().join("boot-images/short"), content(511)).unwrap();
    let port = client().local_addr().unwrap().port();
    let config = format!(
        "dhcp: {{mode: off}}\nstate: state\nlog: {{level: error}}\n\
         tftp: {{port: {port}, listen: [127.0.0.1], allow: [127.0.0.0/8]}}\n"
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let command = format!(
        "ulimit -n 40; exec {} serve --config {}",
        env!("CARGO_BIN_EXE_lanboot"),
        folder.path().join("config.yaml").display()
    );
    let mut lanboot = Command::new("sh").args(["-c", &command]).spawn().unwrap();
    let request = rrq("short", Options { transfer_size: Some(0), ..Options::default() }).encode();
    let ask = || {
        let socket = client();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket.send_to(&request, (Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut buf = vec![0; 600];
        socket.recv_from(&mut buf).map(|(len, from)| {
            buf.truncate(len);
            socket.connect(from).unwrap();
            (socket, buf)
        })
    };
    let until = Instant::now() + Duration::from_secs(10);
    let first = loop {
        match ask() {
            Ok(answer) => break answer,
            Err(_) => assert!(Instant::now() < until, "it does not start"),
        }
    };
    let mut open = vec![first.0];
    let mut busy = 0;
    for _ in 0..60 {
        let (socket, answer) = ask().unwrap();
        match Packet::decode(&answer) {
            Ok(Packet::OAck(_)) => open.push(socket),
            _ => {
                assert_eq!(error_of(&answer).1, "Server is busy, try again");
                busy += 1;
            }
        }
    }
    assert!(open.len() > 2 && busy > 30, "{} open, {busy} refused", open.len());
    let ticks = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks(lanboot.id());
    std::thread::sleep(Duration::from_millis(500));
    let spent = ticks(lanboot.id()) - before;
    assert!(spent <= 5, "{spent} ticks of 10 ms in half a second of waiting");
    for socket in open {
        let error = Packet::Error { code: ErrorCode::OPTIONS, message: b"" };
        socket.send(&error.encode()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    let (_, answer) = ask().unwrap();
    assert!(matches!(Packet::decode(&answer), Ok(Packet::OAck(_))), "there is room again");
    lanboot.kill().unwrap();
    lanboot.wait().unwrap();
}

/// The complete program, while another program has the only port.
#[test]
fn the_log_names_the_range_of_which_every_port_is_in_use_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("boot-images")).unwrap();
    fs::write(folder.path().join("boot-images/short"), content(511)).unwrap();
    let other = client();
    let (port, taken) = (client().local_addr().unwrap().port(), other.local_addr().unwrap().port());
    let config = format!(
        "dhcp: {{mode: off}}\nhttp: off\nstate: state\ntftp: {{port: {port}, listen: [127.0.0.1], \
         allow: [127.0.0.0/8], ports: {taken}-{taken}}}\n"
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let mut lanboot = Command::new(env!("CARGO_BIN_EXE_lanboot"));
    let log = fs::File::create(folder.path().join("log")).unwrap();
    lanboot.args(["serve", "--config"]).arg(folder.path().join("config.yaml"));
    let mut lanboot = lanboot.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let socket = client();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut busy, mut buf, until) = (0, [0; 100], Instant::now() + Duration::from_secs(10));
    while busy < 20 {
        socket.send_to(&rrq("short", Options::default()).encode(), (Ipv4Addr::LOCALHOST, port)).unwrap();
        match socket.recv(&mut buf) {
            Ok(len) => {
                assert_eq!(error_of(&buf[..len]).1, "Server is busy, try again");
                busy += 1;
            }
            Err(_) => assert!(Instant::now() < until, "it does not start"),
        }
    }
    let range = format!("every port of `tftp.ports: {taken}-{taken}` is in use");
    // The thread that writes the log may be behind.
    let read = || fs::read_to_string(folder.path().join("log")).unwrap();
    while !read().contains(&range) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    lanboot.kill().unwrap();
    lanboot.wait().unwrap();
    let log = read();
    let lines = log.lines().filter(|line| line.contains(&range) && line.contains("WARN")).count();
    assert!((1..=4).contains(&lines), "{log}");
}

/// Uploads `bytes` as `name`, and returns the last answer.
fn put(server: &Server, name: &str, bytes: &[u8]) -> (UdpSocket, Vec<u8>) {
    let request =
        Packet::Wrq(Request { name: name.as_bytes(), mode: Mode::Octet, options: Options::default() });
    let (socket, mut answer) = server.ask(request);
    let blocks = (0..=bytes.len() / 512).zip(1_u16..);
    for (i, block) in blocks {
        assert_eq!(Packet::decode(&answer), Ok(Packet::Ack(block - 1)));
        let data = &bytes[i * 512..bytes.len().min(i * 512 + 512)];
        socket.send(&Packet::Data { block, data }.encode()).unwrap();
        answer = next(&socket);
    }
    (socket, answer)
}

#[test]
fn uploads_where_they_are_allowed_make_new_files_only() {
    for ports in [Ports::Ephemeral, Ports::Single, Ports::Range { first: 41_830, last: 41_840 }] {
        let server = Server::native(Setup { ports, uploads: true, ..Setup::default() });
        let bytes = content(3000);
        let (socket, answer) = put(&server, "log.txt", &bytes);
        assert_eq!(Packet::decode(&answer), Ok(Packet::Ack(6)));
        assert_eq!(fs::read(server.base.path().join("uploads/log.txt")).unwrap(), bytes);
        let from = socket.peer_addr().unwrap().port();
        assert!(ports != Ports::Single || from == server.port);
        server.event(|event| matches!(event, Event::TftpReceived { bytes: 3000, .. }));
        let request = Request { name: b"log.txt", mode: Mode::Octet, options: Options::default() };
        assert_eq!(error_of(&server.ask(Packet::Wrq(request)).1).0, ErrorCode::EXISTS);
        assert_eq!(fetch(&server, "short", Options::default()), content(511), "others are served meanwhile");
    }
}

#[test]
fn t_16_an_upload_asked_for_again_and_again_is_one() {
    let server = Server::native(Setup { uploads: true, ..Setup::default() });
    let socket = client();
    let options = Options::default();
    let request = Packet::Wrq(Request { name: b"new", mode: Mode::Octet, options }).encode();
    for _ in 0..4 {
        socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    }
    let is_duplicate =
        |event: &&Event| matches!(event, Event::TftpUnanswered { reason: Unanswered::Duplicate, .. });
    server
        .wait("each copy is one", || server.events.lock().unwrap().iter().filter(is_duplicate).count() == 3);
    assert_eq!(server.active_transfers(), 1);
    assert_eq!(fs::read_dir(server.base.path().join("uploads")).unwrap().count(), 1);
    let (_, from) = socket.recv_from(&mut [0; 100]).unwrap();
    let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"" };
    socket.send_to(&error.encode(), from).unwrap();
    server.wait_until_idle();
}

#[test]
fn after_an_upload_the_same_port_may_ask_for_more_at_once() {
    let _alone = one_at_a_time();
    for ports in [Ports::Ephemeral, Ports::Single] {
        let server = Server::native(Setup { uploads: true, ports, ..Setup::default() });
        let socket = client();
        let write = |name| Packet::Wrq(Request { name, mode: Mode::Octet, options: Options::default() });
        let mut buf = [0; 1000];
        let mut ask = |packet: Packet<'_>, to| {
            socket.send_to(&packet.encode(), to).unwrap();
            let (len, from) = socket.recv_from(&mut buf).unwrap();
            (buf[..len].to_vec(), from)
        };
        let requests = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
        let began = Instant::now();
        for name in [b"one", b"two"] {
            let (_, place) = ask(write(name), requests);
            let (answer, _) = ask(Packet::Data { block: 1, data: b"x" }, place);
            assert_eq!(answer, Packet::Ack(1).encode(), "{ports:?}");
        }
        // The client stops half way.
        ask(write(b"three"), requests);
        let (answer, _) = ask(rrq("short", Options::default()), requests);
        assert_eq!(block(&answer), 1, "{ports:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{ports:?} {:?}", began.elapsed());
        assert!(server.base.path().join("uploads/two").exists());
    }
}

#[test]
fn an_upload_under_way_ends_with_the_server_and_with_an_event() {
    let server = Server::native(Setup { uploads: true, ..Setup::default() });
    let request = Packet::Wrq(Request { name: b"new", mode: Mode::Octet, options: Options::default() });
    let (socket, _) = server.ask(request);
    let events = server.events.clone();
    drop(server);
    let events = events.lock().unwrap();
    let why = UploadStop::ServerStops;
    assert!(matches!(&events[..], [Event::TftpUploadStopped { why: w, .. }] if *w == why), "{events:?}");
    assert_eq!(error_of(&next(&socket)).1, "The server stops");
}

#[test]
fn rfc1350_1_netascii_is_converted_on_the_way() {
    let server = server();
    let text: Vec<u8> =
        content(300_000).into_iter().map(|byte| if byte < 20 { b'\n' } else { byte }).collect();
    fs::write(server.root().join("text"), &text).unwrap();
    let expected: Vec<u8> = text
        .iter()
        .flat_map(|byte| match byte {
            b'\n' => b"\r\n".to_vec(),
            b'\r' => b"\r\0".to_vec(),
            other => vec![*other],
        })
        .collect();
    for window_size in [None, Some(16)] {
        let options = Options { window_size, transfer_size: Some(0), ..Options::default() };
        let request = Packet::Rrq(Request { name: b"text", mode: Mode::Netascii, options });
        let (socket, first) = server.ask(request);
        assert!(receive(&socket, first) == expected, "{window_size:?}");
    }
    if need("tftp", "tftp-hpa") {
        let got = server.got("text");
        let port = server.port.to_string();
        let mut command = Command::new("tftp");
        command.args(["-m", "ascii", "127.0.0.1", &port, "-c", "get", "text"]).arg(&got);
        live::run(&mut command);
        assert!(fs::read(got).unwrap() == text, "the client converts back");
    }
}
