//! The kinds of programs that send DHCP messages during a boot.

use crate::event::{DropReason, Event};
use crate::types::Firmware;

/// The kind of program that sends DHCP messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// Firmware, a boot ROM, or a plain BOOTP client.
    Firmware,
    Ipxe,
    /// Another loader.
    Loader,
    /// An operating system.
    System,
}

/// Returns the kind of program.
pub fn speaker(firmware: Firmware) -> Speaker {
    match firmware {
        Firmware::Ipxe | Firmware::IpxeRom => Speaker::Ipxe,
        Firmware::Grub | Firmware::Pxelinux => Speaker::Loader,
        Firmware::Other | Firmware::LinuxIpDhcp | Firmware::AppleBsdp => Speaker::System,
        _ => Speaker::Firmware,
    }
}

/// Whether a system sent this message. Where another server gives the addresses, its messages are dropped.
pub fn is_of_system(event: &Event) -> bool {
    match event {
        Event::Received { client, .. } => speaker(client.firmware) == Speaker::System,
        Event::Dropped { reason: DropReason::NotNetboot | DropReason::ProxyOnly, client: Some(client) } => {
            speaker(client.firmware) == Speaker::System
        }
        _ => false,
    }
}
