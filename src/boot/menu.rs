//! PXE boot menus: firmware shows the items, and asks port 4011 for the file of the one that is chosen (PXE 2.1 section
//! 2.2).

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::machine_boot::{MachineBoot, file_for};
use crate::types::Firmware;
use crate::wire::pxe::{self, BootItem, LOCAL_BOOT, MenuItem};

/// The type of boot server that stands for the first item of a menu; each further item has the next. From here on they
/// are anybody's to use (PXE 2.1 table 2-1).
const FIRST_KIND: u16 = 0x8000;

/// Items that a menu may have: more fit option 43 in no case.
pub const MAX_ITEMS: usize = 50;

/// [`Menu::timeout`] that waits for ever.
pub const FOR_EVER: u8 = 255;

/// `boot.menu`, `boot.prompt` and `boot.timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    /// What can be chosen; at least one.
    pub items: Vec<Item>,
    /// What stands on the screen until the menu is asked for, or the first item boots.
    pub prompt: Arc<str>,
    /// For how many seconds; 0 boots the first item at once, [`FOR_EVER`] shows the menu and waits.
    pub timeout: u8,
}

/// One item of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the menu shows.
    pub text: Arc<str>,
    /// What it does.
    pub boots: Boots,
}

/// What an item of a menu does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boots {
    /// Loads a file from here.
    File(MachineBoot),
    /// Asks another boot server.
    Server(Ipv4Addr),
    /// Goes on to the local disk.
    Local,
}

/// What of a menu a reply says in option 43.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it that the client can use.
    Whole(Shown),
    /// The item that it asked for.
    Chosen(BootItem),
}

/// The part of a menu that one client can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    prompt: Arc<str>,
    timeout: u8,
    items: Vec<ShownItem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ShownItem {
    kind: u16,
    text: Arc<str>,
    server: Asked,
}

/// Whom the client asks for an item's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Us,
    Other(Ipv4Addr),
    Nobody,
}

/// An item that the client can use, with its place in the menu and its file.
pub(super) struct Usable<'m> {
    pub(super) place: usize,
    pub(super) kind: u16,
    pub(super) item: &'m Item,
    pub(super) file: Option<Arc<str>>,
}

impl Menu {
    /// Whether that client is shown menus: the PXE of a BIOS or of UEFI. iPXE has its script, which does it better.
    pub fn is_for(identity: &Identity) -> bool {
        matches!(identity.firmware, Firmware::BiosPxe | Firmware::UefiPxe)
    }

    pub(super) fn usable(&self, identity: &Identity) -> impl Iterator<Item = Usable<'_>> {
        self.items.iter().enumerate().zip(FIRST_KIND..).filter_map(|((place, item), kind)| {
            let (kind, file) = match &item.boots {
                Boots::File(boot) => (kind, Some(file_for(boot, identity)?)),
                Boots::Server(_) => (kind, None),
                Boots::Local => (LOCAL_BOOT, None),
            };
            Some(Usable { place, kind, item, file })
        })
    }

    pub(super) fn shown(&self, usable: &[Usable<'_>]) -> Shown {
        let items = usable.iter().map(|usable| ShownItem {
            kind: usable.kind,
            text: Arc::clone(&usable.item.text),
            server: match usable.item.boots {
                Boots::File(_) => Asked::Us,
                Boots::Server(server) => Asked::Other(server),
                Boots::Local => Asked::Nobody,
            },
        });
        Shown { prompt: Arc::clone(&self.prompt), timeout: self.timeout, items: items.collect() }
    }

    /// The bytes of option 43 that the whole menu takes, if they are more than it can have.
    pub fn too_long(&self) -> Option<usize> {
        let items = self.items.iter().enumerate().zip(FIRST_KIND..);
        let usable: Vec<Usable<'_>> =
            items.map(|((place, item), kind)| Usable { place, kind, item, file: None }).collect();
        self.shown(&usable).encode(Ipv4Addr::UNSPECIFIED).err()
    }
}

impl Shown {
    /// Option 43, where `server` is our address.
    ///
    /// # Errors
    /// Its length, if that is too much.
    pub fn encode(&self, server: Ipv4Addr) -> Result<Vec<u8>, usize> {
        let items = self.items.iter().map(|item| MenuItem {
            kind: item.kind,
            text: &item.text,
            server: match item.server {
                Asked::Us => Some(server),
                Asked::Other(other) => Some(other),
                Asked::Nobody => None,
            },
        });
        pxe::menu(&self.prompt, self.timeout, &items.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::policy::Choice;
    use crate::types::{Arch, Rule, Stage};

    fn item(text: &str, boots: Boots) -> Item {
        Item { text: text.into(), boots }
    }

    fn file(name: &str) -> Boots {
        Boots::File(MachineBoot::File(name.into()))
    }

    fn menu(items: Vec<Item>) -> Menu {
        Menu { items, prompt: "F8".into(), timeout: 10 }
    }

    fn client(firmware: Firmware, arch: Arch) -> Identity {
        Identity { stage: Stage::Pxe, firmware, arches: vec![arch] }
    }

    fn uefi() -> Identity {
        client(Firmware::UefiPxe, Arch::UEFI_X64)
    }

    fn asked(kind: u16) -> Option<BootItem> {
        Some(BootItem { kind, layer: 0 })
    }

    #[test]
    fn a_client_is_shown_what_it_can_start_and_no_more() {
        let by_arch = MachineBoot::ByArch([(Arch::BIOS, "lpxelinux.0".into())].into());
        let menu = menu(vec![
            item("both", file("a")),
            item("bios", Boots::File(by_arch)),
            item("disk", Boots::Local),
        ]);
        let kinds = |identity: &Identity| match menu.choose(identity, None, None).unwrap().menu {
            Some(Part::Whole(shown)) => shown.items.iter().map(|item| item.kind).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(kinds(&client(Firmware::BiosPxe, Arch::BIOS)), [0x8000, 0x8001, 0]);
        assert_eq!(kinds(&uefi()), [0x8000, 0]);
        assert_eq!(menu.choose(&uefi(), asked(0x8001), None), None, "not an item of its menu");
    }

    #[test]
    fn one_item_goes_straight_into_the_header() {
        let otherwise = Choice::new(&"arch.efi".into(), Rule::Arch(Arch::UEFI_X64));
        let only = |boots| menu(vec![item("x", boots)]).choose(&uefi(), None, Some(otherwise.clone()));
        let found = only(file("a.efi")).unwrap();
        assert_eq!((&*found.file, found.rule, found.menu), ("a.efi", Rule::Menu(Some(0)), None));
        let other = Ipv4Addr::new(192, 168, 77, 2);
        let found = only(Boots::Server(other)).unwrap();
        assert_eq!((&*found.file, found.server, found.menu), ("arch.efi", Some(other), None));
        assert_eq!(only(Boots::Local), None);
        let none = menu(vec![item("x", Boots::File(MachineBoot::ByArch([].into())))]);
        assert_eq!(none.choose(&uefi(), None, Some(otherwise.clone())), Some(otherwise));
    }

    #[test]
    fn too_long_is_said_before_it_is_sent() {
        let items = |count| menu((0..count).map(|n| item(&format!("item {n}"), file("x"))).collect());
        assert_eq!(items(13).too_long(), None);
        assert_eq!(items(17).too_long(), Some(292));
    }
}
