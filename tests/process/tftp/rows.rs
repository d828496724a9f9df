//! The rows T-01 to T-21 of docs/robustness.md that need raw bytes, a large file or the complete program. The others
//! are in native.rs, in tests/core/tftp.rs and in the sources. tests/rules/rows.rs checks that every row has its test.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{FileExt, symlink};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lanboot::event::{Event, Unanswered};
use lanboot::tftp::Ports;
use lanboot::wire::tftp::{ErrorCode, Options, Packet};
use sha2::{Digest, Sha256};
use support::need;
use support::one_at_a_time;
use support::tftp_live::{
    self as live, LOOPBACK_MTU, Server, Setup, block, client, content, count, error_of, next, rrq,
};

fn server() -> Server {
    Server::native(Setup { mtu: LOOPBACK_MTU, ..Setup::default() })
}

fn ack(socket: &UdpSocket, block: u64) {
    socket.send(&Packet::Ack(block as u16).encode()).unwrap();
}

/// A read request with these fields, each followed by a NUL.
fn request(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.push(0);
    }
    bytes
}

/// Sends `datagram` from a new port, and connects the socket to the sender of the answer.
fn ask(port: u16, datagram: &[u8]) -> Option<(UdpSocket, Vec<u8>)> {
    let socket = client();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send_to(datagram, (Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut buf = vec![0; 70_000];
    let (len, from) = socket.recv_from(&mut buf).ok()?;
    socket.connect(from).unwrap();
    buf.truncate(len);
    Some((socket, buf))
}

/// The text of the OACK to a request with these options, or `None` if the answer is a plain block.
fn granted(server: &Server, options: &[&[u8]]) -> Option<String> {
    let fields: Vec<&[u8]> =
        [b"long".as_slice(), b"octet"].into_iter().chain(options.iter().copied()).collect();
    let (socket, answer) = ask(server.port, &request(&fields)).expect("an answer");
    socket.send(&Packet::Error { code: ErrorCode::UNDEFINED, message: b"" }.encode()).unwrap();
    match Packet::decode(&answer) {
        Ok(Packet::OAck(_)) => Some(String::from_utf8(answer[2..].to_vec()).unwrap().replace('\0', " ")),
        Ok(Packet::Data { block: 1, data }) => {
            assert_eq!(data, &content(513)[..512]);
            None
        }
        other => panic!("{other:?} to {options:?}"),
    }
}

/// Receives a file in windows, hands each block to `take`, and returns how many blocks were sent again.
fn receive(socket: &UdpSocket, (size, window): (usize, u64), mut take: impl FnMut(&[u8])) -> u64 {
    let (mut number, mut again) = (0_u64, 0);
    let mut buf = vec![0; 70_000];
    ack(socket, 0);
    loop {
        let len = socket.recv(&mut buf).expect("a block");
        let Ok(Packet::Data { block, data }) = Packet::decode(&buf[..len]) else { panic!("{:?}", &buf[..4]) };
        if block != (number + 1) as u16 {
            again += 1;
            continue;
        }
        number += 1;
        take(data);
        let last = data.len() < size;
        if last || number % window == 0 {
            ack(socket, number);
        }
        if last {
            return again;
        }
    }
}

#[test]
fn t_03_odd_options_are_answered_once_at_most() {
    let server = server();
    let long = b"x".repeat(500);
    let mut thirty: Vec<&[u8]> = Vec::new();
    for i in 0..13 {
        thirty.extend([[b"aa", b"blksize" as &[u8], b"timeout", b"o"][i % 4], b"1024"]);
    }
    thirty.extend([b"BLKSIZE" as &[u8], b"600", b"windowsize", b"4", b"WindowSize", b"8"]);
    assert_eq!(granted(&server, &thirty).unwrap(), "blksize 1024 windowsize 4 ");
    assert_eq!(granted(&server, &[b"blksize", &long, b"x", &long]), None, "values of 500 bytes");
    assert_eq!(granted(&server, &[b"tsize", b"0", b"tsize", b"0"]).unwrap(), "tsize 513 ");
    for size in [508, 511, 512, 513, 1467, 1468, 1469, 2040] {
        let pad = b"y".repeat(size - request(&[b"long", b"octet", b"blksize", b"600", b"x", b""]).len());
        let answer = granted(&server, &[b"blksize", b"600", b"x", &pad]).unwrap();
        assert_eq!(answer, "blksize 600 ", "a request of {size} bytes");
        // Without the last NUL it is not a valid request.
        let mut cut = request(&[b"long", b"octet", b"blksize", b"600", b"x", &pad]);
        cut.pop();
        client().send_to(&cut, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    }
    let malformed =
        |event: &Event| matches!(event, Event::TftpUnanswered { reason: Unanswered::Malformed, .. });
    server.wait("all are counted", || {
        server.events.lock().unwrap().iter().filter(|e| malformed(e)).count() == 8
    });
}

#[test]
fn t_04_utimeout_and_rollover_are_ignored() {
    let server = server();
    let nines = b"9".repeat(200);
    assert_eq!(granted(&server, &[b"utimeout", &nines, b"rollover", b"9"]), None);
    let answer = granted(&server, &[b"utimeout", &nines, b"blksize", b"600", b"rollover", b"0"]);
    assert_eq!(answer.unwrap(), "blksize 600 ");
    assert_eq!(granted(&server, &[b"timeout", &nines]), None);
    for (timeout, expected) in
        [("0", None), ("256", None), ("1", Some("timeout 1 ")), ("255", Some("timeout 255 "))]
    {
        assert_eq!(granted(&server, &[b"timeout", timeout.as_bytes()]).as_deref(), expected, "{timeout}");
    }
}

#[test]
fn t_05_long_names_and_an_option_without_its_value_harm_nothing() {
    let server = server();
    for len in [400, 4096, 65_000] {
        let name = b"x".repeat(len);
        let answer = ask(server.port, &request(&[&name, b"octet"]));
        assert!(answer.is_none_or(|(_, answer)| error_of(&answer).1.len() <= 64), "{len}");
    }
    for end in [b"blksize\0".as_slice(), b"blksize"] {
        let cut = [b"\0\x01long\0octet\0", end].concat();
        let (_, answer) = ask(server.port, &cut).expect("an answer");
        assert_eq!(error_of(&answer).0, ErrorCode::ILLEGAL, "{cut:?}");
    }
    assert_eq!(granted(&server, &[b"blksize", b""]), None);
    assert_eq!(granted(&server, &[b"tsize", b"0"]).unwrap(), "tsize 513 ", "and it goes on");
}

#[test]
fn t_06_multicast_is_not_offered() {
    let server = server();
    let sequences: [&[&[u8]]; 4] = [
        &[b"multicast", b""],
        &[b"multicast", b"", b"multicast", b""],
        &[b"multicast", b"224.0.0.1,1758,1"],
        &[b"multicast", b",,", b"MULTICAST", b"\xff"],
    ];
    for options in sequences {
        assert_eq!(granted(&server, options), None);
        let more: Vec<&[u8]> = options.iter().copied().chain([b"blksize".as_slice(), b"600"]).collect();
        assert_eq!(granted(&server, &more).unwrap(), "blksize 600 ");
    }
}

#[test]
fn t_09_a_block_size_is_granted_from_8_to_the_mtu_and_otherwise_left_out() {
    let server = Server::native(Setup { mtu: 1500, ..Setup::default() });
    for wrong in ["0", "7", "65465", "-1", "abc", "99999999999999999999", "", " 512", "5 12", "0x200", "+"] {
        assert_eq!(granted(&server, &[b"blksize", wrong.as_bytes()]), None, "{wrong:?}");
    }
    for (asked, expected) in [("8", 8), ("512", 512), ("1468", 1468), ("1469", 1468), ("65464", 1468)] {
        let answer = granted(&server, &[b"blksize", asked.as_bytes()]).unwrap();
        assert_eq!(answer, format!("blksize {expected} "));
    }
}

#[test]
fn t_10_a_window_is_granted_from_1_to_64_blocks_and_1_mib() {
    let server = server();
    for wrong in ["0", "65536", "-1", "", "abc", "18446744073709551616"] {
        assert_eq!(granted(&server, &[b"windowsize", wrong.as_bytes()]), None, "{wrong:?}");
    }
    for (asked, expected) in [("1", 1), ("64", 64), ("65", 64), ("65535", 64)] {
        let answer = granted(&server, &[b"windowsize", asked.as_bytes()]).unwrap();
        assert_eq!(answer, format!("windowsize {expected} "));
    }
    let answer = granted(&server, &[b"windowsize", b"65535", b"blksize", b"65464"]).unwrap();
    let window: u32 = answer.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(window >= 1 && window * 65464 <= 1 << 20, "{answer}");
}

/// The complete program, serving only TFTP.
struct Program {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Program {
    fn start(more: &str, files: impl FnOnce(&std::path::Path)) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("boot-images");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("long"), content(513)).unwrap();
        fs::write(root.join("large"), content(4 << 20)).unwrap();
        files(&root);
        let port = client().local_addr().unwrap().port();
        let config = format!(
            "dhcp: {{mode: off}}\nstate: state\nlog: {{level: debug}}\n\
             tftp: {{port: {port}, listen: [127.0.0.1], allow: [127.0.0.0/8]{more}}}\n"
        );
        let path = folder.path().join("config.yaml");
        fs::write(&path, config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lanboot"))
            .args(["serve", "--config"])
            .arg(&path)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let program = Program { child, folder, port };
        let until = Instant::now() + Duration::from_secs(20);
        while ask(port, &request(&[b"missing", b"octet"])).is_none() {
            assert!(Instant::now() < until, "it does not start: {}", program.log());
        }
        program
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Memory in RAM, in bytes.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Starts a transfer whose options are accepted, and receives its first window.
    fn begin(&self, name: &str, options: Options) -> UdpSocket {
        let (socket, answer) = ask(self.port, &rrq(name, options).encode()).expect("an answer");
        assert!(matches!(Packet::decode(&answer), Ok(Packet::OAck(_))), "{answer:?}");
        ack(&socket, 0);
        assert_eq!(block(&next(&socket)), 1);
        socket
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sparse(path: &std::path::Path, size: u64) -> File {
    let file = File::options().create(true).write(true).read(true).truncate(true).open(path).unwrap();
    file.set_len(size).unwrap();
    file
}

#[test]
fn t_10_a_transfer_takes_less_than_64_kib() {
    let _alone = one_at_a_time();
    let program = Program::start(", max_per_client: 200", |_| {});
    let options = Options { block_size: Some(1468), window_size: Some(64), ..Options::default() };
    // Each thread has a buffer of one window, which all its transfers share.
    let warm: Vec<UdpSocket> = (0..20).map(|_| program.begin("large", options)).collect();
    let before = program.resident();
    let open: Vec<UdpSocket> = (0..100).map(|_| program.begin("large", options)).collect();
    let grown = program.resident().saturating_sub(before);
    assert!(grown < 100 * (64 << 10), "{grown} bytes for 100 transfers");
    drop((warm, open));
}

#[test]
fn t_11_the_largest_window_of_the_largest_blocks_takes_less_than_1_mib() {
    let _alone = one_at_a_time();
    let program = Program::start("", |root| _ = sparse(&root.join("sparse"), 4 << 30));
    let plain = Options { block_size: Some(1468), window_size: Some(4), ..Options::default() };
    let warm: Vec<UdpSocket> = (0..4).map(|_| program.begin("large", plain)).collect();
    let before = program.resident();
    let options = Options { block_size: Some(65464), window_size: Some(65535), ..Options::default() };
    let _open = program.begin("sparse", options);
    std::thread::sleep(Duration::from_millis(100));
    let grown = program.resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes");
    drop(warm);
}

#[test]
fn t_14_a_size_probe_is_logged_at_debug_and_leaves_no_descriptor() {
    let _alone = one_at_a_time();
    let program = Program::start("", |_| {});
    let before = program.open_files();
    let options = Options { transfer_size: Some(0), block_size: Some(1468), ..Options::default() };
    let (socket, answer) = ask(program.port, &rrq("long", options).encode()).unwrap();
    assert!(
        matches!(Packet::decode(&answer), Ok(Packet::OAck(options)) if options.transfer_size == Some(513))
    );
    assert!(program.open_files() > before);
    let began = Instant::now();
    let error = Packet::Error { code: ErrorCode::OPTIONS, message: b"User aborted the transfer" };
    socket.send(&error.encode()).unwrap();
    while program.open_files() > before {
        assert!(began.elapsed() < Duration::from_millis(100), "its file and socket are still open");
    }
    let until = Instant::now() + Duration::from_secs(5);
    let line = loop {
        if let Some(line) = program.log().lines().find(|line| line.contains("size_probe")) {
            break line.to_owned();
        }
        assert!(Instant::now() < until, "{}", program.log());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(line.contains("DEBUG") && line.contains("long"), "{line}");
    assert!(!program.log().contains("User aborted"), "nobody is to take it for a failure: {}", program.log());
}

/// Longest time that an answer takes.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts the answers that `stranger` gets, each within [`PATIENCE`]. All are ERROR 5 from `place`.
fn errors_received(stranger: &UdpSocket, place: SocketAddr) -> usize {
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buf = [0; 600];
    let mut errors = 0;
    loop {
        match stranger.recv_from(&mut buf) {
            Ok((len, from)) => {
                assert_eq!((error_of(&buf[..len]).0, from), (ErrorCode::UNKNOWN_TRANSFER, place));
                errors += 1;
            }
            // The kernel reported that no socket listens there for this client.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(_) => return errors,
        }
    }
}

#[test]
fn t_15_an_unknown_tid_gets_one_error_and_the_transfer_continues() {
    let range = Ports::Range { first: 41_710, last: 41_719 };
    for (ports, errors) in [(Ports::Ephemeral, 1), (range, 1), (Ports::Single, 0)] {
        let server = Server::native(Setup { ports, ..Setup::default() });
        fs::write(server.root().join("large"), content(20 * 512)).unwrap();
        let (socket, _) = server.ask(rrq("large", Options::default()));
        let place = socket.peer_addr().unwrap();
        let send = |stranger: &UdpSocket| {
            let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"stop" };
            for packet in [error, Packet::Ack(1), Packet::Ack(1), Packet::Ack(2)] {
                // Sending fails if the kernel reported that no socket listens there.
                let _ = stranger.send_to(&packet.encode(), place);
            }
        };
        let early = client();
        send(&early);
        assert!(errors_received(&early, place) <= 1, "{ports:?}");
        // The transfer is some time old when its first block has been sent again.
        assert_eq!(block(&next(&socket)), 1);
        std::thread::sleep(Duration::from_millis(50));
        let elsewhere = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        for stranger in [client(), elsewhere] {
            send(&stranger);
            assert_eq!(errors_received(&stranger, place), errors, "{ports:?}");
            send(&stranger);
            assert_eq!(errors_received(&stranger, place), 0, "{ports:?}: once");
        }
        for number in 1..=20 {
            ack(&socket, number);
            // Block 1 may have been sent again meanwhile.
            let after = (0..5).map(|_| block(&next(&socket))).find(|block| *block != 1);
            assert_eq!(after, Some(number as u16 + 1), "the transfer goes on: {ports:?}");
        }
        ack(&socket, 21);
        server.event(|event| matches!(event, Event::TftpSent { .. }));
        let reason = if errors > 0 { Unanswered::UnknownTransfer } else { Unanswered::NotRequest };
        server.event(|event| matches!(event, Event::TftpUnanswered { reason: why, .. } if *why == reason));
    }
}

#[test]
fn t_15_a_transfer_that_has_just_begun_has_nothing_that_tells_strangers() {
    let _alone = one_at_a_time();
    let server = server();
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let options = Options { window_size: Some(4), ..Options::default() };
    // If another program delays this one, the transfer is some time old.
    let seen = (0..20).find_map(|_| {
        let began = Instant::now();
        let (socket, _) = server.ask(rrq("large", options));
        ack(&socket, 0);
        for number in [1, 2, 3, 4, 4] {
            assert_eq!(block(&next(&socket)), number, "the last block of the window comes once more");
        }
        std::thread::sleep(Duration::from_millis(20));
        let (stranger, place) = (client(), socket.peer_addr().unwrap());
        stranger.send_to(&Packet::Ack(1).encode(), place).unwrap();
        let early = began.elapsed() < Duration::from_millis(300);
        let errors = errors_received(&stranger, place);
        std::thread::sleep(Duration::from_millis(400));
        stranger.send_to(&Packet::Ack(1).encode(), place).unwrap();
        early.then(|| (errors, errors_received(&stranger, place)))
    });
    assert_eq!(seen, Some((0, 1)));
}

#[test]
fn t_15_clients_not_allowed_get_no_error_and_floods_are_limited() {
    let server = Server::native(Setup { served: "127.0.0.1/32", ..Setup::default() });
    let (socket, _) = server.ask(rrq("long", Options::default()));
    let place = socket.peer_addr().unwrap();
    assert_eq!(block(&next(&socket)), 1, "sent again");
    std::thread::sleep(Duration::from_millis(50));
    let elsewhere = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    elsewhere.send_to(&Packet::Ack(1).encode(), place).unwrap();
    assert_eq!(errors_received(&elsewhere, place), 0);
    let flood: Vec<UdpSocket> = (0..200).map(|_| client()).collect();
    for stranger in &flood {
        stranger.set_nonblocking(true).unwrap();
        stranger.send_to(&Packet::Ack(1).encode(), place).unwrap();
        // Datagrams that arrive too fast are lost.
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(PATIENCE);
    let errors: usize = flood.iter().map(|stranger| errors_received(stranger, place)).sum();
    assert_eq!(errors, 8);
    let of_strangers =
        |event: &&Event| matches!(event, Event::TftpUnanswered { reason: Unanswered::UnknownTransfer, .. });
    assert_eq!(
        server.events.lock().unwrap().iter().filter(of_strangers).count(),
        64,
        "then the kernel refuses"
    );
    ack(&socket, 1);
    let after = (0..5).map(|_| block(&next(&socket))).find(|block| *block != 1);
    assert_eq!(after, Some(2), "the transfer goes on");
}

#[test]
fn t_17_a_gap_is_filled_within_10_ms() {
    let _alone = one_at_a_time();
    let server = server();
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let options = Options { window_size: Some(8), ..Options::default() };
    // The minimum of several tries, without those that another program disturbed, because the test measures only the
    // server. An ACK that arrives before a round trip has passed counts for the previous window, so the client pauses.
    let took = (0..20).filter_map(|_| {
        let (socket, _) = server.ask(rrq("large", options));
        let window = |first: u16| (first..first + 8).all(|number| block(&next(&socket)) == number);
        let pause = || std::thread::sleep(Duration::from_millis(5));
        ack(&socket, 0);
        let began = window(1);
        ack(&socket, 8);
        let began = began && window(9);
        // Block 9 was lost.
        pause();
        let asked = Instant::now();
        ack(&socket, 8);
        let mended = began && window(9);
        let took = asked.elapsed();
        pause();
        ack(&socket, 12);
        (mended && window(13)).then_some(took)
    });
    let least = took.min().expect("a gap was mended");
    assert!(least < Duration::from_millis(10), "{least:?}");
}

#[test]
fn t_18_100_mb_in_blocks_of_512_arrive_unchanged() {
    let server = server();
    let bytes = content(100_000_000);
    fs::write(server.root().join("large"), &bytes).unwrap();
    let options = Options { block_size: Some(512), window_size: Some(64), ..Options::default() };
    let (socket, _) = server.ask(rrq("large", options));
    let mut hash = Sha256::new();
    receive(&socket, (512, 64), |data| hash.update(data));
    assert_eq!(hash.finalize(), Sha256::digest(&bytes));
}

#[test]
fn t_18_a_file_of_more_than_4_gib_arrives_whole() {
    let server = server();
    let size = (4_u64 << 30) + 100_001;
    let file = sparse(&server.root().join("sparse"), size);
    // Marks at the beginning, at 4 GiB and at the end. The rest is a hole and takes no disk space.
    let marks = [0, (4 << 30) - 3000, size - 5000];
    for (place, mark) in marks.into_iter().zip(content(15_000).chunks_exact(5000)) {
        file.write_all_at(mark, place).unwrap();
    }
    // 477,000 blocks: the number wraps seven times.
    let (block_size, window) = (9000, 16);
    let options = Options { block_size: Some(9000), window_size: Some(16), ..Options::default() };
    let (socket, _) = server.ask(rrq("sparse", options));
    socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
    let (mut offset, mut expected) = (0_u64, vec![0; block_size]);
    let mut file = file;
    file.seek(SeekFrom::Start(0)).unwrap();
    receive(&socket, (block_size, window), |data| {
        file.read_exact(&mut expected[..data.len()]).unwrap();
        assert!(data == &expected[..data.len()], "at {offset}");
        offset += data.len() as u64;
    });
    assert_eq!(offset, size);
}

#[test]
fn t_19_odd_names_serve_only_regular_files_inside_the_folder() {
    let server = server();
    let (root, outside) = (server.root(), server.base.path().join("secret"));
    fs::write(&outside, "secret").unwrap();
    fs::write(root.join("sub/inner"), "inner").unwrap();
    fs::write(root.join("%2e%2e"), "percent").unwrap();
    fs::write(root.join("caf\u{e9}"), "utf-8").unwrap();
    symlink("sub/inner", root.join("in")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/dev/zero", root.join("zero")).unwrap();
    symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
    fs::hard_link(root.join("sub/inner"), root.join("hard")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let mut device = Command::new("mknod");
    // Only root can create the device. Elsewhere the link to /dev/zero replaces it.
    let _ = device.arg(root.join("device")).args(["c", "1", "5"]).stderr(Stdio::null()).status();
    let too_long = b"x".repeat(5000);
    let outside_name = outside.to_str().unwrap().as_bytes();
    let refused: [&[u8]; 29] = [
        b"../secret",
        b"/../secret",
        b"sub/../../secret",
        b"sub/../../../../../../etc/passwd",
        br"..\secret",
        br"sub\..\..\secret",
        b"%2e%2e/secret",
        b"%2e%2e%2fsecret",
        b"..%2fsecret",
        b"....//secret",
        b"",
        b".",
        b"..",
        b"/",
        b"sub",
        b"sub/",
        b"in/x",
        b"out",
        b"absolute",
        b"loop",
        b"zero",
        b"magic",
        b"fifo",
        b"socket",
        b"device",
        b"in\x01",
        b"in\n",
        b"caf\xe9",
        outside_name,
    ];
    for name in refused.into_iter().chain([too_long.as_slice()]) {
        let (_, answer) = ask(server.port, &request(&[name, b"octet"])).expect("an answer");
        let (code, text) = error_of(&answer);
        let codes: &[ErrorCode] = if name.len() == 5000 {
            &[ErrorCode::ILLEGAL]
        } else {
            &[ErrorCode::NOT_FOUND, ErrorCode::ACCESS_VIOLATION]
        };
        assert!(codes.contains(&code), "{name:?}: {code:?}");
        assert!(!text.contains('/'), "{text}");
    }
    // A NUL ends the name, so the mode follows it.
    let (_, answer) = ask(server.port, b"\0\x01in\0../secret\0octet\0").expect("an answer");
    assert_eq!(error_of(&answer).0, ErrorCode::ILLEGAL);
    let served: [(&[u8], &[u8]); 10] = [
        (b"sub/inner", b"inner"),
        (b"//sub/inner", b"inner"),
        (b"/./sub/inner", b"inner"),
        (br"sub\inner", b"inner"),
        (br"\sub\inner", b"inner"),
        (b"in", b"inner"),
        (b"hard", b"inner"),
        (b"%2e%2e", b"percent"),
        (b"caf\xc3\xa9", b"utf-8"),
        (b"in\xff", b"inner"),
    ];
    for (name, content) in served {
        let (socket, answer) = ask(server.port, &request(&[name, b"octet"])).unwrap();
        assert_eq!(Packet::decode(&answer), Ok(Packet::Data { block: 1, data: content }), "{name:?}");
        ack(&socket, 1);
    }
}

#[test]
fn t_21_windows_loaders_find_their_files_in_any_case() {
    let server = server();
    fs::create_dir(server.root().join("Boot")).unwrap();
    fs::write(server.root().join("Boot/bcd"), "store").unwrap();
    for name in [br"\Boot\BCD".as_slice(), br"\boot\bcd", b"BOOT/BCD", b"Boot/bcd"] {
        let (socket, answer) = ask(server.port, &request(&[name, b"octet"])).unwrap();
        assert_eq!(Packet::decode(&answer), Ok(Packet::Data { block: 1, data: b"store" }), "{name:?}");
        ack(&socket, 1);
    }
}

#[test]
fn an_empty_file_is_one_empty_block_with_and_without_options() {
    let server = server();
    for options in [Options::default(), Options { window_size: Some(64), ..Options::default() }] {
        let (socket, mut answer) = server.ask(rrq("empty", options));
        if matches!(Packet::decode(&answer), Ok(Packet::OAck(_))) {
            ack(&socket, 0);
            answer = next(&socket);
        }
        assert_eq!(Packet::decode(&answer), Ok(Packet::Data { block: 1, data: b"" }));
        ack(&socket, 1);
        assert_eq!(count(&socket, Duration::from_millis(100)), 0);
    }
}

#[test]
fn atftp_and_curl_fetch_from_a_range_of_ports_and_from_a_single_one() {
    if !need("atftp", "atftp") || !need("curl", "curl") {
        return;
    }
    for ports in [Ports::Single, Ports::Range { first: 41_850, last: 41_870 }] {
        let server = Server::native(Setup { ports, ..Setup::default() });
        fs::write(server.root().join("large"), content(3_000_001)).unwrap();
        let got = server.got("large");
        live::run(&mut live::curl(&["--tftp-blksize", "1468"], "large", &got, server.port));
        live::assert_same(&server.root().join("large"), &got);
        fs::remove_file(&got).unwrap();
        for option in ["windowsize 8", "blksize 1468"] {
            let mut atftp = Command::new("atftp");
            atftp.args(["--option", option, "-g", "-r", "large", "-l"]).arg(&got).arg("127.0.0.1");
            live::run(atftp.arg(server.port.to_string()));
            live::assert_same(&server.root().join("large"), &got);
        }
    }
}

/// Runs this test alone, in a separate network namespace with loopback up. Returns whether it did.
fn in_a_namespace(test: &str) -> bool {
    if std::env::var_os("LANBOOT_TEST_NAMESPACE").is_some() {
        return false;
    }
    if !need("unshare", "util-linux") || !need("ip", "iproute2") {
        return true;
    }
    let unshare = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--map-root-user", "sh", "-c", command]).env("LANBOOT_TEST_NAMESPACE", "1");
        unshare.output().unwrap()
    };
    if !unshare("ip link set lo up").status.success() {
        support::cannot("make a network namespace");
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let test = support::test_name(module_path!(), test);
    let output = unshare(&format!("ip link set lo up && exec {} --exact {test}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    true
}

#[test]
fn rfc2348_a_block_is_never_larger_than_a_narrow_route_to_the_client_carries() {
    if in_a_namespace("rfc2348_a_block_is_never_larger_than_a_narrow_route_to_the_client_carries") {
        return;
    }
    let route = ["route", "change", "local", "127.0.0.1", "dev", "lo", "mtu", "1000", "table", "local"];
    live::run(Command::new("ip").args(route));
    for ports in [Ports::Ephemeral, Ports::Single] {
        let server = Server::native(Setup { ports, ..Setup::default() });
        let asked = |block_size| Options { block_size: Some(block_size), ..Options::default() };
        assert_eq!(server.oack("long", asked(1468)), asked(968), "{ports:?}");
    }
}

#[test]
fn a_full_send_queue_delays_blocks_and_loses_none() {
    let _alone = one_at_a_time();
    if in_a_namespace("a_full_send_queue_delays_blocks_and_loses_none") || !need("tc", "iproute2") {
        return;
    }
    let tbf =
        ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "100mbit", "burst", "64k", "limit", "8000000"];
    if !Command::new("tc").args(tbf).status().unwrap().success() {
        return support::cannot("slow loopback down");
    }
    for ports in [Ports::Ephemeral, Ports::Single] {
        let server = Server::native(Setup { ports, send_queue: Some(100_000), ..Setup::default() });
        let bytes = content(1468 * 64 * 2 + 7);
        fs::write(server.root().join("large"), &bytes).unwrap();
        let began = Instant::now();
        let options = Options { block_size: Some(1468), window_size: Some(64), ..Options::default() };
        let clients: Vec<_> = (0..24).map(|_| server.ask(rrq("large", options)).0).collect();
        std::thread::scope(|scope| {
            for socket in &clients {
                scope.spawn(|| {
                    let mut got = Vec::new();
                    receive(socket, (1468, 64), |data| got.extend_from_slice(data));
                    assert!(got == bytes, "{ports:?}");
                });
            }
        });
        // 5 MB take 0.4 s at that rate.
        assert!(began.elapsed() < Duration::from_secs(4), "{ports:?} {:?}", began.elapsed());
    }
}

#[test]
fn where_the_kernel_refuses_to_cut_a_window_the_plain_way_is_taken() {
    if in_a_namespace("where_the_kernel_refuses_to_cut_a_window_the_plain_way_is_taken") {
        return;
    }
    let mtu = |mtu: &str| live::run(Command::new("ip").args(["link", "set", "lo", "mtu", mtu]));
    for ports in [Ports::Ephemeral, Ports::Single] {
        mtu("65536");
        let server = Server::native(Setup { ports, ..Setup::default() });
        let bytes = content(1468 * 32 + 7);
        fs::write(server.root().join("large"), &bytes).unwrap();
        let options = Options { block_size: Some(1468), window_size: Some(8), ..Options::default() };
        let (socket, _) = server.ask(rrq("large", options));
        // The path MTU becomes smaller than a block. The server may send one datagram in fragments, but not a window of
        // such datagrams.
        mtu("1000");
        let mut got = Vec::new();
        assert_eq!(receive(&socket, (1468, 8), |data| got.extend_from_slice(data)), 0);
        assert!(got == bytes, "{ports:?}");
        server.event(|event| matches!(event, Event::TftpSent { resent: 0, .. }));
    }
}

/// A network that loses, duplicates, delays and reorders datagrams, in both directions, between a client and the server
/// on `port`.
struct Relay {
    address: SocketAddr,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// `percent` of the datagrams are lost in each direction, and as many duplicated. Each datagram is late by up to
    /// `delay`, and so out of order.
    fn start(port: u16, percent: u64, delay: Duration) -> Relay {
        let (front, back) = (client(), client());
        let address = front.local_addr().unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            front.set_nonblocking(true).unwrap();
            back.set_nonblocking(true).unwrap();
            let mut to_server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let (mut to_client, mut chance) = (None, 88_172_645_463_325_252_u64);
            let mut late: Vec<(Instant, bool, Vec<u8>)> = Vec::new();
            let mut roll = move || {
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                chance >> 11
            };
            let mut buf = vec![0; 70_000];
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let mut idle = true;
                for down in [false, true] {
                    while let Ok((len, from)) =
                        if down { back.recv_from(&mut buf) } else { front.recv_from(&mut buf) }
                    {
                        idle = false;
                        *(if down { &mut to_server } else { to_client.get_or_insert(from) }) = from;
                        for _ in 0..1 + u64::from(roll() % 100 < percent) {
                            if roll() % 100 >= percent {
                                let wait = delay.mul_f64((roll() % 1000) as f64 / 1000.0);
                                late.push((Instant::now() + wait, down, buf[..len].to_vec()));
                            }
                        }
                    }
                }
                let now = Instant::now();
                late.retain(|(at, down, datagram)| {
                    let due = *at <= now;
                    if due && *down {
                        let _ = to_client.map(|client| front.send_to(datagram, client));
                    } else if due {
                        let _ = back.send_to(datagram, to_server);
                    }
                    !due
                });
                if idle {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        Relay { address, stop, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Fetches a file through a bad network. Acknowledges each window, reports a missing block, and repeats the report
/// after 50 ms of silence.
fn fetch_badly(address: SocketAddr, name: &str, window: u64) -> Vec<u8> {
    let socket = client();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let options = Options { block_size: Some(1468), window_size: Some(window as u16), ..Options::default() };
    let request = rrq(name, options).encode();
    let (mut bytes, mut number, mut reported, mut begun) = (Vec::new(), 0_u64, false, false);
    let until = Instant::now() + Duration::from_secs(120);
    let mut buf = [0; 2000];
    socket.send(&request).unwrap();
    loop {
        assert!(Instant::now() < until, "at block {number}");
        let Ok(len) = socket.recv(&mut buf) else {
            reported = false;
            if begun {
                ack(&socket, number);
            } else {
                socket.send(&request).unwrap();
            }
            continue;
        };
        match Packet::decode(&buf[..len]) {
            Ok(Packet::OAck(_)) if number == 0 => {
                begun = true;
                ack(&socket, 0);
            }
            Ok(Packet::Data { block, data }) if begun && block == (number + 1) as u16 => {
                number += 1;
                reported = false;
                bytes.extend_from_slice(data);
                if data.len() < 1468 {
                    ack(&socket, number);
                    return bytes;
                }
                if number % window == 0 {
                    ack(&socket, number);
                }
            }
            Ok(Packet::Data { .. }) if begun && !reported => {
                reported = true;
                ack(&socket, number);
            }
            Ok(Packet::Data { .. } | Packet::OAck(_)) => {}
            other => panic!("{other:?} at block {number}"),
        }
    }
}

#[test]
fn f_08_a_file_arrives_unchanged_through_a_network_that_loses_doubles_and_reorders() {
    let server = server();
    let bytes = content(1 << 20);
    fs::write(server.root().join("large"), &bytes).unwrap();
    fs::write(server.root().join("small"), &bytes[..100_000]).unwrap();
    let (server, bytes) = (&server, &bytes);
    // The transfers mostly wait for packets that were lost, so they run at the same time.
    std::thread::scope(|scope| {
        for (percent, window, file) in [(30, 8, "large"), (5, 64, "large"), (10, 1, "small")] {
            scope.spawn(move || {
                let bytes = &bytes[..if file == "small" { 100_000 } else { bytes.len() }];
                let relay = Relay::start(server.port, percent, Duration::from_millis(4));
                let got = fetch_badly(relay.address, file, window);
                assert!(got == bytes, "{percent} % and windows of {window}");
            });
        }
    });
}
