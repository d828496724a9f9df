//! The state of the router: everything that routes read or ask.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::commands::{Command, SubnetUsage, ToLoop};
use crate::api::error::ApiError;
use crate::api::reloader::Reloader;
use crate::content::lookup::Files;
use crate::net::snapshot::Now;
use crate::record::Recorder;
use crate::types::Timestamp;

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
    /// `None` if no files are served.
    pub files: Option<Files>,
    /// The start of the server.
    pub started: Timestamp,
}

impl Api {
    /// The use of the pools now; empty if this server gives no addresses.
    ///
    /// # Errors
    /// 503 if the DHCP loop does not answer.
    pub(crate) async fn subnet_usage(&self) -> Result<Vec<SubnetUsage>, ApiError> {
        let Some(commands) = self.commands.sender() else { return Ok(Vec::new()) };
        let (reply, usage) = oneshot::channel();
        let ask = async {
            commands.send(Command::Usage(reply)).await.ok()?;
            usage.await.ok()
        };
        match timeout(LOOP_TIMEOUT, ask).await {
            Ok(Some(usage)) => Ok(usage),
            Ok(None) => Err(ApiError::unavailable("the server is stopping")),
            Err(_) => Err(ApiError::unavailable(format!(
                "the DHCP server did not answer within {} s: it is overloaded, or its disk does not respond",
                LOOP_TIMEOUT.as_secs()
            ))),
        }
    }
}
