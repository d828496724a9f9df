//! `GET /openapi.yaml`, the description of this API.

use axum::http::{HeaderName, header};

/// The description, which is written by hand. Tests compare it with the routes and with real answers.
pub const DESCRIPTION: &str = include_str!("openapi.yaml");

pub(super) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/yaml")], DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::endpoints::{Access, ENDPOINTS};
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn described() -> Value {
        serde_yaml::from_str(DESCRIPTION).unwrap()
    }

    #[test]
    fn w_04_every_route_is_described_and_no_other() {
        let described = described();
        let paths = described["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        let described: BTreeSet<String> = operations.collect();
        let routes = ENDPOINTS.iter().map(|row| format!("{} {}", row.method, row.path));
        assert_eq!(routes.collect::<BTreeSet<String>>(), described);
    }

    #[test]
    fn w_04_routes_that_change_something_say_that_they_need_the_token() {
        let described = described();
        for row in ENDPOINTS {
            let operation = &described["paths"][row.path][row.method.as_str().to_lowercase()];
            let needs_token = row.access != Access::Read;
            assert_eq!(
                needs_token,
                operation["responses"].get("401").is_some(),
                "{} {}",
                row.method,
                row.path
            );
            assert_eq!(needs_token, operation.get("security").is_some(), "{} {}", row.method, row.path);
            assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{}", row.path);
        }
    }
}
