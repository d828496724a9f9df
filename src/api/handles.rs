//! The state of the router: everything that routes read or ask.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::attempts::Attempts;
use crate::api::commands::{Command, SubnetUsage, ToLoop};
use crate::api::error::ApiError;
use crate::api::examination::Doctor;
use crate::api::feed::Feed;
use crate::api::image_uploads::ImageUploads;
use crate::api::names::HostNames;
use crate::api::refusals::Refusals;
use crate::api::reloader::Reloader;
use crate::api::shared_capture::SharedCapture;
use crate::api::shared_journeys::SharedJourneys;
use crate::api::slots::Slots;
use crate::content::changes::ChangeStore;
use crate::content::served_files::ServedFiles;
use crate::net::snapshot::Now;
use crate::record::{Recorder, Subscriber};
use crate::types::{MacAddr, Timestamp};

/// Maximum number of event streams of the control socket: half of its connections.
const MAX_CONTROL_STREAMS: usize = 8;
/// Maximum number of event streams of the web listener, in all and of one address.
const MAX_WEB_STREAMS: (usize, usize) = (64, 16);
/// Maximum time to wait for the DHCP loop.
const LOOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that routes read or ask. Cheap to clone; it is the state of the router.
#[derive(Clone, Debug)]
pub struct Api {
    /// The settings and interfaces of this moment.
    pub now: Now,
    pub recorder: Recorder,
    /// The folder `state`, which never changes while the server runs.
    pub state: Arc<Path>,
    /// The way to the DHCP loop.
    pub commands: ToLoop,
    pub reloader: Reloader,
    /// The changes that people have made to the running server.
    pub changes: ChangeStore,
    pub files: ServedFiles,
    /// The start of the server.
    pub started: Timestamp,
    /// The machines that were seen, and the last records.
    pub feed: Feed,
    /// The boots of all machines.
    pub journeys: SharedJourneys,
    /// The packets of the machines' boots.
    pub capture: SharedCapture,
    /// The examination of this computer.
    pub doctor: Doctor,
    /// The names of this computer.
    pub names: HostNames,
    /// Requests and connections that were refused.
    pub refusals: Refusals,
    /// Clients that offered wrong tokens.
    pub attempts: Attempts,
    /// Open event streams of the control socket.
    pub control_streams: Slots,
    /// Open event streams of the web listener.
    pub web_streams: Slots,
    /// Images that are uploaded.
    pub uploads: ImageUploads,
}

impl Api {
    /// The state of a server that starts now.
    pub fn new(
        now: Now,
        recorder: Recorder,
        commands: ToLoop,
        reloader: Reloader,
        changes: ChangeStore,
        files: ServedFiles,
    ) -> Api {
        let state = now.borrow().config.state.as_path().into();
        let started = recorder.now();
        let (of_control, (of_web, of_one)) = (MAX_CONTROL_STREAMS, MAX_WEB_STREAMS);
        Api {
            now,
            recorder,
            state,
            commands,
            reloader,
            changes,
            files,
            started,
            feed: Feed::new(started),
            journeys: SharedJourneys::default(),
            capture: SharedCapture::default(),
            doctor: Doctor::default(),
            names: HostNames::read(),
            refusals: Refusals::default(),
            attempts: Attempts::default(),
            uploads: ImageUploads::default(),
            control_streams: Slots::new(of_control, of_control),
            web_streams: Slots::new(of_web, of_one),
        }
    }

    /// Follows the records forever.
    pub async fn follow(&self, records: &Subscriber) -> Infallible {
        self.feed.follow(&self.recorder, records, &self.state).await
    }

    /// The use of the pools now; empty if this server gives no addresses.
    ///
    /// # Errors
    /// 503 if the DHCP loop does not answer.
    pub(crate) async fn subnet_usage(&self) -> Result<Vec<SubnetUsage>, ApiError> {
        Ok(self.ask_loop(Command::Usage).await?.unwrap_or_default())
    }

    /// The addresses that the machine with this MAC has a lease of now; `None` if this server gives no addresses.
    ///
    /// # Errors
    /// 503 if the DHCP loop does not answer.
    pub(crate) async fn leases_of(&self, mac: MacAddr) -> Result<Option<Vec<Ipv4Addr>>, ApiError> {
        self.ask_loop(|reply| Command::LeasesOf(mac, reply)).await
    }

    /// Sends a command to the DHCP loop, and waits for its answer; `None` if none runs.
    async fn ask_loop<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<Option<T>, ApiError> {
        let Some(commands) = self.commands.sender() else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        let ask = async {
            commands.send(command(reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(LOOP_TIMEOUT, ask).await {
            Ok(Some(answer)) => Ok(Some(answer)),
            Ok(None) => Err(ApiError::unavailable("the server is stopping")),
            Err(_) => Err(ApiError::unavailable(format!(
                "the DHCP server did not answer within {} s: it is overloaded, or its disk does not respond",
                LOOP_TIMEOUT.as_secs()
            ))),
        }
    }
}
