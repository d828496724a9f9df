//! Real firmware in QEMU.

mod chain;
mod linux;
mod models;
mod rom;
