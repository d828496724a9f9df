//! Boot policy: which boot file a client gets, and which script its loader runs.
//!
//! `dhcp/` calls this folder for replies, `content/` for generated scripts and templates. It never looks at leases,
//! sockets or the disk.
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
