//! Reads facts from a kernel: its processor, its version and its signer.

use std::fs::File;
use std::io::{self, Read, Seek};

use crate::images::compression::{Extent, Peek, recognise, unpack};
use crate::images::kind::read_kind;
use crate::images::signature::read_marks;
use crate::types::{FileKind, Processor};

/// Number of bytes of a kernel that are read for its header and version.
const HEAD: u64 = 64 * 1024;
/// Maximum length of a version.
const MAX_VERSION: usize = 128;

/// The facts about a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelFacts {
    /// `x64`, `arm64` and so on.
    pub(super) arch: String,
    /// Only kernels for x86 have it in a place that is easy to read.
    pub(super) version: Option<String>,
    pub(super) signer: Option<String>,
}

/// Reads the facts from the beginning of `file`; `None` if it is no Linux kernel.
///
/// # Errors
/// The file cannot be read.
pub(super) fn inspect(mut file: &File) -> io::Result<Option<KernelFacts>> {
    file.rewind()?;
    let mut head = Vec::new();
    let mut input = Peek::new(file);
    match recognise(input.magic()?) {
        // Ubuntu's kernels for arm64 are compressed, and GRUB unpacks them.
        Some(compression) => {
            unpack(compression, Extent::OneStream, &mut input)?.take(HEAD).read_to_end(&mut head)?;
        }
        None => {
            input.take(HEAD).read_to_end(&mut head)?;
        }
    }
    let Some(arch) = arch(&head) else { return Ok(None) };
    let signer = read_marks(file)?.and_then(|marks| marks.signed_by.into_iter().next());
    Ok(Some(KernelFacts { arch, version: version(&head), signer }))
}

/// The processor of the kernel that begins with `head`; `None` if that is no kernel.
fn arch(head: &[u8]) -> Option<String> {
    let processor = match read_kind(head).ok()? {
        FileKind::EfiProgram(processor) | FileKind::OtherPe(processor) => processor,
        // Linux boot protocol, `xloadflags`: the kernel has a 64-bit entry point.
        FileKind::LinuxKernel if head.get(0x236).is_some_and(|flags| flags & 1 == 0) => Processor::X86,
        FileKind::LinuxKernel => Processor::X64,
        // Kernel, Documentation/arch/arm64/booting.rst, "Call the kernel image".
        _ if head.get(0x38..0x3c) == Some(b"ARM\x64") => Processor::Arm64,
        _ => return None,
    };
    Some(processor.to_string())
}

/// The version in the header of a kernel for x86 (Linux boot protocol, `kernel_version`): the first word of the text.
fn version(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let offset: [u8; 2] = head.get(0x20e..0x210)?.try_into().ok()?;
    let offset = usize::from(u16::from_le_bytes(offset));
    let text = head.get(offset.checked_add(0x200)?..).filter(|_| offset > 0)?;
    let word = text.split(|byte| !byte.is_ascii_graphic()).next().filter(|word| !word.is_empty())?;
    String::from_utf8(word.get(..word.len().min(MAX_VERSION))?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn facts(bytes: &[u8]) -> Option<KernelFacts> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&file).unwrap()
    }

    /// The header of a kernel for x86-64 without an EFI stub.
    fn bzimage() -> Vec<u8> {
        let mut kernel = vec![0; 0x1000];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20e..0x210].copy_from_slice(&0x300u16.to_le_bytes());
        kernel[0x236] = 1;
        kernel[0x500..0x511].copy_from_slice(b"6.1.0-9-amd64 (x)");
        kernel
    }

    #[test]
    fn processor_and_version_are_read_from_the_header() {
        let expected =
            KernelFacts { arch: "x64".into(), version: Some("6.1.0-9-amd64".into()), signer: None };
        assert_eq!(facts(&bzimage()), Some(expected.clone()));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bzimage()).unwrap();
        assert_eq!(facts(&packed.finish().unwrap()), Some(expected));
        let mut old = bzimage();
        old[0x236] = 0;
        old[0x20e] = 0;
        old[0x20f] = 0;
        assert_eq!(facts(&old), Some(KernelFacts { arch: "x86".into(), version: None, signer: None }));
        let mut arm = vec![0; 0x100];
        arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(facts(&arm).unwrap().arch, "arm64");
        for other in [&b""[..], b"text", &[0; 4096], b"\x1f\x8b"] {
            assert!(
                inspect(&{
                    let mut file = tempfile::tempfile().unwrap();
                    file.write_all(other).unwrap();
                    file
                })
                .is_ok_and(|found| found.is_none())
                    || other.starts_with(b"\x1f")
            );
        }
    }
}
