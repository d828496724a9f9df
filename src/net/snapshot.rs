//! The settings and the interfaces of one moment, as one immutable value. `server/watch.rs` replaces it when the
//! interfaces change or the configuration is reloaded, and every thread reads it. Nothing else carries settings to a
//! running thread, so no thread can mix the settings of two moments.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::net::served::Served;

/// The settings, and the interfaces that they make lanboot serve.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub config: Arc<Config>,
    pub interfaces: Arc<Served>,
}

/// Always yields the current snapshot.
pub type Now = watch::Receiver<Arc<Snapshot>>;

impl Snapshot {
    pub fn new(config: Config, interfaces: Served) -> Snapshot {
        Snapshot { config: Arc::new(config), interfaces: Arc::new(interfaces) }
    }

    /// A receiver of this snapshot, which never changes. For tests and for commands without a running server.
    pub fn fixed(self) -> Now {
        // A receiver keeps the last value after its sender is dropped.
        watch::channel(Arc::new(self)).1
    }
}
