//! The journeys as the API shows them: the boots of each machine with their verdicts. `server/journey.rs` fills them in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::api::error::{Answer, ApiError, Segment};
use crate::api::handles::Api;
use crate::api::view::time;
use crate::journey::Journeys;
use crate::journey::boot::{Boot, BootId};
use crate::journey::verdict::Verdict;
use crate::record::fields;
use crate::types::MacAddr;

/// Maximum number of boots that `GET /api/v1/boots` lists.
const MAX_LISTED: usize = 1000;

/// Why a boot stopped, and what to do.
#[derive(Serialize)]
pub(super) struct VerdictView {
    id: &'static str,
    cause: String,
    advice: String,
    /// Messages that the machine may show.
    screen: &'static [&'static str],
    confidence: &'static str,
}

/// One boot.
#[derive(Serialize)]
pub(super) struct BootView {
    id: String,
    mac: String,
    started: String,
    /// `null` while it boots.
    ended: Option<String>,
    stage: &'static str,
    result: &'static str,
    /// Set exactly when `result` is `stuck`.
    verdict: Option<VerdictView>,
    /// The files that were loaded, in order.
    files: Vec<String>,
    /// The number of events that were left out.
    omitted: u32,
    events: Vec<Value>,
    /// The boot, and the number of its events that are in the database alone.
    #[serde(skip)]
    on_disk: (BootId, usize),
}

impl From<&Verdict> for VerdictView {
    fn from(verdict: &Verdict) -> VerdictView {
        VerdictView {
            id: verdict.id.name(),
            cause: verdict.cause.clone(),
            advice: verdict.advice.clone(),
            screen: verdict.id.screen(),
            confidence: verdict.confidence.name(),
        }
    }
}

impl BootView {
    /// The view of `boot`, with its events if they are wanted.
    pub(super) fn new(boot: &Boot, with_events: bool) -> BootView {
        let events = boot.events.iter().filter(|_| with_events);
        BootView {
            id: boot.id.to_string(),
            mac: boot.id.mac.to_string(),
            started: time(boot.id.started),
            ended: boot.ended.map(time),
            stage: boot.stage.name(),
            result: boot.result.name(),
            verdict: boot.verdict.as_deref().map(VerdictView::from),
            files: boot.chain.iter().map(|file| crate::journey::verdict::escaped(file)).collect(),
            omitted: boot.omitted,
            events: events.map(fields::json).collect(),
            on_disk: (boot.id, if with_events { boot.events_on_disk } else { 0 }),
        }
    }
}

/// The boots of the machines with these MACs, newest first.
pub(super) fn boots_of(journeys: &Journeys, macs: &[MacAddr]) -> Vec<BootView> {
    let machines = macs.iter().filter_map(|mac| journeys.machine(*mac));
    let mut boots: Vec<&Boot> = machines.flat_map(|machine| &machine.boots).collect();
    boots.sort_by_key(|boot| std::cmp::Reverse(boot.id.started));
    boots.into_iter().map(|boot| BootView::new(boot, true)).collect()
}

/// Adds the events that are in the database alone. Those that cannot be read count as left out.
pub(super) async fn add_events_on_disk(api: &Api, boots: &mut [BootView]) {
    let wanted: Vec<(BootId, usize)> =
        boots.iter().map(|boot| boot.on_disk).filter(|(_, count)| *count > 0).collect();
    if wanted.is_empty() {
        return;
    }
    let mut found = api.journeys.read_events(Arc::clone(&api.state), wanted).await.into_iter();
    for boot in boots.iter_mut().filter(|boot| boot.on_disk.1 > 0) {
        let earlier = found.next().unwrap_or_default();
        let missing = boot.on_disk.1.saturating_sub(earlier.len());
        boot.omitted = boot.omitted.saturating_add(u32::try_from(missing).unwrap_or(u32::MAX));
        boot.events.splice(..0, earlier.iter().map(fields::json));
    }
}

/// `GET /api/v1/boots`: the newest boots of all machines, without their events.
pub(super) async fn list(State(api): State<Api>) -> Json<Vec<BootView>> {
    let journeys = api.journeys.lock();
    let mut boots: Vec<&Boot> = journeys.machines().flat_map(|machine| &machine.boots).collect();
    boots.sort_by_key(|boot| std::cmp::Reverse(boot.id.started));
    Json(boots.into_iter().take(MAX_LISTED).map(|boot| BootView::new(boot, false)).collect())
}

/// `GET /api/v1/boots/{id}`: one boot with its events.
pub(super) async fn one(State(api): State<Api>, Segment(id): Segment<String>) -> Answer<BootView> {
    let id = boot_id(&id)?;
    let boot = api.journeys.lock().boot(id).map(|boot| BootView::new(boot, true));
    let mut boot = [boot.ok_or_else(|| unknown_boot(id))?];
    add_events_on_disk(&api, &mut boot).await;
    let [boot] = boot;
    Ok(Json(boot))
}

/// Reads the id of a boot in a path.
pub(super) fn boot_id(text: &str) -> Result<BootId, ApiError> {
    let expected = "expected the id of a boot, as `/api/v1/boots` lists it, after /boots/";
    text.parse().map_err(|()| ApiError::bad_request(expected))
}

pub(super) fn unknown_boot(id: BootId) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("no boot {id} is known"))
}
