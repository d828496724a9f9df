//! A requested template that is not rendered yet.

use std::net::IpAddr;
use std::sync::mpsc;

use serde_json::Value as Json;
use tokio::sync::oneshot;

use super::Templates;
use crate::boot::loader::facts::Facts;
use crate::boot::name::BootName;
use crate::content::once::BootState;
use crate::event::Refusal;
use crate::images::Content;
use crate::types::{Arch, MacAddr, Uuid};

/// A file to be rendered from a template for one machine. It is rendered in a thread of the pool; threads that serve
/// clients must not wait for it.
#[derive(Debug)]
pub struct Rendering {
    templates: Templates,
    template: BootName,
    /// The name that the rendered file is served under.
    name: String,
    machine: Owned,
    boot_state: BootState,
    /// The JSON that the machine sent by POST.
    request: Option<Json>,
}

/// A copy of [`Facts`] that can be moved to another thread.
#[derive(Debug)]
struct Owned {
    server: IpAddr,
    ip: Option<IpAddr>,
    mac: Option<MacAddr>,
    uuid: Option<Uuid>,
    arch: Option<Arch>,
    serial: Option<String>,
    host_name: Option<String>,
    /// The name of the machine's entry in the configuration.
    entry: Option<String>,
}

impl Rendering {
    /// Prepares the file `name`, rendered from `template` for the machine of `facts`, whose entry is in `starts`.
    pub(crate) fn new(
        templates: &Templates,
        template: BootName,
        name: &BootName,
        facts: &Facts<'_>,
        boot_state: &BootState,
    ) -> Rendering {
        let machine = Owned {
            server: facts.server,
            ip: facts.ip,
            mac: facts.mac,
            uuid: facts.uuid,
            arch: facts.arch,
            serial: facts.serial.clone(),
            host_name: facts.host_name.clone(),
            entry: facts.machine.map(|machine| machine.name.clone()),
        };
        let (templates, boot_state) = (templates.clone(), boot_state.clone());
        let name = name.as_str().to_owned();
        Rendering { templates, template, name, machine, boot_state, request: None }
    }

    /// Makes the JSON that the machine sent by POST the variable `request`.
    #[must_use]
    pub fn with_request(self, request: Json) -> Rendering {
        Rendering { request: Some(request), ..self }
    }

    /// Renders the file in another thread, which then calls `done` with the result, exactly once.
    ///
    /// The error is [`Refusal::Template`] if rendering fails, [`Refusal::RenderQueue`] if the queue is full or the job
    /// waited too long, or an error of [`crate::images::Catalog::open_file`].
    pub fn start(self, done: impl FnOnce(Result<Content, Refusal>) + Send + 'static) {
        let (pool, template, name) = (self.templates.pool.clone(), self.template.clone(), self.name.clone());
        pool.run(
            template.as_str(),
            move || self.make(),
            move |made| done(made.map(|text| Content::text(name, text.into_bytes()))),
        );
    }

    /// Like [`Rendering::start`], for async tasks.
    ///
    /// # Errors
    /// See [`Rendering::start`].
    pub async fn finished(self) -> Result<Content, Refusal> {
        let (sender, made) = oneshot::channel();
        self.start(move |made| _ = sender.send(made));
        made.await.unwrap_or(Err(Refusal::Template))
    }

    /// Like [`Rendering::start`], but blocks. For threads that serve no clients.
    ///
    /// # Errors
    /// See [`Rendering::start`].
    pub fn wait(self) -> Result<Content, Refusal> {
        let (sender, made) = mpsc::channel();
        self.start(move |made| _ = sender.send(made));
        made.recv().unwrap_or(Err(Refusal::Template))
    }

    fn make(&self) -> Result<String, Refusal> {
        let machine = &self.machine;
        let targets = self.boot_state.targets();
        let facts = Facts {
            server: machine.server,
            ip: machine.ip,
            mac: machine.mac,
            uuid: machine.uuid,
            arch: machine.arch,
            serial: machine.serial.clone(),
            host_name: machine.host_name.clone(),
            machine: machine.entry.as_deref().and_then(|name| targets.named(name)),
        };
        // Open the file only now, so that waiting jobs hold no descriptor.
        let open = self.templates.catalog.open_file(&self.template)?;
        self.templates.text(open, &facts, self.request.as_ref())
    }
}
