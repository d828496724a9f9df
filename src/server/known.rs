//! What is known of the machine at an address, shared by everybody who serves it: the DHCP loop writes down whom it
//! gave an address, TFTP and HTTP look up who asks them. Kept in memory only: a machine that boots says it anew.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::boot::identity::Identity;
use crate::boot::plan::takes_the_offer;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::subnet::Machine;
use crate::event::{Event, Message as Kind};
use crate::types::{Arch, MacAddr, Stage, Uuid};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::pxe;

/// Machines remembered of those that DHCP told of. Beyond that, the one that was heard of longest ago is forgotten.
pub const MAX_MACHINES: usize = 16_384;
/// Addresses remembered of those that the kernel was asked about. Anybody can make these up, so they have a table of
/// their own.
pub const MAX_NEIGHBOURS: usize = 1024;
/// Bytes of a host name that are kept: what a name in DNS may have (RFC 1035 section 2.3.4).
const MAX_HOST_NAME: usize = 255;
/// How long the kernel's word for which MAC is at an address is taken before it is asked again.
const ARP_FRESH: Duration = Duration::from_secs(5);
/// Where the kernel says which MAC it found at an address.
const ARP_TABLE: &str = "/proc/net/arp";

/// What is known of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownMachine {
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its UUID: that of its entry in `machines:`, or what it sent as option 97, read as SMBIOS stores it.
    pub uuid: Option<Uuid>,
    /// Its architecture, as its firmware or loader said.
    pub arch: Option<Arch>,
    /// Serial number of a Raspberry Pi, in the eight hexadecimal digits of its folder.
    pub serial: Option<String>,
    /// The host name it calls itself by: letters, digits, `-`, `_` and `.` only.
    pub host_name: Option<String>,
    /// The name of its entry in `machines:`.
    pub name: Option<String>,
    /// The DHCP server that gave it its address.
    pub server: Option<Ipv4Addr>,
}

impl KnownMachine {
    /// What a message tells of the machine that sent it, which has that entry in `machines:`.
    pub fn of(message: &Message, identity: &Identity, entry: Option<&Machine>) -> KnownMachine {
        let options = &message.options;
        let sent_uuid = || pxe::machine_uuids(options).map(|[smbios, _]| smbios);
        KnownMachine {
            mac: message.mac(),
            uuid: entry.and_then(|machine| machine.uuid).or_else(sent_uuid),
            arch: identity.arch(),
            serial: pxe::raspberry_pi_serial(options),
            host_name: options.get(code::HOSTNAME).and_then(host_name),
            name: entry.map(|machine| machine.name.to_string()),
            server: None,
        }
    }

    /// What is known when `later` was heard of the same machine: an operating system says less than its firmware did.
    fn and(self, later: KnownMachine) -> KnownMachine {
        KnownMachine {
            mac: later.mac.or(self.mac),
            uuid: later.uuid.or(self.uuid),
            arch: later.arch.or(self.arch),
            serial: later.serial.or(self.serial),
            host_name: later.host_name.or(self.host_name),
            name: later.name.or(self.name),
            server: later.server.or(self.server),
        }
    }
}

/// The machines by address. Cheap to clone; clones share the tables.
#[derive(Clone, Debug)]
pub struct Known(Arc<Mutex<Tables>>);

#[derive(Debug)]
struct Tables {
    /// What DHCP told.
    machines: Table<KnownMachine>,
    /// What the kernel said, and when: no MAC if it knew none.
    neighbours: Table<(Option<MacAddr>, Instant)>,
}

impl Default for Known {
    fn default() -> Known {
        let (machines, neighbours) = (Table::new(MAX_MACHINES), Table::new(MAX_NEIGHBOURS));
        Known(Arc::new(Mutex::new(Tables { machines, neighbours })))
    }
}

impl Known {
    /// The machine at `address` is `machine`. What an earlier stage of the same machine (the same MAC) told is kept
    /// where `machine` says nothing; of another machine nothing is.
    pub fn learn(&self, address: Ipv4Addr, machine: KnownMachine) {
        self.tables().learn(address, machine);
    }

    /// Takes in what was answered to `request`: who got or has which address. Costs nothing for a system that renews
    /// its lease.
    pub fn answered(&self, request: &Request<'_>, event: &Event) {
        let Event::Answered { message, address, .. } = event else { return };
        // It takes what it is offered, and asks for nothing more.
        let by_offer = *message == Kind::Offer && takes_the_offer(&request.identity);
        if !by_offer && !matches!(message, Kind::Ack | Kind::BootpReply) {
            return;
        }
        let boots = request.identity.stage != Stage::Other || request.machine.is_some();
        if address.is_unspecified() || (!boots && matches!(request.ask, Ask::Extend { .. })) {
            return;
        }
        if boots {
            let machine = KnownMachine::of(request.message, &request.identity, request.machine);
            self.learn(*address, KnownMachine { server: Some(request.server), ..machine });
        } else {
            self.tables().forget_another(*address, request.message.mac());
        }
    }

    /// What is known of the machine at `address`. Of one that DHCP does not know, the MAC if it is on a wire of this
    /// computer, as the kernel says.
    pub fn at(&self, address: Ipv4Addr) -> KnownMachine {
        let told = self.tables().at(address, Instant::now());
        told.unwrap_or_else(|| {
            // Not while the tables are locked: the DHCP loop must not wait for a file.
            let mac = mac_in(&std::fs::read_to_string(ARP_TABLE).unwrap_or_default(), address);
            self.tables().neighbours.put(address, (mac, Instant::now()));
            KnownMachine { mac, ..KnownMachine::default() }
        })
    }

    /// The tables, even if somebody who held them failed: each change leaves them whole.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// What is known of `address`; `None` if the kernel is to be asked.
    fn at(&self, address: Ipv4Addr, now: Instant) -> Option<KnownMachine> {
        if let Some(machine) = self.machines.get(address) {
            return Some(machine.clone());
        }
        let (mac, asked) = *self.neighbours.get(address)?;
        let fresh = now.saturating_duration_since(asked) < ARP_FRESH;
        fresh.then(|| KnownMachine { mac, ..KnownMachine::default() })
    }

    fn learn(&mut self, address: Ipv4Addr, machine: KnownMachine) {
        let before = self.machines.get(address);
        let same = before.filter(|before| before.mac.is_some() && before.mac == machine.mac);
        let machine = match same {
            Some(before) => before.clone().and(machine),
            None => machine,
        };
        self.machines.put(address, machine);
    }

    /// Forgets the machine at `address` unless its MAC is `mac`: the address is another's now, of whom nothing is known.
    fn forget_another(&mut self, address: Ipv4Addr, mac: Option<MacAddr>) {
        if self.machines.get(address).is_some_and(|machine| machine.mac != mac) {
            self.machines.remove(address);
        }
    }
}

/// Values by address, as many as the limit says: of those that were put in, the last.
#[derive(Debug)]
struct Table<T> {
    limit: usize,
    values: HashMap<Ipv4Addr, (T, u64)>,
    /// The addresses by the number of their last [`Table::put`].
    order: BTreeMap<u64, Ipv4Addr>,
    puts: u64,
}

impl<T> Table<T> {
    fn new(limit: usize) -> Table<T> {
        Table { limit, values: HashMap::new(), order: BTreeMap::new(), puts: 0 }
    }

    fn get(&self, address: Ipv4Addr) -> Option<&T> {
        self.values.get(&address).map(|(value, _)| value)
    }

    fn put(&mut self, address: Ipv4Addr, value: T) {
        self.remove(address);
        if self.values.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
        self.puts += 1;
        self.order.insert(self.puts, address);
        self.values.insert(address, (value, self.puts));
    }

    fn remove(&mut self, address: Ipv4Addr) {
        if let Some((_, number)) = self.values.remove(&address) {
            self.order.remove(&number);
        }
    }
}

/// Option 12 if it is a host name; some clients end it with NUL. It comes off the wire and goes into file names and
/// scripts, so nothing else may be in it.
fn host_name(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches('\0');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=MAX_HOST_NAME).contains(&text.len()) && text.bytes().all(known) && !text.starts_with('.');
    fits.then(|| text.to_owned())
}

/// The MAC at `address` in the kernel's table: a line for each neighbour, with address, hardware type, flags, MAC, mask
/// and interface (proc_net(5)). None if the kernel is still asking who has it.
fn mac_in(table: &str, address: Ipv4Addr) -> Option<MacAddr> {
    const COMPLETE: u32 = 2;
    let address = address.to_string();
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (ip, _hardware, flags, mac) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        let found = ip == address && flags & COMPLETE != 0;
        found.then(|| mac.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn machine(n: u8) -> KnownMachine {
        KnownMachine { mac: Some(mac(n)), ..KnownMachine::default() }
    }

    #[test]
    fn a_later_stage_adds_to_what_is_known_and_another_machine_does_not() {
        let known = Known::default();
        let firmware = KnownMachine { arch: Some(Arch::UEFI_X64), ..machine(1) };
        known.learn(AT, firmware.clone());
        known.clone().learn(AT, KnownMachine { host_name: Some("pc1".into()), ..machine(1) });
        assert_eq!(known.at(AT), KnownMachine { host_name: Some("pc1".into()), ..firmware });
        known.learn(AT, machine(2));
        assert_eq!(known.at(AT), machine(2));
        // Without a MAC nothing says that it is the same one.
        known.learn(AT, KnownMachine { arch: Some(Arch::BIOS), ..KnownMachine::default() });
        assert_eq!(known.at(AT).mac, None);
    }

    #[test]
    fn an_address_that_a_system_of_another_machine_gets_is_not_the_old_machines() {
        let known = Known::default();
        known.learn(AT, machine(1));
        known.tables().forget_another(AT, Some(mac(1)));
        assert_eq!(known.at(AT), machine(1));
        known.tables().forget_another(AT, Some(mac(2)));
        assert_eq!(known.at(AT), KnownMachine::default());
    }

    #[test]
    fn as_many_are_remembered_as_the_limit_says_and_the_oldest_forgotten() {
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
    fn addresses_that_anybody_made_up_push_no_machine_out() {
        let known = Known::default();
        known.learn(AT, machine(1));
        for i in 0..u32::try_from(MAX_NEIGHBOURS + MAX_MACHINES).unwrap() {
            known.tables().neighbours.put(Ipv4Addr::from(0x0a00_0000 + i), (None, Instant::now()));
        }
        assert_eq!(known.at(AT), machine(1));
        assert_eq!(known.tables().neighbours.values.len(), MAX_NEIGHBOURS);
    }

    #[test]
    fn the_kernel_is_asked_again_after_a_while_and_dhcp_knows_better() {
        let known = Known::default();
        let now = Instant::now();
        known.tables().neighbours.put(AT, (Some(mac(1)), now));
        assert_eq!(known.tables().at(AT, now), Some(machine(1)));
        assert_eq!(known.tables().at(AT, now + ARP_FRESH), None);
        known.tables().neighbours.remove(AT);
        assert_eq!(known.at(AT), KnownMachine::default(), "no neighbour has this address here");
        known.learn(AT, machine(2));
        assert_eq!(known.tables().at(AT, now), Some(machine(2)));
    }

    #[test]
    fn the_kernels_table_is_read_by_complete_entries_only() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
192.168.77.5     0x1         0x0         00:00:00:00:00:00     *        eth0
192.168.77.50    0x1         0x2         02:00:00:00:00:01     *        eth0
192.168.77.51    0x1         0x6         02:00:00:00:00:02     *        eth0
192.168.77.52    0x20        0x2         80:00:00:48:fe:80:00:00:00:00:00:00:00:02     *        ib0
";
        assert_eq!(mac_in(table, AT), Some(mac(1)));
        assert_eq!(mac_in(table, Ipv4Addr::new(192, 168, 77, 51)), Some(mac(2)), "a permanent one");
        for last in [5, 52, 53] {
            assert_eq!(mac_in(table, Ipv4Addr::new(192, 168, 77, last)), None, "{last}");
        }
        assert_eq!(mac_in("", AT), None);
    }

    #[test]
    fn a_host_name_has_nothing_in_it_that_a_path_or_a_script_would_mind() {
        assert_eq!(host_name(b"node-1.lab\0").as_deref(), Some("node-1.lab"));
        for bad in
            [b"".as_slice(), b"\0", b"../x", b".hidden", b"a b", b"a\nb", b"${x}", b"\xff", &[b'x'; 256]]
        {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }
}
