//! Reads `tftp:`.

use std::path::PathBuf;

use crate::config::settings::{Tftp, Uploads};
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Reader, is_off, size};
use crate::config::syntax::tree::{Data, Node};
use crate::tftp::{Engine, Limits, Ports};

/// Default port for requests (RFC 1350 section 4).
const DEFAULT_PORT: u16 = 69;
/// Default number of simultaneous transfers.
const DEFAULT_MAX_TRANSFERS: usize = 4096;
/// Default number of simultaneous transfers per client address: enough for a room full of machines behind one NAT.
const DEFAULT_MAX_PER_CLIENT: usize = 1024;
/// Upper limit of `max_transfers` and `max_per_client`.
const TRANSFERS_LIMIT: u32 = 1_000_000;
/// Default maximum size of an uploaded file in bytes.
const DEFAULT_MAX_SIZE: u64 = 256 << 20;
/// Default maximum size of all uploaded files in bytes. It is raised to four times `max_size` if that is more.
const DEFAULT_MAX_TOTAL: u64 = 1 << 30;
/// Default maximum number of uploaded files.
const DEFAULT_MAX_FILES: u64 = 10_000;
/// Upper limit of `max_files`, because the server counts the files one by one.
const FILES_LIMIT: u64 = 100_000;

/// Reads `tftp:`. Returns defaults if the section is missing, and `None` for `off`.
pub(in crate::config) fn tftp(reader: &mut Reader, node: Option<&Node>) -> Option<Tftp> {
    let limits = Limits {
        max_block_size: None,
        max_window: Limits::MAX_WINDOW,
        max_transfers: DEFAULT_MAX_TRANSFERS,
        max_per_client: DEFAULT_MAX_PER_CLIENT,
        allow: Vec::new(),
    };
    let mut tftp = Tftp {
        port: DEFAULT_PORT,
        listen: Vec::new(),
        engine: Engine::Native,
        ports: Ports::Ephemeral,
        limits,
        uploads: None,
    };
    let Some(node) = node else { return Some(tftp) };
    if is_off(node) {
        return None;
    }
    if !matches!(node.data, Data::Map(_) | Data::Null) {
        reader.expected(node, "off, or a mapping");
        return None;
    }
    let fields = reader.fields(node, Section::Tftp);
    if let Some(port) = fields.get("port").and_then(|node| reader.number(node, 1..=u16::MAX)) {
        tftp.port = port;
    }
    if let Some(node) = fields.get("listen") {
        let listen = reader.parse_each(node, "an IPv4 address of this machine");
        tftp.listen = listen.into_iter().map(|at| at.value).collect();
    }
    let engines = [("native", Engine::Native), ("async-tftp", Engine::AsyncTftp)];
    if let Some(engine) = fields.get("engine").and_then(|node| reader.choice(node, &engines)) {
        tftp.engine = engine;
    }
    if let Some(node) = fields.get("max_block_size") {
        tftp.limits.max_block_size = block_size(reader, node);
    }
    if let Some(window) =
        fields.get("max_window").and_then(|node| reader.number(node, 1..=Limits::MAX_WINDOW))
    {
        tftp.limits.max_window = window;
    }
    if let Some(most) = fields.get("max_transfers").and_then(|node| transfers(reader, node)) {
        tftp.limits.max_transfers = most;
    }
    if let Some(most) = fields.get("max_per_client").and_then(|node| transfers(reader, node)) {
        tftp.limits.max_per_client = most;
    }
    if let Some(node) = fields.get("allow") {
        tftp.limits.allow = reader.parse_each(node, "").into_iter().map(|at| at.value).collect();
    }
    if let Some(ports) = fields.get("ports").and_then(|node| ports(reader, node, tftp.port)) {
        tftp.ports = ports;
    }
    tftp.uploads = fields.get("uploads").and_then(|node| uploads(reader, node));
    if tftp.engine == Engine::AsyncTftp {
        let wanted = [("ports", tftp.ports != Ports::Ephemeral), ("uploads", tftp.uploads.is_some())];
        for (key, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            if let Some(node) = fields.get(key) {
                let message =
                    format!("async-tftp cannot do this: use `engine: native`, or leave `{key}` out");
                reader.problem(node.id, message);
            }
        }
    }
    Some(tftp)
}

/// Reads `auto` or a block size in bytes, from 512, which every client supports, to the maximum of RFC 2348.
fn block_size(reader: &mut Reader, node: &Node) -> Option<u16> {
    if matches!(&node.data, Data::Text(text) if text == "auto") {
        return None;
    }
    let bytes = size(node).and_then(|bytes| u16::try_from(bytes).ok()).filter(|b| (512..=65464).contains(b));
    if bytes.is_none() {
        reader.expected(node, "auto, or a size from 512 to 65464 bytes");
    }
    bytes
}

/// Reads a number of simultaneous transfers.
fn transfers(reader: &mut Reader, node: &Node) -> Option<usize> {
    reader.number(node, 1..=TRANSFERS_LIMIT).and_then(|number| usize::try_from(number).ok())
}

/// Reads `0`, `single`, or a range that does not contain the port for requests.
fn ports(reader: &mut Reader, node: &Node, requests: u16) -> Option<Ports> {
    let text = match &node.data {
        Data::Int(0) => return Some(Ports::Ephemeral),
        Data::Text(text) if text == "single" => return Some(Ports::Single),
        Data::Text(text) => text.as_str(),
        _ => "",
    };
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let ends = text.split_once('-').map(|(first, last)| (number(first), number(last)));
    let Some((Some(first), Some(last))) = ends else {
        reader.expected(node, "0, single, or a range of ports like 30000-30999");
        return None;
    };
    if first > last {
        reader.problem(node.id, format!("expected the lower port first, as in {last}-{first}"));
        return None;
    }
    if (first..=last).contains(&requests) {
        let message = format!(
            "{first}-{last} has the port of requests in it, {requests}: choose another range, or `single`"
        );
        reader.problem(node.id, message);
        return None;
    }
    Some(Ports::Range { first, last })
}

/// Reads `off`, a folder, or a folder with limits.
fn uploads(reader: &mut Reader, node: &Node) -> Option<Uploads> {
    const FOLDER: &str = "the path of a folder";
    if is_off(node) {
        return None;
    }
    if !matches!(node.data, Data::Map(_)) {
        let dir = PathBuf::from(reader.text(node, "off, or the path of a folder")?);
        let (max_size, max_total, max_files) = (DEFAULT_MAX_SIZE, DEFAULT_MAX_TOTAL, DEFAULT_MAX_FILES);
        return Some(Uploads { dir, max_size, max_total, max_files });
    }
    let fields = reader.fields(node, Section::Uploads);
    let mut bytes = |key, example| {
        let node = fields.get(key)?;
        let bytes = size(node).and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            reader.expected(node, example);
        }
        Some(bytes)
    };
    let max_size = bytes("max_size", "a size like 256MiB").unwrap_or(Some(DEFAULT_MAX_SIZE));
    let total = bytes("max_total", "a size like 4GiB");
    let least = DEFAULT_MAX_TOTAL.max(max_size.unwrap_or_default().saturating_mul(4));
    let max_total = total.unwrap_or(Some(least));
    if let (Some(size), Some(total), Some(node)) = (max_size, max_total, fields.get("max_total"))
        && total < size
    {
        reader.problem(node.id, "it must be at least `max_size`, or no such file could be stored");
    }
    let files = fields.get("max_files").map(|node| reader.number(node, 1..=FILES_LIMIT));
    let max_files = files.unwrap_or(Some(DEFAULT_MAX_FILES));
    let Some(dir) = fields.get("dir") else {
        reader.problem(node.id, "`dir` must be given, like /var/lib/lanboot/uploads");
        return None;
    };
    let dir = PathBuf::from(reader.text(dir, FOLDER)?);
    Some(Uploads { dir, max_size: max_size?, max_total: max_total?, max_files: max_files? })
}
