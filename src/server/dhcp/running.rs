//! The threads of DHCP while the server runs: the loop that gives addresses, and the proxy with its sockets. A reload
//! starts and stops them when DHCP is turned on or off, or when a port or the need for the server's port changes. All
//! other settings reach the threads by the snapshot.

use std::io;
use std::sync::Arc;

use crate::api::commands::ToLoop;
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::content::changes::ChangeStore;
use crate::content::folders;
use crate::content::lookup::Files;
use crate::content::machines::MachineTable;
use crate::content::once::BootState;
use crate::content::served_files::ServedFiles;
use crate::dhcp::settings::Ports;
use crate::event::ServerFact;
use crate::images::{Catalog, UPLOADED};
use crate::net::StartError;
use crate::net::served::{describe_proxy, may_be};
use crate::net::snapshot::{Now, Snapshot};
use crate::net::udp::{DhcpSocket, Sharing};
use crate::record::Recorder;
use crate::server::dhcp::DhcpServer;
use crate::server::dhcp::boot_questions::BootQuestions;
use crate::server::dhcp::decline_senders::Senders;
use crate::server::dhcp::delayed::DelayedSender;
use crate::server::dhcp::proxy::{Proxy, boot_engine};
use crate::server::dhcp::proxy_listeners::Listeners;
use crate::server::dhcp::start::{BoundDhcp, start_dhcp};
use crate::server::dhcp::thread::{Faults, Running};
use crate::store::{LeaseStorage, create_state_folder};

/// Everything that DHCP needs besides the settings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Parts {
    pub now: Now,
    /// Finds the sizes of boot files, if files are served.
    pub files: ServedFiles,
    pub known: MachineTable,
    pub recorder: Recorder,
    pub storage: LeaseStorage,
    /// Brings commands to the loop.
    pub commands: ToLoop,
    /// The changes that people have made to the running server.
    pub changes: ChangeStore,
    /// The questions that the boot service received.
    pub questions: BootQuestions,
}

impl Parts {
    /// Opens the folder of boot files and the state of the machines' `once`. The text is a warning about the latter.
    ///
    /// # Errors
    /// If the folder cannot be served, with advice.
    pub fn open_files(&self, config: &Config) -> Result<(Files, Option<String>), StartError> {
        if let Some((key, problem)) = folders::problems(config).into_iter().next() {
            return Err(StartError(format!("`{key}`: {problem}")));
        }
        let catalog = Catalog::open_hiding(&config.images, folders::secrets(config)).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "; create it, or set `images` to another folder",
                _ => "",
            };
            StartError(format!("{error}{advice}"))
        })?;
        catalog.reports().connect(self.recorder.reporter());
        let (boot_state, warning) = match self.storage {
            LeaseStorage::OnDisk => BootState::open(config),
            LeaseStorage::InMemory => (BootState::in_memory(config), None),
        };
        let uploaded = config.state.join(UPLOADED);
        if uploaded.is_dir() {
            catalog.serve_uploaded(&uploaded).map_err(|error| StartError(error.to_string()))?;
        }
        let boot_state = boot_state.with_changes(self.changes.clone());
        let files = Files::new(catalog, self.known.clone()).with_boot_state(boot_state);
        Ok((files.following(self.now.clone()), warning))
    }
}

/// The bound sockets and the open store, before any thread runs.
pub struct Sockets {
    server: Option<BoundDhcp>,
    listeners: Listeners,
}

/// DHCP with its leases loaded, before it receives.
#[derive(Debug)]
pub struct Ready {
    server: Option<DhcpServer>,
    proxy: Arc<Proxy>,
    listeners: Listeners,
}

impl Sockets {
    /// Binds the ports, and opens the store if this server gives addresses.
    pub fn bind(
        config: &Config,
        parts: &Parts,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Sockets>, StartError> {
        let Some(settings) = &config.dhcp else { return Ok(None) };
        let gives = may_be(config, Mode::Server);
        let mut server = None;
        if gives {
            server = Some(BoundDhcp::bind(config, settings, &parts.now, parts.storage, warnings)?);
        }
        let listeners = Listeners::bind(settings, &parts.now, gives, warnings)?;
        Ok(Some(Sockets { server, listeners }))
    }

    /// Loads the leases and starts the threads that do not receive. Lines for the start are added to `summary` and
    /// `warnings`.
    pub fn start(
        self,
        config: &Config,
        parts: &Parts,
        (summary, warnings): (&mut Vec<String>, &mut Vec<String>),
    ) -> Result<Option<Ready>, StartError> {
        let Some(settings) = &config.dhcp else { return Ok(None) };
        let Parts { now, files, known, recorder, storage, commands, questions, .. } = parts.clone();
        let delayed = DelayedSender::start(recorder.clone())
            .map_err(|error| StartError(format!("cannot start the thread of replies that wait: {error}")))?;
        let (engine, senders, clock) = (boot_engine(settings), Senders::default(), recorder.clock());
        let proxy =
            Arc::new(Proxy { engine, now, files, known, senders, questions, clock, delayed, recorder });
        let mut server = None;
        if let Some(bound) = self.server {
            commands.connect(Some(bound.commands()));
            server = Some(start_dhcp(bound, (config, settings), &proxy, storage, (summary, warnings))?);
        }
        summary.extend(describe_proxy(settings, &proxy.now.borrow().interfaces));
        Ok(Some(Ready { server, proxy, listeners: self.listeners }))
    }
}

/// DHCP as it runs now.
#[derive(Debug)]
pub struct Dhcp {
    server: Option<Running>,
    proxy: Option<Running>,
    /// `None` if DHCP does not run.
    shape: Option<Shape>,
    pub(in crate::server) parts: Parts,
    faults: Faults,
}

/// The settings that decide which sockets and threads there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    /// Whether lanboot may be the server on some interface.
    gives: bool,
    ports: Ports,
}

impl Shape {
    fn of(config: &Config) -> Option<Shape> {
        let settings = config.dhcp.as_ref()?;
        Some(Shape { gives: may_be(config, Mode::Server), ports: settings.ports })
    }
}

impl Dhcp {
    /// DHCP that does not run yet.
    pub fn new(parts: Parts, faults: Faults) -> Dhcp {
        Dhcp { server: None, proxy: None, shape: None, parts, faults }
    }

    /// Starts the threads of `ready`, which was made for `config`.
    ///
    /// # Errors
    /// If the kernel provides no thread or descriptor.
    pub fn run(&mut self, ready: Ready, config: &Config) -> io::Result<()> {
        let Ready { server, proxy, listeners } = ready;
        self.server = server.map(|server| server.run_apart(self.faults.clone())).transpose()?;
        self.proxy = Some(listeners.serve_apart(proxy)?);
        self.shape = Shape::of(config);
        Ok(())
    }

    /// Stores and answers the waiting leases, and closes all sockets. It blocks.
    pub fn stop(&mut self) {
        self.server.take().into_iter().for_each(Running::stop);
        self.proxy.take().into_iter().for_each(Running::stop);
        self.parts.commands.connect(None);
        self.shape = None;
    }

    /// The reasons why DHCP cannot change to `snapshot`: a port that cannot be bound, a state folder that cannot be
    /// made. Nothing changes.
    pub fn refused(&self, snapshot: &Snapshot) -> Vec<String> {
        let (old, Some(new)) = (self.shape, Shape::of(&snapshot.config)) else { return Vec::new() };
        if old == Some(new) {
            return Vec::new();
        }
        let mut refused = Vec::new();
        let gave = old.is_some_and(|old| old.gives);
        if new.gives && !(gave && old.is_some_and(|old| old.ports.server == new.ports.server)) {
            // A proxy may have the port already, and shares it.
            let is_ours = old.is_some_and(|old| old.ports.server == new.ports.server);
            let sharing = if is_ours { Sharing::Shared } else { Sharing::Alone };
            refused.extend(DhcpSocket::bind(new.ports.server, "dhcp.ports.server", sharing).err());
        }
        if old.is_none_or(|old| old.ports.proxy != new.ports.proxy) && !new.gives {
            refused.extend(DhcpSocket::bind(new.ports.proxy, "dhcp.ports.proxy", Sharing::Alone).err());
        }
        let mut refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        let state = &snapshot.config.state;
        if new.gives
            && !gave
            && let Err(error) = create_state_folder(state)
        {
            let folder = state.display();
            refused.push(format!("state: cannot make {folder}: {error}; this needs a restart of lanboot"));
        }
        refused
    }

    /// Starts and stops DHCP, if `snapshot` needs other sockets or threads. Leases on disk stay, and offers are made
    /// again.
    ///
    /// # Errors
    /// DHCP does not run, and the next call tries again.
    pub fn follow(&mut self, snapshot: &Snapshot) -> Result<(), StartError> {
        let config = &snapshot.config;
        if self.shape == Shape::of(config) {
            return Ok(());
        }
        self.stop();
        let (mut summary, mut warnings) = (Vec::new(), Vec::new());
        let started = match Sockets::bind(config, &self.parts, &mut warnings)? {
            Some(sockets) => sockets.start(config, &self.parts, (&mut summary, &mut warnings))?,
            None => None,
        };
        match started {
            Some(ready) => self
                .run(ready, config)
                .map_err(|error| StartError(format!("cannot start the threads of DHCP: {error}")))?,
            None => self.parts.recorder.server(ServerFact::ServiceChanged, "DHCP is off"),
        }
        let recorder = &self.parts.recorder;
        summary.into_iter().for_each(|line| recorder.server(ServerFact::ServiceChanged, line));
        warnings.into_iter().for_each(|line| recorder.server(ServerFact::NotServed, line));
        Ok(())
    }
}
