//! Input for boot loaders: the target that a machine boots, the script that makes its loader boot it, and the quoting
//! of values in scripts and templates.
//!
//! `content/` calls this folder when a loader fetches a generated or templated file. It does no I/O.

pub mod escape;
pub mod facts;
pub mod installer;
pub mod root;
pub mod script;
pub mod target;
