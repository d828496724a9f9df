//! Sockets, tasks, and the life of the process: bind → ready → run → drain → stop.
//!
//! `dhcp.rs` is the way of a DISCOVER from top to bottom, `tftp.rs` that of a read request. This folder never
//! decides who gets which address or file; it does what `dhcp/` and `boot/` say.

mod address;
mod checks;
pub mod clock;
mod commit;
pub mod control;
mod descriptors;
mod dhcp;
pub mod drain;
pub mod files;
pub mod http;
pub mod interface;
pub mod known;
mod later;
pub mod leases;
mod listen;
pub mod notify;
mod observe;
mod ping;
pub mod port;
mod proxy;
mod slot;
mod socket;
mod subject;
mod taps;
pub mod targets;
pub mod templates;
mod texts;
pub mod tftp;
pub mod tftp_async;
pub mod tftp_upload;
pub mod told;
mod transfers;
mod watch;

use std::fmt;
use std::future::Future;
use std::net::{SocketAddrV4, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use crate::boot::plan::Mode;
use crate::config::Config;
use crate::dhcp::subnet::Settings;
use crate::images::Catalog;
use crate::lease::{Lease, LeaseBook};
use crate::server::address::{interfaces, listed, listen_addresses};
use crate::server::checks::Checker;
use crate::server::clock::Clock;
use crate::server::commit::Committer;
use crate::server::control::Control;
use crate::server::dhcp::DhcpServer;
use crate::server::drain::Serving;
use crate::server::files::Files;
use crate::server::interface::Interface;
use crate::server::known::Known;
use crate::server::later::Later;
use crate::server::leases::{Filled, Opened};
use crate::server::listen::Listeners;
use crate::server::observe::Recorder;
use crate::server::proxy::Proxy;
use crate::server::socket::{DhcpSocket, Sharing};
use crate::server::targets::Starts;
use crate::server::transfers::Transfers;

/// Why the server could not start: what was attempted, on what, and what to do.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A server with all its sockets bound and its leases loaded, ready to run.
#[derive(Debug)]
pub struct Server {
    dhcp: Option<(DhcpServer, Option<Control>)>,
    boot_files: Option<(Arc<Proxy>, Listeners)>,
    tftp: Option<Transfers>,
    http: Option<(Vec<TcpListener>, http::Service)>,
    /// Those that are served.
    interfaces: Vec<Interface>,
    recorder: Recorder,
    summary: Vec<String>,
    warnings: Vec<String>,
}

/// Where leases are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// In the state folder, durably.
    OnDisk,
    /// In memory, so that nothing survives: what remains is the cost of everything but the disk.
    InMemory,
}

impl Server {
    /// Binds every socket, opens the folder of boot files and loads the leases. Nothing is answered before `run`.
    pub fn bind(config: &Config, keep: Keep) -> Result<Server, StartError> {
        let recorder = Recorder::default();
        let interfaces = interfaces(config)?;
        let mut summary = Vec::new();
        let mut warnings = Vec::new();
        let known = Known::default();
        let files = match config.tftp.is_some() || config.http.is_some() {
            true => Some(open_files(config, keep, known.clone(), &mut warnings)?),
            false => None,
        };
        let (mut dhcp, mut boot_files) = (None, None);
        if let Some(settings) = &config.dhcp {
            let proxy = Arc::new(proxy(settings, &interfaces, (files.clone(), known), &recorder)?);
            let on = |mode| with_mode(settings, &interfaces, mode);
            let (given, proxied) = (on(Mode::Server), on(Mode::Proxy));
            if !given.is_empty() {
                let notes = (&mut summary, &mut warnings);
                dhcp = Some(bind_dhcp(config, &proxy, (&given, &proxied), keep, notes)?);
            }
            let listeners = Listeners::bind(settings.ports, &proxied, &given, &mut warnings)?;
            summary.extend(describe_proxy(settings, &proxied));
            boot_files = Some((proxy, listeners));
        }
        let subnets = config.dhcp.iter().flat_map(|settings| &settings.subnets).map(|subnet| subnet.network);
        let served = interfaces
            .iter()
            .flat_map(|interface| interface.networks.iter().copied())
            .chain(subnets)
            .collect();
        let mut http = None;
        if let (Some(settings), Some(files)) = (&config.http, &files) {
            let addresses = listen_addresses(&settings.listen, settings.port, &interfaces);
            let service = http::Service::new(files.clone(), recorder.clone(), http::Patience::DEFAULT);
            http = Some((http::bind(&addresses)?, service));
            summary.push(format!("HTTP on {} from {}", listed(&addresses), config.images.display()));
        }
        let mut tftp = None;
        if let (Some(settings), Some(files)) = (&config.tftp, files) {
            let transfers = Transfers::bind(settings, &interfaces, files, served)?;
            let addresses: Vec<SocketAddrV4> = transfers.addresses().collect();
            summary.push(format!("TFTP on {} from {}", listed(&addresses), config.images.display()));
            tftp = Some(transfers);
        }
        Ok(Server { dhcp, boot_files, tftp, http, interfaces, recorder, summary, warnings })
    }

    /// What is served, where, in which mode and from which folder: a line each.
    pub fn summary(&self) -> &[String] {
        &self.summary
    }

    /// What works less well than it could, and what to do about it: a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Serves until `stop` completes, then stores and answers what waits for the disk, and lets transfers come to their
    /// end ([`drain`]) until `hurry` completes.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let tftp = match self.tftp {
            Some(transfers) => Some(transfers.start(&self.recorder)?),
            None => None,
        };
        let http = match self.http {
            Some((listeners, service)) => Some(http::Threads::start(listeners, &service)?),
            None => None,
        };
        let boot_files = match self.boot_files {
            Some((proxy, listeners)) => Some(listeners.serve_apart(proxy)?),
            None => None,
        };
        let watch = tokio::spawn(watch::watch(self.interfaces));
        match self.dhcp {
            Some((dhcp, control)) => {
                let control = control.map(|control| tokio::spawn(control.serve()));
                let ended = dhcp.run_apart(stop).await;
                control.inspect(JoinHandle::abort);
                ended?;
            }
            None => stop.await,
        }
        watch.abort();
        drop(boot_files);
        Serving { http, tftp }.drain(hurry).await;
        for (reason, count) in self.recorder.drops() {
            tracing::info!("dropped in all: {count} reason={reason}");
        }
        Ok(())
    }
}

/// The folder of boot files, and what machines start.
fn open_files(
    config: &Config,
    keep: Keep,
    known: Known,
    warnings: &mut Vec<String>,
) -> Result<Files, StartError> {
    let catalog = Catalog::open(&config.images).map_err(|error| StartError(error.to_string()))?;
    warnings.extend(state_among_images(config));
    let starts = match keep {
        Keep::OnDisk => {
            let (starts, warning) = Starts::open(config);
            warnings.extend(warning);
            starts
        }
        Keep::InMemory => Starts::forgetful(config),
    };
    Ok(Files::new(catalog, known).starting(starts))
}

/// What is to be said if clients can download what the server remembers.
fn state_among_images(config: &Config) -> Option<String> {
    let (state, images) = (config.state.canonicalize().ok()?, config.images.canonicalize().ok()?);
    state.starts_with(&images).then(|| {
        let (state, images) = (config.state.display(), config.images.display());
        format!(
            "the state folder {state} is in {images}: every machine can read the leases. Move it elsewhere"
        )
    })
}

fn open_leases(state: &Path, keep: Keep) -> Result<Opened, StartError> {
    if keep == Keep::InMemory {
        return Ok(leases::in_memory());
    }
    let folder = state.display();
    std::fs::create_dir_all(state).map_err(|error| {
        StartError(format!(
            "cannot make the state folder {folder}: {error}; set `state` to a folder that can be written"
        ))
    })?;
    leases::open(state).map_err(|error| StartError(error.to_string()))
}

/// Those of `interfaces` where lanboot is `mode`.
fn with_mode(settings: &Settings, interfaces: &[Interface], mode: Mode) -> Vec<Interface> {
    interfaces.iter().filter(|i| settings.modes.on(&i.name) == Some(mode)).cloned().collect()
}

fn proxy(
    settings: &Settings,
    interfaces: &[Interface],
    (files, known): (Option<Files>, Known),
    recorder: &Recorder,
) -> Result<Proxy, StartError> {
    let later = Later::start(recorder.clone())
        .map_err(|error| StartError(format!("cannot start the thread of replies that wait: {error}")))?;
    let served = interfaces.iter().filter(|i| settings.modes.on(&i.name).is_some());
    Ok(Proxy {
        settings: Arc::new(settings.clone()),
        interfaces: served.map(|i| (i.index, i.clone())).collect(),
        files,
        known,
        guard: Mutex::default(),
        strangers: Mutex::default(),
        clock: Clock::start(),
        later,
        recorder: recorder.clone(),
    })
}

/// Binds the sockets of the DHCP server and takes the stored leases into its book. It gives addresses on the first
/// interfaces, and hears for `proxy` on the second ones. `notes` are the lines of the summary and the warnings.
fn bind_dhcp(
    config: &Config,
    proxy: &Arc<Proxy>,
    (interfaces, proxied): (&[Interface], &[Interface]),
    keep: Keep,
    (summary, warnings): (&mut Vec<String>, &mut Vec<String>),
) -> Result<(DhcpServer, Option<Control>), StartError> {
    let (settings, recorder) = (&proxy.settings, &proxy.recorder);
    let port = settings.ports.server;
    let all = [interfaces, proxied].concat();
    let (socket, refused) = DhcpSocket::bind(port, "dhcp.ports.server", Sharing::Alone, &all)?;
    warnings.extend(refused);
    summary.extend(describe_dhcp(settings, interfaces, warnings));
    let Opened { store, clock, leases, skipped, shift } = open_leases(&config.state, keep)?;
    let kept = if keep == Keep::OnDisk { config.state.as_path() } else { Path::new("memory") };
    let book = fill_book(settings, leases, kept, summary, warnings);
    if skipped > 0 {
        warnings.push(format!("{skipped} rows of the lease database are no leases and left alone"));
    }
    if shift != 0 {
        warnings.push(format!(
            "the system's clock was set by {shift} seconds: leases keep the time that they had left"
        ));
    }
    let socket = Arc::new(socket);
    let (checker, refused) = Checker::start(settings.conflict_check, interfaces);
    warnings.extend(refused);
    let (control, asks) = Control::bind(&config.state);
    warnings.extend(control.as_ref().err().cloned());
    // Without a database there is nothing that a command could release.
    let control = control.ok().filter(|_| keep == Keep::OnDisk);
    let committer = Committer::start(store, clock, Arc::clone(&socket), recorder.clone())
        .map_err(|error| StartError(format!("cannot start the thread that stores leases: {error}")))?;
    let dhcp = DhcpServer {
        settings: Arc::clone(settings),
        book,
        interfaces: proxy.interfaces.clone(),
        socket,
        proxy: Arc::clone(proxy),
        committer,
        checker,
        clock,
        asks,
        files: proxy.files.clone(),
        known: proxy.known.clone(),
        recorder: recorder.clone(),
    };
    Ok((dhcp, control))
}

/// The stored leases in a new book. Those outside every subnet are left alone, for the subnet may come back.
fn fill_book(
    settings: &Settings,
    leases: Vec<Lease>,
    kept: &Path,
    summary: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> LeaseBook {
    let all = leases.len();
    let Filled { book, own, known } = leases::book(settings, leases);
    for address in own {
        warnings.push(format!("{address} is this computer's own and in a pool: it is given to nobody"));
    }
    summary.push(format!("{known} leases in {}", kept.display()));
    if known < all {
        warnings.push(format!("{} stored leases are in none of the subnets and left alone", all - known));
    }
    book
}

/// A line for each interface where another server gives the addresses.
fn describe_proxy(settings: &Settings, interfaces: &[Interface]) -> Vec<String> {
    let ports = settings.ports;
    let line = |interface: &Interface| {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let (name, addresses) = (&interface.name, addresses.join(", "));
        format!("proxyDHCP on {name} {addresses} ports {} and {}", ports.server, ports.proxy)
    };
    interfaces.iter().map(line).collect()
}

/// A line for each subnet, and a warning for each that no served interface is in.
fn describe_dhcp(settings: &Settings, interfaces: &[Interface], warnings: &mut Vec<String>) -> Vec<String> {
    let port = settings.ports.server;
    let mut lines = Vec::new();
    for interface in interfaces {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        lines.push(format!("DHCP server on {} {} port {port}", interface.name, addresses.join(", ")));
    }
    for subnet in &settings.subnets {
        let pools: Vec<String> = subnet.pools.iter().map(ToString::to_string).collect();
        let pools = if pools.is_empty() { "reservations only".to_owned() } else { pools.join(", ") };
        lines.push(format!("subnet {} gives {pools}", subnet.network));
        let on_wire = interfaces.iter().flat_map(|i| i.addresses.iter()).any(|a| subnet.network.contains(*a));
        if !on_wire {
            warnings.push(format!(
                "subnet {}: no served interface has an address in it, so only relay agents reach it",
                subnet.network
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use crate::lease::{Holder, State};
    use crate::types::{ClientId, MacAddr, Timestamp};

    #[test]
    fn after_a_restart_a_client_is_found_by_what_it_has_and_own_addresses_are_not_given() {
        let yaml = "dhcp: {mode: server, subnets: [{network: 127.0.0.0/8, pool: 127.0.0.1-127.0.0.99}]}";
        let settings = crate::config::load(yaml).unwrap().dhcp.unwrap();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let who = Holder { client: ClientId::of_mac(mac), mac: Some(mac), boots: false };
        let at = Timestamp::from_seconds;
        let lease = |last, state, until| {
            let address = Ipv4Addr::new(127, 0, 0, last);
            Lease { address, holder: who.clone(), hardware: mac.into(), state, until: at(until) }
        };
        let (has, had) = (lease(50, State::Leased, 900), lease(70, State::Leased, 100));
        let declined = lease(60, State::Declined, 9000);
        let (mut summary, mut warnings) = (vec![], vec![]);
        let leases = vec![has.clone(), declined, had];
        let mut book = fill_book(&settings, leases, Path::new("here"), &mut summary, &mut warnings);
        assert_eq!(book.of_client(0, &who, at(500)).map(|(address, _)| address), Some(has.address));
        assert!(
            warnings.iter().any(|line| line.starts_with("127.0.0.1 is this computer's own")),
            "{warnings:?}"
        );
        book.settle(at(500));
        let stranger = Holder { client: ClientId::from_stored(b"xy").unwrap(), mac: None, boots: false };
        assert_eq!(book.find_address(0, &stranger, None, false, at(500)), Some(Ipv4Addr::new(127, 0, 0, 2)));
    }
}
