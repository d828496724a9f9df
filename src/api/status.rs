//! `GET /api/v1/status`, `/healthz` and `/readyz`.

use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::api::changes::ChangesView;
use crate::api::error::Answer;
use crate::api::handles::Api;
use crate::api::view::{SubnetView, time};
use crate::boot::plan::Mode;
use crate::config::Config;
use crate::net::served::Served;

#[derive(Serialize)]
pub(super) struct HealthView {
    status: &'static str,
}

/// The answer of `/api/v1/status`.
#[derive(Serialize)]
pub(super) struct StatusView {
    version: &'static str,
    /// In UTC, as in RFC 3339.
    started: String,
    uptime_seconds: u64,
    interfaces: Vec<InterfaceView>,
    /// `null` if the service is off.
    tftp: Option<ServiceView>,
    http: Option<ServiceView>,
    /// In the order of `dhcp.subnets`; empty if this server gives no addresses.
    subnets: Vec<SubnetView>,
    /// Dropped messages by reason.
    dropped: Vec<ReasonView>,
    /// Refused requests of the API by reason.
    refused: Vec<ReasonView>,
    /// The changes that people have made to the running server.
    changes: ChangesView,
}

/// A served interface.
#[derive(Serialize)]
struct InterfaceView {
    name: String,
    addresses: Vec<Ipv4Addr>,
    /// `server`, `proxy` or `off`.
    mode: &'static str,
}

#[derive(Serialize)]
struct ServiceView {
    port: u16,
    /// The configured addresses; empty for those of the served interfaces.
    listen: Vec<Ipv4Addr>,
}

#[derive(Serialize)]
struct ReasonView {
    reason: &'static str,
    count: u64,
}

/// Says that the process runs.
pub(super) async fn healthz() -> Json<HealthView> {
    Json(HealthView { status: "ok" })
}

/// Says that the server answers clients: the DHCP loop, if there is one, carries out commands.
pub(super) async fn readyz(State(api): State<Api>) -> Answer<HealthView> {
    api.subnet_usage().await?;
    Ok(Json(HealthView { status: "ok" }))
}

/// One screen: modes, addresses, and pools in use.
pub(super) async fn status(State(api): State<Api>) -> Answer<StatusView> {
    let usage = api.subnet_usage().await?;
    let snapshot = api.now.borrow().clone();
    let config = &snapshot.config;
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION"),
        started: time(api.started),
        uptime_seconds: api.recorder.now().since(api.started).as_secs(),
        interfaces: interfaces(config, &snapshot.interfaces),
        tftp: config.tftp.as_ref().map(|tftp| ServiceView { port: tftp.port, listen: tftp.listen.clone() }),
        http: config.http.as_ref().map(|http| ServiceView { port: http.port, listen: http.listen.clone() }),
        subnets: usage.iter().map(SubnetView::of).collect(),
        dropped: reasons(api.recorder.drops()),
        refused: reasons(api.refusals.counts()),
        changes: ChangesView::of(&api.changes.now(), &config.targets),
    }))
}

fn reasons(counts: Vec<(&'static str, u64)>) -> Vec<ReasonView> {
    counts.into_iter().map(|(reason, count)| ReasonView { reason, count }).collect()
}

fn interfaces(config: &Config, served: &Served) -> Vec<InterfaceView> {
    let mode = |name: &str| match config.dhcp.as_ref().and_then(|settings| settings.modes.on(name)) {
        Some(Mode::Server) => "server",
        Some(Mode::Proxy) => "proxy",
        None => "off",
    };
    let views = served.interfaces().map(|interface| InterfaceView {
        name: interface.name.to_string(),
        addresses: interface.addresses.to_vec(),
        mode: mode(&interface.name),
    });
    views.collect()
}
