//! Reports the state of the service to systemd (sd_notify). Outside systemd it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Reports that the service is ready. `status` describes its services.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The longest time that systemd waits for a keep-alive; `None` if it does not wait for any.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Reports that the service works.
pub fn keep_alive() {
    send(&[NotifyState::Watchdog]);
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
