//! Generates boot scripts and `lanboot/whoami`: text for one machine that is stored in no file. `lookup` calls it where
//! a name matches no file. It never reads a file or sends anything.

use crate::boot::loader::script::{Loader, chain, script};
use crate::boot::loader::target::{BootAction, NextBoot, SCRIPT};
use crate::boot::name::BootName;
use crate::boot::policy::DEFAULT_IPXE;
use crate::content::log_once::{Fault, LogOnce};
use crate::content::once::BootState;
use crate::content::requester::Requester;
use crate::content::subject::Subject;
use crate::event::Refusal;
use crate::types::Uuid;

/// The name of a text with everything that lanboot knows of the requesting machine, to find out why it boots what it
/// boots.
pub const WHOAMI: &str = "lanboot/whoami";

/// The request that a text is generated for.
#[derive(Clone, Copy, Debug)]
pub struct TextRequest<'a> {
    /// The requested name.
    pub name: &'a BootName,
    /// The machine that the text is for.
    pub subject: &'a Subject<'a>,
    /// The targets, and the `once` state of the machines.
    pub boot_state: &'a BootState,
    /// Logs texts that cannot be generated.
    pub log_once: &'a LogOnce,
}

/// Generates the script with which the loader that reads `name` boots its machine; `None` if nothing is configured for
/// the machine. This text precedes the files for all machines, and follows the files in the machine's own folder.
pub fn generate(request: TextRequest<'_>) -> Option<Result<String, Refusal>> {
    let TextRequest { name, subject, boot_state, .. } = request;
    let loader = loader_of(subject.rest.as_ref().unwrap_or(name), subject)?;
    match (boot_state.next_boot(subject.machine(), subject.may_once), loader) {
        (NextBoot::Start(_) | NextBoot::Script(_), _) if subject.is_forbidden => {
            Some(Err(Refusal::OtherMachine))
        }
        (NextBoot::Start(start), _) => Some(render(request, loader, &start)),
        (NextBoot::Script(script), Loader::Ipxe) => {
            Some(Ok(chain(&script, subject.facts.server, boot_state.served())))
        }
        (NextBoot::Script(_), _) | (NextBoot::Default, _) => None,
    }
}

/// Generates the text that every machine gets if there is no file of that name.
pub fn usual(request: TextRequest<'_>, requester: &Requester) -> Option<Result<String, Refusal>> {
    let TextRequest { name, subject, boot_state, .. } = request;
    match name.as_str() {
        WHOAMI => Some(Ok(whoami(requester))),
        // The same order as in `boot/policy.rs`: `boot.ipxe`, then a menu of the targets, then the default script file.
        SCRIPT => match boot_state.targets().ipxe.as_deref() {
            None if !boot_state.targets().list.is_empty() => {
                Some(render(request, Loader::Ipxe, &BootAction::Menu))
            }
            script => Some(Ok(chain(script.unwrap_or(DEFAULT_IPXE), requester.server, boot_state.served()))),
        },
        // iPXE tries autoexec.ipxe before it gets its script by DHCP, and continues if it is missing.
        _ if subject.is_named || name.as_str().ends_with("autoexec.ipxe") => None,
        _ if boot_state.targets().list.is_empty() => None,
        _ => Some(render(request, loader_of(name, subject)?, &BootAction::Menu)),
    }
}

/// Whether a loader of the requesting machine reads `name` to boot it, so that [`generate`] generates it.
pub fn is_script(name: &BootName, requester: &Requester, boot_state: &BootState) -> bool {
    let subject = Subject::of(name, requester, boot_state);
    let is_its_own = !subject.is_named || subject.facts.mac == requester.machine.mac;
    is_its_own && loader_of(subject.rest.as_ref().unwrap_or(name), &subject).is_some()
}

fn render(request: TextRequest<'_>, loader: Loader, start: &BootAction) -> Result<String, Refusal> {
    let TextRequest { name, subject, boot_state, log_once } = request;
    let rendered = script(loader, start, boot_state.targets(), &subject.facts, boot_state.served());
    let fault = rendered.as_ref().err().map(|error| {
        let (whom, what) = (subject.facts.label(), format!("{}: {}", error.key, error.reason));
        Fault { line: format!("cannot make {name} for {whom}: {what}"), what }
    });
    log_once.report(name.as_str(), &subject.facts, fault);
    rendered.map_err(|_| Refusal::Template)
}

/// The loader that reads its configuration under this name.
///
/// A name with a UUID counts only for a machine whose entry has no MAC. PXELINUX asks for the UUID before it asks for
/// the MAC, and there may be a file for the MAC.
fn loader_of(name: &BootName, subject: &Subject<'_>) -> Option<Loader> {
    let (folder, last) = name.as_str().rsplit_once('/').unwrap_or(("", name.as_str()));
    let entry = subject.machine();
    let names_entry = |text: &str| {
        let by_uuid = entry.filter(|entry| entry.macs.is_empty()).and_then(|entry| entry.uuid);
        by_uuid.is_some() && text.parse::<Uuid>().ok() == by_uuid
    };
    if name.as_str() == SCRIPT || last == "autoexec.ipxe" || (folder.is_empty() && last == DEFAULT_IPXE) {
        return Some(Loader::Ipxe);
    }
    if folder == "pxelinux.cfg" || folder.ends_with("/pxelinux.cfg") {
        let is_mac = last.starts_with("01-") && subject.is_named;
        return (last == "default" || is_mac || names_entry(last)).then_some(Loader::Pxelinux);
    }
    let after = last.strip_prefix("grub.cfg")?;
    let is_mac = after.starts_with("-01-") && subject.is_named;
    let is_uuid = after.strip_prefix('-').is_some_and(names_entry);
    (after.is_empty() || is_mac || is_uuid).then_some(Loader::Grub)
}

/// One line `key: value` for each known fact. The values cannot contain a line end: their types or character sets
/// exclude it.
fn whoami(requester: &Requester) -> String {
    let machine = &requester.machine;
    let lines = [
        ("address", Some(requester.address.to_string())),
        ("server", Some(requester.server.to_string())),
        ("mac", machine.mac.map(|mac| mac.to_string())),
        ("uuid", machine.uuid.map(|uuid| uuid.to_string())),
        ("arch", machine.arch.map(|arch| arch.to_string())),
        ("serial", machine.serial.clone()),
        ("hostname", machine.host_name.clone()),
        ("machine", machine.name.clone()),
        ("dhcp_server", machine.server.map(|server| server.to_string())),
    ];
    lines.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}\n", value?))).collect()
}
