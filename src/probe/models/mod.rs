//! Models of firmware: how each program that boots over the network reads DHCP replies, and its next step.
//!
//! A model gets the bytes of all replies that one machine received, in order, and returns its reaction ([`run`]):
//! request an address, ask a boot server, load a file, or give up with the code shown on its screen. The loaded program
//! then reads the same replies in its own way ([`next`]). `rehearse` and the tests call both.
//!
//! Each rule has its source in a comment: a file of EDK2, iPXE, syslinux, GRUB, shim or U-Boot, or a document or issue
//! for firmware without sources. `tests/network/firmware/models.rs` compares the models with real firmware. The models read
//! bytes as that firmware does and not through `wire::dhcp`, whose tolerance would hide the reasons for which a machine
//! fails.
//!
//! All firmware ignores replies with another transaction id or hardware address. Do not pass them in.

pub use client::ModelClient;
pub use loader::{Loader, next};
pub use next::Next;
pub use verdict::{
    Boot, Code, Failure, Firmware, KeptReplies, Protocol, ReceivedReply, RequestKind, Verdict,
};

mod boot_agent;
mod bootp;
mod client;
mod edk2;
mod edk2_http;
mod edk2_pxe;
mod grub;
mod ipxe;
mod loader;
mod menu;
mod next;
mod packet;
mod pxelinux;
mod raspberry_pi;
mod shim;
mod uboot;
mod verdict;

/// Returns the reaction of a machine with this firmware to these replies, in order of arrival.
pub fn run(firmware: Firmware, replies: &[ReceivedReply<'_>]) -> Verdict {
    match firmware {
        Firmware::BootAgent => boot_agent::judge(replies),
        Firmware::Edk2Pxe => edk2_pxe::judge(replies),
        Firmware::Edk2Http => edk2_http::judge(replies),
        Firmware::Ipxe => ipxe::judge(replies),
        Firmware::GrubDhcp => grub::judge(replies),
        Firmware::UBoot => uboot::judge(replies),
        Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus | Firmware::RaspberryPi4 => {
            raspberry_pi::judge(firmware, replies)
        }
        Firmware::Bootp => bootp::judge(replies),
    }
}

#[cfg(test)]
mod tests;
