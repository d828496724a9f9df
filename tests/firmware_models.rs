//! The models of firmware held to real firmware: machines in QEMU get good and broken replies, and each model must say
//! what its machine did.
//!
//! Needs root, QEMU and the firmware (`tests/run` installs them on Debian); skipped by name without, failed with
//! CI=true.

mod lab;
#[path = "lab/mangler.rs"]
mod mangler;
#[path = "lab/reply.rs"]
mod reply;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::Duration;

use lab::{one_at_a_time, ready};
use lanboot::cli::demo::lab::{self as demo, NETWORK, Network, OVMF, Running, SEABIOS, machine_with};
use lanboot::probe::models::{Firmware, Heard, Question, Verdict, judge};
use lanboot::types::{Escaped, MacAddr};
use lanboot::wire::option::code;
use mangler::{Answer, Asked, Event, Files, Mangler, Who, heard_by};
use reply::{OTHER, Reply, SERVER};

/// What a machine is answered, given what it asks and the address it is to get.
type Script = fn(&Asked, Ipv4Addr) -> Vec<Answer>;

/// A name for failures, and the answers.
type Case = (&'static str, Script);

/// The longest wait for one machine: EDK2 gives up after 64 s, and a busy computer is slow.
const LIMIT: Duration = Duration::from_secs(150);

/// A boot file that nobody has: to be asked for it is enough.
const FILE: &str = "dir/x.bin";

// ---- replies -------------------------------------------------------------------------------------------------------

fn one(reply: Reply) -> Vec<Answer> {
    vec![reply.answer()]
}

fn good(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE))
}

fn without_server_identifier(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).without(code::SERVER_IDENTIFIER))
}

/// The name in option 67 alone, without NUL, and more options behind it.
fn no_nul_in_67(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).edit(|reply| reply.message.file = [0; 128]);
    one(reply.without(code::BOOT_FILE_NAME).with(code::BOOT_FILE_NAME, FILE.as_bytes()).with(code::DOMAIN, b"lab"))
}

/// Option 43 with all of the items 1 to 5 and no other.
fn only_mtftp(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let mtftp = [1, 4, 224, 0, 1, 1, 2, 2, 6, 0, 3, 2, 7, 0, 4, 1, 2, 5, 1, 2, 255];
    one(Reply::pxe(asked, address, FILE).with(code::VENDOR_SPECIFIC, &mtftp))
}

/// Option 60 without 43, and nothing on port 4011.
fn no_43(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        Question::BootServer => vec![],
        _ => one(Reply::pxe(asked, address, FILE).without(code::VENDOR_SPECIFIC)),
    }
}

/// Option 60 without 43 and without a file, which is named on port 4011, on another server.
fn file_on_4011(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).without(code::VENDOR_SPECIFIC);
    match asked.question {
        Question::BootServer => one(reply.edit(|reply| {
            reply.message.yiaddr = Ipv4Addr::UNSPECIFIED;
            reply.message.siaddr = OTHER;
        })),
        _ => one(nameless(reply)),
    }
}

fn nameless(reply: Reply) -> Reply {
    reply.without(code::BOOT_FILE_NAME).edit(|reply| reply.message.file = [0; 128])
}

/// A file for another architecture than the machine's: iPXE for UEFI to a BIOS, PXELINUX for a BIOS to UEFI.
fn wrong_architecture(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, "wrong"))
}

fn only_in_header(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE);
    one(reply.without(code::BOOT_FILE_NAME).without(code::TFTP_SERVER_NAME))
}

fn only_in_options(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).edit(|reply| {
        reply.message.file = [0; 128];
        reply.message.sname = [0; 64];
    }))
}

fn header_and_67_differ(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).with(code::BOOT_FILE_NAME, b"from-67\0"))
}

/// siaddr is 0 and option 66 names another server than option 54 is.
fn no_siaddr(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).with(code::TFTP_SERVER_NAME, format!("{OTHER}\0").as_bytes());
    one(reply.edit(|reply| reply.message.siaddr = Ipv4Addr::UNSPECIFIED))
}

fn no_end(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).edit(|reply| reply.end = false))
}

/// One option with a length that it cannot have.
fn bad_length(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).with(code::ROUTER, &[192, 168, 77]))
}

fn no_mask(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).without(code::SUBNET_MASK))
}

fn no_file(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::plain(asked, address))
}

/// Another server's offer of a file, without an address.
fn proxy(asked: &Asked, file: Option<&str>) -> Reply {
    let reply = Reply::pxe(asked, Ipv4Addr::UNSPECIFIED, file.unwrap_or("-"));
    let reply = if file.is_some() { reply } else { nameless(reply).without(code::VENDOR_SPECIFIC) };
    reply.with(code::SERVER_IDENTIFIER, &OTHER.octets()).without(code::LEASE_TIME).edit(|reply| {
        reply.message.siaddr = OTHER;
        reply.from.set_ip(OTHER);
    })
}

fn beside_a_proxy(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        Question::Discover => vec![Reply::plain(asked, address).answer(), proxy(asked, Some(FILE)).answer()],
        _ => one(Reply::plain(asked, address)),
    }
}

fn beside_a_proxy_on_4011(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        Question::Discover => vec![Reply::plain(asked, address).answer(), proxy(asked, None).answer()],
        Question::Request => one(Reply::plain(asked, address)),
        Question::BootServer => one(proxy(asked, Some(FILE)).edit(|reply| reply.from.set_port(4011))),
    }
}

fn the_server_names_a_file_too(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let mut answers = vec![Reply::plain(asked, address).file("from-dhcp").answer()];
    answers.extend((asked.question == Question::Discover).then(|| proxy(asked, Some(FILE)).answer()));
    answers
}

fn only_a_proxy(asked: &Asked, _: Ipv4Addr) -> Vec<Answer> {
    one(proxy(asked, Some(FILE)))
}

fn told_of_no_proxy(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let server = Reply::plain(asked, address).file("from-dhcp").with(code::ETHERBOOT, &[176, 1, 1]);
    match asked.question {
        Question::Discover => vec![proxy(asked, Some(FILE)).answer(), server.answer()],
        _ => one(server),
    }
}

/// A menu whose first item is on the other server, taken at once.
const MENU: &[u8] = b"\x06\x01\x03\x08\x07\x00\x09\x01\xc0\xa8\x4d\x02\x09\x06\x00\x09\x03one\x0a\x02\x00?\xff";

fn menu(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        Question::BootServer => {
            let item = [71, 4, 0, 9, 0, 0, 255];
            one(proxy(asked, Some(FILE)).with(code::VENDOR_SPECIFIC, &item).edit(|reply| reply.from.set_port(4011)))
        }
        _ => one(nameless(Reply::pxe(asked, address, FILE)).with(code::VENDOR_SPECIFIC, MENU)),
    }
}

fn menu_nobody_answers(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    if asked.question == Question::BootServer { vec![] } else { menu(asked, address) }
}

fn url(asked: &Asked, address: Ipv4Addr, class: &[u8], url: &str) -> Reply {
    Reply::plain(asked, address).file(url).with(code::VENDOR_CLASS, class)
}

fn tftp_url(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(url(asked, address, b"PXEClient", "tftp://192.168.77.2/dir/x.bin"))
}

fn http_url(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(url(asked, address, b"HTTPClient", "http://192.168.77.2/dir/x.bin"))
}

// ---- what was seen, and whether the model says so ------------------------------------------------------------------

/// What a machine did after it had heard what it was answered.
#[derive(Debug, Default)]
struct Seen {
    /// Options 54 and 50 of its first REQUEST.
    requested: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Where it asked a boot server.
    boot_server: Option<SocketAddrV4>,
    /// The first file it asked for: how, from whom, its name.
    wanted: Option<(String, String, String)>,
    /// The error code on its screen.
    code: Option<String>,
}

fn seen(events: &[Event], machine: Who, address: Ipv4Addr) -> Seen {
    let mut seen = Seen::default();
    for event in events {
        match event {
            Event::Asked { who, question: Question::Request, server, address, .. } if *who == machine => {
                let none = Ipv4Addr::UNSPECIFIED;
                seen.requested = seen.requested.or(Some((server.unwrap_or(none), address.unwrap_or(none))));
            }
            Event::Asked { who, question: Question::BootServer, to, .. } if *who == machine => {
                seen.boot_server = seen.boot_server.or(Some(*to));
            }
            Event::Wanted { client, by, server, file } if *client == address => {
                let wanted = ((*by).to_owned(), server.to_string(), file.clone());
                seen.wanted = seen.wanted.or(Some(wanted));
            }
            _ => {}
        }
    }
    seen
}

/// Holds the model's verdict to what was seen; what it says wrongly, for people.
fn compare(firmware: Firmware, heard: &[Heard<'_>], seen: &Seen) -> Result<(), String> {
    let offers: Vec<Heard<'_>> = heard.iter().copied().filter(|h| h.question == Question::Discover).collect();
    let expected = match judge(firmware, &offers) {
        Verdict::Requests { server, address, .. } => Some((server, address)),
        _ => None,
    };
    if expected != seen.requested {
        return Err(format!("its REQUEST is to be {expected:?}"));
    }
    match judge(firmware, heard) {
        Verdict::AsksBootServer { to, unanswered, .. } => {
            if seen.boot_server != Some(to) {
                return Err(format!("it is to ask {to}"));
            }
            agrees(&unanswered, seen)
        }
        verdict => agrees(&verdict, seen),
    }
}

fn agrees(verdict: &Verdict, seen: &Seen) -> Result<(), String> {
    let wanted = match verdict {
        Verdict::Boots(boot) => {
            Some((boot.by.to_string(), boot.server.clone(), Escaped(&boot.file).to_string()))
        }
        _ => None,
    };
    if wanted != seen.wanted {
        return Err(format!("it is to want {wanted:?}: {verdict:?}"));
    }
    match (verdict, &seen.code) {
        (Verdict::Fails(failure), Some(code)) if failure.code.to_string() != *code => {
            Err(format!("it is to show {}", failure.code))
        }
        _ => Ok(()),
    }
}

// ---- SeaBIOS and iPXE ----------------------------------------------------------------------------------------------

/// Its first exchange brings this script, which then begins one after the other: 40 ms each where there is an answer.
/// What iPXE of 2019 keeps from the last exchange is cleared: it no longer does that (`dhcp_request_rx`).
const AGAIN: &str = "#!ipxe\n\
    :again\n\
    clear proxydhcp/filename ||\nclear proxydhcp/43 ||\nclear proxydhcp/60 ||\nclear pxebs/filename ||\n\
    clear net0.dhcp/filename ||\nclear net0.dhcp/43 ||\n\
    autoboot net0 ||\n\
    goto again\n";

const IPXE: [Case; 22] = [
    ("good", good),
    ("no 54", without_server_identifier),
    ("67 without NUL, no file in the header", no_nul_in_67),
    ("43 with MTFTP items only", only_mtftp),
    ("60 without 43", no_43),
    ("60 without 43, the file on port 4011", file_on_4011),
    ("only in the header", only_in_header),
    ("only in options 66 and 67", only_in_options),
    ("header and 67 differ", header_and_67_differ),
    ("siaddr 0, another server in 66", no_siaddr),
    ("no END", no_end),
    ("an option of bad length", bad_length),
    ("no subnet mask", no_mask),
    ("no file", no_file),
    ("beside a proxy", beside_a_proxy),
    ("beside a proxy that wants port 4011", beside_a_proxy_on_4011),
    ("the DHCP server names a file too", the_server_names_a_file_too),
    ("told that there is no proxy", told_of_no_proxy),
    ("a TFTP URL", tftp_url),
    ("a menu", menu),
    ("a menu whose server is silent", menu_nobody_answers),
    // The last: a BIOS's iPXE takes a UEFI program for one of its own and is heard of no more.
    ("wrong architecture", wrong_architecture),
];

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x77, 0, 0x51]);

fn network() -> Network {
    let network = Network::new(&format!("{SERVER}/24")).unwrap();
    network.namespace().ip(&format!("addr add {OTHER}/24 dev {}", demo::BRIDGE)).unwrap();
    network
}

fn address_of(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, 100 + u8::try_from(number).unwrap())
}

#[test]
fn the_model_of_ipxe_says_what_seabios_with_ipxe_does() {
    if !ready("firmware_models ipxe", &[NETWORK, SEABIOS, OVMF]) {
        return;
    }
    let _alone = one_at_a_time();
    let network = network();
    let script = |asked: &Asked| {
        let address = address_of(asked.session);
        match asked.session.checked_sub(1) {
            None => one(Reply::pxe(asked, address, "again.ipxe")),
            Some(case) => IPXE.get(case).map_or_else(Vec::new, |(_, script)| script(asked, address)),
        }
    };
    let wrong = std::fs::read(demo::SNPONLY).unwrap();
    let files = Files::from([("again.ipxe".to_owned(), AGAIN.into()), ("wrong".to_owned(), wrong)]);
    let mangler = Mangler::new(network.namespace(), &[SERVER, OTHER], files, Box::new(script));
    let folder = tempfile::tempdir().unwrap();
    let mut console =
        machine_with(&network, demo::Firmware::SeaBios, &MAC.to_string(), folder.path(), &[]).unwrap();
    let last = address_of(IPXE.len());
    let is_over = |events: &[Event]| {
        events.iter().any(|event| matches!(event, Event::Wanted { client, .. } if *client == last))
    };
    let done = mangler.wait(LIMIT, is_over);
    assert!(done, "not all was asked:\n{}\n{}", mangler.story(), console.drain());
    let hung = !mangler.wait(Duration::from_secs(5), |events| {
        events.iter().any(|event| matches!(event, Event::Asked { who: (_, session), .. } if *session > IPXE.len()))
    });
    assert!(hung, "a program for another architecture does no harm:\n{}", mangler.story());
    let events = mangler.events();
    let mut wrong = Vec::new();
    for (session, (name, _)) in (1..).zip(IPXE) {
        let who = (MAC, session);
        let seen = seen(&events, who, address_of(session));
        if let Err(why) = compare(Firmware::Ipxe, &heard_by(&events, who), &seen) {
            wrong.push(format!("{session} {name}: {why}; but {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), mangler.story(), console.drain());
}

// ---- OVMF ----------------------------------------------------------------------------------------------------------

/// One broken reply for each of EDK2's four tries: none is kept.
fn nothing_to_keep(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.count {
        1 => without_server_identifier(asked, address),
        2 => only_mtftp(asked, address),
        3 => bad_length(asked, address),
        _ => no_end(asked, address),
    }
}

const UEFI_PXE: [Case; 17] = [
    // The longest first: EDK2 waits 4, 8, 16 and 32 s.
    ("no 54, then 43 with MTFTP items only, then an option of bad length, then no END", nothing_to_keep),
    ("no file", no_file),
    ("only a proxy", only_a_proxy),
    ("60 without 43", no_43),
    ("good", good),
    ("67 without NUL, no file in the header", no_nul_in_67),
    ("60 without 43, the file on port 4011", file_on_4011),
    ("wrong architecture", wrong_architecture),
    ("only in the header", only_in_header),
    ("only in options 66 and 67", only_in_options),
    ("header and 67 differ", header_and_67_differ),
    ("siaddr 0, another server in 66", no_siaddr),
    ("no subnet mask", no_mask),
    ("beside a proxy", beside_a_proxy),
    ("beside a proxy that wants port 4011", beside_a_proxy_on_4011),
    ("the DHCP server names a file too", the_server_names_a_file_too),
    ("a menu", menu),
];

const UEFI_HTTP: [Case; 2] = [("good", http_url), ("a TFTP URL", tftp_url)];

/// Machines at the same time: a machine that waits in its firmware keeps a core busy.
const AT_ONCE: usize = 2;

#[test]
fn the_models_of_uefi_say_what_ovmf_does() {
    if !ready("firmware_models uefi", &[NETWORK, OVMF]) {
        return;
    }
    let _alone = one_at_a_time();
    // Without PXE, HTTP boot is the first thing that OVMF tries.
    const NO_PXE: [&str; 4] = [
        "-fw_cfg",
        "name=opt/org.tianocore/IPv4PXESupport,string=n",
        "-fw_cfg",
        "name=opt/org.tianocore/IPv6PXESupport,string=n",
    ];
    let cases = UEFI_PXE.map(|case| (Firmware::Edk2Pxe, case, &[][..]));
    let cases = cases.into_iter().chain(UEFI_HTTP.map(|case| (Firmware::Edk2Http, case, &NO_PXE[..])));
    let cases: Vec<(Firmware, Case, &[&str])> = cases.collect();
    let network = network();
    let scripts: Vec<Script> = cases.iter().map(|(_, (_, script), _)| *script).collect();
    let answers = move |asked: &Asked| {
        let number = usize::from(asked.mac.0[5]);
        scripts.get(number).map_or_else(Vec::new, |script| script(asked, address_of(number)))
    };
    let files = Files::from([("wrong".to_owned(), vec![0x90; 40_000])]);
    let mangler = Mangler::new(network.namespace(), &[SERVER, OTHER], files, Box::new(answers));
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong: Vec<String> = thread::scope(|scope| {
        let worker = || {
            let mut wrong = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some((firmware, (name, _), arguments)) = cases.get(number) else { return wrong };
                if let Err(why) = boot_uefi(&network, &mangler, folder.path(), number, *firmware, arguments) {
                    wrong.push(format!("{number} {firmware} {name}: {why}"));
                }
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), mangler.story());
}

/// Boots machine `number` until it wants a file or gives up, and compares.
fn boot_uefi(
    network: &Network,
    mangler: &Mangler,
    folder: &Path,
    number: usize,
    firmware: Firmware,
    arguments: &[&str],
) -> Result<(), String> {
    let mac = MacAddr([0x52, 0x54, 0, 0x77, 1, u8::try_from(number).unwrap()]);
    let address = address_of(number);
    let ovmf = demo::Firmware::Ovmf;
    let mut console = machine_with(network, ovmf, &mac.to_string(), folder, arguments).unwrap();
    let over = mangler.wait(LIMIT, |events| {
        let wants = |event: &Event| matches!(event, Event::Wanted { client, .. } if *client == address);
        events.iter().any(wants) || shown(&mut console).is_some()
    });
    let events = mangler.events();
    let heard = heard_by(&events, (mac, 0));
    let mut seen = seen(&events, (mac, 0), address);
    seen.code = shown(&mut console).filter(|_| seen.wanted.is_none());
    if !over {
        return Err(format!("it neither loads nor gives up: {seen:?}"));
    }
    compare(firmware, &heard, &seen).map_err(|why| format!("{why}; but {seen:?}"))
}

/// The code on the screen of a machine that gave up.
fn shown(console: &mut Running) -> Option<String> {
    let screen = console.drain();
    if screen.contains("  Error: ") {
        return Some("HTTP boot error".to_owned());
    }
    let at = screen.find("PXE-E")?;
    screen.get(at..at + "PXE-E00".len()).map(str::to_owned)
}
