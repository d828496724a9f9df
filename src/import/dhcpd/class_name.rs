//! Names of classes.

/// Returns the name of dhcpd's class here: names that lanboot gives to its own classes are changed.
pub(super) fn class_name(name: &str) -> String {
    const BUILT_IN: [&str; 6] = ["known", "unknown", "pxe", "http", "ipxe", "bootp"];
    if BUILT_IN.contains(&name) { format!("dhcpd-{name}") } else { name.to_owned() }
}
