//! Limits on the share that one client, or a forged flood, can take from the others, and a folder of boot files that is
//! replaced: the real binary, and lanboot's TFTP engine with more clients than it accepts.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lanboot::event::{Event, TransferStop};
use lanboot::tftp::{Limits, Ports};
use lanboot::wire::tftp::{Options, Packet};

use support::lab::{Lab, Serving};
use support::one_at_a_time;
use support::tftp_live::{self as live, Server, Setup, limits, rrq};

/// The answer to a GET of `path`.
fn get(lab: &Lab, path: &str) -> String {
    answer(TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap(), path)
}

fn answer(mut stream: TcpStream, path: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first block of `name` over TFTP, or the error.
fn first_block(port: u16, name: &str) -> Result<Vec<u8>, String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(&rrq(name, Options::default()).encode(), (Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut buffer = [0; 600];
    let (len, from) = socket.recv_from(&mut buffer).expect("an answer");
    let done = Packet::Error { code: lanboot::wire::tftp::ErrorCode::UNDEFINED, message: b"" };
    socket.send_to(&done.encode(), from).unwrap();
    match Packet::decode(&buffer[..len]) {
        Ok(Packet::Data { data, .. }) => Ok(data.to_vec()),
        Ok(Packet::Error { message, .. }) => Err(String::from_utf8_lossy(message).into_owned()),
        other => panic!("{other:?}"),
    }
}

fn served(lab: &Lab, text: &str) {
    let over_http = get(lab, "/x");
    assert!(over_http.starts_with("HTTP/1.1 200 ") && over_http.ends_with(text), "{text}: {over_http}");
    assert_eq!(first_block(lab.ports.tftp, "x").as_deref(), Ok(text.as_bytes()));
}

fn fresh(lab: &Lab, name: &str) {
    let folder = lab.path().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("x"), name).unwrap();
}

/// The ways in which people replace a folder: a new copy, a folder that is moved into place, and a symlink that is
/// switched.
#[test]
fn r_09_a_folder_that_is_replaced_is_served_without_a_restart() {
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::write(images.join("x"), "first").unwrap();
    let serving: Serving = lab.serve(&["serve"]);
    served(&lab, "first");

    fs::remove_dir_all(&images).unwrap();
    let warning = serving.wait_for("no boot file is served");
    assert!(
        warning.contains("WARN") && warning.contains("boot-images"),
        "before any client asked: {warning}"
    );
    assert!(get(&lab, "/x").starts_with("HTTP/1.1 404 "));
    fresh(&lab, "boot-images");
    served(&lab, "boot-images");
    assert!(serving.wait_for("is back").contains("INFO"));
    assert_eq!(serving.count("no boot file is served"), 1, "once");

    fresh(&lab, "second");
    fs::rename(&images, lab.path().join("away")).unwrap();
    fs::rename(lab.path().join("second"), &images).unwrap();
    sleep(Duration::from_millis(1100));
    served(&lab, "second");

    fresh(&lab, "release-3");
    symlink("release-3", lab.path().join("new")).unwrap();
    fs::remove_dir_all(&images).unwrap();
    fs::rename(lab.path().join("new"), &images).unwrap();
    sleep(Duration::from_millis(1100));
    served(&lab, "release-3");

    // Files that must not be served are still not served if the folder's path leads to them later.
    fs::remove_file(&images).unwrap();
    symlink(".", &images).unwrap();
    assert!(serving.wait_for("images: the configuration file").contains("ERROR"));
    assert!(serving.wait_for("images: the folder of `state`").contains("ERROR"));
    for path in ["/config.yaml", "/CONFIG.YAML", "/state/leases.db", "/x"] {
        assert!(get(&lab, path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    fs::remove_file(&images).unwrap();
    symlink("/etc", &images).unwrap();
    assert!(serving.wait_for("no boot file is served until").contains("WARN"));
    assert!(get(&lab, "/passwd").starts_with("HTTP/1.1 404 "));
}

#[test]
fn s_12_config_yaml_beside_its_boot_files_is_an_error() {
    let lab = Lab::new();
    for line in ["images: .", "images: /etc", "images: /"] {
        lab.write_config(&format!("{}{line}\n", lab.config()));
        let checked = lab.run(&["check"]);
        let text = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.code() == Some(1) && text.contains(" images: "), "{line}: {text}");
        if line != "images: ." {
            assert_eq!(lab.run(&["serve"]).status.code(), Some(2), "{line}");
        }
    }
    lab.write_config(&format!("{}images: .\n", lab.config()));
    let serving = lab.serve(&["serve"]);
    serving.wait_for("images: the configuration file");
    assert!(get(&lab, "/config.yaml").starts_with("HTTP/1.1 404 "));
    assert!(get(&lab, "/state/leases.db").starts_with("HTTP/1.1 404 "));
    assert!(get(&lab, "/boot-images/boot.ipxe").starts_with("HTTP/1.1 200 "));
}

#[test]
fn r_10_max_per_client_is_what_the_configuration_says() {
    let lab = Lab::new();
    let config = lab.config();
    let port = format!("http: {{port: {}", lab.http);
    lab.write_config(&config.replace(&port, &format!("{port}, max_per_client: 3")));
    let serving = lab.serve(&["serve"]);
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
    let held = [connect(), connect(), connect()];
    let refused = answer(connect(), "/snponly.efi");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: "), "{refused}");
    serving.wait_for("reason=busy");
    drop(held);
    sleep(Duration::from_millis(300));
    assert!(get(&lab, "/boot.ipxe").starts_with("HTTP/1.1 200 "));
    for (wrong, bound) in [("0", "1 to 8192"), ("8193", "1 to 8192"), ("many", "1 to 8192")] {
        lab.write_config(&config.replace(&port, &format!("{port}, max_per_client: {wrong}")));
        let error = String::from_utf8_lossy(&lab.run(&["check"]).stderr).into_owned();
        assert!(error.contains("http.max_per_client") && error.contains(bound), "{error}");
    }
}

/// Four addresses request twice as often as one may, with the longest `timeout` that exists, and acknowledge once.
#[test]
fn s_03_a_flood_with_one_acknowledgement_each_keeps_no_client_out() {
    let _alone = one_at_a_time();
    for ports in [Ports::Ephemeral, Ports::Single, Ports::Range { first: 42_000, last: 42_511 }] {
        let limits = Limits { max_transfers: 512, max_per_client: 128, ..limits() };
        let server = Server::native(Setup { limits, ports, ..Setup::default() });
        fs::write(server.root().join("large"), live::content(1 << 20)).unwrap();
        let options = Options { timeout: Some(255), block_size: Some(1024), ..Options::default() };
        let request = rrq("large", options).encode();
        let mut flood = Vec::new();
        for n in 0..1024_u16 {
            let from = Ipv4Addr::new(127, 0, 5, (n % 4) as u8 + 1);
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send_to(&request, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
            let (_, place) = socket.recv_from(&mut [0; 1500]).expect("an answer");
            socket.send_to(&Packet::Ack(0).encode(), place).unwrap();
            flood.push(socket);
        }
        // Until the first of them are late, as in the case of 8,192 transfers.
        sleep(Duration::from_millis(300));
        let began = Instant::now();
        for n in 0..20 {
            let got = first_block(server.port, "short");
            assert_eq!(got, Ok(live::content(511)), "{n} {ports:?}, {} under way", server.active_transfers());
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{ports:?} {:?}", began.elapsed());
        server.wait("16 silent ones of each address stay", || server.active_transfers() <= 4 * 16 + 2);
        let evicted =
            |event: &&Event| matches!(event, Event::TftpStopped { stop: TransferStop::Evicted, .. });
        assert!(server.events.lock().unwrap().iter().filter(evicted).count() >= 512 - 4 * 16, "{ports:?}");
        drop(flood);
    }
}

/// Many slow machines behind one address. Each acknowledges twice per second.
#[test]
fn s_03_clients_of_one_address_that_get_on_are_never_put_out() {
    let _alone = one_at_a_time();
    const CLIENTS: usize = 60;
    let server = Server::native(Setup::default());
    fs::write(server.root().join("large"), live::content(1 << 20)).unwrap();
    let clients: Vec<UdpSocket> =
        (0..CLIENTS).map(|_| server.ask(rrq("large", Options::default())).0).collect();
    for round in 1..=10_u16 {
        for client in &clients {
            client.send(&Packet::Ack(round).encode()).unwrap();
        }
        sleep(Duration::from_millis(500));
        assert_eq!(server.active_transfers(), CLIENTS, "round {round}");
    }
    let peer = |socket: &UdpSocket| match socket.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(_) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
    };
    let events = server.events.lock().unwrap();
    assert!(events.is_empty(), "{} and others: {:?}", peer(&clients[0]), events.first());
}
