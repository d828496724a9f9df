//! The checks of the fuzz targets. The main crate's tests use the same checks.

pub use support::fuzz as properties;
