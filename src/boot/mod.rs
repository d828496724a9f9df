//! Machine identity → what it boots. This folder never looks at leases, sockets or the disk.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod fetch;
pub mod guard;
pub mod identity;
pub mod loader;
pub mod machine_boot;
pub mod menu;
pub mod name;
pub mod plan;
pub mod policy;
