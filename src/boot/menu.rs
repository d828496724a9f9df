//! PXE boot menus. Firmware shows the items and asks port 4011 for the file of the chosen item (PXE 2.1 section 2.2).
//!
//! This file holds the menu as configured, and encodes the part that a client can use into option 43. `policy.rs`
//! decides which client gets a menu and answers the choice.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::machine_boot::{MachineBoot, file_for};
use crate::types::Firmware;
use crate::wire::pxe::{self, BootItem, LOCAL_BOOT, MenuItem};

/// The boot server type of the first item; each further item has the next type. Types from here on are free for any use
/// (PXE 2.1 table 2-1).
const FIRST_ITEM_TYPE: u16 = 0x8000;

/// The maximum number of items. More never fit into option 43.
pub const MAX_ITEMS: usize = 50;

/// The [`Menu::timeout`] that waits forever.
pub const WAIT_FOREVER: u8 = 255;

/// `boot.menu`, `boot.prompt` and `boot.timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    /// At least one item.
    pub items: Vec<Item>,
    /// The text on the screen until the user opens the menu or the first item boots.
    pub prompt: Arc<str>,
    /// Seconds until the first item boots. 0 boots it immediately; [`WAIT_FOREVER`] shows the menu and waits.
    pub timeout: u8,
}

/// One item of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub text: Arc<str>,
    pub action: ItemAction,
}

/// The action of a menu item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemAction {
    /// Loads a boot file from this server.
    File(MachineBoot),
    /// Sends the client to another boot server.
    Server(Ipv4Addr),
    /// Continues with the local disk.
    Local,
}

/// The part of a menu that a reply contains in option 43.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MenuPart {
    /// All items that the client can use.
    Whole(ClientMenu),
    /// The item that the client asked for.
    Chosen(BootItem),
}

/// The items of a menu that one client can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMenu {
    prompt: Arc<str>,
    timeout: u8,
    items: Vec<ClientItem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientItem {
    kind: u16,
    text: Arc<str>,
    server: BootServer,
}

/// The boot server that the client asks for an item's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BootServer {
    ThisServer,
    Other(Ipv4Addr),
    None,
}

/// An item that the client can use, with its index in the menu and its file.
pub(super) struct UsableItem<'m> {
    pub(super) index: usize,
    pub(super) kind: u16,
    pub(super) item: &'m Item,
    pub(super) file: Option<Arc<str>>,
}

impl Menu {
    /// Whether the client gets menus: PXE on a BIOS or UEFI. iPXE has its script instead, which makes better menus.
    pub fn is_for(identity: &Identity) -> bool {
        matches!(identity.firmware, Firmware::BiosPxe | Firmware::UefiPxe)
    }

    pub(super) fn usable(&self, identity: &Identity) -> impl Iterator<Item = UsableItem<'_>> {
        self.items.iter().enumerate().zip(FIRST_ITEM_TYPE..).filter_map(|((index, item), kind)| {
            let (kind, file) = match &item.action {
                ItemAction::File(boot) => (kind, Some(file_for(boot, identity)?)),
                ItemAction::Server(_) => (kind, None),
                ItemAction::Local => (LOCAL_BOOT, None),
            };
            Some(UsableItem { index, kind, item, file })
        })
    }

    pub(super) fn for_client(&self, usable: &[UsableItem<'_>]) -> ClientMenu {
        let items = usable.iter().map(|usable| ClientItem {
            kind: usable.kind,
            text: Arc::clone(&usable.item.text),
            server: match usable.item.action {
                ItemAction::File(_) => BootServer::ThisServer,
                ItemAction::Server(server) => BootServer::Other(server),
                ItemAction::Local => BootServer::None,
            },
        });
        ClientMenu { prompt: Arc::clone(&self.prompt), timeout: self.timeout, items: items.collect() }
    }

    /// Returns the length of option 43 with the whole menu, if that is more than the option can hold.
    pub fn too_long(&self) -> Option<usize> {
        let items = self.items.iter().enumerate().zip(FIRST_ITEM_TYPE..);
        let usable: Vec<UsableItem<'_>> =
            items.map(|((index, item), kind)| UsableItem { index, kind, item, file: None }).collect();
        self.for_client(&usable).encode(Ipv4Addr::UNSPECIFIED).err()
    }
}

impl ClientMenu {
    /// Encodes option 43; `server` is our address.
    ///
    /// # Errors
    /// Returns the length if it is more than the option can hold.
    pub fn encode(&self, server: Ipv4Addr) -> Result<Vec<u8>, usize> {
        let items = self.items.iter().map(|item| MenuItem {
            kind: item.kind,
            text: &item.text,
            server: match item.server {
                BootServer::ThisServer => Some(server),
                BootServer::Other(other) => Some(other),
                BootServer::None => None,
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

    fn item(text: &str, boots: ItemAction) -> Item {
        Item { text: text.into(), action: boots }
    }

    fn file(name: &str) -> ItemAction {
        ItemAction::File(MachineBoot::File(name.into()))
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
    fn a_client_gets_only_items_that_it_can_start() {
        let by_arch = MachineBoot::ByArch([(Arch::BIOS, "lpxelinux.0".into())].into());
        let menu = menu(vec![
            item("both", file("a")),
            item("bios", ItemAction::File(by_arch)),
            item("disk", ItemAction::Local),
        ]);
        let kinds = |identity: &Identity| match menu.choose(identity, None, None).unwrap().menu {
            Some(MenuPart::Whole(shown)) => shown.items.iter().map(|item| item.kind).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(kinds(&client(Firmware::BiosPxe, Arch::BIOS)), [0x8000, 0x8001, 0]);
        assert_eq!(kinds(&uefi()), [0x8000, 0]);
        assert_eq!(menu.choose(&uefi(), asked(0x8001), None), None, "not an item of its menu");
    }

    #[test]
    fn a_single_item_goes_into_the_header() {
        let fallback = Choice::new(&"arch.efi".into(), Rule::Arch(Arch::UEFI_X64));
        let only = |action| menu(vec![item("x", action)]).choose(&uefi(), None, Some(fallback.clone()));
        let found = only(file("a.efi")).unwrap();
        assert_eq!((&*found.file, found.rule, found.menu), ("a.efi", Rule::Menu(Some(0)), None));
        let other = Ipv4Addr::new(192, 168, 77, 2);
        let found = only(ItemAction::Server(other)).unwrap();
        assert_eq!((&*found.file, found.server, found.menu), ("arch.efi", Some(other), None));
        assert_eq!(only(ItemAction::Local), None);
        let none = menu(vec![item("x", ItemAction::File(MachineBoot::ByArch([].into())))]);
        assert_eq!(none.choose(&uefi(), None, Some(fallback.clone())), Some(fallback));
    }

    #[test]
    fn a_menu_too_long_for_option_43_is_found() {
        let items = |count| menu((0..count).map(|n| item(&format!("item {n}"), file("x"))).collect());
        assert_eq!(items(13).too_long(), None);
        assert_eq!(items(17).too_long(), Some(292));
    }
}
