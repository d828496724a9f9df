//! Which boot file a machine gets, boot after boot.

mod chain;
mod ipxe;
mod loops;
