//! Findings about a configuration that is valid: files that are missing or wrong, URLs that lead nowhere. `check` and
//! `serve` print them; none of them stops a server.

pub(in crate::config) mod local_name;
pub(in crate::config) mod mapped_files;
pub(in crate::config) mod missing_files;
pub(in crate::config) mod unresolvable_urls;
pub(in crate::config) mod unserved_urls;
pub(in crate::config) mod wrong_files;
