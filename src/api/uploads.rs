//! `PUT /api/v1/images/{name}`: stores an image in the folder `images` of the state folder, which is searched after the
//! one of the setting `images`. Only with `web.uploads: on`. A file appears under its name when it is complete and on
//! stable storage, and may replace an earlier one. Names follow the rules of TFTP uploads.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::api::error::{Answer, ApiError, Segment};
use crate::api::handles::Api;
use crate::boot::name::BootName;
use crate::event::{Refusal, ServerFact};
use crate::images::{UPLOADED, UploadFile, manifest};
use crate::types::Escaped;

/// Maximum time without a byte from the client. A slow upload may go on as long as bytes come.
const STALL: Duration = Duration::from_secs(30);
/// Maximum number of parts of a body that wait for the disk.
const MAX_WAITING: usize = 8;

/// A stored image.
#[derive(Serialize)]
pub(super) struct UploadView {
    /// The name under which clients request it.
    name: String,
    /// In bytes.
    size: u64,
}

/// Stores the body as the image `name`. Responds 400 for a name that is not allowed, 404 if the folder in the name does
/// not exist, 409 if uploads are off, 413 if the body is longer than `web.max_upload`, 503 while too many uploads run, and
/// 507 if the disk is full.
pub(super) async fn put_image(
    State(api): State<Api>,
    Segment(name): Segment<String>,
    request: Request,
) -> Answer<UploadView> {
    let max = {
        let config = Arc::clone(&api.now.borrow().config);
        config.web.as_ref().filter(|web| web.uploads).map(|web| web.max_upload)
    };
    let off = || ApiError::new(StatusCode::CONFLICT, "uploads are off: set `web.uploads: on` and reload");
    let max = max.ok_or_else(off)?;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let parsed = BootName::parse(name.as_bytes()).map_err(|_| refused(Refusal::BadName))?;
    // No client could request it.
    if parsed.as_str().eq_ignore_ascii_case(manifest::NAME) {
        return Err(refused(Refusal::BadName));
    }
    let name = parsed.as_str().to_owned();
    let permit = api.uploads.begin();
    let permit = permit.ok_or_else(|| ApiError::unavailable("too many uploads are running"))?;
    let (uploads, state) = (api.uploads.clone(), Arc::clone(&api.state));
    let begin = move || {
        let folder = uploads.open(&state).map_err(|error| not_opened(&error))?;
        folder.create_or_replace(&parsed, Ipv4Addr::UNSPECIFIED.into()).map_err(refused)
    };
    let file = spawn_blocking(begin).await.map_err(ApiError::unavailable)??;
    let (sender, parts) = channel(MAX_WAITING);
    let writing = spawn_blocking(move || write(file, parts, permit));
    let received = receive(request.into_body(), max, sender).await;
    let written = writing.await.map_err(ApiError::unavailable)?;
    // The writer knows why the disk refused a part, and the receiver then only that it did.
    let size = match (received, written) {
        (Err(Stop::Client(error)), _) => return Err(error),
        (_, Err(refusal)) => return Err(refused(refusal)),
        (Err(Stop::Writer), Ok(_)) => return Err(refused(Refusal::Io)),
        (Ok(()), Ok(size)) => size,
    };
    if let Some(files) = api.files.get().cloned() {
        let state = Arc::clone(&api.state);
        let served = spawn_blocking(move || files.serve_uploaded(&state.join(UPLOADED))).await;
        served.map_err(ApiError::unavailable)?.map_err(|error| not_opened(&error))?;
    }
    let line = format!("image {} of {size} bytes was uploaded", Escaped(name.as_bytes()));
    api.recorder.server(ServerFact::ChangeMade, line);
    Ok(Json(UploadView { name, size }))
}

/// The reason why a body was not received to its end.
enum Stop {
    Client(ApiError),
    /// The writer has ended.
    Writer,
}

/// Receives the body and passes it to the writer. The last message is the end of the body; without it, the writer
/// discards the file.
async fn receive(mut body: Body, max: u64, sender: tokio::sync::mpsc::Sender<Part>) -> Result<(), Stop> {
    let mut received: u64 = 0;
    loop {
        let frame = timeout(STALL, body.frame()).await.map_err(|_| {
            let message = format!("no data came for {} s", STALL.as_secs());
            Stop::Client(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
        })?;
        let Some(frame) = frame else { break };
        let broken = |error| Stop::Client(ApiError::bad_request(format!("cannot read the body: {error}")));
        let Ok(bytes) = frame.map_err(broken)?.into_data() else { continue };
        received = received.saturating_add(bytes.len() as u64);
        if received > max {
            return Err(Stop::Client(too_large(max)));
        }
        sender.send(Part::Bytes(bytes)).await.map_err(|_| Stop::Writer)?;
    }
    sender.send(Part::End).await.map_err(|_| Stop::Writer)
}

enum Part {
    Bytes(Bytes),
    End,
}

/// Writes the parts, and gives the file its name after the last one. Returns its size. Blocks.
fn write(
    mut file: UploadFile,
    mut parts: Receiver<Part>,
    _permit: OwnedSemaphorePermit,
) -> Result<u64, Refusal> {
    let mut size: u64 = 0;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Bytes(bytes) => {
                file.append(&bytes)?;
                size = size.saturating_add(bytes.len() as u64);
            }
            Part::End => return file.publish().map(|()| size),
        }
    }
    // The receiver has ended the upload, and reports why.
    Ok(size)
}

fn too_large(max: u64) -> ApiError {
    let message = format!("the image is larger than `web.max_upload`, {max} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn not_opened(error: &io::Error) -> ApiError {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return refused(Refusal::DiskFull);
    }
    ApiError::unavailable(format!("cannot use the folder {UPLOADED} in the state folder: {error}"))
}

fn refused(refusal: Refusal) -> ApiError {
    let (status, message) = match refusal {
        Refusal::BadName => (
            StatusCode::BAD_REQUEST,
            "no image may have this name: no part of it may begin with a dot or be `..`, and it may neither end in .j2 nor be \
             manifest.json",
        ),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "the folder in the name does not exist"),
        Refusal::Exists => (StatusCode::CONFLICT, "something that is no file has this name"),
        Refusal::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "the disk is full: the image was not stored"),
        Refusal::UploadsFull => (StatusCode::INSUFFICIENT_STORAGE, "there are too many uploaded images"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the image cannot be written: see the log"),
    };
    ApiError::new(status, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::future::Future as _;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use tokio::time::{Instant, Sleep, sleep};

    /// A body whose parts come after a pause each; `None` is a part that never comes.
    struct Slow {
        pauses: Vec<Option<Duration>>,
        waiting: Option<Pin<Box<Sleep>>>,
    }

    impl futures_core::Stream for Slow {
        type Item = Result<&'static str, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if self.waiting.is_none() {
                let Some(pause) = self.pauses.last() else { return Poll::Ready(None) };
                let Some(pause) = *pause else { return Poll::Pending };
                self.waiting = Some(Box::pin(sleep(pause)));
                self.pauses.pop();
            }
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
            }
            self.waiting = None;
            Poll::Ready(Some(Ok("x")))
        }
    }

    /// The status of an upload whose parts come after these pauses, and the time that it took.
    async fn receive_after(pauses: Vec<Option<Duration>>) -> (Option<StatusCode>, Duration) {
        let (sender, mut parts) = channel(MAX_WAITING);
        let discard = tokio::spawn(async move { while parts.recv().await.is_some() {} });
        let began = Instant::now();
        let received = receive(Body::from_stream(Slow { pauses, waiting: None }), 1000, sender).await;
        discard.await.unwrap();
        let status = match received {
            Ok(()) => None,
            Err(Stop::Client(error)) => Some(error.status),
            Err(Stop::Writer) => Some(StatusCode::INSUFFICIENT_STORAGE),
        };
        (status, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_stalls_ends_and_a_slow_one_goes_on() {
        let slow = STALL - Duration::from_secs(1);
        let (status, took) = receive_after(vec![Some(slow); 100]).await;
        assert!(status.is_none() && took >= slow * 100, "{status:?} after {took:?}");
        let (status, took) = receive_after(vec![None, Some(slow)]).await;
        assert_eq!((status, took), (Some(StatusCode::REQUEST_TIMEOUT), slow + STALL));
    }
}
