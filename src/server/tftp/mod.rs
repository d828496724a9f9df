//! TFTP with either engine: bind → run → stop. `Server` binds, starts and stops it. It never sends a packet itself.

pub mod async_tftp;
pub mod native;
pub mod upload;
mod upload_slots;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Tftp};
use crate::content::lookup::Files;
use crate::event::{Event, Record};
use crate::net::listeners::{Listeners, addresses_text, listen_addresses, update};
use crate::net::quota::Quota;
use crate::net::served::Served;
use crate::net::snapshot::{Now, Snapshot};
use crate::net::{StartError, bind_error};
use crate::record::Recorder;
use crate::server::tftp::upload::{CurrentUploads, Uploads};
use crate::tftp::{Engine, Ports};

/// TFTP listeners that are bound but not served yet.
#[derive(Debug)]
pub struct Transfers {
    listeners: Listeners<Arc<native::Listener>>,
    settings: Tftp,
    files: Files,
    uploads: Option<Uploads>,
    now: Now,
}

/// The running TFTP service.
#[derive(Debug)]
pub struct Running {
    listeners: Listeners<Arc<native::Listener>>,
    settings: Tftp,
    engine: RunningEngine,
    /// Whether another server still reads the listeners, for its last transfers through a single port.
    is_waiting: bool,
}

#[derive(Debug)]
enum RunningEngine {
    Native(native::Engine),
    AsyncTftp {
        /// Aborting the task ends all transfers.
        task: JoinHandle<()>,
        listeners: watch::Sender<native::Listeners>,
        active: Quota,
        closing: Arc<AtomicBool>,
    },
}

impl Transfers {
    /// Binds the request port on the addresses of `settings`, or on those of the served interfaces, and opens the
    /// upload folder.
    pub fn bind(settings: &Tftp, now: Now, files: Files) -> Result<Transfers, StartError> {
        let mut listeners = Vec::new();
        let (_, mut refused) = update_listeners(&mut listeners, settings, &now.borrow().interfaces);
        if let Some(error) = refused.pop() {
            return Err(error);
        }
        let uploads = settings.uploads.as_ref().map(open_uploads).transpose()?;
        Ok(Transfers { listeners, settings: settings.clone(), files, uploads, now })
    }

    /// The addresses of the listeners, for log lines.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }

    /// Starts to serve.
    pub fn start(self, recorder: &Recorder) -> io::Result<Running> {
        self.start_waiting(recorder, false)
    }

    /// Starts to serve. If `is_waiting`, another server reads the listeners and passes the requests on.
    fn start_waiting(self, recorder: &Recorder, is_waiting: bool) -> io::Result<Running> {
        let Transfers { listeners, settings, files, uploads, now } = self;
        uploads.iter().for_each(|uploads| uploads.report_to(recorder.reporter()));
        let (recorder, sent_by, ports) = (recorder.clone(), files.clone(), settings.ports);
        let record = move |event: Event| {
            // Any host may send datagrams that get no answer, at any rate, so these cost no lookup.
            let requester = match &event {
                Event::TftpUnanswered { .. } => None,
                event => event.peer().map(|peer| sent_by.requester(peer.ip(), Ipv4Addr::UNSPECIFIED.into())),
            };
            if let (Event::TftpSent { file, bytes, .. }, Some(requester)) = (&event, &requester) {
                sent_by.sent(file, 0..*bytes, *bytes, requester);
            }
            let machine = requester.and_then(|requester| requester.machine_id());
            recorder.record(Record { at: recorder.now(), interface: None, machine, event });
        };
        let engine = if settings.engine == Engine::Native {
            let uploads = CurrentUploads::new(uploads);
            let service = native::Service { files, uploads, ports, now, record };
            let read = if is_waiting { Arc::from([]) } else { all(&listeners) };
            RunningEngine::Native(native::start(read, service)?)
        } else {
            let (active, closing) = (Quota::default(), Arc::default());
            let (counted, closed) = (active.clone(), Arc::clone(&closing));
            let service = async_tftp::Service { files, now, active: counted, closing: closed, record };
            let (sender, receiver) = watch::channel(all(&listeners));
            let task = tokio::spawn(async_tftp::serve_all(receiver, service));
            RunningEngine::AsyncTftp { task, listeners: sender, active, closing }
        };
        Ok(Running { listeners, settings, engine, is_waiting })
    }
}

fn open_uploads(settings: &config::Uploads) -> Result<Uploads, StartError> {
    Uploads::open(settings).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => format!("; {}", settings.creation_hint()),
            io::ErrorKind::PermissionDenied => {
                "; a running lanboot may use only the folders of its start, so this \
                                                may need a restart of lanboot"
                    .to_owned()
            }
            _ => String::new(),
        };
        StartError(format!("{error}{advice}"))
    })
}

impl Running {
    /// Updates limits and listeners for `snapshot`. Running transfers continue. Returns whether the listeners changed,
    /// and the errors of listeners that could not be opened.
    pub fn follow(&mut self, snapshot: &Snapshot) -> (bool, Vec<StartError>) {
        let mut failed = Vec::new();
        if let Some(settings) = &snapshot.config.tftp {
            if settings.uploads != self.settings.uploads {
                failed.extend(self.set_uploads(settings).err());
            }
            self.settings = settings.clone();
        }
        if let RunningEngine::Native(engine) = &self.engine {
            engine.set_limits(&self.settings.limits);
        }
        let (changed, mut refused) =
            update_listeners(&mut self.listeners, &self.settings, &snapshot.interfaces);
        refused.extend(failed);
        if changed && !self.is_waiting {
            let listeners = all(&self.listeners);
            match &self.engine {
                RunningEngine::Native(engine) => engine.listen(&listeners),
                RunningEngine::AsyncTftp { listeners: sender, .. } => drop(sender.send_replace(listeners)),
            }
        }
        (changed, refused)
    }

    /// The addresses of the listeners, for log lines.
    pub fn addresses(&self) -> String {
        addresses_text(&self.listeners)
    }

    pub async fn stop(self) {
        match self.engine {
            RunningEngine::Native(engine) => engine.stop(),
            RunningEngine::AsyncTftp { task, .. } => {
                task.abort();
                // The error says that the task was aborted.
                let _ = task.await;
            }
        }
    }

    fn set_uploads(&mut self, settings: &Tftp) -> Result<(), StartError> {
        let uploads = settings.uploads.as_ref().map(open_uploads).transpose()?;
        if let RunningEngine::Native(engine) = &mut self.engine {
            engine.set_uploads(uploads);
        }
        Ok(())
    }

    /// Whether `snapshot` has other ports for transfers, which needs [`Running::succeed`].
    pub fn has_other_ports(&self, snapshot: &Snapshot) -> bool {
        snapshot.config.tftp.as_ref().is_some_and(|new| new.ports != self.settings.ports)
    }

    /// Starts another server with the settings of `snapshot` at the same listeners, which gets all new requests. This one
    /// only finishes its transfers.
    ///
    /// # Errors
    /// If the kernel provides no thread or descriptor, or the upload folder cannot be opened.
    pub fn succeed(
        &mut self,
        (snapshot, now): (&Snapshot, Now),
        files: Files,
        recorder: &Recorder,
    ) -> Result<Running, StartError> {
        let settings = snapshot.config.tftp.as_ref().unwrap_or(&self.settings).clone();
        let uploads = settings.uploads.as_ref().map(open_uploads).transpose()?;
        let listeners = self.listeners.iter().map(|(at, listener)| (*at, Arc::clone(listener))).collect();
        // With a single port, only the one that has the transfers can read it.
        let is_waiting =
            self.is_waiting || (self.settings.ports == Ports::Single && self.active_transfers() > 0);
        let next = Transfers { listeners, settings, files, uploads, now };
        let next = next.start_waiting(recorder, is_waiting);
        let next = next.map_err(|error| StartError(format!("cannot start TFTP: {error}")))?;
        if let (RunningEngine::Native(old), RunningEngine::Native(new)) = (&self.engine, &next.engine) {
            old.leave_requests_to(new);
            if !is_waiting {
                old.listen(&Arc::from([]));
            }
        }
        Ok(next)
    }

    /// Whether this server reads a single port, for its transfers and for the servers after it.
    pub fn is_reader(&self) -> bool {
        self.is_single() && !self.is_waiting
    }

    /// Whether the packets of its transfers arrive at the listeners.
    pub fn is_single(&self) -> bool {
        self.settings.ports == Ports::Single && !self.listeners.is_empty()
    }

    /// Reads the listeners, because the server of before has ended.
    pub fn take_over(&mut self) {
        if std::mem::take(&mut self.is_waiting)
            && let RunningEngine::Native(engine) = &self.engine
        {
            engine.listen(&all(&self.listeners));
        }
    }

    /// The addresses that `snapshot` adds by another port or other addresses in the configuration, and that cannot be
    /// bound; and why its upload folder cannot be used. Nothing changes.
    pub fn refused(&self, snapshot: &Snapshot) -> Vec<StartError> {
        let Some(new) = &snapshot.config.tftp else { return Vec::new() };
        let uploads = new.uploads.as_ref().filter(|_| new.uploads != self.settings.uploads);
        let mut refused: Vec<StartError> =
            uploads.and_then(|uploads| open_uploads(uploads).err()).into_iter().collect();
        if (new.port, &new.listen) == (self.settings.port, &self.settings.listen) {
            return refused;
        }
        let wanted = listen_addresses(&new.listen, new.port, &snapshot.interfaces);
        let missing = wanted.into_iter().filter(|at| self.listeners.iter().all(|(open, _)| open != at));
        let explain = |at, error| bind_error::explain(at, "tftp.port", false, &error);
        refused.extend(missing.filter_map(|at| native::listen(at).err().map(|error| explain(at, error))));
        refused
    }

    /// Closes the listeners and accepts no more transfers. Those that run continue.
    pub fn close_listeners(&mut self) {
        self.close();
        self.listeners.clear();
        match &self.engine {
            RunningEngine::Native(engine) => engine.listen(&Arc::from([])),
            // This engine ends the transfers of a listener with it, so its listeners stay open until then.
            RunningEngine::AsyncTftp { .. } => {}
        }
    }

    /// Accepts no more transfers.
    pub fn close(&self) {
        match &self.engine {
            RunningEngine::Native(engine) => engine.close(),
            RunningEngine::AsyncTftp { closing, .. } => closing.store(true, Ordering::Release),
        }
    }

    /// The number of running transfers.
    pub fn active_transfers(&self) -> usize {
        match &self.engine {
            RunningEngine::Native(engine) => engine.active_transfers(),
            RunningEngine::AsyncTftp { active, .. } => active.count(),
        }
    }
}

fn all(listeners: &Listeners<Arc<native::Listener>>) -> native::Listeners {
    listeners.iter().map(|(_, listener)| Arc::clone(listener)).collect()
}

/// Opens and closes listeners so that they match the addresses of `settings` or `served`, each with the MTU of its
/// interface.
fn update_listeners(
    listeners: &mut Listeners<Arc<native::Listener>>,
    settings: &Tftp,
    served: &Served,
) -> (bool, Vec<StartError>) {
    const ETHERNET_MTU: u32 = 1500;
    let mtu_of = |address: &SocketAddr| served.with_address(address.ip()).map(|interface| interface.mtu);
    let wanted = listen_addresses(&settings.listen, settings.port, served);
    let (mut changed, refused) = update(listeners, &wanted, |address| {
        let socket = native::listen(address)
            .map_err(|error| bind_error::explain(address, "tftp.port", false, &error))?;
        let mtu = mtu_of(&address).unwrap_or(ETHERNET_MTU);
        Ok(Arc::new(native::Listener { socket: Arc::new(socket), mtu }))
    });
    for (address, listener) in listeners {
        if let Some(mtu) = mtu_of(address).filter(|mtu| *mtu != listener.mtu) {
            *listener = Arc::new(native::Listener { socket: Arc::clone(&listener.socket), mtu });
            changed = true;
        }
    }
    (changed, refused)
}
