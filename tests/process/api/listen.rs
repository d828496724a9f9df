//! The addresses of the web listener: the default, those of the file, reloads, and TLS.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use support::lab::{Lab, free_tcp_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::client::{Site, config, request};

#[test]
fn a_taken_address_of_the_file_ends_the_start() {
    let lab = Lab::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    lab.write_config(&config(&lab, port));
    let output = lab.run(&["serve"]);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{why}");
    assert!(why.contains(&format!("127.0.0.1:{port}")) && why.contains("`web.listen`"), "{why}");
}

#[test]
fn a_taken_default_address_is_a_warning() {
    // Held by this test, or by another program.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 8067));
    let lab = Lab::new();
    lab.write_config(&lab.config().replace("web: off\n", ""));
    let serving = lab.serve(&["serve"]);
    let line = serving.wait_for("127.0.0.1:8067");
    assert!(line.contains("WARN") && line.contains("web: off"), "{line}");
}

#[test]
fn check_refuses_other_addresses_without_tls() {
    let lab = Lab::new();
    for (web, expected) in [
        ("{listen: ['0.0.0.0:8067']}", Some("web.listen")),
        ("{listen: ['192.168.77.1:8067'], tls: {cert: c.pem}}", Some("`key` must be given")),
        ("{listen: ['127.0.0.1:8067', '[::1]:8067']}", None),
        ("{listen: ['0.0.0.0:8067'], insecure: true}", None),
        ("{listen: ['0.0.0.0:8067'], tls: {cert: c.pem, key: k.pem}}", None),
        ("{listen: [8067]}", Some("an address with a port")),
        ("{listen: []}", Some("`web: off`")),
        ("{listen: ['127.0.0.1:0']}", Some("from 1 to 65535")),
        ("off", None),
        ("on", Some("off, or a mapping")),
    ] {
        lab.write_config(&lab.config().replace("web: off\n", &format!("web: {web}\n")));
        let output = lab.run(&["check"]);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        match expected {
            None => assert!(output.status.success(), "{web}: {said}"),
            Some(expected) => {
                assert_eq!(output.status.code(), Some(1), "{web}: {said}");
                assert!(said.contains(expected), "{web}: {said}");
            }
        }
    }
}

#[test]
fn a_reload_moves_the_listener_and_answers_first() {
    let mut site = Site::new("");
    let (old, new) = (site.web, free_tcp_port());
    let mut idle = site.connect();
    site.lab.write_config(&config(&site.lab, new));
    let answer = site.ask_with_token("POST", "/api/v1/reload");
    assert_eq!(answer.status, 200, "{answer:?}");
    site.serving.wait_for(&format!("API on http://127.0.0.1:{new}"));
    site.web = new;
    assert_eq!(site.ask("GET", "/healthz", "").status, 200);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, old)).is_err(), "the old listener is closed");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut idle, &mut rest);
    assert!(rest.is_empty(), "an idle connection to the old one is closed");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    site.lab.write_config(&config(&site.lab, taken.local_addr().unwrap().port()));
    let refused = site.ask_with_token("POST", "/api/v1/reload");
    assert!(refused.status == 422 && refused.body.contains("web.listen"), "{refused:?}");
    site.lab.write_config(&site.lab.config());
    assert_eq!(site.ask_with_token("POST", "/api/v1/reload").status, 200, "web: off");
    let began = std::time::Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, new)).is_ok() {
        assert!(began.elapsed() < support::lab::PATIENCE);
    }
    assert_eq!(site.ask_control("GET", "/healthz").status, 200);
}

/// Writes a new certificate for `localhost`, and returns it.
fn write_certificate(lab: &Lab) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(lab.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(lab.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// Sends a request by TLS to a server with this certificate. `None` if it has another one.
fn ask_by_tls(port: u16, certificate: &CertificateDer<'static>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.write_all(request("GET", "/healthz", "", "").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Some(String::from_utf8_lossy(&answer).into_owned())
    })
}

#[test]
fn a_reload_reads_the_certificate_again() {
    let (lab, port) = (Lab::new(), free_tcp_port());
    let web = format!("web: {{listen: ['0.0.0.0:{port}'], tls: {{cert: cert.pem, key: key.pem}}}}\n");
    lab.write_config(&lab.config().replace("web: off\n", &web));
    let missing = lab.run(&["serve"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("web.tls.cert"), "{missing:?}");
    let first = write_certificate(&lab);
    let site = Site { serving: lab.serve(&["serve"]), lab, web: port };
    site.serving.wait_for(&format!("API on https://0.0.0.0:{port}"));
    assert!(ask_by_tls(port, &first).unwrap().contains("200 OK"));
    assert_eq!(site.ask("GET", "/healthz", "").status, 0, "no plain HTTP");
    let second = write_certificate(&site.lab);
    assert_eq!(site.ask_control("POST", "/api/v1/reload").status, 200);
    assert!(ask_by_tls(port, &second).unwrap().contains("200 OK"));
    assert_eq!(ask_by_tls(port, &first), None, "the old one is gone");
    std::fs::write(site.lab.path().join("key.pem"), "nonsense").unwrap();
    let refused = site.ask_control("POST", "/api/v1/reload");
    assert!(refused.status == 422 && refused.body.contains("web.tls.key"), "{refused:?}");
    assert!(ask_by_tls(port, &second).is_some(), "the server keeps what it has");
}
