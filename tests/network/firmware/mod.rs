//! Real firmware in QEMU.

mod chain;
mod facts;
mod linux;
mod models;
mod rom;
