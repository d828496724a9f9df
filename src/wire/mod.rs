//! Codecs between bytes and values: DHCP, PXE options, TFTP, and the frames below them.
//!
//! Both the server and the probe decode and encode with this folder. It never decides anything, knows no policy, and
//! never trusts a length that it did not check.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

pub mod arp;
pub mod cpio;
pub mod dhcp;
pub mod frame;
pub mod icmp;
pub mod magic_packet;
pub mod names;
pub mod option;
pub mod packet;
pub mod pxe;
pub mod relay;
pub mod syslog;
pub mod tftp;
pub mod vendor;
