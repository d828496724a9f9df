//! Where boot files without addresses are asked for: the boot service's port, and beside another DHCP server the wire.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::dhcp::subnet::Ports;
use crate::server::StartError;
use crate::server::interface::Interface;
use crate::server::proxy::Proxy;
use crate::server::socket::{DhcpSocket, Sharing};
use crate::server::taps::{Tap, Taps};

/// What the proxy and the boot service receive from.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Port 4011.
    boot_service: Option<Arc<DhcpSocket>>,
    /// Port 67, where lanboot is nowhere the DHCP server and cannot or need not listen beside the port.
    port: Option<Arc<DhcpSocket>>,
    /// The wire.
    taps: Option<(Arc<Taps>, Vec<Tap>)>,
}

impl Listeners {
    /// Binds port 4011 and listens to the wire: for other servers, and on `proxied`, unless a DHCP server of ours on the
    /// interfaces `given` does that, for DISCOVERs. `warnings` says what works less well than it could.
    ///
    /// # Errors
    /// When clients of `proxied` could not be heard.
    pub fn bind(
        ports: Ports,
        proxied: &[Interface],
        given: &[Interface],
        warnings: &mut Vec<String>,
    ) -> Result<Listeners, StartError> {
        let mut listeners = Listeners::default();
        let is_server = !given.is_empty();
        match DhcpSocket::bind(ports.proxy, "dhcp.ports.proxy", Sharing::Alone, &[]) {
            Ok((socket, _)) => listeners.boot_service = Some(Arc::new(socket)),
            // A server's offers name the file; only firmware that passes over it comes here.
            Err(error) if is_server => {
                warnings.push(format!("{error}; clients that ask there for their boot file get no answer"));
            }
            Err(error) => return Err(error),
        }
        if is_server {
            let all = [given, proxied].concat();
            if all.iter().any(|interface| interface.link.is_some()) {
                match listen_to_wire(&all, &[ports.client], ports) {
                    Ok(taps) => listeners.taps = Some(taps),
                    Err(error) => warnings.push(format!(
                        "cannot listen to the wire ({error}), so other DHCP servers there go unnoticed: {WITH_NET_RAW}"
                    )),
                }
            }
            return Ok(listeners);
        }
        if proxied.is_empty() {
            return Ok(listeners);
        }
        // On loopback nothing is heard but by a port, and no DHCP server is in the way there.
        if proxied.iter().all(|interface| interface.link.is_some()) {
            match listen_to_wire(proxied, &[ports.server, ports.client], ports) {
                Ok(taps) => {
                    listeners.taps = Some(taps);
                    return Ok(listeners);
                }
                Err(error) => warnings.push(format!(
                    "cannot listen beside port {} ({error}), so another DHCP server on this computer may miss what \
                     clients send to it alone: {WITH_NET_RAW}",
                    ports.server
                )),
            }
        }
        let bound = DhcpSocket::bind(ports.server, "dhcp.ports.server", Sharing::Shared, proxied);
        let (socket, refused) = bound.map_err(|error| {
            StartError(format!("{error}. A proxy does not need the port with CAP_NET_RAW: {WITH_NET_RAW}"))
        })?;
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
        if let Some((taps, heard)) = self.taps {
            for tap in heard {
                tasks.spawn_local(Arc::clone(proxy).serve_tap(Arc::clone(&taps), tap));
            }
        }
    }
}

const WITH_NET_RAW: &str = "run as root or grant CAP_NET_RAW (systemd/lanboot.service does)";

/// Hears UDP to the ports `heard` on those of `interfaces` that are Ethernet.
fn listen_to_wire(
    interfaces: &[Interface],
    heard: &[u16],
    ports: Ports,
) -> io::Result<(Arc<Taps>, Vec<Tap>)> {
    let (taps, heard) = Taps::open(interfaces, heard, ports.server)?;
    Ok((Arc::new(taps), heard))
}
