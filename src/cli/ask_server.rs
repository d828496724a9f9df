//! Sends requests to the running server through its control socket. The commands that need the server call it.

use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::config_file::{BAD_CONFIG, Given, state_folder};
use super::output;
use crate::server::web::control::control_path;

/// Maximum time to wait for the server's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of the server's answer in bytes. A machine takes about 300 bytes, so this is for 200,000 machines.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// No server runs with this state folder.
    NoServer,
    /// The server did what was asked. The body is JSON.
    Done(Bytes),
    /// The server's reason, without a line end.
    Refused(String),
}

/// Sends an empty POST request for `path` to the server with the state folder `state`, and waits for the answer.
///
/// # Errors
/// The server cannot be asked, or does not answer.
pub(super) fn post(state: &Path, path: &str) -> Result<Answer, String> {
    ask(state, Method::POST, path, None)
}

/// Sends a request, and waits for the answer. `json` is the body.
///
/// # Errors
/// The server cannot be asked, or does not answer.
pub(super) fn ask(
    state: &Path,
    method: Method,
    path: &str,
    json: Option<&serde_json::Value>,
) -> Result<Answer, String> {
    let socket = control_path(state);
    let fail = |error: &dyn Display| format!("cannot ask the server at {}: {error}", socket.display());
    let request = request(method, path, json).map_err(|error| fail(&error))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| fail(&error))?;
    runtime.block_on(async {
        let stream = match UnixStream::connect(&socket).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(Answer::NoServer);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(fail(
                    &"only root, the user that it runs as and the group lanboot may; try with sudo",
                ));
            }
            Err(error) => return Err(fail(&error)),
        };
        let answered = timeout(ANSWER_TIMEOUT, send(stream, request)).await;
        answered.map_err(|_| fail(&"it does not answer"))?.map_err(|error| fail(&error))
    })
}

fn request(
    method: Method,
    path: &str,
    json: Option<&serde_json::Value>,
) -> hyper::http::Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header(hyper::header::HOST, "lanboot");
    match json {
        Some(json) => {
            request.header(hyper::header::CONTENT_TYPE, "application/json").body(Full::from(json.to_string()))
        }
        None => request.body(Full::default()),
    }
}

async fn send(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the response, which also reports its errors.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    if status.is_success() {
        return Ok(Answer::Done(body));
    }
    Ok(Answer::Refused(reason(status, &body)))
}

/// The reason in the body of an error, or the status if there is none.
fn reason(status: StatusCode, body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body.get("error").and_then(|why| why.as_str()).map_or(status.to_string(), str::to_owned)
}

/// The server that a command asks, and the name of the command for its messages.
#[derive(Debug)]
pub(super) struct Server<'a> {
    state: PathBuf,
    command: &'a str,
}

impl<'a> Server<'a> {
    /// The server that the options of the command line name.
    ///
    /// # Errors
    /// Exit code 2 if there is no configuration, after printing the reason.
    pub(super) fn given(given: Given<'_>, command: &'a str) -> Result<Server<'a>, ExitCode> {
        match state_folder(given) {
            Ok(state) => Ok(Server { state, command }),
            Err(error) => {
                output::print_error(format_args!("lanboot: {error}"));
                Err(ExitCode::from(BAD_CONFIG))
            }
        }
    }

    /// Sends a request like [`ask`], and returns the body of the answer.
    ///
    /// # Errors
    /// Exit code 1 if there is no answer or the server refuses, after printing the reason.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        json: Option<&serde_json::Value>,
    ) -> Result<Bytes, ExitCode> {
        let why = match ask(&self.state, method, path, json) {
            Ok(Answer::Done(body)) => return Ok(body),
            Ok(Answer::Refused(why)) => why,
            Ok(Answer::NoServer) => self.no_server(),
            Err(why) => why,
        };
        Err(self.fail(&why))
    }

    /// Prints the reason why the command failed, and returns exit code 1.
    pub(super) fn fail(&self, why: &str) -> ExitCode {
        output::print_error(format_args!("lanboot {}: {why}", self.command));
        ExitCode::FAILURE
    }

    fn no_server(&self) -> String {
        format!(
            "no server runs with the state folder {}: start it with `systemctl start lanboot` or `lanboot serve`, or name its \
             folder with --state DIR",
            self.state.display()
        )
    }

    /// Sends an empty POST request for each of `items`, and prints for each the line that `done` makes of the answer, or the
    /// reason of a failure. A server that does not answer is asked once. The exit code is 1 if one of them failed.
    pub(super) fn post_each(
        &self,
        items: &[String],
        path: impl Fn(&str) -> String,
        done: impl Fn(&str, &[u8]) -> String,
    ) -> ExitCode {
        let mut result = ExitCode::SUCCESS;
        for item in items {
            match post(&self.state, &path(&segment(item))) {
                // A closed pipe must not keep the other requests from being sent.
                Ok(Answer::Done(body)) => drop(writeln!(std::io::stdout(), "{}", done(item, &body))),
                Ok(Answer::Refused(why)) => result = self.fail(&format!("{item}: {why}")),
                Ok(Answer::NoServer) => return self.fail(&self.no_server()),
                Err(why) => return self.fail(&why),
            }
        }
        result
    }

    /// Sends a GET request, and reads the answer.
    ///
    /// # Errors
    /// As for [`Server::ask`], or if the answer is not the JSON that this version of lanboot expects.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ExitCode> {
        let body = self.ask(Method::GET, path, None)?;
        serde_json::from_slice(&body).map_err(|error| {
            self.fail(&format!(
                "cannot read the server's answer to GET {path}: {error}; does another version of lanboot run?"
            ))
        })
    }

    /// Sends a GET request, and prints the JSON of the answer.
    pub(super) fn print_json(&self, path: &str) -> ExitCode {
        match self.ask(Method::GET, path, None) {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body);
                output::print(&format!("{}\n", text.trim_end()))
            }
            Err(code) => code,
        }
    }
}

/// `text` as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b':' => {
                segment.push(char::from(byte));
            }
            // Clients and proxies remove the segments `.` and `..`, but not encoded ones.
            b'.' if !matches!(text, "." | "..") => segment.push('.'),
            // Writing to a String does not fail.
            _ => drop(write!(segment, "%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        assert_eq!(segment("52:54:00:12:34:56"), "52:54:00:12:34:56");
        assert_eq!(segment("a/../b?c#d e%ä"), "a%2F..%2Fb%3Fc%23d%20e%25%C3%A4");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[test]
    fn the_reason_is_the_error_or_the_status() {
        let status = StatusCode::CONFLICT;
        assert_eq!(reason(status, b"{\"error\": \"it is free\"}"), "it is free");
        assert_eq!(reason(status, b"<html>"), "409 Conflict");
    }
}
