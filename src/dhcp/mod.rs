//! The decisions of the DHCP server, the proxy and the boot service; [`engine`] is the entry point. This folder never
//! reads a clock, a socket or a file. It returns the effects that the caller must carry out.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod arrival;
pub mod boot_request;
pub mod bootp;
pub mod bsdp;
pub mod claims;
pub mod classes;
pub mod classify;
pub mod clones;
pub mod conflict;
pub mod decide;
pub mod decision;
pub mod engine;
mod enterprises;
pub mod fqdn;
mod grant;
pub mod keep;
pub mod level;
pub mod loop_guard;
pub mod machines;
pub mod mode;
pub mod named_addresses;
pub mod option_space;
pub mod options;
pub mod other_servers;
pub mod overload;
pub mod pattern;
pub mod pools;
pub mod proxy;
pub mod proxy_arp;
pub mod reply;
pub mod request;
pub mod reservations;
pub mod route;
pub mod settings;
pub mod shared_network;
pub mod subnet;
