//! Options as the configuration sets them.

use std::collections::BTreeMap;

/// Option values by code, encoded, each fitting its kind in the option table.
pub type OptionSet = BTreeMap<u8, Vec<u8>>;
