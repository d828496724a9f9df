//! Turns `pxe-service` and `pxe-prompt` into `boot.menu`.

use std::collections::BTreeSet;

use super::effects::is_network_boot;
use super::model::{Model, Service, ServiceKind};
use super::tags::Tags;
use super::values::Tag;
use crate::config::document::{List, Map, Value};
use crate::import::condition::Condition;
use crate::import::field::Pattern;
use crate::import::problems::Problems;
use crate::types::Arch;

/// The prompt that dnsmasq shows if there is none (`pxe_opts` in `rfc2131.c`).
const PROMPT: &str = "PXE";

/// One item of the menu.
struct Item {
    text: String,
    files: Vec<(u16, Value)>,
    /// Architectures for which it starts the local disk.
    local: BTreeSet<u16>,
    server: Option<String>,
    comments: Vec<String>,
}

/// Writes the keys of `boot` for the menu. Returns the condition of firmware that gets a menu.
pub(super) fn write(model: &Model, tags: &Tags, boot: &mut Map, problems: &mut Problems) -> Condition {
    let mut items: Vec<Item> = Vec::new();
    let mut arches: BTreeSet<u16> = BTreeSet::new();
    for service in &model.services {
        if let Err(why) = add(service, tags, model, &mut items) {
            problems.add(service.origin.place, format!("pxe-service is not taken: {why}"));
        } else {
            arches.insert(if service.arch == 9 { 7 } else { service.arch });
        }
    }
    prompt(model, tags, items.len(), boot, problems);
    let mut list = List::default();
    for item in &items {
        let place = model.services.iter().find(|it| it.text == item.text).map(|it| it.origin.place);
        let place = place.unwrap_or_default();
        if !item.local.is_empty() && item.local != arches {
            problems.add(
                place,
                "pxe-service is taken for every architecture: the local disk in a menu has no `arch`",
            );
        }
        list.push_translated(entry(item, arches.len()), item.comments.clone(), place);
    }
    if list.is_empty() {
        return Condition::Never;
    }
    boot.set("menu", list);
    let arch = |number: &u16| Condition::Field("arch".to_owned(), Pattern::exactly(&number.to_be_bytes()));
    Condition::all([Condition::Class("pxe".to_owned()), Condition::any(arches.iter().map(arch))])
}

fn entry(item: &Item, arches: usize) -> Map {
    let mut map = Map::new().with("text", item.text.as_str());
    if let Some(server) = &item.server {
        map.set("server", server.as_str());
    } else if !item.local.is_empty() {
        map.set("local", true);
    } else {
        match &item.files[..] {
            [(_, file)] if arches == 1 => map.set("file", file.clone()),
            files => {
                let mut by_arch = Map::new();
                for (number, file) in files {
                    let arch = Arch::from_number(*number);
                    by_arch.set(arch.name().map_or_else(|| number.to_string(), str::to_owned), file.clone());
                }
                map.set("file", by_arch);
            }
        }
    }
    map
}

fn add(service: &Service, tags: &Tags, model: &Model, items: &mut Vec<Item>) -> Result<(), String> {
    if !service.tags.iter().all(|tag| is_firmware(tag, tags)) {
        return Err("items of a menu have no condition except `tag:!` of iPXE".to_owned());
    }
    let is_ascii = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    if service.text.is_empty() || !service.text.chars().all(is_ascii) {
        return Err("firmware shows texts of ASCII letters only".to_owned());
    }
    let address = |name: &String| model.address_of(name).map_or_else(|| name.clone(), |it| it.to_string());
    let server = service.server.as_ref().map(address);
    let (file, local, elsewhere) = match (&service.kind, server) {
        (ServiceKind::Local, _) => (None, true, None),
        (ServiceKind::Type(_), Some(server)) if server.parse::<std::net::Ipv4Addr>().is_ok() => {
            return Err(format!(
                "an item of config.yaml cannot ask the server {server} for a boot server type"
            ));
        }
        (ServiceKind::Type(number), _) => {
            return Err(format!("an item of config.yaml names a file, not the boot server type {number}"));
        }
        (ServiceKind::File(name), server) => {
            // dnsmasq adds the layer, which is 0.
            let name = if name.contains('.') { name.clone() } else { format!("{name}.0") };
            let root = model.settings.tftp_root.as_deref().unwrap_or_default().trim_end_matches('/');
            let inside = name.strip_prefix(root).filter(|it| it.starts_with('/')).unwrap_or(&name);
            match server {
                None => (Some(Value::from(inside.trim_start_matches('/'))), false, None),
                Some(server) => {
                    (Some(Map::new().with("file", name).with("server", server).into()), false, None)
                }
            }
        }
    };
    let arch = if service.arch == 9 { 7 } else { service.arch };
    let is_there = |item: &Item| {
        let has_file = item.files.iter().any(|(other, known)| *other == arch && Some(known) == file.as_ref());
        item.text == service.text && (has_file || local && item.local.contains(&arch))
    };
    // 7 and 9 are one architecture, so services for both are one item.
    if items.iter().any(is_there) {
        return Ok(());
    }
    let has_arch =
        |item: &Item| item.local.contains(&arch) || item.files.iter().any(|(other, _)| *other == arch);
    let same = items.iter().position(|item| {
        item.text == service.text
            && item.server == elsewhere
            && item.local.is_empty() != local
            && !has_arch(item)
    });
    let at = same.unwrap_or_else(|| {
        let (text, files, local) = (service.text.clone(), Vec::new(), BTreeSet::new());
        items.push(Item { text, files, local, server: elsewhere, comments: Vec::new() });
        items.len() - 1
    });
    let Some(item) = items.get_mut(at) else { return Ok(()) };
    item.comments.extend(service.origin.comments.iter().cloned());
    if local {
        item.local.insert(arch);
    }
    item.files.extend(file.map(|file| (arch, file)));
    Ok(())
}

/// Whether the tag only excludes iPXE, which gets no menu anyway.
fn is_firmware(tag: &Tag, tags: &Tags) -> bool {
    let positive = Tag { name: tag.name.clone(), is_negated: false };
    let resolved = tags.resolve(&[positive]);
    let is_ipxe = |condition: &Condition| {
        let is_arch = matches!(condition, Condition::Field(field, _) if field == "arch");
        is_network_boot(condition) && !is_arch
    };
    tag.is_negated && resolved.is_some_and(|it| it.ranges.is_none() && is_ipxe(&it.condition))
}

/// Writes `prompt` and `timeout`.
fn prompt(model: &Model, tags: &Tags, items: usize, boot: &mut Map, problems: &mut Problems) {
    let mut chosen = None;
    for prompt in &model.prompts {
        if prompt.tags.iter().all(|tag| is_firmware(tag, tags)) {
            chosen = Some(prompt);
        } else {
            let reason = "pxe-prompt is not taken: there is one prompt for all clients";
            problems.add(prompt.origin.place, reason);
        }
    }
    if items == 0 {
        if let Some(prompt) = chosen {
            problems
                .add(prompt.origin.place, "pxe-prompt is not taken: without pxe-service there is no menu");
        }
        return;
    }
    let (text, timeout) = match chosen {
        Some(prompt) => (prompt.text.as_str(), prompt.timeout),
        // Without a prompt, dnsmasq waits if there is a choice.
        None => (PROMPT, (items == 1).then_some(0)),
    };
    let text: String = text.chars().filter(|letter| *letter == ' ' || letter.is_ascii_graphic()).collect();
    boot.set("prompt", if text.is_empty() { PROMPT.to_owned() } else { text });
    boot.set(
        "timeout",
        match timeout {
            Some(0) => Value::Int(0),
            Some(seconds) => format!("{seconds}s").into(),
            None => "off".into(),
        },
    );
}
