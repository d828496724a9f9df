//! PXELINUX and syslinux.efi (`core/fs/pxe/pxe.c`, `dhcp_option.c`, `bios.c`, `efi/pxe.c`). They have no DHCP client.
//! They read the replies kept by the firmware: the ACK, then the reply of the proxy or boot server, which overrides the
//! ACK.

use std::net::Ipv4Addr;

use super::next::Next;
use super::packet::{Packet, address_at, walk};
use crate::probe::models::verdict::{KeptReplies, Protocol};
use crate::wire::dhcp::until_nul;
use crate::wire::option::code;

/// The variables set from the replies (`parse_dhcp`).
#[derive(Default)]
struct Read {
    server: Option<Ipv4Addr>,
    file: Vec<u8>,
    configuration: Option<Vec<u8>>,
    prefix: Option<Vec<u8>>,
}

/// Returns the first file that PXELINUX requests, and the names of its configuration. `core` is its own second part:
/// `ldlinux.c32` on a BIOS, `ldlinux.e64` on UEFI.
pub(super) fn next(kept: &KeptReplies, core: &str) -> Result<Next, String> {
    let mut read = Read::default();
    let ack = Packet::new(&kept.ack).ok_or("the firmware kept no ACK")?;
    read.take(ack, false);
    let reply = kept.reply.as_ref().or(kept.proxy.as_ref()).and_then(|reply| Packet::new(reply));
    reply.into_iter().for_each(|reply| read.take(reply, true));
    let server = read.server.ok_or("siaddr is 0 and option 54 is absent")?;
    let prefix = read.prefix.unwrap_or_else(|| prefix(&read.file));
    let name = |file: &[u8]| [&prefix, file].concat();
    let configuration = match &read.configuration {
        Some(file) => name(file),
        None => name(b"pxelinux.cfg/default"),
    };
    Ok(Next {
        by: Protocol::Tftp,
        server: server.to_string(),
        file: name(core.as_bytes()),
        then: vec![configuration],
    })
}

impl Read {
    /// Reads a reply (`parse_dhcp`). In the second reply siaddr counts even if it is 0.
    fn take(&mut self, packet: Packet<'_>, is_second: bool) {
        let siaddr = Some(packet.siaddr()).filter(|address| is_host(*address));
        if siaddr.is_some() || is_second {
            self.server = siaddr;
        }
        let mut overload = 0;
        if packet.has_cookie() {
            overload = self.options(packet.options(), 0);
        }
        if overload & 1 != 0 {
            self.options(packet.file(), 0);
        } else if packet.file().first().is_some_and(|byte| *byte != 0) {
            // The header is stored last, so it overrides option 67.
            self.file = until_nul(packet.file()).to_vec();
        }
        if overload & 2 != 0 {
            self.options(packet.sname(), 0);
        }
    }

    /// Reads options (`parse_dhcp_options`). END may be missing, and later options of a code override earlier ones. Of
    /// option 43, only PXELINUX's own suboptions count.
    fn options(&mut self, area: &[u8], least: u8) -> u8 {
        let mut overload = 0;
        for option in walk(area).0.into_iter().filter(|option| option.code >= least) {
            match option.code {
                code::VENDOR_SPECIFIC => _ = self.options(option.value, code::PXELINUX_MAGIC),
                code::OVERLOAD => overload = option.value.first().copied().unwrap_or(0),
                code::SERVER_IDENTIFIER if self.server.is_none() => {
                    self.server = address_at(option.value, 0).filter(|address| is_host(*address));
                }
                code::BOOT_FILE_NAME => self.file = until_nul(option.value).to_vec(),
                code::PXELINUX_CONFIG_FILE => self.configuration = Some(until_nul(option.value).to_vec()),
                code::PXELINUX_PATH_PREFIX => self.prefix = Some(until_nul(option.value).to_vec()),
                _ => {}
            }
        }
        overload
    }
}

/// Whether an address is a host's (`ip_ok`).
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !address.is_broadcast() && first != 0 && first != 127 && first & 0xf0 != 0xe0
}

/// Returns the boot file's folder: the name without its final letters, digits, dots and dashes (`get_prefix`).
fn prefix(file: &[u8]) -> Vec<u8> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let name = file.iter().rev().take_while(|byte| is_of_name(byte)).count();
    file.get(..file.len().saturating_sub(name)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_the_part_before_the_name() {
        for (file, folder) in [
            ("pxelinux.0", ""),
            ("bios/pxelinux.0", "bios/"),
            ("/a/b/pxelinux.0", "/a/b/"),
            (r"boot\pxelinux.0", r"boot\"),
            ("my_pxelinux.0", "my_"),
            ("", ""),
        ] {
            assert_eq!(prefix(file.as_bytes()), folder.as_bytes(), "{file}");
        }
    }
}
