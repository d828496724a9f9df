//! `GET /api/v1/images`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::api::error::{Answer, ApiError};
use crate::api::handles::Api;
use crate::boot::name::BootName;
use crate::config::Config;
use crate::images::{Catalog, UPLOADED, kind, list as names};

/// A file that clients can request.
#[derive(Serialize)]
pub(super) struct ImageView {
    /// The name under which clients request it.
    file: String,
    /// A short description, such as `EFI program`.
    kind: &'static str,
    /// Processor architecture, such as `x64`; `null` if the first bytes do not show it.
    architecture: Option<String>,
    /// In bytes.
    size: u64,
    /// Whether it was stored by `PUT /api/v1/images/{name}`, in the state folder.
    uploaded: bool,
}

/// The files that clients can request, by their names. Responds 503 if a folder cannot be read.
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<ImageView>> {
    let config = Arc::clone(&api.now.borrow().config);
    let read = spawn_blocking(move || read_all(&config)).await;
    let views = read.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)?;
    Ok(Json(views))
}

/// The files of `images`, and the uploaded ones that no file of `images` hides.
fn read_all(config: &Config) -> Result<Vec<ImageView>, String> {
    let mut views = read(&config.images, false)?;
    let uploaded = config.state.join(UPLOADED);
    if uploaded.is_dir() {
        let hidden: HashSet<String> = views.iter().map(|view| view.file.clone()).collect();
        views.extend(read(&uploaded, true)?.into_iter().filter(|view| !hidden.contains(&view.file)));
        views.sort_by(|one, other| one.file.cmp(&other.file));
    }
    Ok(views)
}

fn read(folder: &Path, uploaded: bool) -> Result<Vec<ImageView>, String> {
    let catalog = Catalog::open(folder).map_err(|error| error.to_string())?;
    // Clients cannot get some files, such as links that lead outside.
    let view = |file: String| {
        let name = BootName::parse(file.as_bytes()).ok()?;
        let (kind, architecture) = kind::words(catalog.kind(&name)?);
        Some(ImageView { size: catalog.size(&name)?, file, kind, architecture, uploaded })
    };
    Ok(names::names(folder)?.into_iter().filter_map(view).collect())
}
