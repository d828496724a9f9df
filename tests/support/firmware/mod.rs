//! Machines in QEMU: a Linux for them to boot, and a server whose replies a test writes itself.

pub mod cases;
pub mod linux;
pub mod mangler;
pub mod reply;

use std::time::Duration;

/// The longest wait for a machine to show or ask for something. A boot takes 10 to 40 s where there is a core for it.
/// On a busy computer it gets a tenth of one.
pub const BOOT_LIMIT: Duration = Duration::from_secs(600);
