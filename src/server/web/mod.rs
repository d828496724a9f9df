//! The listeners of the API: the control socket (`control.rs`), and the web listener, which is the API by TCP, on
//! loopback or with TLS. `Server` binds them. `drain.rs` closes the web listener, which follows the snapshot. The routes
//! are in `api/`; this folder never looks at a request.

mod connection;
pub mod control;
mod stall;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use crate::api::handles::Api;
use crate::api::refusals::Reason;
use crate::api::router;
use crate::api::slots::Slots;
use crate::config::{Config, Web as Settings};
use crate::event::ServerFact;
use crate::net::StartError;
use crate::net::snapshot::Snapshot;

/// Maximum number of connections in all, and of one address. A browser opens six for a page.
const MAX_CONNECTIONS: (usize, usize) = (256, 64);
/// Pause after the kernel refused a connection, such as without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Bound listeners that are not served yet.
#[derive(Debug)]
pub(super) struct Bound {
    listeners: Vec<(SocketAddr, TcpListener)>,
    config: Arc<Config>,
    api: Api,
}

/// The running web listeners. Dropping this closes them and all connections.
#[derive(Debug)]
pub(super) struct Web {
    shared: Shared,
    /// The configuration that the listeners follow.
    config: Arc<Config>,
    /// Dropping the sender closes the listener; its connections end after their answers.
    listeners: Vec<(SocketAddr, watch::Sender<()>)>,
    /// Dropping it ends every connection.
    _running: watch::Sender<()>,
}

/// Everything that connections share.
#[derive(Clone, Debug)]
struct Shared {
    api: Api,
    router: Router,
    connections: Slots,
    /// `None` without a certificate.
    tls: Arc<Mutex<Option<Arc<ServerConfig>>>>,
    running: watch::Receiver<()>,
}

impl Bound {
    /// Binds the addresses of `config`. The second value is a warning for each default address that is taken.
    ///
    /// # Errors
    /// An address of the file cannot be bound.
    pub(super) fn bind(config: &Arc<Config>, api: &Api) -> Result<(Bound, Vec<String>), StartError> {
        let (mut listeners, mut warnings) = (Vec::new(), Vec::new());
        if let Some(settings) = &config.web {
            for address in &settings.listen {
                match bind(*address) {
                    Ok(listener) => listeners.push((*address, listener)),
                    Err(error) if settings.is_listen_given => return Err(error),
                    Err(error) => warnings.push(error.to_string()),
                }
            }
        }
        Ok((Bound { listeners, config: Arc::clone(config), api: api.clone() }, warnings))
    }

    /// The line for the start; `None` if there are no addresses.
    pub(super) fn summary(&self) -> Option<String> {
        let urls = self.listeners.iter().map(|(address, _)| url(*address, self.config.web.as_ref()));
        let urls: Vec<String> = urls.collect();
        (!urls.is_empty()).then(|| format!("API on {}", urls.join(", ")))
    }

    /// Reads the certificate. Call it after the process has given up its rights, because reloads read it again.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read_certificate(&self) -> Result<Option<Arc<ServerConfig>>, StartError> {
        certificate(&self.config).map_err(StartError)
    }

    /// Serves the listeners, with the certificate `tls`. Call it in the runtime.
    pub(super) fn start(self, tls: Option<Arc<ServerConfig>>) -> Web {
        let (sender, running) = watch::channel(());
        let (all, of_one) = MAX_CONNECTIONS;
        let shared = Shared {
            router: router(&self.api),
            api: self.api,
            connections: Slots::new(all, of_one),
            tls: Arc::new(Mutex::new(tls)),
            running,
        };
        let mut web = Web { shared, config: self.config, listeners: Vec::new(), _running: sender };
        self.listeners.into_iter().for_each(|(address, listener)| web.open(address, listener));
        web
    }
}

impl Web {
    /// The reasons why the listeners cannot change to `snapshot`. Nothing changes.
    pub(super) fn refused(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut refused: Vec<String> = certificate(&snapshot.config).err().into_iter().collect();
        let settings = snapshot.config.web.iter().filter(|settings| settings.is_listen_given);
        let wanted = settings.flat_map(|settings| &settings.listen);
        let missing = wanted.filter(|address| self.listeners.iter().all(|(open, _)| open != *address));
        refused.extend(missing.filter_map(|address| bind(*address).err()).map(|error| error.to_string()));
        refused
    }

    /// Closes and opens listeners for `snapshot`, and reads the certificate again after a reload. Returns the errors of
    /// addresses that cannot be bound.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Vec<StartError> {
        let mut refused = Vec::new();
        if !Arc::ptr_eq(&self.config, &snapshot.config) {
            self.config = Arc::clone(&snapshot.config);
            match certificate(&self.config) {
                Ok(tls) => *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls,
                Err(error) => refused.push(StartError(error)),
            }
        }
        let settings = self.config.web.clone();
        let wanted: Vec<SocketAddr> =
            settings.iter().flat_map(|settings| settings.listen.iter().copied()).collect();
        self.listeners.retain(|(address, _)| {
            let stays = wanted.contains(address);
            if !stays {
                let text = format!("the web listener on {address} is closed");
                self.shared.api.recorder.server(ServerFact::ServiceChanged, text);
            }
            stays
        });
        for address in wanted {
            if self.listeners.iter().any(|(open, _)| *open == address) {
                continue;
            }
            match bind(address) {
                Ok(listener) => {
                    let text = format!("API on {}", url(address, settings.as_ref()));
                    self.shared.api.recorder.server(ServerFact::ServiceChanged, text);
                    self.open(address, listener);
                }
                Err(error) => refused.push(error),
            }
        }
        refused
    }

    fn open(&mut self, address: SocketAddr, listener: TcpListener) {
        let (sender, closed) = watch::channel(());
        let shared = self.shared.clone();
        tokio::spawn(async move { accept(listener, address, shared, closed).await });
        self.listeners.push((address, sender));
    }
}

fn url(address: SocketAddr, settings: Option<&Settings>) -> String {
    let has_tls = settings.is_some_and(|settings| settings.tls.is_some());
    format!("http{}://{address}", if has_tls && needs_tls(address) { "s" } else { "" })
}

/// Whether TLS is used at `address`, if there is a certificate.
fn needs_tls(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

fn certificate(config: &Config) -> Result<Option<Arc<ServerConfig>>, String> {
    config.web.as_ref().and_then(|settings| settings.tls.as_ref()).map(tls::load).transpose()
}

/// Checks that the certificate and the key of `config` can be used. `lanboot check` calls it.
///
/// # Errors
/// They cannot, with the key of config.yaml.
pub fn check_certificate(config: &Config) -> Result<(), String> {
    certificate(config).map(drop)
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "`ss -ltnp` shows the program that has it; set another in `web.listen`, or `web: off`"
            }
            std::io::ErrorKind::AddrNotAvailable => "set an address of this computer in `web.listen`",
            _ => "set another in `web.listen`",
        };
        StartError(format!("cannot listen for the API at {address}: {error}: {advice}"))
    })
}

/// Accepts connections until the sender of `closed` is dropped.
async fn accept(listener: TcpListener, address: SocketAddr, shared: Shared, mut closed: watch::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            let text = format!("cannot serve the API at {address}: {error}");
            return shared.api.recorder.server(ServerFact::CannotListen, text);
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(slot) = admit(&shared, peer) else { continue };
                let tls = shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let tls = tls.filter(|_| needs_tls(address));
                let (router, running) = (shared.router.clone(), shared.running.clone());
                let (closed, mut running) = (closed.clone(), running);
                tokio::spawn(async move {
                    let _slot = slot;
                    tokio::select! {
                        () = connection::serve(stream, peer, tls, router, closed) => {}
                        _ = running.changed() => {}
                    }
                });
            }
            Err(error) => {
                let text = format!("cannot accept connections of the API at {address}: {error}");
                shared.api.recorder.server(ServerFact::CannotReceive, text);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes a slot for a new connection, if its client may connect.
fn admit(shared: &Shared, peer: SocketAddr) -> Option<crate::api::slots::Slot> {
    let address = peer.ip().to_canonical();
    let config = Arc::clone(&shared.api.now.borrow().config);
    let allow = config.web.as_ref().map(|settings| settings.allow.as_slice()).unwrap_or_default();
    let is_allowed = allow.is_empty()
        || address.is_loopback()
        || matches!(address, std::net::IpAddr::V4(address) if allow.iter().any(|network| network.contains(address)));
    if !is_allowed {
        shared.api.refusals.count(Reason::NotAllowed);
        return None;
    }
    let slot = shared.connections.take(address);
    if slot.is_none() {
        shared.api.refusals.count(Reason::TooManyConnections);
    }
    slot
}
