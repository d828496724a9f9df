//! The threads that HTTP has for itself.

use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

use super::{Service, serve};
use crate::server::descriptors;

/// The threads that HTTP has for itself. They end when this is dropped, and with them all connections.
///
/// They are one fewer than there are processors, where there are two: the DHCP loop then finds one free. And a file
/// that has to come from a slow disk holds up nobody but HTTP.
#[derive(Debug)]
pub struct Threads {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    service: Service,
}

impl Threads {
    /// Serves the connections that arrive at all `listeners`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(listeners: Vec<std::net::TcpListener>, service: &Service) -> io::Result<Threads> {
        descriptors::raise();
        let processors = available_parallelism().map_or(1, NonZero::get);
        let threads = processors.saturating_sub(1).max(1);
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("http").enable_all().build()?;
        for listener in listeners {
            let service = service.clone();
            runtime.spawn(async move {
                if let Err(error) = serve(listener, service).await {
                    tracing::error!("HTTP cannot be served: {error}");
                }
            });
        }
        Ok(Threads { runtime: Some(runtime), service: service.clone() })
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
