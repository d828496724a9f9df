//! A Debian kernel, and a small userspace that prints the kernel's command line on the console.

use std::fs;
use std::path::Path;
use std::process::Command;

use lanboot::cli::demo::network::{self, Need, Network, Running};

use super::BOOT_LIMIT;
use crate::LANBOOT;
use crate::site::{SERVER, Site};

/// A package file, as tests/run stores it.
macro_rules! package {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/firmware/packages/", $name, ".deb")
    };
}

/// Requirements of [`linux_site`].
pub const LINUX: &[Need] = &[
    Need { what: KERNEL, package: "linux-image-cloud-amd64 (which tests/run unpacks)" },
    Need { what: BUSYBOX, package: "busybox-static" },
];

/// The path where tests/run stores Debian's kernel for virtual machines, with its modules in the same folder.
const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/firmware/linux/vmlinuz");
const BUSYBOX: &str = "/bin/busybox";

/// The modules that drive QEMU's network card. Each comes after its dependencies.
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

/// The file names of [`linux_site`]. The kernel's name ends as in distributions. PXELINUX may take such an ending for a
/// file type.
pub const LINUX_FILES: &str = "kernel: debian/vmlinuz-6.0, initrd: debian/initrd.img";

/// Loaders that `lanboot images add NAME` takes out of packages.
pub struct Loaders {
    name: &'static str,
    pub packages: &'static [Need],
}

/// The packages that [`linux_site`] needs for these loaders.
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

/// Requirements of [`secure_machine`].
pub const SECURE_OVMF: &[Need] =
    &[Need { what: SECURE_CODE, package: "ovmf" }, Need { what: SECURE_VARS, package: "ovmf" }];

const SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// With Microsoft's keys, and Secure Boot on.
const SECURE_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// The userspace prints this before its command line.
const BOOTED: &str = "LANBOOT-LINUX started for ";
const END: &str = " LANBOOT-LINUX end";

/// The first program. If the command line has `done=URL`, it sends its report there.
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

/// The script that udhcpc runs with its lease.
const LEASE: &str = "#!/bin/busybox sh
[ \"$1\" != bound ] || ip addr add $ip/$mask dev $interface
";

/// A [`Site`] with the kernel and its RAM disk under [`LINUX_FILES`], with the files that `lanboot images add` extracts
/// from the packages of each of `loaders`, and with `files`.
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

/// Adds a file in cpio's format `newc`, which the kernel reads
/// (Documentation/driver-api/early-userspace/buffer-format.rst): a header of hexadecimal fields, the name and the
/// bytes, each padded to a multiple of 4.
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

/// Waits for the userspace's message. Returns the words that the kernel took from its command line, and the command
/// line.
pub fn linux_booted(console: &mut Running, server: &mut Running) -> String {
    let booted = console.wait_for(END, BOOT_LIMIT);
    let screen = console.screen();
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
    // Only the firmware, in system management mode, may write its variables.
    qemu.args(["-M", "q35,smm=on", "-m", "512", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={SECURE_CODE}")]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", vars.display())]);
    qemu.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
    qemu.args(["-device", &format!("virtio-net-pci,netdev=lan,mac={mac},bootindex=0,romfile=")]);
    qemu.args(["-device", "virtio-rng-pci"]);
    Running::spawn(qemu).unwrap()
}

/// Printed by the local disks when they start.
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

/// The same for UEFI, including Secure Boot: the shim and GRUB from the boot-images/ of `site`, under their paths in an
/// installed Debian, in a file system that QEMU generates from a folder.
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
