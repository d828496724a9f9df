//! Bytes ↔ values. This folder never decides anything, never fails on a length it did not check, and knows no policy.
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
pub mod dhcp;
pub mod frame;
pub mod icmp;
pub mod names;
pub mod option;
pub mod pxe;
pub mod relay;
pub mod tftp;
