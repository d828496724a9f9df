//! `GET /api/v1/machines` and `/api/v1/machines/{mac}`.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::api::error::{Answer, ApiError, Segment};
use crate::api::handles::Api;
use crate::api::journeys::{BootView, VerdictView, add_events_on_disk, boots_of};
use crate::api::seen::{Seen, SeenMachines};
use crate::api::view::time;
use crate::config::Config;
use crate::config::changes::unknown_machine;
use crate::journey::Journeys;
use crate::journey::machine::Machine;
use crate::journey::state::never_seen;
use crate::journey::verdict::escaped;
use crate::types::{Hardware, MacAddr, Timestamp};

/// A machine that is configured or was seen.
#[derive(Serialize)]
pub(super) struct MachineView {
    /// Of several addresses, the one that was seen last; `null` if the configuration knows none and the machine sent none.
    mac: Option<String>,
    /// The name of its entry in `machines`.
    name: Option<String>,
    /// Its last address, or else the reserved one.
    address: Option<Ipv4Addr>,
    /// The architecture of its firmware, such as `uefi-x64`.
    arch: Option<String>,
    /// The stage that its newest boot has reached.
    stage: Option<&'static str>,
    /// The result of its newest boot.
    result: Option<&'static str>,
    /// Why its newest boot stopped, or why there is none.
    verdict: Option<VerdictView>,
    /// The time when it was last given a boot file, in UTC.
    last_boot: Option<String>,
    /// The facts that its iPXE reported last.
    hardware: Option<HardwareView>,
    /// All its MACs.
    #[serde(skip)]
    macs: Vec<MacAddr>,
    #[serde(skip)]
    is_seen: bool,
}

/// Facts about a machine's hardware. Its firmware states the texts, so they may have any characters.
#[derive(Serialize)]
pub(super) struct HardwareView {
    memory_mib: Option<u64>,
    manufacturer: Option<String>,
    product: Option<String>,
    serial: Option<String>,
    platform: Option<String>,
    buildarch: Option<String>,
}

impl HardwareView {
    /// The view of `hardware`; `None` if nothing is known.
    fn new(hardware: &Hardware) -> Option<HardwareView> {
        if *hardware == Hardware::default() {
            return None;
        }
        let text = |text: &Option<Arc<str>>| text.as_deref().map(escaped);
        Some(HardwareView {
            memory_mib: hardware.memory,
            manufacturer: text(&hardware.manufacturer),
            product: text(&hardware.product),
            serial: text(&hardware.serial),
            platform: text(&hardware.platform),
            buildarch: text(&hardware.buildarch),
        })
    }
}

/// A machine with its boots.
#[derive(Serialize)]
pub(super) struct MachineDetails {
    #[serde(flatten)]
    machine: MachineView,
    /// Newest first.
    boots: Vec<BootView>,
}

/// An entry of `machines` in the configuration.
struct Entry<'c> {
    name: &'c str,
    macs: &'c [MacAddr],
    address: Option<Ipv4Addr>,
}

/// Every machine: those of the configuration in its order, then the others by their MAC.
pub(super) async fn list(State(api): State<Api>) -> Json<Vec<MachineView>> {
    let config = Arc::clone(&api.now.borrow().config);
    let booted: Vec<MacAddr> = api
        .journeys
        .lock()
        .machines()
        .filter(|machine| has_boots(machine))
        .map(|machine| machine.mac)
        .collect();
    let mut machines = all(&config, &api.feed.seen(), &booted);
    let (journeys, now) = (api.journeys.lock(), api.recorder.now());
    machines.iter_mut().for_each(|machine| machine.add_journey(&journeys, now));
    Json(machines)
}

/// One machine, by the name of its entry or by any of its MACs. Responds 404 if it is neither configured nor was seen.
pub(super) async fn one(State(api): State<Api>, Segment(text): Segment<String>) -> Answer<MachineDetails> {
    let config = Arc::clone(&api.now.borrow().config);
    let has_boots = text.parse().is_ok_and(|mac| api.journeys.lock().machine(mac).is_some_and(has_boots));
    let mut machine = find(&text, &config, &api.feed.seen(), has_boots)?;
    let mut boots = {
        let journeys = api.journeys.lock();
        machine.add_journey(&journeys, api.recorder.now());
        boots_of(&journeys, &machine.macs)
    };
    add_events_on_disk(&api, &mut boots).await;
    Ok(Json(MachineDetails { machine, boots }))
}

/// The machine that `text` names. A name comes before a MAC, as in the routes that change something. `has_boots` says whether
/// boots of that MAC are kept.
fn find(text: &str, config: &Config, seen: &SeenMachines, has_boots: bool) -> Result<MachineView, ApiError> {
    let missing = |message: String| ApiError::new(StatusCode::NOT_FOUND, message);
    let entries = entries(config);
    if let Some(entry) = entries.iter().find(|entry| entry.name == text) {
        return Ok(of_entry(entry, seen));
    }
    let mac: MacAddr = text.parse().map_err(|_| missing(unknown_machine(text)))?;
    let entry = entries.iter().find(|entry| entry.macs.contains(&mac));
    match (entry, seen.get(mac)) {
        (Some(entry), _) => Ok(of_entry(entry, seen)),
        (None, Some(seen)) => Ok(view(Some(mac), None, None, Some(seen))),
        (None, None) if has_boots => Ok(view(Some(mac), None, None, None)),
        (None, None) => Err(missing(format!("no machine {mac} is configured or was seen"))),
    }
}

/// Whether boots of the machine are kept. After a restart, lanboot knows a machine without a lease from them alone.
fn has_boots(machine: &Machine) -> bool {
    !machine.boots.is_empty()
}

fn all(config: &Config, seen: &SeenMachines, booted: &[MacAddr]) -> Vec<MachineView> {
    let entries = entries(config);
    let configured: HashSet<MacAddr> = entries.iter().flat_map(|entry| entry.macs.iter().copied()).collect();
    let mut others: BTreeSet<MacAddr> = seen.iter().map(|(mac, _)| mac).collect();
    others.extend(booted);
    let others = others.into_iter().filter(|mac| !configured.contains(mac));
    let others = others.map(|mac| view(Some(mac), None, None, seen.get(mac)));
    entries.iter().map(|entry| of_entry(entry, seen)).chain(others).collect()
}

/// The entries of `machines`. With DHCP off, those that boot something.
fn entries(config: &Config) -> Vec<Entry<'_>> {
    match &config.dhcp {
        Some(settings) => settings
            .machines
            .iter()
            .map(|machine| Entry {
                name: &machine.name,
                macs: &machine.macs,
                address: machine.addresses.first().copied(),
            })
            .collect(),
        None => config
            .targets
            .machines()
            .iter()
            .map(|machine| Entry { name: &machine.name, macs: &machine.macs, address: machine.address })
            .collect(),
    }
}

fn of_entry(entry: &Entry<'_>, seen: &SeenMachines) -> MachineView {
    let last = entry.macs.iter().filter_map(|mac| Some((*mac, seen.get(*mac)?)));
    let last = last.max_by_key(|(_, seen)| seen.order);
    let mac = last.map(|(mac, _)| mac).or(entry.macs.first().copied());
    let view = view(mac, Some(entry.name), entry.address, last.map(|(_, seen)| seen));
    MachineView { macs: entry.macs.to_vec(), ..view }
}

impl MachineView {
    /// Fills in the newest boot of any of its MACs.
    fn add_journey(&mut self, journeys: &Journeys, now: Timestamp) {
        let machines = self.macs.iter().filter_map(|mac| journeys.machine(*mac));
        let newest = machines.max_by_key(|machine| machine.boots.front().map(|boot| boot.id.started));
        if let Some(boot) = newest.and_then(|machine| machine.boots.front()) {
            (self.stage, self.result) = (Some(boot.stage.name()), Some(boot.result.name()));
            self.arch = self.arch.take().or_else(|| boot.arch.map(|arch| arch.to_string()));
        }
        self.hardware = newest.and_then(|machine| HardwareView::new(&machine.reported));
        let verdict = newest.and_then(|machine| journeys.verdict(machine.mac, now));
        self.verdict = verdict.as_deref().map(VerdictView::from);
        let was_seen = self.is_seen || newest.is_some_and(|machine| machine.seen.is_some());
        if let Some(name) = self.name.as_ref().filter(|_| !was_seen) {
            self.verdict = Some(VerdictView::from(&never_seen(name)));
        }
    }
}

fn view(
    mac: Option<MacAddr>,
    name: Option<&str>,
    reserved: Option<Ipv4Addr>,
    seen: Option<&Seen>,
) -> MachineView {
    let is_seen = seen.is_some();
    let Seen { address, arch, last_boot, .. } = seen.copied().unwrap_or_default();
    MachineView {
        mac: mac.map(|mac| mac.to_string()),
        name: name.map(str::to_owned),
        address: address.or(reserved),
        arch: arch.map(|arch| arch.to_string()),
        stage: None,
        result: None,
        verdict: None,
        last_boot: last_boot.map(time),
        hardware: None,
        macs: mac.into_iter().collect(),
        is_seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Client, Details, Event, Message, Record};
    use crate::types::{Arch, Firmware, MachineId, Timestamp};
    use std::time::{Duration, Instant};

    fn received(mac: MacAddr) -> Record {
        let client = Client { firmware: Firmware::UefiPxe, arch: Some(Arch::UEFI_X64) };
        let event = Event::Received { message: Message::Discover, client, details: Details::default() };
        Record { at: Timestamp(0), interface: None, machine: Some(MachineId::from(mac)), event }
    }

    #[test]
    fn configured_seen_and_kept_machines_are_listed_once() {
        let yaml = "{dhcp: {mode: proxy}, machines: [\
            {name: a, mac: ['02:00:00:00:00:01', '02:00:00:00:00:02'], boot: x.efi}, {name: b, mac: '02:00:00:00:00:03', boot: x.efi}]}";
        let config = crate::config::load(yaml).unwrap();
        let mut seen = SeenMachines::default();
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        [9, 1, 2, 7].iter().for_each(|last| seen.note(&received(mac(*last))));
        let listed: Vec<_> = all(&config, &seen, &[mac(3), mac(8)])
            .into_iter()
            .map(|view| (view.mac.unwrap(), view.name))
            .collect();
        let expected = [(2, Some("a")), (3, Some("b")), (7, None), (8, None), (9, None)];
        let expected = expected.map(|(last, name)| (mac(last).to_string(), name.map(str::to_owned)));
        assert_eq!(listed, expected, "of the two addresses of a, the one that was seen last");
    }

    #[test]
    fn ten_thousand_machines_are_listed_fast() {
        let config = crate::config::load("{dhcp: {mode: proxy}}").unwrap();
        let mut seen = SeenMachines::default();
        for n in 0..10_000u16 {
            let [a, b] = n.to_be_bytes();
            seen.note(&received(MacAddr([2, 0, 0, 0, a, b])));
        }
        let best = (0..5).map(|_| {
            let began = Instant::now();
            let text = serde_json::to_vec(&all(&config, &seen, &[])).unwrap();
            assert!(text.len() > 1_000_000);
            began.elapsed()
        });
        // Not optimised; the limit of the optimised program is 100 ms.
        assert!(best.min().unwrap() < Duration::from_millis(1000));
    }
}
