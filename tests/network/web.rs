//! The web listener, asked by another computer: what needs the token, and names that lead here by trick.
//!
//! Needs root. One test needs curl, which `tests/run` installs on Debian.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use lanboot::api::endpoints::{Access, ENDPOINTS};
use lanboot::cli::demo::network::{BRIDGE, NETWORK, Namespace, Need, Running};
use support::site::{SERVER, Site, ready};

use super::one_frame::inside;

const CURL: &[Need] = &[Need { what: "curl", package: "curl" }];
const PORT: u16 = 8067;

/// A server whose configuration has this `web:`, another computer, and the token.
struct Remote {
    host: Namespace,
    server: Running,
    token: String,
    site: Site,
}

impl Remote {
    fn new(web: &str, files: &[(&str, &str)]) -> Remote {
        let site = Site::new(&[]);
        for (name, text) in files {
            fs::write(site.folder.path().join(name), text).unwrap();
        }
        let host = site.network.host("52:54:00:77:00:41").unwrap();
        host.ip("addr add 192.168.77.99/24 dev eth0").unwrap();
        site.network.namespace().ip(&format!("addr add fd77::1/64 dev {BRIDGE} nodad")).unwrap();
        host.ip("addr add fd77::99/64 dev eth0 nodad").unwrap();
        let config = site.configure(&format!("dhcp: {{mode: off}}\n{web}"));
        let text = fs::read_to_string(&config).unwrap().replace("metrics: off\n", "");
        fs::write(&config, text).unwrap();
        let server = site.serve(&config);
        let token = fs::read_to_string(site.folder.path().join("state/token")).unwrap().trim().to_owned();
        Remote { host, server, token, site }
    }

    /// The status of the answer to a request from `from` to the server at `to`. 0 if there is none.
    fn ask(&self, from: &Namespace, to: SocketAddr, line: &str, fields: &[(&str, &str)]) -> u16 {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n");
        let answer = inside(from, move || {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(20)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let _ = stream.write_all(request.as_bytes());
            // An event stream never ends.
            let mut answer = vec![0; 100];
            let read = stream.read(&mut answer).unwrap_or_default();
            String::from_utf8_lossy(answer.get(..read)?).into_owned().into()
        });
        let answer: Option<String> = answer;
        answer.and_then(|answer| answer.split(' ').nth(1)?.parse().ok()).unwrap_or_default()
    }
}

fn address(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), PORT)
}

#[test]
fn w_06_and_w_07_another_computer_needs_the_token_for_everything() {
    if !ready("web w_06_and_w_07_another_computer_needs_the_token_for_everything", &[NETWORK]) {
        return;
    }
    let web = "web: {listen: ['0.0.0.0:8067', '[fd77::1]:8067'], insecure: true, names: [boot.example]}";
    let remote = Remote::new(web, &[]);
    let bearer = format!("Bearer {}", remote.token);
    let here = remote.site.network.namespace();
    for row in ENDPOINTS {
        let path = row.path.replace("{mac}", "02:00:00:00:00:01").replace("{address}", "192.168.77.50");
        let line = format!("{} {path}", row.method);
        for (to, host) in
            [(SERVER, "192.168.77.1:8067"), (SERVER, "boot.example"), ("fd77::1", "[fd77::1]:8067")]
        {
            let ask = |fields: &[(&str, &str)]| remote.ask(&remote.host, address(to), &line, fields);
            assert_eq!(ask(&[("Host", host)]), 401, "{line}");
            let with_token = [("Host", host), ("Authorization", &bearer)];
            let answered = ask(&with_token);
            assert!(answered != 0 && ![401, 403, 421].contains(&answered), "{line} at {host}: {answered}");
            let foreign = [("Host", "evil.example"), with_token[1]];
            assert_eq!(ask(&foreign), 421, "{line} as another name");
            assert_eq!(
                ask(&[("Host", "192.168.77.99"), with_token[1]]),
                421,
                "{line} as the client's address"
            );
            let page = [with_token[0], with_token[1], ("Origin", "http://evil.example")];
            assert_eq!(ask(&page), 403, "{line} from another page");
        }
        // From this computer: by loopback, and by the address of the network, which is no loopback.
        let is_read = row.access == Access::Read;
        let by_loopback = remote.ask(here, address("127.0.0.1"), &line, &[("Host", "localhost")]);
        assert_eq!(by_loopback == 401, !is_read, "{line} by loopback: {by_loopback}");
        assert_eq!(remote.ask(here, address(SERVER), &line, &[("Host", SERVER)]), 401, "{line} from itself");
    }
    assert_eq!(remote.ask(&remote.host, address(SERVER), "GET /healthz", &[]), 421, "no name at all");
}

#[test]
fn w_04_networks_that_are_not_allowed_get_no_connection() {
    if !ready("web w_04_networks_that_are_not_allowed_get_no_connection", &[NETWORK]) {
        return;
    }
    let remote =
        Remote::new("web: {listen: ['0.0.0.0:8067'], insecure: true, allow: [192.168.77.64/27]}", &[]);
    let bearer = format!("Bearer {}", remote.token);
    let fields = [("Host", SERVER), ("Authorization", bearer.as_str())];
    let ask = || remote.ask(&remote.host, address(SERVER), "GET /healthz", &fields);
    assert_eq!(ask(), 0, "192.168.77.99 is outside");
    remote.host.ip("addr flush dev eth0").unwrap();
    remote.host.ip("addr add 192.168.77.70/24 dev eth0").unwrap();
    assert_eq!(ask(), 200);
    let here = remote.site.network.namespace();
    assert_eq!(remote.ask(here, address("127.0.0.1"), "GET /healthz", &[("Host", "localhost")]), 200);
}

#[test]
fn w_06_another_computer_asks_by_tls_alone() {
    if !ready("web w_06_another_computer_asks_by_tls_alone", &[NETWORK, CURL]) {
        return;
    }
    let made = rcgen::generate_simple_self_signed([SERVER.to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let web = "web: {listen: ['127.0.0.1:8067', '192.168.77.1:8067'], tls: {cert: cert.pem, key: key.pem}}";
    let mut remote = Remote::new(web, &[("cert.pem", &cert), ("key.pem", &key)]);
    let curl = |url: &str, token: Option<&str>, more: &[&str]| {
        let mut command = remote.host.command("curl");
        command.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]);
        command.arg(remote.site.folder.path().join("cert.pem")).args(more);
        command.args(token.map(|token| format!("-HAuthorization: Bearer {token}")));
        String::from_utf8(command.arg(url).output().unwrap().stdout).unwrap()
    };
    let url = |path: &str| format!("https://{SERVER}:{PORT}{path}");
    let token = remote.token.as_str();
    for path in ["/healthz", "/metrics", "/api/v1/status", "/api/v1/machines"] {
        assert_eq!(curl(&url(path), None, &[]), "401", "{path}");
        assert_eq!(curl(&url(path), Some(&token[1..]), &[]), "401", "{path}");
        assert_eq!(curl(&url(path), Some(token), &[]), "200", "{path}");
        assert_eq!(curl(&format!("http://{SERVER}:{PORT}{path}"), Some(token), &[]), "000", "plain HTTP");
    }
    assert_eq!(curl(&url("/api/v1/reload"), None, &["-XPOST"]), "401");
    assert_eq!(curl(&url("/api/v1/reload"), Some(token), &["-XPOST"]), "200");
    let as_other = ["--resolve", "evil.example:8067:192.168.77.1", "--insecure"];
    assert_eq!(curl(&format!("https://evil.example:{PORT}/healthz"), Some(token), &as_other), "421");
    assert_eq!(curl(&url("/healthz"), Some(token), &["--tls-max", "1.1"]), "000", "an old version of TLS");
    assert!(!remote.server.drain().contains(token), "the log has no token");
    let here = remote.site.network.namespace();
    assert_eq!(
        remote.ask(
            here,
            SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            "GET /healthz",
            &[("Host", "localhost")]
        ),
        200
    );
}
