//! The files of packages: what the Debian package has in it, and that files made from others are up to date.
//! `tests/long package` installs, upgrades and purges the package in a fresh Debian.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::LANBOOT;
use support::lab::lanboot;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The standard output of a command that must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// The files in `folder` by their path in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn generated_files_are_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("packaging/generate");
    run(Command::new(script).arg(&*LANBOOT).arg(folder.path()));
    let packaging = root().join("packaging");
    let generated = files(folder.path());
    assert!(generated.len() > 10, "{:?}", generated.keys());
    for (name, text) in &generated {
        let there = fs::read_to_string(packaging.join(name)).unwrap_or_default();
        assert!(there == *text, "packaging/{} is old: run packaging/generate", name.display());
    }
    let pages = files(&packaging.join("man"));
    assert!(
        pages.keys().all(|page| generated.contains_key(&Path::new("man").join(page))),
        "an old page is left"
    );
}

#[test]
fn the_installed_configuration_is_correct_and_serves_files_only() {
    let file = root().join("packaging/debian/config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    for line in ["include: [machines.d/*.yaml]", "images: /srv/lanboot/boot-images", "  mode: off"] {
        assert!(text.lines().any(|there| there.starts_with(line)), "{line}");
    }
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    fs::create_dir(folder.path().join("machines.d")).unwrap();
    let example = root().join("packaging/debian/example.yaml");
    fs::copy(example, folder.path().join("machines.d/example.yaml")).unwrap();
    let config = folder.path().join("config.yaml");
    fs::write(&config, text.replace("/srv/lanboot/boot-images", images.to_str().unwrap())).unwrap();
    let mut check = lanboot(&["check", "--file-only", "--config"]);
    let out = run(check.arg(&config));
    assert!(out.contains("dhcp off"), "{out}");
}

#[test]
fn firewall_profiles_have_the_ports_of_the_configuration() {
    let ufw = fs::read_to_string(root().join("packaging/ufw/lanboot")).unwrap();
    assert!(ufw.contains("ports=67,69,4011/udp|80/tcp"), "{ufw}");
    let firewalld = fs::read_to_string(root().join("packaging/firewalld/lanboot.xml")).unwrap();
    for (protocol, port) in [("udp", 67), ("udp", 69), ("udp", 4011), ("tcp", 80)] {
        let line = format!("<port protocol=\"{protocol}\" port=\"{port}\"/>");
        assert!(firewalld.contains(&line), "{line}");
    }
}

#[test]
fn the_changelog_of_the_package_has_this_version() {
    let changelog = fs::read_to_string(root().join("packaging/debian/changelog")).unwrap();
    let version = format!("lanboot ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&version), "{changelog}");
}

#[test]
fn the_container_copies_files_that_exist() {
    let text = fs::read_to_string(root().join("packaging/container/Containerfile")).unwrap();
    let copies = text.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from="));
    let sources: Vec<&str> = copies
        .flat_map(|line| {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    assert!(sources.len() > 5, "{sources:?}");
    for source in sources {
        assert!(root().join(source).exists(), "{source}");
    }
}

/// Files that the package must have, with their modes.
const CONTENTS: [(&str, &str); 13] = [
    ("/usr/bin/lanboot", "-rwxr-xr-x"),
    ("/etc/lanboot/config.yaml", "-rw-r--r--"),
    ("/srv/lanboot/boot-images/boot.ipxe", "-rw-r--r--"),
    ("/usr/lib/systemd/system/lanboot.service", "-rw-r--r--"),
    ("/usr/lib/sysusers.d/lanboot.conf", "-rw-r--r--"),
    ("/usr/lib/tmpfiles.d/lanboot.conf", "-rw-r--r--"),
    ("/usr/share/man/man8/lanboot.8.gz", "-rw-r--r--"),
    ("/usr/share/man/man8/lanboot-leases-import.8.gz", "-rw-r--r--"),
    ("/usr/share/bash-completion/completions/lanboot", "-rw-r--r--"),
    ("/usr/share/zsh/vendor-completions/_lanboot", "-rw-r--r--"),
    ("/usr/share/doc/lanboot/changelog.gz", "-rw-r--r--"),
    ("/usr/share/doc/lanboot/copyright", "-rw-r--r--"),
    ("/usr/lib/firewalld/services/lanboot.xml", "-rw-r--r--"),
];

/// Files that an upgrade must not overwrite.
const CONFFILES: [&str; 4] = [
    "/etc/lanboot/config.yaml",
    "/etc/lanboot/machines.d/example.yaml",
    "/etc/ufw/applications.d/lanboot",
    "/srv/lanboot/boot-images/boot.ipxe",
];

/// Needs cargo-deb, which `tests/run` builds, and dpkg-deb.
#[test]
fn the_debian_package_has_what_it_needs() {
    let cargo_deb = "cargo-deb (cargo install cargo-deb --locked)";
    if !support::need("dpkg-deb", "dpkg") || !support::need("cargo-deb", cargo_deb) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("lanboot.deb");
    // The program under test takes the place of a release build. Its symbols stay, because stripping takes long.
    let release = folder.path().join("target/release");
    fs::create_dir_all(&release).unwrap();
    fs::copy(&*LANBOOT, release.join("lanboot")).unwrap();
    let mut command = Command::new("cargo-deb");
    command.args(["--no-build", "--no-strip", "--fast", "--output"]).arg(&package);
    run(command.current_dir(root()).env("CARGO_TARGET_DIR", folder.path().join("target")));
    let deb = |arguments: &[&str]| run(Command::new("dpkg-deb").args(arguments).arg(&package));
    let list = deb(&["--contents"]);
    let there: BTreeMap<&str, &str> = list
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some((words.get(5)?.trim_start_matches('.'), *words.first()?))
        })
        .collect();
    for (path, mode) in CONTENTS {
        assert_eq!(there.get(path), Some(&mode), "{path}: {list}");
    }
    assert!(list.lines().all(|line| line.contains(" root/root ") || line.contains(" 0/0 ")), "{list}");
    run(Command::new("dpkg-deb").arg("--control").arg(&package).arg(folder.path().join("control")));
    let control = files(&folder.path().join("control"));
    let control = |name: &str| control.get(Path::new(name)).unwrap_or_else(|| panic!("no {name}")).as_str();
    let conffiles: BTreeSet<&str> = control("conffiles").lines().collect();
    assert_eq!(conffiles, CONFFILES.into_iter().collect());
    assert!(control("control").contains("libc6") && control("control").contains("systemd-sysusers"));
    for script in ["postinst", "prerm", "postrm"] {
        assert!(!control(script).contains("#DEBHELPER#"), "{script}");
        run(Command::new("sh").arg("-n").arg(folder.path().join("control").join(script)));
    }
    assert!(
        control("postinst").contains("deb-systemd-helper enable") && control("postinst").contains("restart")
    );
    assert!(control("postinst").contains("systemd-sysusers"));
    assert!(control("prerm").contains("deb-systemd-invoke stop"));
    assert!(control("postrm").contains("deb-systemd-helper purge"));
}
