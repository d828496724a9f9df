//! A Debian kernel, and a userspace for it, made here, that says on the console what it was started with.

use std::fs;
use std::path::Path;
use std::process::Command;

use lanboot::cli::demo::network::{self, Need, Network, Running};

use super::BOOT_LIMIT;
use crate::LANBOOT;
use crate::site::{SERVER, Site};

/// A package file where tests/run puts it.
macro_rules! package {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/firmware/packages/", $name, ".deb")
    };
}

/// What [`linux_site`] needs.
pub const LINUX: &[Need] = &[
    Need { what: KERNEL, package: "linux-image-cloud-amd64 (which tests/run unpacks)" },
    Need { what: BUSYBOX, package: "busybox-static" },
];

/// Where tests/run puts Debian's kernel for virtual machines, and its modules beside it.
const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/firmware/linux/vmlinuz");
const BUSYBOX: &str = "/bin/busybox";

/// What drives QEMU's network card, each after what it needs.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// The file names of [`linux_site`]. That of the kernel ends as distributions end it, which PXELINUX takes for the kind
/// of the file where it may.
pub const LINUX_FILES: &str = "kernel: debian/vmlinuz-6.0, initrd: debian/initrd.img";

/// Loaders that `lanboot images add NAME` takes out of packages.
pub struct Loaders {
    name: &'static str,
    pub packages: &'static [Need],
}

/// What [`linux_site`] needs of packages for these loaders.
pub const PXELINUX: Loaders = Loaders {
    name: "pxelinux",
    packages: &[
        Need { what: package!("pxelinux"), package: FETCHED },
        Need { what: package!("syslinux-common"), package: FETCHED },
        Need { what: package!("syslinux-efi"), package: FETCHED },
    ],
};
/// As [`PXELINUX`].
pub const GRUB: Loaders =
    Loaders { name: "grub", packages: &[Need { what: package!("grub-efi-amd64-signed"), package: FETCHED }] };
/// As [`PXELINUX`].
pub const SHIM: Loaders = Loaders {
    name: "shim",
    packages: &[
        Need { what: package!("shim-signed"), package: FETCHED },
        Need { what: package!("shim-helpers-amd64-signed"), package: FETCHED },
    ],
};
const FETCHED: &str = "(tests/run downloads it)";

/// What [`secure_machine`] needs.
pub const SECURE_OVMF: &[Need] =
    &[Need { what: SECURE_CODE, package: "ovmf" }, Need { what: SECURE_VARS, package: "ovmf" }];

const SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// With Microsoft's keys, and Secure Boot on.
const SECURE_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// Printed by the userspace, around what it was started with.
const BOOTED: &str = "LANBOOT-LINUX started for ";
const END: &str = " LANBOOT-LINUX end";

/// The first program. With `done=URL` in the command line it says there that it is done.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
# Or the kernel's messages get into the lines below.
dmesg -n 1
dmesg | grep -i 'secure boot'
line=$(cat /proc/cmdline)
url=${line##*done=}
if [ \"$url\" != \"$line\" ]; then
  for module in MODULES; do insmod /lib/$module.ko; done
  ip link set eth0 up
  udhcpc -q -n -t 20 -i eth0 -s /bin/lease && wget -O - --post-data= \"${url%% *}\" && echo 'LANBOOT-LINUX said that it is done'
fi
# What the kernel does not know of its command line is in the environment.
echo \"LANBOOT-LINUX started for <$who> <$role> <$say> with: $line LANBOOT-LINUX end\"
poweroff -f
";

/// What udhcpc does with its lease.
const LEASE: &str = "#!/bin/busybox sh
[ \"$1\" != bound ] || ip addr add $ip/$mask dev $interface
";

/// A [`Site`] with the kernel and its RAM disk under [`LINUX_FILES`], with what `lanboot images add` takes out of the
/// packages of each of `loaders`, and with `files`.
pub fn linux_site(loaders: &[Loaders], files: &[(&str, &[u8])]) -> Site {
    let site = Site::new(files);
    let folder = site.folder.path().join("boot-images/debian");
    fs::create_dir(&folder).unwrap();
    fs::copy(KERNEL, folder.join("vmlinuz-6.0")).unwrap();
    fs::write(folder.join("initrd.img"), initrd()).unwrap();
    let config = site.configure("dhcp: {mode: off}");
    for loader in loaders {
        let mut add = Command::new(&*LANBOOT);
        add.arg("--config").arg(&config).args(["images", "add", "--arch", "amd64", loader.name]);
        for package in loader.packages {
            add.args(["--deb", package.what]);
        }
        network::run(&mut add).unwrap();
    }
    site
}

fn initrd() -> Vec<u8> {
    let mut archive = Vec::new();
    for (inode, folder) in (1..).zip(["bin", "lib", "proc", "sys"]) {
        add(&mut archive, inode, folder, 0o040_755, &[]);
    }
    let modules: Vec<(String, Vec<u8>)> = MODULES
        .iter()
        .map(|name| format!("{name}.ko"))
        .map(|name| (format!("lib/{name}"), fs::read(Path::new(KERNEL).with_file_name(name)).unwrap()))
        .collect();
    let init = INIT.replace("MODULES", &MODULES.join(" "));
    add(&mut archive, 10, "init", 0o100_755, init.as_bytes());
    add(&mut archive, 11, "bin/lease", 0o100_755, LEASE.as_bytes());
    add(&mut archive, 12, "bin/busybox", 0o100_755, &fs::read(BUSYBOX).unwrap());
    for (inode, (name, bytes)) in (13..).zip(&modules) {
        add(&mut archive, inode, name, 0o100_644, bytes);
    }
    add(&mut archive, 0, "TRAILER!!!", 0, &[]);
    archive
}

/// Adds a file in cpio's format `newc`, in which the kernel reads it (Documentation/driver-api/early-userspace/
/// buffer-format.rst): a header of hexadecimal fields, the name and the bytes, each padded to a multiple of 4.
fn add(archive: &mut Vec<u8>, inode: u32, name: &str, mode: u32, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap();
    let name_length = u32::try_from(name.len() + 1).unwrap();
    let fields = [inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
    archive.extend(b"070701");
    fields.iter().for_each(|field| archive.extend(format!("{field:08x}").bytes()));
    archive.extend(name.bytes().chain([0]));
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Waits until the userspace has said it; what its kernel made of its command line, and that line itself.
pub fn linux_booted(console: &mut Running, server: &mut Running) -> String {
    let booted = console.wait_for(END, BOOT_LIMIT);
    let screen = console.drain();
    assert!(booted, "Linux did not start; console:\n{screen}\nserver {SERVER}:\n{}", server.drain());
    let after = screen.rsplit(BOOTED).next().unwrap_or_default();
    after.split(END).next().unwrap_or_default().to_owned()
}

/// Switches on a machine with UEFI x64 that enforces Secure Boot on `network`, with further arguments for QEMU.
pub fn secure_machine(network: &Network, mac: &str, dir: &Path, arguments: &[&str]) -> Running {
    let tap = network.tap().unwrap();
    let vars = dir.join(format!("vars-{tap}.fd"));
    fs::copy(SECURE_VARS, &vars).unwrap();
    let mut qemu = network.namespace().command("qemu-system-x86_64");
    qemu.args(arguments);
    qemu.args(["-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    // Only the firmware, in system management mode, may write to its variables.
    qemu.args(["-M", "q35,smm=on", "-m", "512", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={SECURE_CODE}")]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", vars.display())]);
    qemu.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
    qemu.args(["-device", &format!("virtio-net-pci,netdev=lan,mac={mac},bootindex=0,romfile=")]);
    qemu.args(["-device", "virtio-rng-pci"]);
    Running::spawn(qemu).unwrap()
}

/// What the local disks print when they are started.
pub const DISK: &str = "LANBOOT-DISK was started";

/// QEMU's arguments for a disk for a BIOS, the second in the boot order, with a boot sector that prints [`DISK`].
pub fn bios_disk(dir: &Path) -> Vec<String> {
    // mov si, text; again: lodsb; test al, al; jz end; mov ah, 0x0e; int 0x10; jmp again; end: hlt; jmp end
    let program = b"\x31\xc0\x8e\xd8\xbe\x19\x7c\xfc\xac\x84\xc0\x74\x09\xb4\x0e\xbb\x07\x00\xcd\x10\xeb\xf2\xf4\xeb\xfd";
    let mut sectors = [&program[..], DISK.as_bytes()].concat();
    sectors.resize(510, 0);
    sectors.extend([0x55, 0xaa]);
    sectors.resize(1 << 20, 0);
    let path = dir.join("disk.img");
    fs::write(&path, sectors).unwrap();
    disk(&format!("format=raw,file={}", path.display()), "ide-hd")
}

/// The same for UEFI, Secure Boot included: shim and GRUB, as `site` has them in boot-images/, where an installed Debian has
/// them, in a file system that QEMU makes of a folder.
pub fn uefi_disk(site: &Site) -> Vec<String> {
    let (images, disk_folder) = (site.folder.path().join("boot-images"), site.folder.path().join("disk"));
    for folder in ["EFI/debian", "grub"] {
        fs::create_dir_all(disk_folder.join(folder)).unwrap();
    }
    fs::copy(images.join("shimx64.efi"), disk_folder.join("EFI/debian/shimx64.efi")).unwrap();
    fs::copy(images.join("grubx64.efi"), disk_folder.join("EFI/debian/grubx64.efi")).unwrap();
    fs::write(disk_folder.join("grub/grub.cfg"), format!("echo {DISK}\nsleep 600\n")).unwrap();
    disk(&format!("format=raw,readonly=on,file=fat:{}", disk_folder.display()), "virtio-blk-pci")
}

fn disk(drive: &str, device: &str) -> Vec<String> {
    let device = format!("{device},drive=disk,bootindex=1");
    ["-drive", &format!("if=none,id=disk,{drive}"), "-device", &device].map(str::to_owned).into()
}
