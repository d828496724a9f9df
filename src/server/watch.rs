//! Replaces the snapshot: after a reload of the configuration, and when the network interfaces change. They go down and
//! up, change addresses, are created and deleted. The server adapts without a restart. The kernel reports changes over netlink, but a periodic check finds them even if a
//! report is lost.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::api::reloader::{Problems, Request};
use crate::config::Config;
use crate::config::changes::{Applied, apply};
use crate::content::changes::ChangeStore;
use crate::event::ServerFact;
use crate::net::interface::Interface;
use crate::net::readable::readable;
use crate::net::served::{Served, find, find_or_fail, listed};
use crate::net::snapshot::{Now, Snapshot};
use crate::record::Recorder;
use crate::server::drain::Serving;
use crate::server::reload::{Source, needs_restart};
use crate::types::Ipv4Network;

/// Interval of the check without a report from the kernel. Failed listeners are retried at the same time.
const PAUSE: Duration = Duration::from_secs(5);
/// Time to wait for further reports: an interface that comes up gets its address a moment later.
const SETTLE: Duration = Duration::from_millis(100);
/// Maximum number of reports that are skipped at once.
const MAX_REPORTS: usize = 1024;

/// Checks the interfaces and publishes the snapshot. It is the only place that replaces it.
#[derive(Debug)]
pub struct Watch {
    now: watch::Sender<Arc<Snapshot>>,
    /// The configuration file; `None` if the server cannot reload.
    pub(super) source: Option<Source>,
    requests: mpsc::Receiver<Request>,
    /// The settings of the file, without the changes of `changes`.
    file: Arc<Config>,
    changes: ChangeStore,
    /// The changes that have no effect, one line each.
    unused: Vec<String>,
    /// The named interfaces that cannot be served, one line each.
    absent: Vec<String>,
    /// The problems that were logged last.
    logged: BTreeSet<String>,
}

/// The settings with which a server starts: those of the file, and the changes to them.
#[derive(Debug)]
pub struct Start {
    pub file: Arc<Config>,
    pub changes: ChangeStore,
    /// The changes that have no effect, one line each.
    pub unused: Vec<String>,
}

impl Watch {
    /// Publishes to `now`. The problems in `logged` were already logged.
    pub fn new(
        now: watch::Sender<Arc<Snapshot>>,
        requests: mpsc::Receiver<Request>,
        start: Start,
        logged: Vec<String>,
    ) -> Watch {
        let Start { file, changes, unused } = start;
        let logged = logged.into_iter().chain(unused.iter().cloned()).collect();
        Watch { now, source: None, requests, file, changes, unused, absent: Vec::new(), logged }
    }

    pub fn now(&self) -> Now {
        self.now.subscribe()
    }

    /// Follows changes forever.
    pub async fn follow(mut self, serving: &mut Serving) -> Infallible {
        // Without netlink, the next periodic check finds a change.
        let reports = netlink().ok();
        let changes = self.changes.clone();
        loop {
            tokio::select! {
                () = wait(reports.as_ref()) => {
                    let config = Arc::clone(&self.now.borrow().config);
                    match find(&config) {
                        Ok((served, absent)) => self.publish(config, served, absent, serving),
                        Err(error) => self.record_new([error.to_string()].into(), &serving.dhcp.parts.recorder),
                    }
                }
                () = changes.ended() => self.apply_changes(serving),
                Some(request) = self.requests.recv() => self.carry_out(request, serving).await,
            }
        }
    }

    async fn carry_out(&mut self, request: Request, serving: &mut Serving) {
        match request {
            Request::Reload(answer) => {
                let done = self.reload(serving).await;
                let recorder = &serving.dhcp.parts.recorder;
                recorder.reloaded(done.is_ok());
                match &done {
                    Ok(()) => recorder.server(ServerFact::Reloaded, "the configuration is reloaded"),
                    Err(problems) => {
                        let kept = "the configuration is not reloaded: the server keeps the one that it has";
                        for line in problems.iter().map(String::as_str).chain([kept]) {
                            recorder.server(ServerFact::NotReloaded, line);
                        }
                    }
                }
                // The caller may have gone.
                let _ = answer.send(done);
            }
            Request::ApplyChanges(answer) => {
                self.apply_changes(serving);
                let _ = answer.send(());
            }
        }
    }

    /// Publishes the settings of the file with the changes as they are now.
    fn apply_changes(&mut self, serving: &mut Serving) {
        let (config, unused) = self.with_changes(&self.file);
        self.unused = unused;
        let before = Arc::clone(&self.now.borrow());
        let absent = self.absent.clone();
        self.publish(Arc::new(config), (*before.interfaces).clone(), absent, serving);
    }

    /// The settings `file` with the changes as they are now, and the changes that have no effect. Unchanged settings
    /// stay the same value, so that nothing follows them.
    fn with_changes(&self, file: &Config) -> (Config, Vec<String>) {
        let Applied { mut config, unused } = apply(file, &self.changes.now());
        let before = self.now.borrow();
        if config.dhcp == before.config.dhcp {
            config.dhcp.clone_from(&before.config.dhcp);
        }
        if config.targets == before.config.targets {
            config.targets = Arc::clone(&before.config.targets);
        }
        (config, unused)
    }

    /// Reads and checks the configuration file, and publishes a snapshot with it.
    async fn reload(&mut self, serving: &mut Serving) -> Result<(), Problems> {
        let source =
            self.source.clone().ok_or_else(|| vec!["this server has no configuration file".to_owned()])?;
        let read = Arc::clone(&source.read);
        let read = spawn_blocking(move || read()).await;
        let mut file =
            read.map_err(|_| vec!["a fault in lanboot; please report it with the file".to_owned()])??;
        // Unchanged settings stay the same value, so that they are in memory once.
        if file.dhcp == self.file.dhcp {
            file.dhcp.clone_from(&self.file.dhcp);
        }
        if file.targets == self.file.targets {
            file.targets = Arc::clone(&self.file.targets);
        }
        let before = Arc::clone(&self.now.borrow());
        let (config, unused) = self.with_changes(&file);
        let mut problems = needs_restart(&before.config, &config);
        let (served, absent) = find_or_fail(&config).map_err(|error| vec![error.to_string()])?;
        let snapshot = Snapshot::new(config, served.clone());
        if problems.is_empty() {
            problems = serving.prepare(&snapshot);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        (self.file, self.unused) = (Arc::new(file), unused);
        self.publish(Arc::clone(&snapshot.config), served, absent, serving);
        (source.apply)(&snapshot.config);
        Ok(())
    }

    /// Publishes a snapshot and updates the listeners.
    fn publish(&mut self, config: Arc<Config>, served: Served, absent: Vec<String>, serving: &mut Serving) {
        let before = Arc::clone(&self.now.borrow());
        if *before.interfaces != served || !Arc::ptr_eq(&before.config, &config) {
            for change in differences(&before.interfaces, &served) {
                serving.dhcp.parts.recorder.server(ServerFact::InterfaceChanged, change);
            }
            self.now.send_replace(Arc::new(Snapshot { config, interfaces: Arc::new(served) }));
        }
        let snapshot = Arc::clone(&self.now.borrow());
        let refused = serving.follow(&snapshot);
        let mut wrong: BTreeSet<String> = absent.iter().cloned().collect();
        self.absent = absent;
        wrong.extend(self.unused.iter().cloned());
        wrong.extend(refused.iter().map(ToString::to_string));
        let Snapshot { config, interfaces: served } = &*snapshot;
        if let Some(settings) = &config.dhcp {
            wrong.extend(served.out_of_reach(settings).iter().map(|network| out_of_reach(*network)));
        }
        self.record_new(wrong, &serving.dhcp.parts.recorder);
    }

    /// Records the problems that are new.
    fn record_new(&mut self, wrong: BTreeSet<String>, recorder: &Recorder) {
        for problem in wrong.difference(&self.logged) {
            recorder.server(ServerFact::NotServed, problem);
        }
        self.logged = wrong;
    }
}

/// Waits for a report from the kernel, or for the next periodic check.
async fn wait(reports: Option<&AsyncFd<OwnedFd>>) {
    let Some(reports) = reports else { return sleep(PAUSE).await };
    if timeout(PAUSE, reports.readable()).await.is_err() {
        return;
    }
    sleep(SETTLE).await;
    // The content of the reports is not needed, so lost ones (ENOBUFS) do not matter.
    if let Ok(mut ready) = reports.readable().await {
        for _ in 0..MAX_REPORTS {
            if recv(reports.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN) {
                return ready.clear_ready();
            }
        }
    }
}

/// The warning about a subnet that contains no address of a served interface.
pub fn out_of_reach(network: Ipv4Network) -> String {
    format!("subnet {network}: no served interface has an address in it, so only relay agents reach it")
}

/// Opens a socket to which the kernel reports changes of interfaces and IPv4 addresses.
fn netlink() -> io::Result<AsyncFd<OwnedFd>> {
    /// Bits of message groups, from linux/rtnetlink.h.
    const RTMGRP_LINK: u32 = 1;
    const RTMGRP_IPV4_IFADDR: u32 = 0x10;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR))?;
    readable(socket)
}

/// Describes the changes between two snapshots, one line each.
fn differences(before: &Served, after: &Served) -> Vec<String> {
    let addresses = |interface: &Interface| listed(interface.addresses.iter());
    let gone = before.interfaces().filter(|then| after.get(then.index).is_none());
    let mut lines: Vec<String> =
        gone.map(|then| format!("interface {} is not served any more", then.name)).collect();
    for now in after.interfaces() {
        let (name, has) = (&now.name, addresses(now));
        let Some(then) = before.get(now.index) else {
            lines.push(format!("interface {name} {has} is served from now on"));
            continue;
        };
        if then.name != now.name {
            lines.push(format!("interface {} is called {name} now", then.name));
        }
        if then.addresses != now.addresses {
            lines.push(format!("interface {name} had {} and is served with {has} now", addresses(then)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interface;
    use std::net::Ipv4Addr;

    #[test]
    fn f_07_changes_of_served_interfaces_are_described() {
        let lo = interface::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        let with = |name: &str, last: &[u8]| Interface {
            name: name.into(),
            addresses: last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last)).collect(),
            ..lo.clone()
        };
        let logged = |before: &[Interface], after: &[Interface]| {
            differences(&Served::new(before.to_vec(), []), &Served::new(after.to_vec(), []))
        };
        let one = [with("eth1", &[1])];
        assert!(logged(&one, &one).is_empty());
        assert_eq!(logged(&one, &[]), ["interface eth1 is not served any more"]);
        assert_eq!(logged(&[], &one), ["interface eth1 10.0.0.1 is served from now on"]);
        assert_eq!(
            logged(&one, &[with("lan0", &[2, 3])]),
            [
                "interface eth1 is called lan0 now",
                "interface lan0 had 10.0.0.1 and is served with 10.0.0.2, 10.0.0.3 now"
            ]
        );
    }
}
