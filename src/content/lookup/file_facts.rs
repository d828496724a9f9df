//! Looks into the boot file that an iPXE is about to get. Besides the size, this is the only fact from the disk that a
//! DHCP decision needs. DHCP calls it for every reply to an iPXE, so it reads no more than `images/ipxe.rs` does.

use std::net::Ipv4Addr;

use super::Files;
use crate::boot::fetch::{SERVER, Served};
use crate::boot::loader::target::{NextBoot, SCRIPT, is_url, local_path};
use crate::boot::name::BootName;
use crate::boot::policy::{Choice, Content};
use crate::content::machines::{KnownMachine, Standing};
use crate::content::requester::Requester;
use crate::dhcp::engine::MissingFile;
use crate::event::Refusal;
use crate::http;
use crate::images::OpenFile;
use crate::images::add::sets;
use crate::images::ipxe::ProgramInfo;
use crate::wire::dhcp::Message;
use crate::wire::pxe;

impl Files {
    /// The kind of the file in `choice`, for the iPXE that sent `message` to our address `server`.
    pub fn content_of(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Content {
        let uuid = pxe::machine_uuids(&message.options).and_then(|uuids| uuids.into_iter().next());
        let machine = KnownMachine { mac: message.mac(), uuid, ..KnownMachine::default() };
        let is_here = choice.server.is_none_or(|other| other == server);
        let boot_state = self.boot_state();
        let name = if is_here { name_of(&choice.file, server, boot_state.served()) } else { None };
        let Some(open) = name.and_then(|name| self.open_for(&name, &machine)) else {
            let makes_script = *choice.file == *SCRIPT;
            let is_usual = || boot_state.now(boot_state.machine(&machine)) == NextBoot::Default;
            return if makes_script && is_usual() { Content::NothingToStart } else { Content::Unknown };
        };
        match self.builds.inspect(&open.file) {
            Ok(ProgramInfo { is_ipxe: true, .. }) => Content::IpxeBuild,
            Ok(ProgramInfo { kind, .. }) => Content::Other(kind),
            Err(_) => Content::Unknown,
        }
    }

    /// Whether the file of `choice` is missing for the client that sent `message` to our address `server`.
    pub fn missing(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Option<MissingFile> {
        if choice.size.is_some()
            || *choice.file == *SCRIPT
            || choice.server.is_some_and(|other| other != server)
        {
            return None;
        }
        let boot_state = self.boot_state();
        let name = name_of(&choice.file, server, boot_state.served())?;
        let uuid = pxe::machine_uuids(&message.options).and_then(|uuids| uuids.into_iter().next());
        let machine = KnownMachine { mac: message.mac(), uuid, ..KnownMachine::default() };
        let folders = self.own_folders(&machine);
        let requester = Requester {
            address: Ipv4Addr::UNSPECIFIED.into(),
            server: server.into(),
            machine,
            standing: Standing::Certain,
            boot_state,
        };
        let found = self.find_name(&name, &requester, &folders, &requester.boot_state);
        let is_missing = matches!(found, Err(Refusal::NotFound))
            && self.absent.unless_absent(&name, || self.open_in_any_case(&name)).is_none();
        is_missing.then(|| MissingFile { set: sets::set_with(name.as_str()) })
    }

    /// Opens the file that [`Files::find`] finds for the machine; `None` for templates and generated text.
    fn open_for(&self, name: &BootName, machine: &KnownMachine) -> Option<OpenFile> {
        let own = self.own_folders(machine);
        let own = own.iter().map(|folder| name.in_folder(folder));
        let exact = own.chain([name.clone()]).find_map(|name| self.open(&name).ok().flatten());
        let found = exact.or_else(|| self.absent.unless_absent(name, || self.open_in_any_case(name)));
        found.filter(|open| !open.is_template())
    }
}

/// Converts a configured boot file, a name or a URL of this server, to a name relative to boot-images/. `None` for
/// a URL of another server.
fn name_of(written: &str, server: Ipv4Addr, served: Served) -> Option<BootName> {
    if !is_url(written) {
        return BootName::parse(written.as_bytes()).ok();
    }
    // The URL may contain our address instead of the placeholder.
    let (scheme, rest) = written.split_once("://")?;
    let rest = rest.strip_prefix(&server.to_string()).map(|rest| format!("{SERVER}{rest}"));
    let url = rest.map_or_else(|| written.to_owned(), |rest| format!("{scheme}://{rest}"));
    let path = local_path(&url, served)?.split('#').next()?;
    BootName::parse(&http::target::name(&format!("/{path}")).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::machines::MachineTable;
    use crate::content::once::BootState;
    use crate::images::Catalog;
    use crate::types::{FileKind, MacAddr, Rule};
    use crate::wire::dhcp::BOOTREQUEST;
    use std::fs;

    const SERVED_BY: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
    const BUILD: &[u8] = b"\xea\x05\0\xc0\x07 PXENV+ at ";

    fn request(n: u8) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, n]);
        message
    }

    #[test]
    fn r_02_content_is_that_of_the_file_that_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let yaml = "{dhcp: {mode: off}, http: {port: 8080}, targets: {t: {kernel: k}}, machines: [{mac: '02:00:00:00:00:01', once: \
                    local}, {mac: '02:00:00:00:00:02', boot: t}]}";
        let boot_state = BootState::in_memory(&crate::config::load(yaml).unwrap());
        let catalog = Catalog::open(folder.path()).unwrap();
        let files = Files::new(catalog, MachineTable::default()).with_boot_state(boot_state.clone());
        let of = |n: u8, name: &str| {
            files.content_of(&Choice::new(&name.into(), Rule::Ipxe), &request(n), SERVED_BY)
        };
        fs::write(folder.path().join("a b.kpxe"), BUILD).unwrap();
        fs::write(folder.path().join("page.j2"), "x").unwrap();
        for here in [
            "a b.kpxe",
            "/a b.kpxe",
            "A B.KPXE",
            "http://{server}:8080/a%20b.kpxe?mac=1#x",
            "HTTP://192.168.77.1:8080//a%20b.kpxe",
            "tftp://{server}/a%20b.kpxe",
        ] {
            assert_eq!(of(1, here), Content::IpxeBuild, "{here}");
        }
        for elsewhere in [
            "http://{server}/a%20b.kpxe",
            "https://{server}:8080/a%20b.kpxe",
            "http://192.168.77.10:8080/a%20b.kpxe",
            "http://192.168.77.2:8080/a%20b.kpxe",
            "none",
            "../a b.kpxe",
            "page",
        ] {
            assert_eq!(of(1, elsewhere), Content::Unknown, "{elsewhere}");
        }
        let other = Choice {
            server: Some(Ipv4Addr::new(10, 0, 0, 9)),
            ..Choice::new(&"a b.kpxe".into(), Rule::Ipxe)
        };
        assert_eq!(files.content_of(&other, &request(1), SERVED_BY), Content::Unknown);
        fs::create_dir(folder.path().join("02-00-00-00-00-01")).unwrap();
        fs::write(folder.path().join("02-00-00-00-00-01/a b.kpxe"), "\0\0").unwrap();
        assert_eq!(of(1, "a b.kpxe"), Content::Other(FileKind::Unknown), "its own file");
        assert_eq!(of(2, "a b.kpxe"), Content::IpxeBuild);
        assert_eq!(
            [1, 2, 3].map(|n| of(n, SCRIPT)),
            [Content::Unknown, Content::Unknown, Content::NothingToStart]
        );
        boot_state.done(MacAddr([2, 0, 0, 0, 0, 1]), &KnownMachine::default(), true).unwrap();
        assert_eq!(of(1, SCRIPT), Content::NothingToStart, "its `once` is over");
    }
}
