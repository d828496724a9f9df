//! Sockets, tasks, and the life of the process: bind → ready → run → drain → stop.
//!
//! `dhcp/mod.rs` shows the path of a DISCOVER from top to bottom, `tftp/native/mod.rs` that of a read request. This
//! folder never decides which client gets which address or file; it carries out what `dhcp/` and `boot/` decide.

mod bind;
mod capture;
pub mod dhcp;
pub mod drain;
mod followers;
pub mod http;
mod journey;
mod journey_keeper;
pub mod notify;
pub mod reload;
mod slow_files;
mod statistics;
mod syslog;
pub mod tftp;
mod watch;
mod watchdog;
pub mod web;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tokio_rustls::rustls::ServerConfig;

use crate::api::examination::Examine;
use crate::api::handles::Api;
use crate::api::reloader::Reloader;
use crate::content::served_files::ServedFiles;
use crate::record::Recorder;
use crate::server::dhcp::running::{Dhcp, Parts, Ready};
use crate::server::drain::Serving;
use crate::server::followers::Followers;
use crate::server::journey_keeper::Keeper;
use crate::server::reload::Source;
use crate::server::tftp::Transfers;
use crate::server::watch::Watch;
use crate::server::web::control::Control;
use crate::store::LeaseStorage;

/// A server with all its sockets bound and its leases loaded, ready to run.
#[derive(Debug)]
pub struct Server {
    dhcp: Option<Ready>,
    parts: Parts,
    control: Option<Control>,
    api: Api,
    /// The web listeners; `None` for benchmarks. And their certificate.
    web: (Option<web::Bound>, Option<Arc<ServerConfig>>),
    tftp: Option<Transfers>,
    http: Option<http::threads::Bound>,
    syslog: Option<syslog::Bound>,
    /// For the periodic check of their folder.
    files: ServedFiles,
    watch: Watch,
    reloader: Reloader,
    recorder: Recorder,
    statistics: Arc<Notify>,
    summary: Vec<String>,
    warnings: Vec<String>,
}

impl Server {
    /// Each [`Notify::notify_one`] makes the running server log its statistics.
    pub fn statistics(&self) -> Arc<Notify> {
        Arc::clone(&self.statistics)
    }

    /// Makes the server able to reload its configuration from `source`.
    #[must_use]
    pub fn reloading_from(mut self, source: Source) -> Server {
        self.watch.source = Some(source);
        self
    }

    /// Makes the API examine this computer with `examine`.
    #[must_use]
    pub fn examined_by(self, examine: Examine) -> Server {
        self.api.doctor.set(examine);
        self
    }

    /// Requests reloads of the running server.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// One line for each service: its addresses, mode and folder.
    pub fn summary(&self) -> &[String] {
        &self.summary
    }

    /// One line for each feature that works less well than it could, with advice.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Serves until `stop` completes. Then stores and answers the waiting leases, and lets transfers finish ([`drain`])
    /// until `abort` completes.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let is_stored = self.parts.storage == LeaseStorage::OnDisk;
        let capture = capture::Parts {
            now: self.parts.now.clone(),
            shared: self.api.capture.clone(),
            machines: self.parts.known.clone(),
            questions: self.parts.questions.clone(),
            journeys: self.api.journeys.clone(),
            recorder: self.recorder.clone(),
        };
        let (keeper, kept) = is_stored.then(|| Keeper::start(&self.api)).flatten().unzip();
        let followers = Followers::start(self.api, kept, capture)?;
        let tftp = match self.tftp {
            Some(transfers) => Some(transfers.start(&self.recorder)?),
            None => None,
        };
        let http = match self.http {
            Some(bound) => Some(http::threads::Threads::start(bound)?),
            None => None,
        };
        let (watch, recorder, commands) = (self.watch, self.recorder, self.parts.commands.clone());
        let (faults, mut fault) = unbounded_channel();
        let mut dhcp = Dhcp::new(self.parts, faults);
        if let Some(ready) = self.dhcp {
            dhcp.run(ready, &watch.now().borrow().config)?;
        }
        let (web, certificate) = self.web;
        let web = web.map(|bound| bound.start(certificate));
        let syslog = Some(syslog::Syslog::start(self.syslog, &dhcp.parts)?);
        let mut serving = Serving { dhcp, http, tftp, web, syslog, closing: Vec::new() };
        let control = self.control.map(|control| tokio::spawn(control.serve()));
        tokio::select! {
            () = stop => {}
            Some(error) = fault.recv() => return Err(error),
            never = watch.follow(&mut serving) => match never {},
            never = recorder.follow_left_out() => match never {},
            never = statistics::follow(&self.statistics, &recorder, &commands) => match never {},
            never = watch_folder(self.files) => match never {},
            never = watchdog::follow(&commands) => match never {},
        }
        let ended = async {
            let mut serving = serving.stop_dhcp().await;
            serving.web = None;
            serving.syslog = None;
            control.inspect(JoinHandle::abort);
            serving.drain(abort).await;
        };
        tokio::select! {
            () = ended => {}
            never = recorder.follow_left_out() => match never {},
        }
        drop(followers);
        if let Some(keeper) = keeper {
            let _ = spawn_blocking(move || keeper.stop()).await;
        }
        recorder.log_left_out();
        for (reason, count) in recorder.drops() {
            tracing::info!("dropped in all: {count} reason={reason}");
        }
        Ok(())
    }
}

/// Checks every second that the folder of boot files exists, so that its loss is logged before a client asks.
async fn watch_folder(files: ServedFiles) -> Infallible {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        sleep(PAUSE).await;
        let Some(files) = files.get().cloned() else { continue };
        // A network file system that does not respond blocks only this thread.
        let _ = spawn_blocking(move || files.check_folder()).await;
    }
}
