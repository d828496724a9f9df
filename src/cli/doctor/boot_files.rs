//! Judges the boot files that the configuration names, and the DHCP servers that answered beside lanboot.

use super::facts::{DhcpServer, Facts};
use super::finding::{Finding, word};
use super::network::served;
use crate::boot::name::BootName;
use crate::boot::plan::Mode;
use crate::cli::check::{at_key, boot_files};
use crate::cli::config_file::Loaded;
use crate::config::{self, Problem};
use crate::images::Catalog;
use crate::images::add::sets::set_with;
use crate::images::signature::read_marks;
use crate::types::FileKind;

/// Loaders that are missing, cannot be started by their clients, or are not signed. This reads the images folder.
pub(super) fn loaders(loaded: &Loaded) -> Vec<Finding> {
    let images = loaded.config.images.display().to_string();
    let mut found = Vec::new();
    for file in boot_files::missing(loaded) {
        let (name, clients) = (&file.name, &file.clients);
        found.push(Finding::problem(
            "loader_missing",
            format!("no file {name:?} in {images}, which {clients} would ask for (`{}`)", file.wanted_by),
            "the machine gets the name of a file that is not there: PXE-E23, PXE-T01 or HTTP 404",
            add(loaded, name, ""),
        ));
    }
    let all = config::missing_files(&loaded.config, |_| false);
    for problem in boot_files::unstartable(loaded) {
        let name = all.iter().find(|file| file.wanted_by == problem.path).map(|file| &*file.name);
        found.push(Finding::problem(
            "loader_wrong",
            format!("{} (`{}`)", problem.message, problem.path),
            "the firmware loads the file and cannot start it",
            add(loaded, name.unwrap_or("FILE"), " --force"),
        ));
    }
    found.extend(unsigned(loaded, &all));
    found
}

/// EFI programs without a signature, once each.
fn unsigned(loaded: &Loaded, all: &[config::MissingFile]) -> Vec<Finding> {
    let Ok(catalog) = Catalog::open(&loaded.config.images) else { return Vec::new() };
    let is_unsigned = |name: &str| -> Option<bool> {
        let name = BootName::parse(name.as_bytes()).ok()?;
        let is_program = matches!(catalog.kind(&name)?, FileKind::EfiProgram(_));
        let open = catalog.open_file(&name).ok().filter(|_| is_program)?;
        Some(read_marks(&open.file).ok()??.signed_by.is_empty())
    };
    let named =
        all.iter().filter(|file| file.wanted_by.starts_with("boot.") || file.wanted_by.contains("boot"));
    let mut names: Vec<&str> = named.map(|file| &*file.name).collect();
    names.sort_unstable();
    names.dedup();
    let finding = |name: &str| {
        Finding::note(
            "loader_unsigned",
            format!("{name:?} is not signed"),
            "machines with Secure Boot refuse it: \"Access Denied\" or \"Security Violation\"",
            add(loaded, "shimx64.efi", "").replace("images add shim", "images add shim grub"),
        )
    };
    names.into_iter().filter(|name| is_unsigned(name) == Some(true)).map(finding).collect()
}

/// The command that adds the file `name` to the images folder.
fn add(loaded: &Loaded, name: &str, more: &str) -> String {
    let config = word(&loaded.path.display().to_string());
    match set_with(name) {
        Some(set) => format!("lanboot images add {set}{more} --config {config}"),
        None => {
            format!("lanboot images add ./{} --name {}{more} --config {config}", word(last(name)), word(name))
        }
    }
}

fn last(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// DHCP servers that answered on networks of lanboot, and networks of a proxy on which none answered.
pub(super) fn servers(loaded: &Loaded, facts: &Facts, is_running: bool) -> Vec<Finding> {
    let Some(settings) = &loaded.config.dhcp else { return Vec::new() };
    let own = |server: &DhcpServer| {
        facts.interfaces.iter().any(|interface| interface.addresses.contains(&server.server))
    };
    let mut found = Vec::new();
    for server in facts.servers.iter().filter(|server| !own(server)) {
        let DhcpServer { interface, server, offered } = server;
        match (settings.modes.on(interface), offered) {
            (Some(Mode::Server), Some(offered)) => found.push(Finding::problem(
                "other_dhcp_server",
                format!("the DHCP server {server} answers on {interface} too; it offered {offered}"),
                "machines may take its offer, which has no boot file (PXE-E53), or an address that is in use",
                to_proxy(loaded, interface, is_running),
            )),
            (Some(_), None) => found.push(Finding::note(
                "other_boot_server",
                format!("{server} offers boot files on {interface} too, without addresses (proxyDHCP)"),
                "machines take the boot file of the server that answers first",
                format!("lanboot probe --interface {}", word(interface)),
            )),
            _ => {}
        }
    }
    for interface in served(&loaded.config, facts) {
        let name = &*interface.name;
        let is_silent = facts.asked.iter().any(|asked| asked == name)
            && facts.servers.iter().all(|server| server.interface != name || server.offered.is_none());
        // A server on this computer does not hear what this computer broadcasts by a packet socket.
        let here =
            facts.holders.iter().any(|holder| holder.key == "dhcp.ports.server" || holder.libvirt.is_some());
        if is_silent && !here && settings.modes.on(name) == Some(Mode::Proxy) {
            found.push(Finding::note(
                "no_dhcp_server",
                format!("no DHCP server answers on {name}, where lanboot only adds boot files (proxy)"),
                "machines get no address: PXE-E51",
                format!("lanboot probe --interface {}", word(name)),
            ));
        }
    }
    found
}

/// The command that leaves the addresses of `interface` to the other server: it edits the line of `dhcp.mode`.
fn to_proxy(loaded: &Loaded, interface: &str, is_running: bool) -> String {
    let modes = loaded.config.dhcp.as_ref().map(|settings| &settings.modes.by_interface);
    let name = match modes {
        Some(modes) if modes.contains_key(interface) => interface,
        Some(modes) if !modes.is_empty() => "default",
        _ => "mode",
    };
    let key = if name == "mode" { "dhcp.mode".to_owned() } else { format!("dhcp.mode.{name}") };
    let Some(Problem { file, line, .. }) = at_key(loaded, &key, String::new()).pop() else {
        return format!("lanboot probe --interface {}", word(interface));
    };
    let file = word(&file.map_or_else(|| loaded.path.display().to_string(), |file| file.to_string()));
    let edit = format!("sed -i -E {} {file}", word(&format!("{line}s/({name}: *)server/\\1proxy/")));
    match is_running {
        true => format!("{edit} && lanboot reload --config {}", word(&loaded.path.display().to_string())),
        false => edit,
    }
}
