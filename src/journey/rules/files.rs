//! Rules about requests for files.

use std::time::Duration;

use crate::event::Message;
use crate::journey::evidence::{MissingKind, Obstacle, Step};
use crate::journey::rules::case::Case;
use crate::journey::verdict::{Verdict, VerdictId};

/// The longest time that a client waits for one packet of a file.
const PATIENCE: Duration = Duration::from_secs(5);

fn missing<'a>(case: &Case<'a>, kind: MissingKind) -> Option<&'a str> {
    match &case.e.obstacle {
        Some((Obstacle::Missing { file, kind: other }, _)) if *other == kind => Some(file),
        _ => None,
    }
}

/// The nearest name of a file that exists.
fn similar(case: &Case<'_>, file: &str) -> String {
    let similar = case.site.loader(file).and_then(|facts| facts.similar.as_deref());
    similar.map(|name| format!("; a file `{name}` is there")).unwrap_or_default()
}

/// The machine waits for a file, and this server reads boot files slowly.
pub fn server_reads_slowly(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let waits = matches!(e.step, Step::Named | Step::Loaded | Step::Scripted | Step::Kernel);
    // A transfer that was cut off ends the wait, and the machine waited for its data before.
    let is_possible = matches!(e.obstacle, None | Some((Obstacle::CutOff { .. }, _)));
    if !waits || !is_possible || !case.site.read_slowly_since(e.step_at.before(PATIENCE)) {
        return None;
    }
    Some(Verdict::likely(
        VerdictId::ServerSlow,
        "this server needs longer to read a boot file than the machine waits for it",
        "put `images` on a faster disk, or look at the network file system that it is on: `journalctl -u lanboot` shows `reading a \
         boot file takes`",
    ))
}

pub fn file_missing(case: &Case<'_>) -> Option<Verdict> {
    let certain = missing(case, MissingKind::BootFile);
    let hint = case.e.missing_hint.as_deref().filter(|_| case.e.obstacle.is_none());
    let file = certain.or(hint)?;
    let nearest = similar(case, file);
    let cause = if certain.is_some() {
        format!("the boot file `{file}` is missing in `images`{nearest}")
    } else {
        format!("the loader asked for `{file}`, which is missing in `images`{nearest}")
    };
    let advice =
        format!("put `{file}` into `images`, or correct its name in `boot.arch` or in the machine's `boot`");
    let verdict = if certain.is_some() { Verdict::certain } else { Verdict::likely };
    Some(verdict(VerdictId::FileMissing, cause, advice))
}

pub fn kernel_missing(case: &Case<'_>) -> Option<Verdict> {
    let id = VerdictId::KernelMissing;
    if let Some(file) = missing(case, MissingKind::TargetFile) {
        let cause = format!("the kernel or initrd `{file}` is missing in `images`{}", similar(case, file));
        let advice = format!(
            "put `{file}` into `images`, or correct `kernel` and `initrd` of its target under `targets`"
        );
        return Some(Verdict::certain(id, cause, advice));
    }
    let Some((Obstacle::CutOff { file, bytes, size }, _)) = &case.e.obstacle else { return None };
    Some(Verdict::likely(
        id,
        format!("the transfer of `{file}` ended after {bytes} of {size} bytes"),
        "look for a link that fails under load, and compare the file with its source: `lanboot images verify`",
    ))
}

pub fn script_names_missing_file(case: &Case<'_>) -> Option<Verdict> {
    let file = missing(case, MissingKind::ScriptFile)?;
    let script = case.e.script.as_deref().unwrap_or("the script");
    Some(Verdict::certain(
        VerdictId::ScriptFailed,
        format!("`{script}` names `{file}`, which is missing in `images`{}", similar(case, file)),
        format!("correct the name in `{script}`, or put `{file}` into `images`"),
    ))
}

pub fn block_size_too_large(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let open = e.transfers.iter().find(|t| !t.flows && t.options_arrived && t.blksize > 512);
    let size = e.rejected_blksize.or(open.map(|transfer| transfer.blksize))?;
    if e.step > Step::Named && e.transfers.is_empty() && e.blocked_transfer.is_none() {
        return None;
    }
    Some(Verdict::likely(
        VerdictId::BlockSizeTooLarge,
        format!("blocks of {size} bytes do not reach the machine, although the smaller OACK did"),
        format!("set `tftp: {{max_block_size: {}}}`, or raise the MTU of the path", smaller(size)),
    ))
}

/// A block size that passes where `size` does not.
fn smaller(size: u16) -> u16 {
    if size > 1408 {
        1408.min(size.saturating_sub(100))
    } else if size > 1024 {
        1024
    } else {
        512
    }
}

pub fn tftp_blocked(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let open = e.transfers.iter().find(|transfer| !transfer.flows).map(|transfer| &transfer.file);
    let file = open.or(e.blocked_transfer.as_ref())?;
    Some(Verdict::likely(
        VerdictId::TftpBlocked,
        format!("the machine asked for `{file}` by TFTP, and the data that we send is not acknowledged"),
        "let UDP from this computer's high ports pass, or set `tftp: {ports: single}` so that port 69 is the only one",
    ))
}

pub fn tftp_not_started(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let is_first = e.step == Step::Named && e.transfers.is_empty() && e.obstacle.is_none();
    let named = e.named.as_ref().filter(|_| is_first)?;
    let how = if named.file.contains("://") { "HTTP" } else { "TFTP" };
    let what = if e.exchange.is_bootp { Message::BootpReply.name() } else { "ACK" };
    Some(Verdict::likely(
        VerdictId::TftpNotStarted,
        format!("the machine got its {what} with the file `{}` and does not ask for it by {how}", named.file),
        "check that the machine reaches this server: the router of its subnet (`dhcp.subnets[].options.router`), `next_server`, \
         and a firewall on UDP port 69",
    ))
}

pub fn script_failed(case: &Case<'_>) -> Option<Verdict> {
    let e = case.e;
    let is_there = matches!(e.step, Step::Scripted | Step::Kernel) && e.transfers.is_empty();
    let rests = e.script_rests && e.step == Step::Scripted;
    let script = e.script.as_deref().filter(|_| is_there && !rests)?;
    let then =
        if case.again.is_some() { "then its firmware started again" } else { "then it asked for nothing" };
    Some(Verdict::likely(
        VerdictId::ScriptFailed,
        format!("the machine got the script `{script}`, and {then}"),
        format!(
            "read the error on its screen, look it up with `lanboot why ipxe.org/CODE`, and correct `{script}`"
        ),
    ))
}
