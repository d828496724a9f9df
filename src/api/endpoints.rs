//! The table of routes. The router is made from it, so that no route is without an [`Access`], and
//! `openapi.yaml` describes exactly these rows.

use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::api::handles::Api;
use crate::api::{
    captures, changes, doctor, events, images, journeys, leases, machines, metrics, openapi, reload, status,
    subnets, targets, uploads,
};

/// The right that a request needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// On the web listener: none on loopback, else the token.
    Read,
    /// On the web listener: always the token.
    Change,
    /// Like [`Access::Change`]. The route itself limits its body.
    Upload,
}

/// One route.
#[derive(Debug)]
pub struct Endpoint {
    /// [`Method::GET`] stands for HEAD too.
    pub method: Method,
    /// The path as axum and OpenAPI write it.
    pub path: &'static str,
    pub access: Access,
    /// Makes the handler, for this method alone.
    pub(super) handler: fn() -> MethodRouter<Api>,
}

/// Every route of the API.
#[rustfmt::skip]
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint { method: Method::GET, path: "/healthz", access: Access::Read, handler: || get(status::healthz) },
    Endpoint { method: Method::GET, path: "/readyz", access: Access::Read, handler: || get(status::readyz) },
    Endpoint { method: Method::GET, path: "/metrics", access: Access::Read, handler: || get(metrics::metrics) },
    Endpoint { method: Method::GET, path: "/api/v1/status", access: Access::Read, handler: || get(status::status) },
    Endpoint { method: Method::GET, path: "/openapi.yaml", access: Access::Read, handler: || get(openapi::openapi) },
    Endpoint { method: Method::GET, path: "/api/v1/machines", access: Access::Read, handler: || get(machines::list) },
    Endpoint { method: Method::GET, path: "/api/v1/machines/{mac}", access: Access::Read, handler: || get(machines::one) },
    Endpoint { method: Method::GET, path: "/api/v1/boots", access: Access::Read, handler: || get(journeys::list) },
    Endpoint { method: Method::GET, path: "/api/v1/boots/{id}", access: Access::Read, handler: || get(journeys::one) },
    Endpoint { method: Method::GET, path: "/api/v1/boots/{id}/pcap", access: Access::Read, handler: || get(captures::pcap) },
    Endpoint { method: Method::GET, path: "/api/v1/leases", access: Access::Read, handler: || get(leases::list) },
    Endpoint { method: Method::GET, path: "/api/v1/subnets", access: Access::Read, handler: || get(subnets::list) },
    Endpoint { method: Method::GET, path: "/api/v1/images", access: Access::Read, handler: || get(images::list) },
    Endpoint { method: Method::PUT, path: "/api/v1/images/{name}", access: Access::Upload, handler: || put(uploads::put_image) },
    Endpoint { method: Method::GET, path: "/api/v1/targets", access: Access::Read, handler: || get(targets::list) },
    Endpoint { method: Method::GET, path: "/api/v1/doctor", access: Access::Read, handler: || get(doctor::doctor) },
    Endpoint { method: Method::GET, path: "/api/v1/events", access: Access::Read, handler: || get(events::events) },
    Endpoint { method: Method::POST, path: "/api/v1/leases/{address}/release", access: Access::Change, handler: || post(leases::release) },
    Endpoint { method: Method::POST, path: "/api/v1/reload", access: Access::Change, handler: || post(reload::reload) },
    Endpoint { method: Method::PUT, path: "/api/v1/machines/{mac}/once", access: Access::Change, handler: || put(changes::set_once) },
    Endpoint { method: Method::DELETE, path: "/api/v1/machines/{mac}/once", access: Access::Change, handler: || delete(changes::clear_once) },
    Endpoint { method: Method::POST, path: "/api/v1/machines/{mac}/pin", access: Access::Change, handler: || post(changes::pin) },
    Endpoint { method: Method::DELETE, path: "/api/v1/machines/{mac}/pin", access: Access::Change, handler: || delete(changes::unpin) },
    Endpoint { method: Method::POST, path: "/api/v1/machines/{mac}/wake", access: Access::Change, handler: || post(changes::wake) },
    // The paths before version 1 of the API.
    Endpoint { method: Method::POST, path: "/leases/{address}/release", access: Access::Change, handler: || post(leases::release) },
    Endpoint { method: Method::POST, path: "/reload", access: Access::Change, handler: || post(reload::reload) },
];

/// The access of the route with this method and path. A request without a route may read: its answer is 404 or 405.
pub(super) fn access_of(method: &Method, path: Option<&str>) -> Access {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let found = ENDPOINTS.iter().find(|row| row.method == *method && Some(row.path) == path);
    found.map_or(Access::Read, |row| row.access)
}
