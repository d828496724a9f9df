//! The magic packet of Wake-on-LAN (AMD publication 20213): the payload that makes a network card start its machine.

use crate::types::MacAddr;

/// Length in bytes: six bytes 0xFF, then the MAC sixteen times.
pub const LENGTH: usize = 6 + 16 * 6;

/// The payload that wakes the machine with this MAC.
pub fn magic_packet(mac: MacAddr) -> [u8; LENGTH] {
    let mut packet = [0xff; LENGTH];
    packet.iter_mut().skip(6).zip(mac.0.iter().cycle()).for_each(|(byte, of_mac)| *byte = *of_mac);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_stands_sixteen_times_after_six_bytes_ff() {
        let packet = magic_packet(MacAddr([0x52, 0x54, 0, 1, 2, 3]));
        assert_eq!(packet[..6], [0xff; 6]);
        assert!(packet[6..].chunks(6).all(|chunk| chunk == [0x52, 0x54, 0, 1, 2, 3]));
        assert_eq!(packet[6..].len(), 96);
    }
}
