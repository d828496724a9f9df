//! The sections of `config.yaml` as written, one file per section: each reads its keys and says what they mean.

pub(in crate::config) mod boot;
pub(in crate::config) mod boot_file;
pub(in crate::config) mod classes;
pub(in crate::config) mod file;
pub(in crate::config) mod http;
pub(in crate::config) mod machines;
pub(in crate::config) mod menu;
pub(in crate::config) mod mode;
pub(in crate::config) mod option_names;
pub(in crate::config) mod options;
pub(in crate::config) mod targets;
pub(in crate::config) mod tftp;
pub(in crate::config) mod written;
