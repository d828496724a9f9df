//! Rules about a loader that was loaded whole.

use std::time::Duration;

use crate::journey::evidence::{LoaderRun, Obstacle, Step};
use crate::journey::rules::case::Case;
use crate::journey::site::{LoaderFacts, Program};
use crate::journey::verdict::{Verdict, VerdictId};

/// Firmware that refuses a loader goes on within this time: OVMF asks by IPv6 or with its next boot entry after 20 ms.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The loader, if the machine has it whole and no sign of it has come.
fn silent_loader<'a>(case: &Case<'a>) -> Option<&'a LoaderRun> {
    let waits = case.e.step == Step::Loaded && case.e.transfers.is_empty();
    case.e.loader.as_ref().filter(|run| waits && !run.runs)
}

pub fn wrong_architecture(case: &Case<'_>) -> Option<Verdict> {
    let run = silent_loader(case)?;
    let arch = case.e.arch?;
    if !case.site.is_wrong_for(&run.file, arch) {
        return None;
    }
    let kind = case.site.loader(&run.file).map(|facts| facts.kind.to_string()).unwrap_or_default();
    Some(Verdict::certain(
        VerdictId::WrongArchitecture,
        format!("`{}` is {kind}, and the machine is {arch}", run.file),
        format!("name a file for {arch} in `boot.arch`: `{arch}: FILE`"),
    ))
}

pub fn ipxe_loop(case: &Case<'_>) -> Option<Verdict> {
    let Some((Obstacle::Loop { file, times }, _)) = &case.e.obstacle else { return None };
    let (why, advice) = match &case.e.script {
        Some(script) => (
            format!("because `{script}` starts it again"),
            format!("remove `chain {file}` from `{script}`, or name another loader there"),
        ),
        None => (
            "and each time it asked for it again".to_owned(),
            "give iPXE its script: set `boot: {ipxe: boot.ipxe}`, or add `targets`".to_owned(),
        ),
    };
    let cause = format!("the machine loaded `{file}` {times} times, {why}");
    Some(Verdict::certain(VerdictId::IpxeLoop, cause, advice))
}

pub fn secure_boot_refused(case: &Case<'_>) -> Option<Verdict> {
    let run = silent_loader(case)?;
    let facts = case.site.loader(&run.file);
    let refused = facts.and_then(LoaderFacts::is_refused_by_secure_boot);
    if !case.e.is_uefi() || refused == Some(false) {
        return None;
    }
    // iPXE that finds no card looks the same until the firmware speaks again. It shows its banner for two seconds before.
    let spoke_at_once = case.again.is_some_and(|after| after < AT_ONCE) || asked_by_ipv6_at_once(case, run);
    let may_be_ipxe = case.site.program(&run.file) == Program::Ipxe;
    let is_refused = refused == Some(true) && (spoke_at_once || (!may_be_ipxe && case.again.is_none()));
    is_refused.then(|| refusal(run, facts.and_then(|facts| facts.signed_by.as_deref())))
}

/// Whether the next boot entry of the firmware, which asked by IPv6, began as soon as the machine had the loader.
fn asked_by_ipv6_at_once(case: &Case<'_>, run: &LoaderRun) -> bool {
    let asked = case.e.asked_ipv6_at.filter(|asked| *asked >= run.at);
    asked.is_some_and(|asked| asked.since(run.at) < AT_ONCE)
}

fn refusal(run: &LoaderRun, signers: Option<&[String]>) -> Verdict {
    let signed = match signers {
        Some([]) | None => "not signed".to_owned(),
        Some(signers) => format!("signed by {}, which most firmware does not know", signers.join(", ")),
    };
    Verdict::likely(
        VerdictId::SecureBootRefused,
        format!("the machine loaded `{}` whole and did not start it: the file is {signed}", run.file),
        "boot a signed shim: `lanboot images add shim`, then name its file in `boot.arch`; or switch off Secure Boot in the machine's \
         setup",
    )
}

pub fn ipxe_no_network(case: &Case<'_>) -> Option<Verdict> {
    let run = silent_loader(case)?;
    if case.again.is_some() || case.site.program(&run.file) != Program::Ipxe {
        return None;
    }
    Some(Verdict::likely(
        VerdictId::IpxeNoNetwork,
        format!("the machine loaded `{}`, and its iPXE asked for no address", run.file),
        "use a build with more drivers: `ipxe.efi` instead of `snponly.efi`, or `ipxe.pxe` instead of `undionly.kpxe`, in `boot.arch`",
    ))
}

pub fn ipxe_uses_other_card(case: &Case<'_>) -> Option<Verdict> {
    let card = case.e.other_card?;
    let run = silent_loader(case)?;
    Some(Verdict::certain(
        VerdictId::IpxeNoNetwork,
        format!("the iPXE of `{}` asks from another network card, {card}", run.file),
        format!(
            "use a build that keeps the card it was loaded from (`snponly.efi`, `undionly.kpxe`), or add {card} to `mac` of the \
             machine's entry and plug in that card"
        ),
    ))
}

/// The loader is no iPXE, and nothing else is known against it.
pub fn loader_is_silent(case: &Case<'_>) -> Option<Verdict> {
    let run = silent_loader(case).filter(|_| case.again.is_none())?;
    if case.e.is_uefi() {
        let signers = case.site.loader(&run.file).and_then(|facts| facts.signed_by.as_deref());
        return Some(refusal(run, signers));
    }
    Some(Verdict::likely(
        VerdictId::WrongArchitecture,
        format!("the machine loaded `{}` and does not start it", run.file),
        format!(
            "check that `{}` is a boot program for this machine's firmware, and name another in `boot.arch`",
            run.file
        ),
    ))
}
