//! The engine async-tftp over loopback: real clients, and hand-made packets where no client behaves as the test needs.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use lanboot::event::{Event, Refusal};
use lanboot::tftp::Limits;
use lanboot::wire::tftp::{ErrorCode, Mode, Options, Packet, Request};
use support::need;
use support::tftp_live::{LOOPBACK_MTU, Server, Setup, content, curl, error_of, fetch_all, limits, rrq};

#[test]
fn curl_fetches_every_size() {
    if need("curl", "curl") {
        fetch_all(&Server::async_tftp(Setup::default()), |name, got, port| curl(&[], name, got, port));
    }
}

#[test]
fn curl_fetches_every_size_with_a_larger_block() {
    if need("curl", "curl") {
        fetch_all(&Server::async_tftp(Setup::default()), |name, got, port| {
            curl(&["--tftp-blksize", "1468"], name, got, port)
        });
    }
}

#[test]
fn curl_fetches_every_size_without_options() {
    if need("curl", "curl") {
        fetch_all(&Server::async_tftp(Setup::default()), |name, got, port| {
            curl(&["--tftp-no-options"], name, got, port)
        });
    }
}

#[test]
fn atftp_fetches_every_size() {
    if need("atftp", "atftp") {
        fetch_all(&Server::async_tftp(Setup::default()), |name, got, port| {
            let mut command = Command::new("atftp");
            command.args(["--option", "blksize 512", "-g", "-r", name, "-l"]).arg(got);
            command.arg("127.0.0.1").arg(port.to_string());
            command
        });
    }
}

#[test]
fn atftp_fetches_every_size_with_a_window() {
    if need("atftp", "atftp") {
        fetch_all(&Server::async_tftp(Setup::default()), |name, got, port| {
            let mut command = Command::new("atftp");
            command
                .args(["--option", "blksize 512", "--option", "windowsize 8", "-g", "-r", name, "-l"])
                .arg(got);
            command.arg("127.0.0.1").arg(port.to_string());
            command
        });
    }
}

#[test]
fn tftp_hpa_fetches_every_size() {
    if need("tftp", "tftp-hpa") {
        fetch_all(&Server::async_tftp(Setup::default()), |name, got, port| {
            let mut command = Command::new("tftp");
            command.args(["-m", "binary", "127.0.0.1", &port.to_string(), "-c", "get", name]).arg(got);
            command
        });
    }
}

#[test]
fn rfc1350_4_a_file_of_whole_blocks_ends_with_an_empty_one() {
    let server = Server::async_tftp(Setup::default());
    let (socket, first) = server.ask(rrq("exact", Options::default()));
    let expected = content(512);
    assert_eq!(Packet::decode(&first), Ok(Packet::Data { block: 1, data: &expected }));
    socket.send(&Packet::Ack(1).encode()).unwrap();
    let mut buf = [0; 600];
    let len = socket.recv(&mut buf).unwrap();
    assert_eq!(Packet::decode(&buf[..len]), Ok(Packet::Data { block: 2, data: b"" }));
}

#[test]
fn rfc2348_a_block_is_never_larger_than_the_interface_carries() {
    let server = Server::async_tftp(Setup::default());
    let asked = |block_size| Options { block_size: Some(block_size), ..Options::default() };
    assert_eq!(server.oack("long", asked(65464)), asked(1468));
    assert_eq!(server.oack("long", asked(1024)), asked(1024));
    assert_eq!(server.oack("long", asked(8)), asked(8));
    let configured = Server::async_tftp(Setup {
        limits: Limits { max_block_size: Some(1024), ..limits() },
        served: "127.0.0.0/8",
        mtu: 1500,
        ..Setup::default()
    });
    assert_eq!(configured.oack("long", asked(1468)), asked(1024));
}

#[test]
fn rfc2349_the_size_is_sent_and_a_timeout_not_granted() {
    let server = Server::async_tftp(Setup::default());
    let asked = Options { transfer_size: Some(0), timeout: Some(255), ..Options::default() };
    assert_eq!(server.oack("long", asked), Options { transfer_size: Some(513), ..Options::default() });
}

#[test]
fn rfc7440_a_window_is_bounded_in_blocks_and_bytes() {
    let asked = Options { block_size: Some(65464), window_size: Some(65535), ..Options::default() };
    let ethernet = Server::async_tftp(Setup::default()).oack("long", asked);
    assert_eq!((ethernet.block_size, ethernet.window_size), (Some(1468), Some(64)));
    let loopback = Server::async_tftp(Setup { served: "127.0.0.0/8", mtu: LOOPBACK_MTU, ..Setup::default() })
        .oack("long", asked);
    assert_eq!((loopback.block_size, loopback.window_size), (Some(65464), Some(8)), "512 KiB");
    let narrow = Server::async_tftp(Setup {
        limits: Limits { max_window: 1, ..limits() },
        served: "127.0.0.0/8",
        mtu: 1500,
        ..Setup::default()
    });
    assert_eq!(narrow.oack("long", asked).window_size, Some(1));
}

#[test]
fn rfc7440_no_more_than_a_window_is_sent_unacknowledged() {
    let server = Server::async_tftp(Setup::default());
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let asked = Options { window_size: Some(65535), ..Options::default() };
    let (socket, _) = server.ask(rrq("large", asked));
    socket.send(&Packet::Ack(0).encode()).unwrap();
    let mut blocks = Vec::new();
    let mut buf = [0; 600];
    loop {
        let len = socket.recv(&mut buf).unwrap();
        match Packet::decode(&buf[..len]) {
            // After the window, the server sends the same window again.
            Ok(Packet::Data { block: 1, .. }) if !blocks.is_empty() => break,
            Ok(Packet::Data { block, .. }) => blocks.push(block),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(blocks, (1..=64).collect::<Vec<u16>>());
}

#[test]
fn uploads_are_refused_and_write_nothing() {
    let server = Server::async_tftp(Setup::default());
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
fn a_missing_file_is_said_to_be_so_without_a_path() {
    let server = Server::async_tftp(Setup::default());
    let long = "x".repeat(255);
    for name in ["missing", "sub", "sub/missing", "/etc/passwd", "%2e%2e/secret", &long] {
        let not_found = (ErrorCode::NOT_FOUND, "File not found".to_owned());
        assert_eq!(server.error(name), not_found, "{name}");
    }
    assert_eq!(server.refusal(), ("missing".to_owned(), Refusal::NotFound));
}

#[test]
fn no_name_leads_outside_the_folder() {
    let server = Server::async_tftp(Setup::default());
    fs::write(server.base.path().join("secret"), "secret").unwrap();
    symlink("../secret", server.root().join("out")).unwrap();
    symlink(server.base.path().join("secret"), server.root().join("absolute")).unwrap();
    symlink("..", server.root().join("parent")).unwrap();
    let names =
        ["../secret", r"..\secret", "sub/../../secret", "/../secret", "out", "absolute", "parent/secret", ""];
    for name in names {
        let refused = (ErrorCode::ACCESS_VIOLATION, "Permission denied".to_owned());
        assert_eq!(server.error(name), refused, "{name}");
    }
    let refused = server
        .events
        .lock()
        .unwrap()
        .iter()
        .filter(|event| matches!(event, Event::TftpRefused { reason: Refusal::BadName, .. }))
        .count();
    assert_eq!(refused, names.len());
}

#[test]
fn backslashes_leading_slashes_and_trailing_junk_find_the_file() {
    let server = Server::async_tftp(Setup::default());
    fs::write(server.root().join("sub/bcd"), "bcd").unwrap();
    for name in [r"\sub\bcd", "/sub/bcd", "//sub/./bcd", "sub/bcd "] {
        let (socket, first) = server.ask(rrq(name, Options::default()));
        assert_eq!(Packet::decode(&first), Ok(Packet::Data { block: 1, data: b"bcd" }), "{name}");
        socket.send(&Packet::Ack(1).encode()).unwrap();
    }
}

#[test]
fn strangers_are_refused_until_their_network_is_allowed() {
    let server = Server::async_tftp(Setup { served: "192.0.2.0/24", mtu: 1500, ..Setup::default() });
    assert_eq!(server.error("long").0, ErrorCode::ACCESS_VIOLATION);
    assert_eq!(server.error("missing").0, ErrorCode::ACCESS_VIOLATION, "nor learns what is there");
    assert_eq!(server.refusal(), ("long".to_owned(), Refusal::NotAllowed));
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::async_tftp(Setup {
        limits: Limits { allow, ..limits() },
        served: "192.0.2.0/24",
        mtu: 1500,
        ..Setup::default()
    });
    assert!(matches!(
        Packet::decode(&server.ask(rrq("long", Options::default())).1),
        Ok(Packet::Data { .. })
    ));
}

#[test]
fn transfers_are_bounded_in_number() {
    let server = Server::async_tftp(Setup {
        limits: Limits { max_transfers: 1, ..limits() },
        served: "127.0.0.0/8",
        mtu: 1500,
        ..Setup::default()
    });
    let (first, _) = server.ask(rrq("short", Options::default()));
    assert_eq!(server.error("short"), (ErrorCode::UNDEFINED, "Server is busy, try again".to_owned()));
    assert_eq!(server.refusal(), ("short".to_owned(), Refusal::Busy));
    first.send(&Packet::Ack(1).encode()).unwrap();
    server.wait("the place is free", || server.active_transfers() == 0);
    let (second, answer) = server.ask(rrq("short", Options::default()));
    assert!(matches!(Packet::decode(&answer), Ok(Packet::Data { block: 1, .. })));
    second.send(&Packet::Ack(1).encode()).unwrap();
}

#[test]
fn one_client_cannot_take_the_places_of_others() {
    let server = Server::async_tftp(Setup {
        limits: Limits { max_per_client: 2, ..limits() },
        served: "127.0.0.0/8",
        mtu: 1500,
        ..Setup::default()
    });
    let silent: Vec<_> = (0..2).map(|_| server.ask(rrq("long", Options::default()))).collect();
    assert_eq!(server.error("long"), (ErrorCode::UNDEFINED, "Server is busy, try again".to_owned()));
    assert_eq!((server.active_transfers(), silent.len()), (2, 2));
    let other = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    other.send_to(&rrq("long", Options::default()).encode(), (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    let mut buf = [0; 600];
    let len = other.recv(&mut buf).unwrap();
    assert!(matches!(Packet::decode(&buf[..len]), Ok(Packet::Data { block: 1, .. })));
}

/// CVE-2024-2169: two servers that answer errors with errors never stop.
#[test]
fn what_is_no_request_gets_no_answer() {
    let server = Server::async_tftp(Setup::default());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
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
    socket.send_to(&rrq("short", Options::default()).encode(), (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    let mut buf = [0; 600];
    let (len, from) = socket.recv_from(&mut buf).unwrap();
    assert!(
        matches!(Packet::decode(&buf[..len]), Ok(Packet::Data { block: 1, .. })),
        "the request's answer is first"
    );
    socket.send_to(&Packet::Ack(1).encode(), from).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(socket.recv_from(&mut buf).is_err(), "and nothing follows");
}

#[test]
fn clients_that_leave_end_their_transfers_with_the_reason() {
    let server = Server::async_tftp(Setup::default());
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let size = Options { transfer_size: Some(0), ..Options::default() };

    // UEFI firmware does this before the real transfer.
    let (probe, _) = server.ask(rrq("large", size));
    probe
        .send(&Packet::Error { code: ErrorCode::OPTIONS, message: b"User aborted the transfer" }.encode())
        .unwrap();
    let (stopped, _) = server.ask(rrq("large", Options::default()));
    stopped.send(&Packet::Ack(1).encode()).unwrap();
    let (silent, _) = server.ask(rrq("short", size));

    // Meanwhile other clients are served.
    let (other, answer) = server.ask(rrq("short", Options::default()));
    assert!(matches!(Packet::decode(&answer), Ok(Packet::Data { block: 1, .. })));
    other.send(&Packet::Ack(1).encode()).unwrap();
    let local = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    server.event(
        |event| matches!(event, Event::TftpSent { peer, bytes: 511, .. } if peer.port() == local(&other)),
    );

    server.event(|event| matches!(event, Event::TftpSizeProbe { peer, .. } if peer.port() == local(&probe)));
    server.event(|event| matches!(event, Event::TftpSizeProbe { peer, .. } if peer.port() == local(&silent)));
    let end = server
        .event(|event| matches!(event, Event::TftpStopped { peer, .. } if peer.port() == local(&stopped)));
    assert!(matches!(end, Event::TftpStopped { bytes: 1024, size: 1_048_576, .. }), "{end:?}");
    server.wait("all are let go", || server.active_transfers() == 0);

    // A silent (forged) source gets the answer, two repeats of it, and then an error.
    silent.set_nonblocking(true).unwrap();
    let mut buf = [0; 600];
    let repeats = std::iter::from_fn(|| silent.recv(&mut buf).ok()).count();
    assert_eq!(repeats, 2 + 1);
}
