//! The decisions of the DHCP server; [`engine`] is the way in. This folder never reads a clock, a socket or a file: it
//! returns what is to be done.
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
pub mod fqdn;
pub mod keep;
pub mod loop_guard;
pub mod mode;
pub mod option_space;
pub mod options;
pub mod other_servers;
pub mod proxy;
pub mod proxy_arp;
pub mod reply;
pub mod request;
pub mod route;
pub mod settings;
pub mod shared_network;
pub mod subnet;
