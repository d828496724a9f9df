//! The facts about one machine that its DHCP messages state.

use std::net::Ipv4Addr;

use crate::boot::identity::{Identity, is_raspberry_pi_mac};
use crate::dhcp::fqdn;
use crate::dhcp::machines::Machine;
use crate::types::{Arch, MacAddr, Uuid};
use crate::wire::dhcp::{Message, Options};
use crate::wire::option::code;
use crate::wire::pxe;

/// Maximum bytes of a host name: the limit of DNS names (RFC 1035 section 2.3.4).
const MAX_HOST_NAME: usize = 255;

/// The known facts about one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownMachine {
    pub mac: Option<MacAddr>,
    /// The UUID of its entry in `machines:`, or else option 97 in SMBIOS byte order.
    pub uuid: Option<Uuid>,
    /// The architecture that its firmware or loader states.
    pub arch: Option<Arch>,
    /// The serial number of a Raspberry Pi: eight hexadecimal digits, as in its folder name.
    pub serial: Option<String>,
    /// The host name that it states: only letters, digits, `-`, `_` and `.`.
    pub host_name: Option<String>,
    /// The name of its entry in `machines:`.
    pub name: Option<String>,
    /// The DHCP server that assigned its address.
    pub server: Option<Ipv4Addr>,
    /// Whether its messages agree on option 97.
    pub identifier: Identifier,
}

/// Option 97 in the messages of one MAC.
///
/// Messages with that MAC may be forged. If two differ, at least one is forged, so neither is believed: the machine is
/// then identified by its MAC alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifier {
    /// No message so far had to contain it.
    #[default]
    Unstated,
    /// Firmware or a loader sent none, or a placeholder.
    Absent,
    /// All messages agree.
    Agreed {
        /// The two UUIDs that its bytes can mean.
        uuids: Option<[Uuid; 2]>,
        serial: Option<String>,
    },
    /// Messages contradict each other.
    Disputed,
}

impl KnownMachine {
    /// The facts that `message` states about its sender, whose entry in `machines:` is `entry`.
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
            host_name: stated_name(options),
            name: entry.map(|machine| machine.name.to_string()),
            server: None,
            identifier,
        }
    }

    /// The host name that an operating system states, and its MAC. `None` if it states none.
    pub fn with_host_name(message: &Message) -> Option<KnownMachine> {
        let host_name = stated_name(&message.options)?;
        Some(KnownMachine { mac: message.mac(), host_name: Some(host_name), ..KnownMachine::default() })
    }

    /// Merges the facts of a later message. They only add: an operating system states less than the firmware did.
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

    /// The UUID for looking up the entry in `machines:`. `None` if messages disagree, or if the firmware sent none: the
    /// UUID may then come from a forged message that the lease book believed.
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
            // The boot ROM of a Raspberry Pi states its serial number; U-Boot and EDK2 on it state something else.
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

/// Whether both can be the same UUID: some stages send it in SMBIOS byte order, others in text order.
fn agree(one: Option<[Uuid; 2]>, other: Option<[Uuid; 2]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|uuid| other.contains(uuid)),
        (None, None) => true,
        _ => false,
    }
}

/// The host name in option 12. Clients that send only their full name (option 81) are known by its first label.
fn stated_name(options: &Options) -> Option<String> {
    let name = options.get(code::HOSTNAME).and_then(host_name);
    name.or_else(|| host_name(&fqdn::host_of(options.get(code::FQDN)?)?))
}

/// Parses option 12 as a host name; some clients end it with NUL. It goes into file names and scripts, so every other
/// character is rejected.
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
    fn host_names_are_safe_for_paths_and_scripts() {
        assert_eq!(host_name(b"node-1.lab\0").as_deref(), Some("node-1.lab"));
        for bad in
            [b"".as_slice(), b"\0", b"../x", b".hidden", b"a b", b"a\nb", b"${x}", b"\xff", &[b'x'; 256]]
        {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn s_01_contradicting_identifiers_are_both_rejected() {
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
        assert_eq!(
            known(states(pc, Some(a), None), system).believed_uuid(),
            Some(a[0]),
            "the system states no UUID"
        );
        let recognized = KnownMachine { uuid: Some(b[0]), ..states(pc, None, None) };
        assert_eq!(recognized.believed_uuid(), None, "only the lease book states it");
        let forged = known(states(pc, None, None), states(pc, None, Some("100bcdef")));
        assert_eq!(forged.serial, None, "not a Raspberry Pi");
        let uboot = known(states(pi, None, Some("100bcdef")), states(pi, None, None));
        assert_eq!(uboot.serial.as_deref(), Some("100bcdef"));
        let two = known(states(pi, None, Some("100bcdef")), states(pi, None, Some("200bcdef")));
        assert_eq!(two.serial, None);
    }
}
