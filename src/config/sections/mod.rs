//! Reads the sections of `config.yaml`, one file per section. Each checks the types and ranges of its keys and
//! fills in defaults; `check.rs` checks rules that involve several sections.

pub(in crate::config) mod boot;
pub(in crate::config) mod boot_file;
mod class_names;
pub(in crate::config) mod classes;
mod conditions;
pub(in crate::config) mod file;
pub(in crate::config) mod http;
pub(in crate::config) mod level;
pub(in crate::config) mod machines;
pub(in crate::config) mod menu;
pub(in crate::config) mod mode;
pub(in crate::config) mod option_limits;
pub(in crate::config) mod option_names;
pub(in crate::config) mod option_values;
pub(in crate::config) mod options;
pub(in crate::config) mod routers;
pub(in crate::config) mod syslog;
pub(in crate::config) mod targets;
pub(in crate::config) mod tftp;
pub(in crate::config) mod web;
pub(in crate::config) mod written;
