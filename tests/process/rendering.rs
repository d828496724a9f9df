//! Templates that take too many resources, which many clients request from the real binary at the same moment, over
//! HTTP and TFTP. Ordinary clients ask meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::lab::{Lab, lease};
use support::{one_at_a_time, one_busy_at_a_time};

/// Time in which ordinary clients must get their answer.
const PROMPT: Duration = Duration::from_secs(1);
/// Additional memory that the server may use, in bytes.
const MORE: u64 = 256 << 20;

/// A server with these templates and some ordinary ones.
fn lab(templates: &[(&str, String)]) -> Lab {
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    for (name, text) in templates {
        fs::write(images.join(name), text).unwrap();
    }
    fs::write(images.join("good.j2"), "{{ server }} {% for i in range(9) %}{{ i }}{% endfor %}!\n").unwrap();
    fs::write(images.join("file"), "file").unwrap();
    lab
}

/// Status and body of the answer to a request for `name` by HTTP.
fn get(lab: &Lab, name: &str) -> (String, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    (status, answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
}

/// A TFTP client that requests `name`.
fn ask(lab: &Lab, name: &str) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
    socket.send_to(&request, (Ipv4Addr::LOCALHOST, lab.ports.tftp)).unwrap();
    socket
}

/// The first packet that the client receives: the opcode, and the bytes after the next two.
fn answer(socket: &UdpSocket) -> (u8, Vec<u8>) {
    let mut buffer = [0; 2048];
    let (length, peer) = socket.recv_from(&mut buffer).unwrap();
    if buffer[1] == 3 {
        socket.send_to(&[0, 4, buffer[2], buffer[3]], peer).unwrap();
    }
    (buffer[1], buffer[4..length].to_vec())
}

/// The peak memory use of a process, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

const GOOD: &str = "127.0.0.1 012345678!\n";

fn bad() -> Vec<(&'static str, String)> {
    let doubled = |step: &str| format!("{{% set x = [1] %}}{}{{{{ x }}}}", step.repeat(40));
    vec![
        ("not.j2", format!("{{{{ {}x }}}}", "not ".repeat(50_000))),
        ("double.j2", doubled("{% set x = x + x %}")),
        ("nested.j2", doubled("{% set x = [x, x] %}")),
        ("repeat.j2", "{{ 'x' * 1000000000 }}".to_owned()),
        (
            "texts.j2",
            "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = ns.l + ['x' * 500000] %}{% endfor %}"
                .to_owned(),
        ),
        (
            "loop.j2",
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ [a, b]|sort|first }}{% endfor %}{% endfor %}".to_owned(),
        ),
    ]
}

/// Stops the clients on drop, also when a test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn s_08_bad_templates_hold_up_no_other_client() {
    let _alone = one_at_a_time();
    let templates = bad();
    let lab = lab(&templates);
    let serving = lab.serve(&["serve"]);
    assert_eq!(get(&lab, "good"), ("200".to_owned(), GOOD.to_owned()));
    let before = peak(serving.pid());
    let (stopping, asked) = (&AtomicBool::new(false), &AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..48 {
            let (lab, templates) = (&lab, &templates);
            scope.spawn(move || {
                let name = |turn: usize| templates[turn % templates.len()].0.trim_end_matches(".j2");
                for turn in number.. {
                    if stopping.load(Ordering::Relaxed) {
                        break;
                    }
                    if number % 2 == 0 {
                        let (status, _) = get(lab, name(turn));
                        assert!(status == "500" || status == "503", "{status} for {}", name(turn));
                    } else {
                        let (opcode, _) = answer(&ask(lab, name(turn)));
                        assert_eq!(opcode, 5, "{}", name(turn));
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = Stop(stopping);
        let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        let mut note =
            |name: &'static str, began: Instant| times.entry(name).or_default().push(began.elapsed());
        let end = Instant::now() + Duration::from_secs(10);
        let mut machine = 1;
        while Instant::now() < end {
            let began = Instant::now();
            assert_eq!(get(&lab, "file").1, "file");
            note("a file by HTTP", began);
            let began = Instant::now();
            assert_eq!(answer(&ask(&lab, "file")), (3, b"file".to_vec()));
            note("a file by TFTP", began);
            let began = Instant::now();
            assert_eq!(get(&lab, "good").1, GOOD);
            note("a template by HTTP", began);
            let began = Instant::now();
            assert_eq!(answer(&ask(&lab, "good")), (3, GOOD.as_bytes().to_vec()));
            note("a template by TFTP", began);
            if machine < 20 {
                // The server probes an address before it offers it, which takes some time.
                let began = Instant::now();
                lease(lab.ports, machine);
                note("a lease", began + PROMPT / 2);
                machine += 1;
            }
        }
        for (what, mut times) in times {
            times.sort();
            // One answer in ten may be late, because other tests run at the same time.
            let took = times[times.len() * 9 / 10];
            assert!(took < PROMPT, "{what} took {took:?}: {times:?}");
        }
    });
    let grown = peak(serving.pid()).saturating_sub(before);
    assert!(grown < MORE, "{grown} bytes more");
    assert!(asked.load(Ordering::Relaxed) > templates.len());
    serving.wait_for("cannot render not.j2:1: a tag has 50001 words and signs");
    serving.wait_for("cannot render double.j2:1: a list or mapping has more than 20000 elements here (for ");
    let (status, _) = serving.terminate();
    assert!(status.success());
}

/// A client repeats its request after silence. The template is rendered once, and the client gets one answer.
#[test]
fn s_08_the_same_request_again_is_rendered_once() {
    let long = "{% for a in range(9000) %}{% set x = a * 2 %}{% endfor %}made\n";
    let lab = lab(&[("long.j2", long.to_owned())]);
    let _serving = lab.serve(&["serve"]);
    let socket = ask(&lab, "long");
    let request = [&b"\0\x01long\0octet\0"[..]].concat();
    for _ in 0..20 {
        socket.send_to(&request, (Ipv4Addr::LOCALHOST, lab.ports.tftp)).unwrap();
    }
    assert_eq!(answer(&socket), (3, b"made\n".to_vec()));
    socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut buffer = [0; 64];
    assert!(socket.recv_from(&mut buffer).is_err(), "{buffer:?}");
}

#[test]
fn s_08_check_reports_templates_that_are_too_much() {
    let _busy = one_busy_at_a_time();
    let lab = lab(&bad());
    let checked = lab.run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{text}");
    for (name, _) in bad() {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!text.contains("good.j2"), "{text}");
}
