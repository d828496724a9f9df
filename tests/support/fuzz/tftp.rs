//! Parsing TFTP packets, the options granted to a request, and the names that it may mean.

use lanboot::boot::name::BootName;
use lanboot::tftp::{Limits, negotiate};
use lanboot::wire::tftp::{Options, Packet, Request};

pub fn check(data: &[u8]) {
    if let Ok(packet) = Packet::decode(data) {
        let written = packet.encode();
        assert_eq!(Packet::decode(&written).as_ref(), Ok(&packet), "what we write reads as it was meant");
        if let Packet::Rrq(request) | Packet::Wrq(request) = packet {
            granted(&request.options, data.len());
            named(&request);
        }
    }
}

/// Grants at most the requested values, the path's MTU and the limits. The answer is about as long as the request.
fn granted(asked: &Options, request: usize) {
    for (mtu, max_block_size, max_window) in [(1500, None, 64), (65536, None, 65535), (576, Some(8), 0)] {
        let limits =
            Limits { max_block_size, max_window, max_transfers: 1, max_per_client: 1, allow: Vec::new() };
        for size in [None, Some(0), Some(1 << 40)] {
            let granted = negotiate(asked, size, &limits, mtu);
            let (block, window) = (u32::from(granted.block_size), u32::from(granted.window));
            let wanted = asked.block_size.unwrap_or(512);
            assert!(granted.block_size <= wanted && block >= 8, "{block} of {wanted}");
            assert!(block + Limits::HEADERS <= mtu || asked.block_size.is_none());
            assert!((1..=64).contains(&window) && window <= u32::from(asked.window_size.unwrap_or(1)));
            assert!(window == 1 || window * block <= Limits::WINDOW_BYTES);
            let Some(oack) = granted.oack else { continue };
            assert!(oack.block_size.is_none_or(|size| u32::from(size) == block));
            assert!(oack.window_size.is_none_or(|size| u32::from(size) == window));
            assert!(oack.block_size.is_none() || asked.block_size.is_some(), "not asked for");
            assert!(oack.window_size.is_none() || asked.window_size.is_some(), "not asked for");
            assert!(oack.transfer_size.is_none() || asked.transfer_size.is_some(), "not asked for");
            assert!(oack.timeout.is_none() || oack.timeout == asked.timeout, "it may not be changed");
            // The size may need twenty digits where the request had one.
            assert!(Packet::OAck(oack).encode().len() <= request + 20, "an answer larger than the request");
        }
    }
}

/// Every meaning of a name is inside the folder, and parses to itself.
fn named(request: &Request<'_>) {
    for name in BootName::candidates(request.name) {
        let text = name.as_str();
        assert!(!text.starts_with('/') && !text.contains(['\\', '\0']), "{text:?}");
        assert!(!text.chars().any(char::is_control) && text.len() <= BootName::LIMIT, "{text:?}");
        assert!(
            name.components().all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255),
            "{text:?}"
        );
        assert_eq!(BootName::parse(text.as_bytes()).as_ref(), Ok(&name));
    }
}
