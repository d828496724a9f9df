//! Reads `boot:`: boot files by architecture, for iPXE and for BOOTP clients, the boot menu, and the default target.

use crate::boot::loader::target::BootAction;
use crate::boot::policy::Policy;
use crate::config::sections::boot_file::{MAX_BOOTP_NAME, boot_file_name, by_arch, ipxe_file_name};
use crate::config::sections::menu;
use crate::config::sections::targets;
use crate::config::sections::written::TargetEntry;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{At, Reader};
use crate::config::syntax::tree::Node;

/// Reads `boot:`. Returns `boot.default` separately, because it names a target. Without `boot:` the policy has its
/// defaults.
pub(in crate::config) fn boot(
    reader: &mut Reader,
    node: Option<&Node>,
    targets: &[TargetEntry],
) -> (Policy, Option<At<BootAction>>) {
    let mut policy = Policy::default();
    let Some(node) = node else { return (policy, None) };
    let fields = reader.fields(node, Section::Boot);
    if let Some(node) = fields.get("arch") {
        policy.arch = by_arch(reader, node);
    }
    if let Some(node) = fields.get("ipxe") {
        policy.ipxe = ipxe_file_name(reader, node);
    }
    if let Some(node) = fields.get("bootp") {
        policy.bootp = boot_file_name(reader, node, MAX_BOOTP_NAME);
    }
    let default = fields.get("default").and_then(|node| targets::start(reader, node, targets));
    policy.menu = menu::menu(reader, &fields);
    (policy, default)
}
