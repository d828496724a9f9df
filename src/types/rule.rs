//! The rules that choose a boot file.

use std::fmt;
use std::sync::Arc;

use crate::types::arch::Arch;
use crate::types::text::Escaped;

/// The rule that chose a client's boot file. `Display` gives the key of config.yaml, as log lines show it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// The next boot of the machine, which a person has chosen by `lanboot once` or the API.
    Once,
    /// `boot` of the machine with this name.
    Machine(Arc<str>),
    /// `boot` of the class with this number in `dhcp.classes`, counted from 1.
    Class(usize),
    /// `boot.ipxe`; or its default, where the key is missing and no other rule gives iPXE a file.
    Ipxe,
    /// `boot.default`: the script that is generated for each machine.
    Default,
    /// `targets`: the same script, where no other rule gives iPXE a file.
    Targets,
    /// The key of this architecture in `boot.arch`.
    Arch(Arch),
    /// `boot.bootp`.
    Bootp,
    /// `boot.menu`: the whole menu, or the item with this number, counted from 0.
    Menu(Option<usize>),
    /// The loop guard: an iPXE loaded itself again and again, so it gets the script instead.
    LoopGuard,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Once => f.write_str("once"),
            Rule::Machine(name) => write!(f, "machine {}", Escaped(name.as_bytes())),
            Rule::Class(number) => write!(f, "class {number}"),
            Rule::Ipxe => f.write_str("boot.ipxe"),
            Rule::Default => f.write_str("boot.default"),
            Rule::Targets => f.write_str("targets"),
            // Unregistered architectures have no name, so the key is the number.
            Rule::Arch(arch) => match arch.name() {
                Some(name) => write!(f, "boot.arch.{name}"),
                None => write!(f, "boot.arch.{}", arch.number()),
            },
            Rule::Bootp => f.write_str("boot.bootp"),
            Rule::Menu(None) => f.write_str("boot.menu"),
            Rule::Menu(Some(place)) => write!(f, "boot.menu[{place}]"),
            Rule::LoopGuard => f.write_str("loop guard"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_displayed_as_its_key() {
        assert_eq!(Rule::Machine("node1".into()).to_string(), "machine node1");
        assert_eq!(Rule::Machine("a\nb".into()).to_string(), "machine a\\x0ab");
        assert_eq!(Rule::Once.to_string(), "once");
        assert_eq!(Rule::Class(2).to_string(), "class 2");
        assert_eq!(Rule::Arch(Arch::UEFI_X64).to_string(), "boot.arch.uefi-x64");
        assert_eq!(Rule::Arch(Arch::from_number(999)).to_string(), "boot.arch.999");
        assert_eq!([Rule::Ipxe, Rule::Bootp].map(|rule| rule.to_string()), ["boot.ipxe", "boot.bootp"]);
        assert_eq!([Rule::Default, Rule::Targets].map(|rule| rule.to_string()), ["boot.default", "targets"]);
        assert_eq!([None, Some(1)].map(|n| Rule::Menu(n).to_string()), ["boot.menu", "boot.menu[1]"]);
    }
}
