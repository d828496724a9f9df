//! Simulates the boot of one machine, from its DISCOVER to the last file that the models can predict. `mod.rs` calls it
//! for each client. It opens no socket, and reads files only in the images folder.

use std::net::Ipv4Addr;

use super::route::{has_router, host, without_route};
use super::site::{Reply, Site};
use crate::boot::machine_boot::is_ipxe_script;
use crate::boot::plan::Mode;
use crate::config;
use crate::dhcp::engine::Engine;
use crate::event::DropReason;
use crate::images::Content;
use crate::images::kind::read_kind;
use crate::probe::models::{
    Boot, Code, Failure, Firmware, Loader, ModelClient, Protocol, RequestKind, Verdict, next, run,
};
use crate::types::{Arch, Escaped, FileKind};

/// Maximum number of requests in one exchange: address, confirmation, boot file, menu item, and some to spare.
const MAX_QUESTIONS: usize = 6;
/// Maximum length of a chain of loaders. The longest known chain is shim and GRUB.
const MAX_STAGES: usize = 4;

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// The code of a boot whose file cannot start on the client. There is no common text on the screen: some machines show
/// a message, others hang.
pub(super) const DOES_NOT_START: &str = "the file does not start";

/// A file that the boot loads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// The name of the firmware or loader that loads the file.
    pub(super) who: &'static str,
    pub(super) by: Protocol,
    /// The server's address or name, with its port if the URL has one.
    pub(super) server: String,
    /// Whether the server is lanboot.
    pub(super) is_ours: bool,
    pub(super) file: String,
}

/// The end of a boot, as far as the models can predict it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// All files exist.
    Boots,
    /// A menu waits for a person to choose.
    Waits,
    /// The menu boots the machine's own disk.
    LocalDisk,
    /// The machine, or a class that it is in, is ignored.
    Ignored,
    /// The machine does not boot.
    Fails(BootFailure),
}

/// The reason why a machine does not boot, with advice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BootFailure {
    /// The error code or text on the machine's screen.
    pub(super) code: String,
    pub(super) why: String,
    /// The change that solves it.
    pub(super) advice: String,
}

/// The result of a simulated boot: the files that it loads, its end, and remarks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rehearsal {
    pub(super) steps: Vec<Step>,
    pub(super) ending: Ending,
    pub(super) notes: Vec<String>,
}

/// Simulates the boot of `asker` at `site`; `is_listed` says that it has an entry in `machines`. Returns `None` if the
/// configuration excludes such a client by design.
pub(super) fn rehearse(site: &Site, asker: &ModelClient, is_listed: bool) -> Option<Rehearsal> {
    let mut course = Course { site, engine: site.engine(), steps: Vec::new(), notes: Vec::new() };
    let ending = match exchange(site, asker, &mut course.engine) {
        Answered::Refused(DropReason::Ignored) => Ending::Ignored,
        Answered::Refused(reason) if is_by_design(reason) => return None,
        // The pools are for other classes of clients.
        Answered::Refused(DropReason::NotAdmitted) if !is_listed => return None,
        Answered::Refused(reason) => Ending::Fails(refused(asker, reason)),
        Answered::Verdict(verdict) => course.follow(asker, verdict),
    };
    Some(Rehearsal { steps: course.steps, ending, notes: course.notes })
}

enum Answered {
    Verdict(Verdict),
    /// lanboot did not answer the first request.
    Refused(DropReason),
}

/// Exchanges requests and replies until the machine has decided.
fn exchange(site: &Site, asker: &ModelClient, engine: &mut Engine) -> Answered {
    let (mut replies, refused) = site.ask(&asker.discover(), RequestKind::Discover, engine);
    if let Some(reason) = refused {
        return Answered::Refused(reason);
    }
    let mut own = None;
    for _ in 0..MAX_QUESTIONS {
        let verdict = run_model(asker.firmware, &replies);
        let (request, kind, unanswered) = match verdict {
            Verdict::Requests { server, address, unanswered } => {
                own = Some(address);
                (asker.request(server, address), RequestKind::Request, Verdict::Fails(unanswered))
            }
            Verdict::AsksBootServer { to, item, unanswered } => {
                let address = own.unwrap_or(Ipv4Addr::UNSPECIFIED);
                // Only lanboot listens on port 4011.
                if !site.addresses.contains(to.ip()) && !to.ip().is_broadcast() {
                    return Answered::Verdict(*unanswered);
                }
                (asker.boot_server(address, *to.ip(), item), RequestKind::BootServer, *unanswered)
            }
            decided => return Answered::Verdict(decided),
        };
        let before = replies.len();
        replies.extend(site.ask(&request, kind, engine).0);
        if replies.len() == before {
            return Answered::Verdict(unanswered);
        }
    }
    Answered::Verdict(run_model(asker.firmware, &replies))
}

fn run_model(firmware: Firmware, replies: &[Reply]) -> Verdict {
    let heard: Vec<_> = replies.iter().map(Reply::heard).collect();
    run(firmware, &heard)
}

/// Whether the drop is no failure, because the configuration excludes such clients.
fn is_by_design(reason: DropReason) -> bool {
    matches!(reason, DropReason::BootpRefused | DropReason::NotNetboot)
}

fn refused(asker: &ModelClient, reason: DropReason) -> BootFailure {
    let (why, advice) = match reason {
        DropReason::PoolExhausted => (
            "no address is left for it".to_owned(),
            "give the subnet a pool, or the machine an address".to_owned(),
        ),
        DropReason::NotAdmitted => (
            "no pool is for clients of its class".to_owned(),
            "give the subnet a pool for its class, or the machine an address".to_owned(),
        ),
        DropReason::NoBootFile => ("no boot file is mapped for it".to_owned(), map_a_file(asker)),
        _ => (format!("lanboot does not answer: reason={}", reason.name()), map_a_file(asker)),
    };
    let code = if asker.firmware == Firmware::BootAgent { Code::E51 } else { Code::E18 };
    let code =
        if matches!(asker.firmware, Firmware::BootAgent | Firmware::Edk2Pxe) { code } else { Code::Silent };
    BootFailure { code: code.to_string(), why, advice }
}

/// Advice that names the key of config.yaml for this client's boot file.
fn map_a_file(asker: &ModelClient) -> String {
    match asker.firmware {
        Firmware::Ipxe => format!("name a script in boot.ipxe, or a file in boot.arch.{}", asker.arch),
        Firmware::Bootp => "name a file in boot.bootp or boot.arch.bios".to_owned(),
        _ => format!("name a file in boot.arch.{}", asker.arch),
    }
}

/// A boot in progress.
struct Course<'s> {
    site: &'s Site,
    /// The server, with the state from earlier stages of this boot.
    engine: Engine,
    steps: Vec<Step>,
    notes: Vec<String>,
}

impl Course<'_> {
    fn follow(&mut self, asker: &ModelClient, verdict: Verdict) -> Ending {
        match verdict {
            Verdict::Boots(boot) => self.load(asker, &boot),
            Verdict::WaitsForUser => Ending::Waits,
            Verdict::BootsLocally => Ending::LocalDisk,
            Verdict::Fails(failure) => Ending::Fails(self.failure(asker, failure)),
            // `exchange` normally continues after these two.
            Verdict::Requests { unanswered, .. } => Ending::Fails(self.failure(asker, unanswered)),
            Verdict::AsksBootServer { unanswered, .. } => self.follow(asker, *unanswered),
        }
    }

    fn failure(&self, asker: &ModelClient, failure: Failure) -> BootFailure {
        let advice = match failure.code {
            Code::E55 => "UDP port 4011 must reach lanboot".to_owned(),
            Code::E16 | Code::E52 if self.site.mode == Mode::Proxy => {
                format!("{}; or let lanboot give the addresses (dhcp.mode: server)", map_a_file(asker))
            }
            _ if self.site.mode == Mode::Proxy && asker.firmware == Firmware::UBoot => {
                "U-Boot takes no word of a proxy: have the DHCP server name this computer as next server (siaddr), or \
                 let lanboot give the addresses (dhcp.mode: server)"
                    .to_owned()
            }
            _ => map_a_file(asker),
        };
        BootFailure { code: failure.code.to_string(), why: failure.why, advice }
    }

    /// Predicts how a client loads its boot file, and the loaders that follow.
    fn load(&mut self, asker: &ModelClient, boot: &Boot) -> Ending {
        let name = Escaped(&boot.file).to_string();
        let is_ours = self.push(asker.firmware.name(), boot.by, &boot.server, &boot.file);
        let reached = self.is_reached(boot, &boot.server, is_ours);
        if let Err(failure) = reached.and_then(|()| self.is_served(asker, boot, is_ours)) {
            return Ending::Fails(failure);
        }
        let found = if is_ours { self.site.file(asker, &boot.file) } else { None };
        let kind = found.as_ref().and_then(kind_of);
        // Programs that a Raspberry Pi or U-Boot loads use no DHCP replies. Scripts are not parsed.
        let is_ipxe = asker.firmware == Firmware::Ipxe;
        let is_last = match kind {
            _ if asker.firmware == Firmware::UBoot || asker.is_raspberry_pi() => true,
            None | Some(FileKind::IpxeScript) => is_ipxe,
            Some(FileKind::LinuxKernel) => is_ipxe && asker.arch == Arch::BIOS,
            Some(_) => is_ipxe && is_ipxe_script(&name),
        };
        if is_last {
            return Ending::Boots;
        }
        let foreign =
            kind.and_then(|kind| Some((kind, config::unstartable_reason(asker.arch, &name, kind)?)));
        if let Some((kind, starts)) = foreign {
            let why = format!("{name} is {kind}, but {} starts {starts}", asker.arch);
            let advice = format!(
                "name one for {} where this one is named: boot.arch, its machine, or boot.menu",
                asker.arch
            );
            return Ending::Fails(BootFailure { code: DOES_NOT_START.to_owned(), why, advice });
        }
        let loader = match kind {
            Some(FileKind::BiosIpxe) => Some(Loader::Ipxe),
            Some(FileKind::BiosPxelinux) => Some(Loader::Pxelinux),
            _ => Loader::of_file(&name),
        };
        match loader {
            Some(Loader::Ipxe) if is_ipxe => Ending::Boots,
            Some(Loader::Ipxe) => self.chain_to_ipxe(asker),
            Some(loader) => self.chain(asker, loader, boot),
            None => Ending::Boots,
        }
    }

    fn push(&mut self, who: &'static str, by: Protocol, server: &str, file: &[u8]) -> bool {
        let is_ours = host(server).is_some_and(|address| self.site.addresses.contains(&address));
        let file = Escaped(file).to_string();
        self.steps.push(Step { who, by, server: server.to_owned(), is_ours, file });
        is_ours
    }

    /// Checks that the machine has a route to `server`, from the replies that it kept.
    fn is_reached(&mut self, boot: &Boot, server: &str, is_ours: bool) -> Result<(), BootFailure> {
        let Some((server, network)) = without_route(&boot.kept.ack, server) else {
            let assumed = self.site.assumed.filter(|_| is_ours && !has_router(&boot.kept.ack));
            if let Some(network) = assumed {
                let note = format!(
                    "it has no router, so this computer needs an address in {network}; none of the interfaces here has one"
                );
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
            return Ok(());
        };
        let advice = match is_ours {
            true => format!("give this computer an address in {network}, or that subnet the option `router`"),
            false => "give the subnet the option `router`".to_owned(),
        };
        Err(BootFailure {
            code: "no route to the server".to_owned(),
            why: format!("its server {server} is not in its network {network}, and it is given no router"),
            advice,
        })
    }

    /// Checks that lanboot serves the file, and that the announced size is right.
    fn is_served(&mut self, asker: &ModelClient, boot: &Boot, is_ours: bool) -> Result<(), BootFailure> {
        if !is_ours {
            self.notes.push(format!("{boot} is not on this server and was not looked at"));
            return Ok(());
        }
        let name = Escaped(&boot.file).to_string();
        if boot.by == Protocol::Tftp && !self.site.tftp {
            let advice = "switch tftp on".to_owned();
            return Err(BootFailure {
                code: "no TFTP server".to_owned(),
                why: "tftp is off".to_owned(),
                advice,
            });
        }
        let port = boot.server.split_once(':').map_or(Some(HTTP_PORT), |(_, port)| port.parse().ok());
        if boot.by == Protocol::Http && self.site.http != port {
            return Err(BootFailure {
                code: "no HTTP server".to_owned(),
                why: format!("nobody serves {boot}"),
                advice: "switch http on, or name the port in the URL that it has".to_owned(),
            });
        }
        let Some(content) = self.site.file(asker, &boot.file) else {
            return Err(BootFailure {
                code: not_found(asker.firmware).to_owned(),
                why: format!("there is no file {name} in the images folder"),
                advice: "put it there, or name another one".to_owned(),
            });
        };
        match boot.announced {
            Some(size) if size != content.size() => Err(BootFailure {
                code: Code::E05.to_string(),
                why: format!("option 13 announces {size} bytes, and {name} has {}", content.size()),
                advice: "remove option 13 from the configuration".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Simulates iPXE as the next stage. It asks for an address again, and gets its script.
    fn chain_to_ipxe(&mut self, asker: &ModelClient) -> Ending {
        let ipxe = ModelClient { firmware: Firmware::Ipxe, ..*asker };
        match exchange(self.site, &ipxe, &mut self.engine) {
            Answered::Refused(reason) => Ending::Fails(refused(&ipxe, reason)),
            Answered::Verdict(verdict) => self.follow(&ipxe, verdict),
        }
    }

    /// Simulates loaders that read the firmware's replies, and the files that they load.
    fn chain(&mut self, asker: &ModelClient, first: Loader, boot: &Boot) -> Ending {
        let mut loader = first;
        for _ in 0..MAX_STAGES {
            let what = match next(loader, boot) {
                None => return Ending::Boots,
                Some(Ok(what)) => what,
                Some(Err(why)) => return Ending::Fails(self.loader_failure(loader, why)),
            };
            let is_ours = self.push(loader.name(), what.by, &what.server, &what.file);
            if let Err(failure) = self.is_reached(boot, &what.server, is_ours) {
                return Ending::Fails(failure);
            }
            if !is_ours && self.site.mode == Mode::Proxy {
                let why = format!("it asks {}, which is the DHCP server, for its files", what.server);
                return Ending::Fails(self.loader_failure(loader, why));
            }
            if is_ours && self.site.file(asker, &what.file).is_none() {
                let name = Escaped(&what.file).to_string();
                // The folder is built into each GRUB, so another build may use another one.
                if loader == Loader::Grub {
                    self.notes.push(format!("there is no {name}: fine if this GRUB's folder is another one"));
                    return Ending::Boots;
                }
                let why = format!("{} needs {name}, which is not in the images folder", loader.name());
                let advice = "put it there, beside the loader".to_owned();
                return Ending::Fails(BootFailure { code: "file not found".to_owned(), why, advice });
            }
            match loader {
                Loader::ShimX64 | Loader::ShimArm64 => loader = Loader::Grub,
                _ => return Ending::Boots,
            }
        }
        Ending::Boots
    }

    /// The trouble of a loader that starts but does not find its server or file.
    fn loader_failure(&self, loader: Loader, why: String) -> BootFailure {
        let advice = match self.site.mode {
            Mode::Proxy => {
                "have the DHCP server name this computer as next server (siaddr); load iPXE instead; or let \
                            lanboot give the addresses (dhcp.mode: server)"
            }
            Mode::Server => "look at the options that are set by number in config.yaml",
        };
        BootFailure { code: format!("{} stops", loader.name()), why, advice: advice.to_owned() }
    }
}

fn kind_of(content: &Content) -> Option<FileKind> {
    match content {
        Content::File(open) => read_kind(&open.file).ok(),
        Content::Short(short) => read_kind(&*short.bytes).ok(),
        Content::Text(_) => None,
    }
}

/// The text that a machine shows if its file does not exist.
fn not_found(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Edk2Pxe => "PXE-E23",
        Firmware::BootAgent => "PXE-T01",
        Firmware::Ipxe => "No such file or directory",
        Firmware::Edk2Http => "404 Not Found",
        _ => "file not found",
    }
}
