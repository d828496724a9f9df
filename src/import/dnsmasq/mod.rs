//! Translates dnsmasq's configuration: the DHCP, PXE and TFTP parts of its language as of version 2.90.
//!
//! `read.rs` reads the files into a `model::Model`. Tags become conditions (`tags.rs`), and everything that depends on
//! tags becomes rules (`rules.rs`), which are written as classes, subnets and machines. The comments name the functions
//! of dnsmasq that define what a statement means.

mod boots;
mod bundles;
mod classes;
mod conditions;
mod context;
mod effects;
mod host;
mod keywords;
mod lines;
mod machines;
mod menu;
mod model;
mod networks;
mod option;
mod option_table;
mod read;
mod rules;
mod settings;
mod sorted;
mod statement;
mod subnets;
mod tags;
mod translate;
mod values;

use super::Imported;
use crate::import::failure::Failed;
use crate::import::finish::finish;
use crate::import::problems::Problems;
use crate::import::sources::Sources;
use crate::types::Ipv4Network;

/// Translates `files` as if they were one configuration. `local` are the networks of this computer's interfaces, from
/// which dnsmasq takes netmasks.
///
/// # Errors
/// A file cannot be read, has a line that dnsmasq refuses, or has nothing to serve.
pub fn import(files: &[String], mut sources: Sources<'_>, local: &[Ipv4Network]) -> Result<Imported, Failed> {
    let mut problems = Problems::default();
    let model = read::read(files, &mut sources, &mut problems)?;
    let document = translate::document(&model, local, &mut problems);
    let missing = "there is no dhcp-range for IPv4 and no enable-tftp";
    finish(document, problems, sources.names(), missing)
}
