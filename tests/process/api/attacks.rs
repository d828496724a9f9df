//! Requests that no honest client sends: foreign pages, wrong tokens, long bodies, slow clients.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lanboot::api::endpoints::{Access, ENDPOINTS};
use support::client::{Client, resident};
use support::lab::PATIENCE;
use support::{one_at_a_time, one_busy_at_a_time};

use super::client::{Site, answer, request};

#[test]
fn w_06_w_07_changes_need_the_token_and_no_foreign_page() {
    let site = Site::new("");
    let token = site.token();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    for row in ENDPOINTS {
        let (method, path) = (row.method.as_str(), row.path.replace("{mac}", "02:00:00:00:00:01"));
        if path == "/api/v1/events" {
            continue;
        }
        let plain = site.ask(method, &path, "").status;
        assert_eq!(plain == 401, row.access != Access::Read, "{method} {path}: {plain}");
        let bearer = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(site.ask(method, &path, &format!("{bearer}Host: evil.example\r\n")).status, 421, "{path}");
        for origin in ["http://evil.example", "null", "https://localhost:1"] {
            let fields = format!("{bearer}Origin: {origin}\r\n");
            assert_eq!(site.ask(method, &path, &fields).status, 403, "{method} {path} {origin}");
        }
        let own = format!("{bearer}Host: localhost:{0}\r\nOrigin: http://localhost:{0}\r\n", site.web);
        assert!(![401, 403, 421].contains(&site.ask(method, &path, &own).status), "{method} {path}");
    }
    let reload = |fields: &str| site.ask("POST", "/api/v1/reload", fields);
    for wrong in
        ["admin", "", "-1", &token[1..], &format!("{token}0"), &token.to_uppercase().replace('A', "B")]
    {
        let refused = reload(&format!("Authorization: Bearer {wrong}\r\n"));
        assert_eq!(refused.status, 401, "{wrong}: {refused:?}");
        assert_eq!(refused.field("www-authenticate"), Some("Bearer"));
        assert!(!refused.body.contains(&token), "{refused:?}");
    }
    assert_eq!(reload(&format!("Authorization: Basic {token}\r\n")).status, 401);
    let site_field = |site: &str| format!("Authorization: Bearer {token}\r\nSec-Fetch-Site: {site}\r\n");
    assert_eq!(reload(&site_field("cross-site")).status, 403);
    assert_eq!(reload(&site_field("same-origin")).status, 200);
}

#[test]
fn w_01_a_lost_token_never_opens_the_api() {
    let site = Site::new("");
    let token = site.token();
    let file = site.lab.path().join("state/token");
    let reload = |token: &str| {
        let answer = site.ask("POST", "/api/v1/reload", &format!("Authorization: Bearer {token}\r\n"));
        (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    for content in ["", "\n", "secret", "-1"] {
        fs::write(&file, content).unwrap();
        for offered in [token.as_str(), "", content.trim(), "-1"] {
            let (status, why) = reload(offered);
            assert!(
                [401, 503].contains(&status) && why.contains("token"),
                "{content:?} {offered:?} {status} {why}"
            );
        }
        assert_eq!(reload(&token).0, 503);
    }
    fs::remove_file(&file).unwrap();
    let (status, why) = reload(&token);
    assert!(status == 503 && why.contains("lanboot token"), "{status} {why}");
    fs::create_dir(&file).unwrap();
    assert_eq!(reload(&token).0, 503);
    assert_eq!(site.ask("GET", "/api/v1/status", "").status, 200, "reading goes on");
    assert_eq!(site.ask_control("POST", "/api/v1/reload").status, 200, "the control socket needs no token");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, &token).unwrap();
    assert_eq!(reload(&token).0, 200);
}

#[test]
fn w_05_wrong_tokens_and_long_requests_take_neither_memory_nor_log() {
    let _busy = one_busy_at_a_time();
    let site = Site::new("");
    let token = site.token();
    let (memory, log) = (resident(&site.serving), site.serving.log_bytes());
    let mut statuses = Vec::new();
    for n in 0..300 {
        let fields = format!("Authorization: Bearer {n:064}\r\n");
        statuses.push(site.ask("POST", "/api/v1/reload", &fields).status);
    }
    assert!(statuses[..10].iter().all(|status| *status == 401), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 429).count() > 200, "{statuses:?}");
    let right = site.ask("POST", "/api/v1/reload", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(right.status, 200, "the right token always counts");
    // Every route refuses a long body before it reads it: announced, and in pieces.
    for row in ENDPOINTS.iter().filter(|row| row.access != Access::Upload && row.path != "/api/v1/events") {
        let (method, path) = (row.method.as_str(), row.path);
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let announced = site.ask(method, path, &format!("{bearer}Content-Length: 1073741824\r\n"));
        assert_eq!(announced.status, 413, "{method} {path}: {announced:?}");
        let head = request(method, path, &format!("{bearer}Transfer-Encoding: chunked\r\n"), "");
        let piece = format!("{:x}\r\n{}\r\n", 16_384, "x".repeat(16_384));
        let long = answer(site.connect(), &format!("{head}{}", piece.repeat(8)));
        assert!(long.status == 413 || long.status == 0, "{method} {path}: {long:?}");
    }
    let nested = "[".repeat(60_000);
    let fields = format!("Authorization: Bearer {token}\r\nContent-Length: {}\r\n", nested.len());
    let deep = answer(site.connect(), &request("POST", "/api/v1/reload", &fields, &nested));
    assert_eq!(deep.status, 200, "D-18: this route reads no body");
    let long = answer(site.connect(), &format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20)));
    assert!(long.status == 0 || (400..500).contains(&long.status), "{}", long.status);
    let fields: String = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect();
    let many = site.ask("GET", "/healthz", &fields);
    assert!(many.status == 0 || (400..500).contains(&many.status), "{}", many.status);
    assert!(site.serving.log_bytes() - log < 64 * 1024, "{} bytes of log", site.serving.log_bytes() - log);
    let grown = resident(&site.serving).saturating_sub(memory);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    let refused = site.get("/api/v1/status")["refused"].to_string();
    for reason in ["wrong_token", "too_many_attempts", "body_too_large"] {
        assert!(refused.contains(reason), "{refused}");
    }
    assert!(Client::new(&site.lab, 1).lease().is_some(), "DHCP is not affected");
}

#[test]
fn d_17_slow_and_idle_connections_end() {
    let _busy = one_busy_at_a_time();
    let site = Site::new("");
    let mut held: Vec<TcpStream> = Vec::new();
    for n in 0..80 {
        let mut stream = site.connect();
        // Idle, half a head, and half a body.
        let _ = match n % 3 {
            0 => Ok(()),
            1 => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local"),
            _ => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"),
        };
        held.push(stream);
    }
    std::thread::sleep(Duration::from_millis(200));
    let beyond = site.connect();
    assert_eq!(
        answer(beyond, &request("GET", "/healthz", "", "")).status,
        0,
        "64 connections of one address"
    );
    assert!(Client::new(&site.lab, 1).lease().is_some(), "DHCP is not affected");
    let began = Instant::now();
    for stream in &mut held {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // Reset or closed, with an answer or without.
        let _ = stream.read_to_end(&mut rest);
        assert!(began.elapsed() < Duration::from_secs(18), "{:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(site.ask("GET", "/healthz", "").status, 200);
    let refused = site.get("/api/v1/status")["refused"].to_string();
    assert!(refused.contains("too_many_connections") && refused.contains("body_unreadable"), "{refused}");
}

/// The statuses of all answers of a connection, up to a pause of `wait`. The bytes are sent at once.
fn statuses(site: &Site, bytes: &[u8], wait: Duration) -> Vec<u16> {
    let mut stream = site.connect();
    stream.set_read_timeout(Some(wait)).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let heads = text.match_indices("HTTP/1.").map(|(at, _)| &text[at..]);
    heads.filter_map(|head| head.get(9..12)?.parse().ok()).collect()
}

const ONCE: &str = "/api/v1/machines/one/once";
const WITH_TARGET: &str =
    "targets: {debian: {kernel: linux}}\nmachines: [{name: one, mac: '02:00:00:00:00:01', boot: local}]\n";

/// Framing that a proxy and a server may read differently, and requests that are none.
#[test]
fn w_05_malformed_requests_change_nothing() {
    let site = Site::new(WITH_TARGET);
    let bearer = format!("Authorization: Bearer {}\r\n", site.token());
    let set = |fields: &str, body: &str| request("PUT", ONCE, &format!("{bearer}{fields}"), body);
    let chunked = |body: &str| set("Transfer-Encoding: chunked\r\n", body);
    let body = r#"{"target": "debian"}"#;
    for (name, text) in [
        ("two lengths", set("Content-Length: 20\r\nContent-Length: 5\r\n", body)),
        ("a list of lengths", set("Content-Length: 20, 5\r\n", body)),
        ("a negative length", set("Content-Length: -20\r\n", body)),
        ("a signed length", set("Content-Length: +20\r\n", body)),
        ("a length beyond 64 bits", set("Content-Length: 99999999999999999999\r\n", body)),
        ("another coding", set("Transfer-Encoding: gzip\r\n", body)),
        ("a coding after chunked", set("Transfer-Encoding: chunked, identity\r\n", "14\r\nx")),
        ("a chunk without a size", chunked(&format!("zz\r\n{body}\r\n0\r\n\r\n"))),
        ("a chunk beyond 64 bits", chunked(&format!("10000000000000014\r\n{body}\r\n0\r\n\r\n"))),
        ("a chunk that is too short", chunked(&format!("99\r\n{body}\r\n0\r\n\r\n"))),
        ("no last chunk", chunked(&format!("14\r\n{body}\r\n"))),
        ("a long chunk extension", chunked(&format!("14;{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(200_000)))),
        ("long trailers", chunked(&format!("14\r\n{body}\r\n0\r\n{}\r\n", "X: yyyy\r\n".repeat(50_000)))),
        ("a body that is too short", set("Content-Length: 30\r\n", body)),
        (
            "chunked in HTTP/1.0",
            chunked(&format!("14\r\n{body}\r\n0\r\n\r\n")).replace("HTTP/1.1", "HTTP/1.0"),
        ),
        ("another version", set("Content-Length: 20\r\n", body).replace("HTTP/1.1", "HTTP/9.9")),
        ("no version", format!("PUT {ONCE}\r\n{bearer}Content-Length: 20\r\n\r\n{body}")),
        ("a folded field", set("X: a\r\n b\r\nContent-Length: 20\r\n", body)),
        ("a space before the colon", set("X : a\r\nContent-Length: 20\r\n", body)),
        ("a zero byte", set("X: a\0b\r\nContent-Length: 20\r\n", body)),
        ("too many fields", set(&format!("{}Content-Length: 20\r\n", "X: y\r\n".repeat(100)), body)),
        ("a long field", set(&format!("X: {}\r\nContent-Length: 20\r\n", "y".repeat(20_000)), body)),
        ("a long token", set(&format!("X: {}\r\nContent-Length: 20\r\n", "y".repeat(20_000)), body)),
        ("two tokens", set(&format!("{bearer}Content-Length: 20\r\n"), body)),
        ("two hosts", set("Host: localhost\r\nHost: evil.example\r\nContent-Length: 20\r\n", body)),
        ("an array", set("Content-Length: 10\r\n", r#"["debian"]"#)),
        ("no body", set("", "")),
        (
            "two members of one name",
            set("Content-Length: 39\r\n", r#"{"target": "debian", "target": "local"}"#),
        ),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned()),
    ] {
        // The server waits for the rest of some of them.
        let found = statuses(&site, text.as_bytes(), Duration::from_millis(500));
        assert!(found.iter().all(|status| [400, 408, 413, 431].contains(status)), "{name}: {found:?}");
        assert_eq!(site.get("/api/v1/status")["changes"]["once"], serde_json::json!([]), "{name}");
    }
    for text in [
        chunked(&format!("14\r\n{body}\r\n0\r\n\r\n")),
        set("Content-Length: 20\r\n", body),
        set("Content-Length: 20\r\n", body).replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        assert_eq!(statuses(&site, text.as_bytes(), PATIENCE), [200], "{text}");
    }
    assert_eq!(site.serving.count("ERROR"), 0);
}

#[test]
fn w_05_requests_in_one_packet_are_answered_one_by_one() {
    let site = Site::new(WITH_TARGET);
    let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = request("GET", "/healthz", "", "");
    assert_eq!(statuses(&site, (one.repeat(300) + &last).as_bytes(), PATIENCE), [200; 301]);
    // The body of a refused request is never the next request.
    let inner = "DELETE /api/v1/machines/one/once HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = inner.len();
    let outer = format!("PUT {ONCE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{inner}");
    let found = statuses(&site, (outer + &last).as_bytes(), PATIENCE);
    assert!(found == [401] || found == [401, 200], "{found:?}");
}

#[test]
fn w_05_paths_are_matched_as_they_are() {
    let site = Site::new(WITH_TARGET);
    for (path, status) in [
        ("/%68ealthz", 404),
        ("/healthz/", 404),
        ("//healthz", 404),
        ("/./healthz", 404),
        ("/healthz?x=1", 200),
        ("/api/v1/machines/..%2f..%2f..%2fhealthz", 404),
        ("/api/v1/machines/%00", 404),
        ("/api/v1/machines/%", 404),
        ("/api/v1/machines/%ff", 400),
        ("/api/v1/machines/%6fne", 200),
        ("/api/v1/machines/one;x=y", 404),
        ("/api/v1/machines/one%0d%0aX:%20y", 404),
        ("/api/v1/MACHINES", 404),
        ("/api/v1/events?last_event_id=1&last_event_id=2", 400),
        ("*", 404),
        ("http://localhost/healthz", 200),
        ("http://evil.example/healthz", 421),
    ] {
        let answer = site.ask("GET", path, "");
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(status == 200 || answer.json()["error"].is_string(), "{path}: {answer:?}");
    }
    let long = site.ask("GET", &format!("/api/v1/machines/{}", "x".repeat(10_000)), "");
    assert!(long.status == 404 && long.body.len() < 1000, "{long:?}");
}

#[test]
fn w_05_a_flood_of_connections_keeps_the_control_socket_free() {
    let _alone = one_at_a_time();
    let site = Site::new("");
    let held: Vec<TcpStream> = (0..1000).map(|_| site.connect()).collect();
    let memory = resident(&site.serving);
    assert_eq!(site.ask_control("GET", "/healthz").status, 200);
    assert!(Client::new(&site.lab, 1).lease().is_some(), "DHCP is not affected");
    drop(held);
    let began = Instant::now();
    while site.ask("GET", "/healthz", "").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let grown = resident(&site.serving).saturating_sub(memory);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}
