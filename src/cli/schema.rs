//! `lanboot schema`: prints the JSON schema of `config.yaml`, or the reference of all keys.

use std::process::ExitCode;

use super::output;
use crate::config;

/// Prints the schema, or with `markdown` the page docs/configuration.md.
pub fn run(markdown: bool) -> ExitCode {
    output::print(&if markdown { config::reference() } else { config::schema() })
}
