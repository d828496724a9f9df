//! The mode of each interface: DHCP server, proxy beside another server, or off. `config/` builds it, and the server
//! reads it for each interface.

use std::collections::BTreeMap;

use crate::boot::plan::Mode;

/// `dhcp.mode`: the mode of each interface, by its name. `None` is neither server nor proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Mode of every interface without an entry.
    pub default: Option<Mode>,
    /// Modes of the named interfaces.
    pub by_interface: BTreeMap<String, Option<Mode>>,
}

impl Modes {
    /// The same mode on every interface.
    pub fn all(mode: Option<Mode>) -> Modes {
        Modes { default: mode, by_interface: BTreeMap::new() }
    }

    /// The mode of the interface with that name.
    pub fn on(&self, interface: &str) -> Option<Mode> {
        self.by_interface.get(interface).copied().unwrap_or(self.default)
    }

    /// Whether the default or any named interface has this mode.
    pub fn has(&self, mode: Mode) -> bool {
        self.default == Some(mode) || self.by_interface.values().any(|other| *other == Some(mode))
    }

    /// Whether no interface is in server or proxy mode.
    pub fn is_off(&self) -> bool {
        !self.has(Mode::Server) && !self.has(Mode::Proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_without_an_entry_has_the_default() {
        let by_interface = [("eth1".to_owned(), Some(Mode::Server)), ("eth2".to_owned(), None)].into();
        let modes = Modes { default: Some(Mode::Proxy), by_interface };
        assert_eq!(
            ["eth0", "eth1", "eth2"].map(|name| modes.on(name)),
            [Some(Mode::Proxy), Some(Mode::Server), None]
        );
        assert!(modes.has(Mode::Server) && modes.has(Mode::Proxy) && !modes.is_off());
        assert!(Modes::all(None).is_off() && !Modes::all(Some(Mode::Proxy)).has(Mode::Server));
    }
}
