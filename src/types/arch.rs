//! Client architectures (option 93): one table of numbers and names.

use std::fmt;
use std::str::FromStr;

use crate::types::kind::Processor;
use crate::types::text::BadText;

/// A client architecture type (option 93, RFC 4578 section 2.1, IANA "Processor Architecture Types").
///
/// Every number is a valid value; [`Arch::name`] knows the registered ones. Both 7 and 9 mean x64 UEFI: the RFC's text
/// swaps them (errata 4625) and firmware follows either reading (iPXE sent 9 before May 2016). Therefore 9 is read as
/// 7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Arch(u16);

/// Registered architectures: the number, and the name used in config.yaml and in the log.
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
    /// x86 BIOS. PXE clients that send no option 93 have this architecture, because their ROMs predate the option.
    pub const BIOS: Arch = Arch(0);
    pub const UEFI_X64: Arch = Arch(7);
    pub const UEFI_ARM64: Arch = Arch(11);

    /// The boot ROM of a Raspberry Pi. It claims to be a BIOS; `boot/identity.rs` recognizes it.
    pub const RASPBERRY_PI: Arch = Arch(41);

    pub fn from_number(number: u16) -> Arch {
        Arch(if number == 9 { 7 } else { number })
    }

    /// Returns the number sent on the wire: 7 for both x64 numbers.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Returns the registered name, or `None` for an unregistered number.
    pub fn name(self) -> Option<&'static str> {
        ARCH_NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }

    /// Whether clients of this architecture boot over HTTP, so that their boot file is a URL.
    pub fn is_http(self) -> bool {
        self.name().is_some_and(|name| name.ends_with("-http"))
    }

    /// Whether this is UEFI, over TFTP or HTTP.
    pub fn is_uefi(self) -> bool {
        self.name().is_some_and(|name| name.starts_with("uefi-"))
    }

    /// Whether this is U-Boot, over TFTP or HTTP.
    pub fn is_u_boot(self) -> bool {
        self.name().is_some_and(|name| name.starts_with("uboot-"))
    }

    /// Returns the processor of its EFI programs; `None` if it runs no EFI programs.
    pub fn efi_processor(self) -> Option<Processor> {
        Some(match self.name()?.strip_suffix("-http").unwrap_or(self.name()?) {
            "uefi-x86" => Processor::X86,
            "uefi-x64" => Processor::X64,
            "ia64" => Processor::Itanium,
            "uefi-ebc" => Processor::Ebc,
            "uefi-arm32" | "uefi-xscale" => Processor::Arm32,
            "uefi-arm64" => Processor::Arm64,
            "uefi-riscv32" => Processor::RiscV32,
            "uefi-riscv64" => Processor::RiscV64,
            "uefi-riscv128" => Processor::RiscV128,
            "uefi-loongarch32" => Processor::LoongArch32,
            "uefi-loongarch64" => Processor::LoongArch64,
            _ => return None,
        })
    }

    /// Returns all names, for help texts and suggestions.
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

    /// Reads a registered name, a decimal number or a hexadecimal number (`0x10`).
    fn from_str(text: &str) -> Result<Self, BadText> {
        const EXPECTED: BadText =
            BadText("a client architecture: a name such as bios or uefi-x64, or its number");
        if let Some((number, _)) = ARCH_NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(Arch::from_number(*number));
        }
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
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
        assert_eq!("0X13".parse::<Arch>().unwrap().to_string(), "uefi-arm64-http");
        assert!("uefi".parse::<Arch>().is_err());
    }

    /// Compares the table with IANA's "Processor Architecture Types", which firmware uses.
    #[test]
    fn the_table_is_ianas() {
        assert!(ARCH_NAMES.iter().map(|(number, _)| *number).eq(0..=41));
        for (number, name) in ARCH_NAMES {
            let arch = Arch::from_number(*number);
            assert_eq!((arch.to_string().as_str(), name.parse()), (*name, Ok(arch)));
            assert_eq!(number.to_string().parse(), Ok(arch));
            assert_eq!(format!("{number:#x}").parse(), Ok(arch));
        }
        let http: Vec<u16> = (0..50).filter(|number| Arch::from_number(*number).is_http()).collect();
        assert_eq!(http, [15, 16, 17, 18, 19, 20, 23, 24, 26, 28, 30, 38, 40]);
        let uefi = (0..50).filter(|number| Arch::from_number(*number).is_uefi());
        assert_eq!(
            uefi.collect::<Vec<u16>>(),
            [6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19, 25, 26, 27, 28, 29, 30, 37, 38, 39, 40]
        );
        for arch in (0..50).map(Arch::from_number) {
            let starts_efi = arch.is_uefi() || arch == Arch::from_number(2);
            assert_eq!(arch.efi_processor().is_some(), starts_efi, "{arch}");
        }
    }
}
