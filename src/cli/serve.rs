//! `lanboot serve`: run the servers until SIGTERM or SIGINT; the second one does not wait for transfers.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::boot_files;
use crate::cli::check::of_folders;
use crate::cli::config_file::{BAD_CONFIG, LoadError, Loaded, load_or_say};
use crate::cli::log;
use crate::config::LogLevel;
use crate::server::{Keep, Server, notify};

/// Exit code of a server that cannot start.
const CANNOT_START: u8 = 3;

/// Loads the configuration, binds everything, says what is served, and serves.
pub fn run(config: Option<&Path>, level: Option<LogLevel>, keep: Keep) -> ExitCode {
    let loaded = match load_or_say(config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let problems = of_folders(&loaded);
    if !problems.is_empty() {
        eprintln!("{}", LoadError::Problems { path: loaded.path, problems });
        return ExitCode::from(BAD_CONFIG);
    }
    let mut settings = loaded.config.log;
    settings.level = level.unwrap_or(settings.level);
    let _log = log::start(settings);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lanboot: cannot start the runtime: {error}");
            return ExitCode::from(CANNOT_START);
        }
    };
    runtime.block_on(serve(&loaded, keep))
}

async fn serve(loaded: &Loaded, keep: Keep) -> ExitCode {
    let (server, (stop, hurry)) = match (Server::bind(&loaded.config, keep), stop_signals()) {
        (Ok(server), Ok(signals)) => (server, signals),
        (Err(error), _) => {
            eprintln!("lanboot: {error}");
            return ExitCode::from(CANNOT_START);
        }
        (_, Err(error)) => {
            eprintln!("lanboot: cannot wait for signals: {error}");
            return ExitCode::from(CANNOT_START);
        }
    };
    tracing::info!("lanboot {} with {}", env!("CARGO_PKG_VERSION"), loaded.path.display());
    server.summary().iter().for_each(|line| tracing::info!("{line}"));
    server.warnings().iter().for_each(|line| tracing::warn!("{line}"));
    loaded.config.notes.iter().for_each(|note| tracing::warn!("{}:{note}", loaded.path.display()));
    tell_of_boot_files(loaded);
    notify::ready(&server.summary().join("; "));
    let stop = async {
        let _ = stop.await;
        notify::stopping();
    };
    let ended = server.run(stop, async { drop(hurry.await) }).await;
    match ended {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("the server failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Missing and wrong loaders stop nobody else from booting, so they are said and not refused.
fn tell_of_boot_files(loaded: &Loaded) {
    for missing in boot_files::missing(loaded) {
        tracing::warn!(
            "{} of {} is not in {}: {} cannot boot; see boot-images/README.md for where to get it",
            missing.name,
            missing.wanted_by,
            loaded.config.images.display(),
            missing.clients
        );
    }
    for unreadable in boot_files::unreadable(loaded) {
        tracing::warn!(
            "{} of {} in {} cannot be read by this user: chmod a+r it, and a+x its folders; until then {} cannot boot",
            unreadable.name,
            unreadable.wanted_by,
            loaded.config.images.display(),
            unreadable.clients
        );
    }
    let wrong = boot_files::wrong(loaded).into_iter().chain(boot_files::unreachable(loaded));
    for wrong in wrong.chain(boot_files::hidden(loaded)) {
        tracing::error!("{}:{wrong}", loaded.path.display());
    }
}

/// What the first and the second SIGTERM or SIGINT complete.
fn stop_signals() -> std::io::Result<(oneshot::Receiver<()>, oneshot::Receiver<()>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(outlive_hangups(hangup));
    let (first, stop) = oneshot::channel();
    let (second, hurry) = oneshot::channel();
    tokio::spawn(async move {
        for sender in [first, second] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Who does not wait any more has stopped.
            let _ = sender.send(());
        }
    });
    Ok((stop, hurry))
}

/// SIGHUP is how people ask a daemon to read its configuration anew, and what a terminal that closes sends: neither is
/// a reason to end.
async fn outlive_hangups(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::warn!(
            "SIGHUP: the configuration is read at start only: restart lanboot to have a changed one count"
        );
    }
}
