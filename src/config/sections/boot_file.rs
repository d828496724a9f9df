//! Reads names of boot files, alone or by architecture: the values of `boot.arch`, `boot.ipxe`, `boot.bootp`, and
//! `boot` of a machine or class.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::fetch::SERVER;
use crate::boot::machine_boot::{MachineBoot, is_ipxe_script};
use crate::config::sections::option_values::domain_name;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Reader, suggestion};
use crate::config::syntax::tree::{Data, Node};
use crate::types::Arch;

/// Maximum length of a boot file name in bytes: option 67 without its trailing NUL.
pub(in crate::config) const MAX_NAME: usize = 254;
/// Maximum length of a boot file name for plain BOOTP in bytes: the `file` field without its trailing NUL (RFC 951).
pub(in crate::config) const MAX_BOOTP_NAME: usize = 127;
/// Variables that a boot file name may contain, in braces.
const TEMPLATES: &[&str] = &["server"];
/// Variables that are planned. Move a name to [`TEMPLATES`] when you implement it.
const PLANNED_TEMPLATES: &[&str] = &["mac", "mac_hyphen", "uuid", "arch", "ip", "hostname"];
/// The longest text that can replace `{server}`.
const LONGEST_SERVER: &str = "255.255.255.255";

/// Reads `boot` of a machine or class: one file, or files by architecture.
pub(in crate::config) fn machine_boot(reader: &mut Reader, node: &Node) -> Option<MachineBoot> {
    match &node.data {
        Data::Map(_) if is_on_server(node) => on_server(reader, node, None).map(MachineBoot::File),
        Data::Map(_) => Some(MachineBoot::ByArch(by_arch(reader, node))),
        _ => boot_file_name(reader, node, MAX_NAME).map(MachineBoot::File),
    }
}

pub(in crate::config) fn by_arch(reader: &mut Reader, node: &Node) -> BTreeMap<Arch, Arc<str>> {
    let mut files: BTreeMap<Arch, Arc<str>> = BTreeMap::new();
    for (key, value) in reader.entries(node) {
        let Ok(arch) = key.value.parse::<Arch>() else {
            let hint = suggestion(&key.value, Arch::names());
            let hint = hint.unwrap_or_else(|| {
                let names = Arch::names().collect::<Vec<_>>().join(", ");
                format!(", or a number from 0 to 65535; the names are {names}")
            });
            reader.problem(
                key.id,
                format!(
                    "unknown client architecture `{}`; expected a name like bios or uefi-x64{hint}",
                    key.value
                ),
            );
            continue;
        };
        let file = match is_on_server(value) {
            true => on_server(reader, value, Some(arch)),
            false => boot_file_name(reader, value, MAX_NAME).filter(|file| {
                let problem = incompatibility(arch, file);
                problem.into_iter().map(|problem| reader.problem(value.id, problem)).next().is_none()
            }),
        };
        let Some(file) = file else { continue };
        // 7 and 9 both mean x64, so a configuration converted from another server may have the same file under both.
        match files.insert(arch, file.clone()) {
            Some(other) if other != file => {
                reader.problem(
                    key.id,
                    format!("{arch} is given twice, as {other} and as {file}: keep one of them"),
                );
            }
            _ => {}
        }
    }
    files
}

/// Whether the node is `{file, server}` rather than a map by architecture.
fn is_on_server(node: &Node) -> bool {
    let Data::Map(entries) = &node.data else { return false };
    entries.iter().any(|(key, _)| matches!(&key.data, Data::Text(text) if text == "file" || text == "server"))
}

/// Reads `{file: x.efi, server: 10.0.0.9}`: a file on another server, as the URL that names it. Names on another server
/// may be absolute. Only clients that boot by HTTP resolve host names.
fn on_server(reader: &mut Reader, node: &Node, arch: Option<Arch>) -> Option<Arc<str>> {
    let fields = reader.fields(node, Section::ServerFile);
    let (Some(file), Some(server)) = (fields.get("file"), fields.get("server")) else {
        reader.problem(
            node.id,
            "expected both `file` and `server`, like {file: grubx64.efi, server: 10.0.0.9}",
        );
        return None;
    };
    let (file_text, server_text) =
        (reader.text(file, "the name of a boot file"), reader.text(server, "the address of a server"));
    let (name, host) = (file_text?, server_text?);
    let by_http = arch.is_some_and(Arch::is_http);
    if host.parse::<Ipv4Addr>().is_err() && !(by_http && domain_name(reader, server).is_some()) {
        if !by_http {
            reader.expected(
                server,
                "the IPv4 address of a server, because this firmware does not resolve names",
            );
        }
        return None;
    }
    let url = match by_http {
        true => format!("http://{host}/{}", name.trim_start_matches('/')),
        false => format!("tftp://{host}/{name}"),
    };
    let problem = if name.contains("://") {
        Some("expected the name of a file beside `server`, found a URL".to_owned())
    } else if url.len() > MAX_NAME {
        Some(format!("expected a name of at most {} bytes", MAX_NAME.saturating_sub(url.len() - name.len())))
    } else {
        template_problem(name)
    };
    match problem {
        Some(problem) => {
            reader.problem(file.id, problem);
            None
        }
        None => Some(url.into()),
    }
}

/// Explains why `arch` can never load `file`. Clients that boot by HTTP drop a reply without a URL. PXE firmware
/// sends a URL to the TFTP server as if it were a file name (EDK2 then reports PXE-E99 or PXE-E23).
fn incompatibility(arch: Arch, file: &str) -> Option<String> {
    let is_url = file.contains("://");
    if arch.is_http() && !is_url {
        return Some(format!(
            "{arch} boots by HTTP and needs a URL, such as http://{{server}}/{file}, found the name {file:?}"
        ));
    }
    let by_tftp = !arch.is_http() && (arch == Arch::BIOS || arch.is_uefi());
    // iPXE sends an architecture too, but it loads its script from any URL.
    (by_tftp && is_url && !is_ipxe_script(file))
        .then(|| format!("{arch} boots by TFTP and needs the name of a file, found the URL {file:?}"))
}

/// Reads the name of a boot file: a path relative to the images folder, or a URL. `{server}` is replaced when a
/// client asks. `longest` is the maximum length in bytes after that.
pub(in crate::config) fn boot_file_name(
    reader: &mut Reader,
    node: &Node,
    longest: usize,
) -> Option<Arc<str>> {
    named_file(reader, node, longest, false)
}

/// Reads the name of a file that only iPXE gets. iPXE expands its settings in it, such as `${net0/mac}`.
pub(in crate::config) fn ipxe_file_name(reader: &mut Reader, node: &Node) -> Option<Arc<str>> {
    named_file(reader, node, MAX_NAME, true)
}

fn named_file(reader: &mut Reader, node: &Node, longest: usize, only_ipxe: bool) -> Option<Arc<str>> {
    let text = reader.text(node, "the name of a boot file like snponly.efi, or a URL")?;
    let filled_in = text.replace(SERVER, LONGEST_SERVER).len();
    let problem = if filled_in > longest {
        Some(format!("expected a name of at most {longest} bytes, found {filled_in}"))
    } else if let Some((scheme, rest)) = text.split_once("://") {
        let known = ["http", "https", "tftp"].contains(&scheme.to_ascii_lowercase().as_str());
        (!known || rest.is_empty())
            .then(|| format!("expected a URL with http, https or tftp, found {text:?}"))
    } else if text.starts_with(['/', '\\']) {
        Some(format!("expected a name relative to the images folder, found the absolute path {text:?}"))
    } else if text.split(['/', '\\']).any(|part| part == "..") {
        Some(format!("expected a name inside the images folder, found {text:?} with `..` in it"))
    } else {
        None
    };
    match problem.or_else(|| setting_problem(text, only_ipxe)).or_else(|| template_problem(text)) {
        Some(message) => {
            reader.problem(node.id, message);
            None
        }
        None => Some(text.into()),
    }
}

/// The problem of `${…}` in a name. Only iPXE expands its settings, so the name must be one that only iPXE gets.
fn setting_problem(text: &str, only_ipxe: bool) -> Option<String> {
    if !text.contains("${") {
        return None;
    }
    if text.contains("${server}") {
        return Some(
            "expected {server} without $: it is lanboot's own address, not a setting of iPXE".to_owned(),
        );
    }
    (!only_ipxe && !is_ipxe_script(text)).then(|| {
        format!(
            "only iPXE expands ${{…}}, and firmware gets {text:?} too: name it in `boot.ipxe`, or as a script whose name ends \
             in .ipxe"
        )
    })
}

/// Describes the first mistake in the `{…}` of a name. Settings of iPXE (`${…}`) are not looked at.
fn template_problem(text: &str) -> Option<String> {
    let text = &without_settings(text);
    let mut parts = text.split('{');
    let before = parts.next().unwrap_or_default();
    if before.contains('}') {
        return Some(format!("a }} without its {{ in {text:?}"));
    }
    for part in parts {
        let Some((word, after)) = part.split_once('}') else {
            return Some(format!("a {{ without its }} in {text:?}"));
        };
        if after.contains('}') {
            return Some(format!("a }} without its {{ in {text:?}"));
        }
        if PLANNED_TEMPLATES.contains(&word) {
            return Some(format!("{{{word}}} is not implemented yet in this version"));
        }
        if !TEMPLATES.contains(&word) {
            let hint = suggestion(word, TEMPLATES.iter().copied())
                .unwrap_or_else(|| format!("; there is {{{}}}", TEMPLATES.join("}, {")));
            return Some(format!("unknown variable {{{word}}}{hint}"));
        }
    }
    None
}

/// The text without the settings of iPXE in it. A setting that does not end stays.
fn without_settings(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once("${") {
        let Some((_, behind)) = after.split_once('}') else { break };
        out.push_str(before);
        rest = behind;
    }
    out.push_str(rest);
    out
}
