//! Every recorded packet, against the DHCP server and against a proxy beside another server. The replies satisfy the
//! model of the client that sent the packet, up to the file that the client must load.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use lanboot::probe::models::{Firmware, ModelClient, ReceivedReply, RequestKind, Verdict, run};
use lanboot::types::{Arch, Escaped, MacAddr};
use lanboot::wire::dhcp::{BOOTREPLY, Message, MessageType, Options};
use lanboot::wire::option::code;
use support::world::{SERVER, World};

/// A campus that has a file for every architecture, answers all BOOTP, and serves each network in the recordings.
const CAMPUS: &str = "
dhcp:
  mode: MODE
  bootp: dynamic
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.200
      relays: [GIADDRS]
      options: {router: 192.168.77.1, dns: 192.168.77.1, domain: lab.example}
boot:
  arch:
    bios: undionly.kpxe
    uefi-x64: snponly.efi
    uefi-arm64: snponly-arm64.efi
    uefi-x64-http: http://{server}/snponly.efi
";

/// The DHCP server beside the proxy: a router that does not support network boot.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);

/// The sender of a packet, found by the packet's name: its model, and the file that it must load. `None` for a packet
/// of a client that does not boot.
fn sender(name: &str) -> Option<(Firmware, &'static str)> {
    const SENDERS: [(&str, Option<(Firmware, &str)>); 23] = [
        ("aavmf-arm64-pxe", Some((Firmware::Edk2Pxe, "snponly-arm64.efi"))),
        ("apple-bsdp", None),
        ("asrock-bios-discover", Some((Firmware::BootAgent, "undionly.kpxe"))),
        ("asrock-bios-offer", None),
        ("bootpc", Some((Firmware::Bootp, "undionly.kpxe"))),
        ("dhclient", None),
        ("dhcpcd", None),
        ("docsis", None),
        ("grub", Some((Firmware::GrubDhcp, ""))),
        ("hyperv-gen2", Some((Firmware::Edk2Pxe, "snponly.efi"))),
        ("ipxe", Some((Firmware::Ipxe, "boot.ipxe"))),
        ("klibc-ipconfig-bootp", Some((Firmware::Bootp, "undionly.kpxe"))),
        ("ovmf-x64-http", Some((Firmware::Edk2Http, "/snponly.efi"))),
        ("ovmf-x64-pxe", Some((Firmware::Edk2Pxe, "snponly.efi"))),
        ("raspberrypi3", Some((Firmware::RaspberryPi3, "bootcode.bin"))),
        ("synthetic-bootp-plain", Some((Firmware::Bootp, "undionly.kpxe"))),
        ("synthetic-no-end", None),
        ("synthetic-option-overload", Some((Firmware::BootAgent, "undionly.kpxe"))),
        ("synthetic-pxe-two-archs", Some((Firmware::Edk2Pxe, "snponly.efi"))),
        ("synthetic-split-option", None),
        ("synthetic-truncated-option", None),
        ("udhcpc", None),
        ("uefi-x64-http-hw", Some((Firmware::Edk2Http, "/snponly.efi"))),
    ];
    let found = SENDERS.iter().find(|(start, _)| name.starts_with(start));
    let virtualbox = name.starts_with("virtualbox").then_some(Some((Firmware::BootAgent, "undionly.kpxe")));
    found.map(|(_, sender)| *sender).or(virtualbox).unwrap_or_else(|| panic!("who sends {name}?"))
}

fn packets() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packets");
    let mut packets: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
            let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, hex.trim().as_bytes().chunks(2).map(pair).collect())
        })
        .collect();
    packets.sort();
    assert!(packets.len() >= 41, "the recordings are there");
    packets
}

/// `message` with another type, without the options `without` and with the options `with`.
fn derived(message: &Message, kind: MessageType, without: &[u8], with: &[(u8, &[u8])]) -> Message {
    let mut options = Options::default();
    options.push(code::MESSAGE_TYPE, &[kind.number()]);
    with.iter().for_each(|(code, value)| assert!(options.push(*code, value)));
    for (code, value) in message.options.iter() {
        if code != code::MESSAGE_TYPE && !without.contains(&code) {
            options.push(code, value);
        }
    }
    Message { options, ..message.clone() }
}

/// A recorded client on a network with lanboot.
struct Table {
    world: World,
    is_proxy: bool,
    heard: Vec<(Vec<u8>, SocketAddrV4, RequestKind)>,
    /// Whether lanboot has answered.
    answered: bool,
}

impl Table {
    fn new(mode: &str, giaddr: Ipv4Addr) -> Table {
        let relays = if giaddr.is_unspecified() { String::new() } else { giaddr.to_string() };
        let mut world = World::new(&CAMPUS.replace("MODE", mode).replace("GIADDRS", &relays));
        world.sizes = vec![("undionly.kpxe", 70_000), ("snponly.efi", 512 * 300)];
        Table { world, is_proxy: mode == "proxy", heard: Vec::new(), answered: false }
    }

    /// Asks every server. The router's answers come first.
    fn ask(&mut self, question: &[u8], kind: RequestKind) {
        let message = Message::decode(question).unwrap();
        if self.is_proxy && kind != RequestKind::BootServer {
            self.heard.extend(router(&message).map(|bytes| (bytes, SocketAddrV4::new(ROUTER, 67), kind)));
        }
        self.world.arrival.boot_service = kind == RequestKind::BootServer;
        if self.world.arrival.boot_service {
            self.world.arrival.destination = SERVER;
            self.world.arrival.source = SocketAddrV4::new(message.ciaddr, 4011);
        }
        if let Ok(Some(answer)) = self.world.send_bytes(question) {
            let port = if kind == RequestKind::BootServer { 4011 } else { 67 };
            self.heard.push((answer.bytes, SocketAddrV4::new(SERVER, port), kind));
            self.answered = true;
        }
    }

    fn judge(&self, firmware: Firmware) -> Verdict {
        let heard: Vec<ReceivedReply<'_>> = self
            .heard
            .iter()
            .map(|(payload, source, question)| ReceivedReply { payload, source: *source, request: *question })
            .collect();
        run(firmware, &heard)
    }
}

/// The router's answer.
fn router(question: &Message) -> Option<Vec<u8>> {
    let kind = match question.message_type()?.ok()? {
        MessageType::Discover => MessageType::Offer,
        MessageType::Request => MessageType::Ack,
        _ => return None,
    };
    let mut reply = Message::new(BOOTREPLY);
    reply.chaddr = question.chaddr;
    reply.yiaddr = Ipv4Addr::new(192, 168, 77, 201);
    reply.options.push(code::MESSAGE_TYPE, &[kind.number()]);
    reply.options.push(code::SERVER_IDENTIFIER, &ROUTER.octets());
    reply.options.push(code::LEASE_TIME, &[0, 0, 14, 16]);
    reply.options.push(code::SUBNET_MASK, &[255, 255, 255, 0]);
    reply.options.push(code::DNS, &ROUTER.octets());
    Some(reply.encode())
}

/// Continues from a recorded packet as its client would. Returns the model's verdict.
fn converse(table: &mut Table, name: &str, recorded: &[u8], firmware: Firmware) -> Verdict {
    let message = Message::decode(recorded).unwrap();
    let first = match message.message_type() {
        None | Some(Ok(MessageType::Discover)) => recorded.to_vec(),
        // The DISCOVER before it: the client asks for the address that it was offered.
        _ => {
            let without = [code::SERVER_IDENTIFIER, code::VENDOR_SPECIFIC];
            let discover = derived(&message, MessageType::Discover, &without, &[]);
            Message { ciaddr: Ipv4Addr::UNSPECIFIED, ..discover }.encode()
        }
    };
    table.ask(&first, RequestKind::Discover);
    let first = Message::decode(&first).unwrap();
    let mut own = Ipv4Addr::UNSPECIFIED;
    for _ in 0..4 {
        match table.judge(firmware) {
            Verdict::Requests { server, address, .. } => {
                own = address;
                let recorded_request = message.options.ip(code::SERVER_IDENTIFIER) == Some(server)
                    && message.options.ip(code::REQUESTED_ADDRESS) == Some(address);
                let chosen: [(u8, &[u8]); 2] = [
                    (code::SERVER_IDENTIFIER, &server.octets()),
                    (code::REQUESTED_ADDRESS, &address.octets()),
                ];
                let request = derived(&first, MessageType::Request, &[code::REQUESTED_ADDRESS], &chosen);
                let request = if recorded_request { recorded.to_vec() } else { request.encode() };
                table.ask(&request, RequestKind::Request);
            }
            Verdict::AsksBootServer { to, .. } => {
                assert_eq!(to, SocketAddrV4::new(SERVER, 4011), "{name}");
                let question = Message { ciaddr: own, ..derived(&first, MessageType::Request, &[], &[]) };
                let question = if name.contains("4011") { recorded.to_vec() } else { question.encode() };
                table.ask(&question, RequestKind::BootServer);
            }
            decided => return decided,
        }
    }
    panic!("{name} asks without end: {:?}", table.judge(firmware));
}

#[test]
fn every_recorded_packet_gets_replies_that_satisfy_its_model_in_both_modes() {
    for (name, packet) in packets() {
        let giaddr = Message::decode(&packet).unwrap().giaddr;
        for mode in ["server", "proxy"] {
            let mut table = Table::new(mode, giaddr);
            let Some((firmware, file)) = sender(&name) else {
                table.ask(&packet, RequestKind::Discover);
                let ours = table.heard.iter().filter(|(_, source, _)| *source.ip() == SERVER);
                for reply in ours.map(|(bytes, _, _)| Message::decode(bytes).unwrap()) {
                    let class = reply.options.get(code::VENDOR_CLASS);
                    assert_eq!(
                        (class, reply.file_name()),
                        (None, &b""[..]),
                        "{name} takes us for a boot server"
                    );
                }
                continue;
            };
            let verdict = converse(&mut table, &name, &packet, firmware);
            if mode == "proxy" && matches!(firmware, Firmware::Bootp | Firmware::GrubDhcp) {
                assert!(!table.answered, "{name}: a proxy has nothing to say to who wants an address");
                continue;
            }
            let Verdict::Boots(boot) = &verdict else { panic!("{name}, {mode}: {verdict:?}") };
            assert_eq!(boot.server, SERVER.to_string(), "{name}, {mode}");
            assert_eq!(Escaped(&boot.file).to_string(), file, "{name}, {mode}");
            let announced = boot.announced;
            assert!(
                announced.is_none_or(|size| file == "snponly.efi" && size == 512 * 300),
                "{name}: {announced:?}"
            );
        }
    }
}

#[test]
fn a_proxy_is_asked_on_port_4011_by_uefi_and_needs_no_question_from_a_bios() {
    for (name, asks) in
        [("ovmf-x64-pxe-discover", true), ("asrock-bios-discover", false), ("ipxe-bios-discover", false)]
    {
        let (_, packet) = packets().into_iter().find(|(other, _)| other == name).unwrap();
        let (firmware, _) = sender(name).unwrap();
        let mut table = Table::new("proxy", Ipv4Addr::UNSPECIFIED);
        converse(&mut table, name, &packet, firmware);
        let asked = table.heard.iter().any(|(_, _, question)| *question == RequestKind::BootServer);
        assert_eq!(asked, asks, "{name}");
    }
}

/// The models' askers send the same options, with the same values, as the recorded clients.
#[test]
fn askers_send_the_options_that_were_recorded() {
    let cases = [
        ("ovmf-x64-pxe-discover", Firmware::Edk2Pxe, Arch::UEFI_X64),
        ("aavmf-arm64-pxe-discover", Firmware::Edk2Pxe, Arch::UEFI_ARM64),
        ("ovmf-x64-http-discover", Firmware::Edk2Http, Arch::from_number(16)),
        ("virtualbox-bios-discover", Firmware::BootAgent, Arch::BIOS),
        ("ipxe-bios-discover", Firmware::Ipxe, Arch::BIOS),
        ("ipxe-efi-x64-discover", Firmware::Ipxe, Arch::UEFI_X64),
        ("grub-2.06-x64-discover", Firmware::GrubDhcp, Arch::UEFI_X64),
        ("raspberrypi3-bootrom-discover", Firmware::RaspberryPi3, Arch::RASPBERRY_PI),
        ("bootpc-bootp", Firmware::Bootp, Arch::BIOS),
    ];
    for (name, firmware, arch) in cases {
        let (_, packet) = packets().into_iter().find(|(other, _)| other == name).unwrap();
        let recorded = Message::decode(&packet).unwrap();
        let mac: MacAddr = recorded.mac().unwrap();
        let sent = ModelClient { firmware, arch, mac, uuid: None }.discover();
        let options = |message: &Message| {
            // The UUID belongs to the machine, and option 175 to its network card.
            let own = [code::MACHINE_IDENTIFIER, code::ETHERBOOT];
            let of_firmware = message.options.iter().filter(|(code, _)| !own.contains(code));
            let mut options: Vec<(u8, Vec<u8>)> =
                of_firmware.map(|(code, value)| (code, value.to_vec())).collect();
            options.sort();
            options
        };
        assert_eq!(options(&sent), options(&recorded), "{name}");
        assert_eq!((sent.flags, sent.mac()), (recorded.flags, recorded.mac()), "{name}");
        for code in [code::MACHINE_IDENTIFIER, code::ETHERBOOT] {
            let len = |message: &Message| message.options.get(code).map(<[u8]>::len);
            assert_eq!(len(&sent).is_some(), len(&recorded).is_some(), "{name}: option {code}");
        }
    }
}
