//! `lanboot serve`: run the servers until SIGTERM or SIGINT.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::boot_files;
use crate::cli::config_file::{Loaded, load_or_say};
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
    let (server, stop) = match (Server::bind(&loaded.config, keep), stop_signal()) {
        (Ok(server), Ok(stop)) => (server, stop),
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
    tell_of_boot_files(loaded);
    notify::ready(&server.summary().join("; "));
    let ended = server.run(stop).await;
    notify::stopping();
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
    for wrong in boot_files::wrong(loaded).into_iter().chain(boot_files::unreachable(loaded)) {
        tracing::error!("{}:{wrong}", loaded.path.display());
    }
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
