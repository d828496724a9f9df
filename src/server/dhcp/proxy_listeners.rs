//! Opens the sockets of the proxy and the boot service, and runs [`Proxy`] on them in one thread. `server/bind.rs`
//! binds them, and `Server::run` starts the thread. Nothing here reads a message.
//!
//! The boot service has port 4011. Beside another DHCP server, packet sockets receive from the wire, so that port 67
//! stays free for that server. They are opened and closed as interfaces come and go.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::boot::plan::Mode;
use crate::dhcp::settings::Settings;
use crate::event::ServerFact;
use crate::net::StartError;
use crate::net::packet_socket::{RawSender, UdpTap};
use crate::net::snapshot::{Now, Snapshot};
use crate::net::udp::{DhcpSocket, Sharing};
use crate::server::dhcp::decline_senders::DeclineTap;
use crate::server::dhcp::proxy::Proxy;
use crate::server::dhcp::thread::Running;

/// The sockets of the proxy and the boot service.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Port 4011.
    boot_service: Option<Arc<DhcpSocket>>,
    /// Port 67, if no interface has server mode and packet sockets cannot be used or are not needed.
    port: Option<Arc<DhcpSocket>>,
    /// Packet sockets.
    wires: Option<Wires>,
}

/// Packet sockets on every served Ethernet interface.
#[derive(Debug)]
struct Wires {
    taps: Arc<RawSender>,
    /// The destination ports whose datagrams are received.
    heard: Vec<u16>,
    /// The server's port.
    server: u16,
    now: Now,
    /// The open packet sockets by interface number. `serve` moves them into its tasks.
    open: HashMap<u32, UdpTap>,
}

impl Listeners {
    /// Binds port 4011 and opens packet sockets on the served interfaces. These receive replies of other servers.
    /// They also receive DISCOVERs, unless lanboot has port 67 itself (`with_server`). Problems that only reduce the
    /// service are added to `warnings`.
    ///
    /// # Errors
    /// If no client could be received from.
    pub fn bind(
        settings: &Settings,
        now: &Now,
        with_server: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Listeners, StartError> {
        let mut listeners = Listeners::default();
        let ports = settings.ports;
        let served = Arc::clone(&now.borrow().interfaces);
        match DhcpSocket::bind(ports.proxy, "dhcp.ports.proxy", Sharing::Alone) {
            Ok(socket) => listeners.boot_service = Some(Arc::new(socket)),
            // The server's offers name the boot file. Only firmware that ignores it asks on port 4011.
            Err(error) if with_server => {
                warnings.push(format!("{error}; clients that ask there for their boot file get no answer"));
            }
            Err(error) => return Err(error),
        }
        if with_server {
            match Wires::open(settings, now, &[ports.client]) {
                Ok(wires) => listeners.wires = Some(wires),
                // No other server can be on loopback.
                Err(_) if served.interfaces().all(|interface| interface.link.is_none()) => {}
                Err(error) => warnings.push(format!(
                    "cannot listen to the wire ({error}), so other DHCP servers there go unnoticed: {WITH_NET_RAW}"
                )),
            }
            return Ok(listeners);
        }
        // Loopback needs the port: packet sockets do not work there, and no other DHCP server uses it there.
        if served.with_mode(settings, Mode::Proxy).iter().all(|interface| interface.link.is_some()) {
            match Wires::open(settings, now, &[ports.server, ports.client]) {
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
            .with_frames(now.clone());
        warnings.extend(refused);
        listeners.port = Some(Arc::new(socket));
        Ok(listeners)
    }

    /// Runs `proxy` on these sockets in its own thread with its own runtime, so that it never waits for a file
    /// transfer.
    pub fn serve_apart(self, proxy: Arc<Proxy>) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopper, stopped) = oneshot::channel();
        let work = move || {
            let tasks = LocalSet::new();
            self.serve(&proxy, &tasks);
            // An error means that the sender was dropped, which ends the thread too.
            let _ = tasks.block_on(&runtime, stopped);
        };
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(work)?;
        Ok(Running { stopper, thread })
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
    /// Opens packet sockets that receive UDP to the ports `heard`, on each interface where DHCP is not off.
    fn open(settings: &Settings, now: &Now, heard: &[u16]) -> io::Result<Wires> {
        let (mut now, server) = (now.clone(), settings.ports.server);
        let taps = Arc::new(RawSender::open(server)?);
        let snapshot = Arc::clone(&now.borrow_and_update());
        let mut wires = Wires { taps, heard: heard.to_vec(), server, now, open: HashMap::new() };
        for (index, tap) in wires.missing(&snapshot, |_| false) {
            wires.open.insert(index, tap?);
        }
        Ok(wires)
    }

    /// Opens a packet socket on each interface where DHCP is not off and `has` is false.
    fn missing(&self, now: &Snapshot, has: impl Fn(u32) -> bool) -> Vec<(u32, io::Result<UdpTap>)> {
        let wires = now.interfaces.interfaces().filter(|interface| is_heard(now, interface.index));
        let wires = wires.filter(|interface| !has(interface.index));
        let open = |index, link| (index, UdpTap::open(link, &self.heard, self.server));
        wires.filter_map(|interface| Some(open(interface.index, interface.link.as_ref()?))).collect()
    }

    /// Records for `proxy` which DECLINEs and RELEASEs come from the hardware address of their client. Does nothing if
    /// lanboot does not have the server's port.
    fn declines(&self, index: u32, proxy: &Arc<Proxy>) -> impl Future<Output = ()> + 'static {
        let link = self.now.borrow().interfaces.get(index).and_then(|interface| interface.link);
        let link = link.filter(|_| !self.heard.contains(&self.server));
        let tap = link.map(|link| DeclineTap::open(index, &link, self.server, proxy.senders.clone()));
        let proxy = Arc::clone(proxy);
        async move {
            match tap {
                Some(Ok(tap)) => proxy.serve_declines(tap).await,
                Some(Err(error)) => {
                    let text = format!(
                        "cannot see which machine on {} sends a DECLINE ({error}), so forged ones are found less often: \
                     {WITH_NET_RAW}",
                        proxy.name(index)
                    );
                    proxy.recorder.server(ServerFact::CannotListen, text);
                }
                None => {}
            }
        }
    }

    /// Runs `proxy` on each interface for as long as that is served.
    async fn serve(mut self, proxy: Arc<Proxy>) {
        let mut tasks: HashMap<u32, JoinHandle<()>> = HashMap::new();
        // Without this tap, only a RELEASE of a program on this computer does not count.
        let own = DeclineTap::on_loopback(self.server, proxy.senders.clone());
        if let Some(tap) = own.ok().filter(|_| !self.heard.contains(&self.server)) {
            spawn_local(Arc::clone(&proxy).serve_declines(tap));
        }
        let mut new: Vec<(u32, UdpTap)> = self.open.drain().collect();
        loop {
            for (index, tap) in new.drain(..) {
                let heard = Arc::clone(&proxy).serve_tap(Arc::clone(&self.taps), tap);
                let declines = self.declines(index, &proxy);
                tasks.insert(index, spawn_local(async { _ = tokio::join!(heard, declines) }));
            }
            if self.now.changed().await.is_err() {
                return std::future::pending().await;
            }
            let now = Arc::clone(&self.now.borrow_and_update());
            for (_, task) in tasks.extract_if(|index, _| !is_heard(&now, *index)) {
                task.abort();
            }
            for (index, tap) in self.missing(&now, |index| tasks.contains_key(&index)) {
                match tap {
                    Ok(tap) => new.push((index, tap)),
                    Err(error) => {
                        let name = proxy.name(index);
                        let text = format!("cannot listen to the wire of {name} ({error}): {WITH_NET_RAW}");
                        proxy.recorder.server(ServerFact::CannotListen, text);
                    }
                }
            }
        }
    }
}

/// Whether the interface of that number is served and DHCP is not off there.
fn is_heard(now: &Snapshot, index: u32) -> bool {
    now.config.dhcp.as_ref().is_some_and(|settings| now.interfaces.for_dhcp(index, settings).is_some())
}

const WITH_NET_RAW: &str = "run as root or grant CAP_NET_RAW (systemd/lanboot.service does)";
