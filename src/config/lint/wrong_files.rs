//! Finds existing boot files that their clients cannot start: a loader for another processor, a BIOS loader for UEFI,
//! a script for firmware.

use crate::config::lint::local_name::local_name;
use crate::config::lint::mapped_files::{MappedFile, Recipient, mapped_files};
use crate::config::problem::Problem;
use crate::config::settings::Config;
use crate::config::sources::Sources;
use crate::types::{Arch, FileKind, Processor};

/// Problems of the configuration from `sources`: boot files that are mapped to clients that cannot start them. `kind_of`
/// returns the kind of an existing file of the images folder. `images` is the path of that folder for messages.
pub fn wrong_file_problems(
    config: &Config,
    sources: &Sources,
    images: &str,
    kind_of: impl Fn(&str) -> Option<FileKind>,
) -> Vec<Problem> {
    let wrong = mapped_files(config).into_iter().filter_map(|file| {
        let name = local_name(&file.name, config)?;
        let kind = kind_of(name)?;
        let why = unusable_reason(&file, kind)?;
        Some((file.key.clone(), format!("{name:?} in {images} is {kind}, but {why}")))
    });
    sources.problems_at(wrong)
}

/// Explains why a file of this kind cannot be started by its clients.
fn unusable_reason(file: &MappedFile, kind: FileKind) -> Option<String> {
    let is_script = kind == FileKind::IpxeScript;
    match file.recipient {
        Recipient::Ipxe | Recipient::DefaultScript => (!is_script)
            .then(|| "it is what iPXE gets, which must be an iPXE script: one that begins #!ipxe".to_owned()),
        Recipient::Firmware(arch) => {
            let starts = unstartable_reason(arch, &file.name, kind)?;
            Some(format!("it is mapped to {arch}, which starts {starts}"))
        }
        Recipient::Bootp => is_script.then(|| "plain BOOTP clients run no scripts".to_owned()),
        Recipient::AnyFirmware => is_script.then(|| {
            "its name does not end in .ipxe, so it is taken for a loader and firmware gets it: rename it"
                .to_owned()
        }),
    }
}

/// Describes the files that the firmware of `arch` starts, if a file of this name and kind is not one of them.
pub fn unstartable_reason(arch: Arch, name: &str, kind: FileKind) -> Option<String> {
    if let Some(processor) = arch.efi_processor() {
        // HTTP boot also starts disk images.
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
