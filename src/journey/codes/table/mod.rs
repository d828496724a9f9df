//! The table of screen messages, one file for each kind of program.

mod bios;
mod ipxe;
mod loaders;
mod system;
mod uefi;

use crate::journey::codes::code::ScreenCode;

/// All messages, in the order of `ShownBy::ALL`.
pub fn codes() -> impl Iterator<Item = &'static ScreenCode> {
    [uefi::CODES, bios::CODES, ipxe::CODES, loaders::CODES, system::CODES].into_iter().flatten()
}
