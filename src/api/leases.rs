//! `GET /api/v1/leases` and `POST /api/v1/leases/{address}/release`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::api::commands::{Command, Refusal, Release};
use crate::api::error::{Answer, ApiError, Done, Segment};
use crate::api::handles::Api;
use crate::api::view::seconds_of;
use crate::config::Config;
use crate::lease::{Lease, State as LeaseState, is_forever};
use crate::store::{LeaseReader, StoreError};
use crate::types::Timestamp;

/// A lease, formatted for people and programs. `lanboot leases --json` prints it too.
#[derive(Serialize)]
pub struct LeaseView {
    pub address: Ipv4Addr,
    /// leased, declined, released or expired.
    pub state: &'static str,
    /// `null` for hardware other than Ethernet.
    pub mac: Option<String>,
    /// The name in `machines`.
    pub name: Option<String>,
    /// Client identifier in hexadecimal with colons, the type byte first.
    pub client_id: String,
    /// In UTC, as in RFC 3339; `null` for a lease that never ends.
    pub expires: Option<String>,
    /// 0 for a lease that has ended; `null` for one that never ends.
    pub seconds_left: Option<u64>,
}

/// The stored leases, by address; empty if this server gives no addresses. Responds 503 if they cannot be read.
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<LeaseView>> {
    let state = Arc::clone(&api.state);
    let read = move || LeaseReader::open(&state)?.map_or(Ok(Vec::new()), |reader| Ok(reader.load()?.0));
    let leases: Result<Vec<Lease>, StoreError> = spawn_blocking(read).await.map_err(ApiError::unavailable)?;
    let leases = leases.map_err(ApiError::unavailable)?;
    let (config, now) = (Arc::clone(&api.now.borrow().config), api.recorder.now());
    Ok(Json(leases.iter().map(|lease| LeaseView::of(lease, &config, now)).collect()))
}

impl LeaseView {
    /// Formats `lease` as of the time `now`.
    pub fn of(lease: &Lease, config: &Config, now: Timestamp) -> LeaseView {
        let mac = lease.hardware.mac();
        let machines = config.dhcp.as_ref().map(|settings| &settings.machines);
        let machine = mac.and_then(|mac| machines?.with_mac(mac));
        let machine = machine.or_else(|| machines?.without_mac(lease.address));
        let finite = (!is_forever(lease.until)).then_some(lease.until);
        LeaseView {
            address: lease.address,
            state: match lease.state {
                LeaseState::Released => "released",
                _ if lease.until <= now => "expired",
                LeaseState::Declined => "declined",
                LeaseState::Leased | LeaseState::Offered | LeaseState::Checking => "leased",
            },
            mac: mac.map(|mac| mac.to_string()),
            name: machine.map(|machine| machine.name.to_string()),
            client_id: format!("{:?}", lease.holder.client),
            expires: finite.map(seconds_of),
            seconds_left: finite.map(|until| until.since(now).as_secs()),
        }
    }
}

/// Frees an address: reads the stored lease, which is complete, and asks the DHCP loop to end it. The answer is sent
/// when the change is on stable storage.
///
/// Responds 404 if no lease is stored for the address, 409 if there is nothing to free, and 503 if the change could not
/// be stored or this server gives no addresses.
pub(super) async fn release(State(api): State<Api>, Segment(address): Segment<String>) -> Answer<Done> {
    let address: Ipv4Addr =
        address.parse().map_err(|_| ApiError::bad_request("ADDRESS is not an IPv4 address"))?;
    let commands = api.commands.sender();
    let commands = commands.ok_or_else(|| ApiError::unavailable("this server gives no addresses"))?;
    let state = Arc::clone(&api.state);
    let read_lease = move || LeaseReader::open(&state)?.map_or(Ok(None), |reader| reader.lease(address));
    let stored = spawn_blocking(read_lease).await;
    let stored = stored.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)?;
    let lease = stored.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "no lease is stored for it"))?;
    let (reply, answer) = oneshot::channel();
    let stopping = || ApiError::unavailable("the server is stopping");
    commands.send(Command::Release(Release::new(lease, reply))).await.map_err(|_| stopping())?;
    match answer.await {
        Ok(Ok(())) => Ok(Json(Done {})),
        Ok(Err(Refusal::Conflict(why))) => Err(ApiError::new(StatusCode::CONFLICT, why)),
        Ok(Err(Refusal::Failed(why))) => Err(ApiError::unavailable(why)),
        Err(_) => Err(stopping()),
    }
}
