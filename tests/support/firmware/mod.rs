//! Machines in QEMU: a Linux for them to boot, and a server whose replies a test writes itself.

pub mod cases;
pub mod linux;
pub mod mangler;
pub mod reply;
