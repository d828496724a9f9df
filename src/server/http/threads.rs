//! The threads of the HTTP server. `Server` binds, starts and stops them.

use std::io;
use std::net::TcpListener;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{Admission, Service, Timeouts, bind, serve};
use crate::config::Http;
use crate::content::lookup::Files;
use crate::event::ServerFact;
use crate::net::listeners::{Listeners, addresses_text, listen_addresses, update};
use crate::net::snapshot::{Now, Snapshot};
use crate::net::{StartError, fd_limit};
use crate::record::Recorder;

/// HTTP listeners that are bound but not served yet.
#[derive(Debug)]
pub struct Bound {
    listeners: Listeners<TcpListener>,
    settings: Http,
    service: Service,
}

/// The running threads of the HTTP server. Dropping this ends them and all connections.
///
/// There is one thread fewer than processors, so that the DHCP loop finds one free. A file on a slow disk delays only
/// HTTP.
#[derive(Debug)]
pub struct Threads {
    /// `None` only during `drop`.
    runtime: Option<Runtime>,
    settings: Http,
    service: Service,
    /// Dropping the sender closes the listener of its address; open connections continue.
    listeners: Listeners<oneshot::Sender<()>>,
}

impl Bound {
    /// Binds the TCP port on the addresses of `settings`, or on those of the served interfaces.
    ///
    /// # Errors
    /// An explanation why an address cannot be bound.
    pub fn bind(settings: &Http, now: &Now, files: Files, recorder: &Recorder) -> Result<Bound, StartError> {
        let admission = Admission::new(now.clone());
        let service = Service::new(files, recorder.clone(), Timeouts::DEFAULT, admission);
        service.connections.set_limit_of_one(settings.max_per_client);
        let mut listeners = Vec::new();
        let wanted = listen_addresses(&settings.listen, settings.port, &now.borrow().interfaces);
        match update(&mut listeners, &wanted, bind).1.pop() {
            Some(error) => Err(error),
            None => Ok(Bound { listeners, settings: settings.clone(), service }),
        }
    }

    /// The addresses of the listeners, for log lines.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }
}

impl Threads {
    /// Starts to serve the bound listeners.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(bound: Bound) -> io::Result<Threads> {
        let Bound { listeners, settings, service } = bound;
        fd_limit::raise();
        let processors = available_parallelism().map_or(1, NonZero::get);
        let threads = processors.saturating_sub(1).max(1);
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("http").enable_all().build()?;
        let head_bytes =
            listeners.into_iter().map(|(at, listener)| (at, begin(&runtime, listener, &service)));
        let listeners = head_bytes.collect();
        Ok(Threads { runtime: Some(runtime), settings, service, listeners })
    }

    /// Updates limits and listeners for `snapshot`; open connections continue. Returns whether the listeners changed,
    /// and the errors of listeners that could not be opened.
    pub fn follow(&mut self, snapshot: &Snapshot) -> (bool, Vec<StartError>) {
        if let Some(settings) = &snapshot.config.http {
            self.settings = settings.clone();
            self.service.connections.set_limit_of_one(settings.max_per_client);
        }
        let Some(runtime) = &self.runtime else { return (false, Vec::new()) };
        let wanted = listen_addresses(&self.settings.listen, self.settings.port, &snapshot.interfaces);
        update(&mut self.listeners, &wanted, |at| Ok(begin(runtime, bind(at)?, &self.service)))
    }

    /// The addresses that `snapshot` adds by another port or other addresses in the configuration, and that cannot be
    /// bound. Nothing changes.
    pub fn refused(&self, snapshot: &Snapshot) -> Vec<StartError> {
        let Some(new) = &snapshot.config.http else { return Vec::new() };
        if (new.port, &new.listen) == (self.settings.port, &self.settings.listen) {
            return Vec::new();
        }
        let wanted = listen_addresses(&new.listen, new.port, &snapshot.interfaces);
        let missing = wanted.into_iter().filter(|at| self.listeners.iter().all(|(open, _)| open != at));
        missing.filter_map(|at| bind(at).err()).collect()
    }

    /// The addresses of the listeners, for log lines.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }

    /// Closes the listeners, and ends the idle connections. Those with a request continue.
    pub fn close_listeners(&mut self) {
        self.close();
        self.listeners.clear();
    }

    /// Accepts no more connections, and ends the idle ones.
    pub fn close(&self) {
        self.service.stopping.close();
    }

    /// Ends all connections, each with its event, which takes a moment.
    pub fn end(&self) {
        self.service.stopping.end();
    }

    /// The number of open connections.
    pub fn active_connections(&self) -> usize {
        self.service.connections.count()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Unlike a blocking shutdown, this also works in a task of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves `listener` until the returned sender is dropped.
fn begin(runtime: &Runtime, listener: TcpListener, service: &Service) -> oneshot::Sender<()> {
    let (sender, closed) = oneshot::channel();
    let service = service.clone();
    runtime.spawn(async move {
        // An error means that the sender was dropped.
        let closed = async { drop(closed.await) };
        let recorder = service.recorder.clone();
        if let Err(error) = serve(listener, service, closed).await {
            recorder.server(ServerFact::CannotListen, format!("HTTP cannot be served: {error}"));
        }
    });
    sender
}
