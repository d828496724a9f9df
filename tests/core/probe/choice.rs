//! The probe's choice of offers and of the servers that it asks next, in virtual time, against scripted servers: the
//! rules of EDK2, PXE 2.1 ROMs and iPXE for one server, two servers, proxies, boot servers on port 4011, and menus.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lanboot::probe::{
    Failure, Firmware, Input, Machine, Ports, Profile, Progress, Step, Timing, Transmit, Unusable,
};
use lanboot::types::{Arch, MacAddr, Timestamp};
use lanboot::wire::dhcp::{BOOTREPLY, Message, MessageType, padded};
use lanboot::wire::option::code;
use lanboot::wire::tftp::Packet;

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);
/// The server that gives addresses.
const DHCP: u8 = 1;
/// The proxy, which names boot files.
const PROXY: u8 = 2;
const PXE: [Firmware; 2] = [Firmware::BiosPxe, Firmware::Uefi];
/// Option 43 with the instruction to load the file at once.
const AT_ONCE: &[u8] = &[6, 1, 8, 255];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, last)
}

/// A machine, the time, and its requests so far.
struct Boot {
    machine: Machine,
    firmware: Firmware,
    now: Timestamp,
    asked: Message,
    /// Address of the last request to a boot server, and the port that it came from.
    asked_at: Option<(u16, SocketAddrV4)>,
    said: Vec<Progress>,
    wait_until: Option<Timestamp>,
    /// The file that the machine requested, by TFTP or HTTP.
    loads: Option<String>,
}

impl Boot {
    /// Switches on a machine that collects offers as its firmware does.
    fn start(firmware: Firmware) -> Boot {
        Boot::start_with(firmware, Timing { collect: firmware.collects_for(), timeout: None })
    }

    fn start_with(firmware: Firmware, timing: Timing) -> Boot {
        let arch = if firmware == Firmware::BiosPxe { Arch::BIOS } else { Arch::UEFI_X64 };
        let profile = Profile::new(firmware, arch);
        let mut boot = Boot {
            machine: Machine::new(&profile, MAC, Ports::default(), 7).timing(timing),
            firmware,
            now: Timestamp(1000),
            asked: Message::new(1),
            asked_at: None,
            said: Vec::new(),
            wait_until: None,
            loads: None,
        };
        let step = boot.machine.start(boot.now);
        boot.perform(step);
        boot
    }

    fn perform(&mut self, step: Step<'_>) {
        self.said.extend(step.progress);
        self.wait_until = step.wait_until;
        for transmit in step.send {
            match transmit {
                Transmit::Dhcp(payload) => self.asked = Message::decode(&payload).unwrap(),
                Transmit::BootServer { from_port, to, payload } => {
                    self.asked = Message::decode(&payload).unwrap();
                    self.asked_at = Some((from_port, to));
                }
                Transmit::TftpOpen { to, payload } => {
                    let Ok(Packet::Rrq(request)) = Packet::decode(&payload) else { panic!("{payload:?}") };
                    let name = String::from_utf8(request.name.to_vec()).unwrap();
                    self.loads = Some(format!("{}:{name}", to.ip()));
                }
                Transmit::Tftp { .. } => {}
                Transmit::Http { url, .. } => self.loads = Some(url),
            }
        }
    }

    fn hear(&mut self, message: &Message, from: SocketAddrV4) {
        let payload = message.encode();
        let step = self.machine.handle(Input::Dhcp(&payload, from), self.now);
        let step =
            Step { received: None, send: step.send, progress: step.progress, wait_until: step.wait_until };
        self.perform(step);
    }

    /// An OFFER from server `n`.
    fn offer(&mut self, n: u8, change: impl Fn(&mut Message)) {
        let message = self.reply(n, MessageType::Offer, change);
        self.hear(&message, SocketAddrV4::new(ip(n), 67));
    }

    /// Server `n` acknowledges the last request, or answers on port 4011.
    fn ack(&mut self, n: u8, change: impl Fn(&mut Message)) {
        let port = self.asked_at.map_or(67, |(_, to)| to.port());
        let message = self.reply(n, MessageType::Ack, change);
        self.hear(&message, SocketAddrV4::new(ip(n), port));
    }

    fn reply(&self, n: u8, kind: MessageType, change: impl Fn(&mut Message)) -> Message {
        let mut reply = Message::new(BOOTREPLY);
        reply.xid = self.asked.xid;
        reply.chaddr = self.asked.chaddr;
        reply.options.push(code::MESSAGE_TYPE, &[kind.number()]);
        reply.options.push(code::SERVER_IDENTIFIER, &ip(n).octets());
        change(&mut reply);
        reply
    }

    /// Advances the time to the machine's next deadline and reports it to the machine.
    fn wait(&mut self) {
        self.now = self.wait_until.expect("it waits for something");
        let step = self.machine.handle(Input::Timeout, self.now);
        self.perform(step);
    }

    /// Waits until it fails.
    fn fail(&mut self) -> Failure {
        while self.wait_until.is_some() {
            self.wait();
        }
        match self.said.last() {
            Some(Progress::Failed(failure)) => failure.clone(),
            other => panic!("not failed: {other:?}"),
        }
    }

    /// The requested address and the server identifier of its REQUEST.
    fn requested(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let options = &self.asked.options;
        Some((options.ip(code::REQUESTED_ADDRESS)?, options.ip(code::SERVER_IDENTIFIER)?))
    }

    fn code(&self, failure: &Failure) -> &'static str {
        failure.on_screen(self.firmware).unwrap_or_default().split(':').next().unwrap_or_default()
    }

    fn seconds(&self) -> u64 {
        (self.now.0 - 1000) / 1000
    }
}

fn plain(message: &mut Message) {
    message.yiaddr = ADDRESS;
}

fn with_file(name: &'static str) -> impl Fn(&mut Message) {
    move |message| {
        plain(message);
        names(message, name);
    }
}

fn names(message: &mut Message, name: &str) {
    message.file = padded(name.as_bytes()).unwrap();
    let server = message.options.ip(code::SERVER_IDENTIFIER).unwrap();
    message.siaddr = server;
}

fn pxe(message: &mut Message, vendor: &[u8]) {
    message.options.push(code::VENDOR_CLASS, b"PXEClient");
    if !vendor.is_empty() {
        message.options.push(code::VENDOR_SPECIFIC, vendor);
    }
}

/// A proxy that names a file in its offer.
fn proxy(name: &'static str) -> impl Fn(&mut Message) {
    move |message| {
        pxe(message, AT_ONCE);
        names(message, name);
    }
}

/// A proxy that requires a request on port 4011.
fn binl(message: &mut Message) {
    pxe(message, &[]);
}

#[test]
fn edk2_and_pxe21_2_2_1_offers_are_collected_for_4_s_and_one_that_says_all_wins() {
    for firmware in PXE {
        let mut boot = Boot::start(firmware);
        boot.offer(3, with_file("first"));
        boot.offer(PROXY, proxy("from-proxy"));
        boot.offer(DHCP, |message| {
            with_file("all")(message);
            pxe(message, AT_ONCE);
        });
        assert_eq!(boot.requested(), None, "it still collects");
        boot.wait();
        assert_eq!(boot.seconds(), 4);
        assert_eq!(boot.requested(), Some((ADDRESS, ip(DHCP))));
        boot.ack(DHCP, with_file("all"));
        assert_eq!(boot.loads.as_deref(), Some("192.168.77.1:all"), "{firmware:?}");
        let offers = boot.said.iter().filter(|said| matches!(said, Progress::Offered(_))).count();
        assert_eq!(offers, 3, "all of them are reported");
    }
}

#[test]
fn firmware_that_does_not_collect_takes_the_first_usable_offer() {
    for firmware in [Firmware::BiosPxe, Firmware::Uefi, Firmware::Ipxe] {
        let mut boot = Boot::start_with(firmware, Timing::default());
        boot.offer(3, plain);
        assert_eq!(boot.requested(), None);
        boot.offer(DHCP, with_file("x"));
        assert!(boot.requested().is_some(), "{firmware:?}");
        assert_eq!(boot.seconds(), 0);
    }
}

#[test]
fn one_server_gives_the_address_and_a_proxy_the_file() {
    for firmware in [Firmware::BiosPxe, Firmware::Uefi, Firmware::Ipxe] {
        let mut boot = Boot::start(firmware);
        boot.offer(PROXY, proxy("loader"));
        boot.offer(DHCP, plain);
        if firmware != Firmware::Ipxe {
            boot.wait();
        }
        assert_eq!(boot.requested(), Some((ADDRESS, ip(DHCP))), "{firmware:?}");
        boot.ack(DHCP, plain);
        assert_eq!(boot.loads.as_deref(), Some("192.168.77.2:loader"), "{firmware:?}");
        assert_eq!(boot.asked_at, None, "port 4011 is not asked");
        let line = "takes the address from 192.168.77.1 and the boot file from 192.168.77.2";
        assert!(boot.said.iter().any(|said| said.to_string() == line));
    }
}

#[test]
fn pxe21_2_2_4_a_proxy_without_option_43_is_asked_on_port_4011() {
    for (firmware, from_port, flags) in
        [(Firmware::Uefi, 4011, 0), (Firmware::BiosPxe, 68, 0), (Firmware::Ipxe, 68, 0x8000)]
    {
        let mut boot = Boot::start(firmware);
        boot.offer(DHCP, plain);
        let xid = boot.asked.xid;
        boot.offer(PROXY, binl);
        if firmware != Firmware::Ipxe {
            boot.wait();
        }
        boot.ack(DHCP, plain);
        assert_eq!(boot.asked_at, Some((from_port, SocketAddrV4::new(ip(PROXY), 4011))), "{firmware:?}");
        let asked = &boot.asked;
        assert_eq!(asked.message_type(), Some(Ok(MessageType::Request)));
        assert_eq!((asked.ciaddr, asked.flags), (ADDRESS, flags));
        assert_eq!(asked.options.get(code::REQUESTED_ADDRESS), None);
        // Only iPXE names the proxy in its request to the proxy (`dhcp_proxy_tx`).
        let named = (firmware == Firmware::Ipxe).then_some(ip(PROXY));
        assert_eq!(asked.options.ip(code::SERVER_IDENTIFIER), named);
        assert_eq!(asked.xid == xid, firmware == Firmware::Ipxe, "EDK2 makes a new transaction id");
        boot.ack(PROXY, |message| names(message, "loader"));
        assert_eq!(boot.loads.as_deref(), Some("192.168.77.2:loader"), "{firmware:?}");
    }
}

#[test]
fn edk2_asks_siaddr_before_option_54() {
    let mut boot = Boot::start(Firmware::Uefi);
    boot.offer(DHCP, plain);
    boot.offer(PROXY, |message| {
        binl(message);
        message.siaddr = ip(9);
    });
    boot.wait();
    boot.ack(DHCP, plain);
    assert_eq!(boot.asked_at.map(|(_, to)| *to.ip()), Some(ip(9)));
}

#[test]
fn edk2_asks_port_4011_even_if_the_offer_with_option_60_names_a_file() {
    for firmware in PXE {
        let mut boot = Boot::start(firmware);
        let offer = |message: &mut Message| {
            with_file("ignored")(message);
            pxe(message, &[]);
        };
        boot.offer(DHCP, offer);
        boot.wait();
        boot.ack(DHCP, offer);
        assert_eq!(boot.asked_at.map(|(_, to)| to), Some(SocketAddrV4::new(ip(DHCP), 4011)));
        let failure = boot.fail();
        assert_eq!(boot.seconds(), 4 + 1 + 2 + 3 + 4, "four tries");
        let code = boot.code(&failure);
        assert_eq!(code, if firmware == Firmware::Uefi { "PXE-E16" } else { "PXE-E55" });
        assert_eq!(failure.step(), "boot server");
        let text = failure.to_string();
        assert!(text.starts_with("192.168.77.1:4011 did not answer within 10 s"), "{text}");
        let tries = boot.said.iter().filter(|said| matches!(said, Progress::AskingBootServer { .. }));
        assert_eq!(tries.count(), 4);
    }
    // iPXE loads it.
    let mut boot = Boot::start(Firmware::Ipxe);
    let offer = |message: &mut Message| {
        with_file("loaded")(message);
        pxe(message, &[]);
    };
    boot.offer(DHCP, offer);
    boot.ack(DHCP, offer);
    assert_eq!((boot.loads.as_deref(), boot.asked_at), (Some("192.168.77.1:loaded"), None));
}

#[test]
fn edk2_tries_every_proxy_in_turn() {
    let mut boot = Boot::start(Firmware::Uefi);
    boot.offer(DHCP, plain);
    for n in [2, 3, 4] {
        boot.offer(n, binl);
    }
    boot.wait();
    boot.ack(DHCP, plain);
    for _ in 0..4 {
        assert_eq!(boot.asked_at.map(|(_, to)| *to.ip()), Some(ip(2)), "it is silent");
        boot.wait();
    }
    assert_eq!(boot.asked_at.map(|(_, to)| *to.ip()), Some(ip(3)));
    boot.ack(3, |_| {});
    assert_eq!(boot.asked_at.map(|(_, to)| *to.ip()), Some(ip(4)), "the answer of 3 was of no use");
    boot.ack(4, |message| names(message, "loader"));
    assert_eq!(boot.loads.as_deref(), Some("192.168.77.4:loader"));

    let mut boot = Boot::start(Firmware::Uefi);
    boot.offer(DHCP, plain);
    boot.offer(PROXY, binl);
    boot.wait();
    boot.ack(DHCP, plain);
    boot.ack(PROXY, |_| {});
    let failure = boot.fail();
    assert_eq!(failure, Failure::BootServerUseless { server: ip(PROXY) });
    assert_eq!(boot.code(&failure), "PXE-E16");
}

/// Option 43 with a menu of these types, and boot servers for the first.
fn menu(types: &[u16], servers: &[u8]) -> Vec<u8> {
    let mut value = vec![6, 1, 3];
    if let (Some(first), false) = (types.first(), servers.is_empty()) {
        let mut list = first.to_be_bytes().to_vec();
        list.push(servers.len() as u8);
        servers.iter().for_each(|n| list.extend(ip(*n).octets()));
        value.extend([8, list.len() as u8]);
        value.extend(list);
    }
    let mut items = Vec::new();
    for number in types {
        items.extend(number.to_be_bytes());
        items.extend(b"\x05Entry");
    }
    value.extend([9, items.len() as u8]);
    value.extend(items);
    value.push(255);
    value
}

#[test]
fn pxe21_table_2_1_the_first_item_of_a_menu_is_asked_for_at_the_servers_that_have_it() {
    for firmware in [Firmware::BiosPxe, Firmware::Uefi, Firmware::Ipxe] {
        let mut boot = Boot::start(firmware);
        boot.offer(DHCP, plain);
        boot.offer(PROXY, |message| pxe(message, &menu(&[0x8001, 0], &[7])));
        if firmware != Firmware::Ipxe {
            boot.wait();
        }
        boot.ack(DHCP, plain);
        assert_eq!(boot.asked_at.map(|(_, to)| to), Some(SocketAddrV4::new(ip(7), 4011)), "{firmware:?}");
        let item = boot.asked.options.get(code::VENDOR_SPECIFIC);
        assert_eq!(item, Some(&[71, 4, 0x80, 1, 0, 0, 255][..]));
        let said = boot.said.last().unwrap().to_string();
        assert_eq!(said, "REQUEST to boot server 192.168.77.7:4011 for item 32769 of the menu, \"Entry\"");
        boot.ack(7, |message| names(message, "chosen"));
        assert_eq!(boot.loads.as_deref(), Some("192.168.77.7:chosen"), "{firmware:?}");
    }
}

#[test]
fn an_item_without_a_server_is_asked_for_by_broadcast() {
    for (firmware, port) in [(Firmware::Uefi, 67), (Firmware::Ipxe, 4011)] {
        let mut boot = Boot::start(firmware);
        let offer = |message: &mut Message| {
            plain(message);
            pxe(message, &menu(&[0x8001], &[]));
        };
        boot.offer(DHCP, offer);
        if firmware != Firmware::Ipxe {
            boot.wait();
        }
        boot.ack(DHCP, offer);
        assert_eq!(boot.asked_at, Some((68, SocketAddrV4::new(Ipv4Addr::BROADCAST, port))));
        assert_eq!(boot.asked.flags, 0x8000);
        let failure = boot.fail();
        assert!(matches!(failure, Failure::BootServerSilent { menu: true, .. }), "{failure:?}");
        let text = failure.to_string();
        assert!(text.starts_with("no boot server answered within"), "{text}");
        assert_eq!(failure.step(), "boot menu");
    }
}

#[test]
fn a_menu_that_begins_with_the_local_disk_ends_the_boot_and_one_beside_a_file_at_once_is_not_shown() {
    let mut boot = Boot::start(Firmware::Uefi);
    let offer = |message: &mut Message| {
        plain(message);
        pxe(message, &menu(&[0, 0x8001], &[]));
    };
    boot.offer(DHCP, offer);
    boot.wait();
    boot.ack(DHCP, offer);
    let failure = boot.fail();
    assert_eq!(failure, Failure::LocalBoot { text: "Entry".to_owned() });
    assert_eq!(boot.code(&failure), "PXE-E21");

    let mut boot = Boot::start(Firmware::Uefi);
    let mut vendor = menu(&[0x8001], &[9]);
    vendor[2] |= 8;
    let offer = |message: &mut Message| {
        with_file("at-once")(message);
        pxe(message, &vendor);
    };
    boot.offer(DHCP, offer);
    boot.wait();
    boot.ack(DHCP, offer);
    assert_eq!(boot.loads.as_deref(), Some("192.168.77.9:at-once"), "from the listed boot server");
}

#[test]
fn a_proxy_alone_is_not_enough() {
    for (firmware, code) in [(Firmware::BiosPxe, "PXE-E52"), (Firmware::Uefi, "PXE-E16")] {
        let mut boot = Boot::start(firmware);
        boot.offer(PROXY, proxy("loader"));
        let failure = boot.fail();
        assert_eq!(failure, Failure::OnlyProxy { proxy: ip(PROXY), waited: Duration::from_secs(60) });
        assert_eq!(boot.code(&failure), code);
    }
}

#[test]
fn an_offer_without_a_file_and_no_offer_have_different_codes() {
    for (firmware, no_file, nobody) in
        [(Firmware::BiosPxe, "PXE-E53", "PXE-E51"), (Firmware::Uefi, "PXE-E16", "PXE-E18")]
    {
        let mut boot = Boot::start(firmware);
        boot.offer(DHCP, plain);
        let failure = boot.fail();
        let ignored = Some((ip(DHCP), Unusable::NoFile));
        assert!(matches!(failure, Failure::NoOffer { ignored: why, .. } if why == ignored), "{failure}");
        assert_eq!(boot.code(&failure), no_file);
        let mut boot = Boot::start(firmware);
        let failure = boot.fail();
        assert_eq!(boot.seconds(), 60);
        assert_eq!(boot.code(&failure), nobody);
        assert!(failure.to_string().starts_with("no DHCP server answered within 60 s"), "{failure}");
    }
}

#[test]
fn ipxe_waits_2_s_for_a_proxy_unless_suboption_176_forbids_it() {
    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(DHCP, with_file("x"));
    assert_eq!(boot.requested(), None);
    boot.wait();
    assert_eq!((boot.requested(), boot.seconds()), (Some((ADDRESS, ip(DHCP))), 2));

    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(DHCP, |message| {
        with_file("x")(message);
        message.options.push(code::ETHERBOOT, &[176, 1, 1]);
    });
    assert_eq!((boot.requested(), boot.seconds()), (Some((ADDRESS, ip(DHCP))), 0));
}

#[test]
fn ipxe_takes_the_last_of_equal_offers_and_the_one_of_the_highest_priority() {
    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(3, with_file("x"));
    boot.offer(4, with_file("x"));
    boot.wait();
    assert_eq!(boot.requested().map(|(_, server)| server), Some(ip(4)));

    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(3, |message| {
        with_file("x")(message);
        message.options.push(code::ETHERBOOT, &[1, 1, 5]);
    });
    boot.offer(4, with_file("x"));
    boot.wait();
    assert_eq!(boot.requested().map(|(_, server)| server), Some(ip(3)));
}

#[test]
fn ipxe_prefers_the_file_of_the_server_that_gave_the_address_and_gives_a_silent_proxy_up_soon() {
    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(PROXY, proxy("from-proxy"));
    boot.offer(DHCP, with_file("own"));
    boot.ack(DHCP, with_file("own"));
    assert_eq!(boot.loads.as_deref(), Some("192.168.77.1:own"));

    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(PROXY, binl);
    boot.offer(DHCP, plain);
    boot.ack(DHCP, plain);
    let failure = boot.fail();
    assert_eq!(boot.seconds(), 3);
    let screen = failure.on_screen(Firmware::Ipxe);
    assert_eq!(screen, Some("Nothing to boot: No such file or directory"));
}

fn http(url: &'static str) -> impl Fn(&mut Message) {
    move |message| {
        message.options.push(code::VENDOR_CLASS, b"HTTPClient");
        message.options.push(code::BOOT_FILE_NAME, &[url.as_bytes(), b"\0"].concat());
    }
}

#[test]
fn uefi_http_boot_takes_the_url_of_the_offer() {
    const URL: &str = "http://192.168.77.9/boot.efi";
    let mut boot = Boot::start(Firmware::UefiHttp);
    boot.offer(3, plain);
    boot.offer(DHCP, |message| {
        plain(message);
        http(URL)(message);
    });
    boot.wait();
    assert_eq!(boot.requested().map(|(_, server)| server), Some(ip(DHCP)));
    boot.ack(DHCP, plain);
    assert_eq!(boot.loads.as_deref(), Some(URL), "as in the OFFER, whatever the ACK says");

    let mut boot = Boot::start(Firmware::UefiHttp);
    boot.offer(DHCP, plain);
    boot.offer(PROXY, http(URL));
    boot.wait();
    boot.ack(DHCP, plain);
    assert_eq!((boot.loads.as_deref(), boot.asked_at), (Some(URL), None), "no port 4011");
    let now = boot.now;
    let step = boot.machine.handle(Input::HttpStarted(Some(3)), now);
    assert_eq!(step.progress, [Progress::SizeKnown { bytes: Some(3) }]);
    assert_eq!(boot.machine.handle(Input::HttpData(b"abc"), now).received, Some(&b"abc"[..]));
    let step = boot.machine.handle(Input::HttpEnded, now);
    assert_eq!(step.progress, [Progress::Finished { bytes: 3 }]);
    assert_eq!(step.wait_until, None);
}

#[test]
fn uefi_http_boot_insists_on_httpclient_a_url_and_dns_for_a_name() {
    let why = |offer: &dyn Fn(&mut Message)| {
        let mut boot = Boot::start(Firmware::UefiHttp);
        boot.offer(DHCP, |message| {
            plain(message);
            offer(message);
        });
        match boot.fail() {
            Failure::NoOffer { ignored: Some((_, reason)), .. } => reason,
            other => panic!("{other}"),
        }
    };
    assert_eq!(why(&with_file("http://192.168.77.9/x")), Unusable::NotForHttp);
    assert_eq!(why(&http("snponly.efi")), Unusable::NoUrl);
    assert_eq!(why(&http("http://boot.example/x")), Unusable::NoDns);
    let mut boot = Boot::start(Firmware::UefiHttp);
    boot.offer(DHCP, |message| {
        plain(message);
        http("http://boot.example/x")(message);
        message.options.push(code::DNS, &ip(1).octets());
    });
    boot.wait();
    assert!(boot.requested().is_some());
    let failed = "no connection to 192.168.77.9:80";
    boot.ack(DHCP, plain);
    let step = boot.machine.handle(Input::HttpFailed(failed), boot.now);
    let [Progress::Failed(failure)] = &step.progress[..] else { panic!("{step:?}") };
    assert_eq!(failure.to_string(), format!("cannot load http://boot.example/x: {failed}"));
}

#[test]
fn a_url_is_for_ipxe_and_not_for_a_pxe_rom() {
    for (firmware, expected) in [(Firmware::Ipxe, true), (Firmware::BiosPxe, false), (Firmware::Uefi, false)]
    {
        let mut boot = Boot::start(firmware);
        boot.offer(DHCP, with_file("http://192.168.77.1/x"));
        boot.wait();
        boot.ack(DHCP, with_file("http://192.168.77.1/x"));
        assert_eq!(boot.loads.is_some(), expected, "{firmware:?}");
        if !expected {
            assert!(matches!(boot.fail(), Failure::NotTftp { .. }));
        }
    }
    let mut boot = Boot::start(Firmware::Ipxe);
    boot.offer(DHCP, with_file("https://192.168.77.1/x"));
    boot.wait();
    boot.ack(DHCP, with_file("https://192.168.77.1/x"));
    assert!(matches!(boot.fail(), Failure::BadUrl { .. }));
}

#[test]
fn a_closed_tftp_port_ends_the_boot_at_once() {
    for (firmware, code) in [(Firmware::Uefi, "PXE-E22"), (Firmware::BiosPxe, "PXE-E32")] {
        let mut boot = Boot::start(firmware);
        boot.offer(DHCP, with_file("x"));
        boot.wait();
        boot.ack(DHCP, with_file("x"));
        let step = boot.machine.handle(Input::TftpClosed, boot.now);
        boot.perform(step);
        let failure = boot.fail();
        assert_eq!((boot.seconds(), boot.code(&failure)), (4, code));
        let text = failure.to_string();
        assert!(text.starts_with("no program listens on 192.168.77.1:69 (port unreachable)"), "{text}");
    }
}

#[test]
fn the_timeout_bounds_every_request() {
    let timeout = Some(Duration::from_secs(5));
    let timing = Timing { collect: Duration::ZERO, timeout };
    let mut boot = Boot::start_with(Firmware::Uefi, timing);
    assert!(boot.fail().to_string().starts_with("no DHCP server answered within 5 s"));
    assert_eq!(boot.seconds(), 5);

    let mut boot = Boot::start_with(Firmware::Uefi, timing);
    boot.offer(DHCP, with_file("x"));
    assert!(matches!(boot.fail(), Failure::NoAck { .. }));
    assert_eq!(boot.seconds(), 5);

    // The machine may wait longer for other offers than its timeout. It must not refuse an offer for that
    // reason.
    let collects = Timing { collect: Duration::from_secs(30), timeout };
    for firmware in [Firmware::Uefi, Firmware::BiosPxe, Firmware::Ipxe] {
        let mut boot = Boot::start_with(firmware, collects);
        boot.offer(DHCP, plain);
        boot.offer(PROXY, binl);
        while boot.requested().is_none() {
            boot.wait();
        }
        assert!(boot.seconds() <= 5, "{firmware:?}: {} s", boot.seconds());
        assert_eq!(boot.requested(), Some((ADDRESS, ip(DHCP))));
    }

    let mut boot = Boot::start_with(Firmware::Uefi, timing);
    boot.offer(DHCP, with_file("x"));
    boot.ack(DHCP, with_file("x"));
    assert!(matches!(boot.fail(), Failure::TftpSilent { received: 0, .. }));
    assert_eq!(boot.seconds(), 5);

    let mut boot = Boot::start_with(Firmware::Uefi, timing);
    boot.offer(DHCP, plain);
    boot.offer(PROXY, binl);
    boot.ack(DHCP, plain);
    assert!(matches!(boot.fail(), Failure::BootServerSilent { .. }));
    assert_eq!(boot.seconds(), 5);
}

#[test]
fn edk2_keeps_16_offers_and_a_server_that_offers_again_counts_once() {
    let mut boot = Boot::start(Firmware::Uefi);
    for n in (1..=16).chain(1..=16) {
        boot.offer(n, plain);
    }
    assert!(!boot.said.iter().any(|said| matches!(said, Progress::Ignored { .. })));
    boot.offer(17, with_file("x"));
    assert_eq!(boot.said.last(), Some(&Progress::Ignored { from: ip(17), reason: Unusable::TooMany }));
}

#[test]
fn rfc2131_4_4_6_only_the_leaseholder_releases() {
    let mut boot = Boot::start(Firmware::Uefi);
    boot.offer(DHCP, with_file("x"));
    boot.wait();
    assert_eq!(boot.machine.release(), None, "an offer is no lease");
    boot.ack(DHCP, with_file("x"));
    let (to, payload) = boot.machine.release().unwrap();
    assert_eq!(to, SocketAddrV4::new(ip(DHCP), 67));
    let release = Message::decode(&payload).unwrap();
    assert_eq!(release.message_type(), Some(Ok(MessageType::Release)));
    assert_eq!((release.ciaddr, release.mac()), (ADDRESS, Some(MAC)));
}

#[test]
fn a_proxy_that_does_not_say_pxeclient_is_of_no_use_to_anybody() {
    for firmware in [Firmware::BiosPxe, Firmware::Uefi, Firmware::UefiHttp, Firmware::Ipxe] {
        let mut boot = Boot::start(firmware);
        boot.offer(PROXY, |message| names(message, "x"));
        let reason = Progress::Ignored { from: ip(PROXY), reason: Unusable::NoAddress };
        assert_eq!(boot.said.last(), Some(&reason), "{firmware:?}");
    }
}
