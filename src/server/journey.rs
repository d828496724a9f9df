//! Drives the journeys: passes them the records and the time, looks into loaders, and records how boots end. It reads
//! one queue of the recorder, so no packet waits for it.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::api::handles::Api;
use crate::boot::loader::target::BootAction;
use crate::content::lookup::Files;
use crate::event::{Event, HttpRefusal, Record, Refusal, ServerFact};
use crate::images::{ipxe, signature};
use crate::journey::Changed;
use crate::journey::machine::Change;
use crate::journey::site::{LoaderFacts, Program, Site, TargetFiles, goes_on_elsewhere, is_on_other_server};
use crate::journey::verdict::escaped;
use crate::net::snapshot::Snapshot;
use crate::record::{InOrder, Reader, Recorder, Subscriber};
use crate::server::journey_keeper::Kept;
use crate::server::slow_files::SlowFiles;
use crate::store::journeys::KeptMachine;
use crate::types::{FileKind, MachineId, Timestamp};

/// Maximum number of records that wait to be taken in.
pub const MAX_WAITING: usize = 32_768;
/// Pause between two batches, so that a busy DHCP loop does not wake this task for each record.
const PAUSE: Duration = Duration::from_millis(50);
/// Maximum time until boots are judged whose limit is over.
const TICK: Duration = Duration::from_millis(250);
/// Time after which no older record comes: the threads of the services record what they did while they have processor time.
const SETTLED: Duration = Duration::from_millis(100);
/// Time for which the content of a file counts as known.
const LOOKED: Duration = Duration::from_secs(10);
/// Maximum number of names that are remembered as looked into.
const MAX_LOOKED: usize = 1024;
/// Number of bytes of a script that are searched for a menu.
const MAX_SCRIPT: usize = 64 << 10;
/// Maximum number of names in a folder that are compared with the name of a missing file.
const MAX_NAMES: usize = 1000;

/// Minimum time between two warnings about lost records.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// The names that were looked into, and when.
#[derive(Default)]
struct Looked(HashMap<Box<str>, Instant>);

impl Looked {
    /// Whether `name` is to be looked into now. A file may be replaced, so each is looked into again after a while.
    fn is_due(&mut self, name: &str) -> bool {
        let now = Instant::now();
        if self.0.get(name).is_some_and(|at| now.duration_since(*at) < LOOKED) {
            return false;
        }
        if self.0.len() >= MAX_LOOKED {
            self.0.clear();
        }
        self.0.insert(name.into(), now);
        true
    }
}

/// Records that were lost because the queue was full.
#[derive(Default)]
struct Losses {
    /// The records that were lost since the last warning, and the boots that were going on then.
    records: u64,
    boots: usize,
    warned: Option<Instant>,
}

impl Losses {
    /// Takes in that `lost` records are missing after the last one of the journeys.
    fn note(&mut self, lost: u64, journeys: &mut crate::journey::Journeys, recorder: &Recorder) {
        recorder.records_lost(Reader::Journeys, lost);
        let text = format!(
            "{lost} records were lost: the silence of this boot proves nothing until the machine is heard again"
        );
        let event = Event::Server { fact: ServerFact::RecordsLost, text };
        let record = Record { at: recorder.now(), interface: None, machine: None, event };
        self.boots = self.boots.max(journeys.lost(&record));
        self.records = self.records.saturating_add(lost);
    }

    /// Warns, at most once per [`WARN_PAUSE`].
    fn warn(&mut self, recorder: &Recorder) {
        if self.records == 0 || self.warned.is_some_and(|at| at.elapsed() < WARN_PAUSE) {
            return;
        }
        let text = format!(
            "{} records of packets were lost because they came faster than this computer could follow the boots: the {} \
             boots that were going on get no verdict until their machine is heard again; if this repeats, give lanboot \
             more processor time (`CPUWeight=` of its unit), or find the source of the packets in /metrics",
            self.records, self.boots
        );
        *self = Losses { warned: Some(Instant::now()), ..Losses::default() };
        recorder.server(ServerFact::RecordsLost, text);
    }
}

/// Follows the records forever. The boots of earlier runs come from `kept` first.
pub async fn follow(api: &Api, records: &Subscriber, kept: Option<oneshot::Receiver<Kept>>) -> Infallible {
    let mut now = api.now.clone();
    let mut files = api.files.get().cloned();
    let snapshot = Arc::clone(&now.borrow_and_update());
    let mut looked = Looked::default();
    let mut losses = Losses::default();
    let mut slow_files = SlowFiles::default();
    let mut waiting = InOrder::default();
    let mut images = snapshot.config.images.clone();
    api.journeys.lock().replace_site(site(&snapshot, files.as_ref()));
    if let Some(kept) = kept {
        // Records of this run wait in the queue.
        let Kept { machines, is_new } = kept.await.unwrap_or_default();
        let now = api.recorder.now();
        for KeptMachine { mac, machine, boots } in machines {
            api.journeys.lock().restore(mac, machine, boots, now);
        }
        if is_new {
            api.journeys.lock().nothing_stored();
        }
    }
    loop {
        if now.has_changed().unwrap_or(false) {
            files = api.files.get().cloned();
            let snapshot = Arc::clone(&now.borrow_and_update());
            images.clone_from(&snapshot.config.images);
            api.journeys.lock().replace_site(site(&snapshot, files.as_ref()));
        }
        let pause = if waiting.is_empty() { TICK } else { PAUSE };
        let batch = timeout(pause, records.next()).await.unwrap_or_default();
        for record in batch.shared() {
            look_into_loader(api, &record, (files.as_ref(), &images), &mut looked).await;
            if record.machine.is_some() || is_conflict(&record) {
                waiting.push(record);
            }
        }
        let until = api.recorder.now().before(SETTLED);
        // Lost records are newer than all that are here.
        let in_order = waiting.take(if batch.lost > 0 { Timestamp(u64::MAX) } else { until });
        let (changes, ended) = {
            let mut journeys = api.journeys.lock();
            let mut changes = Vec::new();
            in_order.iter().for_each(|record| changes.extend(journeys.record(record)));
            if batch.lost > 0 {
                losses.note(batch.lost, &mut journeys, &api.recorder);
            }
            if files.as_ref().is_some_and(|files| slow_files.look(files.work(), &api.recorder)) {
                journeys.site.learn_slow_files(until);
            }
            changes.extend(journeys.advance(until));
            changes.iter().for_each(|changed| count_stages(&journeys, *changed, &api.recorder));
            let ended: Vec<Option<(MachineId, Event)>> =
                changes.iter().map(|changed| summary(&journeys, *changed)).collect();
            (changes.len(), ended)
        };
        losses.warn(&api.recorder);
        for (machine, event) in ended.into_iter().flatten() {
            let machine = Some(machine);
            api.recorder.record(Record { at: api.recorder.now(), interface: None, machine, event });
        }
        if changes > 0 || !in_order.is_empty() || !batch.is_empty() || batch.lost > 0 {
            sleep(PAUSE).await;
        }
    }
}

fn is_conflict(record: &Record) -> bool {
    matches!(record.event, Event::Conflict { .. } | Event::ProxyArp { .. })
}

/// Counts the time of each stage of a boot that reached its system.
fn count_stages(journeys: &crate::journey::Journeys, changed: Changed, recorder: &Recorder) {
    let boot = journeys.boot(changed.boot).filter(|_| changed.change == Change::Booted);
    let Some(boot) = boot else { return };
    let mut end = boot.ended;
    for (stage, began) in boot.reached.iter().enumerate().rev() {
        if let (Some(began), Some(end)) = (began, end) {
            recorder.stage_took(stage, end.since(*began));
        }
        end = began.or(end);
    }
}

/// The summary of a boot that ended, or that goes on.
fn summary(journeys: &crate::journey::Journeys, changed: Changed) -> Option<(MachineId, Event)> {
    let (machine, boot) = (journeys.machine(changed.mac)?, journeys.boot(changed.boot)?);
    let arch = boot.arch;
    let event = match changed.change {
        Change::Began => return None,
        Change::Booted => {
            let chain: Vec<String> = boot.chain.iter().map(|file| escaped(file)).collect();
            let took = boot.ended.map(|ended| ended.since(boot.id.started)).unwrap_or_default();
            Event::Booted { arch, chain: chain.join(" → "), took }
        }
        Change::Stuck => {
            let verdict = boot.verdict.as_deref()?;
            Event::Stuck {
                arch,
                stage: boot.stage.name(),
                verdict: verdict.id.name(),
                cause: verdict.cause.clone(),
                advice: verdict.advice.clone(),
            }
        }
        Change::Withdrawn => Event::GoesOn { arch },
    };
    let id =
        MachineId { mac: Some(machine.mac), uuid: machine.uuid, client: None, name: machine.name.clone() };
    Some((id, event))
}

/// The facts about this server in `snapshot`.
fn site(snapshot: &Snapshot, files: Option<&Files>) -> Site {
    let config = &snapshot.config;
    let mut site = Site::default();
    site.targets = config
        .targets
        .list
        .iter()
        .map(|target| {
            let (kernel, initrd) = (path_of(&target.kernel), target.initrd.iter().map(|name| path_of(name)));
            let initrd: Vec<Arc<str>> = initrd.collect();
            let memory = memory_of(&kernel, &initrd, files);
            TargetFiles { name: Arc::clone(&target.name), kernel, initrd, memory }
        })
        .collect();
    site.addresses.clone_from(&snapshot.interfaces.own);
    let default = config.targets.default.as_ref();
    // Without `boot.default` the generated script is a menu.
    let rests = |action: Option<&BootAction>| match action {
        Some(BootAction::Target(name)) => {
            let target = config.targets.list.iter().find(|target| target.name == *name);
            target.is_some_and(|target| is_on_other_server(&target.kernel, &site.addresses))
        }
        _ => true,
    };
    let generated_rests = rests(default);
    let (mut local, mut differs) = (HashSet::new(), HashSet::new());
    for machine in config.targets.machines() {
        let has_other = machine.script.is_some() || machine.once.is_some() || machine.requested.is_some();
        let action = machine.boot.as_ref().or(default);
        if action == Some(&BootAction::Local) && !has_other {
            local.extend(machine.macs.iter().copied());
        }
        if (!has_other && rests(action)) != generated_rests {
            differs.extend(machine.macs.iter().copied());
        }
    }
    (site.generated_rests, site.local, site.generated_differs) = (generated_rests, local, differs);
    site
}

/// The path of a file or URL of a target.
fn path_of(name: &str) -> Arc<str> {
    match name.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, path)) => path.into(),
        None => name.into(),
    }
}

/// The memory that a target needs at least, in MiB: its files, and the RAM disks once more as they are unpacked.
fn memory_of(kernel: &str, initrd: &[Arc<str>], files: Option<&Files>) -> Option<u64> {
    const KERNEL: u64 = 64;
    let size = |name: &str| files?.size(name, None);
    let disks: u64 = initrd.iter().filter_map(|name| size(name)).sum();
    let bytes = size(kernel)?.saturating_add(disks.saturating_mul(3));
    Some((bytes >> 20).saturating_add(KERNEL))
}

/// Reads what is in a loader that a machine got, or what is like a file that it did not get, if that is not known yet.
async fn look_into_loader(
    api: &Api,
    record: &Record,
    (files, images): (Option<&Files>, &Path),
    looked: &mut Looked,
) {
    let (name, is_missing) = match &record.event {
        Event::TftpSent { file, .. } | Event::HttpSent { file, to_end: true, .. } => (file.as_str(), false),
        Event::TftpRefused { name, reason: Refusal::NotFound, .. }
        | Event::HttpRefused { name, reason: HttpRefusal::NotFound, .. } => {
            (name.trim_start_matches('/'), true)
        }
        _ => return,
    };
    let Some(files) = files.cloned() else { return };
    if record.machine.is_none() || !looked.is_due(name) {
        return;
    }
    let (name, images): (Arc<str>, _) = (name.into(), images.to_path_buf());
    let of = Arc::clone(&name);
    let own = api.now.borrow().interfaces.own.clone();
    let read = move || if is_missing { similar(&of, &images) } else { content(&of, &files, &own) };
    if let Ok(Some(facts)) = spawn_blocking(read).await {
        api.journeys.lock().site.learn_loader(name, facts);
    }
}

/// Reads the content of the file `name`. `own` has the addresses of this server.
fn content(name: &str, files: &Files, own: &[Ipv4Addr]) -> Option<LoaderFacts> {
    let open = files.open_stored(name)?;
    let info = ipxe::inspect(&open.file).ok()?;
    let marks = signature::read_marks(&open.file).ok().flatten();
    let has =
        |word: &str| marks.as_ref().is_some_and(|m| m.sbat.iter().any(|(part, _)| part.starts_with(word)));
    let program = match info.kind {
        _ if info.is_ipxe => Program::Ipxe,
        FileKind::BiosPxelinux => Program::Pxelinux,
        FileKind::LinuxKernel => Program::Kernel,
        _ if has("shim") => Program::Shim,
        _ if has("grub") => Program::Grub,
        // A kernel with its RAM disk in one EFI program.
        FileKind::EfiProgram(_) if open.size > 8 << 20 || has("systemd-stub") => Program::Kernel,
        FileKind::Text | FileKind::IpxeScript if may_rest(&open.file, own) => Program::Menu,
        _ => Program::Other,
    };
    Some(LoaderFacts {
        kind: info.kind,
        program,
        signed_by: marks.map(|marks| marks.signed_by),
        similar: None,
    })
}

/// Whether the script or configuration in `file` has a menu, or a command that leaves it for the local disk or for another
/// server. A command after `||` does not count: it runs when another one has failed.
fn may_rest(file: &fs::File, own: &[Ipv4Addr]) -> bool {
    const WORDS: [&str; 9] =
        ["choose", "exit", "item", "localboot", "menu", "menuentry", "prompt", "sanboot", "shell"];
    let mut text = vec![0; MAX_SCRIPT];
    let Ok(length) = file.read_at(&mut text, 0) else { return false };
    text.truncate(length);
    let text = String::from_utf8_lossy(&text);
    text.lines().any(|line| {
        let first = line.split_whitespace().next().unwrap_or_default();
        WORDS.iter().any(|known| first.eq_ignore_ascii_case(known)) || goes_on_elsewhere(line, own)
    })
}

/// A file in the same folder whose name is like that of the missing file `name`.
fn similar(name: &str, images: &Path) -> Option<LoaderFacts> {
    let path = Path::new(name);
    if path.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return None;
    }
    let wanted = path.file_name()?.to_str()?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let names = fs::read_dir(images.join(folder)).ok()?.flatten().take(MAX_NAMES);
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let scored = names.map(|other| (strsim::jaro_winkler(wanted, &other), other));
    let (score, nearest) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let similar = (score > 0.85).then(|| folder.join(nearest).display().to_string())?;
    let kind = FileKind::Unknown;
    Some(LoaderFacts { kind, program: Program::Other, signed_by: None, similar: Some(similar) })
}
