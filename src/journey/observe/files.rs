//! Requests for files as facts of a boot.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, HttpRefusal, HttpStop, Record, Refusal, TransferStop};
use crate::journey::boot::{Boot, BootResult};
use crate::journey::evidence::{
    Evidence, LoaderRun, MAX_TRANSFERS, MissingKind, Obstacle, OpenTransfer, Step,
};
use crate::journey::file_role::{FileRole, is_optional, is_same, role};
use crate::journey::site::{Program, Site};
use crate::types::{Firmware, Timestamp};

/// Files of this size after the script are what a system is made of, such as the image of Windows PE.
const LARGE: u64 = 16 << 20;
/// The shortest time from the last file of a loader to the first one of the system.
const KERNEL_STARTS: Duration = Duration::from_secs(3);
/// Rounds of the same loader that are a loop.
const ROUNDS: u16 = 3;

/// Takes a record of TFTP or HTTP into the facts of `boot`. Returns whether it shows that the boot goes on.
pub(super) fn observe(boot: &mut Boot, record: &Record, site: &Site) -> bool {
    let at = record.at;
    let port = record.event.peer().map_or(0, |peer| peer.port());
    match &record.event {
        Event::TftpStarted { file, blksize, options, .. } => {
            started(boot, file, (port, *blksize, !*options, false), site, at)
        }
        Event::HttpStarted { file, .. } => started(boot, file, (port, 0, true, true), site, at),
        Event::TftpAcknowledged { block, .. } => {
            let e = &mut boot.evidence;
            if let Some(transfer) = e.transfer(port) {
                transfer.options_arrived = true;
                transfer.flows |= *block;
                // An earlier request for it, of which a packet was lost.
                let file = Arc::clone(&transfer.file);
                e.transfers
                    .retain(|transfer| transfer.port == port || transfer.file != file || transfer.flows);
                boot.evidence.blocked_transfer = None;
                boot.evidence.rejected_blksize = if *block { None } else { boot.evidence.rejected_blksize };
            }
            *block
        }
        Event::TftpSizeProbe { file, .. } => {
            _ = ended(&mut boot.evidence, port, file);
            touch(boot, file, site, at);
            true
        }
        Event::HttpAnswered { file, .. } => {
            touch(boot, file, site, at);
            true
        }
        Event::TftpSent { file, bytes, .. } => {
            let began = ended(&mut boot.evidence, port, file).unwrap_or(at);
            whole(boot, file, (*bytes, began), site, at);
            true
        }
        Event::HttpSent { file, bytes, to_end, .. } => {
            let began = ended(&mut boot.evidence, port, file).unwrap_or(at);
            if *to_end {
                whole(boot, file, (*bytes, began), site, at);
            } else {
                touch(boot, file, site, at);
            }
            true
        }
        _ => observe_failure(boot, record, port, site),
    }
}

/// Takes the record of a transfer that stopped, or of a request that was refused.
fn observe_failure(boot: &mut Boot, record: &Record, port: u16, site: &Site) -> bool {
    let at = record.at;
    match &record.event {
        Event::TftpStopped { file, bytes, size, stop, rejected_blksize, .. } => {
            stopped_tftp(boot, file, (port, *bytes, *size), stop, *rejected_blksize, site, at);
            false
        }
        Event::HttpStopped { file, bytes, wanted, reason, .. } => {
            _ = ended(&mut boot.evidence, port, file);
            if matches!(
                reason,
                HttpStop::ClientGone | HttpStop::TooSlow | HttpStop::FileShrank | HttpStop::Io
            ) {
                cut_off(boot, file, *bytes, *wanted, site, at);
            }
            false
        }
        Event::TftpRefused { name, reason, .. } => {
            let is_missing = matches!(
                reason,
                Refusal::NotFound
                    | Refusal::BadName
                    | Refusal::AccessDenied
                    | Refusal::Template
                    | Refusal::Io
            );
            is_missing && refused(boot, name, site, at)
        }
        Event::HttpRefused { name, reason, .. } => {
            let is_missing = matches!(
                reason,
                HttpRefusal::NotFound
                    | HttpRefusal::BadName
                    | HttpRefusal::AccessDenied
                    | HttpRefusal::Template
                    | HttpRefusal::Io
            );
            let name = name.split(['?', '#']).next().unwrap_or(name);
            is_missing && refused(boot, name, site, at)
        }
        _ => false,
    }
}

fn role_of(e: &Evidence, file: &str, site: &Site) -> FileRole {
    role(file, e.named.as_ref().map(|named| &*named.file), site)
}

/// A transfer begins, so nothing keeps the machine from asking for files.
fn started(
    boot: &mut Boot,
    file: &str,
    (port, blksize, options_arrived, flows): (u16, u16, bool, bool),
    site: &Site,
    at: Timestamp,
) -> bool {
    let e = &mut boot.evidence;
    // The port may have had another transfer, whose end is not known.
    e.transfers.retain(|transfer| transfer.port != port);
    if e.transfers.len() >= MAX_TRANSFERS {
        e.transfers.remove(0);
    }
    e.transfers.push(OpenTransfer { file: file.into(), port, began: at, blksize, options_arrived, flows });
    touch(boot, file, site, at);
    true
}

/// The transfer of this port has ended, and earlier requests for its file that led to nothing. Returns when it began.
fn ended(e: &mut Evidence, port: u16, file: &str) -> Option<Timestamp> {
    let began = e.transfer(port).map(|transfer| transfer.began);
    e.transfers.retain(|transfer| transfer.port != port && (*transfer.file != *file || transfer.flows));
    began
}

/// The machine does something with `file`.
fn touch(boot: &mut Boot, file: &str, site: &Site, at: Timestamp) {
    let e = &mut boot.evidence;
    if matches!(
        e.obstacle,
        Some((
            Obstacle::NoFile | Obstacle::PoolExhausted { .. } | Obstacle::QuarantineFull | Obstacle::Conflict,
            _
        ))
    ) {
        e.obstacle = None;
    }
    (e.asked_4011, e.answered_4011, e.blocked_4011, e.missing_hint) = (0, 0, false, None);
    (e.exchange.repeated, e.slow) = (0, None);
    if let Some(run) = e.loader.as_mut().filter(|run| *run.file != *file) {
        run.runs = true;
    }
    let is_new = e.is_asking() || e.step == Step::Unseen;
    let step = match e.step {
        _ if is_new => Step::Named,
        // Its initrd loads the rest of the system.
        Step::Initrd if by_system(e, file, site, at) => Step::System,
        step => step,
    };
    boot.reach(step, at);
}

/// Whether the system of the initrd loads `file`. A loader may add an answer file to the initrd, which follows at once.
fn by_system(e: &Evidence, file: &str, site: &Site, at: Timestamp) -> bool {
    match role_of(e, file, site) {
        FileRole::Other => true,
        FileRole::Answer => at.since(e.step_at) > KERNEL_STARTS,
        _ => false,
    }
}

/// The machine has the whole of `file`, whose transfer began at `began`.
fn whole(boot: &mut Boot, file: &str, (bytes, began): (u64, Timestamp), site: &Site, at: Timestamp) {
    touch(boot, file, site, at);
    let name: Arc<str> = file.into();
    let e = &mut boot.evidence;
    let role = role_of(e, file, site);
    (e.blocked_transfer, e.rejected_blksize) = (None, None);
    // The record of the end of a transfer may come after that of the machine's next request.
    if role != FileRole::Optional
        && let Some((Obstacle::Missing { .. } | Obstacle::CutOff { .. }, since)) = e.obstacle
        && since <= began
    {
        e.obstacle = None;
    }
    let is_after_script = e.step >= Step::Scripted && !is_named(e, file);
    match role {
        // An iPXE that its own script starts gets that script again.
        FileRole::Loader if is_after_script && site.program(file) == Program::Ipxe => loaded(e, &name, at),
        // Modules that a loader loads after its script are parts of it.
        FileRole::Loader if is_after_script => {}
        FileRole::Loader => {
            // A terminal or a switch runs its image and says nothing more.
            let runs_unseen = e.firmware == Some(Firmware::Bootp) && site.program(file) == Program::Other;
            loaded(e, &name, at);
            boot.loaded(&name);
            boot.reach(if runs_unseen { Step::Unseen } else { Step::Loaded }, at);
        }
        FileRole::Script if e.step < Step::Kernel => {
            if let Some(run) = &mut e.loader {
                run.runs = true;
            }
            // The script ends the loop, unless it is a part of it.
            if let Some((Obstacle::Loop { file, .. }, _)) = &e.obstacle
                && (e.script.is_none() || role_of(e, file, site) != FileRole::Loader)
            {
                e.obstacle = None;
            }
            e.script = Some(Arc::clone(&name));
            e.script_rests = site.may_rest(file, boot.id.mac);
            boot.loaded(&name);
            boot.reach(Step::Scripted, at);
        }
        FileRole::Kernel if e.step < Step::System => {
            e.kernel = Some(Arc::clone(&name));
            let is_last = e.initrd.is_some() || !has_initrd(site, &name);
            boot.loaded(&name);
            boot.reach(if is_last { Step::Initrd } else { Step::Kernel }, at);
        }
        FileRole::Initrd if e.step < Step::System => {
            e.initrd = Some(Arc::clone(&name));
            let is_last = e.kernel.is_some() && is_last_initrd(site, &name);
            boot.reach(if is_last { Step::Initrd } else { Step::Kernel }, at);
        }
        FileRole::Other if bytes >= LARGE && e.step == Step::Scripted => {
            boot.loaded(&name);
            e_initrd(boot, name, at);
        }
        _ => {}
    }
}

/// A large file after the script counts as the last part of a system.
fn e_initrd(boot: &mut Boot, name: Arc<str>, at: Timestamp) {
    boot.evidence.initrd = Some(name);
    boot.reach(Step::Initrd, at);
}

fn is_named(e: &Evidence, file: &str) -> bool {
    e.named.as_ref().is_some_and(|named| is_same(&named.file, file))
}

/// Whether the target with this kernel has an initrd. A kernel of no target may have one.
fn has_initrd(site: &Site, kernel: &str) -> bool {
    let target = site.targets.iter().find(|target| is_same(&target.kernel, kernel));
    target.is_none_or(|target| !target.initrd.is_empty())
}

/// Whether no initrd follows this one.
fn is_last_initrd(site: &Site, initrd: &str) -> bool {
    let of_target = |list: &Vec<Arc<str>>| list.iter().any(|name| is_same(name, initrd));
    let target = site.targets.iter().find(|target| of_target(&target.initrd));
    target.is_none_or(|target| target.initrd.last().is_some_and(|last| is_same(last, initrd)))
}

/// Counts a loader that was loaded whole. Loading it twice after one DHCP exchange is one round.
fn loaded(e: &mut Evidence, file: &Arc<str>, at: Timestamp) {
    let first = e.exchange.first;
    match &mut e.loader {
        Some(run) if run.file == *file => {
            if first > run.at {
                run.times = run.times.saturating_add(1);
            }
            (run.at, run.runs) = (at, false);
        }
        _ => e.loader = Some(LoaderRun { file: Arc::clone(file), times: 1, at, runs: false }),
    }
    let times = e.loader.as_ref().map_or(0, |run| run.times);
    if times >= ROUNDS {
        e.meet(Obstacle::Loop { file: Arc::clone(file), times }, at);
    }
}

fn stopped_tftp(
    boot: &mut Boot,
    file: &str,
    (port, bytes, size): (u16, u64, u64),
    stop: &TransferStop,
    rejected_blksize: Option<u16>,
    site: &Site,
    at: Timestamp,
) {
    let e = &mut boot.evidence;
    let transfer = e.transfer(port).cloned();
    e.transfers.retain(|transfer| transfer.port != port);
    if matches!(stop, TransferStop::Refused { .. } | TransferStop::ServerStops) {
        return touch(boot, file, site, at);
    }
    let is_replaced = matches!(stop, TransferStop::Replaced);
    if bytes > 0 && !is_replaced {
        return cut_off(boot, file, bytes, size, site, at);
    }
    if bytes == 0 {
        e.rejected_blksize = rejected_blksize.or(e.rejected_blksize);
        if transfer.is_none_or(|transfer| !transfer.flows) {
            e.blocked_transfer = Some(file.into());
        }
    }
}

/// A transfer ended before the end of its file.
fn cut_off(boot: &mut Boot, file: &str, bytes: u64, size: u64, site: &Site, at: Timestamp) {
    let e = &mut boot.evidence;
    match role_of(e, file, site) {
        FileRole::Kernel | FileRole::Initrd => {
            let obstacle = Obstacle::CutOff { file: file.into(), bytes, size };
            // A later failure replaces an earlier one of the same kind.
            e.obstacle = None;
            e.meet(obstacle, at);
        }
        FileRole::Loader => e.blocked_transfer = Some(file.into()),
        _ => {}
    }
    e.step_at = at;
}

/// A file was refused. Returns whether the refusal shows that the boot goes on, because a loader searches.
fn refused(boot: &mut Boot, name: &str, site: &Site, at: Timestamp) -> bool {
    let name = name.trim_start_matches('/');
    let is_over = boot.result == BootResult::Booted;
    let e = &mut boot.evidence;
    let role = role_of(e, name, site);
    let file: Arc<str> = name.into();
    let kind = if is_named(e, name) && !is_over {
        MissingKind::BootFile
    } else if is_optional(name) {
        if !is_over {
            touch(boot, name, site, at);
        }
        return !is_over;
    } else if role == FileRole::Answer || e.step == Step::System {
        if role != FileRole::Answer || (e.kernel.is_none() && e.step != Step::System) {
            return false;
        }
        MissingKind::Answer
    } else if is_over {
        return false;
    } else if role == FileRole::Script && e.script_rests && e.step == Step::Scripted {
        // A script for this machine alone, for example: the menu is shown without it.
        e.step_at = at;
        return false;
    } else if matches!(role, FileRole::Kernel | FileRole::Initrd) && is_of_target(site, name) {
        MissingKind::TargetFile
    } else if let Some(script) = e.script.clone().or_else(|| open_script(e, site)) {
        e.script = Some(script);
        MissingKind::ScriptFile
    } else {
        if e.is_asking() || e.step == Step::Unseen {
            e.reach(Step::Named, at);
        }
        if let Some(run) = &mut e.loader {
            run.runs = true;
        }
        e.missing_hint = Some(file);
        e.step_at = at;
        return false;
    };
    if kind == MissingKind::Answer && is_over {
        // The system runs, and its installer cannot go on.
        boot.withdraw();
    }
    let e = &mut boot.evidence;
    if e.is_asking() || e.step == Step::Unseen {
        e.reach(Step::Named, at);
    }
    e.step_at = at;
    e.meet(Obstacle::Missing { file, kind }, at);
    false
}

/// A script that the machine has, although the record of the end of its transfer has not come yet.
fn open_script(e: &Evidence, site: &Site) -> Option<Arc<str>> {
    let is_script = |transfer: &&OpenTransfer| role_of(e, &transfer.file, site) == FileRole::Script;
    e.transfers.iter().find(is_script).map(|transfer| Arc::clone(&transfer.file))
}

fn is_of_target(site: &Site, name: &str) -> bool {
    let named = site.targets.iter();
    named.clone().any(|target| {
        is_same(&target.kernel, name)
            || target.kernel.contains('{')
            || target.initrd.iter().any(|initrd| is_same(initrd, name) || initrd.contains('{'))
    })
}
