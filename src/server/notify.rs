//! Reports the state of the service to systemd (sd_notify). Outside systemd it does nothing.

use sd_notify::NotifyState;

/// Reports that the service is ready. `status` describes its services.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that the service is stopping.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify systemd: {error}");
    }
}
