//! `lanboot images` with the real binary: packages of this system's package servers, packages made by hand, and hostile
//! packages.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use support::lab::{self, Lab, lanboot, printed};
use support::{cannot, need};

/// A lab whose boot-images/ is empty.
fn empty() -> (Lab, PathBuf) {
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::remove_dir_all(&images).unwrap();
    fs::create_dir(&images).unwrap();
    (lab, images)
}

/// The files under a folder and their content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            all.insert(name, fs::read(&path).unwrap());
        }
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

// ---- Packages made by hand ----

/// An entry of a tar archive: name, type, content, and a false size if any.
struct Entry<'a>(&'a str, u8, &'a [u8], Option<u64>);

/// A tar archive, built header by header, because the crate that writes valid archives would refuse such names.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for Entry(name, kind, content, size) in entries {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        let size = size.unwrap_or(content.len() as u64);
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = *kind;
        header[157..161].copy_from_slice(b"/etc");
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(header);
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        archive.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes(),
        );
        archive.extend(*bytes);
        archive.extend(vec![b'\n'; bytes.len() % 2]);
    }
    archive
}

fn control(package: &str, version: &str) -> Vec<u8> {
    let text = format!(
        "Package: {package}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@x>\nDescription: x\n"
    );
    gzip(&tar(&[Entry("./control", b'0', text.as_bytes(), None)]))
}

/// A package of memtest86+ with these files.
fn deb(version: &str, entries: &[Entry<'_>]) -> Vec<u8> {
    let data = gzip(&tar(entries));
    let control = control("memtest86+", version);
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)])
}

const EFI: &str = "./boot/memtest86+x64.efi";
const BIN: &str = "./boot/memtest86+x64.bin";

fn honest(version: &str) -> Vec<u8> {
    deb(
        version,
        &[Entry(EFI, b'0', b"efi", None), Entry("./other", b'0', b"x", None), Entry(BIN, b'0', b"bin", None)],
    )
}

/// A package server that is a folder, and a configuration for apt that uses only this server.
fn repository(folder: &Path, package: &[u8], sum: &str) -> PathBuf {
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::write(folder.join("memtest86+_9_amd64.deb"), package).unwrap();
    let entry = format!(
        "Package: memtest86+\nVersion: 9\nArchitecture: amd64\nMaintainer: x <x@x>\nDescription: x\nFilename: \
         ./memtest86+_9_amd64.deb\nSize: {}\nSHA256: {sum}\n\n",
        package.len()
    );
    fs::write(folder.join("Packages"), entry).unwrap();
    fs::write(folder.join("sources.list"), format!("deb [trusted=yes] file:{} ./\n", folder.display()))
        .unwrap();
    let config = folder.join("apt.conf");
    let text = format!(
        "Dir::Etc::sourcelist \"{0}/sources.list\";\nDir::Etc::sourceparts \"{0}/empty\";\nDir::Etc::preferencesparts \
         \"{0}/empty\";\n",
        folder.display()
    );
    fs::write(&config, text).unwrap();
    for path in [folder, &folder.join("empty")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    config
}

fn images_command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lanboot(&["images"]);
    command.args(arguments).arg("--config").arg(lab.config_file());
    command
}

fn images(lab: &Lab, arguments: &[&str]) -> (String, String, i32) {
    printed(&images_command(lab, arguments).output().unwrap())
}

#[test]
fn a_given_package_is_taken_apart_listed_and_verified() {
    let (lab, folder) = empty();
    let package = lab.path().join("memtest.deb");
    fs::write(&package, honest("1:6.10-4")).unwrap();
    let path = package.to_str().unwrap();
    let (out, err, code) = images(&lab, &["add", "memtest", "--deb", path]);
    assert_eq!((err.as_str(), code), ("", 0));
    let bin = folder.join("memtest86+x64.bin");
    assert!(out.starts_with(&format!("added      {} (3 B)\n", bin.display())), "{out}");
    assert_eq!(fs::read(&bin).unwrap(), b"bin");
    let names: Vec<String> = files(&folder).into_keys().collect();
    assert_eq!(names, ["manifest.json", "memtest86+x64.bin", "memtest86+x64.efi"]);

    let (out, _, _) = images(&lab, &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    let origin = &list[0]["added"]["origin"]["package"];
    assert_eq!(list[0]["file"], "memtest86+x64.bin");
    assert_eq!(list[0]["added"]["sha256"], hex(b"bin"));
    assert_eq!((&origin["name"], &origin["version"]), (&"memtest86+".into(), &"1:6.10-4".into()));
    assert_eq!(origin["sha256"], hex(&fs::read(&package).unwrap()));
    assert_eq!(images(&lab, &["verify"]), (format!("{}: 2 as added\n", folder.display()), String::new(), 0));

    fs::write(&bin, "bad").unwrap();
    fs::remove_file(folder.join("memtest86+x64.efi")).unwrap();
    fs::write(folder.join("own"), "x").unwrap();
    let (out, err, code) = images(&lab, &["verify"]);
    let expected = format!(
        "memtest86+x64.bin: changed: it is not what was added\nmemtest86+x64.efi: missing\nown: unknown: not added by \
         lanboot\n{}: 0 as added, 1 changed, 1 missing, 1 unknown\n",
        folder.display()
    );
    assert_eq!((out, err.as_str(), code), (expected, "", 1));
    let (out, _, code) = images(&lab, &["verify", "--json"]);
    let states: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let states: Vec<&str> = states.iter().map(|view| view["state"].as_str().unwrap()).collect();
    assert_eq!((states, code), (vec!["changed", "missing", "unknown"], 1));

    // A file that the user changed is not replaced without `--force`. In that case no other file is added either.
    let (_, err, code) = images(&lab, &["add", "memtest", "--deb", path]);
    assert!(code == 1 && err.contains("memtest86+x64.bin") && err.contains("--force"), "{err}");
    assert!(!folder.join("memtest86+x64.efi").exists());
    assert_eq!(images(&lab, &["add", "memtest", "--deb", path, "--force"]).2, 0);
    assert_eq!(images(&lab, &["verify"]).2, 0);
}

#[test]
fn f_19_a_damaged_or_dishonest_package_leaves_nothing() {
    let (lab, folder) = empty();
    let good = honest("1");
    let long = vec![b'x'; 200];
    let mut changed = good.clone();
    let in_data = changed.len() - 40;
    changed[in_data] ^= 0xff;
    let no_data = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control("memtest86+", "1"))]);
    let other = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control("bash", "1"))]);
    let lzma = ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &control("memtest86+", "1")),
        ("data.tar.lzma", b"x"),
    ]);
    let many: Vec<Entry<'_>> = (0..100_001).map(|_| Entry("./x", b'5', b"", None)).collect();
    let with =
        |entry: Entry<'_>| deb("1", &[entry, Entry(EFI, b'0', b"efi", None), Entry(BIN, b'0', b"b", None)]);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "too short"),
        ("no package", b"<!DOCTYPE html>".to_vec(), "no Debian package"),
        ("another archive", ar(&[("x", b"y")]), "not debian-binary"),
        ("cut in the data", good[..good.len() - 20].to_vec(), "cut short"),
        ("cut in the control", good[..150].to_vec(), "cut short"),
        ("one bit changed", changed, "damaged"),
        ("no data", no_data, "data.tar is missing"),
        ("another package", other, "it is bash (amd64)"),
        ("packed otherwise", lzma, ".lzma"),
        (
            "a file is missing",
            deb("1", &[Entry(EFI, b'0', b"efi", None)]),
            "has no file boot/memtest86+x64.bin",
        ),
        ("a way out", with(Entry("./../../etc/x", b'0', b"x", None)), "leads outside"),
        ("an absolute name", with(Entry("/etc/x", b'0', b"x", None)), "leads outside"),
        (
            "a symlink for the file",
            deb("1", &[Entry(EFI, b'2', b"", None), Entry(BIN, b'0', b"b", None)]),
            "has no file boot/memtest86+x64.efi",
        ),
        (
            "a hard link for the file",
            deb("1", &[Entry(EFI, b'1', b"", None), Entry(BIN, b'0', b"b", None)]),
            "has no file boot/memtest86+x64.efi",
        ),
        (
            "a long name for the file",
            deb(
                "1",
                &[Entry("x", b'L', &long, None), Entry(EFI, b'0', b"e", None), Entry(BIN, b'0', b"b", None)],
            ),
            "has no file boot/memtest86+x64.efi",
        ),
        ("a file of 7 GiB", deb("1", &[Entry(EFI, b'0', b"", Some(7 << 30))]), "more than any boot file"),
        ("a file longer than its package", deb("1", &[Entry(EFI, b'0', b"x", Some(9000))]), "cut short"),
        ("too many files", deb("1", &many), "more than 100000 files"),
    ];
    for (case, bytes, why) in cases {
        let path = lab.path().join("bad.deb");
        fs::write(&path, bytes).unwrap();
        let (out, err, code) = images(&lab, &["add", "memtest", "--deb", path.to_str().unwrap()]);
        assert_eq!((out.as_str(), code), ("", 1), "{case}: {err}");
        assert!(err.contains("bad.deb: ") && err.contains(why), "{case}: {err}");
        assert!(files(&folder).is_empty(), "{case}: {:?}", files(&folder).keys());
    }
    assert!(!lab.path().join("etc").exists());
}

#[test]
fn a_bomb_ends_at_the_limit_and_in_little_memory() {
    let (lab, folder) = empty();
    let path = lab.path().join("bomb.deb");
    // 5 GiB of zeros in a file that lanboot does not need. gzip members may follow each other.
    let part = gzip(&vec![0; 64 << 20]);
    let head = gzip(&tar(&[Entry("./zeros", b'0', b"", Some(7 << 30))])[..512]);
    let data = [head, part.repeat(80)].concat();
    let control = control("memtest86+", "1");
    fs::write(
        &path,
        ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)]),
    )
    .unwrap();
    let mut command = images_command(&lab, &["add", "memtest", "--deb", path.to_str().unwrap()]);
    let (_, err, code) = printed(&limited(&mut command, 512 << 20).output().unwrap());
    assert!(code == 1 && err.contains("unpacks to more than"), "{code}: {err}");
    assert!(files(&folder).is_empty());

    // A name of 2 GiB, which must not be read into memory.
    let head = gzip(&tar(&[Entry("./@LongLink", b'L', b"", Some(2 << 30))])[..512]);
    let end = gzip(&tar(&[Entry(EFI, b'0', b"efi", None)]));
    let data = [head, part.repeat(32), end].concat();
    fs::write(
        &path,
        ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)]),
    )
    .unwrap();
    let mut command = images_command(&lab, &["add", "memtest", "--deb", path.to_str().unwrap()]);
    let (_, err, code) = printed(&limited(&mut command, 512 << 20).output().unwrap());
    assert!(code == 1 && err.contains("has no file"), "{code}: {err}");
}

/// Limits the address space to `bytes`, with prlimit from util-linux.
fn limited(command: &mut Command, bytes: u64) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--as={bytes}")).arg(command.get_program()).args(command.get_args());
    limited
}

#[test]
fn packages_come_by_apt_and_are_what_the_lists_say() {
    if !need("apt-get", "apt") {
        return;
    }
    let (lab, folder) = empty();
    let package = honest("9");
    let server = tempfile::tempdir().unwrap();
    let config = repository(server.path(), &package, &hex(&package));
    let run = |arguments: &[&str]| {
        printed(&images_command(&lab, arguments).env("APT_CONFIG", &config).output().unwrap())
    };
    let (out, err, code) = run(&["add", "memtest"]);
    let stages = format!("lanboot images: package lists\nlanboot images: packages ({} B)\n", package.len());
    assert_eq!((err.as_str(), code), (stages.as_str(), 0), "{out}");
    assert_eq!(fs::read(folder.join("memtest86+x64.efi")).unwrap(), b"efi");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let origin = &manifest["files"]["memtest86+x64.efi"]["origin"]["package"];
    assert_eq!(origin["version"], "9");
    assert!(origin["from"].as_str().unwrap().ends_with("memtest86%2b_9_amd64.deb"), "{origin}");
    let (out, _, _) = run(&["add", "memtest"]);
    assert_eq!(out.matches("unchanged").count(), 2, "{out}");

    let (_, err, code) = run(&["add", "ipxe"]);
    assert!(code == 1 && err.contains("no package ipxe"), "{err}");
    let (_, err, code) = run(&["add", "memtest", "--arch", "arm64"]);
    assert!(code == 1 && err.contains("memtest has no file for arm64"), "{err}");
    let (_, err, code) = run(&["add", "debian-installer"]);
    assert!(code == 1 && err.contains("no package debian-installer-*-netboot-amd64"), "{err}");

    fs::write(server.path().join("memtest86+_9_amd64.deb"), honest("8")).unwrap();
    let before = files(&folder);
    let (out, err, code) = run(&["add", "memtest"]);
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(err.contains("could not download") && err.to_lowercase().contains("hash"), "{err}");
    assert_eq!(files(&folder), before);
}

#[test]
fn real_packages_for_both_processors_come_from_the_distribution() {
    if !need("apt-get", "apt") {
        return;
    }
    let (lab, folder) = empty();
    let config = lab.config().replace("uefi-x64: snponly.efi", "uefi-x64: shimx64.efi");
    lab.write_config(&format!("{config}targets: {{memtest: {{kernel: memtest86+x64.bin}}}}\n"));
    let (out, err, code) = images(&lab, &["add", "ipxe", "grub", "shim", "pxelinux", "memtest"]);
    if code != 0 {
        return cannot(&format!("download packages: {err}"));
    }
    for name in [
        "undionly.kpxe",
        "snponly.efi",
        "grubx64.efi",
        "shimx64.efi",
        "grubaa64.efi",
        "shimaa64.efi",
        "lpxelinux.0",
        "ldlinux.c32",
        "memtest86+x64.bin",
    ] {
        assert!(out.contains(&format!("added      {}", folder.join(name).display())), "{name}: {out}");
    }
    let (out, _, _) = images(&lab, &["list", "--json"]);
    let list: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let of = |name: &str| list.iter().find(|view| view["file"] == name).unwrap();
    assert_eq!(of("grubaa64.efi")["architecture"], "arm64");
    assert_eq!(of("undionly.kpxe")["kind"], "iPXE for BIOS");
    assert_eq!(of("undionly.kpxe")["clients"][0], "bios");
    assert_eq!(of("shimx64.efi")["clients"][0], "uefi-x64");
    assert_eq!(of("memtest86+x64.bin")["clients"][0], "target memtest");
    assert_eq!(of("lpxelinux.0")["kind"], "PXELINUX");
    assert_eq!(of("snponly.efi")["signed_by"].as_array().unwrap().len(), 0);
    assert_eq!(of("snponly.efi")["added"]["origin"]["package"]["name"], "ipxe");
    let signer = of("shimx64.efi")["signed_by"].to_string();
    assert!(signer.contains("Microsoft"), "{signer}");
    let generation = of("grubx64.efi")["sbat"].to_string();
    assert!(generation.contains("grub,"), "{generation}");
    assert_eq!(files(&folder)["grubx64.efi"], files(&folder)["grubnetx64.efi"]);
    assert_eq!(images(&lab, &["verify"]).2, 0);
    let (table, _, _) = images(&lab, &["list"]);
    let column = table.lines().next().unwrap().find("KIND").unwrap();
    assert!(
        table.lines().all(|line| line.as_bytes()[column - 1] == b' ' && line.as_bytes()[column] != b' '),
        "{table}"
    );
    // The loaders make copies from an old system unnecessary, and a check accepts them.
    fs::write(folder.join("boot.ipxe"), "#!ipxe\n").unwrap();
    assert_eq!(printed(&lab.run(&["check"])).2, 0);
}

#[test]
fn a_kill_at_any_moment_leaves_whole_files_or_none() {
    if !need("apt-get", "apt") {
        return;
    }
    let (lab, folder) = empty();
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 + i / 255) as u8).collect();
    let package = deb("9", &[Entry(EFI, b'0', &content, None), Entry(BIN, b'0', b"bin", None)]);
    let server = tempfile::tempdir().unwrap();
    let config = repository(server.path(), &package, &hex(&package));
    let temporary = tempfile::tempdir().unwrap();
    let begin = |name: &str| {
        let mut command = images_command(&lab, &["add", name]);
        command.env("APT_CONFIG", &config).env("TMPDIR", temporary.path()).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let started = Instant::now();
    assert!(begin("memtest").wait().unwrap().success());
    let mut whole = started.elapsed();
    let expected = files(&folder);
    let (mut killed, mut runs) = (0, 0);
    while killed < 16 {
        fs::remove_dir_all(&folder).unwrap();
        let mut child = begin("memtest");
        // The files are written in the last quarter of the run.
        std::thread::sleep(if killed < 4 { whole * killed / 4 } else { whole * (60 + killed * 3) / 100 });
        if child.try_wait().unwrap().is_none() {
            killed += 1;
        } else {
            // The machine is less busy than in the timed run.
            whole = whole * 9 / 10;
        }
        runs += 1;
        assert!(runs <= 64, "{killed} of {runs} runs were killed in time");
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.exists() {
            for (name, bytes) in files(&folder) {
                let is_whole = name == "manifest.json" || expected.get(&name) == Some(&bytes);
                assert!(name.starts_with(".lanboot-add-") || is_whole, "half of {name}");
            }
        }
        // Every file in the manifest exists: verify finds no difference.
        fs::create_dir_all(&folder).unwrap();
        let (out, err, code) = images(&lab, &["verify"]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(!out.contains(".lanboot-add-"), "{out}");
    }
    assert!(begin("memtest").wait().unwrap().success());
    let names: Vec<String> = files(&folder).into_keys().collect();
    assert_eq!(names, ["manifest.json", "memtest86+x64.bin", "memtest86+x64.efi"], "nothing is left over");
}

#[test]
fn a_file_that_comes_slowly_and_is_cut_off_is_not_there() {
    let (lab, folder) = empty();
    let fifo = lab.path().join("slow.efi");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = images_command(&lab, &["add", fifo.to_str().unwrap()]).spawn().unwrap();
    let mut pipe = File::options().write(true).open(&fifo).unwrap();
    pipe.write_all(&[1; 100_000]).unwrap();
    let half = || files(&folder).values().any(|bytes| !bytes.is_empty());
    let deadline = Instant::now() + lab::PATIENCE;
    while !half() {
        assert!(Instant::now() < deadline, "nothing is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Meanwhile no other process can write there.
    let other = lab.path().join("other");
    fs::write(&other, "x").unwrap();
    let (_, err, code) = images(&lab, &["add", other.to_str().unwrap()]);
    assert!(code == 1 && err.contains("another `lanboot images add` is at work"), "{err}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(files(&folder).keys().all(|name| name.starts_with(".lanboot-add-")));
    assert_eq!(images(&lab, &["add", other.to_str().unwrap(), "--name", "a/other.bin"]).2, 0);
    assert_eq!(files(&folder).into_keys().collect::<Vec<_>>(), ["a/other.bin", "manifest.json"]);
}

#[test]
fn a_file_and_a_download_are_recorded_and_held_to_their_sum() {
    if !need("curl", "curl") {
        return;
    }
    let (lab, folder) = empty();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("{}/dir/loader.efi", server.local_addr().unwrap());
    let url = format!("http://user:secret@{place}?token=secret");
    // The third answer announces more bytes than it sends.
    let answers = [
        "200 OK\r\nContent-Length: 3",
        "200 OK\r\nContent-Length: 3",
        "200 OK\r\nContent-Length: 9",
        "404 No",
    ];
    let (done, serving) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = server.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            write!(stream, "HTTP/1.1 {answer}\r\nConnection: close\r\n\r\nabc").unwrap();
        }
        done.send(()).unwrap();
    });
    let run = |arguments: &[&str]| {
        printed(&images_command(&lab, arguments).env("no_proxy", "127.0.0.1").output().unwrap())
    };
    let wrong = "0".repeat(64);
    let (_, err, code) = run(&["add", &url, "--sha256", &wrong]);
    assert!(code == 1 && err.contains(&hex(b"abc")) && err.contains(&wrong), "{err}");
    assert!(files(&folder).is_empty());
    let (out, err, code) = run(&["add", &url]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("loader.efi (3 B)") && err.contains("without encryption"), "{out}{err}");
    let before = files(&folder);
    for why in ["curl: (18)", "404"] {
        let (_, err, code) = run(&["add", &url, "--force"]);
        assert!(code == 1 && err.contains("cannot download") && err.contains(why), "{err}");
        assert_eq!(files(&folder), before);
    }
    serving.recv_timeout(lab::PATIENCE).unwrap();

    let own = lab.path().join("own.efi");
    fs::write(&own, "mine").unwrap();
    let sum = hex(b"mine").to_uppercase();
    assert_eq!(run(&["add", own.to_str().unwrap(), "--sha256", &sum]).2, 0);
    let manifest: serde_json::Value = serde_json::from_slice(&files(&folder)["manifest.json"]).unwrap();
    assert_eq!(manifest["files"]["loader.efi"]["origin"]["url"], format!("http://{place}"));
    assert_eq!(manifest["files"]["own.efi"]["origin"]["path"], own.canonicalize().unwrap().to_str().unwrap());
    for name in ["../x", "manifest.json", ".lanboot-add-1-1", ""] {
        assert_ne!(run(&["add", own.to_str().unwrap(), "--name", name]).2, 0, "{name}");
    }
    assert!(!lab.path().join("x").exists());
}

#[test]
fn wrong_usage_and_missing_tools_say_what_to_do() {
    let (lab, folder) = empty();
    let (_, err, code) = images(&lab, &["add", "pxelinx"]);
    assert!(code == 2 && err.contains("did you mean `pxelinux`?"), "{err}");
    let (_, err, code) = images(&lab, &["add", "ftp://x/y"]);
    assert!(code == 2 && err.contains("https://"), "{err}");
    assert_eq!(images(&lab, &["add", "ipxe", "--name", "x"]).2, 2);
    assert_eq!(images(&lab, &["add", "ipxe", "--arch", "sparc"]).2, 2);
    assert_eq!(images(&lab, &["add", "/none/x.efi"]).2, 1);
    let without = |arguments: &[&str]| {
        printed(&images_command(&lab, arguments).env("PATH", "/nonexistent").output().unwrap())
    };
    let (_, err, code) = without(&["add", "ipxe"]);
    assert!(code == 1 && err.contains("no apt-get on this system") && err.contains("--deb"), "{err}");
    let (_, err, code) = without(&["add", "https://x/y.efi"]);
    assert!(code == 1 && err.contains("needs curl"), "{err}");
    let (out, _, code) = images(&lab, &[]);
    assert!(code == 0 && out.contains("no files in") && out.contains("lanboot images add ipxe"), "{out}");
    fs::remove_dir(&folder).unwrap();
    let (_, err, code) = images(&lab, &["list"]);
    assert!(code == 1 && err.contains("boot-images"), "{err}");
    lab.write_config(&format!("images: /proc\n{}", lab.config()));
    let (_, err, code) = images(&lab, &["add", "ipxe"]);
    assert!(code == 1 && err.contains("cannot write to the folder of boot files /proc"), "{err}");
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    if !need("apt-get", "apt") {
        return;
    }
    let (lab, folder) = empty();
    let server = tempfile::tempdir().unwrap();
    let config = repository(server.path(), b"", "");
    let gone = "deb [trusted=yes] http://127.0.0.1:9/debian ./\n";
    fs::write(server.path().join("sources.list"), gone).unwrap();
    let (_, err, code) =
        printed(&images_command(&lab, &["add", "memtest"]).env("APT_CONFIG", &config).output().unwrap());
    assert!(code == 1 && err.contains("no package memtest86+") && err.contains("127.0.0.1"), "{err}");
    assert!(files(&folder).is_empty());
}

#[test]
fn progress_is_shown_on_terminals_only() {
    let (lab, _) = empty();
    let fifo = lab.path().join("slow.efi");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = images_command(&lab, &["add", fifo.to_str().unwrap()]);
    command.stdout(Stdio::null());
    let mut child = command.env("TERM", "xterm").stderr(terminal.slave).spawn().unwrap();
    drop(command);
    let mut pipe = File::options().write(true).open(&fifo).unwrap();
    pipe.write_all(&[1; 50_000]).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    drop(pipe);
    let mut shown = Vec::new();
    // A terminal whose other end is closed returns EIO.
    let _: io::Result<usize> = File::from(terminal.master).read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("slow.efi") && shown.contains("KiB"), "{shown:?}");

    let other = lab.path().join("other.efi");
    fs::write(&other, vec![0; 100_000]).unwrap();
    assert_eq!(images(&lab, &["add", other.to_str().unwrap()]).1, "");
}
