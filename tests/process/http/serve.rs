//! `lanboot serve` over HTTP: the real binary, and curl.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::lab::{Lab, content};
use support::need;
use support::one_at_a_time;

/// curl's output for a path of the lab, with these arguments.
fn curl(lab: &Lab, arguments: &[&str], path: &str) -> Output {
    let url = format!("http://127.0.0.1:{}{path}", lab.http);
    Command::new("curl").args(["-s", "--max-time", "20"]).args(arguments).arg(url).output().unwrap()
}

fn body(lab: &Lab, arguments: &[&str], path: &str) -> Vec<u8> {
    let output = curl(lab, arguments, path);
    assert!(output.status.success(), "{path}: {output:?}");
    output.stdout
}

fn status(lab: &Lab, arguments: &[&str], path: &str) -> String {
    let output = curl(lab, &[arguments, &["-o", "/dev/null", "-w", "%{http_code}"]].concat(), path);
    String::from_utf8(output.stdout).unwrap()
}

fn head(lab: &Lab, path: &str) -> String {
    String::from_utf8(body(lab, &["-I"], path)).unwrap()
}

#[test]
fn curl_gets_files_by_every_spelling_and_the_log_tells_it() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::write(images.join("empty"), "").unwrap();
    let serving = lab.serve(&["serve", "--log", "debug"]);
    for path in [
        "/snponly.efi",
        "//snponly.efi",
        "/./snponly.efi",
        "/snponly%2eefi",
        "/snponly.efi?mac=x",
        "/SNPONLY.EFI",
    ] {
        let got = body(&lab, &["--path-as-is"], path);
        assert!(got == content("snponly.efi"), "{path}: {} bytes", got.len());
    }
    assert_eq!(body(&lab, &[], "/empty"), b"");
    let headers = head(&lab, "/snponly.efi");
    for line in [
        "HTTP/1.1 200 OK",
        "Content-Length: 1048576",
        "Content-Type: application/efi",
        "Accept-Ranges: bytes",
    ] {
        assert!(headers.lines().any(|other| other == line), "{line} is not in {headers}");
    }
    assert_eq!(status(&lab, &[], "/none"), "404");
    serving.wait_for(&format!("HTTP on 127.0.0.1:{} from ", lab.http));
    serving.wait_for("sent snponly.efi to 127.0.0.1 1.0 MiB");
    serving.wait_for("answered snponly.efi to 127.0.0.1 status=200");
    serving.wait_for("refused /none to 127.0.0.1 by HTTP reason=not_found");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

#[test]
fn curl_keeps_the_connection_after_head_and_resumes_downloads() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let _serving = lab.serve(&["serve"]);
    let url = format!("http://127.0.0.1:{}/snponly.efi", lab.http);
    let twice = Command::new("curl")
        .args(["-sv", "-I", &url, "--next", "-s", "-o", "/dev/null", &url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&twice.stderr);
    assert!(said.contains("Re-using existing connection"), "{said}");

    let part = lab.path().join("part");
    fs::write(&part, &content("snponly.efi")[..300_000]).unwrap();
    body(&lab, &["-C", "-", "-o", part.to_str().unwrap()], "/snponly.efi");
    assert!(fs::read(&part).unwrap() == content("snponly.efi"));
    assert_eq!(body(&lab, &["-r", "1000-1999"], "/snponly.efi"), &content("snponly.efi")[1000..2000]);
    assert_eq!(status(&lab, &["-r", "2000000-"], "/snponly.efi"), "416");
    let tag = head(&lab, "/snponly.efi");
    let tag = tag.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    assert_eq!(status(&lab, &["-H", &format!("If-None-Match: {tag}")], "/snponly.efi"), "304");
    assert_eq!(status(&lab, &["-H", "If-Match: \"other\""], "/snponly.efi"), "412");
}

#[test]
fn a_file_of_5_gib_is_served_to_its_end() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let mut large = File::create(lab.path().join("boot-images/large.iso")).unwrap();
    large.set_len(5 << 30).unwrap();
    large.seek(SeekFrom::Start((5 << 30) - 3)).unwrap();
    large.write_all(b"end").unwrap();
    let _serving = lab.serve(&["serve"]);
    let headers = head(&lab, "/large.iso");
    assert!(headers.contains("\r\nContent-Length: 5368709120\r\n"), "{headers}");
    assert!(headers.contains("\r\nContent-Type: application/vnd.efi-iso\r\n"), "{headers}");
    assert_eq!(body(&lab, &["-r", "-5"], "/large.iso"), b"\0\0end");
    let from = (5u64 << 30) - (8 << 20);
    let tail = body(&lab, &["-r", &format!("{from}-")], "/large.iso");
    assert!(tail.len() == 8 << 20 && tail.ends_with(b"\0end"), "{} bytes", tail.len());
}

/// Rows A-12 and T-19 of docs/robustness.md. After one decoding, files are opened by the same code as for TFTP.
#[test]
fn nothing_outside_boot_images_is_served() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::create_dir(images.join("sub")).unwrap();
    fs::write(lab.path().join("secret"), "secret").unwrap();
    symlink("../secret", images.join("out")).unwrap();
    symlink("/etc/passwd", images.join("absolute")).unwrap();
    nix::unistd::mkfifo(&images.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let serving = lab.serve(&["serve"]);
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/sub/../../secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/sub/%2e%2e/%2e%2e/secret",
        "/boot.ipxe%00",
        "/boot.ipxe%0d%0aX:y",
        "/%ff%fe",
        "/..",
    ] {
        let got = status(&lab, &["--path-as-is"], path);
        assert!(["400", "404"].contains(&&*got), "{path}: {got}");
    }
    for path in [
        "/out",
        "/absolute",
        "/%252e%252e/secret",
        "/..;/secret",
        "/sub",
        "/sub/",
        "/fifo",
        "/",
        "//",
        "/etc/passwd",
        "/%7e/x",
        "/proc/self/environ",
    ] {
        assert_eq!(status(&lab, &["--path-as-is"], path), "404", "{path}");
    }
    let (code, lines) = serving.terminate();
    assert_eq!(code.code(), Some(0));
    assert!(
        lines.iter().any(|line| line.ends_with("refused /out to 127.0.0.1 by HTTP reason=bad_name")),
        "{lines:#?}"
    );
}

/// W-02 and W-03: text from a client never becomes a template, a command, or a separate line of the log.
#[test]
fn w_02_w_03_values_of_clients_are_only_text() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let serving = lab.serve(&["serve", "--log", "debug"]);
    for name in [
        "{{7*7}}",
        "{%25 include \"/etc/shadow\" %25}",
        "$(touch pwned)",
        ";touch pwned",
        "|id",
        "`id`",
        "${jndi:ldap://x}",
    ] {
        let agent = format!("User-Agent: {name}");
        let output = curl(
            &lab,
            &["-g", "-H", &agent],
            &format!("/{}?filename={}", name.replace(' ', "%20"), name.replace(' ', "+")),
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said == "There is no such boot file.\n", "{name}: {said}");
    }
    serving.wait_for("refused /{{7*7}}?filename={{7*7}} to 127.0.0.1 by HTTP reason=not_found");
    let (_, lines) = serving.terminate();
    assert!(!lab.path().join("pwned").exists());
    assert!(
        lines.iter().all(|line| !line.contains("root:") && !line.contains("uid=") && !line.contains('\x1b'))
    );
}

#[test]
fn w_05_large_requests_take_no_memory() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident();
    for (beginning, expected) in [
        ("GET /x HTTP/1.1\r\nHost: x\r\nX: ", "HTTP/1.1 431 "),
        ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", "HTTP/1.1 413 "),
    ] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        // One megabyte of it. The server may close the connection before the end.
        let _ = stream.write_all(&vec![b'y'; 1 << 20]);
        let mut answer = [0; 13];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 4096, "it grew by {grown} KiB");
    serving.wait_for("by HTTP reason=head_too_large");
    serving.wait_for("by HTTP reason=body_too_large");
}

/// No byte of a file passes through the program. strace lists the system calls that sent it.
#[test]
fn files_go_from_the_page_cache_into_the_socket_by_sendfile() {
    if !need("curl", "curl") || !need("strace", "strace") {
        return;
    }
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let calls = lab.path().join("calls");
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=sendfile,sendto,sendmsg,write,writev", "-p", &serving.pid().to_string()])
        .arg("-o")
        .arg(&calls)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(strace.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    if !line.contains("attached") {
        strace.wait().unwrap();
        return support::cannot(&format!("watch system calls: {line}"));
    }
    assert!(body(&lab, &[], "/snponly.efi") == content("snponly.efi"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(strace.id() as i32), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    strace.wait().unwrap();
    let calls = fs::read_to_string(calls).unwrap();
    // `7 sendfile(5, 6, [0], 1048576) = 65536`, or `<... sendfile resumed>` if another call came in between.
    let bytes = |line: &str| line.rsplit_once(" = ").and_then(|(_, count)| count.trim().parse::<u64>().ok());
    let of = |is_sendfile: bool| {
        let lines = calls.lines().filter(move |line| line.contains("sendfile") == is_sendfile);
        lines.filter_map(bytes).collect::<Vec<u64>>()
    };
    assert_eq!(of(true).iter().sum::<u64>(), 1 << 20, "{calls}");
    assert!(of(false).iter().all(|count| *count < 1024), "heads and lines of the log alone: {calls}");
}

#[test]
fn a_port_in_use_is_reported_with_its_program_and_advice() {
    let lab = Lab::new();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
    let output = lab.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let begins = format!("lanboot: 127.0.0.1:{} is in use by ", lab.http);
    assert!(
        said.starts_with(&begins) && said.contains("`http.port`") && said.contains("`http: off`"),
        "{said}"
    );
}

#[test]
fn http_alone_is_enough_to_serve_and_off_is_off() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let alone = format!("dhcp: {{mode: off}}\ntftp: off\nhttp: {{port: {}, listen: 127.0.0.1}}\n", lab.http);
    lab.write_config(&alone);
    let serving = lab.serve_silently(&["serve"]);
    serving.wait_for("HTTP on ");
    assert!(body(&lab, &[], "/boot.ipxe") == content("boot.ipxe"));
    drop(serving);

    lab.write_config(&lab.config().replace(&format!("http: {{port: {}}}", lab.http), "http: off"));
    let _serving = lab.serve(&["serve"]);
    assert_eq!(curl(&lab, &[], "/boot.ipxe").status.code(), Some(7), "nobody listens");
}

/// A template, a target, and its end: a machine gets the same content for a name as over TFTP.
#[test]
fn a_target_is_started_once_over_http_until_the_machine_says_that_it_is_done() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    fs::write(lab.path().join("boot-images/seed.cfg.j2"), "url=http://{{ server }}/\n").unwrap();
    lab.write_config(&format!(
        "{}targets: {{debian: {{kernel: linux}}}}\nmachines: [{{mac: 02:00:00:00:00:09, once: debian, boot: local}}]\n",
        lab.config()
    ));
    let serving = lab.serve(&["serve"]);
    assert_eq!(body(&lab, &[], "/seed.cfg"), b"url=http://127.0.0.1/\n");
    assert_eq!(status(&lab, &[], "/seed.cfg.j2"), "404");
    fs::write(lab.path().join("boot-images/seed.json.j2"), "{}").unwrap();
    assert!(head(&lab, "/seed.json").contains("\r\nContent-Type: application/json\r\n"));
    let script = || String::from_utf8(body(&lab, &[], "/02:00:00:00:00:09/boot.ipxe")).unwrap();
    let url = format!("http://127.0.0.1:{}/linux", lab.http);
    assert!(script().contains(&url), "{}", script());
    for _ in 0..2 {
        assert_eq!(status(&lab, &["-X", "POST"], "//02:00:00:00:00:09//done"), "204");
        assert!(!script().contains(&url), "it was to start that once: {}", script());
    }
    assert_eq!(status(&lab, &["-X", "POST"], "/02:00:00:00:00:10/done"), "404");
    drop(serving);
    let _serving = lab.serve(&["serve"]);
    assert!(!script().contains(&url), "a restart forgets nothing: {}", script());
}
