//! The control socket: HTTP/1.1 over a unix socket, through which commands reach the running server. It has the routes of
//! the API (`api/`), and needs no token.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::api::client::Client;
use crate::privileges;
use crate::server::web::stall::Stalling;
use crate::store::create_state_folder;

/// Maximum number of connections. Further ones replace the longest idle one, or wait in the kernel if all have
/// requests.
const MAX_CONNECTIONS: usize = 16;
/// Interval at which a full server checks for ended connections.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Maximum bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// Maximum time to receive a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval at which the server looks whether the socket still exists.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const INSTALLED: &str = "/run/lanboot/control.sock";

/// The path of the control socket of the server with this `state` folder. It is `/run/lanboot/control.sock` for the
/// installed service, and inside the state folder for any other server, so that servers do not collide.
pub fn control_path(state: &Path) -> PathBuf {
    if state == Path::new("/var/lib/lanboot") { PathBuf::from(INSTALLED) } else { state.join("control.sock") }
}

/// The bound control socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    listener: UnixListener,
    service: Service,
}

/// Everything that a connection needs to answer requests.
#[derive(Clone, Debug)]
struct Service {
    router: Router,
    /// Whether the socket has the group `lanboot`, so that every user who can open it is allowed.
    group_is_allowed: bool,
}

impl Control {
    /// Binds the socket for the server that holds the lock of the state folder `state`. A stale socket of a killed
    /// server is replaced; a socket with a listener is not. Requests are passed to `router`.
    ///
    /// # Errors
    /// Advice for the log, if the socket cannot be made.
    pub fn bind(state: &Path, router: Router) -> Result<Control, String> {
        let path = control_path(state);
        let listener = listen(&path).map_err(|error| {
            format!(
                "cannot make the control socket {}: {error}; `lanboot leases release` works only while the server is \
                 stopped, and `lanboot reload` does not work: send SIGHUP instead",
                path.display()
            )
        })?;
        let group_is_allowed = privileges::give_to_group(&path);
        let service = Service { router, group_is_allowed };
        Ok(Control { path, listener, service })
    }

    /// Serves until the future is dropped. If the socket is deleted, for example with the state folder, a new one is
    /// bound in its place.
    pub async fn serve(mut self) {
        let mut connections = Connections::default();
        loop {
            let listener = match tokio::net::UnixListener::from_std(self.listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::warn!("cannot serve the control socket: {error}"),
            };
            tokio::select! {
                () = accept(&listener, &self.service, &mut connections) => return,
                new = bound_again(self.path.clone()) => self.listener = new,
            }
            self.service.group_is_allowed = privileges::give_to_group(&self.path);
        }
    }
}

/// Accepts connections forever.
async fn accept(listener: &tokio::net::UnixListener, service: &Service, connections: &mut Connections) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.make_room().await;
                let has_request = Arc::new(AtomicBool::new(false));
                let conversation = serve_connection(stream, service.clone(), Arc::clone(&has_request));
                let task = tokio::spawn(conversation);
                connections.0.push_back(Connection { task, has_request });
            }
            Err(error) => {
                tracing::warn!("cannot accept on the control socket: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Waits until there is no socket at `path`, and its folder exists. Then binds a new one. The folder is made by the
/// store, which writes the leases again.
async fn bound_again(path: PathBuf) -> UnixListener {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let place = path.clone();
        // A network file system may keep this waiting.
        let look = move || {
            let is_gone =
                place.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            let has_folder = place.parent().is_some_and(Path::is_dir);
            (is_gone && has_folder).then(|| listen(&place))
        };
        if let Ok(Some(Ok(listener))) = tokio::task::spawn_blocking(look).await {
            tracing::warn!("the control socket {} was deleted, and is made again", path.display());
            return listener;
        }
    }
}

/// The open connections, oldest first.
#[derive(Default)]
struct Connections(VecDeque<Connection>);

struct Connection {
    task: JoinHandle<()>,
    /// Whether its request has been read.
    has_request: Arc<AtomicBool>,
}

impl Connections {
    /// Waits until there is room for one more connection. The longest idle one is closed; one that waits for a response
    /// is never closed.
    async fn make_room(&mut self) {
        loop {
            self.0.retain(|connection| !connection.task.is_finished());
            if self.0.len() < MAX_CONNECTIONS {
                return;
            }
            let idle = |connection: &Connection| !connection.has_request.load(Ordering::Acquire);
            match self.0.iter().position(idle).and_then(|place| self.0.remove(place)) {
                Some(idle) => {
                    idle.task.abort();
                    // Its memory and descriptor are only free when the task has ended.
                    let _ = idle.task.await;
                }
                None => tokio::time::sleep(FULL_PAUSE).await,
            }
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.iter().for_each(|connection| connection.task.abort());
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match path.parent() {
        Some(folder) if path == Path::new(INSTALLED) => std::fs::create_dir_all(folder)?,
        Some(folder) => create_state_folder(folder)?,
        None => {}
    }
    if path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve_connection(stream: UnixStream, service: Service, has_request: Arc<AtomicBool>) {
    let user = stream.peer_cred().map(|peer| peer.uid());
    let is_own = |user| user == 0 || user == nix::unistd::geteuid().as_raw();
    let is_allowed = service.group_is_allowed || user.is_ok_and(is_own);
    let router = TowerToHyperService::new(service.router);
    let answer_request = service_fn(move |mut request: Request<Incoming>| {
        has_request.store(true, Ordering::Release);
        request.extensions_mut().insert(Client::Control { is_allowed });
        router.call(request)
    });
    // A client that does not speak HTTP gets no response.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Stalling::new(stream)), answer_request)
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_installed_service_uses_the_fixed_path() {
        assert_eq!(control_path(Path::new("/var/lib/lanboot")), Path::new("/run/lanboot/control.sock"));
        assert_eq!(control_path(Path::new("/var/lib/lanboot/")), Path::new("/run/lanboot/control.sock"));
        assert_eq!(control_path(Path::new("/tmp/x")), Path::new("/tmp/x/control.sock"));
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = listen(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        listen(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        assert!(listen(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    }
}
