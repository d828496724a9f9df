//! The state of the router: everything that routes read or ask.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::commands::{Command, SubnetUsage, ToLoop};
use crate::api::error::ApiError;
use crate::api::reloader::Reloader;
use crate::content::changes::ChangeStore;
use crate::content::served_files::ServedFiles;
use crate::net::snapshot::Now;
use crate::record::Recorder;
use crate::types::{MacAddr, Timestamp};

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
}

impl Api {
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
