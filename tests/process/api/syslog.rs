//! The syslog receiver: lines of installers join their machine in the log and in the API.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use support::client::Client;
use support::lab::{Lab, free_tcp_port};

use super::client::Site;
use super::events::Events;

/// A site whose server receives syslog, and the port.
fn site(more: &str) -> (Site, u16) {
    let port = free_tcp_port();
    (Site::new(&format!("syslog: {port}\n{more}")), port)
}

/// Sends datagrams from `address`.
fn send(address: Ipv4Addr, port: u16, lines: &[&[u8]]) {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    for line in lines {
        socket.send_to(line, (Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}

#[test]
fn syslog_lines_join_the_machine_that_has_the_address() {
    let (site, port) = site("machines: [{name: n1, mac: 02:00:00:00:00:01}]\n");
    let address = Client::new(&site.lab, 1).lease().expect("a lease");
    let mut events = Events::open(&site, "");
    send(address, port, &[b"<27>Nov 30 12:00:00 anaconda[77]: no disk found\0"]);
    site.serving.wait_for(&format!("syslog {address} n1 err anaconda: no disk found"));
    let (_, event) = events.next_of("syslog");
    assert_eq!(event["mac"], "02:00:00:00:00:01", "{event}");
    assert_eq!((&event["machine"], &event["ip"]), (&"n1".into(), &address.to_string().into()), "{event}");
    // A line of a system that works is in the API only.
    send(address, port, &[b"<30>1 2026-11-30T12:00:00Z n1 systemd 1 - - Reached target"]);
    let (_, event) = events.next_of("syslog");
    assert!(event["message"].as_str().unwrap().ends_with("info systemd: Reached target"), "{event}");
    // No machine is known at this address.
    send(Ipv4Addr::new(127, 99, 0, 9), port, &[b"<3>who am I"]);
    let (_, event) = events.next_of("syslog");
    assert!(event["mac"].is_null() && event["message"] == "syslog 127.99.0.9 err who am I", "{event}");
}

#[test]
fn syslog_streams_have_both_framings() {
    let (site, port) = site("");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(b"<11>d-i: first\n15 <11>d-i: second<11>").unwrap();
    site.serving.wait_for("syslog 127.0.0.1 err d-i: first");
    site.serving.wait_for("syslog 127.0.0.1 err d-i: second");
    stream.write_all(b"d-i: third").unwrap();
    drop(stream);
    site.serving.wait_for("syslog 127.0.0.1 err d-i: third");
}

#[test]
fn logger_of_util_linux_reaches_the_receiver() {
    let (site, port) = site("");
    let port = port.to_string();
    for (arguments, text) in [
        (&["--udp", "--rfc3164"][..], "by datagram, old"),
        (&["--udp", "--rfc5424"], "by datagram, new"),
        (&["--tcp", "--rfc3164"], "by stream, old"),
        (&["--tcp", "--rfc5424", "--octet-count"], "by stream, new"),
    ] {
        let mut logger = Command::new("logger");
        logger.args(["--server", "127.0.0.1", "--port", &port, "--priority", "user.err", "--tag", "probe"]);
        match logger.args(arguments).arg(text).status() {
            Ok(status) => assert!(status.success(), "{arguments:?}"),
            Err(error) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "logger: {error}");
                return;
            }
        }
        site.serving.wait_for(&format!("syslog 127.0.0.1 err probe: {text}"));
    }
}

#[test]
fn hostile_syslog_is_escaped_bounded_and_counted() {
    let (lab, port) = (Lab::new(), free_tcp_port());
    lab.write_config(&format!("{}syslog: {port}\nlog: {{level: debug}}\n", lab.config()));
    let serving = lab.serve(&["serve"]);
    let long = [&b"<3>"[..], &[b'x'; 9000]].concat();
    send(Ipv4Addr::LOCALHOST, port, &[b"<3>a\x1b[2J\nforged(eth1) \xff", b"", b"<3>\n", &long]);
    serving.wait_for("syslog 127.0.0.1 err a\\x1b[2J\\x0aforged(eth1) \\xef\\xbf\\xbd");
    serving.wait_for("reason=syslog_empty");
    serving.wait_for("reason=syslog_too_long");
    // More than the burst of one machine.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..20_000 {
        let _ = socket.send_to(b"<7>x", (Ipv4Addr::LOCALHOST, port));
    }
    serving.wait_for("reason=syslog_too_many_lines");
    let connections: Vec<_> =
        (0..9).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    serving.wait_for("reason=syslog_too_many_connections");
    drop(connections);
    // DHCP still answers.
    Client::new(&lab, 7).lease().expect("a lease");
}

#[test]
fn a_reload_turns_syslog_on_moves_it_and_turns_it_off() {
    let (lab, port, other) = (Lab::new(), free_tcp_port(), free_tcp_port());
    let serving = lab.serve(&["serve"]);
    let reload = |port: &str| {
        lab.write_config(&format!("{}syslog: {port}\n", lab.config()));
        let output = lab.run(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    };
    reload(&port.to_string());
    serving.wait_for(&format!("syslog on port {port}"));
    send(Ipv4Addr::LOCALHOST, port, &[b"<3>one"]);
    serving.wait_for("syslog 127.0.0.1 err one");
    reload(&other.to_string());
    send(Ipv4Addr::LOCALHOST, other, &[b"<3>two"]);
    serving.wait_for("syslog 127.0.0.1 err two");
    assert!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok(), "the old port is free");
    // A port that another program holds is refused, and the receiver stays where it is.
    let _holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    lab.write_config(&format!("{}syslog: {port}\n", lab.config()));
    let refused = lab.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    send(Ipv4Addr::LOCALHOST, other, &[b"<3>three"]);
    serving.wait_for("syslog 127.0.0.1 err three");
    reload("off");
    serving.wait_for("syslog is off");
    assert!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, other)).is_ok(), "the port is free");
}

/// Connects from `address`.
fn connect(address: Ipv4Addr, port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(address, 0).into()).unwrap();
    socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()).unwrap();
    socket
}

#[test]
fn syslog_newlines_are_no_messages_and_short_lines_are_counted_together() {
    let (lab, port) = (Lab::new(), free_tcp_port());
    lab.write_config(&format!("{}syslog: {port}\nlog: {{level: debug}}\n", lab.config()));
    let serving = lab.serve(&["serve"]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(&[b'\n'; 200_000]).unwrap();
    stream.write_all(b"<3>after\n").unwrap();
    serving.wait_for("syslog 127.0.0.1 err after");
    assert_eq!(serving.count("dropped(syslog)"), 0, "an empty line is no message");
    // 50,000 lines of two bytes, of which the first 2000 are recorded.
    stream.write_all(&b"x\n".repeat(50_000)).unwrap();
    drop(stream);
    serving.wait_for("reason=syslog_too_many_lines count=");
    // The lines used up the limit of the log. It says so each second, and has room again.
    serving.wait_for("lines: syslog");
    let mut other = connect(Ipv4Addr::new(127, 99, 0, 9), port);
    other.write_all(b"<3>other\n").unwrap();
    serving.wait_for("syslog 127.99.0.9 err other");
    assert!(serving.count("dropped(syslog)") < 500, "one line for each read");
}

#[test]
fn syslog_idle_connections_give_way_to_an_installer() {
    let (lab, port) = (Lab::new(), free_tcp_port());
    lab.write_config(&format!("{}syslog: {port}\nlog: {{level: debug}}\n", lab.config()));
    let serving = lab.serve(&["serve"]);
    // All places, with 8 connections of each address.
    let silent = (0..512_u16).map(|n| connect(Ipv4Addr::new(127, 99, 1, (n / 8) as u8 + 1), port));
    let silent: Vec<Socket> = silent.collect();
    let mut installer = connect(Ipv4Addr::new(127, 99, 0, 9), port);
    installer.write_all(b"<3>no disk\n").unwrap();
    serving.wait_for("syslog 127.99.0.9 err no disk");
    let gave_way = serving.wait_for("reason=syslog_gave_way");
    assert!(gave_way.contains("dropped(syslog) 127.99.1.1:"), "{gave_way}");
    silent[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!((&silent[0]).read(&mut [0; 1]).unwrap(), 0, "the first one is closed");
    assert_eq!(serving.count("reason=syslog_gave_way"), 1);
}
