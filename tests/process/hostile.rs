//! Bad bytes and kill -9 against the real server. Each test is named after its row in docs/robustness.md.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lanboot::wire::dhcp::MessageType;
use support::client::{Client, resident};
use support::lab::{self, Lab};
use support::world::base;
use support::{one_at_a_time, one_busy_at_a_time};

#[test]
fn d_08_and_d_09_memory_stays_flat_under_malformed_packets() {
    let _busy = one_busy_at_a_time();
    let lab = Lab::new();
    // Without a log line for each message, which would test the pipe instead.
    let serving = lab.serve_silently(&["serve", "--log", "error"]);
    let mut client = Client::new(&lab, 1);
    let started = Instant::now();
    while client.ask(MessageType::Discover, &[]).is_none() {
        assert!(started.elapsed() < lab::PATIENCE, "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    // RFC 1035 labels of more than 63 bytes in option 81; as many equal options as fit; and the same with a false
    // length at the end.
    let label = |len: u8| base(2, &[&[53, 1, 1, 81, 64, 4, 0, 0, len][..], &[b'x'; 60], &[255]].concat());
    let many = base(2, &[&[53, 1, 1][..], &[82, 3, 1, 1, 9].repeat(200), &[255]].concat());
    let lie = base(2, &[&[61, 2, 0, 1].repeat(250)[..], &[12, 255]].concat());
    let packets = [label(0x40), label(0xc0), label(0xff), many, lie];
    let mut send = |count: usize| {
        for (i, packet) in packets.iter().cycle().take(count).enumerate() {
            client.socket.send(packet).unwrap();
            // No faster than the server can read them, because a message that the kernel drops proves nothing.
            if i % 64 == 63 {
                let mut flow = client.ask(MessageType::Discover, &[]);
                flow = flow.or_else(|| client.ask(MessageType::Discover, &[]));
                assert!(flow.is_some(), "it answers others meanwhile");
            }
        }
    };
    send(1 << 14);
    let before = resident(&serving);
    send(1 << 18);
    let grown = resident(&serving) - before;
    assert!(grown < 1024, "{grown} KiB more after 2^18 malformed packets");
    assert!(Client::new(&lab, 3).lease().is_some());
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().all(|line| !line.contains("panicked")), "{lines:?}");
}

#[test]
fn d_14_names_that_a_shell_or_a_terminal_would_act_on_go_nowhere() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let mut client = Client::new(&lab, 1);
    let names: [&[u8]; 5] = [
        b"$(touch /tmp/lanboot-d14)",
        b"a;b\nFORGED",
        b"../../x\x1b[31m",
        b"\0\r\n",
        "\u{202e}evil".as_bytes(),
    ];
    for name in names {
        let fqdn = [&[0, 0, 0], name].concat();
        for code in [60, 66, 67, 77, 97] {
            let offer = client.ask(MessageType::Discover, &[(12, name), (81, &fqdn), (code, name)]);
            let answer = offer.expect("an offer").options.get(81).map(<[u8]>::to_vec).unwrap_or_default();
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            assert!(answer.iter().skip(3).all(plain), "{answer:?}");
        }
    }
    assert!(!Path::new("/tmp/lanboot-d14").exists());
    let (_, lines) = serving.terminate();
    for line in lines {
        assert!(!line.starts_with("FORGED") && line.chars().all(|c| c >= ' ' && c != '\u{202e}'), "{line:?}");
    }
}

#[test]
fn d_15_a_client_without_identity_gets_no_lease() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for kind in [1, 3].repeat(100) {
        let mut bytes = base(0, &[53, 1, kind, 50, 4, 127, 77, 0, 50, 54, 4, 127, 0, 0, 1, 255]);
        bytes[2] = 0;
        socket.send_to(&bytes, (Ipv4Addr::LOCALHOST, lab.ports.dhcp)).unwrap();
    }
    Client::new(&lab, 1).lease().expect("alive");
    serving.wait_for("reason=no_identity");
    serving.kill_9();
    assert_eq!(lab.leases().len(), 1);
    lab.serve(&["serve"]).wait_for("1 leases in ");
}

#[test]
fn f_01_kill_9_under_load_round_after_round_loses_nothing_that_was_acknowledged() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let mut given: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
    for round in 0..5u16 {
        let began = Instant::now();
        let serving = lab.serve(&["serve"]);
        serving.wait_for(&format!("{} leases in ", lab.leases().len()));
        assert!(began.elapsed() < Duration::from_secs(5), "ready after {:?}", began.elapsed());
        let stop = AtomicBool::new(false);
        let acknowledged: Vec<(Ipv4Addr, String)> = std::thread::scope(|scope| {
            let work = |thread: u16| {
                let (lab, stop) = (&lab, &stop);
                move || {
                    let mut acknowledged = Vec::new();
                    for n in 0..1000 {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let mut client = Client::new(lab, round << 12 | thread << 10 | n);
                        acknowledged.extend(client.lease().map(|address| (address, client.hardware())));
                    }
                    acknowledged
                }
            };
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
            // Each round kills at another moment of the work.
            std::thread::sleep(Duration::from_millis(150 + 70 * u64::from(round)));
            serving.kill_9();
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(!acknowledged.is_empty(), "round {round}: nobody got a lease before the end");
        for (address, hardware) in acknowledged {
            assert_eq!(given.insert(address, hardware), None, "round {round}: {address} has two owners");
        }
        let stored: BTreeMap<String, String> =
            lab.leases().into_iter().map(|(address, hardware, _)| (address, hardware)).collect();
        for (address, hardware) in &given {
            assert_eq!(stored.get(&address.to_string()), Some(hardware), "round {round}: {address}");
        }
    }
    let _serving = lab.serve(&["serve"]);
    for (address, hardware) in given.iter().step_by(7) {
        let n = u16::from_str_radix(&hardware[8..], 16).unwrap();
        let ack = Client::new(&lab, n).ask(MessageType::Request, &[(50, &address.octets())]).unwrap();
        assert_eq!(
            (ack.message_type(), ack.yiaddr),
            (Some(Ok(MessageType::Ack)), *address),
            "it is confirmed"
        );
    }
}
