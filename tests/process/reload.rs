//! Reloads of the configuration of a running server: `lanboot reload` and SIGHUP, the real binary on loopback.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lanboot::probe::Kind;
use lanboot::wire::dhcp::MessageType;
use nix::sys::signal::Signal;
use support::client::Client;
use support::lab::{Lab, boot, content, free_ports, free_tcp_port, lease};
use support::{one_at_a_time, one_busy_at_a_time};

/// More than the kernel buffers by itself.
const LARGE: u64 = 64 << 20;

fn reload(lab: &Lab) -> Output {
    lab.run(&["reload"])
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Reloads with this text of the configuration, which must be right.
fn change(lab: &Lab, text: &str) {
    lab.write_config(text);
    let output = reload(lab);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The complete answer to a GET request.
fn get(port: u16, path: &str) -> Vec<u8> {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// The length of the complete answer to a GET request, which is not kept: many downloads at once would fill the memory.
fn download(port: u16, path: &str) -> u64 {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
}

/// Moves HTTP to another port.
fn with_http(lab: &Lab, port: u16) -> String {
    lab.config().replace(&format!("http: {{port: {}}}", lab.http), &format!("http: {{port: {port}}}"))
}

#[test]
fn pools_machines_files_and_ports_change_without_a_restart() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let first = lease(lab.ports, 1);
    let other = free_tcp_port();
    fs::create_dir(lab.path().join("other-images")).unwrap();
    fs::write(lab.path().join("other-images/hello"), "hello").unwrap();
    let text = with_http(&lab, other).replace("127.77.0.50-127.77.255.99", "127.78.0.50-127.78.0.99")
        + "images: other-images\nmachines: [{name: two, mac: '02:00:00:00:00:02', address: 127.78.0.7}]\n";
    change(&lab, &text);
    serving.wait_for("the configuration is reloaded");
    assert_eq!(lease(lab.ports, 2), Ipv4Addr::new(127, 78, 0, 7));
    let third = lease(lab.ports, 3);
    assert_eq!(third.octets()[1], 78, "{third} is of the new pool");
    assert!(get(other, "/hello").ends_with(b"\r\n\r\nhello"));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).is_err(), "the old port is closed");
    change(&lab, &lab.config());
    assert_eq!(lease(lab.ports, 1), first, "its lease stayed");
    assert!(get(lab.http, "/boot.ipxe").starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_file_with_problems_changes_nothing() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let wrong = lab.config().replace("lease: 10m", "lease: never, colour: red");
    lab.write_config(&wrong);
    let output = reload(&lab);
    let shown = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("config.yaml:7:") && shown.contains("2 problems"), "{shown}");
    serving.signal(Signal::SIGHUP);
    serving.wait_for("the configuration is not reloaded: the server keeps the one that it has");
    assert!(serving.wait_for("config.yaml:7:").contains("ERROR"));
    lease(lab.ports, 1);
}

#[test]
fn some_changes_need_a_restart() {
    let lab = Lab::new();
    let _serving = lab.serve(&["serve"]);
    let state = lab.path().join("state");
    for (from, to, key) in [
        ("state: state", "state: elsewhere", "state: "),
        ("tftp: {", "tftp: {engine: async-tftp, ", "tftp.engine: "),
    ] {
        lab.write_config(&lab.config().replace(from, to));
        let output = lab.run(&["reload", "--state", state.to_str().unwrap()]);
        let shown = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.starts_with(key) && shown.contains("needs a restart"), "{shown}");
    }
    lab.write_config(&lab.config().replace("state: state", "state: elsewhere"));
    let shown = errors(&reload(&lab));
    assert!(shown.contains("no server answers") && shown.contains("restart"), "{shown}");
}

#[test]
fn dhcp_changes_its_mode_and_its_ports() {
    let mut lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let first = lease(lab.ports, 1);
    let off = lab.config().replace("  mode: server\n", "  mode: off\n");
    change(&lab, &off);
    serving.wait_for("DHCP is off");
    let mut client = Client::new(&lab, 1);
    assert!(client.ask(MessageType::Discover, &[]).is_none());
    change(&lab, &lab.config());
    assert_eq!(lease(lab.ports, 1), first, "its lease is still on disk");
    let [port, ..] = free_ports();
    let before = lab.ports.dhcp;
    let text = lab.config().replace(&format!("server: {before}"), &format!("server: {port}"));
    change(&lab, &text);
    lab.ports.dhcp = port;
    assert_eq!(lease(lab.ports, 1), first, "on the other port");
    assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, before)).is_ok(), "the old port is free");
    let output = lab.run(&["leases", "release", &first.to_string()]);
    assert!(output.status.success(), "{}", errors(&output));
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
}

#[test]
fn a_port_that_is_taken_is_a_problem_of_the_reload() {
    let lab = Lab::new();
    let _serving = lab.serve(&["serve"]);
    let port = free_tcp_port();
    let _taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    lab.write_config(&with_http(&lab, port).replace("127.77.0.50-127.77.255.99", "127.78.0.50-127.78.0.99"));
    let output = reload(&lab);
    let shown = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("http.port") && shown.contains(&port.to_string()), "{shown}");
    assert_eq!(lease(lab.ports, 1).octets()[1], 77, "nothing has changed");
    assert!(get(lab.http, "/boot.ipxe").starts_with(b"HTTP/1.1 200"));
}

#[test]
fn transfers_of_a_service_that_is_turned_off_come_to_their_end() {
    let _busy = one_busy_at_a_time();
    let lab = Lab::new();
    File::create(lab.path().join("boot-images/large")).unwrap().set_len(LARGE).unwrap();
    let serving = lab.serve(&["serve"]);
    let mut stream = connect(lab.http);
    write!(stream, "GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1024]).unwrap();
    change(&lab, &lab.config().replace(&format!("http: {{port: {}}}", lab.http), "http: off"));
    serving.wait_for("HTTP is off");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).is_err());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() as u64 > LARGE - 1024, "{} bytes", rest.len());
    change(&lab, &lab.config());
    assert!(get(lab.http, "/boot.ipxe").starts_with(b"HTTP/1.1 200"), "it is on again");
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
}

#[test]
fn a_finished_once_survives_a_reload() {
    let lab = Lab::new();
    fs::write(lab.path().join("boot-images/linux"), "linux").unwrap();
    let more = "targets: {debian: {kernel: linux}}\n\
                machines: [{name: one, mac: '02:00:00:00:00:01', once: debian, boot: local}]\n";
    lab.write_config(&(lab.config() + more));
    let _serving = lab.serve(&["serve"]);
    let script = || String::from_utf8_lossy(&get(lab.http, "/02:00:00:00:00:01/boot.ipxe")).into_owned();
    assert!(script().contains("linux"), "{}", script());
    let done =
        "POST /02:00:00:00:00:01/done HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut stream = connect(lab.http);
    stream.write_all(done.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 204"), "{answer}");
    let after = script();
    assert!(!after.contains("linux"), "{after}");
    change(&lab, &(lab.config() + "# A comment.\n" + more));
    assert_eq!(script(), after, "it is not installed again");
    change(&lab, &(lab.config() + &more.replace("once: debian, ", "")));
    change(&lab, &(lab.config() + more));
    assert!(script().contains("linux"), "a `once` that was removed and added again asks for another run");
}

#[test]
fn the_format_of_the_log_changes_without_a_restart() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    change(&lab, &lab.config().replace("http: {", "log: {format: json}\nhttp: {"));
    lease(lab.ports, 1);
    let line = serving.wait_for("DHCPACK");
    let json: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(json["event"], "DHCPACK", "{line}");
    change(&lab, &lab.config());
    lease(lab.ports, 2);
    let line = serving.wait_for("02:00:00:00:00:02");
    assert!(serde_json::from_str::<serde_json::Value>(&line).is_err(), "{line}");
}

/// A lab whose file `large` takes a while.
fn large_lab() -> Lab {
    let lab = Lab::new();
    File::create(lab.path().join("boot-images/large")).unwrap().set_len(LARGE).unwrap();
    lab
}

/// Begins to read `large` by TFTP, block by block. Returns the socket, and the peer of block 1.
fn begin_large(lab: &Lab) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(b"\0\x01large\0octet\0", (Ipv4Addr::LOCALHOST, lab.ports.tftp)).unwrap();
    let mut block = [0; 600];
    let (_, peer) = socket.recv_from(&mut block).unwrap();
    assert_eq!(block[..4], [0, 3, 0, 1]);
    (socket, peer)
}

/// Acknowledges block `n`, and receives the next one from the same peer.
fn next_block(socket: &UdpSocket, peer: SocketAddr, n: u8) {
    socket.send_to(&[0, 4, 0, n], peer).unwrap();
    let mut block = [0; 600];
    loop {
        let (_, from) = socket.recv_from(&mut block).unwrap();
        assert_eq!(from, peer);
        // Block `n` may have been sent twice.
        if block[..4] == [0, 3, 0, n + 1] {
            return;
        }
    }
}

#[test]
fn the_ports_of_tftp_change_and_transfers_go_on() {
    let _busy = one_busy_at_a_time();
    let lab = large_lab();
    let _serving = lab.serve(&["serve"]);
    let [first, ..] = free_ports();
    let with = |ports: &str| {
        let tftp = format!("tftp: {{port: {}", lab.ports.tftp);
        lab.config().replace(&tftp, &format!("{tftp}, ports: {ports}"))
    };
    let mut transfers = vec![begin_large(&lab)];
    for (ports, expected) in [
        ("single".to_owned(), Some(lab.ports.tftp)),
        (format!("{first}-{}", first + 1), Some(first)),
        ("single".to_owned(), Some(lab.ports.tftp)),
        ("0".to_owned(), None),
    ] {
        change(&lab, &with(&ports));
        let transfer = begin_large(&lab);
        if let Some(expected) = expected {
            let port = transfer.1.port();
            assert!((expected..=expected + 1).contains(&port), "{port} with ports: {ports}");
        }
        transfers.push(transfer);
        for n in 1..4 {
            let done = transfers.len() as u8;
            for (place, (socket, peer)) in transfers.iter().enumerate() {
                // The first one began before the first change.
                let rounds = done - 1 - (place as u8).max(1);
                let turn = rounds * 3 + n;
                next_block(socket, *peer, turn);
            }
        }
        assert!(boot(lab.ports, Kind::UefiX64, 1).content == content("snponly.efi"), "ports: {ports}");
    }
}

#[test]
fn uploads_are_turned_on_and_off_without_a_restart() {
    let lab = Lab::new();
    fs::create_dir(lab.path().join("uploads")).unwrap();
    let _serving = lab.serve(&["serve"]);
    let put = |name: &str| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = format!("\0\x02{name}\0octet\0");
        socket.send_to(request.as_bytes(), (Ipv4Addr::LOCALHOST, lab.ports.tftp)).unwrap();
        let mut answer = [0; 600];
        let (_, peer) = socket.recv_from(&mut answer).unwrap();
        if answer[1] == 4 {
            socket.send_to(b"\0\x03\0\x01text", peer).unwrap();
            socket.recv_from(&mut answer).unwrap();
        }
        answer[1] == 4
    };
    assert!(!put("a"), "uploads are off");
    let uploads = lab.path().join("uploads");
    let tftp = format!("tftp: {{port: {}", lab.ports.tftp);
    let on = lab
        .config()
        .replace(&tftp, &format!("{tftp}, uploads: {{dir: {}, max_size: 1MiB}}", uploads.display()));
    change(&lab, &on);
    assert!(put("a") && fs::read(uploads.join("a")).unwrap() == b"text");
    change(&lab, &lab.config());
    assert!(!put("b"));
    lab.write_config(&on.replace("/uploads", "/nowhere"));
    let output = reload(&lab);
    assert!(output.status.code() == Some(1) && errors(&output).contains("nowhere"), "{}", errors(&output));
}

#[test]
fn tftp_and_http_are_turned_on_although_both_were_off_at_the_start() {
    let lab = Lab::new();
    let tftp = format!("tftp: {{port: {}}}", lab.ports.tftp);
    let off = lab
        .config()
        .replace(&tftp, "tftp: off")
        .replace(&format!("http: {{port: {}}}", lab.http), "http: off");
    lab.write_config(&off);
    let serving = lab.serve_silently(&["serve"]);
    serving.wait_for("leases in");
    lease(lab.ports, 1);
    change(&lab, &lab.config());
    assert!(get(lab.http, "/boot.ipxe").starts_with(b"HTTP/1.1 200"));
    assert!(boot(lab.ports, Kind::UefiX64, 1).content == content("snponly.efi"));
}

/// `tests/long reload` runs this for a minute, with a reload each second.
#[test]
fn reloads_under_load_lose_no_exchange_and_cut_off_no_transfer() {
    let _alone = one_at_a_time();
    let number = |name: &str, short: u64| std::env::var(name).map_or(short, |text| text.parse().unwrap());
    let seconds = number("RELOAD_SECONDS", 5);
    let (clients, downloads) = (number("RELOAD_CLIENTS", 4) as u16, number("RELOAD_DOWNLOADS", 6));
    let lab = Lab::new();
    File::create(lab.path().join("boot-images/large")).unwrap().set_len(LARGE).unwrap();
    let _serving = lab.serve(&["serve"]);
    let (is_over, exchanges, transfers) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let slowest = AtomicU64::new(0);
    let reloads = thread::scope(|scope| {
        for n in 0..clients {
            let (lab, is_over, counters) = (&lab, &is_over, (&exchanges, &slowest));
            scope.spawn(move || renew(&mut Client::new(lab, 256 + n), is_over, counters));
        }
        for n in 0..downloads {
            let (lab, is_over, transfers) = (&lab, &is_over, &transfers);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    if n % 2 == 0 {
                        assert!(download(lab.http, "/large") > LARGE);
                    } else {
                        let boot = boot(lab.ports, Kind::UefiX64, n as u8);
                        assert!(boot.content == content("snponly.efi"), "{:?}", boot.last);
                    }
                    transfers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let began = Instant::now();
        let mut reloads = 0;
        while began.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(if seconds > 10 { 1000 } else { 100 }));
            reloads += 1;
            change(&lab, &version(&lab, reloads));
        }
        is_over.store(true, Ordering::Relaxed);
        reloads
    });
    let (exchanges, transfers) = (exchanges.into_inner(), transfers.into_inner());
    println!(
        "{reloads} reloads in {seconds} s: {exchanges} exchanges ({} per second), slowest {} ms, and {transfers} \
         transfers by {downloads} clients at once; none was lost or cut off",
        exchanges / seconds.max(1),
        slowest.into_inner()
    );
    assert!(reloads > seconds / 2 && exchanges > 100 && transfers > 0);
}

/// Other pools, subnets, machines and limits, again and again. The addresses of the clients stay in their pool.
fn version(lab: &Lab, n: u64) -> String {
    let text = lab.config();
    match n % 4 {
        0 => text,
        1 => {
            text.replace("127.77.255.99", "127.77.200.99")
                + "machines: [{name: x, mac: '06:00:00:00:00:01'}]\n"
        }
        2 => text
            .replace("  subnets:\n", "  subnets:\n    - {network: 10.9.0.0/16, pool: 10.9.0.9-10.9.0.99}\n"),
        _ => text
            .replace("tftp: {", "tftp: {max_transfers: 4000, ")
            .replace("http: {", "http: {max_per_client: 900, "),
    }
}

/// Gets a lease, and then a new one or a renewal again and again. Each message must be answered.
fn renew(client: &mut Client, is_over: &AtomicBool, (exchanges, slowest): (&AtomicU64, &AtomicU64)) {
    client.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = client.lease().expect("an address");
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        client.renew(address).expect("an ACK to the renewal");
        slowest.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        let offer = client.ask(MessageType::Discover, &[]).expect("an offer");
        assert_eq!(offer.yiaddr, address);
        exchanges.fetch_add(2, Ordering::Relaxed);
    }
}
