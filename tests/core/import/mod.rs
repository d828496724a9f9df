//! The configurations of other servers in `tests/data/import`, as `lanboot import` translates them.

mod servers;
