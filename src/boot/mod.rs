//! Machine identity → what it boots. This folder never looks at leases, sockets or the disk.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod escape;
pub mod facts;
pub mod guard;
pub mod identity;
pub mod menu;
pub mod name;
pub mod plan;
pub mod policy;
pub mod script;
pub mod target;
