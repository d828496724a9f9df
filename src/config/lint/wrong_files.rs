//! Boot files that are there and that those who get them cannot start: a loader for another processor, a BIOS's for UEFI,
//! a script for firmware.

use crate::config::lint::local_name::local_name;
use crate::config::lint::mapped_files::{Mapped, Target, mapped, problems_at};
use crate::config::{Config, Problem};
use crate::types::{Arch, FileKind, Processor};

/// The boot files that `config` maps to what cannot start them, as problems of the file whose `text` it was loaded from.
/// `kind_of` says what a file of the images folder is, if it is there; `images` is that folder as people know it.
pub fn wrong_file_problems(
    config: &Config,
    text: &str,
    images: &str,
    kind_of: impl Fn(&str) -> Option<FileKind>,
) -> Vec<Problem> {
    let wrong = mapped(config).into_iter().filter_map(|file| {
        let name = local_name(&file.name, config)?;
        let kind = kind_of(name)?;
        let why = mismatch(&file, kind)?;
        Some((file.key.clone(), format!("{name:?} in {images} is {kind}, but {why}")))
    });
    problems_at(text, wrong)
}

/// Why a file of this kind is of no use to those who get it.
fn mismatch(file: &Mapped, kind: FileKind) -> Option<String> {
    let is_script = kind == FileKind::IpxeScript;
    match file.to {
        Target::Ipxe | Target::DefaultScript => (!is_script)
            .then(|| "it is what iPXE gets, which must be an iPXE script: one that begins #!ipxe".to_owned()),
        Target::Firmware(arch) => {
            let starts = starts(arch, &file.name, kind)?;
            Some(format!("it is mapped to {arch}, which starts {starts}"))
        }
        Target::Bootp => is_script.then(|| "plain BOOTP clients run no scripts".to_owned()),
        Target::AnyFirmware => is_script.then(|| {
            "its name does not end in .ipxe, so it is taken for a loader and firmware gets it: rename it"
                .to_owned()
        }),
    }
}

/// What the firmware of `arch` starts, if a file of this name and kind is none of it.
pub fn starts(arch: Arch, name: &str, kind: FileKind) -> Option<String> {
    if let Some(processor) = arch.efi_processor() {
        // HTTP boot also takes a whole disk.
        let is_disk = arch.is_http() && [".iso", ".img"].iter().any(|end| name.ends_with(end));
        let fits = matches!(kind, FileKind::EfiProgram(p) if p == processor || p == Processor::Ebc);
        return (!fits && !is_disk).then(|| format!("EFI programs for {processor}"));
    }
    let fits = if arch == Arch::BIOS { kind.may_be_bios_program() } else { kind != FileKind::IpxeScript };
    let what = if arch == Arch::BIOS {
        "BIOS boot programs, such as undionly.kpxe and pxelinux.0"
    } else {
        "programs, and no scripts of iPXE"
    };
    (!fits).then(|| what.to_owned())
}
