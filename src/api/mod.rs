//! The API: one router for the control socket and for the web listener. `server/web/control.rs` and `server/web/` accept
//! connections and pass their requests to it, each with the [`client::Client`] that says how it came.
//!
//! Every route is a row of [`endpoints::ENDPOINTS`] with its [`endpoints::Access`]. `guard.rs` decides before a route runs whether
//! the request may have it. A route and the views of its answer are in one file, one file for each group of routes.
//! Nothing here decides about DHCP or files: routes read the snapshot, the records and the store, and ask the DHCP loop
//! by [`commands`]. Changes never edit a file of the user.

use axum::Router;
use axum::middleware::from_fn_with_state;

use crate::api::endpoints::ENDPOINTS;
use crate::api::error::{method_not_allowed, not_found};
use crate::api::guard::guard;
use crate::api::handles::Api;

mod admission;
pub mod attempts;
mod captures;
mod changes;
pub mod client;
pub mod commands;
mod doctor;
pub mod endpoints;
mod error;
mod events;
pub mod examination;
pub mod feed;
mod guard;
pub mod handles;
mod image_uploads;
mod images;
pub mod journeys;
pub mod leases;
mod machines;
mod metrics;
pub mod names;
pub mod openapi;
pub mod refusals;
mod reload;
pub mod reloader;
mod ring;
mod seen;
pub mod shared_capture;
pub mod shared_journeys;
pub mod slots;
mod status;
mod subnets;
mod targets;
pub mod token;
mod uploads;
mod view;

/// The router with all routes. Every request needs a [`client::Client`] among its extensions.
pub fn router(api: &Api) -> Router {
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        router = router.route(endpoint.path, (endpoint.handler)());
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(api.clone(), guard))
        .with_state(api.clone())
}

#[cfg(test)]
mod tests;
