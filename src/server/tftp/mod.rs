//! TFTP, whichever engine serves it: bind → run → stop.

pub mod async_tftp;
pub mod native;
pub mod upload;
mod upload_places;

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Tftp};
use crate::content::lookup::Files;
use crate::event::Event;
use crate::net::listeners::{Listeners, addresses_text, listen_addresses, update};
use crate::net::quota::Quota;
use crate::net::served::{Now, Served};
use crate::net::{StartError, bind_error};
use crate::record::Recorder;
use crate::server::tftp::upload::Uploads;
use crate::tftp::Engine;

/// What serves files, with its sockets bound.
#[derive(Debug)]
pub struct Transfers {
    listeners: Listeners<Arc<native::Listener>>,
    settings: Tftp,
    files: Files,
    uploads: Option<Uploads>,
    served: Now,
}

/// What serves them now.
#[derive(Debug)]
pub struct Running {
    listeners: Listeners<Arc<native::Listener>>,
    settings: Tftp,
    engine: RunningEngine,
}

#[derive(Debug)]
enum RunningEngine {
    /// lanboot's own engine.
    Native(native::Engine),
    /// The crate async-tftp.
    AsyncTftp {
        /// Ends all transfers when it is aborted.
        task: JoinHandle<()>,
        listeners: watch::Sender<native::Listeners>,
        under_way: Quota,
        closing: Arc<AtomicBool>,
    },
}

impl Transfers {
    /// Binds the port of requests on the addresses of `settings`, or those of what is `served`, and opens the folder
    /// for uploads.
    pub fn bind(settings: &Tftp, served: Now, files: Files) -> Result<Transfers, StartError> {
        let mut listeners = Vec::new();
        let (_, mut refused) = arrange(&mut listeners, settings, &served.borrow());
        if let Some(error) = refused.pop() {
            return Err(error);
        }
        let uploads = settings.uploads.as_ref().map(open_uploads).transpose()?;
        Ok(Transfers { listeners, settings: settings.clone(), files, uploads, served })
    }

    /// Where it listens, for people.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }

    /// Begins to serve.
    pub fn start(self, recorder: &Recorder) -> io::Result<Running> {
        let Transfers { listeners, settings, files, uploads, served } = self;
        let (limits, ports) = (settings.limits.clone(), settings.ports);
        let (recorder, sent_by) = (recorder.clone(), files.clone());
        let record = move |event: Event| {
            if let Event::TftpSent { file, peer, bytes, .. } = &event {
                sent_by.sent(file, 0..*bytes, *bytes, *peer.ip());
            }
            recorder.record("tftp", &event);
        };
        let engine = if settings.engine == Engine::Native {
            let service = native::Service { files, uploads, limits, ports, served, record };
            RunningEngine::Native(native::start(all(&listeners), service)?)
        } else {
            let (under_way, closing) = (Quota::default(), Arc::default());
            let (counted, closed) = (under_way.clone(), Arc::clone(&closing));
            let service =
                async_tftp::Service { files, limits, served, under_way: counted, closing: closed, record };
            let (sender, receiver) = watch::channel(all(&listeners));
            let task = tokio::spawn(async_tftp::serve_all(receiver, service));
            RunningEngine::AsyncTftp { task, listeners: sender, under_way, closing }
        };
        Ok(Running { listeners, settings, engine })
    }
}

fn open_uploads(settings: &config::Uploads) -> Result<Uploads, StartError> {
    Uploads::open(settings).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => format!("; {}", settings.how_to_make()),
            _ => String::new(),
        };
        StartError(format!("{error}{advice}"))
    })
}

impl Running {
    /// Takes requests at the addresses of what is served now. Whether that is a change, and what cannot be done.
    pub fn follow(&mut self, served: &Served) -> (bool, Vec<StartError>) {
        let (changed, refused) = arrange(&mut self.listeners, &self.settings, served);
        if changed {
            let listeners = all(&self.listeners);
            match &self.engine {
                RunningEngine::Native(engine) => engine.listen(&listeners),
                RunningEngine::AsyncTftp { listeners: told, .. } => drop(told.send_replace(listeners)),
            }
        }
        (changed, refused)
    }

    /// Where it listens, for people.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }

    /// Ends all transfers.
    pub async fn stop(self) {
        match self.engine {
            RunningEngine::Native(engine) => engine.stop(),
            RunningEngine::AsyncTftp { task, .. } => {
                task.abort();
                // It says that it was aborted.
                let _ = task.await;
            }
        }
    }

    /// Begins no more transfers.
    pub fn close(&self) {
        match &self.engine {
            RunningEngine::Native(engine) => engine.close(),
            RunningEngine::AsyncTftp { closing, .. } => closing.store(true, Ordering::Release),
        }
    }

    /// Transfers that have not ended.
    pub fn under_way(&self) -> usize {
        match &self.engine {
            RunningEngine::Native(engine) => engine.under_way(),
            RunningEngine::AsyncTftp { under_way, .. } => under_way.count(),
        }
    }
}

fn all(listeners: &Listeners<Arc<native::Listener>>) -> native::Listeners {
    listeners.iter().map(|(_, listener)| Arc::clone(listener)).collect()
}

/// Makes the listeners those at the addresses of `settings`, or of what is `served`, each with its interface's MTU.
fn arrange(
    listeners: &mut Listeners<Arc<native::Listener>>,
    settings: &Tftp,
    served: &Served,
) -> (bool, Vec<StartError>) {
    const ETHERNET_MTU: u32 = 1500;
    let mtu_of = |address: &SocketAddrV4| served.with_address(*address.ip()).map(|interface| interface.mtu);
    let wanted = listen_addresses(&settings.listen, settings.port, served);
    let (mut changed, refused) = update(listeners, &wanted, |address| {
        let socket = native::listen(address)
            .map_err(|error| bind_error::explain(address, "tftp.port", false, &error))?;
        let mtu = mtu_of(&address).unwrap_or(ETHERNET_MTU);
        Ok(Arc::new(native::Listener { socket: Arc::new(socket), mtu }))
    });
    for (address, listener) in listeners {
        if let Some(mtu) = mtu_of(address).filter(|mtu| *mtu != listener.mtu) {
            *listener = Arc::new(native::Listener { socket: Arc::clone(&listener.socket), mtu });
            changed = true;
        }
    }
    (changed, refused)
}
