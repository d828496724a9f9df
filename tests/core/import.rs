//! Imports of other servers' configurations: `tests/data/import/dnsmasq/NAME.conf` gives `NAME.yaml`, and the list of
//! what was not taken, `NAME.txt`. With `UPDATE=1` in the environment, a test writes these files instead.

use std::fs;
use std::path::{Path, PathBuf};

use lanboot::import::{Failed, Found, Imported, Sources, dnsmasq};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/dnsmasq")
}

/// Imports a file of the folder as `lanboot import dnsmasq NAME` does.
fn import(name: &str) -> Result<Imported, Failed> {
    let mut read = |path: &str, _: Option<&str>| {
        let bytes = fs::read(folder().join(path)).map_err(|error| format!("cannot read {path}: {error}"))?;
        Ok(Found { name: path.to_owned(), bytes })
    };
    let mut list = |path: &str, _: Option<&str>| {
        let entries = fs::read_dir(folder().join(path)).map_err(|error| error.to_string())?;
        Ok(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
    };
    dnsmasq::import(&[name.to_owned()], Sources::new(&mut read, &mut list), &[])
}

/// Imports the text of one file.
fn import_text(text: &str) -> Result<Imported, Failed> {
    let mut read = |path: &str, from: Option<&str>| match from {
        None => Ok(Found { name: path.to_owned(), bytes: text.into() }),
        Some(_) => Err(format!("cannot read {path}: there is no such file")),
    };
    let mut list = |_: &str, _: Option<&str>| Err("cannot read the folder".to_owned());
    dnsmasq::import(&["a.conf".to_owned()], Sources::new(&mut read, &mut list), &[])
}

/// The samples: configurations after public examples.
fn samples() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".conf").map(str::to_owned)
        })
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn samples_become_the_configurations_beside_them() {
    let names = samples();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let imported = import(&format!("{name}.conf")).unwrap();
        let problems: String = imported.problems.iter().map(|problem| format!("{problem}\n")).collect();
        for (ending, text) in [("yaml", &imported.yaml), ("txt", &problems)] {
            let file = folder().join(format!("{name}.{ending}"));
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&file, text).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(*text, expected, "{name}.{ending}");
        }
    }
}

#[test]
fn lines_that_dnsmasq_refuses_are_reported_with_their_place() {
    for (text, place) in [
        ("\ndhcp-opti", "a.conf:2:1: bad option \"dhcp-opti\""),
        ("dhcp-range=10.0.0.5,10.0.0.", "a.conf:1:12: bad dhcp-range"),
        ("  dhcp-range", "a.conf:1:3: missing parameter of dhcp-range"),
        ("dhcp-authoritative=yes", "a.conf:1:20: extraneous parameter"),
        ("dhcp-option=3,\"x", "a.conf:1:15: missing \""),
        ("a\0", "a.conf:1:2: a control character"),
        ("dhcp-host=52:54:zz,10.0.0.1", "a.conf:1:11: bad hex constant"),
        ("lease 10.0.0.1 {", "a.conf:1:1: bad option"),
    ] {
        let shown = import_text(text).unwrap_err().to_string();
        assert!(shown.starts_with(place), "{text:?}: {shown}");
    }
    let long = import_text(&"x".repeat(5_000_000)).unwrap_err().to_string();
    assert!(long.starts_with("a.conf:1:1048577: the line is longer than 1 MiB"), "{long}");
}

#[test]
fn files_that_are_missing_are_listed() {
    let imported =
        import_text("conf-file=/etc/more.conf\nconf-dir=/etc/d\ndhcp-range=10.0.0.5,10.0.0.9,1h\n").unwrap();
    let shown: Vec<String> = imported.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "a.conf:1: not taken: cannot read /etc/more.conf: there is no such file",
            "a.conf:2: not taken: cannot read the folder"
        ]
    );
}
