//! `POST /api/v1/leases/{address}/release`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::sync::oneshot;

use crate::api::commands::{Command, Refusal, Release};
use crate::api::error::{Answer, ApiError, Done, Segment};
use crate::api::handles::Api;
use crate::store::LeaseReader;

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
    let stored = tokio::task::spawn_blocking(read_lease).await;
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
