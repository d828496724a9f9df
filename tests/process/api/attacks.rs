//! Requests that no honest client sends: foreign pages, wrong tokens, long bodies, slow clients.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lanboot::api::endpoints::{Access, ENDPOINTS};
use support::client::{Client, resident};
use support::one_at_a_time;

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
    let _alone = one_at_a_time();
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
    let _alone = one_at_a_time();
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
