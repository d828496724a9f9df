//! `GET /api/v1/images`.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::api::error::{Answer, ApiError};
use crate::api::handles::Api;
use crate::boot::name::BootName;
use crate::images::{Catalog, kind, list as names};

/// A file that clients can request.
#[derive(Serialize)]
pub(super) struct ImageView {
    /// Its name under boot-images/.
    file: String,
    /// A short description, such as `EFI program`.
    kind: &'static str,
    /// Processor architecture, such as `x64`; `null` if the first bytes do not show it.
    architecture: Option<String>,
    /// In bytes.
    size: u64,
}

/// The files of `images`, by their names. Responds 503 if the folder cannot be read.
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<ImageView>> {
    let config = Arc::clone(&api.now.borrow().config);
    let read = spawn_blocking(move || read(&config.images)).await;
    let views = read.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)?;
    Ok(Json(views))
}

fn read(folder: &Path) -> Result<Vec<ImageView>, String> {
    let catalog = Catalog::open(folder).map_err(|error| error.to_string())?;
    // Clients cannot get some files, such as links that lead outside.
    let view = |file: String| {
        let name = BootName::parse(file.as_bytes()).ok()?;
        let (kind, architecture) = kind::words(catalog.kind(&name)?);
        Some(ImageView { size: catalog.size(&name)?, file, kind, architecture })
    };
    Ok(names::names(folder)?.into_iter().filter_map(view).collect())
}
