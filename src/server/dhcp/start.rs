//! Binds the sockets of the DHCP server, opens its store, and starts its threads. `Server::bind_then` calls both steps,
//! and gives up the rights of root between them. Nothing here answers a client.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api::commands::Command;
use crate::config::Config;
use crate::dhcp::engine::{Effects, Engine};
use crate::dhcp::settings::Settings;
use crate::lease::{Lease, LeaseBook};
use crate::net::StartError;
use crate::net::served::describe_dhcp;
use crate::net::snapshot::Now;
use crate::net::udp::{DhcpSocket, Sharing};
use crate::server::dhcp::DhcpServer;
use crate::server::dhcp::commands::Commands;
use crate::server::dhcp::commit::Committer;
use crate::server::dhcp::conflict_checks::Checker;
use crate::server::dhcp::proxy::Proxy;
use crate::server::dhcp::renewals::Renewals;
use crate::store::open::{self, FilledBook, OpenedStore, own_address_in_pool, own_address_reserved};
use crate::store::{Findings, LeaseStorage};

fn open_leases(state: &Path, storage: LeaseStorage) -> Result<OpenedStore, StartError> {
    if storage == LeaseStorage::InMemory {
        return Ok(open::in_memory());
    }
    // Log now: the start may still fail, and the next start no longer finds these losses.
    let log = |findings: &Findings| {
        findings.new.iter().for_each(|line| tracing::warn!("{line}"));
        findings.losses.iter().for_each(|line| tracing::error!("{line}"));
    };
    open::open(state, log).map_err(|error| StartError(error.to_string()))
}

/// The sockets and the store of the DHCP server, before any of its threads runs.
pub(in crate::server) struct BoundDhcp {
    socket: DhcpSocket,
    opened: OpenedStore,
    commands: Commands,
}

impl BoundDhcp {
    pub(in crate::server) fn bind(
        config: &Config,
        settings: &Settings,
        now: &Now,
        storage: LeaseStorage,
        warnings: &mut Vec<String>,
    ) -> Result<BoundDhcp, StartError> {
        let bound = DhcpSocket::bind(settings.ports.server, "dhcp.ports.server", Sharing::Alone)?;
        let (socket, refused) = bound.with_frames(now.clone());
        warnings.extend(refused);
        let opened = open_leases(&config.state, storage)?;
        Ok(BoundDhcp { socket, opened, commands: Commands::default() })
    }

    /// Sends commands to the DHCP loop, once it runs.
    pub(in crate::server) fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.sender()
    }
}

/// Starts the threads of the DHCP server and loads the stored leases into its book. The server shares observations with
/// the engine of `proxy`. Lines for the start are added to `summary` and `warnings`.
pub(in crate::server) fn start_dhcp(
    BoundDhcp { socket, opened, commands }: BoundDhcp,
    (config, settings): (&Config, &Arc<Settings>),
    proxy: &Arc<Proxy>,
    storage: LeaseStorage,
    (summary, warnings): (&mut Vec<String>, &mut Vec<String>),
) -> Result<DhcpServer, StartError> {
    let Proxy { recorder, now, .. } = &**proxy;
    let served = Arc::clone(&now.borrow().interfaces);
    summary.extend(describe_dhcp(settings, &served));
    let OpenedStore { store, clock, leases, skipped, shift } = opened;
    let kept = if storage == LeaseStorage::OnDisk { config.state.as_path() } else { Path::new("memory") };
    let machines = settings.machines.iter();
    let reserved =
        machines.flat_map(|machine| machine.addresses.iter().map(|address| (&machine.name, *address)));
    let wrong = reserved.filter(|(_, address)| served.own.contains(address));
    warnings.extend(wrong.map(|(name, address)| own_address_reserved(name, address)));
    let book = fill_book(settings, leases, &served.own, kept, (summary, warnings));
    if skipped > 0 {
        warnings.push(format!("{skipped} rows of the lease database are no leases and left alone"));
    }
    if shift != 0 {
        warnings.push(format!(
            "the system's clock was set by {shift} seconds: leases storage the time that they had left"
        ));
    }
    let socket = Arc::new(socket);
    let (checker, refused) = Checker::start(settings.conflict_check, now.clone());
    warnings.extend(refused);
    let committer = Committer::start(store, clock, Arc::clone(&socket), recorder.clone())
        .map_err(|error| StartError(format!("cannot start the thread that stores leases: {error}")))?;
    Ok(DhcpServer {
        engine: proxy.share(Engine::new(Arc::clone(settings), book)),
        effects: Effects::new(),
        served,
        changes: now.clone(),
        socket,
        proxy: Arc::clone(proxy),
        committer,
        renewals: Renewals::default(),
        checker,
        clock,
        commands,
        files: proxy.files.clone(),
        known: proxy.known.clone(),
        recorder: recorder.clone(),
    })
}

/// Fills a new book with the stored leases. Leases outside every subnet stay in the store, because their subnet may be
/// configured again.
fn fill_book(
    settings: &Settings,
    leases: Vec<Lease>,
    own: &[Ipv4Addr],
    kept: &Path,
    (summary, warnings): (&mut Vec<String>, &mut Vec<String>),
) -> LeaseBook {
    let all = leases.len();
    let FilledBook { book, own, known } = open::fill_book(settings, leases, own);
    for address in own {
        warnings.push(own_address_in_pool(address));
    }
    summary.push(format!("{known} leases in {}", kept.display()));
    if known < all {
        warnings.push(format!("{} stored leases are in none of the subnets and left alone", all - known));
    }
    book
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::lease::{Holder, Seeker, State};
    use crate::types::{ClientId, MacAddr, Timestamp};

    #[test]
    fn after_a_restart_clients_are_found_and_own_addresses_excluded() {
        let yaml = "dhcp: {mode: server, subnets: [{network: 127.0.0.0/8, pool: 127.0.0.1-127.0.0.99}]}";
        let settings = crate::config::load(yaml).unwrap().dhcp.unwrap();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let who = Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false };
        let at = Timestamp::from_seconds;
        let lease = |last, state, until| {
            let address = Ipv4Addr::new(127, 0, 0, last);
            Lease { address, holder: who.clone(), hardware: mac.into(), state, until: at(until) }
        };
        let (has, had) = (lease(50, State::Leased, 900), lease(70, State::Leased, 100));
        let declined = lease(60, State::Declined, 9000);
        let (mut summary, mut warnings) = (vec![], vec![]);
        let leases = vec![has.clone(), declined, had];
        let (own, here) = ([Ipv4Addr::LOCALHOST], Path::new("here"));
        let mut book = fill_book(&settings, leases, &own, here, (&mut summary, &mut warnings));
        assert_eq!(book.binding_of(0, &who, at(500)).map(|(address, _)| address), Some(has.address));
        assert!(
            warnings.iter().any(|line| line.starts_with("127.0.0.1 is this computer's own")),
            "{warnings:?}"
        );
        book.expire(at(500));
        let stranger =
            Holder { client: ClientId::from_stored(b"xy").unwrap(), mac: None, is_boot_stage: false };
        let seeker = Seeker { holder: &stranger, is_expected: false, may_use: &|_, _| true, avoided: &[] };
        assert_eq!(book.find_address(0, &seeker, None, at(500)), Some(Ipv4Addr::new(127, 0, 0, 2)));
    }
}
