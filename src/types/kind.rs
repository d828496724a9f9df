//! The kind of program in a boot file, recognized by its first bytes.

use std::fmt;

/// The kind of program in a boot file. `Display` writes it with an article: `an EFI program for x64`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// A PE/COFF file with subsystem 10 (EFI application). Linux kernels with an EFI stub are of this kind too.
    EfiProgram(Processor),
    /// A PE/COFF file that UEFI does not run as a boot file: a driver, or a program for Windows.
    OtherPe(Processor),
    /// iPXE as a boot program of a BIOS (NBP): undionly.kpxe, ipxe.pxe.
    BiosIpxe,
    /// PXELINUX for a BIOS: pxelinux.0, lpxelinux.0.
    BiosPxelinux,
    /// A Linux kernel in bzImage format without an EFI stub; ipxe.lkrn is one.
    LinuxKernel,
    /// An iPXE script: the first line is `#!ipxe`.
    IpxeScript,
    /// Other text: a configuration file, or an error page that was saved under the file's name.
    Text,
    /// The image of a network card's ROM (`.rom`).
    RomImage,
    /// An ELF file, such as a kernel for PowerPC.
    Elf,
    Empty,
    /// None of these. Boot programs of a BIOS have no header, so they are of this kind.
    Unknown,
}

impl FileKind {
    /// Whether a BIOS may be able to run it over PXE: a BIOS jumps to the first byte.
    pub fn may_be_bios_program(self) -> bool {
        matches!(self, FileKind::BiosIpxe | FileKind::BiosPxelinux | FileKind::Unknown)
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::EfiProgram(processor) => return write!(f, "an EFI program for {processor}"),
            FileKind::OtherPe(processor) => {
                return write!(
                    f,
                    "a PE file for {processor} that is no EFI application (a driver, or of Windows)"
                );
            }
            FileKind::BiosIpxe => "a BIOS boot program (iPXE)",
            FileKind::BiosPxelinux => "a BIOS boot program (PXELINUX)",
            FileKind::LinuxKernel => "a Linux kernel (bzImage)",
            FileKind::IpxeScript => "an iPXE script",
            FileKind::Text => "a text file",
            FileKind::RomImage => "the image of a card's ROM",
            FileKind::Elf => "an ELF file",
            FileKind::Empty => "an empty file",
            FileKind::Unknown => "no EFI program and no iPXE script",
        })
    }
}

/// The processor that a PE/COFF file is for (PE format, "Machine Types"; UEFI 2.10 section 2.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Processor {
    /// i386.
    X86,
    /// x86-64.
    X64,
    /// 32-bit ARM, with or without Thumb.
    Arm32,
    /// AArch64.
    Arm64,
    /// RISC-V with 32 bits.
    RiscV32,
    /// RISC-V with 64 bits.
    RiscV64,
    /// RISC-V with 128 bits.
    RiscV128,
    /// LoongArch with 32 bits.
    LoongArch32,
    /// LoongArch with 64 bits.
    LoongArch64,
    Itanium,
    /// EFI byte code, which any UEFI may be able to run.
    Ebc,
    /// An unknown machine type.
    Other(u16),
}

/// The machine types: number in the header, processor, name.
const PROCESSORS: &[(u16, Processor, &str)] = &[
    (0x014c, Processor::X86, "x86"),
    (0x8664, Processor::X64, "x64"),
    (0x01c0, Processor::Arm32, "arm32"),
    (0x01c2, Processor::Arm32, "arm32"),
    (0x01c4, Processor::Arm32, "arm32"),
    (0xaa64, Processor::Arm64, "arm64"),
    (0x5032, Processor::RiscV32, "riscv32"),
    (0x5064, Processor::RiscV64, "riscv64"),
    (0x5128, Processor::RiscV128, "riscv128"),
    (0x6232, Processor::LoongArch32, "loongarch32"),
    (0x6264, Processor::LoongArch64, "loongarch64"),
    (0x0200, Processor::Itanium, "ia64"),
    (0x0ebc, Processor::Ebc, "EBC"),
];

impl Processor {
    /// Returns the processor for the machine type of a PE/COFF header.
    pub fn from_number(number: u16) -> Processor {
        let row = PROCESSORS.iter().find(|(other, _, _)| *other == number);
        row.map_or(Processor::Other(number), |(_, processor, _)| *processor)
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Processor::Other(number) = self {
            return write!(f, "machine type {number:#06x}");
        }
        let row = PROCESSORS.iter().find(|(_, processor, _)| processor == self);
        f.write_str(row.map_or("?", |(_, _, name)| name))
    }
}
