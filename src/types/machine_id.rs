//! The identity of a machine in records and log lines.

use std::fmt;
use std::sync::Arc;

use crate::types::client::{ClientId, MacAddr};
use crate::types::text::Escaped;
use crate::types::uuid::Uuid;

/// Everything that identifies the machine of a record, as far as its message or its address states it. At least one
/// field is known. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct MachineId {
    /// The Ethernet address.
    pub mac: Option<MacAddr>,
    /// Option 97, or the UUID of the machine's entry.
    pub uuid: Option<Uuid>,
    /// The client identifier. It is set only for clients without an Ethernet address, such as InfiniBand cards.
    pub client: Option<ClientId>,
    /// The name of the machine's entry in `machines:`.
    pub name: Option<Arc<str>>,
}

impl MachineId {
    /// Returns the identity if anything of it is known.
    pub fn if_known(self) -> Option<MachineId> {
        let MachineId { mac, uuid, client, name } = &self;
        let is_known = mac.is_some() || uuid.is_some() || client.is_some() || name.is_some();
        is_known.then_some(self)
    }
}

impl From<MacAddr> for MachineId {
    fn from(mac: MacAddr) -> MachineId {
        MachineId { mac: Some(mac), ..MachineId::default() }
    }
}

impl fmt::Display for MachineId {
    /// `52:54:00:12:34:56 node1`. A machine without a name is named after its MAC, which is shown once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mac {
            Some(mac) => write!(f, "{mac}")?,
            None => f.write_str("no-mac")?,
        }
        let name =
            self.name.as_ref().filter(|name| self.mac.is_none_or(|mac| mac.to_string() != name.as_ref()));
        match name {
            Some(name) => write!(f, " {}", Escaped(name.as_bytes())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_name_shows_its_mac_once() {
        let mac = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let shown = |name: &str| MachineId { name: Some(name.into()), ..mac.into() }.to_string();
        assert_eq!(shown("node1"), "52:54:00:12:34:56 node1");
        assert_eq!(shown("52:54:00:12:34:56"), "52:54:00:12:34:56");
    }
}
