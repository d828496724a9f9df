//! Changes of a person to the running server: `once`, `pin` and `wake` of `/api/v1/machines/{mac}`. `{mac}` is a MAC
//! address in any spelling, or the name of an entry in `machines`.
//!
//! `once` and `pin` are stored in the state folder and applied to the settings before the answer is sent. No file of the
//! user is changed. The answers of all routes are errors with these status codes:
//!
//! | status | reason |
//! |---|---|
//! | 400 | no network card can have the MAC, or the body is not as expected |
//! | 404 | no machine is called so |
//! | 409 | the configuration or the state of the machine does not allow it |
//! | 422 | no target is called so |
//! | 503 | the server cannot store the change, or gives no addresses |
//! | 507 | the disk is full, or a limit of changes is reached |

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::api::error::{Answer, ApiError, JsonBody, Segment};
use crate::api::handles::Api;
use crate::boot::loader::target::Targets;
use crate::config::changes::{Changes, MachineKey, NamedMachine, Pin, Refused, pin_conflict, pin_yaml};
use crate::content::changes::NotChanged;
use crate::event::ServerFact;
use crate::net::interface::Interface;
use crate::net::snapshot::Snapshot;
use crate::net::wake::wake as send_magic_packet;
use crate::types::{Escaped, MacAddr};

/// The body of a request to set `once`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnceBody {
    /// The name of a target, `local` or `menu`.
    target: String,
}

/// A machine as every answer shows it.
#[derive(Serialize)]
struct MachineView {
    /// `null` if its entry has none.
    mac: Option<String>,
    /// `null` if it has no entry.
    name: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OnceView {
    #[serde(flatten)]
    machine: MachineView,
    target: String,
}

/// The answer to a request to clear something.
#[derive(Serialize)]
pub(super) struct ClearedView {
    #[serde(flatten)]
    machine: MachineView,
    /// Whether there was something to clear.
    cleared: bool,
}

#[derive(Serialize)]
pub(super) struct PinView {
    #[serde(flatten)]
    machine: MachineView,
    /// The first of `addresses`.
    address: Option<Ipv4Addr>,
    addresses: Vec<Ipv4Addr>,
    /// The YAML that makes the pin part of config.yaml.
    yaml: String,
}

#[derive(Serialize)]
pub(super) struct WakeView {
    #[serde(flatten)]
    machine: MachineView,
    /// The interfaces that sent a magic packet.
    interfaces: Vec<String>,
}

/// The changes of people that are in effect, as `/api/v1/status` shows them.
#[derive(Serialize)]
pub(super) struct ChangesView {
    once: Vec<StoredOnceView>,
    pins: Vec<StoredPinView>,
}

#[derive(Serialize)]
struct StoredOnceView {
    mac: Option<String>,
    name: Option<String>,
    target: String,
}

#[derive(Serialize)]
struct StoredPinView {
    mac: String,
    name: Option<String>,
    address: Ipv4Addr,
}

impl ChangesView {
    /// The changes, with the names of their machines in `targets`.
    pub(super) fn of(changes: &Changes, targets: &Targets) -> ChangesView {
        let name =
            |mac: MacAddr| NamedMachine::find(&mac.to_string(), targets).ok()?.name().map(str::to_owned);
        let once = changes.once.iter().map(|once| {
            let (mac, name) = match &once.machine {
                MachineKey::Mac(mac) => (Some(mac.to_string()), name(*mac)),
                MachineKey::Name(name) => (None, Some(name.clone())),
            };
            StoredOnceView { mac, name, target: once.target.clone() }
        });
        let pins = changes.pins.iter();
        let pins = pins.map(|pin| StoredPinView {
            mac: pin.mac.to_string(),
            name: name(pin.mac),
            address: pin.address,
        });
        ChangesView { once: once.collect(), pins: pins.collect() }
    }
}

impl MachineView {
    fn of(named: &NamedMachine) -> MachineView {
        MachineView {
            mac: named.macs.first().map(ToString::to_string),
            name: named.name().map(str::to_owned),
        }
    }
}

/// `PUT …/once`: the machine boots this target at its next start only.
pub(super) async fn set_once(
    State(api): State<Api>,
    Segment(machine): Segment<String>,
    JsonBody(OnceBody { target }): JsonBody<OnceBody>,
) -> Answer<OnceView> {
    let (snapshot, named) = api.named_machine(&machine)?;
    if api.files.get().is_none() || (snapshot.config.tftp.is_none() && snapshot.config.http.is_none()) {
        let why = "this server serves no files, so no machine can boot a target: `tftp` and `http` are off";
        return Err(ApiError::new(StatusCode::CONFLICT, why));
    }
    let (of, wanted) = (named.clone(), target.clone());
    let set = move |changes: &mut Changes| changes.set_once(&of, &wanted, &snapshot.config.targets);
    api.change(set).await.map_err(|error| match error {
        // The machine has been found already, so the target is wrong.
        NotChanged::Refused(Refused::Wrong(why)) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why),
        other => not_changed(other),
    })?;
    api.expect(&named);
    api.recorder.server(ServerFact::ChangeMade, format!("once {target} of {} is set", shown(&named)));
    Ok(Json(OnceView { machine: MachineView::of(&named), target }))
}

/// `DELETE …/once`: the machine boots as usual. This also ends `once` of its entry in config.yaml.
pub(super) async fn clear_once(
    State(api): State<Api>,
    Segment(machine): Segment<String>,
) -> Answer<ClearedView> {
    let (snapshot, named) = api.named_machine(&machine)?;
    let of = named.clone();
    let clear = move |changes: &mut Changes| Ok(changes.clear_once(&of, &snapshot.config.targets));
    let mut cleared = api.change(clear).await.map_err(not_changed)?;
    if let Some(files) = api.files.get().cloned() {
        let of = named.clone();
        let ended = spawn_blocking(move || files.end_once_of_entry(&of)).await;
        cleared |=
            ended.map_err(ApiError::unavailable)?.map_err(|error| not_changed(NotChanged::Io(error)))?;
    }
    if cleared {
        api.recorder.server(ServerFact::ChangeMade, format!("once of {} is cleared", shown(&named)));
    }
    Ok(Json(ClearedView { machine: MachineView::of(&named), cleared }))
}

/// `POST …/pin`: reserves the addresses that the machine has now.
pub(super) async fn pin(State(api): State<Api>, Segment(machine): Segment<String>) -> Answer<PinView> {
    let (snapshot, named) = api.named_machine(&machine)?;
    let conflict = |why: String| ApiError::new(StatusCode::CONFLICT, why);
    let Some(settings) = &snapshot.config.dhcp else {
        return Err(ApiError::unavailable("this server gives no addresses"));
    };
    if named.macs.is_empty() {
        let why = "its entry in `machines` has no MAC: add `address` to the entry in config.yaml instead";
        return Err(conflict(why.to_owned()));
    }
    let mut pins = Vec::new();
    for mac in named.macs.iter().copied() {
        let addresses = api.leases_of(mac).await?;
        let addresses = addresses.ok_or_else(|| ApiError::unavailable("this server gives no addresses"))?;
        pins.extend(addresses.into_iter().map(|address| Pin { mac, address }));
    }
    if pins.is_empty() {
        return Err(conflict(format!("{} has no lease now", shown(&named))));
    }
    if let Some(why) = pins.iter().find_map(|pin| Some((pin, pin_conflict(settings, *pin)?))) {
        let (pin, why) = why;
        return Err(conflict(format!("{} cannot be reserved for {}: {why}", pin.address, pin.mac)));
    }
    let added = pins.clone();
    let add = move |changes: &mut Changes| added.iter().try_for_each(|pin| changes.pin(*pin));
    api.change(add).await.map_err(not_changed)?;
    let addresses: Vec<Ipv4Addr> = pins.iter().map(|pin| pin.address).collect();
    for pin in &pins {
        let line = format!("{} is reserved for {}", pin.address, shown(&named));
        api.recorder.server(ServerFact::ChangeMade, line);
    }
    let entry = named.entry.as_deref().and_then(|name| snapshot.config.targets.named(name));
    let yaml = pin_yaml(&pins, entry);
    let address = addresses.first().copied();
    Ok(Json(PinView { machine: MachineView::of(&named), address, addresses, yaml }))
}

/// `DELETE …/pin`: removes the reservations that `pin` has made.
pub(super) async fn unpin(State(api): State<Api>, Segment(machine): Segment<String>) -> Answer<ClearedView> {
    let (snapshot, named) = api.named_machine(&machine)?;
    let of = named.clone();
    let remove = move |changes: &mut Changes| Ok(changes.unpin(&of, &snapshot.config.targets));
    let cleared = api.change(remove).await.map_err(not_changed)?;
    if cleared {
        api.recorder.server(ServerFact::ChangeMade, format!("the pin of {} is removed", shown(&named)));
    }
    Ok(Json(ClearedView { machine: MachineView::of(&named), cleared }))
}

/// `POST …/wake`: sends a magic packet on the network where the machine has an address, or else from every served
/// interface.
pub(super) async fn wake(State(api): State<Api>, Segment(machine): Segment<String>) -> Answer<WakeView> {
    let (snapshot, named) = api.named_machine(&machine)?;
    if named.macs.is_empty() {
        let why = "its entry in `machines` has no MAC, which Wake-on-LAN needs";
        return Err(ApiError::new(StatusCode::CONFLICT, why));
    }
    let mut sent = Vec::new();
    let mut failed = None;
    for mac in named.macs.iter().copied() {
        for interface in api.interfaces_of(mac, &snapshot).await {
            match send_magic_packet(mac, &interface) {
                Ok(()) => sent.push(interface.name.to_string()),
                Err(error) => failed = Some(format!("{}: {error}", interface.name)),
            }
        }
    }
    sent.sort();
    sent.dedup();
    if sent.is_empty() {
        let why = failed.unwrap_or_else(|| "no interface is served".to_owned());
        return Err(ApiError::unavailable(format!("cannot send the magic packet: {why}")));
    }
    api.expect(&named);
    let line = format!("wake {} is sent from {}", shown(&named), sent.join(", "));
    api.recorder.server(ServerFact::ChangeMade, line);
    Ok(Json(WakeView { machine: MachineView::of(&named), interfaces: sent }))
}

impl Api {
    /// The machine is expected to ask from now on. If it does not, it boots its disk.
    fn expect(&self, named: &NamedMachine) {
        let now = self.recorder.now();
        let mut journeys = self.journeys.lock();
        named.macs.iter().for_each(|mac| journeys.expect(*mac, now));
    }

    /// The current settings, and the machine that `text` names.
    fn named_machine(&self, text: &str) -> Result<(Arc<Snapshot>, NamedMachine), ApiError> {
        let snapshot = Arc::clone(&self.now.borrow());
        let named = NamedMachine::find(text, &snapshot.config.targets);
        named.map(|named| (snapshot, named)).map_err(|refused| not_changed(NotChanged::Refused(refused)))
    }

    /// Stores a change, and waits until the server uses it.
    async fn change<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut Changes) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, NotChanged> {
        let changes = self.changes.clone();
        let edited = spawn_blocking(move || changes.edit(edit)).await;
        let result = edited.map_err(|error| NotChanged::Io(std::io::Error::other(error)))??;
        self.reloader.apply_changes().await;
        Ok(result)
    }

    /// The served interfaces on whose networks the machine has an address; all served ones if there are none.
    async fn interfaces_of(&self, mac: MacAddr, snapshot: &Snapshot) -> Vec<Interface> {
        let addresses = self.leases_of(mac).await.ok().flatten().unwrap_or_default();
        let is_here = |interface: &&Interface| {
            let mut networks = interface.networks.iter();
            networks.any(|network| addresses.iter().any(|address| network.contains(*address)))
        };
        let here: Vec<Interface> = snapshot.interfaces.interfaces().filter(is_here).cloned().collect();
        if here.is_empty() { snapshot.interfaces.interfaces().cloned().collect() } else { here }
    }
}

/// The machine for a log line.
fn shown(named: &NamedMachine) -> String {
    let parts =
        named.macs.first().map(ToString::to_string).into_iter().chain(named.name().map(str::to_owned));
    let parts: Vec<String> = parts.collect();
    Escaped(parts.join(" ").as_bytes()).to_string()
}

fn not_changed(error: NotChanged) -> ApiError {
    let (status, message) = match error {
        NotChanged::Refused(Refused::NoMachine(why)) => (StatusCode::NOT_FOUND, why),
        NotChanged::Refused(Refused::Wrong(why)) => (StatusCode::BAD_REQUEST, why),
        NotChanged::Refused(Refused::Conflict(why)) => (StatusCode::CONFLICT, why),
        NotChanged::Refused(Refused::Full(why)) => (StatusCode::INSUFFICIENT_STORAGE, why),
        NotChanged::Damaged(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        NotChanged::Io(error) => {
            let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            let status =
                if is_full { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, format!("cannot write the change to the state folder: {error}"))
        }
    };
    ApiError::new(status, message)
}
