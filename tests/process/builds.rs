//! `lanboot images build`, `list` and `remove` with the real binary, `mksquashfs`, and archives that are damaged,
//! hostile or cut off. tests/network boots real ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lanboot::boot::name::BootName;
use lanboot::images::Catalog;
use lanboot::wire::cpio;
use sha2::{Digest, Sha256};
use support::lab::{Lab, lanboot, printed};
use support::{cannot, copy_program, need};

/// A lab whose boot-images/ is empty, unless `mksquashfs` is missing.
fn lab() -> Option<(Lab, PathBuf)> {
    if !need("mksquashfs", "squashfs-tools") {
        return None;
    }
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::remove_dir_all(&images).unwrap();
    fs::create_dir(&images).unwrap();
    Some((lab, images))
}

/// The header of a kernel for x86-64.
fn kernel(mark: u8) -> Vec<u8> {
    let mut kernel = vec![mark; 0x1000];
    kernel[0x200..0x300].fill(0);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x236] = 1;
    kernel
}

/// A compressed initrd with these files, behind an early archive as of microcode. Its size is no multiple of 4.
fn initrd(files: &[&str]) -> Vec<u8> {
    let archive = |files: &[&str]| {
        let mut bytes = Vec::new();
        for name in files {
            let name = name.as_bytes().to_vec();
            let entry = cpio::Entry { name, mode: 0o100_644, links: 1, size: 5, ..cpio::Entry::default() };
            bytes.extend(cpio::encode(&entry).unwrap());
            bytes.extend(b"text\n\0\0\0");
        }
        bytes.extend(cpio::trailer());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let mut initrd = archive(&["kernel/x86/microcode/AuthenticAMD.bin"]);
    initrd.extend(gzip(&archive(files)));
    while initrd.len() % 4 != 1 {
        initrd.push(0);
    }
    initrd
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn live() -> Vec<u8> {
    initrd(&["scripts/functions", "scripts/live", "lib/live/boot/9990-main.sh"])
}

/// The files of a small system: path and content.
type Tree = BTreeMap<&'static str, Vec<u8>>;

fn system() -> Tree {
    Tree::from([
        ("boot/vmlinuz-6.1.0-9-test", kernel(9)),
        ("boot/initrd.img-6.1.0-9-test", initrd(&["scripts/functions"])),
        ("boot/vmlinuz-6.1.0-10-test", kernel(10)),
        ("boot/initrd.img-6.1.0-10-test", live()),
        ("etc/hostname", b"diskless\n".to_vec()),
        ("usr/lib/shim/shimx64.efi.signed", b"shim".to_vec()),
        ("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", b"grub".to_vec()),
    ])
}

fn write_folder(tree: &Tree, folder: &Path) {
    for (path, content) in tree {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    symlink("vmlinuz-6.1.0-10-test", folder.join("boot/vmlinuz")).unwrap();
}

/// One entry of a tar archive. The crate that writes archives would refuse some of these.
struct Raw<'a> {
    name: &'a str,
    kind: u8,
    link: &'a str,
    content: &'a [u8],
    size: Option<u64>,
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Raw<'a> {
    Raw { name, kind: b'0', link: "", content, size: None }
}

fn entry_bytes(entry: &Raw<'_>) -> Vec<u8> {
    let mut header = [0; 512];
    header[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    let size = entry.size.unwrap_or(entry.content.len() as u64);
    if size < 1 << 33 {
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    } else {
        header[124] = 0x80;
        header[128..136].copy_from_slice(&size.to_be_bytes());
    }
    header[136..147].copy_from_slice(b"14000000000");
    header[156] = entry.kind;
    header[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend(entry.content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// The archive of a system with `more` before its files.
fn tar_of(tree: &Tree, more: &[Raw<'_>]) -> Vec<u8> {
    let mut archive: Vec<u8> = more.iter().flat_map(entry_bytes).collect();
    archive.extend(tree.iter().flat_map(|(path, content)| entry_bytes(&file(path, content))));
    archive.extend([0; 1024]);
    archive
}

fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lanboot(&["images"]);
    command.args(arguments).arg("--config").arg(lab.config_file());
    command
}

fn images(lab: &Lab, arguments: &[&str]) -> (String, String, i32) {
    printed(&command(lab, arguments).output().unwrap())
}

/// Builds from standard input.
fn build_from(lab: &Lab, archive: &[u8]) -> (String, String, i32) {
    let mut building = start(lab, "-");
    // A build that refuses its input may close the pipe.
    let _ = building.stdin.take().unwrap().write_all(archive);
    printed(&building.wait_with_output().unwrap())
}

fn start(lab: &Lab, from: &str) -> Child {
    let mut command = command(lab, &["build", "compute", "--from", from]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// All names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that clients get for `name`.
fn served(images: &Path, name: &str) -> Option<Vec<u8>> {
    let catalog = Catalog::open(images).unwrap();
    let mut bytes = Vec::new();
    catalog.open_file(&BootName::parse(name.as_bytes()).unwrap()).ok()?.file.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// Checks that the only build is that of [`system`], and returns its name.
fn check_system(images: &Path) -> String {
    let names = names(images);
    let [link, build] = &names[..] else { panic!("{names:?}") };
    assert!(link == "compute" && build.starts_with("compute@20"), "{names:?}");
    assert_eq!(fs::read_link(images.join(link)).unwrap(), Path::new(build));
    let description: serde_json::Value =
        serde_json::from_slice(&served(images, "compute/image.json").unwrap()).unwrap();
    let of = |key: &str| description[key].clone();
    assert_eq!(
        (of("kind"), of("arch"), of("kernel")),
        ("live-boot".into(), "x64".into(), "6.1.0-10-test".into())
    );
    assert_eq!((of("ram_mib"), of("signer")), (320.into(), serde_json::Value::Null));
    let files = ["grubx64.efi", "initrd", "root.squashfs", "shimx64.efi", "vmlinuz"];
    let sums = description["sha256"].as_object().unwrap();
    assert_eq!(sums.keys().collect::<Vec<_>>(), files);
    for name in files {
        let bytes = served(images, &format!("compute/{name}")).unwrap();
        assert_eq!(served(images, &format!("{build}/{name}")).unwrap(), bytes);
        assert_eq!(sums[name], hex(&bytes), "{name}");
        let mode = fs::metadata(images.join(build).join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "the server is another user");
    }
    assert_eq!(fs::metadata(images.join(build)).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(served(images, "compute/vmlinuz").unwrap(), kernel(10), "the newest one");
    let initrd = served(images, "compute/initrd").unwrap();
    assert_eq!(initrd, [&live()[..], &[0; 3]].concat(), "padded at its end");
    let root = served(images, "compute/root.squashfs").unwrap();
    assert!(root.starts_with(b"hsqs") && of("root_bytes") == root.len());
    let mut unsquashfs = Command::new("unsquashfs");
    let listed = unsquashfs.arg("-ll").arg(images.join("compute/root.squashfs")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("squashfs-root/etc/hostname"), "{listed}");
    build.clone()
}

#[test]
fn a_folder_becomes_a_build() {
    let Some((lab, images)) = lab() else { return };
    let folder = lab.path().join("chroot");
    write_folder(&system(), &folder);
    fs::create_dir_all(folder.join("proc")).unwrap();
    fs::write(folder.join("proc/cmdline"), "of the host").unwrap();
    let (out, err, code) = self::images(&lab, &["build", "compute", "--from", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let build = check_system(&images);
    assert!(out.contains(&build) && out.contains("fetched by live-boot"), "{out}");
    let listed =
        Command::new("unsquashfs").arg("-l").arg(images.join("compute/root.squashfs")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("/proc") && !listed.contains("cmdline"), "{listed}");
}

#[test]
fn archives_become_builds_however_they_are_packed() {
    let Some((lab, images)) = lab() else { return };
    let folder = Raw { name: "./", kind: b'5', link: "", content: b"", size: None };
    let archive = tar_of(&system(), &[folder]);
    let zstd = ruzstd::encoding::compress_to_vec(&archive[..], ruzstd::encoding::CompressionLevel::Fastest);
    for (form, bytes) in [("tar", archive.clone()), ("gz", gzip(&archive)), ("zst", zstd)] {
        let (_, err, code) = build_from(&lab, &bytes);
        assert_eq!(code, 0, "{form}: {err}");
        let build = check_system(&images);
        let path = lab.path().join("root.tar");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(self::images(&lab, &["remove", &build]).2, 0);
        assert_eq!(names(&images), [""; 0]);
        let (out, err, code) =
            self::images(&lab, &["build", "compute", "--from", path.to_str().unwrap(), "--json"]);
        assert_eq!(code, 0, "{form}: {err}");
        let view: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(view["build"], check_system(&images));
        assert_eq!(self::images(&lab, &["remove", "compute"]).2, 0);
    }
}

#[test]
fn systems_that_cannot_boot_are_refused_and_leave_nothing() {
    let Some((lab, images)) = lab() else { return };
    let without = |paths: &[&str]| {
        let mut tree = system();
        tree.retain(|path, _| !paths.contains(path));
        tar_of(&tree, &[])
    };
    let with = |path: &'static str, content: Vec<u8>| {
        let mut tree = system();
        tree.insert(path, content);
        tar_of(&tree, &[])
    };
    let whole = tar_of(&system(), &[]);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "it is empty"),
        ("no archive", vec![b'x'; 5000], "no tar archive"),
        ("a short text", b"<!DOCTYPE html>".to_vec(), "no tar archive"),
        (
            "no kernel",
            without(&["boot/vmlinuz-6.1.0-9-test", "boot/vmlinuz-6.1.0-10-test"]),
            "linux-image-amd64",
        ),
        ("no initrd", without(&["boot/initrd.img-6.1.0-10-test"]), "update-initramfs -c -k 6.1.0-10-test"),
        (
            "no network root",
            with("boot/initrd.img-6.1.0-10-test", initrd(&["scripts/functions"])),
            "install live-boot",
        ),
        ("a damaged initrd", with("boot/initrd.img-6.1.0-10-test", b"text".to_vec()), "no cpio archive"),
        ("no real kernel", with("boot/vmlinuz-6.1.0-10-test", b"text".to_vec()), "no Linux kernel"),
        ("cut off in a file", whole[..1500].to_vec(), "cut off"),
        ("cut off between files", whole[..whole.len() - 1024].to_vec(), "cut off"),
        ("cut off while compressed", gzip(&whole)[..500].to_vec(), "cut off"),
        ("damaged", [&whole[..512 + 0x1000], &[7; 512], &whole[512 + 0x1000..]].concat(), "damaged"),
    ];
    for (case, bytes, why) in cases {
        let (out, err, code) = build_from(&lab, &bytes);
        assert_eq!((out.as_str(), code), ("", 1), "{case}: {err}");
        assert!(err.contains(why), "{case}: {err}");
        assert_eq!(names(&images), [""; 0], "{case}");
    }
    let (_, err, code) = self::images(&lab, &["build", "compute", "--from", "/nonexistent"]);
    assert!(code == 1 && err.contains("/nonexistent"), "{err}");
    let (_, err, code) = self::images(&lab, &["build", "compute", "--from", lab.path().to_str().unwrap()]);
    assert!(code == 1 && err.contains("contains the folder of boot files"), "{err}");
    for name in ["", ".x", "a/b", "../x", "a@b", "lanboot", "a b"] {
        let (_, err, code) = self::images(&lab, &["build", name, "--from", "-"]);
        assert!(code == 2 && err.contains("name of an image"), "{name}: {err}");
    }
    fs::create_dir(images.join("compute")).unwrap();
    let (_, err, code) = build_from(&lab, &whole);
    assert!(code == 1 && err.contains("was not made by"), "{err}");
}

#[test]
fn hostile_archives_write_nothing_outside() {
    let Some((lab, images)) = lab() else { return };
    let entry = |name, kind, link| Raw { name, kind, link, content: b"", size: None };
    let long = vec![b'x'; 2 << 20];
    for (case, hostile, why) in [
        ("a way out", file("../../out", b"x"), "leads outside"),
        ("a way out behind a folder", file("boot/../../out", b"x"), "leads outside"),
        ("a hard link out", entry("x", b'1', "../../etc/passwd"), "leads outside"),
        (
            "a long name",
            Raw { name: "././@LongLink", kind: b'L', link: "", content: &long, size: None },
            "attributes",
        ),
        (
            "a file of 2^62 bytes",
            Raw { name: "x", kind: b'0', link: "", content: b"", size: Some(1 << 62) },
            "cut off",
        ),
        (
            "a name of 2^62 bytes",
            Raw { name: "x", kind: b'L', link: "", content: b"", size: Some(1 << 62) },
            "attributes",
        ),
    ] {
        let (_, err, code) = build_from(&lab, &tar_of(&system(), &[hostile]));
        assert!(code == 1 && err.contains(why), "{case}: {err}");
        assert_eq!(names(&images), [""; 0], "{case}");
    }
    // These are ordinary in a system, or harmless: they are packed, and nothing follows them.
    let outside = lab.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let to_outside = outside.to_str().unwrap();
    let harmless = [
        entry("boot/vmlinuz", b'2', "../../etc/shadow"),
        entry("boot/initrd.img-9.9", b'2', "/etc/shadow"),
        entry("link", b'2', to_outside),
        file("link/written", b"x"),
        entry("dev/sda", b'4', ""),
        entry("dev/null", b'3', ""),
        entry("run/fifo", b'6', ""),
        file("/etc/absolute", b"x"),
    ];
    let (_, err, code) = build_from(&lab, &tar_of(&system(), &harmless));
    // mksquashfs may refuse a file behind a link. Both results are right.
    assert!(code == 0 || err.contains("mksquashfs"), "{err}");
    assert_eq!(names(&outside), [""; 0]);
    assert!(names(lab.path()).iter().all(|name| !matches!(name.as_str(), "out" | "etc" | "link")));
}

#[test]
fn many_entries_take_little_memory() {
    let Some((lab, images)) = lab() else { return };
    let mut archive = Vec::new();
    // Empty folders with the same name, of which the file system has one.
    let folder = entry_bytes(&Raw { name: "d", kind: b'5', link: "", content: b"", size: None });
    (0..1000).for_each(|_| archive.extend(&folder));
    let mut building = start(&lab, "-");
    let mut input = building.stdin.take().unwrap();
    for _ in 0..200 {
        input.write_all(&archive).unwrap();
    }
    let peak = fs::read_to_string(format!("/proc/{}/status", building.id())).unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 100 * 1024, "{peak}");
    input.write_all(&tar_of(&system(), &[])).unwrap();
    drop(input);
    let (_, err, code) = printed(&building.wait_with_output().unwrap());
    assert_eq!(code, 0, "{err}");
    check_system(&images);
}

/// Waits until `done`, at most for a minute.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_interrupted_build_changes_nothing() {
    let Some((lab, images)) = lab() else { return };
    assert_eq!(build_from(&lab, &tar_of(&system(), &[])).2, 0);
    let build = check_system(&images);
    for signal in [15, 2, 9] {
        let mut building = start(&lab, "-");
        let mut input = building.stdin.take().unwrap();
        input.write_all(&tar_of(&system(), &[])[..0x2800]).unwrap();
        let unfinished = || names(&images).into_iter().find(|name| name.starts_with(".lanboot-build-"));
        wait_until("a work folder", || unfinished().is_some_and(|name| names(&images.join(name)).len() > 1));
        let name = unfinished().unwrap();
        assert_eq!(served(&images, &format!("{name}/root.squashfs")), None, "not for clients");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(building.id() as i32),
            nix::sys::signal::Signal::try_from(signal).unwrap(),
        )
        .unwrap();
        assert_eq!(building.wait().unwrap().signal(), Some(signal));
        drop(input);
        if signal == 9 {
            assert!(unfinished().is_some());
            // A build removes what a killed one has left, also if it fails itself.
            assert_eq!(build_from(&lab, b"").2, 1);
        }
        assert_eq!(unfinished(), None, "{signal}");
        assert_eq!(check_system(&images), build);
    }
    // A running build is left alone.
    let mut first = start(&lab, "-");
    let mut input = first.stdin.take().unwrap();
    let archive = tar_of(&system(), &[]);
    input.write_all(&archive[..512]).unwrap();
    wait_until("a work folder", || names(&images).len() > 2);
    assert_eq!(build_from(&lab, &archive).2, 0);
    input.write_all(&archive[512..]).unwrap();
    drop(input);
    let (_, err, code) = printed(&first.wait_with_output().unwrap());
    assert_eq!(code, 0, "{err}");
    assert_eq!(names(&images).len(), 4, "three builds and the link");
}

#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    let Some((lab, images)) = lab() else { return };
    let mut mount = Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", "size=64k", "lanboot-test"]).arg(&images).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        return cannot("mount a tmpfs, which takes root");
    }
    let noise: Vec<u8> = (0..8000u32).flat_map(|i| Sha256::digest(i.to_be_bytes())).collect();
    let mut big_root = system();
    big_root.insert("usr/noise", noise.clone());
    let mut big_kernel = system();
    big_kernel.insert("boot/vmlinuz-6.1.0-10-test", [kernel(1), noise].concat());
    let results: Vec<(String, String, i32)> =
        [big_root, big_kernel].iter().map(|tree| build_from(&lab, &tar_of(tree, &[]))).collect();
    let left = names(&images);
    let _ = Command::new("umount").arg("--lazy").arg(&images).status();
    for (_, err, code) in results {
        assert!(code == 1 && err.contains("No space left"), "{err}");
    }
    assert_eq!(left, [""; 0]);
}

#[test]
fn an_ordinary_user_builds_from_an_archive() {
    let Some((lab, images)) = lab() else { return };
    if !nix::unistd::geteuid().is_root() {
        return cannot("become another user");
    }
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(lab.path(), 0o755);
    let binary = lab.path().join("lanboot");
    copy_program(&binary);
    let build = || {
        let mut command = Command::new(&binary);
        command.args(["images", "build", "compute", "--from", "-", "--config"]).arg(lab.config_file());
        command.uid(65534).gid(65534).current_dir("/").stdin(Stdio::piped());
        let mut building = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let folders = [
            "./",
            "boot",
            "etc",
            "usr",
            "usr/lib",
            "usr/lib/shim",
            "usr/lib/grub",
            "usr/lib/grub/x86_64-efi-signed",
        ];
        let folders = folders.map(|name| Raw { name, kind: b'5', link: "", content: b"", size: None });
        let _ = building.stdin.take().unwrap().write_all(&tar_of(&system(), &folders));
        printed(&building.wait_with_output().unwrap())
    };
    open(&images, 0o755);
    let (_, err, code) = build();
    assert!(code == 1 && err.contains("cannot write") && err.contains("sudo"), "{err}");
    open(&images, 0o777);
    let (_, err, code) = build();
    assert_eq!(code, 0, "{err}");
    check_system(&images);
    let listed =
        Command::new("unsquashfs").arg("-lln").arg(images.join("compute/root.squashfs")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let owners: Vec<&str> = listed.lines().filter(|line| line.contains("squashfs-root")).collect();
    assert!(owners.len() > 5 && owners.iter().all(|line| line.contains(" 0/0 ")), "{listed}");
}

#[test]
fn builds_are_listed_and_removed() {
    let Some((lab, images)) = lab() else { return };
    let run = |arguments: &[&str]| self::images(&lab, arguments);
    let archive = tar_of(&system(), &[]);
    for _ in 0..3 {
        assert_eq!(build_from(&lab, &archive).2, 0);
    }
    let builds: Vec<String> = names(&images).into_iter().filter(|name| name.contains('@')).collect();
    let [oldest, middle, newest] = &builds[..] else { panic!("{builds:?}") };
    let (out, _, code) = run(&["list"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("BUILD") && lines.len() == 5, "{out}");
    assert!(lines[3].starts_with(&format!("{newest} * ")) && lines[3].contains("320 MiB"), "{out}");
    assert!(!lines[1].contains('*') && lines.iter().all(|line| line.len() <= 80), "{out}");
    let (out, _, _) = run(&["list", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let found: Vec<_> = rows.iter().filter(|row| row["build"].is_string()).collect();
    assert_eq!(found.len(), 3);
    assert_eq!(
        (&found[2]["newest"], &found[2]["ram_mib"], &found[0]["newest"]),
        (&true.into(), &320.into(), &false.into())
    );

    let mut text = lab.config();
    text.push_str("targets:\n  node: {kernel: compute/vmlinuz, initrd: compute/initrd}\n");
    lab.write_config(&text);
    let (_, err, code) = run(&["remove", newest]);
    assert!(code == 1 && err.contains("used by the target node") && err.contains("--force"), "{err}");
    assert_eq!(run(&["remove", "compute"]).2, 1);
    assert_eq!(run(&["remove", oldest]).2, 0, "no target uses it");
    let (out, _, code) = run(&["remove", newest, "--force"]);
    assert!(code == 0 && out.contains(&format!("compute now leads to {middle}")), "{out}");
    assert!(served(&images, "compute/vmlinuz").is_some());
    assert_eq!(run(&["remove", "compute", "--force"]).2, 0);
    assert_eq!(names(&images), [""; 0]);
    let (_, err, code) = run(&["remove", "compute"]);
    assert!(code == 1 && err.contains("there is none"), "{err}");

    // A damaged description is shown, and the build can be removed.
    assert_eq!(build_from(&lab, &archive).2, 0);
    File::create(images.join("compute/image.json")).unwrap().write_all(b"{").unwrap();
    assert!(run(&["list"]).0.contains("damaged"));
    assert_eq!(run(&["remove", "compute", "--force"]).2, 0);
}
