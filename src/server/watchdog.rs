//! The watchdog of systemd (`WatchdogSec=`): systemd ends and restarts a server that stops sending keep-alives.
//! `Server::run` runs it beside the services. It never ends or restarts anything itself.
//!
//! A keep-alive is sent only after the DHCP loop has answered, because machines get no address while that loop hangs. A
//! slow or full disk is no hang: the committer waits for it in its own thread, and a restart would not help.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::api::commands::{Command, ToLoop};
use crate::server::notify;

/// Sends keep-alives while the DHCP loop answers, if systemd asks for them.
pub(super) async fn follow(commands: &ToLoop) -> Infallible {
    let Some(limit) = notify::watchdog() else { return pending().await };
    // Twice as often as necessary, as sd_watchdog_enabled(3) advises.
    let interval = limit / 2;
    loop {
        if answers(commands, interval).await {
            notify::keep_alive();
        }
        sleep(interval).await;
    }
}

/// Whether the DHCP loop answers within `limit`. Also true if none runs, because DHCP is off or is starting again.
async fn answers(commands: &ToLoop, limit: Duration) -> bool {
    let Some(sender) = commands.sender() else { return true };
    let (reply, answer) = oneshot::channel();
    let asked = async {
        // This fails if the loop has ended, which `Server::run` handles.
        if sender.send(Command::Ping(reply)).await.is_ok() {
            let _ = answer.await;
        }
    };
    timeout(limit, asked).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn f_17_a_loop_that_hangs_does_not_answer() {
        let (commands, limit) = (ToLoop::default(), Duration::from_secs(30));
        assert!(answers(&commands, limit).await, "DHCP is off");
        let (sender, mut incoming) = mpsc::channel(1);
        commands.connect(Some(sender));
        assert!(!answers(&commands, limit).await, "the question waits in the queue");
        assert!(!answers(&commands, limit).await, "the queue is full");
        let answering = tokio::spawn(async move {
            while let Some(command) = incoming.recv().await {
                if let Command::Ping(reply) = command {
                    let _ = reply.send(());
                }
            }
        });
        assert!(answers(&commands, limit).await);
        answering.abort();
        let _ = answering.await;
        assert!(answers(&commands, limit).await, "a loop that ended is not one that hangs");
    }
}
