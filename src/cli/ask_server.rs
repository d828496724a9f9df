//! Sends a request to the running server through its control socket. The commands that need the server call it.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::server::control::control_path;

/// Maximum time to wait for the server's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of the server's answer in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// No server runs with this state folder.
    NoServer,
    Done,
    /// The server's reason, without a line end.
    Refused(String),
}

/// Sends an empty POST request for `path` to the server with the state folder `state`, and waits for the answer.
///
/// # Errors
/// The server cannot be asked, or does not answer.
pub(super) fn post(state: &Path, path: &str) -> Result<Answer, String> {
    let socket = control_path(state);
    let fail =
        |error: &dyn std::fmt::Display| format!("cannot ask the server at {}: {error}", socket.display());
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
        let answered = timeout(ANSWER_TIMEOUT, send(stream, path)).await;
        answered.map_err(|_| fail(&"it does not answer"))?.map_err(|error| fail(&error))
    })
}

async fn send(stream: UnixStream, path: &str) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the response, which also reports its errors.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(hyper::header::HOST, "lanboot")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    if status.is_success() {
        return Ok(Answer::Done);
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let why = body.get("error").and_then(|why| why.as_str()).map_or(status.to_string(), str::to_owned);
    Ok(Answer::Refused(why))
}
