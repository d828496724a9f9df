//! Classic BPF: the instructions of the filters that packet sockets run in the kernel (`linux/bpf_common.h`,
//! `linux/filter.h`).
//!
//! Every filter for UDP starts with [`unfragmented_udp`]. A jump counts from the instruction after it: `jt`
//! instructions are skipped if the condition holds, `jf` if it does not.

use socket2::SockFilter;

/// EtherType of IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ETH_P_ARP: u16 = 0x0806;
/// Every frame, including those that this computer sends.
pub const ETH_P_ALL: u16 = 0x0003;

pub const LOAD_WORD: u16 = 0x20;
pub const LOAD_HALF: u16 = 0x28;
pub const LOAD_BYTE: u16 = 0x30;
/// Loads from the offset X plus a constant.
pub const LOAD_WORD_AT_X: u16 = 0x40;
pub const LOAD_HALF_AT_X: u16 = 0x48;
pub const LOAD_BYTE_AT_X: u16 = 0x50;
/// Sets X to the length of the IP header that starts at a constant offset.
pub const X_IS_IP_HEADER_LEN: u16 = 0xb1;
pub const JUMP_IF_EQUAL: u16 = 0x15;
/// Jumps if any of the given bits is set.
pub const JUMP_IF_SET: u16 = 0x45;
/// Ends the filter; the constant is the number of bytes to keep.
pub const RETURN: u16 = 0x06;

/// Offset of the packet type that the kernel keeps beside a frame; [`PACKET_OUTGOING`] marks frames of this computer.
pub const PACKET_TYPE: u32 = 0xffff_f004;
pub const PACKET_OUTGOING: u32 = 4;
/// Offset of the VLAN tag that the network card removed from a frame.
pub const VLAN_TAG: u32 = 0xffff_f02c;
pub const HAS_VLAN_TAG: u32 = 0xffff_f030;

/// Drops the frame.
pub const REJECT: SockFilter = SockFilter::new(RETURN, 0, 0, 0);
/// Keeps the whole frame.
pub const ACCEPT: SockFilter = SockFilter::new(RETURN, 0, 0, u32::MAX);

/// Rejects every frame that is not an unfragmented UDP datagram over IPv4. For the instructions that follow, X is the
/// length of the IP header: the Ethernet header's 14 bytes plus X is the offset of the UDP header.
pub fn unfragmented_udp() -> [SockFilter; 8] {
    const UDP: u32 = 17;
    /// "More fragments" and the fragment offset.
    const FRAGMENT: u32 = 0x3fff;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 4, u32::from(ETH_P_IP)),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_IF_EQUAL, 0, 2, UDP),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_SET, 0, 1, FRAGMENT),
        REJECT,
        SockFilter::new(X_IS_IP_HEADER_LEN, 0, 0, 14),
    ]
}

/// The filter for unfragmented UDP over IPv4 to `port`.
pub fn udp_to(port: u16) -> Vec<SockFilter> {
    let mut filter = Vec::from(unfragmented_udp());
    filter.extend([
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, port.into()),
        REJECT,
        ACCEPT,
    ]);
    filter
}
