//! `lanboot check`: reports every problem of the configuration file, of the boot files it names, of the templates, and of
//! this computer.

pub mod boot_files;
pub(in crate::cli) mod computer;
mod report;
mod templates;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::config_file::{Given, LoadError, Loaded, config_path, read_file};
use super::{output, rehearse};
use crate::boot::plan::Mode;
use crate::config::{self, Config, MissingFile, Problem};
use crate::content::folders;
use crate::images::list;

use report::Report;

/// The parts of a check that are left to the caller.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Report each client that would not boot, too.
    pub rehearse: bool,
    /// Leave this computer out.
    pub file_only: bool,
    /// Print a JSON object.
    pub json: bool,
}

/// Checks the configuration and this computer. Prints `config.yaml: ok: …` to standard output, or problems to standard
/// error. The exit code is 0 without problems, 1 with problems, and 2 if the file cannot be read.
pub fn run(given: Given<'_>, options: Options) -> ExitCode {
    let read = config_path(given.file).and_then(|path| Ok((read_file(&path, given.state)?, path)));
    let ((loaded, problems), path) = match read {
        Ok(read) => read,
        Err(LoadError::Unreadable(message)) => {
            output::print_error(format_args!("lanboot: {message}"));
            return ExitCode::from(2);
        }
        Err(error) => {
            output::print_error(error);
            return ExitCode::from(1);
        }
    };
    let mut report = Report::new(path);
    report.file(problems);
    if let Some(loaded) = &loaded {
        check(loaded, options, &mut report);
    }
    report.print(options.json)
}

/// Adds the problems of a configuration that could be read. If it has problems already, its settings are incomplete: then
/// only findings that do not follow from those are reported.
fn check(loaded: &Loaded, options: Options, report: &mut Report) {
    let is_complete = report.is_ok();
    let problems = match is_complete {
        true => boot_file_problems(loaded),
        false => problems_of_files(loaded),
    };
    let has_files = problems.is_empty();
    report.file(problems);
    loaded.config.notes.iter().cloned().for_each(|note| report.file_note(note));
    if is_complete {
        boot_files::hidden_by_ipxe(loaded).into_iter().for_each(|note| report.file_note(note));
        boot_files::seeds(loaded).into_iter().for_each(|note| report.file_note(note));
        let names = config::target_dns_notes(&loaded.config, &loaded.sources);
        names.into_iter().for_each(|note| report.file_note(note));
        let templates = templates::check(&loaded.config);
        let images = loaded.config.images.display().to_string();
        templates.notes.iter().for_each(|line| report.template_note(&images, line));
        templates.problems.iter().for_each(|line| report.template(&images, line));
        report.summary = summary(&loaded.config);
        if templates.templates > 0 {
            report.summary.push_str(&format!(", {}", count(templates.templates, "template")));
        }
        // With missing files, a rehearsal would only repeat the same problems.
        if options.rehearse && has_files {
            rehearse::failures(loaded).into_iter().for_each(|failure| report.rehearsal(failure));
        }
    }
    if !options.file_only {
        report.computer(computer::check(loaded));
    }
}

/// The absolute path for messages, because a relative one starts at the folder of the configuration.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Problems with boot files that do not depend on other keys.
fn problems_of_files(loaded: &Loaded) -> Vec<Problem> {
    if !loaded.config.images.is_dir() {
        return boot_file_problems(loaded);
    }
    let missing = boot_files::missing(loaded);
    let there =
        if missing.is_empty() { Vec::new() } else { list::names(&loaded.config.images).unwrap_or_default() };
    let shown = absolute(&loaded.config.images);
    let mut problems = upload_problems(loaded);
    problems.extend(folder_problems(loaded));
    problems.extend(secret_problems(loaded));
    problems.extend(config::missing_file_problems(&loaded.sources, &shown, &there, &missing));
    problems
}

/// Problems with boot files. If the images folder does not exist, this is the only problem.
fn boot_file_problems(loaded: &Loaded) -> Vec<Problem> {
    let images = &loaded.config.images;
    let missing = boot_files::missing(loaded);
    let mut problems = upload_problems(loaded);
    let folder_is_wanted =
        !missing.is_empty() || loaded.config.tftp.is_some() || loaded.config.http.is_some();
    if folder_is_wanted && !images.is_dir() {
        let message = match images.metadata() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => format!(
                "the folder {} cannot be read by this user: chmod a+x it, and those that it is in",
                absolute(images)
            ),
            _ => format!("there is no folder {}: create it, or say where it is", absolute(images)),
        };
        problems.extend(at_key(loaded, "images", message));
        return problems;
    }
    let hidden = boot_files::hidden(loaded);
    problems.extend(folder_problems(loaded));
    problems.extend(secret_problems(loaded));
    // The names only improve the messages. An unreadable folder is reported elsewhere.
    let there = if missing.is_empty() { Vec::new() } else { list::names(images).unwrap_or_default() };
    let (sources, shown) = (&loaded.sources, absolute(images));
    problems.extend(config::missing_file_problems(sources, &shown, &there, &missing));
    problems.extend(hidden);
    problems.extend(config::unreadable_file_problems(sources, &shown, &boot_files::unreadable(loaded)));
    problems.extend(boot_files::unstartable(loaded));
    problems.extend(boot_files::unreachable(loaded));
    problems.sort_by_key(Problem::order);
    problems
}

/// Reports a missing folder for uploads, because the server does not start without it.
fn upload_problems(loaded: &Loaded) -> Vec<Problem> {
    let uploads = loaded.config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref());
    let Some(uploads) = uploads.filter(|uploads| !uploads.dir.exists()) else { return Vec::new() };
    let message = format!("there is no folder {}: {}", uploads.dir.display(), uploads.creation_hint());
    at_key(loaded, "tftp.uploads", message)
}

/// Reports secrets that lie in the images folder.
pub(super) fn secret_problems(loaded: &Loaded) -> Vec<Problem> {
    let found = folders::inside_images(&loaded.config).into_iter();
    found.flat_map(|problem| at_key(loaded, "images", problem)).collect()
}

/// Reports folders that must not be served, and folders that must not lie in each other.
pub(super) fn folder_problems(loaded: &Loaded) -> Vec<Problem> {
    let found = folders::problems(&loaded.config).into_iter();
    found.flat_map(|(key, problem)| at_key(loaded, key, problem)).collect()
}

/// A problem at a key of the configuration.
pub(in crate::cli) fn at_key(loaded: &Loaded, key: &str, message: String) -> Vec<Problem> {
    let missing = [MissingFile { name: "".into(), wanted_by: key.to_owned(), clients: String::new() }];
    let problems = config::missing_file_problems(&loaded.sources, "", &[], &missing);
    problems.into_iter().map(|problem| Problem { message: message.clone(), ..problem }).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A one-line summary, by which the author can see whether the file means what was intended.
fn summary(config: &Config) -> String {
    let mut parts = Vec::new();
    match &config.dhcp {
        Some(settings) => {
            let pools = settings.subnets.iter().flat_map(|subnet| &subnet.pools);
            let addresses: u64 = pools.map(|pool| pool.range.size()).sum();
            let modes = [(Mode::Server, "dhcp server"), (Mode::Proxy, "dhcp proxy")];
            let modes = modes.iter().filter(|(mode, _)| settings.modes.has(*mode));
            parts.extend(modes.map(|(_, what)| (*what).to_owned()));
            if settings.modes.has(Mode::Server) {
                parts.push(count(settings.subnets.len(), "subnet"));
                parts.push(format!("{addresses} pool addresses"));
            }
            parts.push(count(settings.machines.iter().count(), "machine"));
            parts.push(count(settings.boot.arch.len(), "boot architecture"));
        }
        None => parts.push("dhcp off".to_owned()),
    }
    if !config.targets.list.is_empty() {
        parts.push(count(config.targets.list.len(), "target"));
    }
    match &config.tftp {
        Some(tftp) => parts.push(format!("tftp on port {}", tftp.port)),
        None => parts.push("tftp off".to_owned()),
    }
    match &config.http {
        Some(http) => parts.push(format!("http on port {}", http.port)),
        None => parts.push("http off".to_owned()),
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config_file::load_file;

    #[test]
    fn boot_files_are_looked_for_in_the_images_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let text = "\
dhcp: {mode: server, subnets: [{network: 10.0.0.0/24, pool: 10.0.0.5-10.0.0.9}]}
boot: {arch: {bios: 'sub\\lpxelinux.0'}}
";
        std::fs::write(&file, text).unwrap();
        let found = || boot_file_problems(&load_file(Given { file: Some(&file), state: None }).unwrap());
        let [no_folder] = &found()[..] else { panic!("{:?}", found()) };
        assert!(no_folder.message.starts_with("there is no folder"), "{no_folder}");
        std::fs::create_dir_all(folder.path().join("boot-images/sub")).unwrap();
        let keys: Vec<_> = found().into_iter().map(|problem| problem.path).collect();
        assert_eq!(keys, ["boot.arch.bios"], "who needs boot.ipxe is not known yet");
        let write = |name, bytes: &[u8]| std::fs::write(folder.path().join("boot-images").join(name), bytes);
        write("sub/lpxelinux.0", b"\xea\x05\0\xc0\x07 PXENV+ at ").unwrap();
        let [script] = &found()[..] else { panic!("{:?}", found()) };
        assert_eq!(script.path, "boot.ipxe", "iPXE is loaded and has nothing to run");
        write("boot.ipxe", b"#!ipxe\n").unwrap();
        assert_eq!(found(), []);
        write("sub/lpxelinux.0", b"<!DOCTYPE html>").unwrap();
        let [wrong] = &found()[..] else { panic!("{:?}", found()) };
        assert!(wrong.message.contains("is a text file, but it is mapped to bios"), "{wrong}");
        write("sub/lpxelinux.0", b"\xfa\x31").unwrap();
        assert_eq!(found(), []);
        std::fs::write(&file, text.replace("sub\\lpxelinux", ".sub\\lpxelinux")).unwrap();
        let [hidden] = &found()[..] else { panic!("{:?}", found()) };
        assert!(hidden.path == "boot.arch.bios" && hidden.message.contains("is never sent"), "{hidden}");
        for (key, folder) in
            [("state", "boot-images/state"), ("images", "."), ("tftp", "{uploads: boot-images}")]
        {
            std::fs::create_dir_all(file.with_file_name("boot-images/state")).unwrap();
            std::fs::write(&file, format!("{text}{key}: {folder}\n")).unwrap();
            let loaded = load_file(Given { file: Some(&file), state: None }).unwrap();
            let found: Vec<_> =
                folder_problems(&loaded).into_iter().chain(secret_problems(&loaded)).collect();
            assert!(!found.is_empty() && found.iter().all(|problem| problem.line > 0), "{key}: {found:?}");
        }
        std::fs::write(&file, text).unwrap();
        let loaded = load_file(Given { file: Some(&file), state: None }).unwrap();
        assert_eq!(
            summary(&loaded.config),
            "dhcp server, 1 subnet, 5 pool addresses, 0 machines, 1 boot architecture, tftp on port 69, \
             http on port 80"
        );
    }
}
