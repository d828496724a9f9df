//! ICMP echo, which shows whether a machine behind a router uses an address (RFC 792).

use std::net::Ipv4Addr;

use crate::wire::frame::checksum;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// Encodes an echo request with identifier `id`.
pub fn echo_request(id: u16) -> [u8; 8] {
    let [high, low] = id.to_be_bytes();
    let message = [ECHO_REQUEST, 0, 0, 0, high, low, 0, 1];
    let [a, b] = checksum(&[&message]).to_be_bytes();
    [ECHO_REQUEST, 0, a, b, high, low, 0, 1]
}

/// Returns the source of an IPv4 packet that is an echo reply with identifier `id`.
pub fn echo_reply_from(packet: &[u8], id: u16) -> Option<Ipv4Addr> {
    let header_len = usize::from(packet.first()? & 0x0f).checked_mul(4)?;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    match packet.get(header_len..)? {
        [ECHO_REPLY, 0, _, _, high, low, ..] if [*high, *low] == id.to_be_bytes() => {
            Some(Ipv4Addr::from(source))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc792_an_echo_reply_names_its_sender() {
        assert_eq!(checksum(&[&echo_request(0x1234)]), 0);
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 1, 0, 50]);
        packet.extend_from_slice(&echo_request(0x1234));
        assert_eq!(echo_reply_from(&packet, 0x1234), None, "a request");
        packet[20] = 0;
        assert_eq!(echo_reply_from(&packet, 0x1234), Some(Ipv4Addr::new(10, 1, 0, 50)));
        assert_eq!(echo_reply_from(&packet, 0x1235), None, "another identifier");
        packet[0] = 0x4f;
        assert_eq!(echo_reply_from(&packet, 0x1234), None, "the header ends after the packet");
    }
}
