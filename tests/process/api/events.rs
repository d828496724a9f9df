//! Event streams: they resume, and a reader that stops costs nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::client::{Client, resident};
use support::lab::PATIENCE;
use support::one_busy_at_a_time;

use super::client::{Site, request};

/// An open event stream.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    pub(super) fn open(site: &Site, fields: &str) -> Events {
        let mut stream = site.connect();
        stream.write_all(request("GET", "/api/v1/events", fields, "").as_bytes()).unwrap();
        let mut events = Events(BufReader::new(stream));
        let begin = events.lines_until("retry:");
        assert!(begin[0].contains("200"), "{begin:?}");
        assert!(
            begin.iter().any(|line| line.to_lowercase() == "content-type: text/event-stream"),
            "{begin:?}"
        );
        events
    }

    /// The lines up to the first one that begins with `end`.
    fn lines_until(&mut self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended after {lines:?}");
            lines.push(line.trim_end().to_owned());
            if line.starts_with(end) {
                return lines;
            }
        }
    }

    /// The next event: its id, its name and its data.
    fn next(&mut self) -> (String, String, Value) {
        let lines = self.lines_until("data:");
        let find = |name: &str| {
            let value = lines.iter().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        (find("id:"), find("event:"), serde_json::from_str(&find("data:")).unwrap())
    }

    /// The next event whose data has this `event`, with its id.
    pub(super) fn next_of(&mut self, event: &str) -> (String, Value) {
        loop {
            let (id, _, data) = self.next();
            if data["event"] == event {
                return (id, data);
            }
        }
    }
}

#[test]
fn events_have_the_fields_of_json_logs_and_resume() {
    let site = Site::new("");
    let mut events = Events::open(&site, "");
    let address = Client::new(&site.lab, 1).lease().expect("a lease");
    let (id, ack) = events.next_of("DHCPACK");
    assert_eq!(
        (&ack["mac"], &ack["ip"]),
        (&"02:00:00:00:00:01".into(), &address.to_string().into()),
        "{ack}"
    );
    assert!(ack["at"].is_string() && ack["message"].as_str().unwrap().starts_with("DHCPACK(lo)"), "{ack}");
    drop(events);
    Client::new(&site.lab, 2).lease().expect("a lease");
    std::thread::sleep(Duration::from_millis(300));
    let mut events = Events::open(&site, &format!("Last-Event-ID: {id}\r\n"));
    let (next, _, data) = events.next();
    let number = |id: &str| id.rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    assert_eq!((number(&next), &data["mac"]), (number(&id) + 1, &"02:00:00:00:00:02".into()), "{data}");
    events.next_of("DHCPACK");
    // Another run of the server.
    let mut events = Events::open(&site, "Last-Event-ID: 1-77\r\n");
    let (_, name, data) = events.next();
    assert_eq!((name.as_str(), data.to_string().as_str()), ("lost", "{\"lost\":null}"));
    assert_eq!(
        events.next_of("DHCPACK").1["mac"],
        "02:00:00:00:00:01",
        "then everything that is still there"
    );
}

#[test]
fn an_id_that_the_server_never_sent_gets_every_record() {
    let site = Site::new("");
    Client::new(&site.lab, 1).lease().expect("a lease");
    let long = "9".repeat(9000);
    for id in
        ["x", "-1", "1", "0-0", "g-1", "-", "1-18446744073709551616", "%00", "\u{ff}", "", long.as_str()]
    {
        let mut events = Events::open(&site, &format!("Last-Event-ID: {id}\r\n"));
        let (_, name, data) = events.next();
        assert_eq!((name.as_str(), data.to_string().as_str()), ("lost", "{\"lost\":null}"), "{id}");
        events.next_of("DHCPACK");
    }
}

#[test]
fn too_many_streams_are_refused() {
    let site = Site::new("");
    let mut open: Vec<Events> = (0..16).map(|_| Events::open(&site, "")).collect();
    let refused = site.ask("GET", "/api/v1/events", "");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.json()["error"].as_str().unwrap().contains("streams"));
    assert_eq!(site.ask("GET", "/healthz", "").status, 200, "other routes answer");
    open.truncate(15);
    let began = Instant::now();
    // The server notices the end of a stream when it sends the next event.
    loop {
        Client::new(&site.lab, 1).lease();
        let mut stream = site.connect();
        stream.write_all(request("GET", "/api/v1/events", "", "").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        if line.contains("200") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{line}");
    }
}

#[test]
fn readers_that_stop_take_bounded_memory() {
    let _busy = one_busy_at_a_time();
    let site = Site::new("");
    Client::new(&site.lab, 1).lease().expect("a lease");
    let stopped: Vec<Events> = (0..8).map(|_| Events::open(&site, "")).collect();
    let work = |rounds: u32| {
        for _ in 0..rounds {
            // A request for a long name makes a long record.
            let mut stream = TcpStream::connect(("127.0.0.1", site.lab.http)).unwrap();
            let _ = write!(stream, "GET /{} HTTP/1.1\r\nConnection: close\r\n\r\n", "x".repeat(15_000));
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        }
    };
    work(500);
    let before = resident(&site.serving);
    work(4000);
    let grown = resident(&site.serving).saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more");
    drop(stopped);
    let mut events = Events::open(&site, "");
    Client::new(&site.lab, 2).lease().expect("a lease");
    events.next_of("DHCPACK");
}
