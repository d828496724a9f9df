//! Rules about kernels, initial RAM disks and installers.

use crate::journey::evidence::{MissingKind, Obstacle, Step};
use crate::journey::file_role::is_same;
use crate::journey::rules::case::Case;
use crate::journey::verdict::{Verdict, VerdictId};

/// The memory that the target of this boot needs, in MiB.
fn needed(case: &Case<'_>) -> Option<u64> {
    let kernel = case.e.kernel.as_deref();
    let initrd = case.e.initrd.as_deref();
    let is = |name: &str, file: Option<&str>| file.is_some_and(|file| is_same(name, file));
    let target = case
        .site
        .targets
        .iter()
        .find(|target| is(&target.kernel, kernel) || target.initrd.iter().any(|name| is(name, initrd)));
    target?.memory
}

/// The machine reported less memory than its target needs.
pub fn too_little_memory(case: &Case<'_>) -> Option<Verdict> {
    // A file that is missing stops any machine.
    if matches!(case.e.obstacle, Some((Obstacle::Missing { .. }, _))) {
        return None;
    }
    let is_there = matches!(case.e.step, Step::Scripted | Step::Kernel | Step::Initrd);
    let has = case.e.memory.filter(|_| is_there)?;
    let needs = needed(case).filter(|needs| has < *needs)?;
    Some(Verdict::certain(
        VerdictId::NotEnoughRam,
        format!("the machine has {has} MiB of memory, and its target needs about {needs} MiB"),
        "give the machine more memory, or boot a smaller target",
    ))
}

pub fn starts_again_after_initrd(case: &Case<'_>) -> Option<Verdict> {
    let initrd = case.e.initrd.as_deref()?;
    if case.again.is_none() || case.e.step != Step::Initrd {
        return None;
    }
    let has = case.e.memory.map(|has| format!(" with {has} MiB of memory")).unwrap_or_default();
    Some(Verdict::likely(
        VerdictId::NotEnoughRam,
        format!(
            "the machine{has} loaded `{initrd}` and then started again: its kernel stopped while it unpacked it"
        ),
        "give the machine more memory, or boot a smaller target; a kernel panic on its screen names another cause",
    ))
}

pub fn initrd_no_network(case: &Case<'_>) -> Option<Verdict> {
    const ADVICE: &str = "add the driver of its network card to the initrd, and `ip=dhcp` (dracut, live-boot) to `cmdline` of the target";
    if let Some((Obstacle::NoNetwork { text }, _)) = &case.e.obstacle {
        let cause = format!("the initrd of the machine has no network; it logged: {text}");
        return Some(Verdict::certain(VerdictId::InitrdNoNetwork, cause, ADVICE));
    }
    if case.e.step != Step::Initrd || case.again.is_some() || !case.e.transfers.is_empty() {
        return None;
    }
    let last = case.e.initrd.as_deref().or(case.e.kernel.as_deref())?;
    Some(Verdict::likely(
        VerdictId::InitrdNoNetwork,
        format!("the machine loaded `{last}`, and its system never asked for an address"),
        ADVICE,
    ))
}

pub fn installer_failed(case: &Case<'_>) -> Option<Verdict> {
    let id = VerdictId::InstallerFailed;
    match &case.e.obstacle {
        Some((Obstacle::Missing { file, kind: MissingKind::Answer }, _)) => Some(Verdict::certain(
            id,
            format!("the installer asked for its answer file `{file}`, which is missing in `images`"),
            format!("put `{file}` into `images`, or correct its name in `cmdline` of the target"),
        )),
        Some((Obstacle::Installer { text }, _)) => Some(Verdict::certain(
            id,
            format!("the installer or initrd of the machine logged: {text}"),
            "read its log: `lanboot why MAC` shows its last lines",
        )),
        _ => None,
    }
}
