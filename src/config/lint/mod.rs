//! Finds mistakes in a configuration that is valid: missing files, files that clients cannot start, URLs that cannot
//! be reached. `check` and `serve` print the findings. No finding stops a server.

pub(in crate::config) mod local_name;
pub(in crate::config) mod mapped_files;
pub(in crate::config) mod missing_files;
pub(in crate::config) mod nocloud;
pub(in crate::config) mod unresolvable_urls;
pub(in crate::config) mod unserved_urls;
pub(in crate::config) mod wrong_files;
