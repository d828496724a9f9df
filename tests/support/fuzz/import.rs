//! Parsing other servers' lease files: for any content, in pieces of any size, imported leases follow the rules.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use lanboot::lease::import::{Format, Found, Import, Reader, Reservations};
use lanboot::lease::{FOREVER, Holder, Lease, LeaseBook, Pool, State};
use lanboot::types::{ClientId, MacAddr, Timestamp};

/// Longer input finds nothing new.
const MOST: usize = 8192;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// The first byte is the size of the pieces. The rest is the file.
pub fn check(data: &[u8]) {
    let Some((size, text)) = data.split_first() else { return };
    let text = &text[..text.len().min(MOST)];
    for format in [Format::Isc, Format::Dnsmasq, Format::of(text)] {
        let found = read(format, text, text.len().max(1));
        assert_eq!(found, read(format, text, usize::from(*size).max(1)), "it depends on the pieces");
        found.iter().for_each(|found| is_sound(found, text));
        choose(found);
    }
}

fn read(format: Format, text: &[u8], size: usize) -> Vec<Found> {
    let mut all = Vec::new();
    let mut reader = Reader::new(format);
    text.chunks(size).for_each(|piece| reader.read(piece, &mut |found| all.push(found)));
    reader.end(&mut |found| all.push(found));
    all
}

fn is_sound(found: &Found, text: &[u8]) {
    match found {
        Found::Entry(address, Some(lease)) => {
            assert_eq!((lease.address, lease.state), (*address, State::Leased));
            assert!((2..=255).contains(&lease.holder.client.as_bytes().len()) && lease.until <= FOREVER);
            assert!(lease.holder.mac.is_none_or(|mac| lease.hardware.mac() == Some(mac)));
        }
        Found::Host(_) => {}
        Found::Broken(problem, _) => {
            let line = usize::try_from(problem.place.line).unwrap();
            let column = usize::try_from(problem.place.column).unwrap();
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            assert!(line >= 1 && column >= 1 && column <= lines[line - 1].len() + 1, "{problem}");
            let text = problem.to_string();
            assert!(text.len() < 1000 && text.bytes().all(|byte| byte >= b' ' && byte != 0x7f), "{text:?}");
        }
        Found::Entry(..) | Found::Ipv6 => {}
    }
}

/// Imports into a book in which 10.0.0.1 is leased and 10.0.0.2 reserved.
fn choose(found: Vec<Found>) {
    let range = "10.0.0.0-10.255.255.255".parse().unwrap();
    let reserved = Ipv4Addr::new(10, 0, 0, 2);
    let mut book = LeaseBook::new(vec![Pool::new("10.0.0.0/8".parse().unwrap(), vec![range], [reserved])]);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let own = Lease {
        address: Ipv4Addr::new(10, 0, 0, 1),
        holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false },
        hardware: mac.into(),
        state: State::Leased,
        until: FOREVER,
    };
    book.load(own.clone());
    let reservations: Reservations = [(reserved, Some(MacAddr([2, 0, 0, 0, 0, 2])))].into_iter().collect();
    let entries = found.len() as u64;
    let broken = found.iter().filter(|found| matches!(found, Found::Broken(..))).count() as u64;
    let mut intake = Import::new(&book, &reservations, NOW);
    found.into_iter().for_each(|found| intake.add(found));
    let (taken, not_taken) = intake.finish();
    let counted = taken.len() as u64 + not_taken.values().sum::<u64>() + broken;
    assert_eq!(counted, entries, "every entry is taken, counted by a reason, or a problem");
    let addresses: HashSet<Ipv4Addr> = taken.iter().map(|lease| lease.address).collect();
    let clients: HashSet<ClientId> = taken.iter().map(|lease| lease.holder.client.clone()).collect();
    assert!(addresses.len() == taken.len() && clients.len() == taken.len(), "an address or a client has two");
    for lease in taken {
        assert!(
            lease.until > NOW && lease.address != own.address && lease.holder.client != own.holder.client
        );
        assert!(lease.address != reserved || lease.holder.mac == Some(MacAddr([2, 0, 0, 0, 0, 2])));
        assert!(book.load(lease));
    }
}
