//! Tests of the router as a whole, for clients of every kind: who may have which route.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::api::client::Client;
use crate::api::commands::ToLoop;
use crate::api::endpoints::{Access, ENDPOINTS, Endpoint};
use crate::api::handles::Api;
use crate::api::reloader::Reloader;
use crate::api::{router, token};
use crate::content::changes::ChangeStore;
use crate::content::served_files::ServedFiles;
use crate::net::served::Served;
use crate::net::snapshot::Snapshot;
use crate::record::Recorder;

const REMOTE: (&str, &str) = ("10.0.0.9:5000", "10.0.0.1:8067");
const LOOPBACK: (&str, &str) = ("127.0.0.1:5000", "127.0.0.1:8067");

struct Site {
    api: Api,
    token: String,
    _state: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let state = tempfile::tempdir().unwrap();
        let mut config = crate::config::load("{dhcp: {mode: off}}").unwrap();
        config.state = state.path().to_owned();
        config.images = state.path().to_owned();
        let now = Snapshot::new(config, Served::new(Vec::new(), [])).fixed();
        // Nobody carries out a reload, so its requests fail at once.
        let ((reloader, _), changes) = (Reloader::new(), ChangeStore::default());
        let api =
            Api::new(now, Recorder::default(), ToLoop::default(), reloader, changes, ServedFiles::default());
        let token = token::read_or_create(state.path()).unwrap().as_str().to_owned();
        Site { api, token, _state: state }
    }

    async fn ask(&self, client: Client, row: &Endpoint, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let body = if row.method == Method::PUT { "{\"target\": \"local\"}" } else { "" };
        let path = row.path.replace("{mac}", "02:00:00:00:00:01").replace("{address}", "10.0.0.50");
        let mut request = Request::builder().method(row.method.clone()).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(client);
        let answer = TowerToHyperService::new(router(&self.api)).call(request).await.unwrap();
        let status = answer.status();
        let is_stream = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = match is_stream {
            true => String::new(),
            false => {
                String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
            }
        };
        (status, body)
    }
}

fn web((peer, local): (&str, &str)) -> Client {
    Client::Web { peer: peer.parse::<SocketAddr>().unwrap(), local: local.parse().unwrap() }
}

#[tokio::test]
async fn w_04_every_route_needs_the_right_that_its_row_names() {
    let site = Site::new();
    let bearer = format!("Bearer {}", site.token);
    for row in ENDPOINTS {
        let with_token = [("host", "10.0.0.1"), ("authorization", bearer.as_str())];
        let (remote, message) = site.ask(web(REMOTE), row, &with_token[..1]).await;
        assert_eq!(remote, StatusCode::UNAUTHORIZED, "{} {message}", row.path);
        assert!(message.starts_with("{\"error\":") && message.contains("lanboot token"), "{message}");
        let (wrong, _) =
            site.ask(web(REMOTE), row, &[("host", "10.0.0.1"), ("authorization", "Bearer x")]).await;
        assert!(wrong == StatusCode::UNAUTHORIZED || wrong == StatusCode::TOO_MANY_REQUESTS, "{}", row.path);
        let (local, _) = site.ask(web(LOOPBACK), row, &[("host", "localhost")]).await;
        assert_eq!(local == StatusCode::UNAUTHORIZED, row.access != Access::Read, "{} {local}", row.path);
        let mut answered = vec![
            site.ask(web(REMOTE), row, &with_token).await.0,
            site.ask(web(LOOPBACK), row, &[("host", "localhost"), with_token[1]]).await.0,
            site.ask(Client::Control { is_allowed: true }, row, &[]).await.0,
            site.ask(Client::Control { is_allowed: true }, row, &[("host", "lanboot")]).await.0,
        ];
        answered.dedup();
        assert_eq!(answered.len(), 1, "the same answer for all: {} {answered:?}", row.path);
        assert!(![401, 403, 421].contains(&answered[0].as_u16()), "{} {answered:?}", row.path);
        let (other, _) = site.ask(Client::Control { is_allowed: false }, row, &[]).await;
        assert_eq!(other, StatusCode::FORBIDDEN, "{}", row.path);
    }
}

#[tokio::test]
async fn w_07_every_route_refuses_foreign_names_and_origins() {
    let site = Site::new();
    let bearer = format!("Bearer {}", site.token);
    for row in ENDPOINTS {
        for client in [web(REMOTE), web(LOOPBACK), Client::Control { is_allowed: true }] {
            let fields = [("host", "evil.example"), ("authorization", bearer.as_str())];
            assert_eq!(
                site.ask(client, row, &fields).await.0,
                StatusCode::MISDIRECTED_REQUEST,
                "{}",
                row.path
            );
            let fields = [("host", "localhost"), ("origin", "http://evil.example"), fields[1]];
            assert_eq!(site.ask(client, row, &fields).await.0, StatusCode::FORBIDDEN, "{}", row.path);
        }
        let fields = [("authorization", bearer.as_str())];
        let (nameless, _) = site.ask(web(LOOPBACK), row, &fields).await;
        assert_eq!(nameless, StatusCode::MISDIRECTED_REQUEST, "{}", row.path);
    }
    let counts = site.api.refusals.counts();
    assert!(counts.iter().any(|(reason, _)| *reason == "foreign_host"), "{counts:?}");
}

#[tokio::test]
async fn w_07_a_field_that_decides_may_not_be_there_twice() {
    let site = Site::new();
    let bearer = format!("Bearer {}", site.token);
    let right = [("host", "localhost"), ("authorization", bearer.as_str()), ("origin", "http://localhost")];
    for row in ENDPOINTS {
        for client in [web(LOOPBACK), Client::Control { is_allowed: true }] {
            for second in [
                ("host", "evil.example"),
                ("host", "localhost"),
                ("origin", "http://evil.example"),
                ("authorization", "Bearer x"),
            ] {
                for fields in [[&right[..], &[second]].concat(), [&[second], &right[..]].concat()] {
                    let (status, message) = site.ask(client, row, &fields).await;
                    assert_eq!(status, StatusCode::BAD_REQUEST, "{} {second:?} {message}", row.path);
                }
            }
        }
    }
    assert!(site.api.refusals.counts().iter().any(|(reason, _)| *reason == "duplicate_field"));
}

#[tokio::test]
async fn w_01_without_a_token_nothing_is_changed() {
    let site = Site::new();
    let change = ENDPOINTS.iter().find(|row| row.path == "/api/v1/reload").unwrap();
    let file = site.api.state.join("token");
    for content in [None, Some(""), Some("-1"), Some("0")] {
        match content {
            None => std::fs::remove_file(&file).unwrap(),
            Some(content) => std::fs::write(&file, content).unwrap(),
        }
        for offered in [site.token.as_str(), "", "-1", "0", "None"] {
            let bearer = format!("Bearer {offered}");
            let fields = [("host", "localhost"), ("authorization", bearer.as_str())];
            let (status, message) = site.ask(web(LOOPBACK), change, &fields).await;
            assert!([401, 503].contains(&status.as_u16()), "{content:?} {offered} {status}");
            assert!(message.contains("token"), "{message}");
        }
    }
}
