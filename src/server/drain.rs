//! The running file services: their listeners follow the snapshot, a reload turns them on and off, and at the end
//! transfers may finish for a limited time. `Server::run` owns it.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::event::ServerFact;
use crate::net::StartError;
use crate::net::snapshot::Snapshot;
use crate::server::dhcp::running::{Dhcp, Parts};
use crate::server::http::threads::{Bound, Threads};
use crate::server::syslog::Syslog;
use crate::server::tftp::{Running, Transfers};
use crate::server::web::Web;

/// Maximum time for transfers to finish after the server was asked to stop. `TimeoutStopSec` of the systemd unit is
/// longer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Interval at which the number of transfers is checked.
const PAUSE: Duration = Duration::from_millis(10);
/// A drain that takes longer is logged. Idle connections end sooner.
const QUIET: Duration = Duration::from_millis(100);
/// Maximum time for aborted connections to record their end.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// The services whose transfers may be running when the server stops.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) dhcp: Dhcp,
    pub(super) http: Option<Threads>,
    pub(super) tftp: Option<Running>,
    /// `None` once the server stops, and for benchmarks.
    pub(super) web: Option<Web>,
    /// `None` once the server stops.
    pub(super) syslog: Option<Box<Syslog>>,
    /// Services that a reload turned off, until their last transfer ends.
    pub(super) closing: Vec<Service>,
}

/// One service.
#[derive(Debug)]
pub(super) enum Service {
    Http(Threads),
    Tftp(Running),
}

impl Service {
    fn active(&self) -> usize {
        match self {
            Service::Http(http) => http.active_connections(),
            Service::Tftp(tftp) => tftp.active_transfers(),
        }
    }
}

impl Serving {
    /// The reasons why the services cannot change to `snapshot`: addresses that cannot be bound, and folders that cannot
    /// be read. Nothing changes, except for the folder of boot files if there is no other problem.
    pub(super) fn prepare(&self, snapshot: &Snapshot) -> Vec<String> {
        let config = &snapshot.config;
        let http = self.http.iter().flat_map(|http| http.refused(snapshot));
        let tftp = self.tftp.iter().flat_map(|tftp| tftp.refused(snapshot));
        let mut problems: Vec<String> = http.chain(tftp).map(|error| error.to_string()).collect();
        problems.extend(
            self.syslog.iter().filter_map(|syslog| syslog.refused(snapshot)).map(|error| error.to_string()),
        );
        problems.extend(self.dhcp.refused(snapshot));
        problems.extend(self.web.iter().flat_map(|web| web.refused(snapshot)));
        if !problems.is_empty() {
            return problems;
        }
        let parts = &self.dhcp.parts;
        match parts.files.get() {
            Some(files) => files.move_to(config).err().into_iter().collect(),
            None if config.tftp.is_none() && config.http.is_none() => Vec::new(),
            None => match parts.open_files(config) {
                Ok((files, warning)) => {
                    let warn = |text| parts.recorder.server(ServerFact::NotServed, text);
                    warning.into_iter().for_each(warn);
                    parts.files.set(files);
                    Vec::new()
                }
                Err(StartError(problem)) => vec![problem],
            },
        }
    }

    /// Starts and closes the services that a reload turned on or off.
    fn turn_on_and_off(&mut self, snapshot: &Snapshot) -> Result<(), StartError> {
        let Parts { files, now, recorder, .. } = self.dhcp.parts.clone();
        let failed = |error: std::io::Error| StartError(format!("cannot start a service: {error}"));
        if snapshot.config.http.is_none()
            && let Some(mut http) = self.http.take()
        {
            recorder.server(ServerFact::ServiceChanged, "HTTP is off");
            http.close_listeners();
            self.closing.push(Service::Http(http));
        }
        if snapshot.config.tftp.is_none()
            && let Some(mut tftp) = self.tftp.take()
        {
            recorder.server(ServerFact::ServiceChanged, "TFTP is off");
            tftp.close_listeners();
            self.closing.push(Service::Tftp(tftp));
        }
        self.closing.retain(|service| service.active() > 0);
        self.choose_reader();
        let Some(files) = files.get() else { return Ok(()) };
        if let Some(mut tftp) = self.tftp.take_if(|tftp| tftp.has_other_ports(snapshot)) {
            let next = tftp.succeed((snapshot, now.clone()), files.clone(), &recorder);
            match next {
                Ok(next) => {
                    self.tftp = Some(next);
                    self.closing.push(Service::Tftp(tftp));
                }
                Err(error) => {
                    self.tftp = Some(tftp);
                    return Err(error);
                }
            }
        }
        if let Some(settings) = snapshot.config.http.as_ref().filter(|_| self.http.is_none()) {
            let bound = Bound::bind(settings, &now, files.clone(), &recorder)?;
            recorder.server(ServerFact::ServiceChanged, format!("HTTP on {}", bound.addresses()));
            self.http = Some(Threads::start(bound).map_err(failed)?);
        }
        if let Some(settings) = snapshot.config.tftp.as_ref().filter(|_| self.tftp.is_none()) {
            let bound = Transfers::bind(settings, now.clone(), files.clone())?;
            recorder.server(ServerFact::ServiceChanged, format!("TFTP on {}", bound.addresses()));
            self.tftp = Some(bound.start(&recorder).map_err(failed)?);
        }
        Ok(())
    }

    /// Makes one TFTP server read the listeners. After a change of `tftp.ports`, that is the oldest one whose transfers
    /// share a single port.
    fn choose_reader(&mut self) {
        let mut older: Vec<&mut Running> = Vec::new();
        for service in &mut self.closing {
            if let Service::Tftp(tftp) = service {
                older.push(tftp);
            }
        }
        if older.iter().any(|tftp| tftp.is_reader()) {
            return;
        }
        let next = older.into_iter().find(|tftp| tftp.is_single()).or(self.tftp.as_mut());
        next.into_iter().for_each(Running::take_over);
    }

    /// Updates the services for `snapshot`, and returns the errors of listeners that could not be opened.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Vec<StartError> {
        let mut refused: Vec<StartError> = self.turn_on_and_off(snapshot).err().into_iter().collect();
        refused.extend(self.dhcp.follow(snapshot).err());
        refused.extend(self.web.iter_mut().flat_map(|web| web.follow(snapshot)));
        refused.extend(self.syslog.iter_mut().filter_map(|syslog| syslog.follow(snapshot)));
        let recorder = &self.dhcp.parts.recorder;
        if let Some(http) = &mut self.http {
            let (changed, not) = http.follow(snapshot);
            refused.extend(not);
            if changed {
                recorder.server(ServerFact::ServiceChanged, format!("HTTP on {}", http.addresses()));
            }
        }
        if let Some(tftp) = &mut self.tftp {
            let (changed, not) = tftp.follow(snapshot);
            refused.extend(not);
            if changed {
                recorder.server(ServerFact::ServiceChanged, format!("TFTP on {}", tftp.addresses()));
            }
        }
        refused
    }

    /// Stores and answers the waiting leases, and ends DHCP.
    pub(super) async fn stop_dhcp(mut self) -> Serving {
        let stop = move || {
            self.dhcp.stop();
            self
        };
        match spawn_blocking(stop).await {
            Ok(serving) => serving,
            // The blocking thread runs no code that can end otherwise.
            Err(fault) => std::panic::resume_unwind(fault.into_panic()),
        }
    }

    /// Accepts no new transfers and waits until all are finished, at most for [`LIMIT`] or until `abort` completes.
    /// Then aborts the rest.
    pub(super) async fn drain(mut self, abort: impl Future<Output = ()>) {
        self.http.iter().for_each(Threads::close);
        self.tftp.iter().for_each(Running::close);
        self.closing.retain(|service| service.active() > 0);
        let began = Instant::now();
        let mut abort = pin!(abort);
        let mut waited_for = None;
        while self.active() > 0 && began.elapsed() < LIMIT {
            if began.elapsed() >= QUIET && waited_for.is_none() {
                waited_for = Some(self.active());
                let (http, tftp) = (self.active_connections(), self.active_transfers());
                tracing::info!(
                    "stopping: {http} HTTP and {tftp} TFTP transfers are running and have {} s to finish; \
                     a second signal aborts them",
                    LIMIT.as_secs()
                );
            }
            tokio::select! {
                biased;
                () = &mut abort => break,
                () = sleep(PAUSE) => {}
            }
        }
        let left = self.active();
        if let Some(waited_for) = waited_for.or((left > 0).then_some(left)) {
            let took = began.elapsed().as_secs_f64();
            let ended = waited_for.saturating_sub(left);
            tracing::info!("waited {took:.1} s for transfers: {ended} finished, {left} aborted");
        }
        self.abort_transfers().await;
    }

    async fn abort_transfers(self) {
        let services = self.http.map(Service::Http).into_iter().chain(self.tftp.map(Service::Tftp));
        for service in services.chain(self.closing) {
            match service {
                Service::Http(http) => {
                    http.end();
                    let began = Instant::now();
                    while http.active_connections() > 0 && began.elapsed() < ABORT_TIME {
                        sleep(PAUSE).await;
                    }
                }
                Service::Tftp(tftp) => tftp.stop().await,
            }
        }
    }

    fn active(&self) -> usize {
        self.active_connections() + self.active_transfers()
    }

    /// The number of open HTTP connections, including those of a service that a reload turned off.
    fn active_connections(&self) -> usize {
        let closing = self.closing.iter().filter_map(|service| match service {
            Service::Http(http) => Some(http),
            Service::Tftp(_) => None,
        });
        self.http.iter().chain(closing).map(Threads::active_connections).sum()
    }

    /// The number of running TFTP transfers, including those of a service that a reload turned off.
    fn active_transfers(&self) -> usize {
        let closing = self.closing.iter().filter_map(|service| match service {
            Service::Tftp(tftp) => Some(tftp),
            Service::Http(_) => None,
        });
        self.tftp.iter().chain(closing).map(Running::active_transfers).sum()
    }
}
