//! Binds all sockets: turns the configuration into a server that is ready to run. `cli/serve.rs` calls it before the
//! process gives up root's rights. It never answers a client.

use std::sync::Arc;

use tokio::sync::watch::channel;

use crate::api::commands::ToLoop;
use crate::api::handles::Api;
use crate::api::reloader::Reloader;
use crate::api::{router, token};
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::config::changes::{Applied, apply};
use crate::content::changes::ChangeStore;
use crate::content::machines::MachineTable;
use crate::content::served_files::ServedFiles;
use crate::net::StartError;
use crate::net::served::{self, find_or_fail};
use crate::net::snapshot::{Now, Snapshot};
use crate::record::Recorder;
use crate::server::dhcp::boot_questions::BootQuestions;
use crate::server::dhcp::running::{Parts, Sockets};
use crate::server::tftp::Transfers;
use crate::server::watch::{Start, Watch, out_of_reach};
use crate::server::web::control::Control;
use crate::server::{Server, http, syslog, web};
use crate::store::LeaseStorage;

impl Server {
    /// Binds every socket, opens the folder of boot files and loads the leases. No client is answered before `run`.
    pub fn bind(config: &Config, storage: LeaseStorage) -> Result<Server, StartError> {
        Server::bind_then(config, storage, || Ok(()))
    }

    /// Like [`Server::bind`]. Calls `confine` when everything is bound that may need root's rights, before any thread
    /// starts.
    pub fn bind_then(
        config: &Config,
        storage: LeaseStorage,
        confine: impl FnOnce() -> Result<(), StartError>,
    ) -> Result<Server, StartError> {
        let recorder = Recorder::default();
        let (ref config, start, damage) = with_changes(config, storage);
        let (served, absent) = find_or_fail(config)?;
        let mut wrong = absent;
        if let Some(settings) = &config.dhcp {
            wrong.extend(served.out_of_reach(settings).into_iter().map(out_of_reach));
        }
        let (sender, now) = channel(Arc::new(Snapshot::new(config.clone(), served)));
        let (mut summary, mut warnings) = (Vec::new(), wrong.clone());
        warnings.extend(damage.into_iter().chain(start.unused.iter().cloned()));
        let known = MachineTable::new(now.clone(), recorder.clone());
        let parts = Parts {
            now: now.clone(),
            files: ServedFiles::default(),
            known,
            recorder: recorder.clone(),
            storage,
            commands: ToLoop::default(),
            changes: start.changes.clone(),
            questions: BootQuestions::default(),
        };
        if config.tftp.is_some() || config.http.is_some() {
            let (files, warning) = parts.open_files(config)?;
            parts.files.set(files);
            warnings.extend(warning);
        }
        let sockets = Sockets::bind(config, &parts, &mut warnings)?;
        let (http, tftp) = bind_file_services(config, &parts, &mut summary)?;
        let syslog = bind_syslog(config, &mut summary)?;
        let (reloader, requests) = Reloader::new();
        let (now_of_api, commands) = (now.clone(), parts.commands.clone());
        let (changes, files_of_api) = (start.changes.clone(), parts.files.clone());
        let api = Api::new(now_of_api, recorder.clone(), commands, reloader.clone(), changes, files_of_api);
        let control = bind_control(config, storage, &api, &mut warnings);
        let web = bind_web(&now, storage, &api, &mut wrong)?;
        warnings.extend(wrong.iter().filter(|line| !warnings.contains(line)).cloned().collect::<Vec<_>>());
        summary.extend(web.as_ref().and_then(web::Bound::summary));
        confine()?;
        let certificate = web.as_ref().map_or(Ok(None), web::Bound::read_certificate)?;
        warnings.extend(make_token(config, storage));
        let mut dhcp = None;
        if let Some(sockets) = sockets {
            let mut lines = Vec::new();
            dhcp = sockets.start(config, &parts, (&mut lines, &mut warnings))?;
            summary.splice(0..0, lines);
        }
        let watch = Watch::new(sender, requests, start, wrong);
        Ok(Server {
            dhcp,
            files: parts.files.clone(),
            parts,
            control,
            api,
            web: (web, certificate),
            tftp,
            http,
            syslog,
            watch,
            reloader,
            recorder,
            statistics: Arc::default(),
            summary,
            warnings,
        })
    }
}

/// Binds HTTP and TFTP as far as they are on. Lines for the start are added to `summary`.
fn bind_file_services(
    config: &Config,
    Parts { now, files, recorder, .. }: &Parts,
    summary: &mut Vec<String>,
) -> Result<(Option<http::threads::Bound>, Option<Transfers>), StartError> {
    let Some(files) = files.get() else { return Ok((None, None)) };
    let mut http = None;
    if let Some(settings) = &config.http {
        let bound = http::threads::Bound::bind(settings, now, files.clone(), recorder)?;
        summary.push(format!("HTTP on {} from {}", bound.addresses(), config.images.display()));
        http = Some(bound);
    }
    let mut tftp = None;
    if let Some(settings) = &config.tftp {
        let transfers = Transfers::bind(settings, now.clone(), files.clone())?;
        summary.push(format!("TFTP on {} from {}", transfers.addresses(), config.images.display()));
        tftp = Some(transfers);
    }
    Ok((http, tftp))
}

/// Binds the syslog receiver, if it is on.
fn bind_syslog(config: &Config, summary: &mut Vec<String>) -> Result<Option<syslog::Bound>, StartError> {
    summary.extend(config.syslog.map(syslog::summary));
    config.syslog.map(syslog::Bound::bind).transpose()
}

/// The settings `file` with the changes of people, and a warning if these cannot be read.
fn with_changes(file: &Config, storage: LeaseStorage) -> (Config, Start, Option<String>) {
    let (changes, damage) = match storage {
        LeaseStorage::OnDisk => ChangeStore::open(&file.state),
        LeaseStorage::InMemory => (ChangeStore::default(), None),
    };
    let Applied { config, unused } = apply(file, &changes.now());
    (config, Start { file: Arc::new(file.clone()), changes, unused }, damage)
}

/// Binds the web listener, except for benchmarks, which run beside other servers. Default addresses that are taken are
/// added to `wrong`.
fn bind_web(
    now: &Now,
    storage: LeaseStorage,
    api: &Api,
    wrong: &mut Vec<String>,
) -> Result<Option<web::Bound>, StartError> {
    if storage == LeaseStorage::InMemory {
        return Ok(None);
    }
    let (bound, taken) = web::Bound::bind(&now.borrow().config, api)?;
    wrong.extend(taken);
    Ok(Some(bound))
}

/// Makes the token for changes through the web listener, where the state folder exists. Returns the reason if there can
/// be none; without the token, no request may change anything.
fn make_token(config: &Config, storage: LeaseStorage) -> Option<String> {
    let settings = config.web.as_ref().filter(|_| storage == LeaseStorage::OnDisk)?;
    if !settings.is_listen_given && !config.state.is_dir() {
        return None;
    }
    let made = token::read_or_create(&config.state);
    made.err().filter(|_| settings.is_listen_given).map(|error| error.to_string())
}

/// Binds the control socket. A server without leases has one only if its state folder exists already, because it stores
/// nothing else there.
fn bind_control(
    config: &Config,
    storage: LeaseStorage,
    api: &Api,
    warnings: &mut Vec<String>,
) -> Option<Control> {
    let gives = served::may_be(config, Mode::Server);
    // Without a database, `lanboot leases` has no lease to release.
    if storage == LeaseStorage::InMemory || !(gives || config.state.is_dir()) {
        return None;
    }
    let control = Control::bind(&config.state, router(api));
    warnings.extend(control.as_ref().err().filter(|_| gives).cloned());
    control.ok()
}
