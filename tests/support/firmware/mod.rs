//! Machines in QEMU: a Linux system that they boot, and a server whose replies each test defines.

pub mod cases;
pub mod linux;
pub mod mangler;
pub mod reply;

use std::time::Duration;

/// The longest wait until a machine shows or requests something. A boot takes 10 to 40 s with a free core. On a busy
/// computer a machine gets a tenth of a core.
pub const BOOT_LIMIT: Duration = Duration::from_secs(600);
