//! The files of an image that a boot needs before its root file system: the newest kernel in /boot with its initrd, and
//! signed loaders. The names are those of Debian, Ubuntu, Fedora, openSUSE, Arch and Alpine.

use std::cmp::Ordering;

use super::version::compare;

/// The use of a file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A kernel of this version; empty if its name has none.
    Kernel(String),
    /// The initrd for the kernel of this version.
    Initrd(String),
    /// A signed loader, with its name in the build.
    Loader(&'static str),
}

/// Paths of the signed loaders of Debian and Ubuntu, and their names in a build. `grubnet` is the GRUB that loads its
/// files by TFTP; `gcd` is that of installation media.
const LOADERS: [(&str, &str); 8] = [
    ("usr/lib/shim/shimx64.efi.signed", "shimx64.efi"),
    ("usr/lib/shim/mmx64.efi.signed", "mmx64.efi"),
    ("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "grubx64.efi"),
    ("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed", "gcdx64.efi"),
    ("usr/lib/shim/shimaa64.efi.signed", "shimaa64.efi"),
    ("usr/lib/shim/mmaa64.efi.signed", "mmaa64.efi"),
    ("usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed", "grubaa64.efi"),
    ("usr/lib/grub/arm64-efi-signed/gcdaa64.efi.signed", "gcdaa64.efi"),
];

/// Paths of all signed loaders.
pub(super) fn loader_paths() -> impl Iterator<Item = &'static str> {
    LOADERS.iter().map(|(path, _)| *path)
}

/// The use of the file at `path`, relative to the root of the image.
pub(super) fn role(path: &[u8]) -> Option<Role> {
    let path = std::str::from_utf8(path).ok()?;
    let Some(name) = path.strip_prefix("boot/") else {
        return LOADERS.iter().find(|(from, _)| *from == path).map(|(_, name)| Role::Loader(name));
    };
    let is_copy =
        [".old", ".bak", ".dpkg-tmp", ".dpkg-new", ".dpkg-bak"].iter().any(|end| name.ends_with(end));
    if name.contains('/') || is_copy {
        return None;
    }
    let version = |start: &str, end: &str| -> Option<String> {
        let rest = name.strip_prefix(start)?.strip_suffix(end)?;
        // `vmlinuz` alone has no version.
        if rest.is_empty() { Some(String::new()) } else { rest.strip_prefix('-').map(str::to_owned) }
    };
    let kernel = version("vmlinuz", "").or_else(|| version("vmlinux", ""));
    let initrd = || {
        let forms = [
            ("initrd.img", ""),
            ("initramfs", ".img"),
            ("initrd", ".img"),
            ("initrd", ""),
            ("initramfs", ""),
        ];
        forms.iter().find_map(|(start, end)| version(start, end))
    };
    kernel.map(Role::Kernel).or_else(|| initrd().map(Role::Initrd))
}

/// The files in /boot that were found.
#[derive(Debug)]
pub(super) struct Candidates<F> {
    kernels: Vec<(String, F)>,
    initrds: Vec<(String, F)>,
}

/// Maximum number of kernels, and of RAM disks, that are kept until the newest is known.
const MAX_CANDIDATES: usize = 8;

/// The kernel and the initrd of an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen<F> {
    /// Empty if the name of the kernel has no version.
    pub(super) version: String,
    pub(super) kernel: F,
    /// `None` if no initrd has the version of the newest kernel.
    pub(super) initrd: Option<F>,
}

impl<F> Default for Candidates<F> {
    fn default() -> Candidates<F> {
        Candidates { kernels: Vec::new(), initrds: Vec::new() }
    }
}

impl<F> Candidates<F> {
    /// Adds a kernel or an initrd. Returns one that is too old to be chosen, which may be this one.
    pub(super) fn add(&mut self, role: Role, file: F) -> Option<F> {
        let (list, version) = match role {
            Role::Kernel(version) => (&mut self.kernels, version),
            Role::Initrd(version) => (&mut self.initrds, version),
            Role::Loader(_) => return Some(file),
        };
        // An archive may have a path twice, and the last one counts.
        if let Some(place) = list.iter().position(|(known, _)| *known == version) {
            return list.get_mut(place).map(|(_, old)| std::mem::replace(old, file));
        }
        list.push((version, file));
        list.sort_by(|(a, _), (b, _)| newest_first(a, b));
        if list.len() > MAX_CANDIDATES { list.pop().map(|(_, oldest)| oldest) } else { None }
    }

    /// The newest kernel with its initrd; `None` without a kernel.
    pub(super) fn choose(self) -> Option<Chosen<F>> {
        let (version, kernel) = self.kernels.into_iter().next()?;
        let initrd = self.initrds.into_iter().find(|(of, _)| *of == version).map(|(_, file)| file);
        Some(Chosen { version, kernel, initrd })
    }
}

/// The newest version first. A name without a version comes last, because it is often a copy or a link.
fn newest_first(a: &str, b: &str) -> Ordering {
    compare(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_distributions_are_known() {
        let kernel = |version: &str| Some(Role::Kernel(version.to_owned()));
        let initrd = |version: &str| Some(Role::Initrd(version.to_owned()));
        for (path, expected) in [
            ("boot/vmlinuz-6.1.0-9-amd64", kernel("6.1.0-9-amd64")),
            ("boot/initrd.img-6.1.0-9-amd64", initrd("6.1.0-9-amd64")),
            ("boot/vmlinuz", kernel("")),
            ("boot/initrd.img", initrd("")),
            ("boot/initramfs-6.9.fc40.x86_64.img", initrd("6.9.fc40.x86_64")),
            ("boot/initrd-6.4-default", initrd("6.4-default")),
            ("boot/vmlinuz-linux", kernel("linux")),
            ("boot/initramfs-linux.img", initrd("linux")),
            ("boot/initramfs-virt", initrd("virt")),
            ("boot/vmlinuz-6.1.old", None),
            ("boot/vmlinuzx", None),
            ("boot/efi/vmlinuz-1", None),
            ("etc/vmlinuz-1", None),
            ("usr/lib/shim/shimx64.efi.signed", Some(Role::Loader("shimx64.efi"))),
            ("usr/lib/shim/shimx64.efi", None),
        ] {
            assert_eq!(role(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(role(b"boot/vmlinuz-\xff"), None);
    }

    #[test]
    fn the_newest_kernel_is_chosen_with_its_own_initrd() {
        let mut found = Candidates::default();
        for (i, path) in
            ["initrd.img-6.1.0-9", "initrd.img-6.1.0-10", "vmlinuz-6.1.0-9", "vmlinuz-6.1.0-10", "vmlinuz"]
                .iter()
                .enumerate()
        {
            assert_eq!(found.add(role(format!("boot/{path}").as_bytes()).unwrap(), i), None);
        }
        assert_eq!(found.add(Role::Kernel("6.1.0-10".to_owned()), 7), Some(3), "the last one counts");
        let chosen = found.choose().unwrap();
        assert_eq!(chosen, Chosen { version: "6.1.0-10".to_owned(), kernel: 7, initrd: Some(1) });

        let mut many = Candidates::default();
        for i in 0..100u32 {
            let dropped = many.add(Role::Kernel(i.to_string()), i);
            assert_eq!(dropped, i.checked_sub(8), "the oldest one");
        }
        assert_eq!(many.choose().unwrap().kernel, 99);
    }
}
