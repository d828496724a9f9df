//! Recognises the kind of a boot file by its first bytes: a PE/COFF header, a kernel header, the first line of a
//! script, or the first instructions of known BIOS programs. The catalog, `check` and `images verify` use it.

use std::io::{self, Read};

use crate::types::{FileKind, Processor};

/// Number of bytes that are read to recognise the kind. Loaders have their PE header in the first 512, kernels in the
/// first 1024.
const HEAD_SIZE: u64 = 4096;

/// Reads the kind of an open file from its beginning.
///
/// # Errors
/// The file cannot be read.
pub fn read_kind(file: impl Read) -> io::Result<FileKind> {
    let mut head = Vec::new();
    file.take(HEAD_SIZE).read_to_end(&mut head)?;
    Ok(kind_of(&head))
}

/// The kind in two words, and the processor architecture if the first bytes show it. For tables and JSON.
pub fn words(kind: FileKind) -> (&'static str, Option<String>) {
    let (words, architecture) = match kind {
        FileKind::EfiProgram(processor) => return ("EFI program", Some(processor.to_string())),
        FileKind::OtherPe(processor) => return ("PE, not EFI application", Some(processor.to_string())),
        FileKind::BiosIpxe => ("iPXE for BIOS", Some("bios")),
        FileKind::BiosPxelinux => ("PXELINUX", Some("bios")),
        FileKind::LinuxKernel => ("Linux kernel", Some("x86")),
        FileKind::IpxeScript => ("iPXE script", None),
        FileKind::Text => ("text", None),
        FileKind::RomImage => ("ROM image", None),
        FileKind::Elf => ("ELF", None),
        FileKind::Empty => ("empty", None),
        FileKind::Unknown => ("other", None),
    };
    (words, architecture.map(str::to_owned))
}

/// The kind of a file that begins with `head`.
fn kind_of(head: &[u8]) -> FileKind {
    if head.is_empty() {
        FileKind::Empty
    } else if let Some(pe) = pe_kind(head) {
        pe
    } else if has_at(head, 0x202, b"HdrS") {
        // Linux boot protocol, section "The Real-Mode Kernel Header".
        FileKind::LinuxKernel
    } else if is_ipxe_script(head) {
        FileKind::IpxeScript
    } else if head.starts_with(b"\x7fELF") {
        FileKind::Elf
    } else if head.starts_with(&[0x55, 0xaa]) {
        FileKind::RomImage
    } else if has_at(head, 8, &PXELINUX_MAGIC) {
        FileKind::BiosPxelinux
    } else if head.starts_with(&IPXE_JUMP) && contains(head, b"PXENV+") {
        FileKind::BiosIpxe
    } else if is_text(head) {
        FileKind::Text
    } else {
        FileKind::Unknown
    }
}

/// The bytes after PXELINUX's first jump (`core/pxelinux.asm`): 0x2983c8ac.
const PXELINUX_MAGIC: [u8; 4] = [0xac, 0xc8, 0x83, 0x29];
/// iPXE's first jump, to 07c0:0005 (`arch/x86/prefix/pxeprefix.S`).
const IPXE_JUMP: [u8; 5] = [0xea, 0x05, 0x00, 0xc0, 0x07];
/// Subsystem "EFI application" of a PE header.
const EFI_APPLICATION: u16 = 10;

/// Recognises a PE/COFF file: `MZ`, the offset of the PE header at 0x3c, there `PE` and the machine type. The
/// subsystem is 68 bytes into the optional header (PE format, "MS-DOS Stub" to "Optional Header Windows-Specific
/// Fields").
fn pe_kind(head: &[u8]) -> Option<FileKind> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let offset: [u8; 4] = head.get(0x3c..0x40)?.try_into().ok()?;
    let header = head.get(usize::try_from(u32::from_le_bytes(offset)).ok()?..)?;
    let fields = header.strip_prefix(b"PE\0\0")?;
    let processor = Processor::from_number(u16_at(fields, 0)?);
    // The COFF header has 20 bytes. The subsystem has the same offset in PE32 and PE32+.
    Some(match u16_at(fields, 20 + 68) {
        Some(EFI_APPLICATION) => FileKind::EfiProgram(processor),
        _ => FileKind::OtherPe(processor),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two: [u8; 2] = bytes.get(at..)?.get(..2)?.try_into().ok()?;
    Some(u16::from_le_bytes(two))
}

/// Whether the file begins with `#!ipxe` followed by white space or nothing, as iPXE requires (`image/script.c`).
fn is_ipxe_script(head: &[u8]) -> bool {
    let rest = head.strip_prefix(b"#!ipxe");
    rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

fn has_at(head: &[u8], at: usize, what: &[u8]) -> bool {
    head.get(at..).is_some_and(|rest| rest.starts_with(what))
}

fn contains(head: &[u8], what: &[u8]) -> bool {
    head.windows(what.len()).any(|window| window == what)
}

/// Whether the text is UTF-8 without control characters other than tab, line feed and carriage return. A character
/// may be cut off at the end.
fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            head.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or("\0")
        }
        Err(_) => return false,
    };
    whole.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;

    /// A PE header with this machine type and subsystem.
    fn pe(machine: u16, subsystem: u16) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        let at = 0x84 + 20 + 68;
        bytes[at..at + 2].copy_from_slice(&subsystem.to_le_bytes());
        bytes
    }

    #[test]
    fn an_efi_program_is_known_with_its_processor() {
        for (machine, processor) in [
            (0x014c, Processor::X86),
            (0x8664, Processor::X64),
            (0x01c2, Processor::Arm32),
            (0xaa64, Processor::Arm64),
            (0x5064, Processor::RiscV64),
            (0x6264, Processor::LoongArch64),
            (0x0ebc, Processor::Ebc),
            (0x1234, Processor::Other(0x1234)),
        ] {
            assert_eq!(kind_of(&pe(machine, 10)), FileKind::EfiProgram(processor));
        }
        for subsystem in [0, 2, 3, 11, 12] {
            assert_eq!(kind_of(&pe(0x8664, subsystem)), FileKind::OtherPe(Processor::X64), "{subsystem}");
        }
        let mut kernel = pe(0x8664, 10);
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(kind_of(&kernel), FileKind::EfiProgram(Processor::X64), "a kernel with an EFI stub");
    }

    #[test]
    fn truncated_or_dangling_headers_are_ignored() {
        let whole = pe(0x8664, 10);
        for len in [1, 2, 0x3d, 0x40, 0x82, 0x85] {
            assert!(
                !matches!(kind_of(&whole[..len]), FileKind::EfiProgram(_) | FileKind::OtherPe(_)),
                "{len}"
            );
        }
        assert_eq!(kind_of(&whole[..0x90]), FileKind::OtherPe(Processor::X64), "no subsystem");
        for offset in [0xffff_ffffu32, 1 << 20, 4095] {
            let mut lost = whole.clone();
            lost[0x3c..0x40].copy_from_slice(&offset.to_le_bytes());
            assert_eq!(kind_of(&lost), FileKind::Unknown, "{offset}");
        }
    }

    #[test]
    fn scripts_are_known_by_their_first_line() {
        for script in ["#!ipxe\nboot\n", "#!ipxe\r\nboot", "#!ipxe", "#!ipxe \n"] {
            assert_eq!(kind_of(script.as_bytes()), FileKind::IpxeScript, "{script:?}");
        }
        for text in ["\n#!ipxe\n", "#!ipxe2\n", "\u{feff}#!ipxe\n", "#!/bin/sh\n", "<!DOCTYPE html>", "x"] {
            assert_eq!(kind_of(text.as_bytes()), FileKind::Text, "{text:?}");
        }
    }

    #[test]
    fn startable_kinds_are_recognised() {
        let mut kernel = vec![0; 1024];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(kind_of(&kernel), FileKind::LinuxKernel);
        assert_eq!(kind_of(b""), FileKind::Empty);
        assert_eq!(kind_of(b"\x7fELF\x02"), FileKind::Elf);
        assert_eq!(kind_of(b"\x55\xaa\x93\xe9"), FileKind::RomImage);
        assert_eq!(kind_of(b"\xea\x24\x7c\0\0\x90\x90\x90\xac\xc8\x83\x29"), FileKind::BiosPxelinux);
        assert_eq!(kind_of(b"\xea\x05\0\xc0\x07 PXENV+ at "), FileKind::BiosIpxe);
        assert_eq!(kind_of(b"\xea\x05\0\xc0\x07 another"), FileKind::Unknown);
        assert_eq!(kind_of(b"\xfa\x31\xc0\x8e"), FileKind::Unknown);
        let mut cut = "ä".repeat(HEAD_SIZE as usize).into_bytes();
        cut.truncate(4095);
        assert_eq!(kind_of(&cut), FileKind::Text, "a letter that the limit cuts in two");
    }

    #[test]
    fn no_more_is_read_than_a_head() {
        let mut rest = io::repeat(b'x').take(1 << 20);
        assert_eq!(read_kind(&mut rest).unwrap(), FileKind::Text);
        assert_eq!(rest.limit(), (1 << 20) - HEAD_SIZE);
    }

    /// Checks the loaders of the Debian packages that are installed on this computer.
    #[test]
    fn real_loaders_are_known() {
        let x64 = FileKind::EfiProgram(Processor::X64);
        let loaders = [
            ("/usr/lib/ipxe/undionly.kpxe", FileKind::BiosIpxe),
            ("/usr/lib/ipxe/undionly.kkpxe", FileKind::BiosIpxe),
            ("/usr/lib/ipxe/ipxe.pxe", FileKind::BiosIpxe),
            ("/usr/lib/ipxe/snponly.efi", x64),
            ("/boot/ipxe.efi", x64),
            ("/boot/ipxe.lkrn", FileKind::LinuxKernel),
            ("/usr/lib/ipxe/qemu/pxe-virtio.rom", FileKind::RomImage),
            ("/usr/lib/PXELINUX/pxelinux.0", FileKind::BiosPxelinux),
            ("/usr/lib/PXELINUX/lpxelinux.0", FileKind::BiosPxelinux),
            ("/usr/lib/shim/shimx64.efi.signed", x64),
            ("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", x64),
            ("/usr/lib/SYSLINUX.EFI/efi32/syslinux.efi", FileKind::EfiProgram(Processor::X86)),
            ("/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi", x64),
        ];
        let mut seen = 0;
        for (path, kind) in loaders {
            let Ok(file) = File::open(path) else { continue };
            assert_eq!(read_kind(file).unwrap(), kind, "{path}");
            seen += 1;
        }
        if seen == 0 {
            eprintln!(
                "SKIPPED: none of the packages ipxe, pxelinux, shim-signed, grub-efi-amd64-signed is installed"
            );
        }
    }

    proptest! {
        #[test]
        fn every_beginning_has_a_kind(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), is_pe: bool) {
            if is_pe && bytes.len() > 2 {
                bytes[..2].copy_from_slice(b"MZ");
            }
            let _ = kind_of(&bytes);
        }
    }
}
