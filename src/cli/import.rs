//! `lanboot import`: prints another server's configuration as `config.yaml`. It reads the files, also those that they
//! include; `crate::import` translates them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::import::sources::MAX_BYTES;
use crate::import::{Failed, Found, Imported, Problem, Sources, dhcpd, dnsmasq, kea};
use crate::net::interface;
use crate::types::Ipv4Network;

/// The server that a configuration was written for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Server {
    /// dnsmasq.conf
    Dnsmasq,
    /// kea-dhcp4.conf
    Kea,
    /// dhcpd.conf of ISC
    Dhcpd,
}

/// Translates `files`. Prints `config.yaml` to standard output, and to standard error one line for each statement that
/// was not taken. The exit code is 0 if everything was taken, 1 if not or if nothing is left to serve, and 2 if a file
/// cannot be read or is broken.
pub(super) fn run(server: Server, files: &[String]) -> ExitCode {
    let mut list = list;
    let mut read = read;
    let sources = Sources::new(&mut read, &mut list);
    let translated = match server {
        Server::Dnsmasq => dnsmasq::import(files, sources, &local_networks()),
        Server::Kea => kea::import(files, sources),
        Server::Dhcpd => dhcpd::import(files, sources),
    };
    match translated {
        Ok(imported) => print(&imported),
        Err(Failed::NothingToServe { message, problems }) => {
            print_problems(&problems);
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::FAILURE
        }
        Err(failed) => {
            let prefix = if matches!(failed, Failed::Unreadable(_)) { "lanboot: " } else { "" };
            let _ = writeln!(io::stderr(), "{prefix}{failed}");
            ExitCode::from(2)
        }
    }
}

/// The networks of this computer's interfaces. A configuration from another computer has others, and then they do not
/// matter.
fn local_networks() -> Vec<Ipv4Network> {
    let interfaces = interface::list().unwrap_or_default();
    let ours = interfaces.iter().filter(|interface| !interface.loopback);
    ours.flat_map(|interface| interface.networks.iter().copied()).collect()
}

fn print_problems(problems: &[Problem]) {
    let mut out = io::BufWriter::new(io::stderr().lock());
    for problem in problems {
        let _ = writeln!(out, "{problem}");
    }
    let _ = out.flush();
}

fn print(imported: &Imported) -> ExitCode {
    print_problems(&imported.problems);
    match io::stdout().write_all(imported.yaml.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "lanboot: cannot write the output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::from(!imported.problems.is_empty())),
    }
}

/// Reads a file; `-` is standard input.
fn read(path: &str, from: Option<&str>) -> Result<Found, String> {
    if path == "-" && from.is_none() {
        let bytes =
            limited(io::stdin().lock()).map_err(|error| format!("cannot read standard input: {error}"))?;
        return Ok(Found { name: "-".to_owned(), bytes });
    }
    let place = locate(path, from);
    let name = place.display().to_string();
    // Devices and pipes may never end.
    let bytes = match fs::metadata(&place) {
        Ok(found) if from.is_some() && !found.is_file() => Err(io::Error::other("it is not a file")),
        _ => File::open(&place).and_then(limited),
    };
    let bytes = bytes.map_err(|error| format!("cannot read {name}: {error}"))?;
    Ok(Found { name, bytes })
}

/// Reads at most one byte more than all files may have together.
fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn list(folder: &str, from: Option<&str>) -> Result<Vec<String>, String> {
    let place = locate(folder, from);
    let failed = |error: io::Error| format!("cannot read the folder {}: {error}", place.display());
    let entries = fs::read_dir(&place).map_err(failed)?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The place of a file or folder that `from` names: as written, or beside `from`. Configurations are often imported from
/// a copy on another computer, so an absolute path that does not exist is looked for beside `from` too, from its longest
/// tail to its last name.
fn locate(path: &str, from: Option<&str>) -> PathBuf {
    let written = PathBuf::from(path);
    let Some(beside) = from.map(|from| Path::new(from).parent().unwrap_or(Path::new(""))) else {
        return written;
    };
    if written.is_relative() && beside.join(&written).exists() {
        return beside.join(&written);
    }
    if written.exists() {
        return written;
    }
    let parts: Vec<_> = written.iter().filter(|part| *part != "/").collect();
    let tails = (0..parts.len()).map(|start| beside.join(parts.iter().skip(start).collect::<PathBuf>()));
    tails.into_iter().find(|tail| tail.exists()).unwrap_or(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_looked_for_beside_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dnsmasq.d")).unwrap();
        fs::write(folder.path().join("dnsmasq.d/a.conf"), "x").unwrap();
        let from = folder.path().join("dnsmasq.conf").display().to_string();
        let expected = folder.path().join("dnsmasq.d/a.conf");
        for path in ["dnsmasq.d/a.conf", "/nowhere/etc/dnsmasq.d/a.conf", expected.to_str().unwrap()] {
            assert_eq!(locate(path, Some(&from)), expected, "{path}");
        }
        assert_eq!(list("/nowhere/dnsmasq.d", Some(&from)).unwrap(), ["a.conf"]);
        assert!(list("/nowhere/other.d", Some(&from)).unwrap_err().contains("/nowhere/other.d"));
    }
}
