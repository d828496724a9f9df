//! A message on the screen of a machine, and the program that shows it.

/// A message on the screen of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenCode {
    /// The program that shows it.
    pub shown_by: ShownBy,
    /// The code, such as `PXE-E18`; the first six digits of a number of iPXE, such as `2d0c61`, or the first two for all
    /// numbers that begin so; empty for messages that have none.
    pub code: &'static str,
    /// The text of the message, as far as it is always the same.
    pub message: &'static str,
    /// The meaning, and what to look at.
    pub meaning: &'static str,
    /// The ids of the verdicts that it goes with, the most likely first.
    pub verdicts: &'static [&'static str],
}

/// The program that shows a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShownBy {
    /// UEFI firmware, which is EDK2 or made from it.
    Uefi,
    /// The PXE ROM of a network card, for a BIOS.
    Bios,
    Ipxe,
    Grub,
    Shim,
    Pxelinux,
    /// A kernel, its initrd, or an installer.
    System,
}

impl ShownBy {
    /// All of them, in the order of the page.
    pub const ALL: [ShownBy; 7] = [
        ShownBy::Uefi,
        ShownBy::Bios,
        ShownBy::Ipxe,
        ShownBy::Shim,
        ShownBy::Grub,
        ShownBy::Pxelinux,
        ShownBy::System,
    ];

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            ShownBy::Uefi => "UEFI",
            ShownBy::Bios => "BIOS ROM",
            ShownBy::Ipxe => "iPXE",
            ShownBy::Grub => "GRUB",
            ShownBy::Shim => "shim",
            ShownBy::Pxelinux => "PXELINUX",
            ShownBy::System => "kernel or installer",
        }
    }
}

/// A row of the table.
pub(super) const fn row(
    shown_by: ShownBy,
    code: &'static str,
    message: &'static str,
    meaning: &'static str,
    verdicts: &'static [&'static str],
) -> ScreenCode {
    ScreenCode { shown_by, code, message, meaning, verdicts }
}
