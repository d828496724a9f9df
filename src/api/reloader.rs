//! The way to `server/watch.rs`, which carries reloads out. `POST /api/v1/reload` and SIGHUP take it, and
//! changes of people to the running server.

use tokio::sync::{mpsc, oneshot};

/// Maximum number of requests that wait. Each one reads the file again, so more would only take time.
const MAX_REQUESTS: usize = 4;

/// The reasons why the configuration was not reloaded, one line each.
pub type Problems = Vec<String>;

/// Makes the running server reload its configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Request>);

/// A request to the watch task, and the way to answer it.
#[derive(Debug)]
pub enum Request {
    /// Read the configuration file again.
    Reload(oneshot::Sender<Result<(), Problems>>),
    /// Apply the stored changes of people to the settings.
    ApplyChanges(oneshot::Sender<()>),
}

impl Reloader {
    /// A reloader, and its requests for the watch task.
    pub fn new() -> (Reloader, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(MAX_REQUESTS);
        (Reloader(sender), requests)
    }

    /// Reloads the configuration, and waits until the server uses it.
    ///
    /// # Errors
    /// The problems of the file. The server keeps the configuration that it has.
    pub async fn reload(&self) -> Result<(), Problems> {
        let stopping = || vec!["the server is stopping".to_owned()];
        let (sender, answer) = oneshot::channel();
        self.0.send(Request::Reload(sender)).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Applies the stored changes to the settings, and waits until the server uses them. Does nothing if the server is
    /// stopping: the next start applies them.
    pub async fn apply_changes(&self) {
        let (sender, answer) = oneshot::channel();
        if self.0.send(Request::ApplyChanges(sender)).await.is_ok() {
            let _ = answer.await;
        }
    }
}
