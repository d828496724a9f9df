//! A server with a web listener, and requests as bytes, so that wrong ones can be sent too.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use support::lab::{Lab, Serving, free_tcp_port};

/// Longest wait for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub struct Site {
    pub lab: Lab,
    pub serving: Serving,
    pub web: u16,
}

impl Site {
    /// Starts a server whose configuration also has the lines `more`.
    pub fn new(more: &str) -> Site {
        let (lab, web) = (Lab::new(), free_tcp_port());
        lab.write_config(&format!("{}{more}", config(&lab, web)));
        let serving = lab.serve(&["serve"]);
        Site { lab, serving, web }
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.lab.path().join("state/token")).unwrap().trim().to_owned()
    }

    /// Connects to the web listener.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.web)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request with these header lines to the web listener. `Host` is right unless they have one.
    pub fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        answer(self.connect(), &request(method, path, fields, ""))
    }

    /// Like [`Self::ask`], with the token.
    pub fn ask_with_token(&self, method: &str, path: &str) -> Answer {
        self.ask(method, path, &format!("Authorization: Bearer {}\r\n", self.token()))
    }

    /// Sends a request by the control socket.
    pub fn ask_control(&self, method: &str, path: &str) -> Answer {
        let stream = UnixStream::connect(self.lab.path().join("state/control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        answer(stream, &request(method, path, "Host: lanboot\r\n", ""))
    }

    /// The JSON that a GET is answered with.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }
}

/// The text of config.yaml with the web listener at `port`.
pub fn config(lab: &Lab, port: u16) -> String {
    lab.config().replace("web: off\n", &format!("web: {{listen: ['127.0.0.1:{port}']}}\n"))
}

/// The text of a request that is the last of its connection.
pub fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let host = if fields.contains("Host:") { "" } else { "Host: localhost\r\n" };
    format!("{method} {path} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n{body}")
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// 0 if the connection was closed without one.
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends `request` and reads until the end.
pub fn answer(mut stream: impl Read + Write, request: &str) -> Answer {
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
