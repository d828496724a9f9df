//! `lanboot serve` on loopback and high ports: the real binary, real sockets, real files, real leases.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use lanboot::probe::{Kind, Machine, Progress, Transmit};
use lanboot::types::{MacAddr, Timestamp};
use lanboot::wire::dhcp::COOKIE;
use nix::sys::signal::Signal;

use support::lab::{Boot, Lab, boot, content, lease};
use support::need;
use support::one_at_a_time;

fn assert_booted(boot: &Boot, file: &str) {
    assert!(matches!(boot.last, Some(Progress::Finished { .. })), "{file}: {:?}", boot.last);
    assert!(boot.content == content(file), "{file} came as it is");
}

#[test]
fn clients_boot_and_the_log_tells_it_in_the_words_that_people_grep_for() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let firmware = boot(lab.ports, Kind::UefiX64, 1);
    assert_booted(&firmware, "snponly.efi");
    assert_booted(&boot(lab.ports, Kind::BiosPxe, 2), "undionly.kpxe");
    let script = boot(lab.ports, Kind::Ipxe, 1);
    assert_booted(&script, "boot.ipxe");
    assert_eq!(script.address, firmware.address, "one machine, one address");

    let address = firmware.address.unwrap();
    for line in [
        "DHCPDISCOVER(lo) 02:00:00:00:00:01 PXE uefi-x64".to_owned(),
        format!("DHCPOFFER(lo) {address} 02:00:00:00:00:01 file=snponly.efi"),
        "DHCPREQUEST(lo) 02:00:00:00:00:01 PXE uefi-x64".to_owned(),
        format!("DHCPACK(lo) {address} 02:00:00:00:00:01 file=snponly.efi"),
        format!("DHCPACK(lo) {address} 02:00:00:00:00:01 file=boot.ipxe"),
        format!("sent snponly.efi to {address} 1.0 MiB"),
        format!("sent boot.ipxe to {address} 66 B"),
    ] {
        serving.wait_for(&line);
    }
    assert!(serving.wait_for("DHCP server on lo").contains(&format!("port {}", lab.ports.dhcp)));
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().all(|line| !line.contains("ERROR") && !line.contains('\x1b')), "{lines:#?}");
    assert!(lines.last().unwrap().ends_with("stopped"), "{lines:#?}");
    let lease = (address.to_string(), "020000000001".to_owned(), "leased".to_owned());
    assert!(lab.leases().contains(&lease), "{:?}", lab.leases());
    assert_eq!(lab.leases().len(), 2);
}

#[test]
fn curl_fetches_a_file_from_the_same_process() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    lease(lab.ports, 1);
    let url = format!("tftp://127.0.0.1:{}/snponly.efi", lab.ports.tftp);
    let output = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
    assert!(output.status.success() && output.stdout == content("snponly.efi"), "{:?}", output.status);
    serving.wait_for("sent snponly.efi to 127.0.0.1 1.0 MiB");
}

#[test]
fn acknowledged_leases_survive_kill_9() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let address = lease(lab.ports, 1);
    serving.kill_9();
    let stored = [(address.to_string(), "020000000001".to_owned(), "leased".to_owned())];
    assert_eq!(lab.leases(), stored);

    let serving = lab.serve(&["serve"]);
    serving.wait_for("1 leases in ");
    // The other client comes first. If the lease had been lost, it would get this address.
    let other = lease(lab.ports, 2);
    assert_ne!(other, address);
    assert_eq!(lease(lab.ports, 1), address);
    let (status, _) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!(lab.leases().len(), 2);
}

#[test]
fn kill_9_in_a_storm_of_clients_loses_nothing_that_was_acknowledged() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let clients: Vec<_> = (1..=8u8)
        .map(|thread| {
            let ports = lab.ports;
            std::thread::spawn(move || {
                (0..8).map(|n| (thread * 8 + n, lease(ports, thread * 8 + n))).collect::<Vec<_>>()
            })
        })
        .collect();
    let given: Vec<(u8, Ipv4Addr)> = clients.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    serving.kill_9();
    let mut expected: Vec<_> = given
        .iter()
        .map(|(n, address)| (address.to_string(), format!("0200000000{n:02x}"), "leased".to_owned()))
        .collect();
    let mut stored = lab.leases();
    expected.sort();
    stored.sort();
    assert_eq!(stored, expected);
    let mut addresses: Vec<Ipv4Addr> = given.iter().map(|(_, address)| *address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 64, "no address twice");
}

#[test]
fn garbage_is_dropped_with_a_reason_and_delays_no_client() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let mut serving = lab.serve(&["serve"]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for i in 0..5000 {
        let mut bytes: Vec<u8> = (0..next() % 1501).map(|_| (next() >> 24) as u8).collect();
        // Every second one looks like a message, so that its options are read too.
        if i % 2 == 1 && bytes.len() >= 240 {
            bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
            bytes[24..28].fill(0);
            bytes[236..240].copy_from_slice(&COOKIE);
        }
        socket.send_to(&bytes, (Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
    }
    let asked = Instant::now();
    lease(lab.ports, 77);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "after garbage an address took {took:?}");
    assert!(serving.is_alive());
    assert_booted(&boot(lab.ports, Kind::Ipxe, 78), "boot.ipxe");
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    for reason in ["too_short", "bad_hlen", "not_a_request", "malformed"] {
        let ends = format!("reason={reason}");
        for begin in ["dropped(lo)", "dropped in all: "] {
            let is_logged = lines.iter().any(|line| line.contains(begin) && line.ends_with(&ends));
            assert!(is_logged, "no line with {begin} … {ends}");
        }
    }
    assert!(lines.iter().all(|line| !line.contains("reason=fault") && !line.contains("panicked")));
}

#[test]
fn missing_boot_files_are_named_at_start_with_the_clients_they_are_for() {
    let lab = Lab::new();
    std::fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    std::fs::remove_file(lab.path().join("boot-images/boot.ipxe")).unwrap();
    let serving = lab.serve(&["serve"]);
    let line = serving.wait_for("snponly.efi of boot.arch.uefi-x64 is not in ");
    assert!(
        line.contains("WARN") && line.contains("boot-images: ") && line.contains("cannot boot"),
        "{line}"
    );
    serving.wait_for("boot.ipxe of boot.ipxe is not in ");
    assert_booted(&boot(lab.ports, Kind::BiosPxe, 1), "undionly.kpxe");
    let failed = boot(lab.ports, Kind::UefiX64, 2).last.unwrap().to_string();
    assert!(failed.contains("the TFTP server refused snponly.efi: error 1"), "{failed}");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

/// A DISCOVER of client `n`.
fn discover(lab: &Lab, n: u32) -> Vec<u8> {
    let [_, a, b, c] = n.to_be_bytes();
    let mut machine = Machine::new(Kind::UefiX64.profile(), MacAddr([2, 1, 0, a, b, c]), lab.ports, n.into());
    let step = machine.start(Timestamp(0));
    match step.send.first() {
        Some(Transmit::Dhcp(payload)) => payload.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s_07_a_flood_fills_no_disk_and_hides_no_other_client() {
    const FLOOD: Duration = Duration::from_secs(4);
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let messages: Vec<Vec<u8>> = (0..5000).map(|n| discover(&lab, n)).collect();
    let began = Instant::now();
    let (mut sent, mut at_two) = (0_u64, None);
    for message in messages.iter().cycle() {
        socket.send_to(message, (Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
        // Garbage has its own kind of log line.
        socket.send_to(&[0; 7], (Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
        sent += 2;
        if began.elapsed() > FLOOD / 2 && at_two.is_none() {
            at_two = Some((began.elapsed(), serving.log_bytes()));
        }
        if began.elapsed() > FLOOD {
            break;
        }
    }
    let (then, bytes) = at_two.unwrap();
    let rate = (serving.log_bytes() - bytes) as f64 / (began.elapsed() - then).as_secs_f64();
    assert!(rate < 500_000.0, "{rate} bytes of log per second");
    assert!(sent > 10_000, "{sent} messages are no flood");
    // The number of lines left out is logged after the flood too, without another message.
    let mut left_out = 0;
    while left_out < serving.count("left out ") {
        left_out = serving.count("left out ");
        std::thread::sleep(Duration::from_millis(2500));
    }
    assert!(serving.count(" lines: DHCPDISCOVER") >= 1, "{left_out} lines tell what was left out");
    assert!(serving.count(" lines: dropped reason=too_short") >= 1, "{left_out} lines");
    // The count includes messages with and without a line. Messages that the kernel dropped never reached the server.
    let (_, lines) = serving.terminate();
    let number = |text: &str, line: &str| -> u64 {
        let (_, after) = line.split_once(text).unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    };
    let shown = lines.iter().filter(|line| line.contains("dropped(") && line.ends_with("reason=too_short"));
    let left_out =
        lines.iter().filter(|line| line.contains("left out ") && line.ends_with("reason=too_short"));
    let total = lines.iter().find(|line| line.contains("dropped in all: ") && line.ends_with("too_short"));
    let counted = number("dropped in all: ", total.unwrap());
    let found = shown.count() as u64 + left_out.map(|line| number("left out ", line)).sum::<u64>();
    assert_eq!(found, counted);
}

#[test]
fn s_07_a_boot_storm_is_shown_in_full() {
    const MACHINES: u32 = 500;
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for message in (0..MACHINES).map(|n| discover(&lab, n)) {
        socket.send_to(&message, (Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
    }
    serving.wait_for("DHCPDISCOVER(lo) 02:01:00:00:01:f3");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(serving.count("DHCPDISCOVER(lo) 02:01:"), MACHINES as usize);
    assert_eq!(serving.count("left out"), 0);
}

#[test]
fn s_16_no_signal_that_means_something_else_ends_the_server() {
    let lab = Lab::new();
    let mut serving = lab.serve(&["serve"]);
    let signals = [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGSTKFLT,
        Signal::SIGPIPE,
        Signal::SIGXFSZ,
        Signal::SIGHUP,
        Signal::SIGCHLD,
        Signal::SIGURG,
        Signal::SIGWINCH,
    ];
    for (signal, n) in signals.into_iter().zip(1..) {
        // Several times, because only some threads wait.
        (0..20).for_each(|_| serving.signal(signal));
        std::thread::sleep(Duration::from_millis(20));
        assert!(serving.is_alive(), "{signal} ended it");
        lease(lab.ports, n);
    }
    // Real-time signals have no name in nix.
    for number in ["34", "40", "63"] {
        let pid = serving.pid().to_string();
        assert!(Command::new("kill").args(["-s", number, &pid]).status().unwrap().success());
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_booted(&boot(lab.ports, Kind::UefiX64, 99), "snponly.efi");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

#[test]
fn r_51_sigusr1_logs_statistics() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    assert_booted(&boot(lab.ports, Kind::UefiX64, 1), "snponly.efi");
    lease(lab.ports, 2);
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .send_to(&[0; 7], (Ipv4Addr::LOCALHOST, lab.ports.dhcp))
        .unwrap();
    serving.wait_for("reason=too_short");
    serving.wait_for("sent snponly.efi");
    serving.signal(Signal::SIGUSR1);
    serving
        .wait_for("statistics: subnet 127.0.0.0/8: 2 leased, 0 offered, 0 quarantined, of a pool of 65330");
    serving.wait_for("statistics: received DHCPDISCOVER 2, DHCPREQUEST 2");
    serving.wait_for("statistics: sent DHCPOFFER 2, DHCPACK 2");
    serving.wait_for("statistics: dropped ");
    assert!(serving.wait_for("statistics: dropped ").contains("too_short 1"));
    assert!(
        serving
            .wait_for("statistics: TFTP ")
            .ends_with("TFTP 1 sent, 0 received, 0 stopped, 0 refused, 1048576 bytes sent")
    );
    serving.wait_for("statistics: HTTP 0 sent");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

#[test]
fn s_16_idle_connections_do_not_block_the_control_socket() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let address = lease(lab.ports, 1);
    let control = lab.path().join("state/control.sock");
    let connect = |text: &[u8]| {
        let mut stream = UnixStream::connect(&control).unwrap();
        // The server may already have closed the connection.
        let _ = stream.write_all(text);
        stream
    };
    // Silent clients, and clients that never complete a request.
    let idle: Vec<UnixStream> = (0..100)
        .map(|n| connect(if n % 2 == 0 { b"" } else { b"POST /leases/1 HTTP/1.1\r\nHost:" }))
        .collect();
    let began = Instant::now();
    let released = lab.run(&["leases", "release", &address.to_string()]);
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    drop(idle);
    // An idle connection is closed after five seconds.
    let mut stream = connect(b"");
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let began = Instant::now();
    let _ = stream.read_to_end(&mut Vec::new());
    let took = began.elapsed();
    assert!((4..8).contains(&took.as_secs()), "closed after {took:?}");
    assert_eq!(serving.terminate().0.code(), Some(0));
}
