//! The part that a file plays in a boot, by the configuration and by its name.

use crate::journey::site::{Program, Site};

/// The part that a file plays in a boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileRole {
    Loader,
    /// A script or menu of a loader.
    Script,
    Kernel,
    Initrd,
    /// An answer file of an installer.
    Answer,
    /// A name that a loader tries and can do without.
    Optional,
    Other,
}

/// The role of the file `name`. `named` is the file that DHCP named last.
pub fn role(name: &str, named: Option<&str>, site: &Site) -> FileRole {
    let name = name.trim_start_matches('/');
    let is = |pattern: &str| matches(pattern.trim_start_matches('/'), name);
    for target in &site.targets {
        if is(&target.kernel) {
            return FileRole::Kernel;
        }
        if target.initrd.iter().any(|initrd| is(initrd)) {
            return FileRole::Initrd;
        }
    }
    if named.is_some_and(|named| is_same(named, name)) {
        return if is_script(name) {
            FileRole::Script
        } else if site.program(name) == Program::Kernel {
            FileRole::Kernel
        } else {
            FileRole::Loader
        };
    }
    by_name(name)
}

/// Whether DHCP named this file: `named` may be a URL, or begin with a slash.
pub fn is_same(named: &str, name: &str) -> bool {
    let path = match named.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => named,
    };
    path.trim_start_matches('/').eq_ignore_ascii_case(name.trim_start_matches('/'))
}

fn is_script(name: &str) -> bool {
    name.ends_with(".ipxe") || name.ends_with(".gpxe") || name.ends_with(".cfg")
}

fn by_name(name: &str) -> FileRole {
    let lower = name.to_ascii_lowercase();
    let last = lower.rsplit('/').next().unwrap_or(&lower);
    let begins = |words: &[&str]| words.iter().any(|word| last.starts_with(word));
    let ends = |words: &[&str]| words.iter().any(|word| last.ends_with(word));
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if begins(&["initrd", "initramfs"]) {
        FileRole::Initrd
    } else if begins(&["vmlinuz", "linux", "bzimage", "kernel"]) && !ends(&[".efi", ".cfg"]) {
        FileRole::Kernel
    } else if has(&["preseed", "kickstart", "user-data", "meta-data", "vendor-data", "autoinst", "unattend"])
        || ends(&[".ks", ".seed", ".ign", "ks.cfg", "answers"])
    {
        FileRole::Answer
    } else if ends(&[".ipxe", ".gpxe", ".cfg"]) || has(&["pxelinux.cfg/", "grub.cfg-"]) {
        FileRole::Script
    } else if ends(&[".efi", ".kpxe", ".kkpxe", ".pxe", ".0", ".c32", ".lkrn"]) {
        FileRole::Loader
    } else if ends(&[".mod", ".lst", ".pf2", ".sig", ".dtb"]) {
        FileRole::Optional
    } else {
        FileRole::Other
    }
}

/// Whether loaders try this name and go on without it: the searches of PXELINUX, GRUB, shim, iPXE, Windows and
/// Raspberry Pis.
pub fn is_optional(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let last = lower.rsplit(['/', '\\']).next().unwrap_or(&lower);
    lower.contains("pxelinux.cfg/")
        || last.starts_with("grub.cfg")
        || lower.contains("-efi/")
        || lower.contains("i386-pc/")
        || by_name(&lower) == FileRole::Optional
        || [
            "autoexec.ipxe",
            "revocations.efi",
            "revocations_sbat.efi",
            "revocations_sku.efi",
            "mmx64.efi",
            "mmaa64.efi",
            "fbx64.efi",
            "bootsig.bin",
            "recovery.elf",
            "autoboot.txt",
            "vendor-data",
            "network-config",
            "hiberfil.sys",
            "boot.stl",
            "grubenv",
            "custom.cfg",
            "theme.txt",
            "updates.img",
            "product.img",
        ]
        .contains(&last)
        // Fonts, translations, pictures, and policies of Windows.
        || [".ttf", ".gmo", ".mo", ".png", ".jpg", ".jpeg", ".tga", ".p7b", ".cip"].iter().any(|end| last.ends_with(end))
        || last.starts_with("shim_certificate")
}

/// Whether `name` fits `pattern`, in which `{…}` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, mut pattern)) = pattern.split_once('{') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    // Each literal part at its first place, and the last one at the end.
    loop {
        let literal = pattern.split_once('}').map_or("", |(_, after)| after);
        let Some((part, rest)) = literal.split_once('{') else { return name.ends_with(literal) };
        let Some((_, after)) = name.split_once(part) else { return false };
        (pattern, name) = (rest, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::site::TargetFiles;

    #[test]
    fn roles_come_from_the_targets_the_named_file_and_the_name() {
        let target = TargetFiles {
            kernel: "debian/{arch}/linux".into(),
            initrd: vec!["debian/rd.gz".into()],
            ..TargetFiles::default()
        };
        let mut site = Site::default();
        site.targets = vec![target];
        for (name, wanted) in [
            ("debian/amd64/linux", FileRole::Kernel),
            ("debian/rd.gz", FileRole::Initrd),
            ("x.bin", FileRole::Loader),
            ("lanboot/boot.ipxe", FileRole::Script),
            ("pxelinux.cfg/default", FileRole::Script),
            ("vmlinuz-6.1", FileRole::Kernel),
            ("preseed.cfg", FileRole::Answer),
            ("grub/x86_64-efi/net.mod", FileRole::Optional),
            ("readme", FileRole::Other),
        ] {
            assert_eq!(role(name, Some("/x.bin"), &site), wanted, "{name}");
        }
        assert_eq!(role("a/s.ipxe", Some("http://10.0.0.1/a/s.ipxe"), &site), FileRole::Script);
    }

    #[test]
    fn names_that_loaders_try_are_optional() {
        for name in [
            "pxelinux.cfg/01-52-54-00-12-34-56",
            "pxelinux.cfg/default",
            "grub/grub.cfg-C0A84D32",
            "grub/x86_64-efi/fs.lst",
            "autoexec.ipxe",
            "revocations.efi",
            "EFI/shim_certificate_0.efi",
            "\\Boot\\Fonts\\WGL4_Boot.ttf",
            "\\hiberfil.sys",
            "grub/grubenv",
            "grub/locale/en.gmo",
            "1234abcd/bootsig.bin",
        ] {
            assert!(is_optional(name), "{name}");
        }
        assert!(!is_optional("snponly.efi") && !is_optional("boot.ipxe") && !is_optional("debian/linux"));
    }
}
