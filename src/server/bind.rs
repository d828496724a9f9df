//! Binds all sockets: turns the configuration into a server that is ready to run. `cli/serve.rs` calls it before the
//! process gives up root's rights. It never answers a client.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::watch::channel;

use crate::api::commands::ToLoop;
use crate::api::handles::Api;
use crate::api::reloader::Reloader;
use crate::api::router;
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::content::folders;
use crate::content::lookup::Files;
use crate::content::machines::MachineTable;
use crate::content::once::BootState;
use crate::images::Catalog;
use crate::net::StartError;
use crate::net::served::{self, find_or_fail};
use crate::net::snapshot::{Now, Snapshot};
use crate::record::Recorder;
use crate::server::control::Control;
use crate::server::dhcp::running::{Parts, Sockets};
use crate::server::tftp::Transfers;
use crate::server::watch::{Watch, out_of_reach};
use crate::server::{Server, http};
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
        let (served, absent) = find_or_fail(config)?;
        let mut wrong = absent;
        if let Some(settings) = &config.dhcp {
            wrong.extend(served.out_of_reach(settings).into_iter().map(out_of_reach));
        }
        let (sender, now) = channel(Arc::new(Snapshot::new(config.clone(), served)));
        let (mut summary, mut warnings) = (Vec::new(), wrong.clone());
        let known = MachineTable::new(now.clone(), recorder.clone());
        let files = match config.tftp.is_some() || config.http.is_some() {
            true => Some(open_files(config, storage, (&now, known.clone()), &mut warnings)?),
            false => None,
        };
        let parts = Parts {
            now: now.clone(),
            files: files.clone(),
            known,
            recorder: recorder.clone(),
            storage,
            commands: ToLoop::default(),
        };
        let sockets = Sockets::bind(config, &parts, &mut warnings)?;
        let (http, tftp) = bind_file_services(config, &parts, &mut summary)?;
        let (reloader, requests) = Reloader::new();
        let api = Api {
            now: now.clone(),
            recorder: recorder.clone(),
            state: config.state.as_path().into(),
            commands: parts.commands.clone(),
            reloader: reloader.clone(),
            files: files.clone(),
            started: recorder.now(),
        };
        let control = bind_control(config, storage, &api, &mut warnings);
        confine()?;
        let mut dhcp = None;
        if let Some(sockets) = sockets {
            let mut lines = Vec::new();
            dhcp = sockets.start(config, &parts, (&mut lines, &mut warnings))?;
            summary.splice(0..0, lines);
        }
        let watch = Watch::new(sender, requests, wrong);
        let statistics = Arc::default();
        Ok(Server {
            dhcp,
            parts,
            control,
            tftp,
            http,
            files,
            watch,
            reloader,
            recorder,
            statistics,
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
    let Some(files) = files else { return Ok((None, None)) };
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

/// Opens the folder of boot files and the state of the machines' `once`.
fn open_files(
    config: &Config,
    storage: LeaseStorage,
    (now, known): (&Now, MachineTable),
    warnings: &mut Vec<String>,
) -> Result<Files, StartError> {
    if let Some((key, problem)) = folders::problems(config).into_iter().next() {
        return Err(StartError(format!("`{key}`: {problem}")));
    }
    let catalog = Catalog::open_hiding(&config.images, folders::secrets(config)).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::NotFound => "; create it, or set `images` to another folder",
            _ => "",
        };
        StartError(format!("{error}{advice}"))
    })?;
    catalog.reports().connect(known.recorder().reporter());
    let boot_state = match storage {
        LeaseStorage::OnDisk => {
            let (boot_state, warning) = BootState::open(config);
            warnings.extend(warning);
            boot_state
        }
        LeaseStorage::InMemory => BootState::in_memory(config),
    };
    Ok(Files::new(catalog, known).with_boot_state(boot_state).following(now.clone()))
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
