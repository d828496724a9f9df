//! Rows of docs/robustness.md about files over HTTP: the real binary, and hostile clients. Each test is named after its
//! row.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use lanboot::wire::dhcp::MessageType;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use support::client::{Client, resident};
use support::lab::{Lab, Serving, content};
use support::{one_at_a_time, one_busy_at_a_time};

/// Option 12, the host name that a client sends.
const HOST_NAME: u8 = 12;

/// A connection to the lab from this loopback address.
fn connect(lab: &Lab, from: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(from, 0).into()).unwrap();
    socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, lab.http).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends `request` and reads the answer until the server closes the connection. Returns head and body.
fn exchange(lab: &Lab, from: Ipv4Addr, request: &str) -> (String, Vec<u8>) {
    let mut stream = connect(lab, from);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end..].to_vec())
}

fn get(lab: &Lab, from: Ipv4Addr, path: &str) -> (String, String) {
    let (head, body) =
        exchange(lab, from, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    (head, String::from_utf8_lossy(&body).into_owned())
}

fn write(lab: &Lab, name: &str, text: &str) {
    fs::write(lab.path().join("boot-images").join(name), text).unwrap();
}

/// Raises this process's limit of open files and sockets. Returns whether `count` are allowed.
fn may_open(count: u64) -> bool {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() && hard >= count
}

/// Number of open files and sockets of the process.
fn descriptors(serving: &Serving) -> usize {
    fs::read_dir(format!("/proc/{}/fd", serving.pid())).unwrap().count()
}

/// A template's `hostname` is the name that the machine sent in DHCP. Anything that is not a valid name is ignored.
#[test]
fn w_02_a_host_name_off_the_wire_is_never_a_template() {
    let lab = Lab::new();
    write(&lab, "who.txt.j2", "<{{ hostname | default('nobody') }}>");
    write(&lab, "who.ipxe.j2", "#!ipxe\necho {{ hostname | default('nobody') }}\n");
    let serving = lab.serve(&["serve"]);
    let names: [(&[u8], &str); 5] = [
        (b"pc-7.lab", "pc-7.lab"),
        (b"{{7*7}}", "nobody"),
        (b"{% include \"/etc/shadow\" %}", "nobody"),
        (b"a\nshell", "nobody"),
        (b"x ${net0/mac} || shell", "nobody"),
    ];
    for (n, (said, shown)) in (1..).zip(names) {
        let mut client = Client::new(&lab, n);
        let says: [(u8, &[u8]); 3] =
            [(60, b"PXEClient:Arch:00007:UNDI:003016"), (93, &[0, 7]), (HOST_NAME, said)];
        let address = client.ask(MessageType::Discover, &says).expect("an offer").yiaddr;
        let (wanted, server) = (address.octets(), Ipv4Addr::LOCALHOST.octets());
        let takes = [&says[..], &[(50, &wanted), (54, &server)]].concat();
        client.ask(MessageType::Request, &takes).expect("an ACK");
        assert_eq!(get(&lab, address, "/who.txt").1, format!("<{shown}>"), "{said:?}");
        assert_eq!(get(&lab, address, "/who.ipxe").1, format!("#!ipxe\necho {shown}\n"), "{said:?}");
    }
    let (_, lines) = serving.terminate();
    let is_bad = |line: &&String| line.contains("root:") || line.starts_with("shell") || line.contains("49>");
    assert_eq!(lines.iter().find(is_bad), None);
}

/// Access to routes. Every client that reaches the port may use every route, because a booting machine has no way to
/// prove its identity. Add each new route here. A route for people needs a password.
#[test]
fn w_04_every_route_besides_the_files_is_known() {
    const ROUTES: [(&str, &str); 1] = [("/{mac}/done", "public-boot: ends what the machine starts once")];
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap();
            found.extend(
                product.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
            );
            assert!(
                !product.contains(".nest(") && !product.contains(".route_service("),
                "routes that are not seen here"
            );
        }
    }
    assert_eq!(found, ROUTES.map(|(route, _)| route));
}

#[test]
fn w_05_a_body_of_a_gibibyte_is_refused_early_and_takes_no_memory() {
    let _busy = one_busy_at_a_time();
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let before = resident(&serving);
    let head = "POST /02:00:00:00:00:01/done HTTP/1.1\r\nHost: x\r\n";
    for announced in ["Content-Length: 1073741824\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n40000000\r\n"]
    {
        let mut stream = connect(&lab, Ipv4Addr::LOCALHOST);
        stream.write_all(format!("{head}{announced}").as_bytes()).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        let piece = vec![b'y'; 1 << 20];
        let taken = (0..1024).take_while(|_| stream.write_all(&piece).is_ok()).count();
        assert!(taken < 64, "it took {taken} MiB of {announced:?}");
        let mut answer = [0; 12];
        // The answer may be lost with the connection, because unread input causes a reset.
        if stream.read_exact(&mut answer).is_ok() {
            let status = String::from_utf8_lossy(&answer).into_owned();
            assert!(["HTTP/1.1 413", "HTTP/1.1 404"].contains(&&*status), "{status} to {announced:?}");
        }
    }
    let grown = resident(&serving) - before;
    assert!(grown < 8 << 10, "it grew by {grown} KiB");
}

#[test]
fn w_05_a_flood_of_bad_requests_gets_few_lines() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let began = Instant::now();
    let refused = "GET /../x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3000);
    let mut stream = connect(&lab, Ipv4Addr::LOCALHOST);
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut answers = Vec::new();
        let _ = reading.read_to_end(&mut answers);
        answers.windows(12).filter(|bytes| bytes == b"HTTP/1.1 400").count()
    });
    stream.write_all(refused.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reader.join().unwrap(), 3000, "each is answered");
    // Clients that request a file and leave: `stopped sending`.
    for _ in 0..300 {
        let mut stream = connect(&lab, Ipv4Addr::LOCALHOST);
        stream.write_all(b"GET /snponly.efi HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    let seconds = began.elapsed().as_secs() as usize + 1;
    let (_, lines) = serving.terminate();
    let said = lines.iter().filter(|line| line.contains("WARN")).count();
    assert!(said <= (seconds + 1) * 21 * 2, "{said} lines in {seconds} s");
    assert!(lines.iter().any(|line| line.contains("reason=bad_request")), "{lines:#?}");
}

/// A web page in a browser on the boot network cannot end a machine's target, whatever host name the page uses for this
/// server (DNS rebinding). Browsers add Origin to every POST. Installers never do.
#[test]
fn w_07_a_web_page_cannot_say_that_a_machine_is_done() {
    let lab = Lab::new();
    write(&lab, "linux", "kernel");
    lab.write_config(&format!(
        "{}targets: {{debian: {{kernel: linux}}}}\nmachines: [{{mac: 02:00:00:00:00:09, once: debian, boot: local}}]\n",
        lab.config()
    ));
    let serving = lab.serve(&["serve"]);
    let post = |fields: &str| {
        let text =
            format!("POST /02:00:00:00:00:09/done HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{fields}\r\n");
        exchange(&lab, Ipv4Addr::LOCALHOST, &text).0
    };
    let starts_debian =
        || get(&lab, Ipv4Addr::LOCALHOST, "/02:00:00:00:00:09/boot.ipxe").1.contains("/linux");
    for fields in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let head = post(fields);
        assert!(head.starts_with("HTTP/1.1 403 "), "{fields}: {head}");
        assert!(starts_debian(), "{fields}");
    }
    serving.wait_for("refused /02:00:00:00:00:09/done to 127.0.0.1 by HTTP reason=browser");
    let head = post("");
    assert!(head.starts_with("HTTP/1.1 204 ") && !starts_debian(), "{head}");
    let head = get(&lab, Ipv4Addr::LOCALHOST, "/boot.ipxe").0.to_ascii_lowercase();
    assert!(!head.contains("access-control-"), "no page may read what machines get: {head}");
}

/// No route needs a password, so none may serve a secret: no lease, no configuration, no socket.
#[test]
fn w_08_only_boot_images_is_served() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    assert!(lab.path().join("state/leases.db").exists());
    for path in
        ["state/leases.db", "leases.db", "once.json", "config.yaml", "state/control.sock", "../config.yaml"]
    {
        for prefix in ["/", "//", "/boot-images/", "/%2e%2e/", "/./"] {
            let (head, body) = get(&lab, Ipv4Addr::LOCALHOST, &format!("{prefix}{path}"));
            assert!(head.starts_with("HTTP/1.1 40"), "{prefix}{path}: {head}");
            assert!(!body.contains("SQLite") && !body.contains("dhcp:"), "{prefix}{path}: {body}");
        }
    }
    drop(serving);
    lab.write_config(&lab.config().replace("state: state", "state: boot-images/state"));
    let output = lab.run(&["check"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("images: the folder of `state`"), "{error}");
    let serving = lab.serve(&["serve"]);
    serving.wait_for("images: the folder of `state`");
    assert!(lab.path().join("boot-images/state/leases.db").exists());
    symlink("state/leases.db", lab.path().join("boot-images/link")).unwrap();
    for path in ["state/leases.db", "state/leases.db-wal", "STATE/LEASES.DB", "state/leases.lock", "link"] {
        let (head, _) = get(&lab, Ipv4Addr::LOCALHOST, &format!("/{path}"));
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
    }
}

#[test]
fn f_18_a_file_replaced_during_a_transfer_is_finished_as_it_was() {
    let lab = Lab::new();
    const SIZE: usize = 32 << 20;
    let images = lab.path().join("boot-images");
    fs::write(images.join("large"), vec![b'a'; SIZE]).unwrap();
    let _serving = lab.serve(&["serve"]);
    let mut stream = connect(&lab, Ipv4Addr::LOCALHOST);
    stream.write_all(b"GET /large HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = vec![0; 4096];
    stream.read_exact(&mut answer).unwrap();
    fs::write(images.join("new"), vec![b'b'; SIZE]).unwrap();
    fs::rename(images.join("new"), images.join("large")).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(
        answer.len() - end == SIZE && answer[end..].iter().all(|byte| *byte == b'a'),
        "{} bytes",
        answer.len()
    );
    let (_, new) = exchange(&lab, Ipv4Addr::LOCALHOST, "GET /large HTTP/1.0\r\n\r\n");
    assert!(new.len() == SIZE && new.iter().all(|byte| *byte == b'b'));
}

/// 2,000 clients that never complete their request head, from 40 addresses, and one client that boots. TFTP is off, so
/// only HTTP needs descriptors.
#[test]
fn slowloris_thousands_of_half_open_heads_delay_no_client() {
    let _alone = one_at_a_time();
    const CLIENTS: usize = 2000;
    let lab = Lab::new();
    lab.write_config(&format!(
        "dhcp: {{mode: off}}\ntftp: off\nhttp: {{port: {}, listen: 127.0.0.1}}\n",
        lab.http
    ));
    let serving = lab.serve_silently(&["serve"]);
    serving.wait_for("HTTP on ");
    if !may_open(3000) {
        return support::cannot(&format!("open {CLIENTS} connections"));
    }
    let (before, open) = (resident(&serving), descriptors(&serving));
    let began = Instant::now();
    let mut slow = Vec::with_capacity(CLIENTS);
    for n in 0..CLIENTS {
        let mut stream = connect(&lab, Ipv4Addr::new(127, 0, 1, (n / 50) as u8 + 1));
        stream.write_all(b"GET /snponly.efi HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
        slow.push(stream);
    }
    let asked = Instant::now();
    let (head, body) = exchange(&lab, Ipv4Addr::LOCALHOST, "GET /snponly.efi HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body == content("snponly.efi"), "{head}");
    assert!(asked.elapsed() < Duration::from_secs(3), "it waited {:?}", asked.elapsed());
    let grown = resident(&serving) - before;
    assert!(grown < 32 << 10, "{CLIENTS} half heads took {grown} KiB");
    for stream in &mut slow {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "they were given {:?}", began.elapsed());
    let closed = Instant::now();
    while descriptors(&serving) > open + 10 {
        assert!(closed.elapsed() < Duration::from_secs(10), "{} are still open", descriptors(&serving));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Stalled transfers cost the most: each holds a connection, a file and its data in transit.
#[test]
fn a_thousand_slow_clients_take_less_than_64_mib() {
    let _alone = one_at_a_time();
    const CLIENTS: usize = 1000;
    let lab = Lab::new();
    fs::File::create(lab.path().join("boot-images/large")).unwrap().set_len(1 << 30).unwrap();
    let serving = lab.serve(&["serve"]);
    if !may_open(2000) {
        return support::cannot(&format!("open {CLIENTS} connections"));
    }
    let before = resident(&serving);
    let mut slow = Vec::with_capacity(CLIENTS);
    for n in 0..CLIENTS {
        let mut stream = connect(&lab, Ipv4Addr::new(127, 0, 2, (n / 50) as u8 + 1));
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        slow.push(stream);
    }
    for stream in &mut slow {
        stream.read_exact(&mut [0; 1024]).unwrap();
    }
    let grown = resident(&serving) - before;
    assert!(grown < 64 << 10, "{CLIENTS} slow clients took {grown} KiB");
    let asked = Instant::now();
    let (_, body) = exchange(&lab, Ipv4Addr::LOCALHOST, "GET /snponly.efi HTTP/1.0\r\n\r\n");
    assert!(
        body == content("snponly.efi") && asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}

/// A machine reports facts about itself alone (S-01), in a bounded query.
#[test]
fn s_01_facts_are_taken_from_the_machine_itself() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let mut client = Client::new(&lab, 1);
    let says: [(u8, &[u8]); 3] = [(60, b"PXEClient:Arch:00007:UNDI:003016"), (93, &[0, 7]), (77, b"iPXE")];
    let address = client.ask(MessageType::Discover, &says).expect("an offer").yiaddr;
    let (wanted, server) = (address.octets(), Ipv4Addr::LOCALHOST.octets());
    let takes = [&says[..], &[(50, &wanted), (54, &server)]].concat();
    client.ask(MessageType::Request, &takes).expect("an ACK");
    let own = "/lanboot/facts?mac=02:00:00:00:00:01";
    let (head, body) = get(&lab, address, &format!("{own}&memsize=511&manufacturer=A%20%0a%1b[2J&serial="));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Length: 0\r\n"), "{head}");
    assert_eq!(body, "");
    let other = Ipv4Addr::new(127, 0, 0, 200);
    let status = |from: Ipv4Addr, path: &str| get(&lab, from, path).0[9..12].to_owned();
    assert_eq!(status(other, own), "403", "no lease");
    assert_eq!(status(address, "/lanboot/facts?mac=02:00:00:00:00:02"), "403", "of another machine");
    assert_eq!(status(address, "//lanboot//facts"), "400");
    assert_eq!(status(address, &format!("{own}&serial={}", "x".repeat(3000))), "400");
    assert_eq!(status(address, "/lanboot/facts/x"), "404");
    let head = exchange(&lab, address, &format!("HEAD {own} HTTP/1.0\r\n\r\n")).0;
    assert!(head.starts_with("HTTP/1.0 405 ") || head.starts_with("HTTP/1.1 405 "), "{head}");
    let browser = format!(
        "GET {own}&memsize=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://x\r\nConnection: close\r\n\r\n"
    );
    assert!(exchange(&lab, address, &browser).0.contains(" 403 "));
    // Records are followed by a thread that waits for the others.
    let mut listed = String::new();
    for _ in 0..200 {
        listed = String::from_utf8_lossy(&lab.run(&["machines"]).stdout).into_owned();
        if listed.contains(" MiB, ") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(listed.contains("  511 MiB, A "), "{listed}");
    let listed = lab.run(&["machines", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let hardware = &listed[0]["hardware"];
    assert_eq!((&hardware["memory_mib"], &hardware["serial"]), (&511.into(), &serde_json::Value::Null));
    assert_eq!(hardware["manufacturer"], "A \\u{a}\\u{1b}[2J");
    let (_, lines) = serving.terminate();
    let line = lines.iter().find(|line| line.contains(" facts 127.")).unwrap();
    assert!(line.contains(r#"memory=511 MiB manufacturer="A \x0a\x1b[2J""#), "{line}");
    for reason in ["2 reason=facts_of_other_machine", "2 reason=bad_facts"] {
        assert!(lines.iter().any(|line| line.contains(reason)), "{reason}: {lines:#?}");
    }
}
