//! Reads `boot.menu`, `boot.prompt` and `boot.timeout`: the boot menu of PXE firmware.

use std::sync::Arc;
use std::time::Duration;

use crate::boot::machine_boot::{MachineBoot, is_ipxe_script};
use crate::boot::menu::{Item, ItemAction, MAX_ITEMS, Menu, WAIT_FOREVER};
use crate::config::sections::boot_file::machine_boot;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Fields, Reader, describe, duration, is_off};
use crate::config::syntax::tree::{Data, Node};
use crate::wire::pxe::MAX_VENDOR_OPTIONS;

/// Default text that the firmware shows while it waits for a key.
const DEFAULT_PROMPT: &str = "Press F8 for the boot menu";
/// Default waiting time in seconds.
const DEFAULT_TIMEOUT: u8 = 10;

/// Reads the menu of `boot:`. Returns `None` if there is none, or if a problem leaves it without items.
pub(in crate::config) fn menu(reader: &mut Reader, boot: &Fields<'_>) -> Option<Menu> {
    let node = boot.get("menu");
    let written = node.map_or(&[][..], |node| reader.list(node));
    let prompt = boot.get("prompt").map_or(Some(DEFAULT_PROMPT), |node| printable(reader, node, "a prompt"));
    let timeout = boot.get("timeout").map_or(Some(DEFAULT_TIMEOUT), |node| timeout(reader, node));
    if written.is_empty() {
        for node in ["prompt", "timeout"].iter().filter_map(|key| boot.get(key)) {
            reader.problem(node.id, "it has no effect without `boot.menu`");
        }
        return None;
    }
    let node = node?;
    if written.len() > MAX_ITEMS {
        reader.problem(node.id, format!("expected at most {MAX_ITEMS} items, found {}", written.len()));
        return None;
    }
    let items: Vec<Item> = written.iter().filter_map(|node| item(reader, node)).collect();
    if items.len() < written.len() {
        return None;
    }
    let menu = Menu { items, prompt: prompt?.into(), timeout: timeout? };
    if let Some(len) = menu.too_long() {
        let message = format!(
            "the menu takes {len} bytes, and firmware reads {MAX_VENDOR_OPTIONS}: shorten the texts or the prompt"
        );
        reader.problem(node.id, message);
    }
    Some(menu)
}

fn item(reader: &mut Reader, node: &Node) -> Option<Item> {
    if !matches!(node.data, Data::Map(_)) {
        reader.expected(node, "an item with `text`, and `file`, `server` or `local: true`");
        return None;
    }
    let fields = reader.fields(node, Section::MenuItem);
    let text = match fields.get("text") {
        Some(node) => printable(reader, node, "the text of the item"),
        None => {
            reader.problem(node.id, "`text` must be given: what the menu shows");
            None
        }
    };
    let boots = match (fields.get("file"), fields.get("server"), fields.get("local")) {
        (Some(node), None, None) => file(reader, node).map(ItemAction::File),
        (None, Some(node), None) => server(reader, node),
        (None, None, Some(node)) => local(reader, node),
        _ => {
            reader.problem(node.id, "expected one of `file`, `server` and `local: true`");
            None
        }
    };
    Some(Item { text: Arc::from(text?), action: boots? })
}

/// Reads a boot file that PXE firmware can load: it must come by TFTP and must not be a script.
fn file(reader: &mut Reader, node: &Node) -> Option<MachineBoot> {
    let boot = machine_boot(reader, node)?;
    let names: Vec<&Arc<str>> = match &boot {
        MachineBoot::File(name) => vec![name],
        MachineBoot::ByArch(files) => files.values().collect(),
    };
    let wrong = names.into_iter().find(|name| is_ipxe_script(name) || name.contains("://"));
    if let Some(name) = wrong {
        let message = format!(
            "firmware shows the menu, and starts loaders that it gets by TFTP: expected the name of one, found {name:?}"
        );
        reader.problem(node.id, message);
        return None;
    }
    Some(boot)
}

fn server(reader: &mut Reader, node: &Node) -> Option<ItemAction> {
    const WHAT: &str = "the IPv4 address of another boot server";
    let server = reader.parse::<std::net::Ipv4Addr>(node, WHAT)?.value;
    if server.is_unspecified() || server.is_multicast() || server.is_broadcast() || server.is_loopback() {
        reader.expected(node, WHAT);
        return None;
    }
    Some(ItemAction::Server(server))
}

fn local(reader: &mut Reader, node: &Node) -> Option<ItemAction> {
    match reader.bool(node)? {
        true => Some(ItemAction::Local),
        false => {
            reader.expected(node, "true");
            None
        }
    }
}

/// Reads text that every firmware can display.
fn printable<'n>(reader: &mut Reader, node: &'n Node, what: &str) -> Option<&'n str> {
    let text = reader.text(node, what)?;
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Some(text);
    }
    reader.problem(
        node.id,
        format!("expected {what} in ASCII, because firmware shows nothing else, found {}", describe(node)),
    );
    None
}

/// Reads the seconds until the first item boots: 0 boots it immediately, `off` waits forever.
fn timeout(reader: &mut Reader, node: &Node) -> Option<u8> {
    if is_off(node) {
        return Some(WAIT_FOREVER);
    }
    let time = match &node.data {
        Data::Int(0) => Some(Duration::ZERO),
        Data::Text(text) => duration(text),
        _ => None,
    };
    let seconds =
        time.filter(|time| time.subsec_nanos() == 0).and_then(|time| u8::try_from(time.as_secs()).ok());
    match seconds.filter(|seconds| *seconds != WAIT_FOREVER) {
        Some(seconds) => Some(seconds),
        None => {
            reader.expected(
                node,
                "a time of whole seconds up to 254s, 0 to boot the first item at once, or off to wait at the menu",
            );
            None
        }
    }
}
