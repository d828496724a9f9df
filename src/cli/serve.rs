//! `lanboot serve`: runs the servers until SIGTERM or SIGINT. A second signal stops them without waiting for
//! transfers. SIGHUP and `lanboot reload` make them use a changed configuration.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::examination::Examine;
use crate::cli::check::boot_files;
use crate::cli::check::{folder_problems, secret_problems};
use crate::cli::config_file::{BAD_CONFIG, Given, LoadError, Loaded, load_file, read_file};
use crate::cli::signals::{self, Signals};
use crate::cli::{doctor, log, output};
use crate::config::{Config, LogFormat, LogLevel};
use crate::images::add::sets;
use crate::net::StartError;
use crate::privileges::{self, Dropped, Privileges};
use crate::record::how_to_add;
use crate::server::reload::Source;
use crate::server::web::control::control_path;
use crate::server::{Server, notify};
use crate::store::LeaseStorage;

/// Exit code for a wrong command line.
const WRONG_USAGE: u8 = 2;
/// Exit code for a server that cannot start.
const CANNOT_START: u8 = 3;

/// Loads the configuration, binds all sockets, drops root privileges, logs what is served, and runs the servers.
///
/// The order matters: no thread may start before the privileges are dropped, because each thread has its own.
pub fn run(given: Given<'_>, level: Option<LogLevel>, storage: LeaseStorage, user: Option<&str>) -> ExitCode {
    signals::block_signals();
    let loaded = match load_file(given) {
        Ok(loaded) => loaded,
        Err(error) => {
            report_configuration(&error);
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if let Some(user) = user.filter(|user| !privileges::is_user(user)) {
        output::print_error(format_args!("lanboot: --user {user}: there is no such user on this computer"));
        return ExitCode::from(WRONG_USAGE);
    }
    let mut settings = loaded.config.log;
    settings.level = level.unwrap_or(settings.level);
    let mut log = log::start(settings);
    let report = |prefix: &str, error: &str| match settings.format {
        LogFormat::Json => tracing::error!("cannot start: {error}"),
        LogFormat::Text => output::print_error(format_args!("{prefix}{error}")),
    };
    let problems = folder_problems(&loaded);
    if !problems.is_empty() {
        report("", &LoadError::Problems { path: loaded.path, problems }.to_string());
        return ExitCode::from(BAD_CONFIG);
    }
    let (server, dropped) = match bind(&loaded, storage, user) {
        Ok(bound) => bound,
        Err(error) => {
            report("lanboot: ", &error.to_string());
            drop(log);
            return ExitCode::from(CANNOT_START);
        }
    };
    log.start_writer();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            report("lanboot: ", &format!("cannot start the runtime: {error}"));
            return ExitCode::from(CANNOT_START);
        }
    };
    runtime.spawn(log.log_suppressed_lines());
    let server = server.reloading_from(source(&loaded.path, given.state, level, log.level()));
    let server = server.examined_by(examine(&loaded.path, given.state));
    runtime.block_on(serve(loaded, server, &dropped))
}

/// Reports a wrong configuration: as lines of the log if the file asks for JSON, so that a program that reads the log
/// finds them there.
fn report_configuration(error: &LoadError) {
    if let LoadError::Problems { path, problems } = error
        && let Ok((Some(loaded), _)) = read_file(path, None)
        && loaded.config.log.format == LogFormat::Json
    {
        let _log = log::start(loaded.config.log);
        problems
            .iter()
            .for_each(|problem| tracing::error!("cannot start: {}", problem.in_file(path.display())));
    } else {
        output::print_error(error);
    }
}

/// Binds all sockets and drops the privileges that this needs.
fn bind(loaded: &Loaded, storage: LeaseStorage, user: Option<&str>) -> Result<(Server, Dropped), StartError> {
    let config = &loaded.config;
    let privileges = Privileges::plan(config, &loaded.path, user)?;
    let mut dropped = Dropped::default();
    let server = Server::bind_then(config, storage, || {
        dropped = privileges.drop(config, &control_path(&config.state))?;
        Ok(())
    })?;
    Ok((server, dropped))
}

async fn serve(loaded: Loaded, server: Server, dropped: &Dropped) -> ExitCode {
    let Signals { stop, stop_now, mut statistics, mut hangup } = match signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            output::print_error(format_args!("lanboot: cannot wait for signals: {error}"));
            return ExitCode::from(CANNOT_START);
        }
    };
    tracing::info!("lanboot {} with {}", env!("CARGO_PKG_VERSION"), loaded.path.display());
    tracing::info!("{}", dropped.summary);
    server.summary().iter().for_each(|line| tracing::info!("{line}"));
    dropped.warnings.iter().chain(server.warnings()).for_each(|line| tracing::warn!("{line}"));
    log_findings(&loaded);
    // A reload replaces the configuration, and this one would stay in memory until the server stops.
    drop(loaded);
    notify::ready(&server.summary().join("; "));
    let stop = async {
        let _ = stop.await;
        notify::stopping();
    };
    let wanted = server.statistics();
    tokio::spawn(async move {
        while statistics.recv().await.is_some() {
            wanted.notify_one();
        }
    });
    let reloader = server.reloader();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // The server logs the result.
            let _ = reloader.reload().await;
        }
    });
    let ended = Box::pin(server.run(stop, async { drop(stop_now.await) })).await;
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

/// The file at `path` as the source of reloads. `state` and `level` are from the command line, which goes before the file.
fn source(path: &Path, state: Option<&Path>, level: Option<LogLevel>, log_level: log::Level) -> Source {
    let (path, state) = (path.to_owned(), state.map(Path::to_owned));
    let last: Arc<Mutex<Option<Loaded>>> = Arc::default();
    let read_last = Arc::clone(&last);
    let read = move || {
        let lines = |error: LoadError| error.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
        let loaded = load_file(Given { file: Some(&path), state: state.as_deref() }).map_err(lines)?;
        let problems = folder_problems(&loaded);
        if !problems.is_empty() {
            return Err(lines(LoadError::Problems { path: loaded.path, problems }));
        }
        let config = loaded.config.clone();
        *read_last.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        Ok(config)
    };
    let apply = move |config: &Config| {
        log_level.set(level.unwrap_or(config.log.level), config.log.format);
        let loaded = last.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It reads boot files, which a network file system may delay.
        loaded.map(|loaded| tokio::task::spawn_blocking(move || log_findings(&loaded)));
    };
    Source { read: Arc::new(read), apply: Arc::new(apply) }
}

/// Examines this computer by the file at `path`, for the API.
fn examine(path: &Path, state: Option<&Path>) -> Examine {
    let (path, state) = (path.to_owned(), state.map(Path::to_owned));
    Arc::new(move || doctor::examine_for_server(Given { file: Some(&path), state: state.as_deref() }))
}

/// Logs notes about the configuration, and missing and wrong boot files. They do not stop the server, because other
/// machines can still boot.
fn log_findings(loaded: &Loaded) {
    loaded.config.notes.iter().for_each(|note| tracing::warn!("{}", loaded.placed(note)));
    for problem in secret_problems(loaded) {
        tracing::error!("{}", loaded.placed(&problem));
    }
    for missing in boot_files::missing(loaded) {
        tracing::warn!(
            "{} of {} is not in {}: {} cannot boot; {}",
            missing.name,
            missing.wanted_by,
            loaded.config.images.display(),
            missing.clients,
            how_to_add(&missing.name, sets::set_with(&missing.name))
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
    let wrong = boot_files::unstartable(loaded).into_iter().chain(boot_files::unreachable(loaded));
    for wrong in wrong.chain(boot_files::hidden(loaded)) {
        tracing::error!("{}", loaded.placed(&wrong));
    }
}
