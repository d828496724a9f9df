//! The threads that HTTP has for itself.

use std::io;
use std::net::TcpListener;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{Service, bind, serve};
use crate::config::Http;
use crate::net::listeners::{Listeners, addresses_text, listen_addresses, update};
use crate::net::served::Served;
use crate::net::{StartError, fd_limit};

/// HTTP with its sockets bound.
#[derive(Debug)]
pub struct Bound {
    listeners: Listeners<TcpListener>,
    settings: Http,
    service: Service,
}

/// The threads that HTTP has for itself. They end when this is dropped, and with them all connections.
///
/// They are one fewer than there are processors, where there are two: the DHCP loop then finds one free. And a file
/// that has to come from a slow disk holds up nobody but HTTP.
#[derive(Debug)]
pub struct Threads {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    settings: Http,
    service: Service,
    /// What ends the listener of each address when it is dropped; its connections go on.
    listeners: Listeners<oneshot::Sender<()>>,
}

impl Bound {
    /// Binds the TCP port on the addresses of `settings`, or those of what is `served`.
    ///
    /// # Errors
    /// Why one cannot be bound, for a person.
    pub fn bind(settings: &Http, served: &Served, service: Service) -> Result<Bound, StartError> {
        let mut listeners = Vec::new();
        let wanted = listen_addresses(&settings.listen, settings.port, served);
        match update(&mut listeners, &wanted, bind).1.pop() {
            Some(error) => Err(error),
            None => Ok(Bound { listeners, settings: settings.clone(), service }),
        }
    }

    /// Where it listens, for people.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }
}

impl Threads {
    /// Serves the connections that arrive at what was bound.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(bound: Bound) -> io::Result<Threads> {
        let Bound { listeners, settings, service } = bound;
        fd_limit::raise();
        let processors = available_parallelism().map_or(1, NonZero::get);
        let threads = processors.saturating_sub(1).max(1);
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("http").enable_all().build()?;
        let begun = listeners.into_iter().map(|(at, listener)| (at, begin(&runtime, listener, &service)));
        let listeners = begun.collect();
        Ok(Threads { runtime: Some(runtime), settings, service, listeners })
    }

    /// Accepts connections at the addresses of what is served now; those that are open go on. Whether that is a change,
    /// and what cannot be done.
    pub fn follow(&mut self, served: &Served) -> (bool, Vec<StartError>) {
        let Some(runtime) = &self.runtime else { return (false, Vec::new()) };
        let wanted = listen_addresses(&self.settings.listen, self.settings.port, served);
        update(&mut self.listeners, &wanted, |at| Ok(begin(runtime, bind(at)?, &self.service)))
    }

    /// Where it listens, for people.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }

    /// Accepts no more connections and ends those that are being answered nothing.
    pub fn close(&self) {
        self.service.stopping.close();
    }

    /// Ends all connections, each with its event. It takes them a moment.
    pub fn end(&self) {
        self.service.stopping.end();
    }

    /// Connections that are open.
    pub fn under_way(&self) -> usize {
        self.service.connections.count()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime that waited for its threads could not be dropped by a task of another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves what comes to `listener` until what is returned is dropped.
fn begin(runtime: &Runtime, listener: TcpListener, service: &Service) -> oneshot::Sender<()> {
    let (sender, closed) = oneshot::channel();
    let service = service.clone();
    runtime.spawn(async move {
        // An error says that the other end was dropped.
        let closed = async { drop(closed.await) };
        if let Err(error) = serve(listener, service, closed).await {
            tracing::error!("HTTP cannot be served: {error}");
        }
    });
    sender
}
