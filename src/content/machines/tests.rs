//! Tests of the facts about an address after leases, claims and neighbour entries in every order.

mod forged {
    mod tests;
}

use super::*;
use crate::net::neighbours::Neighbour;
use crate::types::Arch;
use crate::types::MacAddr;

const AT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);

impl MachineTable {
    /// Makes `machine` the only machine at `address`.
    pub fn learn(&self, address: IpAddr, machine: KnownMachine) {
        let IpAddr::V4(address) = address else { unreachable!("only DHCPv4 teaches machines") };
        let candidate = Candidate {
            mac: machine.mac,
            evidence: Evidence::Lease,
            ends: None,
            facts: Some(Box::new(machine)),
        };
        self.tables().leases.insert(address, vec![candidate]);
    }
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

fn machine(n: u8) -> KnownMachine {
    KnownMachine { mac: Some(mac(n)), ..KnownMachine::default() }
}

fn lease(n: u8, seconds: u64) -> Candidate {
    let ends = Some(Instant::now() + Duration::from_secs(seconds));
    Candidate { mac: Some(mac(n)), evidence: Evidence::Lease, ends, facts: Some(Box::new(machine(n))) }
}

fn give(known: &MachineTable, candidate: Candidate) {
    known.tables().record_lease(AT, candidate, Instant::now());
}

fn seen(known: &MachineTable) -> (Option<MacAddr>, Standing) {
    let found = known.at(AT.into());
    (found.machine.mac, found.standing)
}

#[test]
fn a_later_stage_adds_facts() {
    let known = MachineTable::default();
    let firmware = KnownMachine { arch: Some(Arch::UEFI_X64), ..machine(1) };
    give(&known, Candidate { facts: Some(Box::new(firmware.clone())), ..lease(1, 60) });
    let loader = KnownMachine { host_name: Some("pc1".into()), ..machine(1) };
    give(&known, Candidate { facts: Some(Box::new(loader)), ..lease(1, 60) });
    assert_eq!(
        known.at(AT.into()).machine,
        KnownMachine { host_name: Some("pc1".into()), ..firmware.clone() }
    );
    give(&known, Candidate { facts: None, ..lease(1, 60) });
    assert_eq!(known.at(AT.into()).machine.arch, firmware.arch, "after a renewal by the operating system");
}

/// A message on our own wire.
fn lan() -> Arrival {
    Arrival {
        interface: "eth1".into(),
        addresses: [Ipv4Addr::new(192, 168, 77, 1)].into(),
        networks: [].into(),
        destination: Ipv4Addr::BROADCAST,
        source: std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        mtu: 1500,
        loopback: false,
        mode: Mode::Server,
        boot_service: false,
        waited: Duration::ZERO,
    }
}

#[test]
fn r_35_the_host_name_of_an_unlisted_system_is_remembered() {
    let yaml =
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]}";
    let settings = crate::config::load(yaml).unwrap().dhcp.unwrap();
    let arrival = lan();
    let known = MachineTable::default();
    let book = LeaseBook::new(settings.pools());
    for (name, expected) in [(Some("pc7"), "pc7"), (None, "pc7"), (Some("a b"), "pc7"), (Some("pc8"), "pc8")]
    {
        let mut request = Message::new(crate::wire::dhcp::BOOTREQUEST);
        request.chaddr[..6].copy_from_slice(&mac(7).0);
        request.options.push(code::MESSAGE_TYPE, &[MessageType::Request.number()]);
        request.options.push(code::REQUESTED_ADDRESS, &AT.octets());
        name.iter().for_each(|name| assert!(request.options.push(code::HOSTNAME, name.as_bytes())));
        let request = crate::dhcp::classify::classify(&request, &arrival, &settings).unwrap();
        let mut ack = Message::new(crate::wire::dhcp::BOOTREPLY);
        ack.yiaddr = AT;
        ack.options.push(code::MESSAGE_TYPE, &[MessageType::Ack.number()]);
        known.record_answer(&request, (&ack, None), &book, Timestamp(0));
        let machine = known.at(AT.into()).machine;
        assert_eq!((machine.mac, machine.host_name.as_deref()), (Some(mac(7)), Some(expected)), "{name:?}");
    }
}

#[test]
fn r_35_a_full_name_alone_gives_the_host_name() {
    let name = |options: &[(u8, &[u8])]| {
        let mut request = Message::new(crate::wire::dhcp::BOOTREQUEST);
        options.iter().for_each(|(code, value)| assert!(request.options.push(*code, value)));
        KnownMachine::with_host_name(&request).and_then(|machine| machine.host_name)
    };
    let ascii = (code::FQDN, &b"\0\0\0pc9.lab.example"[..]);
    assert_eq!(name(&[ascii]).as_deref(), Some("pc9"));
    assert_eq!(name(&[(code::FQDN, b"\x04\0\0\x03pc9\x03lab\0")]).as_deref(), Some("pc9"));
    assert_eq!(name(&[ascii, (code::HOSTNAME, b"pc7")]).as_deref(), Some("pc7"), "option 12 comes first");
    assert_eq!(name(&[(code::FQDN, b"\0\0")]), None);
}

#[test]
fn r_35_a_host_name_that_is_only_in_the_discover_is_remembered_for_its_request() {
    let yaml =
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]}";
    let settings = crate::config::load(yaml).unwrap().dhcp.unwrap();
    let arrival = lan();
    let book = LeaseBook::new(settings.pools());
    for (xid, expected) in [(7, Some("pc7")), (8, None)] {
        let known = MachineTable::default();
        for (kind, answer, xid) in
            [(MessageType::Discover, MessageType::Offer, 7), (MessageType::Request, MessageType::Ack, xid)]
        {
            let mut message = Message::new(crate::wire::dhcp::BOOTREQUEST);
            message.chaddr[..6].copy_from_slice(&mac(7).0);
            message.xid = xid;
            message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
            if kind == MessageType::Discover {
                message.options.push(code::HOSTNAME, b"pc7");
            } else {
                message.options.push(code::REQUESTED_ADDRESS, &AT.octets());
                message.options.push(code::SERVER_IDENTIFIER, &[192, 168, 77, 1]);
            }
            let request = crate::dhcp::classify::classify(&message, &arrival, &settings).unwrap();
            let mut reply = Message::new(crate::wire::dhcp::BOOTREPLY);
            reply.yiaddr = AT;
            reply.options.push(code::MESSAGE_TYPE, &[answer.number()]);
            known.record_answer(&request, (&reply, None), &book, Timestamp(0));
        }
        assert_eq!(known.at(AT.into()).machine.host_name.as_deref(), expected, "a REQUEST with the id {xid}");
    }
}

#[test]
fn s_01_two_leases_of_an_address_need_a_neighbour_entry() {
    let known = MachineTable::default();
    give(&known, lease(1, 60));
    assert_eq!(seen(&known), (Some(mac(1)), Standing::Certain));
    give(&known, lease(2, 60));
    assert_eq!(seen(&known), (None, Standing::Contested));
    for (neighbour, expected) in [
        (Neighbour::At(vec![mac(1)]), (Some(mac(1)), Standing::Certain)),
        (Neighbour::At(vec![mac(2)]), (Some(mac(2)), Standing::Certain)),
        (Neighbour::At(vec![mac(3)]), (None, Standing::Contested)),
        (Neighbour::Silent, (None, Standing::Contested)),
    ] {
        known.neighbours.fix(AT, neighbour.clone());
        assert_eq!(seen(&known), expected, "{neighbour:?}");
    }
    known.neighbours.fix(AT, Neighbour::NotOnLink);
    for n in 3..20 {
        give(&known, lease(n, 60));
    }
    assert!(known.tables().leases[&AT].len() <= 4, "the number of candidates is limited");
}

#[test]
fn an_expired_lease_identifies_no_machine() {
    let known = MachineTable::default();
    give(&known, lease(1, 0));
    assert_eq!(seen(&known), (None, Standing::Unknown));
    give(&known, lease(2, 60));
    assert_eq!(seen(&known), (Some(mac(2)), Standing::Certain));
    let released = Lease {
        address: AT,
        holder: crate::lease::Holder {
            client: crate::types::ClientId::of_mac(mac(2)),
            mac: Some(mac(2)),
            is_boot_stage: true,
        },
        hardware: mac(2).into(),
        state: State::Released,
        until: Timestamp(0),
    };
    known.record_release(&released);
    let ends = known.tables().leases[&AT][0].ends.unwrap();
    assert!(ends <= Instant::now() + Duration::from_secs(60), "a RELEASE extends no lease");
    give(&known, lease(3, 60));
    assert_eq!(seen(&known).1, Standing::Contested, "the RELEASE may have been forged");
}

#[test]
fn s_01_leases_and_neighbours_override_claims() {
    let known = MachineTable::default();
    known.claim(AT, machine(2), Evidence::Hint);
    assert_eq!(seen(&known), (None, Standing::Unknown), "an INFORM alone");
    known.neighbours.fix(AT, Neighbour::At(vec![mac(1)]));
    assert_eq!(seen(&known), (Some(mac(1)), Standing::Neighbour));
    known.claim(AT, machine(2), Evidence::Overheard);
    assert_eq!(seen(&known), (None, Standing::Contested), "beside another server");
    known.neighbours.fix(AT, Neighbour::At(vec![mac(2)]));
    assert_eq!(seen(&known), (Some(mac(2)), Standing::Certain));
    known.neighbours.fix(AT, Neighbour::NotOnLink);
    assert_eq!(seen(&known), (Some(mac(2)), Standing::Claimed));
    known.claim(AT, machine(3), Evidence::Overheard);
    assert_eq!(seen(&known), (None, Standing::Contested));
    give(&known, lease(1, 60));
    assert_eq!(seen(&known), (Some(mac(1)), Standing::Certain), "the lease book overrides it");
    known.claim(AT, KnownMachine { arch: Some(Arch::BIOS), ..machine(1) }, Evidence::Hint);
    assert_eq!(known.at(AT.into()).machine.arch, Some(Arch::BIOS), "the leaseholder adds facts");
}

#[test]
fn the_oldest_entry_is_evicted_at_the_limit() {
    let mut table = Table::new(3);
    let address = |n: u8| Ipv4Addr::new(10, 0, 0, n);
    for n in [0, 1, 2, 0, 3] {
        table.put(address(n), n);
    }
    let values: Vec<_> = (0..4).map(|n| table.get(address(n)).copied()).collect();
    assert_eq!(values, [Some(0), None, Some(2), Some(3)], "0 was put in once more");
    assert_eq!((table.values.len(), table.order.len()), (3, 3));
    table.remove(address(2));
    assert_eq!((table.values.len(), table.order.len()), (2, 2));
}

#[test]
fn forged_claims_evict_no_lease() {
    let known = MachineTable::default();
    give(&known, lease(1, 60));
    for i in 0..u32::try_from(MAX_CLAIMS * 2).unwrap() {
        known.claim(Ipv4Addr::from(0x0a00_0000 + i), machine(2), Evidence::Overheard);
    }
    assert_eq!(seen(&known), (Some(mac(1)), Standing::Certain));
    assert_eq!(known.tables().claims.values.len(), MAX_CLAIMS);
    let beyond_a_router = Ipv4Addr::new(10, 200, 0, 1);
    known.claim(beyond_a_router, machine(2), Evidence::Overheard);
    assert_eq!(
        known.at(beyond_a_router.into()),
        Found::default(),
        "a contradicting claim may have been evicted"
    );
    known.neighbours.fix(beyond_a_router, Neighbour::At(vec![mac(2)]));
    assert_eq!(known.at(beyond_a_router.into()).standing, Standing::Certain);
}
