//! TFTP, whichever engine serves it: bind → run → stop.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::config::Tftp;
use crate::event::Event;
use crate::server::address::listen_addresses;
use crate::server::files::Files;
use crate::server::interface::Interface;
use crate::server::observe::Recorder;
use crate::server::tftp_upload::Uploads;
use crate::server::{StartError, port, tftp, tftp_async};
use crate::tftp::Engine;
use crate::types::Ipv4Network;

/// What serves files, with its sockets bound.
#[derive(Debug)]
pub struct Transfers {
    listeners: Vec<(SocketAddrV4, tftp::Listener)>,
    settings: Tftp,
    files: Files,
    uploads: Option<Uploads>,
    served: Arc<[Ipv4Network]>,
}

/// What serves them now.
#[derive(Debug)]
pub enum Running {
    /// lanboot's own engine.
    Native(tftp::Engine),
    /// The crate async-tftp.
    AsyncTftp {
        /// A task for each socket.
        tasks: JoinSet<io::Result<()>>,
        /// Transfers under way.
        under_way: Arc<AtomicUsize>,
        /// No transfer is to begin any more.
        closing: Arc<AtomicBool>,
    },
}

impl Transfers {
    /// Binds the port of requests on the addresses of `settings`, or those of `interfaces`, and opens the folder for
    /// uploads. Clients of the networks `served` may ask.
    pub fn bind(
        settings: &Tftp,
        interfaces: &[Interface],
        files: Files,
        served: Arc<[Ipv4Network]>,
    ) -> Result<Transfers, StartError> {
        let addresses = listen_addresses(&settings.listen, settings.port, interfaces);
        let listeners = addresses.into_iter().map(|at| listen(at, interfaces));
        let listeners = listeners.collect::<Result<_, _>>()?;
        let uploads = settings.uploads.as_ref().map(Uploads::open).transpose();
        let uploads = uploads.map_err(|error| StartError(error.to_string()))?;
        Ok(Transfers { listeners, settings: settings.clone(), files, uploads, served })
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.listeners.iter().map(|(address, _)| *address)
    }

    /// Begins to serve.
    pub fn start(self, recorder: &Recorder) -> io::Result<Running> {
        let Transfers { listeners, settings, files, uploads, served } = self;
        let listeners = listeners.into_iter().map(|(_, listener)| listener);
        let (limits, ports) = (settings.limits, settings.ports);
        let (recorder, sent_by) = (recorder.clone(), files.clone());
        let record = move |event: Event| {
            if let Event::TftpSent { file, peer, .. } = &event {
                sent_by.sent(file, *peer.ip());
            }
            recorder.record("tftp", &event);
        };
        if settings.engine == Engine::Native {
            let service = tftp::Service { files, uploads, limits, ports, served, record };
            return Ok(Running::Native(tftp::start(listeners.collect(), service)?));
        }
        let (under_way, closing) = (Arc::default(), Arc::default());
        let (counted, closed) = (Arc::clone(&under_way), Arc::clone(&closing));
        let service =
            tftp_async::Service { files, limits, served, under_way: counted, closing: closed, record };
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(tftp_async::serve(listener.socket.try_clone()?, listener.mtu, service.clone()));
        }
        Ok(Running::AsyncTftp { tasks, under_way, closing })
    }
}

impl Running {
    /// Ends all transfers.
    pub async fn stop(self) {
        match self {
            Running::Native(engine) => engine.stop(),
            Running::AsyncTftp { mut tasks, .. } => tasks.shutdown().await,
        }
    }

    /// Begins no more transfers.
    pub fn close(&self) {
        match self {
            Running::Native(engine) => engine.close(),
            Running::AsyncTftp { closing, .. } => closing.store(true, Ordering::Release),
        }
    }

    /// Transfers that have not ended.
    pub fn under_way(&self) -> usize {
        match self {
            Running::Native(engine) => engine.under_way(),
            Running::AsyncTftp { under_way, .. } => under_way.load(Ordering::Acquire),
        }
    }
}

fn listen(
    address: SocketAddrV4,
    interfaces: &[Interface],
) -> Result<(SocketAddrV4, tftp::Listener), StartError> {
    const ETHERNET_MTU: u32 = 1500;
    let socket = tftp::listen(address).map_err(|error| port::explain(address, "tftp.port", &error))?;
    let interface = interfaces.iter().find(|interface| interface.addresses.contains(address.ip()));
    let mtu = interface.map_or(ETHERNET_MTU, |interface| interface.mtu);
    Ok((address, tftp::Listener { socket: Arc::new(socket), mtu }))
}
