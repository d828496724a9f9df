//! Sockets, tasks, and the life of the process: bind → ready → run → drain → stop.
//!
//! `dhcp.rs` is the way of a DISCOVER from top to bottom, `tftp.rs` that of a read request. This folder never
//! decides who gets which address or file; it does what `dhcp/` and `boot/` say.

pub mod control;
pub mod dhcp;
pub mod drain;
pub mod http;
pub mod notify;
pub mod privileges;
mod statistics;
pub mod tftp;
mod watch;

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch::channel;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::boot::plan::Mode;
use crate::config::Config;
use crate::content::folders;
use crate::content::lookup::Files;
use crate::content::machines::Known;
use crate::content::once::Starts;
use crate::dhcp::settings::Settings;
use crate::images::Catalog;
use crate::net::StartError;
use crate::net::served::{self, Now, describe_proxy, find_some};
use crate::record::Recorder;
use crate::server::control::Control;
use crate::server::dhcp::DhcpServer;
use crate::server::dhcp::decline_senders::Senders;
use crate::server::dhcp::delayed::Later;
use crate::server::dhcp::proxy::{Proxy, boot_engine};
use crate::server::dhcp::proxy_listeners::Listeners;
use crate::server::dhcp::start::{BoundDhcp, start_dhcp};
use crate::server::drain::Serving;
use crate::server::tftp::Transfers;
use crate::server::watch::{Watch, out_of_reach};
use crate::store::clock::Clock;

/// A server with all its sockets bound and its leases loaded, ready to run.
#[derive(Debug)]
pub struct Server {
    dhcp: Option<(DhcpServer, Option<Control>)>,
    boot_files: Option<(Arc<Proxy>, Listeners)>,
    tftp: Option<Transfers>,
    http: Option<http::Bound>,
    /// For looking after their folder.
    files: Option<Files>,
    watch: Watch,
    recorder: Recorder,
    statistics: Arc<Notify>,
    summary: Vec<String>,
    warnings: Vec<String>,
}

/// Where leases are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// In the state folder, durably.
    OnDisk,
    /// In memory, so that nothing survives: what remains is the cost of everything but the disk.
    InMemory,
}

impl Server {
    /// Binds every socket, opens the folder of boot files and loads the leases. Nothing is answered before `run`.
    pub fn bind(config: &Config, keep: Keep) -> Result<Server, StartError> {
        Server::bind_then(config, keep, || Ok(()))
    }

    /// The same, and calls `confine` when everything is bound that may need root's rights, and before any thread starts.
    pub fn bind_then(
        config: &Config,
        keep: Keep,
        confine: impl FnOnce() -> Result<(), StartError>,
    ) -> Result<Server, StartError> {
        let recorder = Recorder::default();
        let (served, absent) = find_some(config)?;
        let mut wrong = absent;
        if let Some(settings) = &config.dhcp {
            wrong.extend(served.out_of_reach(settings).into_iter().map(out_of_reach));
        }
        let (sender, now) = channel(Arc::new(served));
        let (mut summary, mut warnings) = (Vec::new(), wrong.clone());
        let known = Known::new(now.clone(), recorder.clone());
        let files = match config.tftp.is_some() || config.http.is_some() {
            true => Some(open_files(config, keep, known.clone(), &mut warnings)?),
            false => None,
        };
        let (mut bound, mut listeners) = (None, None);
        if let Some(settings) = &config.dhcp {
            let gives = served::may_be(config, Mode::Server);
            if gives {
                bound = Some(BoundDhcp::bind(config, settings, &now, keep, &mut warnings)?);
            }
            listeners = Some(Listeners::bind(settings, &now, gives, &mut warnings)?);
        }
        let mut http = None;
        if let (Some(settings), Some(files)) = (&config.http, &files) {
            let admission = http::Admission::new(config, now.clone());
            let patience = http::Patience::DEFAULT;
            let service = http::Service::new(files.clone(), recorder.clone(), patience, admission);
            let of_one = usize::try_from(settings.max_per_client).unwrap_or(usize::MAX);
            let service = service.limited(http::Limits { of_one, ..http::Limits::DEFAULT });
            let bound = http::Bound::bind(settings, &now.borrow(), service)?;
            summary.push(format!("HTTP on {} from {}", bound.places(), config.images.display()));
            http = Some(bound);
        }
        let mut tftp = None;
        if let (Some(settings), Some(files)) = (&config.tftp, &files) {
            let transfers = Transfers::bind(settings, now.clone(), files.clone())?;
            summary.push(format!("TFTP on {} from {}", transfers.places(), config.images.display()));
            tftp = Some(transfers);
        }
        confine()?;
        let (mut dhcp, mut boot_files) = (None, None);
        if let (Some(settings), Some(listeners)) = (&config.dhcp, listeners) {
            let proxy = Arc::new(proxy(settings, &now, (files.clone(), known), &recorder)?);
            let mut lines = Vec::new();
            if let Some(bound) = bound {
                dhcp = Some(start_dhcp(bound, config, &proxy, keep, (&mut lines, &mut warnings))?);
            }
            lines.extend(describe_proxy(settings, &now.borrow()));
            summary.splice(0..0, lines);
            boot_files = Some((proxy, listeners));
        }
        let watch = Watch::new(config, sender, wrong);
        let statistics = Arc::default();
        Ok(Server { dhcp, boot_files, tftp, http, files, watch, recorder, statistics, summary, warnings })
    }

    /// Each [`Notify::notify_one`] has the running server log its statistics.
    pub fn statistics(&self) -> Arc<Notify> {
        Arc::clone(&self.statistics)
    }

    /// What is served, where, in which mode and from which folder: a line each.
    pub fn summary(&self) -> &[String] {
        &self.summary
    }

    /// What works less well than it could, and what to do about it: a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Serves until `stop` completes, then stores and answers what waits for the disk, and lets transfers come to their
    /// end ([`drain`]) until `hurry` completes.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let tftp = match self.tftp {
            Some(transfers) => Some(transfers.start(&self.recorder)?),
            None => None,
        };
        let http = match self.http {
            Some(bound) => Some(http::Threads::start(bound)?),
            None => None,
        };
        let boot_files = match self.boot_files {
            Some((proxy, listeners)) => Some(listeners.serve_apart(proxy)?),
            None => None,
        };
        let mut serving = Serving { http, tftp };
        let (watch, recorder) = (self.watch, self.recorder);
        let asks = self.dhcp.as_ref().map(|(dhcp, _)| dhcp.asks.sender());
        let dhcp = async {
            match self.dhcp {
                Some((dhcp, control)) => {
                    let control = control.map(|control| tokio::spawn(control.serve()));
                    let ended = dhcp.run_apart(stop).await;
                    control.inspect(JoinHandle::abort);
                    ended
                }
                None => {
                    stop.await;
                    Ok(())
                }
            }
        };
        tokio::select! {
            ended = dhcp => ended?,
            never = watch.follow(&mut serving) => match never {},
            never = recorder.follow_left_out() => match never {},
            never = statistics::follow(&self.statistics, &recorder, asks) => match never {},
            never = look_after(self.files) => match never {},
        }
        drop(boot_files);
        tokio::select! {
            () = serving.drain(hurry) => {}
            never = recorder.follow_left_out() => match never {},
        }
        recorder.log_left_out();
        for (reason, count) in recorder.drops() {
            tracing::info!("dropped in all: {count} reason={reason}");
        }
        Ok(())
    }
}

/// Looks for the folder of boot files every second, so that the log says that it is missing before a client asks.
async fn look_after(files: Option<Files>) -> Infallible {
    const PAUSE: Duration = Duration::from_secs(1);
    let Some(files) = files else { return std::future::pending().await };
    loop {
        sleep(PAUSE).await;
        let files = files.clone();
        // A file server that does not answer holds up this thread only.
        let _ = spawn_blocking(move || files.look()).await;
    }
}

/// The folder of boot files, and what machines start.
fn open_files(
    config: &Config,
    keep: Keep,
    known: Known,
    warnings: &mut Vec<String>,
) -> Result<Files, StartError> {
    if let Some((key, problem)) = folders::problems(config).into_iter().next() {
        return Err(StartError(format!("`{key}`: {problem}")));
    }
    let catalog = Catalog::open_beside(&config.images, folders::secrets(config)).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::NotFound => "; make it, or say in `images` where it is",
            _ => "",
        };
        StartError(format!("{error}{advice}"))
    })?;
    let starts = match keep {
        Keep::OnDisk => {
            let (starts, warning) = Starts::open(config);
            warnings.extend(warning);
            starts
        }
        Keep::InMemory => Starts::forgetful(config),
    };
    Ok(Files::new(catalog, known).starting(starts))
}

fn proxy(
    settings: &Settings,
    served: &Now,
    (files, known): (Option<Files>, Known),
    recorder: &Recorder,
) -> Result<Proxy, StartError> {
    let later = Later::start(recorder.clone())
        .map_err(|error| StartError(format!("cannot start the thread of replies that wait: {error}")))?;
    let settings = Arc::new(settings.clone());
    Ok(Proxy {
        engine: boot_engine(&settings),
        settings,
        served: served.clone(),
        files,
        known,
        senders: Senders::default(),
        clock: Clock::start(),
        later,
        recorder: recorder.clone(),
    })
}
