//! What a boot loader is given: the target that a machine boots, the script for its loader, and the quoting of values in
//! scripts and templates.

pub mod escape;
pub mod facts;
pub mod script;
pub mod target;
