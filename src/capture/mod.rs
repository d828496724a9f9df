//! The packets of boots: which frames of a wire are kept, which machine each belongs to, how many are kept, and how they are
//! written as a pcap file. `server/capture.rs` reads the wires and passes the frames; this folder does no I/O.
//!
//! Kept are all DHCP messages, TFTP without its data, the heads of HTTP requests and responses, connections that are opened or
//! reset, and ICMP errors about packets of this server. So a capture shows where a boot stopped, and never what was in a file.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod ipv6;
pub mod pcap;
pub mod ring;
pub mod select;
pub mod unanswered;
