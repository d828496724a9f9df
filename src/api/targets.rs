//! `GET /api/v1/targets`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::api::handles::Api;
use crate::boot::loader::target::{BootAction, Target};

/// An entry of `targets`.
#[derive(Serialize)]
pub(super) struct TargetView {
    name: String,
    /// The text in menus.
    title: String,
    /// A file under boot-images/, or a URL.
    kernel: String,
    initrd: Vec<String>,
    cmdline: String,
    /// Whether it is `boot.default`.
    is_default: bool,
}

/// The targets in the order of the configuration.
pub(super) async fn list(State(api): State<Api>) -> Json<Vec<TargetView>> {
    let config = Arc::clone(&api.now.borrow().config);
    let default = config.targets.default.as_ref();
    let view = |target: &Target| TargetView {
        name: target.name.to_string(),
        title: target.title.clone(),
        kernel: target.kernel.to_string(),
        initrd: target.initrd.iter().map(ToString::to_string).collect(),
        cmdline: target.cmdline.to_string(),
        is_default: matches!(default, Some(BootAction::Target(name)) if *name == target.name),
    };
    Json(config.targets.list.iter().map(view).collect())
}
