//! A template that a client gets, not yet rendered.

use std::net::Ipv4Addr;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::Templates;
use crate::boot::loader::facts::Facts;
use crate::boot::name::BootName;
use crate::content::once::Starts;
use crate::event::Refusal;
use crate::images::Content;
use crate::types::{Arch, MacAddr, Uuid};

/// A file that is to be made for one machine, from a template that is there. It is made in a thread of the pool; none
/// that serves clients may wait for it.
#[derive(Debug)]
pub struct Rendering {
    templates: Templates,
    /// The template.
    template: BootName,
    /// The name that the file is served under.
    name: String,
    machine: Owned,
    starts: Starts,
}

/// [`Facts`] that another thread can keep.
#[derive(Debug)]
struct Owned {
    server: Ipv4Addr,
    ip: Option<Ipv4Addr>,
    mac: Option<MacAddr>,
    uuid: Option<Uuid>,
    arch: Option<Arch>,
    serial: Option<String>,
    host_name: Option<String>,
    /// It has an entry in the configuration.
    has_entry: bool,
}

impl Rendering {
    /// The file `name`, made from `template` for the machine that `facts` are of, which has its entry in `starts`.
    pub(crate) fn new(
        templates: &Templates,
        template: BootName,
        name: &BootName,
        facts: &Facts<'_>,
        starts: &Starts,
    ) -> Rendering {
        let machine = Owned {
            server: facts.server,
            ip: facts.ip,
            mac: facts.mac,
            uuid: facts.uuid,
            arch: facts.arch,
            serial: facts.serial.clone(),
            host_name: facts.host_name.clone(),
            has_entry: facts.machine.is_some(),
        };
        let (templates, starts) = (templates.clone(), starts.clone());
        Rendering { templates, template, name: name.as_str().to_owned(), machine, starts }
    }

    /// Makes it, and calls `done` with it in another thread, once in any case.
    ///
    /// The error is [`Refusal::Template`] if it cannot be made, [`Refusal::RenderQueue`] if too many wait or it waited
    /// too long, and what [`crate::images::Catalog::open_file`] says of the template.
    pub fn start(self, done: impl FnOnce(Result<Content, Refusal>) + Send + 'static) {
        let (pool, template, name) = (self.templates.pool.clone(), self.template.clone(), self.name.clone());
        pool.run(
            template.as_str(),
            move || self.make(),
            move |made| done(made.map(|text| Content::text(name, text.into_bytes()))),
        );
    }

    /// Makes it. As [`Rendering::start`], for a task that waits.
    ///
    /// # Errors
    /// As [`Rendering::start`] says.
    pub async fn finished(self) -> Result<Content, Refusal> {
        let (sender, made) = oneshot::channel();
        self.start(move |made| _ = sender.send(made));
        made.await.unwrap_or(Err(Refusal::Template))
    }

    /// Makes it. As [`Rendering::start`], for a thread that serves no clients.
    ///
    /// # Errors
    /// As [`Rendering::start`] says.
    pub fn wait(self) -> Result<Content, Refusal> {
        let (sender, made) = mpsc::channel();
        self.start(move |made| _ = sender.send(made));
        made.recv().unwrap_or(Err(Refusal::Template))
    }

    fn make(&self) -> Result<String, Refusal> {
        let machine = &self.machine;
        let targets = self.starts.targets();
        let facts = Facts {
            server: machine.server,
            ip: machine.ip,
            mac: machine.mac,
            uuid: machine.uuid,
            arch: machine.arch,
            serial: machine.serial.clone(),
            host_name: machine.host_name.clone(),
            // By its MAC, or else by its UUID: as `Subject::of` found it.
            machine: targets.machine(machine.mac, machine.uuid).filter(|_| machine.has_entry),
        };
        // Opened now: those that wait hold no descriptor.
        let open = self.templates.catalog.open_file(&self.template)?;
        self.templates.text(open, &facts)
    }
}
