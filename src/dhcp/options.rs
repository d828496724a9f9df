//! DHCP options as configured, already encoded. `config/` builds them; `reply.rs` and `proxy.rs` send them.

use std::collections::BTreeMap;

/// Encoded option values by option code. Each value has the type that the option table gives.
pub type OptionSet = BTreeMap<u8, Vec<u8>>;
