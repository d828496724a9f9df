//! Forged packets in any order among honest boots: no machine ever gets content that is made for another one.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddrV4;

use proptest::prelude::*;

use super::super::super::*;
use crate::content::lookup::Files;
use crate::content::once::{BootState, DoneReport};
use crate::dhcp::engine::{DeclineProbe, Effect, Effects, Engine, Outcome, Outside, Promise};
use crate::images::Catalog;
use crate::net::neighbours::Neighbour;
use crate::types::{MacAddr, Uuid};
use crate::wire::dhcp::{BOOTREPLY, BOOTREQUEST};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The UUID is the only identification of machine 3; machine 6 has none.
const UUID: &str = "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab";
/// Machines 1, 2 and 3 have a `once`, 4 has a reserved address, 5 starts its disk, and 6 has no entry.
const MACHINES: u8 = 6;
const YAML: &str = "
targets:
  own1: {kernel: own1/linux}
  own2: {kernel: own2/linux}
  own3: {kernel: own3/linux}
  own4: {kernel: own4/linux}
machines:
  - {name: own1, mac: 02:00:00:00:00:01, boot: local, once: own1}
  - {name: own2, mac: 02:00:00:00:00:02, boot: local, once: own2}
  - {name: own3, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab, boot: local, once: own3}
  - {name: own4, mac: 02:00:00:00:00:04, once: own4, address: ADDRESS}
  - {name: own5, mac: 02:00:00:00:00:05, boot: local}
";

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

/// An event on the network.
#[derive(Clone, Debug)]
enum Step {
    /// Machine `n` boots, from its firmware or from iPXE on.
    Boots { n: u8, ipxe: bool },
    /// An attacker sends this message.
    Forged(Forged),
}

#[derive(Clone, Debug)]
struct Forged {
    /// 0: the server's port; 1: the boot service; 2: an overheard reply.
    port: u8,
    /// Option 53; 0 for BOOTP.
    kind: u8,
    chaddr: u8,
    /// Addresses: 0 is none, 1 to [`MACHINES`] are those of the machines, then ours and the relay agent's.
    ciaddr: u8,
    yiaddr: u8,
    source: u8,
    giaddr: u8,
    requested: u8,
    /// Option 54: none, our address, or the other server's.
    server: u8,
    /// Option 61: none, or that of the machine with this number.
    id: u8,
    /// Option 97: none, the UUID of machine 3, another one, or a Raspberry Pi's.
    uuid: u8,
    /// Option 60: none, PXE, or iPXE.
    class: u8,
}

fn forged() -> impl Strategy<Value = Step> {
    let address = || 0..MACHINES + 3;
    let kinds = prop_oneof![Just(0u8), Just(1), Just(3), Just(3), Just(5), Just(7), Just(8)];
    let one = (0..3u8, kinds, 1..=MACHINES, address(), address(), address());
    let two = (0..3u8, address(), 0..3u8, 0..=MACHINES, 0..4u8, 0..3u8);
    (one, two).prop_map(
        |((port, kind, chaddr, ciaddr, yiaddr, source), (relay, requested, server, id, uuid, class))| {
            // The source is often the claimed address, because it counts then.
            let source = if source % 2 == 0 { ciaddr } else { source };
            let giaddr = if relay == 0 { MACHINES + 2 } else { 0 };
            Step::Forged(Forged {
                port,
                kind,
                chaddr,
                ciaddr,
                yiaddr,
                source,
                giaddr,
                requested,
                server,
                id,
                uuid,
                class,
            })
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let boots = (1..=MACHINES, any::<bool>()).prop_map(|(n, ipxe)| Step::Boots { n, ipxe });
    prop_oneof![1 => boots, 3 => forged()]
}

/// lanboot in one mode, with its machines on its own wire or behind a relay agent.
struct World {
    engine: Engine,
    known: MachineTable,
    files: Files,
    boot_state: BootState,
    mode: Mode,
    on_wire: bool,
    now: Timestamp,
    /// The address that each machine really has.
    really: BTreeMap<u8, Ipv4Addr>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(mode: Mode, on_wire: bool) -> World {
        let dhcp = match mode {
            Mode::Server => {
                "{mode: server, conflict_check: off, bootp: dynamic, subnets: [{network: 192.168.77.0/24, pool: \
                 192.168.77.50-192.168.77.70}, {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.70}]}"
            }
            Mode::Proxy => "{mode: proxy}",
        };
        let reserved = if on_wire { "192.168.77.40" } else { "10.1.0.40" };
        let machines = match mode {
            Mode::Server => YAML.replace("ADDRESS", reserved),
            Mode::Proxy => YAML.replace(", address: ADDRESS", ""),
        };
        let boot = "boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}, ipxe: lanboot/boot.ipxe, default: local}";
        let config = crate::config::load(&format!("dhcp: {dhcp}\n{boot}\n{machines}")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["user-data.j2", "who.cfg.j2", "100bcdef/config.txt.j2"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{{ name | default('none') }} {{ mac | default('none') }}\n").unwrap();
        }
        let boot_state = BootState::in_memory(&config);
        let known = MachineTable::default();
        let catalog = Catalog::open(folder.path()).unwrap();
        let files = Files::new(catalog, known.clone()).with_boot_state(boot_state.clone());
        let settings = config.dhcp.unwrap();
        let book = LeaseBook::new(settings.pools());
        let engine = Engine::new(settings, book);
        let (now, really) = (Timestamp::from_seconds(3600), BTreeMap::new());
        World { engine, known, files, boot_state, mode, on_wire, now, really, _folder: folder }
    }

    fn arrival(&self, source: Ipv4Addr, boot_service: bool) -> Arrival {
        Arrival {
            interface: "eth1".into(),
            addresses: [SERVER].into(),
            networks: ["192.168.77.0/24".parse().unwrap()].into(),
            destination: if boot_service { SERVER } else { Ipv4Addr::BROADCAST },
            source: SocketAddrV4::new(source, 68),
            mtu: 1500,
            loopback: false,
            mode: self.mode,
            boot_service,
            waited: Duration::ZERO,
        }
    }

    /// Has the engine handle a client's message, and returns the answer. No machine answers a probe.
    fn receive(&mut self, message: &Message, source: Ipv4Addr, boot_service: bool) -> Option<Message> {
        let (bytes, arrival, now) = (message.encode(), self.arrival(source, boot_service), self.now);
        let files = Some(self.files.clone());
        let outside = Outside { files: &files, machines: &self.known };
        let (engine, mut effects, mut answer) = (&mut self.engine, Effects::new(), None);
        engine.book.expire(now);
        engine.handle(&bytes, &arrival, outside, now, &mut effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Record(_) => {}
                Effect::Send { reply, .. } => answer = Some(*reply.message),
                Effect::Store(Promise { lease, ended: mut leases, reply, .. }) => {
                    leases.push(lease);
                    engine.stored(&Outcome { leases, stored: true }, now);
                    answer = reply.map(|reply| *reply.message);
                }
                Effect::AskHolder { address, .. } => {
                    engine.checked((address, None), (&bytes, &arrival), outside, now, &mut effects);
                }
                Effect::CheckDecline { .. } => {
                    let probe = DeclineProbe::default();
                    engine.declined(probe, (&bytes, &arrival), outside, now, &mut effects);
                }
                other => panic!("conflict_check is off, and a DECLINE is decided on at once: {other:?}"),
            }
        }
        answer
    }

    fn message(&self, n: u8, kind: u8, ipxe: bool, options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.chaddr[..6].copy_from_slice(&mac(n).0);
        message.options.push(53, &[kind]);
        message.options.push(60, b"PXEClient:Arch:00000:UNDI:002001");
        message.options.push(93, &[0, 0]);
        if ipxe {
            message.options.push(77, b"iPXE");
        }
        if n == 3 {
            message.options.push(97, &uuid(1));
        }
        options.iter().for_each(|(code, value)| _ = message.options.push(*code, value));
        if !self.on_wire {
            message.giaddr = RELAY;
        }
        message
    }

    fn boots(&mut self, n: u8, ipxe: bool) {
        let source = if self.on_wire { Ipv4Addr::UNSPECIFIED } else { RELAY };
        let offer = self.receive(&self.message(n, 1, ipxe, &[]), source, false);
        let address = match (self.mode, self.on_wire) {
            (Mode::Proxy, true) => Ipv4Addr::new(192, 168, 77, 100 + n),
            (Mode::Proxy, false) => Ipv4Addr::new(10, 1, 0, 100 + n),
            (Mode::Server, _) => match offer {
                Some(offer) => offer.yiaddr,
                None => return,
            },
        };
        let server = if self.mode == Mode::Server { SERVER } else { OTHER_SERVER };
        let takes = [(50, &address.octets()[..]), (54, &server.octets()[..])];
        let ack = self.receive(&self.message(n, 3, ipxe, &takes), source, false);
        if self.mode == Mode::Server && ack.is_none_or(|ack| ack.yiaddr != address) {
            return;
        }
        self.really.retain(|_, other| *other != address);
        self.really.insert(n, address);
        let neighbour = if self.on_wire { Neighbour::At(vec![mac(n)]) } else { Neighbour::NotOnLink };
        self.known.neighbours.fix(address, neighbour);
        if self.mode == Mode::Proxy && !ipxe {
            let mut asks = self.message(n, 3, false, &[]);
            (asks.ciaddr, asks.giaddr) = (address, Ipv4Addr::UNSPECIFIED);
            self.receive(&asks, address, true);
        }
        if self.on_wire {
            self.gets_its_own(n, address);
        }
    }

    fn forge(&mut self, forged: &Forged) {
        let address = |number: u8| match number {
            1..=MACHINES => self.really.get(&number).copied().unwrap_or(Ipv4Addr::new(192, 168, 77, 50)),
            7 => SERVER,
            8 => RELAY,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let op = if forged.port == 2 { BOOTREPLY } else { BOOTREQUEST };
        let mut message = Message::new(op);
        message.chaddr[..6].copy_from_slice(&mac(forged.chaddr).0);
        (message.ciaddr, message.giaddr) = (address(forged.ciaddr), address(forged.giaddr));
        let (source, yiaddr, requested) =
            (address(forged.source), address(forged.yiaddr), address(forged.requested));
        if op == BOOTREPLY {
            message.yiaddr = yiaddr;
        }
        let mut push = |code: u8, value: &[u8]| _ = message.options.push(code, value);
        if forged.kind > 0 {
            push(53, &[forged.kind]);
        }
        if !requested.is_unspecified() {
            push(50, &requested.octets());
        }
        match forged.server {
            1 => push(54, &SERVER.octets()),
            2 => push(54, &OTHER_SERVER.octets()),
            _ => {}
        }
        if forged.id > 0 {
            push(61, &[&[1][..], &mac(forged.id).0].concat());
        }
        if forged.uuid > 0 {
            push(97, &uuid(forged.uuid));
        }
        if forged.class > 0 {
            push(60, b"PXEClient:Arch:00000:UNDI:002001");
            push(93, &[0, 0]);
        }
        if forged.class > 1 {
            push(77, b"iPXE");
        }
        if op == BOOTREPLY {
            let (bytes, arrival) = (message.encode(), self.arrival(source, false));
            let outside = Outside { files: &Some(self.files.clone()), machines: &self.known };
            let by = (SocketAddrV4::new(OTHER_SERVER, 67), mac(9));
            self.engine.handle_server_message(&bytes, by, &arrival, outside, self.now, &mut Effects::new());
        } else {
            self.receive(&message, source, forged.port == 1);
        }
    }

    fn text(&self, name: &str, address: Ipv4Addr) -> String {
        let Ok(content) =
            self.files.find_and_wait(name.as_bytes(), &self.files.requester(address.into(), SERVER.into()))
        else {
            return String::new();
        };
        let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
        content.read_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn gets_its_own(&self, n: u8, address: Ipv4Addr) {
        let own = format!("own{n}/linux");
        let once = self.text("boot.ipxe", address);
        // Claims about the UUID of machine 3 may keep it from its own `once`; 5 and 6 have none.
        assert!(!matches!(n, 1 | 2 | 4) || once.contains(&own), "{n} at {address} gets {once}");
    }

    /// No machine gets content of another one, and none ends another's `once`.
    fn check(&self) {
        for (&n, &address) in &self.really {
            let of = |other: u8| [format!("own{other}/"), format!("own{other} "), mac(other).to_string()];
            let others: Vec<u8> = (1..=MACHINES).filter(|other| *other != n).collect();
            let hyphens = |n: u8| mac(n).to_string().replace(':', "-");
            let own = hyphens(n);
            let names = [
                "lanboot/boot.ipxe".to_owned(),
                "lanboot/whoami".to_owned(),
                "boot.ipxe".to_owned(),
                "autoexec.ipxe".to_owned(),
                "user-data".to_owned(),
                "config.txt".to_owned(),
                "pxelinux.cfg/default".to_owned(),
                format!("pxelinux.cfg/{UUID}"),
                format!("pxelinux.cfg/01-{own}"),
                "grub/grub.cfg".to_owned(),
                format!("grub/grub.cfg-{UUID}"),
                format!("{own}/boot.ipxe"),
                format!("{own}/user-data"),
            ];
            for name in names {
                let text = self.text(&name, address);
                for other in &others {
                    let marks = of(*other);
                    assert!(
                        !marks.iter().any(|mark| text.contains(mark)),
                        "{n} at {address} gets {name}: {text}"
                    );
                }
            }
            let standing = self.files.requester(address.into(), SERVER.into()).standing;
            for other in others {
                let named = self.text(&format!("{}/user-data", hyphens(other)), address);
                assert!(standing != Standing::Certain || named.is_empty(), "{n} at {address} gets {named}");
                let done = self.files.done(mac(other), address.into()).unwrap();
                assert!(
                    matches!(done, DoneReport::WrongMachine | DoneReport::Unknown),
                    "{n} at {address} ends {other}: {done:?}"
                );
                let requester = self.files.requester(address.into(), SERVER.into());
                self.files.sent(&format!("own{other}/linux"), 0..9, 9, &requester);
                self.files.sent(&format!("{}/boot.ipxe", hyphens(other)), 0..9, 9, &requester);
            }
        }
        let machines = self.boot_state.targets().machines();
        for machine in machines.iter().filter(|machine| machine.once.is_some()) {
            let once = machine.once.clone().map(crate::boot::loader::target::NextBoot::Start);
            assert_eq!(Some(self.boot_state.now(Some(machine))), once, "{} lost its once", machine.name);
        }
    }
}

fn uuid(which: u8) -> Vec<u8> {
    let raspberry_pi =
        || [&b"RPi4\x01\x02\x03\x04\x05\x06\x07\x08"[..], &0x100b_cdefu32.to_le_bytes()].concat();
    match which {
        1 => [&[0], &UUID.parse::<Uuid>().unwrap().to_smbios()[..]].concat(),
        2 => [&[0], &[7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8][..]].concat(),
        _ => raspberry_pi(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn s_01_forged_packets_never_disclose_another_machines_content(
        steps in prop::collection::vec(step(), 1..24),
        is_proxy in any::<bool>(),
        on_wire in any::<bool>(),
    ) {
        let mut world = World::new(if is_proxy { Mode::Proxy } else { Mode::Server }, on_wire);
        for step in &steps {
            match step {
                Step::Boots { n, ipxe } => world.boots(*n, *ipxe),
                Step::Forged(forged) => world.forge(forged),
            }
            world.check();
        }
    }
}

/// The reported attack: 20 of 20 boots got another machine's installer.
#[test]
fn s_01_an_inform_cannot_take_over_an_address() {
    for (mode, on_wire) in
        [(Mode::Server, true), (Mode::Server, false), (Mode::Proxy, true), (Mode::Proxy, false)]
    {
        let mut world = World::new(mode, on_wire);
        world.boots(5, true);
        world.check();
        let blank = Forged {
            port: 0,
            kind: 8,
            chaddr: 1,
            ciaddr: 5,
            yiaddr: 5,
            source: 5,
            giaddr: 0,
            requested: 0,
            server: 0,
            id: 0,
            uuid: 0,
            class: 2,
        };
        for forged in [
            blank.clone(),
            Forged { port: 1, kind: 3, ..blank.clone() },
            Forged { port: 1, kind: 8, ..blank.clone() },
            Forged { port: 2, kind: 5, ..blank.clone() },
            Forged { kind: 0, ..blank.clone() },
            Forged { kind: 3, requested: 5, server: 2, ciaddr: 0, source: 0, ..blank.clone() },
            Forged { kind: 3, requested: 5, server: 1, ciaddr: 0, source: 0, id: 5, ..blank.clone() },
            Forged { kind: 3, chaddr: 6, uuid: 1, ..blank },
        ] {
            world.forge(&forged);
            world.check();
        }
        assert!(!world.text("boot.ipxe", world.really[&5]).contains("own1"));
    }
}
