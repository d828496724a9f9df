//! Reading TFTP packets, and what is granted to a read request.

use lanboot::wire::tftp::Packet;

pub fn check(data: &[u8]) {
    if let Ok(packet) = Packet::decode(data) {
        let written = packet.encode();
        assert_eq!(Packet::decode(&written).as_ref(), Ok(&packet), "what we write reads as it was meant");
    }
}
