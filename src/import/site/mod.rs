//! A configuration of Kea or dhcpd in the terms of `config.yaml`: settings at their levels, classes, subnets and
//! machines. The importers of both servers build a [`Site`], and `lower.rs` makes a document of it.
//!
//! Both servers send one boot file to all clients that meet a condition, and combine it with the `next-server` of
//! another level. `config.yaml` keeps boot files apart from the settings of clients that do not boot, and a boot file
//! and its server are one value. `boot.rs` computes them.

mod addresses;
mod boot;
mod classes;
mod lower;
mod model;
mod settings;
mod times;

pub(super) use model::{
    Bootp, Class, INFINITE, Identifier, Lease, Level, Machine, Pool, Range, Settings, Site, Subnet, Timer,
};
pub(super) use settings::not_taken;
