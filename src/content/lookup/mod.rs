//! Finds the content for a file name. TFTP and HTTP call it for each request, and DHCP for the size and kind of boot
//! files. It never sends anything.

mod absent;
mod file_facts;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::boot::loader::target::Machine;
use crate::boot::name::BootName;
use crate::config::Config;
use crate::config::changes::NamedMachine;
use crate::content::file_work::FileWork;
use crate::content::folders;
use crate::content::generated::{self, TextRequest};
use crate::content::log_once::LogOnce;
use crate::content::machines::{self, KnownMachine, MachineTable, Standing, own_names};
use crate::content::once::{BootState, DoneReport, SentPart};
use crate::content::requester::Requester;
use crate::content::subject::Subject;
use crate::content::templates::rendering::Rendering;
use crate::content::templates::{EXTENSION, Templates};
use crate::event::Refusal;
use crate::images::ipxe::ProgramCache;
use crate::images::{Catalog, Content, OpenFile};
use crate::net::snapshot::Now;
use crate::types::{MacAddr, MachineId};

/// Everything that clients can request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    catalog: Catalog,
    known: MachineTable,
    boot_state: BootState,
    /// The current settings; `None` outside of the server, where `boot_state` has the settings.
    now: Option<Now>,
    templates: Templates,
    builds: ProgramCache,
    absent: absent::Absent,
    log_once: LogOnce,
    work: FileWork,
}

/// The result of a successful lookup.
#[derive(Debug)]
pub enum Found {
    Content(Content),
    /// The file must be rendered from a template, which takes a while.
    Rendering(Box<Rendering>),
}

impl Found {
    /// Waits until the content is available. For async tasks.
    ///
    /// # Errors
    /// See [`Rendering::start`].
    pub async fn content(self) -> Result<Content, Refusal> {
        match self {
            Found::Content(content) => Ok(content),
            Found::Rendering(rendering) => rendering.finished().await,
        }
    }
}

impl Files {
    /// Serves the files of `catalog` to the machines in `known`.
    pub fn new(catalog: Catalog, known: MachineTable) -> Files {
        let log_once = LogOnce::new(known.recorder().clone());
        let templates = Templates::new(catalog.clone(), log_once.clone());
        Files {
            catalog,
            known,
            boot_state: BootState::default(),
            now: None,
            templates,
            builds: ProgramCache::default(),
            absent: Default::default(),
            log_once,
            work: FileWork::default(),
        }
    }

    pub fn work(&self) -> &FileWork {
        &self.work
    }

    /// Sets the targets of the machines and their `once` state.
    pub fn with_boot_state(self, boot_state: BootState) -> Files {
        Files { boot_state: boot_state.with_recorder(self.known.recorder().clone()), ..self }
    }

    /// Uses the targets and machines of the current snapshot.
    pub fn following(self, now: Now) -> Files {
        Files { now: Some(now), ..self }
    }

    /// The targets of the machines and their `once` state, as they are now. Take it once for each request, as
    /// [`Files::requester`] does, so that the request has the same settings from beginning to end.
    fn boot_state(&self) -> BootState {
        match &self.now {
            Some(now) => self.boot_state.with_config(&now.borrow().config),
            None => self.boot_state.clone(),
        }
    }

    /// Handles the report of the client at `address` that the machine with this MAC is done; see [`BootState::done`].
    ///
    /// # Errors
    /// If the change cannot be written to disk.
    pub fn done(&self, mac: MacAddr, address: IpAddr) -> io::Result<DoneReport> {
        let machines::Found { machine, standing } = self.known.at(address);
        // A person at this computer may report it for any machine.
        let by_person = self.known.is_own(address) && standing == Standing::Unknown;
        self.boot_state().done(mac, &machine, by_person)
    }

    /// Ends `once` of the entry of the machine `named`; see [`BootState::end_once_of_entry`].
    ///
    /// # Errors
    /// If the change cannot be written to disk.
    pub fn end_once_of_entry(&self, named: &NamedMachine) -> io::Result<bool> {
        let boot_state = self.boot_state();
        let entry = named.entry.as_deref().and_then(|name| boot_state.targets().named(name));
        entry.map_or(Ok(false), |entry| boot_state.end_once_of_entry(entry))
    }

    /// Records that `requester` was sent the bytes `part` of the content `name`, whose size is `size` bytes. This may end
    /// its `once`, unless that was changed since the request began.
    pub fn sent(&self, name: &str, part: Range<u64>, size: u64, requester: &Requester) {
        // Most machines have no `once`, so this check avoids the lookups below.
        let Requester { machine, boot_state, .. } = requester;
        let has_once = |machine: &Machine| machine.once.is_some() || machine.requested.is_some();
        if !boot_state.targets().machines().iter().any(has_once) {
            return;
        }
        let Ok(name) = BootName::parse(name.as_bytes()) else { return };
        let current = self.boot_state();
        let once_of =
            |entry: Option<&Machine>| entry.map(|entry| (entry.once.clone(), entry.requested.clone()));
        if once_of(boot_state.machine(machine)) != once_of(current.machine(machine)) {
            return;
        }
        let is_script = generated::is_script(&name, requester, boot_state);
        boot_state.sent(&SentPart { name: &name, part, size, is_script }, machine);
    }

    /// Whether the machine at `address` may have got it by DHCP: a DHCP message said so, or messages contradict each
    /// other.
    pub fn may_be_from_dhcp(&self, address: IpAddr) -> bool {
        let machines::Found { machine, standing } = self.known.at(address);
        machine.server.is_some() || standing == Standing::Contested
    }

    /// Serves the folder of boot files that `config` names, and forgets each finished `once` that it no longer has.
    ///
    /// # Errors
    /// The folder cannot be served. The one of before is still served then.
    pub fn move_to(&self, config: &Arc<Config>) -> Result<(), String> {
        if let Some((key, problem)) = folders::problems(config).into_iter().next() {
            return Err(format!("{key}: {problem}"));
        }
        self.catalog.move_to(&config.images, folders::secrets(config)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "images: {error}; lanboot gave up the right to read other folders at its start, so this needs a \
                 restart of lanboot"
            ),
            _ => format!("images: {error}"),
        })?;
        self.boot_state.with_config(config).forget_removed();
        Ok(())
    }

    /// Also serves the uploaded images in the folder `uploaded`, after those of boot-images/.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub fn serve_uploaded(&self, uploaded: &Path) -> io::Result<()> {
        self.catalog.serve_uploaded(uploaded)
    }

    /// Opens the file `name` as it is stored, to look into it. Machines' own folders and templates do not count.
    pub fn open_stored(&self, name: &str) -> Option<OpenFile> {
        let name = BootName::parse(name.as_bytes()).ok()?;
        self.open(&name).ok().flatten().filter(|open| !open.is_template())
    }

    /// The machine at `address`, for records; `None` if it is not known, or if several machines may have the address.
    pub fn machine_at(&self, address: IpAddr) -> Option<MachineId> {
        self.requester(address, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).machine_id()
    }

    /// Checks the folder of boot files, and logs when it disappears or comes back.
    pub fn check_folder(&self) {
        self.catalog.check_folder();
    }

    /// The client at `address`, which sent its request to `server`, and the settings as they are now.
    pub fn requester(&self, address: IpAddr, server: IpAddr) -> Requester {
        let boot_state = self.boot_state();
        // Most requests of a busy server are of hosts that nothing is made for. For a machine that has a lease or an
        // entry, the kernel is asked each time, because another host may have taken its address since the last request.
        let has_nothing = |found: &machines::Found| {
            matches!(found.standing, Standing::Unknown | Standing::Neighbour)
                && boot_state.machine(&found.machine).is_none()
        };
        let lately = self.known.lately_at(address).filter(has_nothing);
        let machines::Found { machine, standing } = lately.unwrap_or_else(|| self.known.at(address));
        Requester { address, server, machine, standing, boot_state }
    }

    /// Finds the content for `asked`, the name as the client sent it. The first match counts:
    ///
    /// 1. the file of that name in the machine's own folder: `52-54-00-12-34-56/`, `52:54:00:12:34:56/` or, for a
    ///    Raspberry Pi, its serial number;
    /// 2. the script that boots the machine, if one is configured and a loader asks for its configuration
    ///    (`generated::own`);
    /// 3. the file of that name; it precedes 2 if the name contains a machine (`01-<mac>`, `<mac>/…`);
    /// 4. for `<mac>/rest`: the file `rest` in that machine's folder in another spelling, then the template `rest.j2`;
    /// 5. other generated text of that name (`generated::usual`);
    /// 6. 1 to 5 for the name without the NUL, 0xFF and space bytes at its end ([`BootName::parse_trimmed`]);
    /// 7. a file whose name differs only in ASCII case ([`Catalog::open_in_any_case`]), in the order of 1, 3 and 6.
    ///
    /// If a file is missing in these steps, the template of that name plus `.j2` is rendered instead. Templates
    /// themselves and `manifest.json` are never served.
    ///
    /// A name with a folder never finds the file of another machine or another folder. A Raspberry Pi, for example,
    /// asks for `start4.elf` only after `<serial>/start4.elf` was missing.
    ///
    /// # Errors
    /// - [`Refusal::BadName`] if `asked` is no valid name;
    /// - [`Refusal::NotFound`];
    /// - [`Refusal::OtherMachine`] if the text is made for another machine than the known one that asks;
    /// - [`Refusal::Template`] if a script cannot be generated;
    /// - the errors of [`Catalog::open_file`].
    pub fn find(&self, asked: &[u8], requester: &Requester) -> Result<Found, Refusal> {
        let generation = self.catalog.generation();
        let boot_state = &requester.boot_state;
        let found = self.find_once(asked, requester, boot_state);
        // The folder may have been replaced during the search.
        if self.catalog.generation() == generation {
            found
        } else {
            self.find_once(asked, requester, boot_state)
        }
    }

    fn find_once(
        &self,
        asked: &[u8],
        requester: &Requester,
        boot_state: &BootState,
    ) -> Result<Found, Refusal> {
        let folders = self.own_folders(&requester.machine);
        let mut refused = None;
        for name in BootName::candidates(asked) {
            match self.find_name(&name, requester, &folders, boot_state) {
                Err(why @ (Refusal::NotFound | Refusal::BadName)) => _ = refused.get_or_insert(why),
                found => return found,
            }
        }
        for name in BootName::candidates(asked) {
            let subject = Subject::of(&name, requester, boot_state);
            let own = folders.iter().map(|folder| name.in_folder(folder));
            for name in own.chain([name.clone()]) {
                if let Some(found) = self.open_in_any_case(&name) {
                    return self.content(&name, found, &subject, boot_state);
                }
            }
        }
        Err(refused.unwrap_or(Refusal::BadName))
    }

    /// Like [`Files::find`], but blocks until templates are rendered. For threads that serve no clients.
    pub fn find_and_wait(&self, asked: &[u8], requester: &Requester) -> Result<Content, Refusal> {
        match self.find(asked, requester)? {
            Found::Content(content) => Ok(content),
            Found::Rendering(rendering) => rendering.wait(),
        }
    }

    fn find_name(
        &self,
        name: &BootName,
        requester: &Requester,
        folders: &[BootName],
        boot_state: &BootState,
    ) -> Result<Found, Refusal> {
        let subject = Subject::of(name, requester, boot_state);
        let request = TextRequest { name, subject: &subject, boot_state, log_once: &self.log_once };
        let text = |made: Result<String, Refusal>| {
            made.map(|text| Found::Content(Content::text(name.as_str(), text.into_bytes())))
        };
        for folder in folders {
            if let Some(found) = self.open(&name.in_folder(folder))? {
                return self.content(&name.in_folder(folder), found, &subject, boot_state);
            }
        }
        let own = generated::generate(request);
        if let Some(made) = own.as_ref().filter(|_| !subject.is_named) {
            return text(made.clone());
        }
        if let Some(short) = self.catalog.cached_file(name) {
            return Ok(Found::Content(Content::Short(short)));
        }
        if let Some(found) = self.open(name)? {
            self.catalog.cache_if_short(&found);
            return self.content(name, found, &subject, boot_state);
        }
        if let Some(rest) = &subject.rest {
            let named = KnownMachine { mac: subject.facts.mac, ..KnownMachine::default() };
            for folder in self.own_folders(&named) {
                if let Some(found) = self.open(&rest.in_folder(&folder))? {
                    return self.content(name, found, &subject, boot_state);
                }
            }
            if let Some(found) = self.open_template(rest)? {
                return self.content(name, found, &subject, boot_state);
            }
        }
        own.or_else(|| generated::usual(request, requester)).map_or(Err(Refusal::NotFound), text)
    }

    /// Size in bytes of the file that the machine with this MAC gets for `name`, before it has an address. `None` if
    /// there is no such file, or if it is generated or rendered, because the size may then change.
    pub fn size(&self, name: &str, mac: Option<MacAddr>) -> Option<u64> {
        let name = BootName::parse(name.as_bytes()).ok()?;
        let folders = self.own_folders(&KnownMachine { mac, ..KnownMachine::default() });
        let own = folders.iter().map(|folder| name.in_folder(folder));
        let found = own.chain([name.clone()]).find_map(|name| self.open(&name).ok().flatten())?;
        (!found.is_template()).then_some(found.size)
    }

    /// The existing folders that belong to the machine alone.
    fn own_folders(&self, machine: &KnownMachine) -> Vec<BootName> {
        if !self.catalog.may_have_machine_folders() {
            return Vec::new();
        }
        let mut names = own_names(machine);
        names.retain(|name| self.catalog.has(name));
        names
    }

    /// Opens the file `name`, or else its template.
    fn open(&self, name: &BootName) -> Result<Option<OpenFile>, Refusal> {
        // The source of a template may contain secrets of other machines. A symlink without `.j2` to a template is
        // rendered.
        if name.as_str().to_ascii_lowercase().ends_with(EXTENSION) {
            return Ok(None);
        }
        match self.catalog.open_file(name) {
            Err(Refusal::NotFound) => self.open_template(name),
            // The origin of the files is not served either.
            Ok(open) if open.is_manifest() => Ok(None),
            found => found.map(Some),
        }
    }

    fn open_template(&self, name: &BootName) -> Result<Option<OpenFile>, Refusal> {
        match template_of(name).map(|template| self.catalog.open_file(&template)) {
            None | Some(Err(Refusal::NotFound)) => Ok(None),
            Some(found) => found.map(Some),
        }
    }

    fn open_in_any_case(&self, name: &BootName) -> Option<OpenFile> {
        let file = self.catalog.open_in_any_case(name);
        let asked_for = |open: &OpenFile| open.name.to_ascii_lowercase().ends_with(EXTENSION);
        let file = file.filter(|open| !asked_for(open) && !open.is_manifest());
        file.or_else(|| self.catalog.open_in_any_case(&template_of(name)?))
    }

    /// The file itself, or a rendering of it under the name `name` if it is a template.
    fn content(
        &self,
        name: &BootName,
        open: OpenFile,
        subject: &Subject<'_>,
        boot_state: &BootState,
    ) -> Result<Found, Refusal> {
        if !open.is_template() {
            return Ok(Found::Content(Content::File(open)));
        }
        if subject.is_forbidden {
            return Err(Refusal::OtherMachine);
        }
        let template = BootName::parse(open.name.as_bytes()).map_err(|_| Refusal::BadName)?;
        let rendering = Rendering::new(&self.templates, template, name, &subject.facts, boot_state);
        Ok(Found::Rendering(Box::new(rendering)))
    }
}

/// The name of the template of `name`; `None` if it is too long.
fn template_of(name: &BootName) -> Option<BootName> {
    BootName::parse(format!("{name}{EXTENSION}").as_bytes()).ok()
}

#[cfg(test)]
mod tests;
