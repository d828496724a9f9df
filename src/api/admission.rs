//! Checks that a request comes from an allowed client, that it is meant for this server, and that it has the token where
//! it needs one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use tracing::Level;

use crate::api::client::Client;
use crate::api::endpoints::Access;
use crate::api::error::ApiError;
use crate::api::handles::Api;
use crate::api::refusals::Reason;
use crate::api::token;
use crate::types::limit_key;

/// The field by which browsers say which page makes a request.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// A refused request.
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) error: ApiError,
}

impl Refused {
    pub(super) fn new(reason: Reason, status: StatusCode, message: impl Into<String>) -> Refused {
        Refused { reason, error: ApiError::new(status, message) }
    }
}

/// Checks a request, whose route needs `access`.
pub(super) async fn check(
    api: &Api,
    client: Option<Client>,
    request: &Parts,
    access: Access,
) -> Result<(), Refused> {
    check_single(&request.headers)?;
    let host = host(request);
    match client {
        Some(Client::Control { is_allowed }) => {
            check_control_host(host)?;
            check_origin(&request.headers, host, access)?;
            let only = "only root, the user that the server runs as and the group lanboot are allowed";
            if is_allowed {
                Ok(())
            } else {
                Err(Refused::new(Reason::OtherUser, StatusCode::FORBIDDEN, only))
            }
        }
        Some(Client::Web { peer, local }) => {
            check_web_host(api, host, local)?;
            check_origin(&request.headers, host, access)?;
            let needs_token = access != Access::Read || !Client::Web { peer, local }.is_on_loopback();
            if needs_token {
                check_token(api, peer.ip(), offered_token(&request.headers)).await
            } else {
                Ok(())
            }
        }
        // Every listener says how its requests come.
        None => Err(Refused::new(Reason::OtherUser, StatusCode::FORBIDDEN, "not allowed")),
    }
}

/// The fields that decide whether a request is admitted.
const DECIDING: [HeaderName; 4] =
    [header::HOST, header::ORIGIN, header::AUTHORIZATION, HeaderName::from_static(SEC_FETCH_SITE)];

/// Refuses requests that have a deciding field twice: a proxy before the server may read the other one (RFC 9112 section
/// 3.2 asks for this answer to a second Host).
fn check_single(headers: &HeaderMap) -> Result<(), Refused> {
    match DECIDING.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        None => Ok(()),
        Some(name) => {
            let message = format!("the header field `{name}` is given more than once");
            Err(Refused::new(Reason::DuplicateField, StatusCode::BAD_REQUEST, message))
        }
    }
}

/// The name that the client uses for this server. The authority of an absolute target precedes Host (RFC 9112 section
/// 3.2.2).
fn host(request: &Parts) -> Option<&str> {
    let by_target = request.uri.authority().map(Authority::as_str);
    by_target.or_else(|| Some(request.headers.get(header::HOST)?.to_str().unwrap_or("?")))
}

/// Checks that the request is meant for the control socket. The commands send the name `lanboot`. A browser's request
/// that a proxy passes on has another name; a request without a name does not come from a browser.
fn check_control_host(host: Option<&str>) -> Result<(), Refused> {
    let name = host.map(|host| host.split(':').next().unwrap_or_default());
    let is_own = |name: &str| name.eq_ignore_ascii_case("lanboot") || name.eq_ignore_ascii_case("localhost");
    if name.is_none_or(is_own) {
        return Ok(());
    }
    let message = "`Host` must be localhost or lanboot";
    Err(Refused::new(Reason::ForeignHost, StatusCode::MISDIRECTED_REQUEST, message))
}

fn check_web_host(api: &Api, host: Option<&str>, local: SocketAddr) -> Result<(), Refused> {
    let snapshot = Arc::clone(&api.now.borrow());
    if host.is_some_and(|host| api.names.is_own(host, local.ip(), &snapshot)) {
        return Ok(());
    }
    let message =
        "`Host` is not a name of this server: use its address or host name, or add the name to `web.names`";
    Err(Refused::new(Reason::ForeignHost, StatusCode::MISDIRECTED_REQUEST, message))
}

/// Refuses requests that a page of another origin makes. Browsers send `Origin` with every request that changes
/// something, and with every one that reads across origins.
fn check_origin(headers: &HeaderMap, host: Option<&str>, access: Access) -> Result<(), Refused> {
    let own = |origin: &str| {
        let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
    };
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?"));
    // A link on another page may lead here, but may change nothing.
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.to_str().unwrap_or("?"));
    let is_own_site =
        access == Access::Read || site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    if origin.is_none_or(own) && is_own_site {
        return Ok(());
    }
    let message = "requests from pages of another origin are refused";
    Err(Refused::new(Reason::ForeignOrigin, StatusCode::FORBIDDEN, message))
}

/// The token that a request offers. A page that logs in will send it in a cookie.
fn offered_token(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes())
}

async fn check_token(api: &Api, client: IpAddr, offered: Option<&[u8]>) -> Result<(), Refused> {
    let Some(offered) = offered else {
        let message =
            "this needs the token: `lanboot token` prints it; send it as `Authorization: Bearer TOKEN`";
        return Err(Refused::new(Reason::NoToken, StatusCode::UNAUTHORIZED, message));
    };
    let state = Arc::clone(&api.state);
    let unreadable =
        |message: String| Refused::new(Reason::TokenUnreadable, StatusCode::SERVICE_UNAVAILABLE, message);
    let stored = tokio::task::spawn_blocking(move || token::read(&state)).await;
    let stored = stored.map_err(|error| unreadable(error.to_string()))?;
    let stored = stored.map_err(|error| unreadable(error.to_string()))?;
    let stored =
        stored.ok_or_else(|| unreadable("there is no token: `lanboot token` makes one".to_owned()))?;
    if stored.matches(offered) {
        return Ok(());
    }
    if !api.attempts.count(limit_key(client), api.recorder.now()) {
        let message = "too many wrong tokens from this address";
        return Err(Refused::new(Reason::TooManyAttempts, StatusCode::TOO_MANY_REQUESTS, message));
    }
    api.recorder
        .log_failure(Level::INFO, "refused", || format!("a request to the API from {client}: wrong token"));
    let message = "wrong token: `lanboot token` prints the right one";
    Err(Refused::new(Reason::WrongToken, StatusCode::UNAUTHORIZED, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| ((*name).parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn w_07_pages_of_other_origins_are_refused() {
        let check = |fields: &[(&'static str, &str)], access| {
            check_origin(&headers(fields), Some("localhost:8067"), access).is_ok()
        };
        for access in [Access::Read, Access::Change, Access::Upload] {
            assert!(check(&[], access));
            for own in ["http://localhost:8067", "https://LOCALHOST:8067"] {
                assert!(check(&[("origin", own)], access), "{own}");
            }
            for foreign in [
                "null",
                "http://localhost",
                "http://evil.example",
                "localhost:8067",
                "",
                "http://127.0.0.1:8067",
            ] {
                assert!(!check(&[("origin", foreign)], access), "{foreign}");
            }
        }
        for (site, may_change) in
            [("same-origin", true), ("none", true), ("cross-site", false), ("same-site", false)]
        {
            assert_eq!(check(&[("sec-fetch-site", site)], Access::Change), may_change, "{site}");
            assert!(check(&[("sec-fetch-site", site)], Access::Read), "a link may lead here: {site}");
        }
    }

    #[test]
    fn only_bearer_tokens_are_offered() {
        let offered = |value: &str| offered_token(&headers(&[("authorization", value)])).map(<[u8]>::to_vec);
        assert_eq!(offered("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(offered("bearer  abc "), Some(b"abc".to_vec()));
        for other in ["Basic abc", "abc", "Bearer", ""] {
            assert_eq!(offered(other), None, "{other}");
        }
    }
}
