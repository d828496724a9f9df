//! Where boot files without addresses are asked for: the boot service's port, and beside another DHCP server the wire.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::boot::plan::Mode;
use crate::dhcp::mode::Modes;
use crate::dhcp::settings::Settings;
use crate::net::StartError;
use crate::net::interface::Interface;
use crate::net::packet_socket::{Tap, Taps};
use crate::net::served::{Now, Served};
use crate::net::udp::{DhcpSocket, Sharing};
use crate::server::dhcp::decline_senders::DeclineTap;
use crate::server::dhcp::proxy::Proxy;

/// What the proxy and the boot service receive from.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Port 4011.
    boot_service: Option<Arc<DhcpSocket>>,
    /// Port 67, where lanboot is nowhere the DHCP server and cannot or need not listen beside the port.
    port: Option<Arc<DhcpSocket>>,
    /// The wire.
    wires: Option<Wires>,
}

/// What hears the wire of every Ethernet interface that is served.
#[derive(Debug)]
struct Wires {
    taps: Arc<Taps>,
    /// The ports that are heard, and the server's.
    heard: Vec<u16>,
    server: u16,
    modes: Modes,
    served: Now,
    /// By the number of the interface.
    open: HashMap<u32, Tap>,
}

impl Listeners {
    /// Binds port 4011 and listens to the wires of what is `served`: for other servers, and unless a DHCP server of ours,
    /// `with_server`, has port 67, for DISCOVERs. `warnings` says what works less well than it could.
    ///
    /// # Errors
    /// When clients could not be heard.
    pub fn bind(
        settings: &Settings,
        served: &Now,
        with_server: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Listeners, StartError> {
        let mut listeners = Listeners::default();
        let ports = settings.ports;
        match DhcpSocket::bind(ports.proxy, "dhcp.ports.proxy", Sharing::Alone) {
            Ok(socket) => listeners.boot_service = Some(Arc::new(socket)),
            // A server's offers name the file; only firmware that passes over it comes here.
            Err(error) if with_server => {
                warnings.push(format!("{error}; clients that ask there for their boot file get no answer"));
            }
            Err(error) => return Err(error),
        }
        if with_server {
            match Wires::open(settings, served, &[ports.client]) {
                Ok(wires) => listeners.wires = Some(wires),
                // On loopback alone there is no other server.
                Err(_) if served.borrow().interfaces().all(|interface| interface.link.is_none()) => {}
                Err(error) => warnings.push(format!(
                    "cannot listen to the wire ({error}), so other DHCP servers there go unnoticed: {WITH_NET_RAW}"
                )),
            }
            return Ok(listeners);
        }
        // On loopback nothing is heard but by a port, and no DHCP server is in the way there.
        let proxied = served.borrow().clone();
        if proxied.with_mode(settings, Mode::Proxy).iter().all(|interface| interface.link.is_some()) {
            match Wires::open(settings, served, &[ports.server, ports.client]) {
                Ok(wires) => {
                    listeners.wires = Some(wires);
                    return Ok(listeners);
                }
                Err(error) => warnings.push(format!(
                    "cannot listen beside port {} ({error}), so another DHCP server on this computer may miss what \
                     clients send to it alone: {WITH_NET_RAW}",
                    ports.server
                )),
            }
        }
        let bound = DhcpSocket::bind(ports.server, "dhcp.ports.server", Sharing::Shared);
        let (socket, refused) = bound
            .map_err(|error| {
                StartError(format!(
                    "{error}. A proxy does not need the port with CAP_NET_RAW: {WITH_NET_RAW}"
                ))
            })?
            .with_frames(served.clone());
        warnings.extend(refused);
        listeners.port = Some(Arc::new(socket));
        Ok(listeners)
    }

    /// Has `proxy` answer what is received, in a thread with a runtime of its own, so that it never waits for a file
    /// transfer. It ends when what is returned is dropped.
    pub fn serve_apart(self, proxy: Arc<Proxy>) -> io::Result<oneshot::Sender<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopper, stopped) = oneshot::channel();
        let work = move || {
            let tasks = LocalSet::new();
            self.serve(&proxy, &tasks);
            // An error says that the other end was dropped.
            let _ = tasks.block_on(&runtime, stopped);
        };
        std::thread::Builder::new().name("proxy".to_owned()).spawn(work)?;
        Ok(stopper)
    }

    fn serve(self, proxy: &Arc<Proxy>, tasks: &LocalSet) {
        if let Some(socket) = self.boot_service {
            tasks.spawn_local(Arc::clone(proxy).serve_port(socket, true));
        }
        if let Some(socket) = self.port {
            tasks.spawn_local(Arc::clone(proxy).serve_port(socket, false));
        }
        if let Some(wires) = self.wires {
            tasks.spawn_local(wires.serve(Arc::clone(proxy)));
        }
    }
}

impl Wires {
    /// Hears UDP to the ports `heard` wherever lanboot is something.
    fn open(settings: &Settings, served: &Now, heard: &[u16]) -> io::Result<Wires> {
        let (mut served, server, modes) = (served.clone(), settings.ports.server, settings.modes.clone());
        let taps = Arc::new(Taps::open(server)?);
        let now = Arc::clone(&served.borrow_and_update());
        let mut wires = Wires { taps, heard: heard.to_vec(), server, modes, served, open: HashMap::new() };
        for (index, tap) in wires.missing(&now, |_| false) {
            wires.open.insert(index, tap?);
        }
        Ok(wires)
    }

    /// A tap for each wire that has none.
    fn missing(&self, now: &Served, has: impl Fn(u32) -> bool) -> Vec<(u32, io::Result<Tap>)> {
        let is_heard = |interface: &&Interface| self.modes.on(&interface.name).is_some();
        let wires = now.interfaces().filter(is_heard).filter(|interface| !has(interface.index));
        let open = |index, link| (index, Tap::open(link, &self.heard, self.server));
        wires.filter_map(|interface| Some(open(interface.index, interface.link.as_ref()?))).collect()
    }

    /// Notes for `proxy` which DECLINEs come from their client, where lanboot has the server's port.
    fn declines(&self, index: u32, proxy: &Arc<Proxy>) -> impl Future<Output = ()> + 'static {
        let link = self.served.borrow().get(index).and_then(|interface| interface.link);
        let link = link.filter(|_| !self.heard.contains(&self.server));
        let tap = link.map(|link| DeclineTap::open(index, &link, self.server, proxy.senders.clone()));
        let proxy = Arc::clone(proxy);
        async move {
            match tap {
                Some(Ok(tap)) => proxy.serve_declines(tap).await,
                Some(Err(error)) => tracing::warn!(
                    "cannot see which machine on {} sends a DECLINE ({error}), so forged ones are found less often: \
                     {WITH_NET_RAW}",
                    proxy.name(index)
                ),
                None => {}
            }
        }
    }

    /// Has `proxy` answer what is heard, on each wire as long as it is served.
    async fn serve(mut self, proxy: Arc<Proxy>) {
        let mut tasks: HashMap<u32, JoinHandle<()>> = HashMap::new();
        let mut new: Vec<(u32, Tap)> = self.open.drain().collect();
        loop {
            for (index, tap) in new.drain(..) {
                let heard = Arc::clone(&proxy).serve_tap(Arc::clone(&self.taps), tap);
                let declines = self.declines(index, &proxy);
                tasks.insert(index, spawn_local(async { _ = tokio::join!(heard, declines) }));
            }
            if self.served.changed().await.is_err() {
                return std::future::pending().await;
            }
            let now = Arc::clone(&self.served.borrow_and_update());
            for (_, task) in tasks.extract_if(|index, _| now.get(*index).is_none()) {
                task.abort();
            }
            for (index, tap) in self.missing(&now, |index| tasks.contains_key(&index)) {
                match tap {
                    Ok(tap) => new.push((index, tap)),
                    Err(error) => tracing::warn!(
                        "cannot listen to the wire of {} ({error}): {WITH_NET_RAW}",
                        proxy.name(index)
                    ),
                }
            }
        }
    }
}

const WITH_NET_RAW: &str = "run as root or grant CAP_NET_RAW (systemd/lanboot.service does)";
