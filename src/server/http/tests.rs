//! Clients over loopback: slow, faulty and old ones. The clock is real; 5 s of the server are 0.3 s here.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::config::Config;
use crate::content::lookup::Files;
use crate::content::machines::{KnownMachine, MachineTable};
use crate::content::once::BootState;
use crate::images::Catalog;
use crate::net::fd_limit;
use crate::record::Recorder;

/// Short limits for tests of timeouts.
const SHORT: Timeouts = Timeouts {
    head: Duration::from_millis(300),
    idle: Duration::from_millis(600),
    pace: Duration::from_millis(400),
};

/// A folder that is served until this is dropped.
struct Site {
    folder: tempfile::TempDir,
    address: SocketAddr,
    server: tokio::task::JoinHandle<io::Result<()>>,
}

impl Site {
    fn new(timeouts: Timeouts) -> Site {
        Site::with(timeouts, |catalog| Files::new(catalog, MachineTable::default()))
    }

    fn limited(timeouts: Timeouts, limits: Limits) -> Site {
        Site::serving(|catalog| {
            let files = Files::new(catalog, MachineTable::default());
            Service::new(files, Recorder::default(), timeouts, Admission::default()).limited(limits)
        })
    }

    fn with(timeouts: Timeouts, files: impl FnOnce(Catalog) -> Files) -> Site {
        Site::serving(|catalog| {
            Service::new(files(catalog), Recorder::default(), timeouts, Admission::default())
        })
    }

    fn serving(service: impl FnOnce(Catalog) -> Service) -> Site {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "content").unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        File::create(folder.path().join("large")).unwrap().set_len(64 << 20).unwrap();
        let service = service(Catalog::open(folder.path()).unwrap());
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        Site { folder, address, server: tokio::spawn(serve(listener, service, std::future::pending())) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The bytes received for `text`, until the server closes the connection or sends nothing for 5 s.
    async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset connection has received everything before.
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The next response on a connection that stays open: its head, and as many bytes as the head states.
async fn next(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(Duration::from_secs(5), stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split("Content-Length: ").nth(1).map_or("0", |rest| rest.lines().next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[test]
fn connections_do_not_use_bbr() {
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let used = socket2::SockRef::from(&listener).tcp_congestion().unwrap();
    let default = std::fs::read("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    let wanted = if default.starts_with(b"bbr") { b"reno" } else { default.trim_ascii_end() };
    assert!(used.starts_with(wanted), "{used:?}");
}

#[tokio::test]
async fn pipelined_requests_are_answered() {
    let site = Site::new(SHORT);
    let mut stream = site.connect().await;
    let asked = [get("/x"), get("//empty"), get("/none"), get("/../x"), get("/"), get("/x?y")].concat();
    stream.write_all(asked.as_bytes()).await.unwrap();
    for (status, text) in [
        ("200 OK", "content"),
        ("200 OK", ""),
        ("404 Not Found", "There is no such boot file.\n"),
        ("400 Bad Request", "This is not a request for a boot file.\n"),
        ("404 Not Found", "There is no such boot file.\n"),
        ("200 OK", "content"),
    ] {
        let (head, body) = next(&mut stream).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{status}: {head}");
        assert_eq!(body, text);
    }
}

#[tokio::test]
async fn rfc9110_2_5_a_later_minor_version_is_read_as_http_1_1() {
    let site = Site::new(SHORT);
    let get = site.exchange("GET /x HTTP/1.2\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 200 OK\r\n") && get.ends_with("content"), "{get}");
    let post = site.exchange("POST /x HTTP/1.2\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let other = site.exchange("GET /x HTTP/2.0\r\nHost: x\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 400 "), "{other}");
}

#[tokio::test]
async fn rfc9112_6_3_an_invalid_length_ends_the_connection() {
    let site = Site::new(SHORT);
    for length in ["", " ", " x", " 0x", " 1,2"] {
        let answer =
            site.exchange(&format!("GET /x HTTP/1.1\r\nHost: x\r\nContent-Length:{length}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{length:?}: {answer}");
    }
}

#[tokio::test]
async fn http_1_0_connections_close_after_the_file() {
    let site = Site::new(SHORT);
    let answer = site.exchange("GET /x HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ncontent"), "{answer}");
    let text = site.exchange("GET /lanboot/whoami HTTP/1.0\r\n\r\n").await;
    assert!(text.contains("Content-Type: text/plain") && text.contains("127.0.0.1"), "{text}");
}

#[tokio::test]
async fn rfc9112_9_6_late_data_does_not_reset_the_response() {
    const LARGE: usize = 64 << 20;
    let site = Site::new(SHORT);
    for (asked, later) in [
        ("GET /large HTTP/1.0\r\n\r\n\r\n", ""),
        ("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "\r\n"),
    ] {
        let mut stream = site.connect().await;
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut begin = [0; 1000];
        stream.read_exact(&mut begin).await.unwrap();
        stream.write_all(later.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // This client is slower than the server.
        sleep(Duration::from_millis(20)).await;
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.unwrap();
        assert!(read.is_ok() && bytes.len() > LARGE - begin.len(), "{asked}: {read:?} {}", bytes.len());
    }
}

#[tokio::test]
async fn slowloris_is_closed_and_delays_no_client() {
    let site = Site::new(SHORT);
    let mut silent = site.connect().await;
    let mut slow = site.connect().await;
    let began = Instant::now();
    let drip = async {
        for byte in get("/x").bytes().cycle() {
            if slow.write_u8(byte).await.is_err() || began.elapsed() > Duration::from_secs(2) {
                break;
            }
            let mut answer = [0; 500];
            match timeout(Duration::from_millis(50), slow.read(&mut answer)).await {
                Ok(Ok(count)) => {
                    return (began.elapsed(), String::from_utf8_lossy(&answer[..count]).into_owned());
                }
                _ => continue,
            }
        }
        panic!("a client that sends 20 bytes a second is still listened to");
    };
    let asked = get("/x");
    let ((closed_after, answer), other, silence) = tokio::join!(drip, site.exchange(&asked), async {
        let said = rest(&mut silent).await;
        (began.elapsed(), said)
    });
    assert!(answer.starts_with("HTTP/1.1 408 "), "reason=slow_head: {answer}");
    assert!((SHORT.head..SHORT.idle).contains(&closed_after), "{closed_after:?}");
    assert!((SHORT.head..SHORT.idle * 2).contains(&silence.0) && silence.1.is_empty(), "{silence:?}");
    assert!(other.ends_with("content"), "{other}");
}

#[tokio::test]
async fn a_connection_may_idle_between_requests() {
    let site = Site::new(SHORT);
    let mut stream = site.connect().await;
    stream.write_all(get("/x").as_bytes()).await.unwrap();
    next(&mut stream).await;
    sleep(SHORT.head + Duration::from_millis(100)).await;
    stream.write_all(get("/x").as_bytes()).await.unwrap();
    assert_eq!(next(&mut stream).await.1, "content");
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(began.elapsed() >= SHORT.idle - Duration::from_millis(50), "{:?}", began.elapsed());
}

#[tokio::test]
async fn only_stalled_clients_are_aborted() {
    let site = Site::new(SHORT);
    let mut stuck = site.connect().await;
    stuck.write_all(get("/large").as_bytes()).await.unwrap();
    let steady = async {
        let mut stream = site.connect().await;
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nRange: bytes=0-16777215\r\n\r\n").await.unwrap();
        let (mut got, mut buffer) = (0, vec![0; 256 << 10]);
        let began = Instant::now();
        while got < 16 << 20 {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "it was given up after {got} bytes and {:?}", began.elapsed());
            got += count;
            sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    let took = steady.await;
    assert!(took > SHORT.pace * 2, "it was slow: {took:?}");
    sleep(SHORT.pace * 2).await;
    let got = rest(&mut stuck).await.len();
    assert!(got > 0 && got < 64 << 20, "reason=too_slow: {got} bytes");
}

/// A file that changes during a response yields only its own bytes, and no false end.
#[tokio::test]
async fn a_file_that_shrinks_ends_the_connection_before_its_length() {
    let site = Site::new(SHORT);
    let mut stream = site.connect().await;
    stream.write_all(get("/large").as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    File::options().write(true).open(site.path().join("large")).unwrap().set_len(1 << 20).unwrap();
    let got = rest(&mut stream).await.len();
    assert!(got < 64 << 20, "reason=file_shrank: {got} bytes");
}

#[tokio::test]
async fn w_05_heads_and_bodies_that_are_too_long_are_refused_early() {
    let site = Site::new(SHORT);
    let long = format!("GET /x HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(1 << 20));
    let answer = site.exchange(&long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "reason=head_too_large: {answer}");
    let many = format!("GET /x HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert!(site.exchange(&many).await.starts_with("HTTP/1.1 431 "));

    let post = |fields: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{body}");
    let announced = site.exchange(&post("Content-Length: 1073741824\r\nExpect: 100-continue", "")).await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "refused before the body: {announced}");
    let body = "y".repeat(100 << 10);
    let sent = site.exchange(&post("Content-Length: 102400", &body)).await;
    assert!(sent.starts_with("HTTP/1.1 413 "), "reason=body_too_large: {sent}");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let sent = site.exchange(&post("Transfer-Encoding: chunked", &chunked)).await;
    assert!(sent.starts_with("HTTP/1.1 413 "), "reason=body_too_large: {sent}");
}

#[tokio::test]
async fn files_are_read_only() {
    let site = Site::new(SHORT);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let text = format!("{method} /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        let answer = site.exchange(&text).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "reason=method_not_allowed: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: get, head\r\n"), "{answer}");
    }
    assert_eq!(std::fs::read_to_string(site.path().join("x")).unwrap(), "content");
    let done =
        site.exchange("PUT /52:54:00:12:34:56/done HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert!(done.starts_with("HTTP/1.1 405 ") && done.contains("\r\nallow: GET, HEAD, POST\r\n"), "{done}");
    let garbage = site.exchange("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "reason=bad_request, TLS: {garbage}");
}

/// The answer file of Proxmox VE's installer: `POST /answer.toml` with what the installer found in the machine.
#[tokio::test]
async fn r_36_a_template_is_rendered_with_the_posted_json() {
    let site = Site::new(SHORT);
    let template = "fqdn = {{ request.dmi.system.serial | tojson }}\n\
                    {% for nic in request.network_interfaces %}\n{{ nic.mac }}\n{% endfor %}\n";
    std::fs::write(site.path().join("answer.toml.j2"), template).unwrap();
    std::fs::write(
        site.path().join("both.txt.j2"),
        "{{ request.x | default('none') if request is defined else 'get' }}",
    )
    .unwrap();
    let post = |path: &str, fields: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
    };
    let json =
        r#"{"dmi": {"system": {"serial": "A\"1"}}, "network_interfaces": [{"mac": "m1"}, {"mac": "m2"}]}"#;
    let answer = site.exchange(&post("/answer.toml", "Content-Type: application/json\r\n", json)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nfqdn = \"A\\\"1\"\nm1\nm2\n"), "{answer}");
    for (body, text) in [(r#"{"x": 5}"#, "5"), ("{}", "none"), (r#"["x"]"#, "none")] {
        let answer = site.exchange(&post("/both.txt", "", body)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("\r\n\r\n{text}")),
            "{answer}"
        );
    }
    let got = site.exchange("GET /both.txt HTTP/1.0\r\n\r\n").await;
    assert!(got.ends_with("\r\n\r\nget"), "{got}");
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for (path, fields, body, status) in [
        ("/answer.toml", "", "x=1", "400"),
        ("/answer.toml", "", "", "400"),
        ("/answer.toml", "", nested.as_str(), "400"),
        ("/answer.toml", "Origin: http://page.example\r\n", json, "403"),
        ("/answer.toml", "Sec-Fetch-Mode: cors\r\n", json, "403"),
        ("/answer.toml", "", "{}", "500"),
        ("/none", "", json, "404"),
        ("/answer.toml.j2", "", json, "404"),
        ("/x", "", json, "405"),
        ("/lanboot/whoami", "", json, "405"),
    ] {
        let answer = site.exchange(&post(path, fields, body)).await;
        let begin = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&begin), "reason=bad_body and others: {path} {fields}: {answer}");
    }
}

#[tokio::test]
async fn done_is_answered_after_the_disk_write() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let yaml = "{dhcp: {mode: off}, machines: [{mac: 02:00:00:00:00:01, boot: local, once: menu}]}";
    let config = Config { state: state.clone(), ..crate::config::load(yaml).unwrap() };
    let (boot_state, _) = BootState::open(&config);
    let site =
        Site::with(SHORT, |catalog| Files::new(catalog, MachineTable::default()).with_boot_state(boot_state));
    let done = "POST /02:00:00:00:00:01/done HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    std::fs::write(&state, "in the way").unwrap();
    for _ in 0..2 {
        let answer = site.exchange(done).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
    std::fs::remove_file(&state).unwrap();
    let answer = site.exchange(done).await;
    assert!(answer.starts_with("HTTP/1.1 204 ") && state.join("once.json").exists(), "{answer}");
}

/// The last bytes of a file are not the whole file: curl's `-r -1`.
#[tokio::test]
async fn the_last_file_over_http_ends_once() {
    let yaml = "{dhcp: {mode: off}, targets: {t: {kernel: x}}, machines: [{mac: 02:00:00:00:00:01, boot: local, once: t}]}";
    let boot_state = BootState::in_memory(&crate::config::load(yaml).unwrap());
    let known = MachineTable::default();
    let machine = KnownMachine { mac: "02:00:00:00:00:01".parse().ok(), ..KnownMachine::default() };
    known.learn(Ipv4Addr::LOCALHOST.into(), machine);
    let site = Site::with(SHORT, |catalog| Files::new(catalog, known).with_boot_state(boot_state));
    let part = |range: &str| {
        format!("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes={range}\r\n\r\n")
    };
    let script = get("/boot.ipxe").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    for (asked, is_over) in [("-1", false), ("0-3", false), ("5-", false), ("4-", true)] {
        assert!(site.exchange(&part(asked)).await.starts_with("HTTP/1.1 206 "));
        let script = site.exchange(&script).await;
        assert_eq!(!script.contains("kernel "), is_over, "{asked}: {script}");
    }
}

/// The ends of `once` are tested in content/once.rs, and with the real binary in tests/process/http/serve.rs.
#[tokio::test]
async fn only_configured_machines_can_report_done() {
    let site = Site::new(SHORT);
    for path in
        ["/52:54:00:12:34:56/done", "//52:54:00:12:34:56//done", "/52%3a54:00:12:34:56/done", "/nobody/done"]
    {
        let answer =
            site.exchange(&format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

/// 200 machines behind one address boot at the same moment, some of them with two connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_200_clients_behind_one_address_are_served() {
    fd_limit::raise();
    let site = Site::new(Timeouts::DEFAULT);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(site.connect().await);
    }
    let address = site.address;
    let boots: JoinSet<String> = (0..200)
        .map(|_| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let head = next_head(&mut stream).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            sleep(Duration::from_millis(50)).await;
            stream.write_all(get("/x").as_bytes()).await.unwrap();
            next(&mut stream).await.1
        })
        .collect();
    let files = boots.join_all().await;
    assert!(files.len() == 200 && files.iter().all(|file| file == "content"), "{files:?}");
}

#[tokio::test]
async fn r_10_the_1025th_connection_of_a_client_gets_503() {
    fd_limit::raise();
    let site = Site::new(Timeouts { head: Duration::from_secs(20), ..SHORT });
    let mut held = Vec::new();
    for _ in 0..1024 {
        held.push(site.connect().await);
    }
    let mut refused = site.connect().await;
    sleep(Duration::from_millis(100)).await;
    let too_early = refused.try_read(&mut [0; 10]).unwrap_err();
    assert_eq!(too_early.kind(), io::ErrorKind::WouldBlock, "no answer precedes its request");
    // A head in two pieces, and data behind it, must not reset the connection before the response is read.
    refused.write_all(b"GET /x HTTP/1.1\r\nHos").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    refused.write_all(b"t: x\r\n\r\nGET /x").await.unwrap();
    let answer = rest(&mut refused).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"),
        "reason=busy: {answer}"
    );
    assert!(answer.contains("Connection: close\r\n") && answer.ends_with("try again.\n"), "{answer}");
    let head = site.exchange("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"), "{head}");
    let elsewhere = from([127, 9, 9, 9], site.address).await;
    assert!(
        answered(elsewhere, "GET /x HTTP/1.0\r\n\r\n").await.ends_with("content"),
        "others are not refused"
    );
    held.clear();
    // The server notices each end separately.
    sleep(Duration::from_millis(300)).await;
    assert!(site.exchange("GET /x HTTP/1.0\r\n\r\n").await.ends_with("content"));
}

#[tokio::test]
async fn r_10_refused_connections_are_bounded() {
    let limits = Limits { of_one: 2, refused_per_client: 3, ..Limits::DEFAULT };
    let site = Site::limited(SHORT, limits);
    let _held = [site.connect().await, site.connect().await];
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(site.connect().await);
    }
    sleep(Duration::from_millis(50)).await;
    let at_once = rest(&mut site.connect().await).await;
    assert!(at_once.starts_with("HTTP/1.1 503 "), "{at_once}");
    for stream in &mut silent {
        assert_eq!(rest(stream).await, "", "a connection without a request is closed after the head timeout");
    }
}

/// Connects to `address` from another address of this computer.
async fn from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    socket.connect(address).await.unwrap()
}

async fn answered(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn next_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(Duration::from_secs(5), stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// One host with many addresses takes every slot: with connections that never send a request, that sent one, or that
/// never complete their head. Downloads with progress are among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_09_idle_connections_are_evicted_before_transfers() {
    fd_limit::raise();
    let limits = Limits { all: 300, ..Limits::DEFAULT };
    let long = Duration::from_secs(60);
    let site = Site::limited(Timeouts { head: long, idle: long, pace: long }, limits);
    let mut downloads = Vec::new();
    for n in 0..4 {
        let mut stream = from([127, 1, 0, n + 1], site.address).await;
        stream.write_all(get("/large").as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        downloads.push(stream);
    }
    let mut held = Vec::new();
    for n in 0..400_u16 {
        let [high, low] = n.to_be_bytes();
        let mut stream = from([127, 2, high, low.max(1)], site.address).await;
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /x HTTP/1.1\r\n").await.unwrap(),
            _ => {
                stream.write_all(get("/x").as_bytes()).await.unwrap();
                next(&mut stream).await;
            }
        }
        held.push(stream);
    }
    let began = Instant::now();
    for n in 1..=20 {
        let stream = from([127, 3, 0, n], site.address).await;
        let answer = answered(stream, "GET /x HTTP/1.0\r\n\r\n").await;
        assert!(answer.ends_with("content"), "{n}: {answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(rest(&mut held[0]).await, "", "reason=gave_way: the longest idle");
    for mut stream in downloads {
        let mut got = 0;
        let mut buffer = vec![0; 1 << 20];
        while got < 64 << 20 {
            let count = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(count > 0, "a download was cut off after {got} bytes");
            got += count;
        }
    }
}

#[tokio::test]
async fn s_09_a_stalled_client_is_evicted() {
    let limits = Limits { all: 2, stalled: Duration::from_millis(300), ..Limits::DEFAULT };
    let long = Duration::from_secs(60);
    let site = Site::limited(Timeouts { head: long, idle: long, pace: long }, limits);
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let mut stream = site.connect().await;
        stream.write_all(get("/large").as_bytes()).await.unwrap();
        stuck.push(stream);
    }
    sleep(Duration::from_millis(100)).await;
    let early = site.exchange(&get("/x")).await;
    assert!(early.starts_with("HTTP/1.1 503 "), "both may still make progress: {early}");
    sleep(Duration::from_millis(600)).await;
    assert!(site.exchange("GET /x HTTP/1.0\r\n\r\n").await.ends_with("content"));
    let got = rest(&mut stuck[0]).await.len();
    assert!(got < 64 << 20, "HttpStop::GaveWay: {got} bytes");
}

#[test]
fn every_refusal_has_its_status() {
    let code = |reason| status_and_text(reason).0.code();
    assert_eq!(code(HttpRefusal::from(crate::event::Refusal::AccessDenied)), 403);
    assert_eq!(code(HttpRefusal::from(crate::event::Refusal::BadName)), 404, "HttpRefusal::BadName");
    assert_eq!((code(HttpRefusal::NotFound), code(HttpRefusal::AccessDenied)), (404, 403));
    assert_eq!(code(HttpRefusal::RenderQueue), 503);
    assert_eq!(
        (code(HttpRefusal::Busy), code(HttpRefusal::Io), code(HttpRefusal::Template)),
        (503, 500, 500)
    );
    assert_eq!(code(HttpRefusal::GaveWay), 503);
}
