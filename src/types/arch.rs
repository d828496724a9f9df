//! Client system architectures (option 93): one table of numbers and names.

use std::fmt;
use std::str::FromStr;

use super::BadText;

/// A client system architecture type (option 93, RFC 4578 section 2.1, IANA "Processor Architecture Types").
///
/// Any number is a value of this type; `name` knows the registered ones. 7 and 9 are both x64: the RFC's text swaps
/// them (errata 4625) and firmware of both readings exists (iPXE sent 9 before May 2016), so 9 is folded into 7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Arch(u16);

/// Registered architectures: number, the name used in config.yaml and in the log.
const ARCH_NAMES: &[(u16, &str)] = &[
    (0, "bios"),
    (1, "pc98"),
    (2, "ia64"),
    (3, "alpha"),
    (4, "arcx86"),
    (5, "lean-client"),
    (6, "uefi-x86"),
    (7, "uefi-x64"),
    (8, "uefi-xscale"),
    (9, "uefi-x64"),
    (10, "uefi-arm32"),
    (11, "uefi-arm64"),
    (12, "ppc-open-firmware"),
    (13, "ppc-epapr"),
    (14, "ppc-opal"),
    (15, "uefi-x86-http"),
    (16, "uefi-x64-http"),
    (17, "uefi-ebc-http"),
    (18, "uefi-arm32-http"),
    (19, "uefi-arm64-http"),
    (20, "bios-http"),
    (21, "uboot-arm32"),
    (22, "uboot-arm64"),
    (23, "uboot-arm32-http"),
    (24, "uboot-arm64-http"),
    (25, "uefi-riscv32"),
    (26, "uefi-riscv32-http"),
    (27, "uefi-riscv64"),
    (28, "uefi-riscv64-http"),
    (29, "uefi-riscv128"),
    (30, "uefi-riscv128-http"),
    (31, "s390-basic"),
    (32, "s390-extended"),
    (33, "mips32"),
    (34, "mips64"),
    (35, "sunway32"),
    (36, "sunway64"),
    (37, "uefi-loongarch32"),
    (38, "uefi-loongarch32-http"),
    (39, "uefi-loongarch64"),
    (40, "uefi-loongarch64-http"),
    (41, "arm-rpiboot"),
];

impl Arch {
    /// x86 BIOS: what a PXE client without option 93 is, because such ROMs predate it.
    pub const BIOS: Arch = Arch(0);
    /// x64 UEFI.
    pub const UEFI_X64: Arch = Arch(7);
    /// 64-bit ARM UEFI.
    pub const UEFI_ARM64: Arch = Arch(11);

    /// A Raspberry Pi's boot ROM. It says it is a BIOS; `boot/identity.rs` tells it apart.
    pub const RASPBERRY_PI: Arch = Arch(41);

    /// The architecture with number `number` on the wire.
    pub fn from_number(number: u16) -> Arch {
        Arch(if number == 9 { 7 } else { number })
    }

    /// The number that stands for it on the wire (7 for both x64 numbers).
    pub fn number(self) -> u16 {
        self.0
    }

    /// The registered name, or `None` for an unregistered number.
    pub fn name(self) -> Option<&'static str> {
        ARCH_NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }

    /// All names, for help texts and "did you mean".
    pub fn names() -> impl Iterator<Item = &'static str> {
        ARCH_NAMES.iter().filter(|(number, _)| *number != 9).map(|(_, name)| *name)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "arch-{}", self.0),
        }
    }
}

impl FromStr for Arch {
    type Err = BadText;

    /// Reads a registered name, a decimal number or a hexadecimal one (`0x10`).
    fn from_str(text: &str) -> Result<Self, BadText> {
        const EXPECTED: BadText =
            BadText("a client architecture: a name such as bios or uefi-x64, or its number");
        if let Some((number, _)) = ARCH_NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(Arch::from_number(*number));
        }
        let number = match text.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.map(Arch::from_number).map_err(|_| EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_have_names_and_numbers() {
        assert_eq!("uefi-x64".parse(), Ok(Arch::UEFI_X64));
        assert_eq!("9".parse(), Ok(Arch::UEFI_X64));
        assert_eq!("0x10".parse::<Arch>().unwrap().to_string(), "uefi-x64-http");
        assert_eq!(Arch::from_number(999).to_string(), "arch-999");
        assert!("uefi".parse::<Arch>().is_err());
    }
}
