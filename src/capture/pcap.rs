//! Writes packets as a pcap file, which tcpdump and Wireshark read (draft-ietf-opsawg-pcap, section 4).

use super::ring::Captured;

/// Marks times in microseconds, and the order of bytes of the file.
const MAGIC: u32 = 0xa1b2_c3d4;
/// The version of the format: 2.4.
const VERSION: [u16; 2] = [2, 4];
/// The longest packet of a file, as tcpdump writes it.
const SNAP_LEN: u32 = 262_144;
/// Ethernet frames (LINKTYPE_ETHERNET).
const ETHERNET: u32 = 1;
/// Bytes before each packet.
const PACKET_HEADER_LEN: usize = 16;
/// The media type of the file (IANA).
pub const CONTENT_TYPE: &str = "application/vnd.tcpdump.pcap";

/// Writes the file with `packets`, which are in the order of their times.
pub fn file(packets: &[Captured]) -> Vec<u8> {
    let sizes = packets.iter().map(|packet| packet.bytes.len().saturating_add(PACKET_HEADER_LEN));
    let mut out = Vec::with_capacity(sizes.fold(24, usize::saturating_add));
    out.extend(MAGIC.to_le_bytes());
    out.extend(VERSION.into_iter().flat_map(u16::to_le_bytes));
    // Two reserved fields.
    out.extend([0; 8]);
    out.extend(SNAP_LEN.to_le_bytes());
    out.extend(ETHERNET.to_le_bytes());
    for packet in packets {
        let kept = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
        let seconds = u32::try_from(packet.micros / 1_000_000).unwrap_or(u32::MAX);
        let micros = u32::try_from(packet.micros % 1_000_000).unwrap_or(0);
        out.extend([seconds, micros, kept, packet.len.max(kept)].into_iter().flat_map(u32::to_le_bytes));
        out.extend(&packet.bytes);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn each_packet_has_its_time_and_both_lengths() {
        let packet = Captured {
            at: Timestamp(0),
            micros: 1_700_000_000_000_007,
            len: 1514,
            bytes: vec![1, 2, 3].into(),
        };
        let file = file(&[packet]);
        assert_eq!(file[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(file[20..24], [1, 0, 0, 0]);
        assert_eq!(file[24..28], 1_700_000_000_u32.to_le_bytes());
        assert_eq!(file[28..], [7, 0, 0, 0, 3, 0, 0, 0, 0xea, 5, 0, 0, 1, 2, 3]);
    }
}
