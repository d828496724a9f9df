//! `GET /api/v1/boots/{id}/pcap`: the packets of a boot. `server/capture.rs` keeps them.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::time::sleep;

use crate::api::error::{ApiError, Segment};
use crate::api::handles::Api;
use crate::api::journeys::{boot_id, unknown_boot};
use crate::capture::pcap;
use crate::journey::Journeys;
use crate::journey::boot::{Boot, BootId};
use crate::types::Timestamp;

/// Time in which a packet that is on the wire now is read. `server/capture.rs` reads every 10 ms.
const READ_TIME: Duration = Duration::from_millis(50);
/// Time before the first event of a boot: a message is on the wire before it is recorded.
const BEFORE: Duration = Duration::from_secs(1);
/// Time after the last event of a boot, in which its last answers are on the wire.
const AFTER: Duration = Duration::from_secs(2);

/// The packets of one boot as a pcap file.
pub(super) async fn pcap(State(api): State<Api>, Segment(id): Segment<String>) -> Result<Response, ApiError> {
    let id = boot_id(&id)?;
    let machine = |journeys: &Journeys| window(&journeys.machine(id.mac)?.boots, id, api.recorder.now());
    let window = machine(&api.journeys.lock());
    let (from, until) = window.ok_or_else(|| unknown_boot(id))?;
    sleep(READ_TIME).await;
    let (packets, why_none) = {
        let state = api.capture.lock();
        (state.ring.packets(id.mac, from, until), state.why_none())
    };
    if packets.is_empty() {
        return Err(match why_none {
            Some(why) => ApiError::unavailable(format!("no packets are captured: {why}")),
            None => ApiError::new(
                StatusCode::NOT_FOUND,
                format!(
                    "no packet of the boot {id} is kept any more: the server keeps the newest packets of each machine in \
                     memory, from its own start on"
                ),
            ),
        });
    }
    let name = format!("attachment; filename=\"lanboot-{id}.pcap\"");
    let fields = [(CONTENT_TYPE, pcap::CONTENT_TYPE.to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((fields, pcap::file(&packets)).into_response())
}

/// The times between which the packets of the boot are. They end with its last event or with the next boot of the
/// machine, so that retries after its verdict belong to it.
fn window(boots: &VecDeque<Boot>, id: BootId, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let place = boots.iter().position(|boot| boot.id == id)?;
    let boot = boots.get(place)?;
    let last = boot.events.last().map(|event| event.at);
    let end = match boot.ended {
        Some(ended) => last.map_or(ended, |last| last.max(ended)).after(AFTER),
        None => now.after(AFTER),
    };
    // The boots are in order, newest first.
    let next = place.checked_sub(1).and_then(|place| boots.get(place));
    let next = next.map(|next| next.id.started.before(BEFORE));
    let start = id.started.before(BEFORE);
    Some((start, next.map_or(end, |next| end.min(next)).max(id.started)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;

    #[test]
    fn packets_of_a_boot_end_with_it_or_with_the_next_one() {
        const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
        let mut boots = VecDeque::new();
        for (started, ended) in [(10_000, Some(20_000)), (21_500, Some(90_000)), (200_000, None)] {
            let mut boot = Boot::new(MAC, Timestamp(started));
            boot.ended = ended.map(Timestamp);
            boots.push_front(boot);
        }
        let of = |started| {
            let id = BootId { started: Timestamp(started), mac: MAC };
            window(&boots, id, Timestamp(250_000)).map(|(from, until)| (from.0, until.0))
        };
        assert_eq!(of(10_000), Some((9_000, 20_500)), "until the next boot begins");
        assert_eq!(of(21_500), Some((20_500, 92_000)));
        assert_eq!(of(200_000), Some((199_000, 252_000)), "it goes on");
        assert_eq!(of(1), None);
    }
}
