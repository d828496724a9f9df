//! The firmware models compared with real firmware. Machines in QEMU get good and broken replies, and each model must
//! predict the behaviour of its machine.
//!
//! Needs root, QEMU and the firmware, which `tests/run` installs on Debian. Without them the tests are skipped by name,
//! or fail with CI=true.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lanboot::cli::demo::network::{
    self as demo, NETWORK, Need, Network, OVMF, Running, SEABIOS, machine_with,
};
use lanboot::probe::models::{Firmware, Loader, ReceivedReply, RequestKind, Verdict, next, run};
use lanboot::types::{Escaped, MacAddr};
use support::firmware::BOOT_LIMIT;
use support::firmware::cases::*;
use support::firmware::mangler::{Asked, Event, Files, Mangler, Who, heard_by};
use support::firmware::reply::{OTHER, Reply, SERVER};
use support::one_at_a_time;
use support::site::ready;

/// Number of boots for one case before the model counts as wrong.
///
/// A machine on a busy computer loses replies. EDK2 chooses among the offers of 4 s, and a machine that gets no CPU for
/// that time never sees the reply to its first request. It then behaves differently from the model, which gets all
/// replies that were sent. The network does not show which replies a machine lost. A machine that loses none behaves
/// the same at every boot, so a wrong model disagrees with all boots.
const BOOTS: usize = 3;

// ---- observations, and the comparison with the model ----------------------------------------------------------------

/// The behaviour of a machine after it received the replies.
#[derive(Debug, Default)]
struct Seen {
    /// Options 54 and 50 of its first REQUEST.
    requested: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The boot server that it asked.
    boot_server: Option<SocketAddrV4>,
    /// The first file that it requested: the protocol, the server, and the name.
    wanted: Option<(String, String, String)>,
    /// The error code on its screen.
    code: Option<String>,
}

fn seen(events: &[Event], machine: Who, address: Ipv4Addr) -> Seen {
    let mut seen = Seen::default();
    for event in events {
        match event {
            Event::Asked { who, question: RequestKind::Request, server, address, .. } if *who == machine => {
                let none = Ipv4Addr::UNSPECIFIED;
                seen.requested = seen.requested.or(Some((server.unwrap_or(none), address.unwrap_or(none))));
            }
            Event::Asked { who, question: RequestKind::BootServer, to, .. } if *who == machine => {
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

/// Compares the model's verdict with the observations. An error describes the difference.
fn compare(firmware: Firmware, heard: &[ReceivedReply<'_>], seen: &Seen) -> Result<(), String> {
    if heard.is_empty() {
        return Err("it asked nothing".to_owned());
    }
    let offers: Vec<ReceivedReply<'_>> =
        heard.iter().copied().filter(|h| h.request == RequestKind::Discover).collect();
    let expected = match run(firmware, &offers) {
        Verdict::Requests { server, address, .. } => Some((server, address)),
        _ => None,
    };
    if expected != seen.requested {
        return Err(format!("its REQUEST is to be {expected:?}"));
    }
    match run(firmware, heard) {
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

/// The first exchange of iPXE loads this script, which then starts one exchange after another. An answered exchange
/// takes 40 ms. iPXE of 2019 keeps settings from the previous exchange, so the script clears them. Newer versions do
/// not keep them (`dhcp_request_rx`).
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
    ("learns that there is no proxy", learns_of_no_proxy),
    ("a TFTP URL", tftp_url),
    ("a menu", menu),
    ("a menu whose server is silent", menu_without_answer),
    // Must be last: the iPXE of a BIOS runs a UEFI program as if it were a BIOS program, and then hangs.
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
    let done = mangler.wait(BOOT_LIMIT, is_over);
    assert!(done, "not all was asked:\n{}\n{}", mangler.story(), console.screen());
    let hung = !mangler.wait(Duration::from_secs(5), |events| {
        events
            .iter()
            .any(|event| matches!(event, Event::Asked { who: (_, session), .. } if *session > IPXE.len()))
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
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), mangler.story(), console.screen());
}

// ---- OVMF ----------------------------------------------------------------------------------------------------------

const UEFI_PXE: [Case; 16] = [
    // Longest first: EDK2 waits 4, 8, 16 and 32 s.
    ("no 54, then 43 with MTFTP items only, then an option of bad length, then no END", nothing_to_keep),
    ("60 without 43", no_43),
    ("no file, then a proxy alone", a_proxy_that_comes_late),
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

const UEFI_HTTP: [Case; 2] = [("for PXE, then good", not_for_http_then_for_it), ("a TFTP URL", no_http_url)];

/// Machines that run at the same time. A machine that waits in its firmware keeps a core busy, but half a core is
/// enough for it to be in time.
const AT_ONCE: usize = 3;

#[test]
fn the_models_of_uefi_say_what_ovmf_does() {
    if !ready("firmware_models uefi", &[NETWORK, OVMF]) {
        return;
    }
    let _alone = one_at_a_time();
    // Without PXE, OVMF tries HTTP boot first.
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
        scripts.get(number % MOST_CASES).map_or_else(Vec::new, |script| script(asked, address_of(number)))
    };
    let files = Files::from([("wrong".to_owned(), vec![0x90; 40_000])]);
    let mangler = Mangler::new(network.namespace(), &[SERVER, OTHER], files, Box::new(answers));
    let folder = tempfile::tempdir().unwrap();
    let wrong = side_by_side(&cases, |number, (firmware, (name, _), arguments)| {
        boot_uefi(&network, &mangler, folder.path(), number, *firmware, arguments)
            .map_err(|why| format!("{number} {firmware} {name}: {why}"))
    });
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), mangler.story());
}

/// The most cases of one test. Machine `number` is for case `number % MOST_CASES`.
const MOST_CASES: usize = 40;

/// Tries all cases, some at the same time, and returns the failures. `run` boots the machine with a number. If it
/// disagrees, another machine with another address is booted for the same case.
fn side_by_side<T: Sync>(cases: &[T], run: impl Fn(usize, &T) -> Result<(), String> + Sync) -> Vec<String> {
    assert!(cases.len() <= MOST_CASES);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut wrong = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else { return wrong };
            let mut disagreed = Vec::new();
            while disagreed.len() < BOOTS {
                match run(number + disagreed.len() * MOST_CASES, case) {
                    Ok(()) => break,
                    Err(why) => disagreed.push(why),
                }
            }
            if disagreed.len() == BOOTS {
                wrong.append(&mut disagreed);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// The hardware address of machine `number`.
fn mac_of(number: usize) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 1, u8::try_from(number).unwrap()])
}

/// Boots machine `number` until it requests a file or gives up, and compares.
fn boot_uefi(
    network: &Network,
    mangler: &Mangler,
    folder: &Path,
    number: usize,
    firmware: Firmware,
    arguments: &[&str],
) -> Result<(), String> {
    let mac = mac_of(number);
    let address = address_of(number);
    let ovmf = demo::Firmware::Ovmf;
    let mut console = machine_with(network, ovmf, &mac.to_string(), folder, arguments).unwrap();
    let over = mangler.wait(BOOT_LIMIT, |events| {
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

/// The error code on the screen of a machine that gave up.
fn shown(console: &mut Running) -> Option<String> {
    let screen = console.screen();
    if screen.contains("  Error: ") {
        return Some("HTTP boot error".to_owned());
    }
    let at = screen.find("PXE-E")?;
    screen.get(at..at + "PXE-E00".len()).map(str::to_owned)
}

// ---- the loader, and the files that it loads
// -------------------------------------------------------------------------

const PXELINUX: Need = Need { what: "/usr/lib/PXELINUX/pxelinux.0", package: "pxelinux" };
const SYSLINUX_EFI: Need = Need { what: "/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi", package: "syslinux-efi" };
const GRUB: Need =
    Need { what: "/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi", package: "grub-efi-amd64-bin" };
const SHIM: Need = Need { what: "/usr/lib/shim/shimx64.efi", package: "shim-unsigned" };

/// Time for which a loader that must request nothing more is watched.
const QUIET: Duration = Duration::from_secs(40);

#[test]
fn the_model_of_pxelinux_says_what_it_does() {
    let cases: [Case; 7] = [
        ("good", good),
        ("only in the header", only_in_header),
        ("only in options 66 and 67", only_in_options),
        ("67 without NUL, no file in the header", no_nul_in_67),
        ("configuration file and prefix by DHCP", pxelinux_options),
        ("beside a proxy", beside_a_proxy),
        ("60 without 43, the file on port 4011", file_on_4011),
    ];
    if ready("firmware_models pxelinux", &[NETWORK, SEABIOS, &[PXELINUX]]) {
        loads(Loader::Pxelinux, PXELINUX, &cases);
    }
}

#[test]
fn the_model_of_syslinux_efi_says_what_it_does() {
    let cases: [Case; 3] =
        [("good", good), ("only in options", only_in_options), ("beside a proxy", beside_a_proxy)];
    if ready("firmware_models syslinux.efi", &[NETWORK, OVMF, &[SYSLINUX_EFI]]) {
        loads(Loader::SyslinuxEfi, SYSLINUX_EFI, &cases);
    }
}

#[test]
fn the_model_of_grub_says_what_it_loads() {
    let cases: [Case; 5] = [
        ("good", good),
        ("only in options 66 and 67", only_in_options),
        ("67 without NUL, no file in the header", no_nul_in_67),
        ("siaddr 0, another server in 66", no_siaddr),
        ("beside a proxy", beside_a_proxy),
    ];
    if ready("firmware_models grub", &[NETWORK, OVMF, &[GRUB]]) {
        loads(Loader::Grub, GRUB, &cases);
    }
}

#[test]
fn the_model_of_shim_says_what_it_loads() {
    let cases: [Case; 4] = [
        ("good", good),
        ("only in options 66 and 67", only_in_options),
        ("header and 67 differ", header_and_67_differ),
        ("beside a proxy", beside_a_proxy),
    ];
    if ready("firmware_models shim", &[NETWORK, OVMF, &[SHIM]]) {
        loads(Loader::ShimX64, SHIM, &cases);
    }
}

/// Has machines load the loader in each case, and compares its next requests.
fn loads(loader: Loader, file: Need, cases: &[Case]) {
    let _alone = one_at_a_time();
    let network = network();
    let scripts: Vec<Script> = cases.iter().map(|(_, script)| *script).collect();
    let answers = move |asked: &Asked| {
        let number = usize::from(asked.mac.0[5]);
        scripts.get(number % MOST_CASES).map_or_else(Vec::new, |script| script(asked, address_of(number)))
    };
    let bytes = std::fs::read(file.what).unwrap();
    let files = Files::from([(FILE.to_owned(), bytes.clone()), ("from-67".to_owned(), bytes)]);
    let mangler = Mangler::new(network.namespace(), &[SERVER, OTHER], files, Box::new(answers));
    let folder = tempfile::tempdir().unwrap();
    let wrong = side_by_side(cases, |number, (name, _)| {
        load(&network, &mangler, folder.path(), number, loader)
            .map_err(|why| format!("{number} {name}: {why}"))
    });
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), mangler.story());
}

fn load(
    network: &Network,
    mangler: &Mangler,
    folder: &Path,
    number: usize,
    loader: Loader,
) -> Result<(), String> {
    let (machine, firmware) = match loader {
        Loader::Pxelinux => (demo::Firmware::SeaBios, Firmware::Ipxe),
        _ => (demo::Firmware::Ovmf, Firmware::Edk2Pxe),
    };
    let (mac, address) = (mac_of(number), address_of(number));
    let mut console = machine_with(network, machine, &mac.to_string(), folder, &[]).unwrap();
    // The requested files, in order, each once.
    let wanted = |events: &[Event]| {
        let mut wanted: Vec<String> = events
            .iter()
            .filter_map(|event| match event {
                Event::Wanted { client, by, server, file } if *client == address => {
                    Some(format!("{by} {server} {file}"))
                }
                _ => None,
            })
            .collect();
        wanted.dedup();
        wanted
    };
    let loaded = mangler.wait(BOOT_LIMIT, |events| !wanted(events).is_empty());
    if !loaded {
        return Err(format!("it loads nothing\n{}", console.screen()));
    }
    let events = mangler.events();
    let Verdict::Boots(boot) = run(firmware, &heard_by(&events, (mac, 0))) else {
        return Err("the model loads nothing".to_owned());
    };
    let model = next(loader, &boot);
    match &model {
        Some(Ok(next)) => {
            let file = format!("{} {} {}", next.by, next.server, Escaped(&next.file));
            mangler.wait(BOOT_LIMIT, |events| wanted(events).contains(&file));
        }
        _ => _ = mangler.wait(QUIET, |events| wanted(events).len() > 1),
    }
    // A loader asks for several files one after the other.
    thread::sleep(Duration::from_secs(3));
    let seen = wanted(&mangler.events());
    let agrees = match &model {
        Some(Ok(next)) => {
            let file = format!("{} {} {}", next.by, next.server, Escaped(&next.file));
            let server = format!("{} {} ", next.by, next.server);
            seen.contains(&file) && seen.iter().skip(1).all(|wanted| wanted.starts_with(&server))
        }
        _ => seen.len() == 1,
    };
    if agrees { Ok(()) } else { Err(format!("it is to want {model:?}; but {seen:?}\n{}", console.screen())) }
}

// ---- GRUB's own DHCP -----------------------------------------------------------------------------------------------

const GRUB_DHCP: [Case; 14] = [
    ("good", good),
    ("67 without NUL, no file in the header", no_nul_in_67),
    ("43 with MTFTP items only", only_mtftp),
    ("60 without 43", no_43),
    ("only in the header", only_in_header),
    ("only in options 66 and 67", only_in_options),
    ("header and 67 differ", header_and_67_differ),
    ("siaddr 0, another server in 66", no_siaddr),
    ("no END", no_end),
    ("no END, and 67 is the last", no_end_after_67),
    ("sname holds options", overloaded_sname),
    ("an option of bad length", bad_length),
    ("no file", no_file),
    // Must be last: GRUB repeats its requests for 12 s.
    ("no 54", without_server_identifier),
];

/// GRUB sets variables from the first reply and never changes them again, so each case has a separate network card.
/// After each exchange GRUB requests a file whose name contains the variables.
fn grub_script() -> String {
    let cases = (0..=GRUB_DHCP.len()).map(|number| {
        let variables = ["mac", "next_server", "dhcp_server_name", "boot_file"]
            .map(|name| format!("$net_efinet{number}_dhcp_{name}"));
        format!("net_bootp efinet{number}\ncat (tftp,{SERVER})/seen,{}\n", variables.join(","))
    });
    cases.collect::<String>() + "cat (tftp,192.168.77.1)/end\n"
}

/// QEMU's arguments for one additional card for each case. The taps exist already.
fn further_cards(network: &Network) -> Vec<String> {
    let card = |number: usize| {
        let tap = format!("more{number}");
        for words in ["tuntap add TAP mode tap", "link set TAP master br0", "link set TAP up"] {
            network.namespace().ip(&words.replace("TAP", &tap)).unwrap();
        }
        [
            "-netdev".to_owned(),
            format!("tap,id={tap},ifname={tap},script=no,downscript=no"),
            "-device".to_owned(),
            // OVMF starts the card only if it has a place in the boot order.
            format!("virtio-net-pci,netdev={tap},mac={},romfile=,bootindex={}", mac_of(number), number + 1),
        ]
    };
    (0..GRUB_DHCP.len()).flat_map(card).collect()
}

#[test]
fn the_model_of_grub_says_what_its_own_dhcp_does() {
    if !ready("firmware_models grub_dhcp", &[NETWORK, OVMF, &[GRUB]]) {
        return;
    }
    let _alone = one_at_a_time();
    let network = network();
    let script = |asked: &Asked| {
        let number = GRUB_DHCP.len().min(usize::from(asked.mac.0[5]));
        match GRUB_DHCP.get(number).filter(|_| asked.mac == mac_of(number)) {
            Some((_, script)) => script(asked, address_of(number)),
            None => one(Reply::pxe(asked, address_of(GRUB_DHCP.len()), "grub")),
        }
    };
    let grub = std::fs::read(GRUB.what).unwrap();
    let files =
        Files::from([("grub".to_owned(), grub), ("grub/grub.cfg".to_owned(), grub_script().into_bytes())]);
    let mangler = Mangler::new(network.namespace(), &[SERVER, OTHER], files, Box::new(script));
    let folder = tempfile::tempdir().unwrap();
    let cards = further_cards(&network);
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    let mut console =
        machine_with(&network, demo::Firmware::Ovmf, &MAC.to_string(), folder.path(), &cards).unwrap();
    let is_end = |event: &Event| matches!(event, Event::Wanted { file, .. } if file == "/end");
    let done = mangler.wait(BOOT_LIMIT, |events| events.iter().any(is_end));
    assert!(done, "not all was asked:\n{}\n{}", mangler.story(), console.screen());
    let events = mangler.events();
    let mut wrong = Vec::new();
    for (number, (name, _)) in GRUB_DHCP.into_iter().enumerate() {
        let mac = mac_of(number);
        let start = format!("/seen,{mac},");
        let said = events.iter().find_map(|event| match event {
            Event::Wanted { file, .. } => file.strip_prefix(&start),
            _ => None,
        });
        let learnt: Vec<&str> = said.unwrap_or(",,").split(',').collect();
        let [siaddr, server_name, file] = learnt[..] else { panic!("{said:?}") };
        let server = if siaddr.is_empty() { server_name } else { siaddr };
        let heard = heard_by(&events, (mac, 0));
        assert!(!heard.is_empty(), "{name}: it asked nothing:\n{}\n{}", mangler.story(), console.screen());
        let model = match run(Firmware::GrubDhcp, &heard) {
            Verdict::Boots(boot) => (boot.server.clone(), Escaped(&boot.file).to_string()),
            _ => Default::default(),
        };
        if model != (server.to_owned(), file.to_owned()) {
            wrong.push(format!("{number} {name}: the model says {model:?}; but {learnt:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), mangler.story(), console.screen());
}
