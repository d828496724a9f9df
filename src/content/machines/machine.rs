//! The facts about one machine, as its DHCP messages state them.

use std::net::Ipv4Addr;

use crate::boot::identity::{Identity, is_raspberry_pi_mac};
use crate::dhcp::settings::Machine;
use crate::types::{Arch, MacAddr, Uuid};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::pxe;

/// Bytes of a host name that are kept: the limit of a name in DNS (RFC 1035 section 2.3.4).
const MAX_HOST_NAME: usize = 255;

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
    /// Whether its messages agree on option 97.
    pub identifier: Identifier,
}

/// Option 97 as the messages of one MAC state it.
///
/// Messages with that MAC may be forged. Two that differ cannot both be the machine's, so neither is believed: the
/// machine is then known by its MAC alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifier {
    /// No message of a stage that states it has come.
    #[default]
    Unstated,
    /// Firmware or a loader sent none, or a placeholder.
    Absent,
    /// All messages agree.
    Agreed {
        /// The UUIDs that its bytes can mean.
        uuids: Option<[Uuid; 2]>,
        /// The serial number of a Raspberry Pi.
        serial: Option<String>,
    },
    /// Messages differ.
    Disputed,
}

impl KnownMachine {
    /// What a message states of the machine that sent it, which has that entry in `machines:`.
    pub fn of(message: &Message, identity: &Identity, entry: Option<&Machine>) -> KnownMachine {
        let options = &message.options;
        let uuids = pxe::machine_uuids(options);
        let serial = pxe::raspberry_pi_serial(options);
        let identifier = match (uuids.is_some() || serial.is_some(), identity.stage.is_network_boot()) {
            (true, _) => Identifier::Agreed { uuids, serial: serial.clone() },
            (false, true) => Identifier::Absent,
            (false, false) => Identifier::Unstated,
        };
        KnownMachine {
            mac: message.mac(),
            uuid: entry.and_then(|machine| machine.uuid).or_else(|| uuids.map(|[smbios, _]| smbios)),
            arch: identity.arch(),
            serial,
            host_name: options.get(code::HOSTNAME).and_then(host_name),
            name: entry.map(|machine| machine.name.to_string()),
            server: None,
            identifier,
        }
    }

    /// The same machine after a later message: an operating system says less than its firmware did.
    pub fn and(self, later: KnownMachine) -> KnownMachine {
        let identifier = self.identifier.and(later.identifier, later.mac);
        let serial = match &identifier {
            Identifier::Agreed { serial, .. } => serial.clone(),
            Identifier::Disputed => None,
            Identifier::Unstated | Identifier::Absent => later.serial.or(self.serial),
        };
        KnownMachine {
            mac: later.mac.or(self.mac),
            uuid: later.uuid.or(self.uuid),
            arch: later.arch.or(self.arch),
            serial,
            host_name: later.host_name.or(self.host_name),
            name: later.name.or(self.name),
            server: later.server.or(self.server),
            identifier,
        }
    }

    /// The UUID by which its entry in `machines:` may be looked up: none while its messages dispute it, and none if its
    /// firmware sent none. The lease book may then have taken it for a machine that a forged message said it was.
    pub fn believed_uuid(&self) -> Option<Uuid> {
        self.uuid.filter(|_| !matches!(self.identifier, Identifier::Disputed | Identifier::Absent))
    }
}

impl Identifier {
    fn and(self, later: Identifier, mac: Option<MacAddr>) -> Identifier {
        use Identifier::{Absent, Agreed, Disputed, Unstated};
        match (self, later) {
            (known, Unstated) => known,
            (Unstated, later) => later,
            (Absent, Absent) => Absent,
            (Agreed { uuids, serial }, Agreed { uuids: others, serial: other })
                if serial == other && agree(uuids, others) =>
            {
                Agreed { uuids: others, serial: other }
            }
            // The boot ROM of a Raspberry Pi states its serial number, and U-Boot or EDK2 on it something else.
            (known @ Agreed { serial: Some(_), .. }, Absent | Agreed { serial: None, .. })
                if mac.is_some_and(is_raspberry_pi_mac) =>
            {
                known
            }
            (Absent | Agreed { serial: None, .. }, later @ Agreed { serial: Some(_), .. })
                if mac.is_some_and(is_raspberry_pi_mac) =>
            {
                later
            }
            _ => Disputed,
        }
    }
}

/// Whether both may be one UUID: some stages send it in the order of SMBIOS, some in that of its text.
fn agree(one: Option<[Uuid; 2]>, other: Option<[Uuid; 2]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|uuid| other.contains(uuid)),
        (None, None) => true,
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_has_nothing_in_it_that_a_path_or_a_script_would_mind() {
        assert_eq!(host_name(b"node-1.lab\0").as_deref(), Some("node-1.lab"));
        for bad in
            [b"".as_slice(), b"\0", b"../x", b".hidden", b"a b", b"a\nb", b"${x}", b"\xff", &[b'x'; 256]]
        {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn s_01_two_identifiers_of_one_mac_are_both_disbelieved() {
        let uuid = |n: u8| {
            let bytes = [n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
            [Uuid::from_smbios(bytes), Uuid::from_network(bytes)]
        };
        let states = |mac: [u8; 6], uuids: Option<[Uuid; 2]>, serial: Option<&str>| KnownMachine {
            mac: Some(MacAddr(mac)),
            uuid: uuids.map(|[uuid, _]| uuid),
            serial: serial.map(str::to_owned),
            identifier: match uuids.is_some() || serial.is_some() {
                true => Identifier::Agreed { uuids, serial: serial.map(str::to_owned) },
                false => Identifier::Absent,
            },
            ..KnownMachine::default()
        };
        let (pc, pi) = ([2, 0, 0, 0, 0, 1], [0xb8, 0x27, 0xeb, 0, 0, 1]);
        let [a, b] = [uuid(1), uuid(2)];
        let known = |one: KnownMachine, two: KnownMachine| one.and(two);
        assert_eq!(known(states(pc, Some(a), None), states(pc, Some(a), None)).believed_uuid(), Some(a[0]));
        let swapped = states(pc, Some([a[1], a[0]]), None);
        assert_eq!(known(states(pc, Some(a), None), swapped).believed_uuid(), Some(a[1]), "the same UUID");
        for (one, two) in [(Some(a), Some(b)), (None, Some(b)), (Some(a), None)] {
            let disputed = known(states(pc, one, None), states(pc, two, None));
            assert_eq!(disputed.believed_uuid(), None, "{one:?} {two:?}");
            let again = disputed.and(states(pc, Some(a), None));
            assert_eq!(again.believed_uuid(), None, "it stays disputed");
        }
        let system = KnownMachine { mac: Some(MacAddr(pc)), ..KnownMachine::default() };
        assert_eq!(known(states(pc, Some(a), None), system).believed_uuid(), Some(a[0]), "it says no UUID");
        let recognized = KnownMachine { uuid: Some(b[0]), ..states(pc, None, None) };
        assert_eq!(recognized.believed_uuid(), None, "the lease book alone says so");
        let forged = known(states(pc, None, None), states(pc, None, Some("100bcdef")));
        assert_eq!(forged.serial, None, "no Raspberry Pi");
        let uboot = known(states(pi, None, Some("100bcdef")), states(pi, None, None));
        assert_eq!(uboot.serial.as_deref(), Some("100bcdef"));
        let two = known(states(pi, None, Some("100bcdef")), states(pi, None, Some("200bcdef")));
        assert_eq!(two.serial, None);
    }
}
