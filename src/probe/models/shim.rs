//! shim (`netboot.c`, `httpboot.c`): loads the loader in its own folder.

use super::next::Next;
use super::packet::Packet;
use crate::probe::models::verdict::{Boot, KeptReplies, Protocol};
use crate::wire::dhcp::until_nul;

/// Returns the file that shim loads after it was loaded by `boot`. `loader` is its second stage, such as `grubx64.efi`.
pub(super) fn next(boot: &Boot, loader: &str) -> Result<Next, String> {
    if boot.by != Protocol::Tftp {
        // Both the slash at the end of the folder and the one before the name stay (`generate_next_uri`; shim#436).
        let file = [folder(&boot.file), b"/", loader.as_bytes()].concat();
        return Ok(Next { by: boot.by, server: boot.server.clone(), file, then: Vec::new() });
    }
    let source = source(&boot.kept).ok_or("the firmware kept no ACK")?;
    if source.siaddr().is_unspecified() {
        return Err("shim takes the server from siaddr of the reply, which is 0".to_owned());
    }
    // Options 66 and 67 are ignored. A `\` before the name stays.
    let folder = folder(until_nul(source.file()));
    let file = [folder, loader.as_bytes()].concat();
    Ok(Next { by: Protocol::Tftp, server: source.siaddr().to_string(), file, then: Vec::new() })
}

/// Returns the ACK if its header has a file, else the proxy's reply, or if that has none either, the boot server's
/// (`parseDhcp4`).
fn source(kept: &KeptReplies) -> Option<Packet<'_>> {
    let names_file = |packet: &Packet<'_>| packet.file().first().is_some_and(|byte| *byte != 0);
    let ack = Packet::new(&kept.ack)?;
    let proxy = kept.proxy.as_ref().and_then(|proxy| Packet::new(proxy));
    let first = if names_file(&ack) { ack } else { proxy.unwrap_or(ack) };
    let reply = kept.reply.as_ref().and_then(|reply| Packet::new(reply)).filter(names_file);
    Some(if names_file(&first) { first } else { reply.unwrap_or(first) })
}

/// Returns a name up to and including its last `/` or `\`.
fn folder(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| matches!(byte, b'/' | b'\\')).map_or(0, |at| at.saturating_add(1));
    name.get(..end).unwrap_or_default()
}
