//! Text that is in no file and is made for one machine.

use crate::boot::loader::script::{Loader, chain, script};
use crate::boot::loader::target::{Now, SCRIPT, Start};
use crate::boot::name::BootName;
use crate::boot::policy::DEFAULT_IPXE;
use crate::content::asker::Asker;
use crate::content::log_once::Told;
use crate::content::once::Starts;
use crate::content::subject::Subject;
use crate::event::Refusal;
use crate::types::Uuid;

/// What lanboot knows of the machine that asks: for a person who wonders why a machine gets what it gets.
pub const WHOAMI: &str = "lanboot/whoami";

/// What [`own`] and [`usual`] are made from.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// What was asked for.
    pub name: &'a BootName,
    /// For whom it is.
    pub subject: &'a Subject<'a>,
    /// What machines start.
    pub starts: &'a Starts,
    /// Where it is said what cannot be made.
    pub told: &'a Told,
}

/// The text by which the loader that reads `name` starts what its machine is to start, if that is said. It comes before
/// the files of all machines, and after those that are for this machine alone.
pub fn own(making: Making<'_>) -> Option<Result<String, Refusal>> {
    let Making { name, subject, starts, .. } = making;
    let loader = loader_of(subject.rest.as_ref().unwrap_or(name), subject)?;
    match (starts.now_for(subject.machine(), subject.may_once), loader) {
        (Now::Start(_) | Now::Script(_), _) if subject.is_forbidden => Some(Err(Refusal::OtherMachine)),
        (Now::Start(start), _) => Some(made(making, loader, &start)),
        (Now::Script(script), Loader::Ipxe) => {
            Some(Ok(chain(&script, subject.facts.server, starts.served())))
        }
        (Now::Script(_), _) | (Now::Usual, _) => None,
    }
}

/// The text that there is for everybody, where there is no file of that name.
pub fn usual(making: Making<'_>, asker: &Asker) -> Option<Result<String, Refusal>> {
    let Making { name, subject, starts, .. } = making;
    match name.as_str() {
        WHOAMI => Some(Ok(whoami(asker))),
        // The order of boot/policy.rs: `boot.ipxe`, else a menu of the targets, else the file of that name.
        SCRIPT => match starts.targets().ipxe.as_deref() {
            None if !starts.targets().list.is_empty() => Some(made(making, Loader::Ipxe, &Start::Menu)),
            script => Some(Ok(chain(script.unwrap_or(DEFAULT_IPXE), asker.server, starts.served()))),
        },
        // iPXE asks for autoexec.ipxe before it asks DHCP for its script, and goes on where there is none.
        _ if subject.is_named || name.as_str().ends_with("autoexec.ipxe") => None,
        _ if starts.targets().list.is_empty() => None,
        _ => Some(made(making, loader_of(name, subject)?, &Start::Menu)),
    }
}

/// Whether `name` is one of which a loader of the machine that asks reads what it is to start: [`own`] makes that text.
pub fn is_script(name: &BootName, asker: &Asker, starts: &Starts) -> bool {
    let subject = Subject::of(name, asker, starts);
    let is_its_own = !subject.is_named || subject.facts.mac == asker.machine.mac;
    is_its_own && loader_of(subject.rest.as_ref().unwrap_or(name), &subject).is_some()
}

fn made(making: Making<'_>, loader: Loader, start: &Start) -> Result<String, Refusal> {
    let Making { name, subject, starts, told } = making;
    let made = script(loader, start, starts.targets(), &subject.facts, starts.served());
    let whom = subject.facts.who();
    let problem = made
        .as_ref()
        .err()
        .map(|error| format!("cannot make {name} for {whom}: {}: {}", error.key, error.why));
    told.tell(name.as_str(), whom, problem);
    made.map_err(|_| Refusal::Template)
}

/// Which loader asks for its configuration under this name.
///
/// A name with a UUID counts only for a machine that is known by nothing else: PXELINUX asks for that before it asks for
/// the MAC's, of which there may be a file.
fn loader_of(name: &BootName, subject: &Subject<'_>) -> Option<Loader> {
    let (folder, last) = name.as_str().rsplit_once('/').unwrap_or(("", name.as_str()));
    let entry = subject.machine();
    let names_entry = |text: &str| {
        let by_uuid = entry.filter(|entry| entry.mac.is_none()).and_then(|entry| entry.uuid);
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

/// A line `key: value` for each thing that is known. The values are of types, or of letters, that cannot hold a line end.
fn whoami(asker: &Asker) -> String {
    let machine = &asker.machine;
    let lines = [
        ("address", Some(asker.address.to_string())),
        ("server", Some(asker.server.to_string())),
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
