//! Gets boot files from Debian packages for `images add`: decides which packages are needed, downloads or opens them,
//! and extracts the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use super::arguments::AddArguments;
use super::output::{Failure, bytes};
use crate::boot::name::BootName;
use crate::images::add::apt::{Apt, Candidate, Request};
use crate::images::add::collection::{Collection, Item};
use crate::images::add::deb::{self, Control, Wanted};
use crate::images::add::fetch;
use crate::images::add::progress::Progress;
use crate::images::add::sets::{DebArch, Set, SetFile};
use crate::images::add::staging::{Draft, sha256};
use crate::images::manifest::{Origin, Package};

/// An open package file and the files to extract from it.
struct OpenPackage {
    file: File,
    bytes: u64,
    /// URL or path of the package.
    from: String,
    sha256: String,
    distribution: Option<String>,
    wanted: Vec<&'static SetFile>,
}

/// Extracts the files of `sets`. Also returns notes about files that are not available.
pub(super) fn items(
    sets: &[&'static Set],
    arguments: &AddArguments,
    collection: &mut Collection,
) -> Result<(Vec<Item>, Vec<String>), Failure> {
    let archs = if arguments.arch.is_empty() { DebArch::ALL.to_vec() } else { arguments.arch.clone() };
    let (opened, notes) = if arguments.deb.is_empty() {
        download(sets, &archs, !arguments.arch.is_empty())?
    } else {
        let opened = arguments.deb.iter().map(|path| open(path, sets, &archs)).collect::<Result<_, _>>()?;
        (opened, Vec::new())
    };
    let mut items = Vec::new();
    for package in opened {
        let from = package.from.clone();
        let taken =
            extract_items(package, collection).map_err(|why| Failure::Message(format!("{from}: {why}")))?;
        items.extend(taken);
    }
    for set in sets.iter().filter(|_| arguments.deb.is_empty()) {
        let is_of = |item: &Item| set.files.iter().any(|file| file.names.contains(&item.name.as_str()));
        if !items.iter().any(is_of) {
            let archs: Vec<&str> = archs.iter().map(|arch| arch.name()).collect();
            return Err(Failure::Message(format!(
                "{} has no file for {} here",
                set.name,
                archs.join(" or ")
            )));
        }
    }
    Ok((items, notes))
}

/// Downloads the packages that contain the files of `sets`. If the servers lack an architecture, it is omitted with a
/// note, unless `must` is set because the user asked for it.
fn download(
    sets: &[&'static Set],
    archs: &[DebArch],
    is_required: bool,
) -> Result<(Vec<OpenPackage>, Vec<String>), Failure> {
    let files = || sets.iter().flat_map(|set| set.files).filter(|file| archs.contains(&file.arch));
    let mut requests: BTreeMap<Request, Vec<&'static SetFile>> = BTreeMap::new();
    for file in files() {
        let arch = (!file.for_all).then_some(file.arch);
        requests.entry(Request { package: file.package.to_owned(), arch }).or_default().push(file);
    }
    if requests.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut apt = Apt::open(archs)?;
    apt.update(&Progress::of_percent("package lists"))?;
    let asked: Vec<Request> = requests.keys().cloned().collect();
    let candidates = apt.resolve(&asked)?;
    let (mut wanted, mut notes): (Vec<(Candidate, Vec<&'static SetFile>)>, Vec<String>) = Default::default();
    for ((request, files), candidate) in requests.into_iter().zip(candidates) {
        match candidate {
            Some(candidate) => wanted.push((candidate, files)),
            None => notes.push(missing_package(&request, apt.server_errors())),
        }
    }
    if wanted.is_empty() || is_required && !notes.is_empty() {
        return Err(Failure::Message(notes.join("\nlanboot images: ")));
    }
    let candidates: Vec<Candidate> = wanted.iter().map(|(candidate, _)| candidate.clone()).collect();
    let total: u64 = candidates.iter().map(|candidate| candidate.size).sum();
    let progress = Progress::of_percent(&format!("packages ({})", bytes(total)));
    let opened = apt.download(&candidates, &progress)?;
    let opened = opened.into_iter().zip(wanted).map(|(file, (candidate, wanted))| OpenPackage {
        file,
        bytes: candidate.size,
        from: fetch::without_secrets(&candidate.url),
        sha256: candidate.sha256,
        distribution: candidate.distribution,
        wanted,
    });
    Ok((opened.collect(), notes))
}

fn missing_package(request: &Request, server_errors: &str) -> String {
    let arch = request.arch.map(|arch| format!(" for {}", arch.name())).unwrap_or_default();
    let why = match server_errors {
        "" => "; `apt-cache policy` shows what they are".to_owned(),
        server_errors => format!(": {server_errors}"),
    };
    format!("this system's package servers have no package {}{arch}{why}", request.package)
}

/// Opens a local package file.
fn open(path: &Path, sets: &[&'static Set], archs: &[DebArch]) -> Result<OpenPackage, Failure> {
    let failure = |why: String| Failure::Message(format!("{}: {why}", path.display()));
    let cannot = |error: io::Error| failure(format!("cannot read it: {error}"));
    let mut file = File::open(path).map_err(cannot)?;
    let bytes = file.metadata().map_err(cannot)?.len();
    let sum = sha256(&file).map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    let control = deb::read_control(&file).map_err(failure)?;
    file.rewind().map_err(cannot)?;
    let is_of = |file: &&SetFile| archs.contains(&file.arch) && is_package(file, &control);
    let wanted: Vec<&'static SetFile> = sets.iter().flat_map(|set| set.files).filter(is_of).collect();
    if wanted.is_empty() {
        let mut packages: Vec<&str> =
            sets.iter().flat_map(|set| set.files).map(|file| file.package).collect();
        packages.dedup();
        let (package, arch) = (&control.package, &control.architecture);
        return Err(failure(format!(
            "it is {package} ({arch}); what is wanted is one of {}",
            packages.join(", ")
        )));
    }
    let path = path.canonicalize().map_err(cannot)?;
    Ok(OpenPackage { file, bytes, from: path.display().to_string(), sha256: sum, distribution: None, wanted })
}

fn is_package(file: &SetFile, control: &Control) -> bool {
    let is_name = match file.package.split_once('*') {
        None => control.package == file.package,
        Some((before, after)) => {
            let number = control.package.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        }
    };
    is_name && (file.for_all || control.architecture == file.arch.name())
}

/// Extracts the wanted files of a package into drafts.
fn extract_items(mut package: OpenPackage, collection: &mut Collection) -> Result<Vec<Item>, String> {
    let control = deb::read_control(&package.file)?;
    package.file.rewind().map_err(|error| format!("cannot read it: {error}"))?;
    let mut wanted = Vec::new();
    for file in &package.wanted {
        let drafts = file.names.iter().map(|_| collection.draft()).collect::<Result<Vec<Draft>, String>>()?;
        wanted.push(Wanted { paths: file.paths, out: Copies(drafts), found: None });
    }
    let progress = Progress::of_bytes(&format!("unpacking {}", control.package), package.bytes);
    deb::extract(io::BufReader::new(Counted { file: &package.file, progress }), &mut wanted)?;
    let mut items = Vec::new();
    for (file, taken) in package.wanted.iter().zip(wanted) {
        let Some(path) = taken.found else {
            if file.is_optional {
                continue;
            }
            return Err(format!("it has no file {}", file.paths.join(" or ")));
        };
        for (name, draft) in file.names.iter().zip(taken.out.0) {
            let name = BootName::parse(name.as_bytes()).map_err(|error| error.to_string())?;
            let origin = Origin::Package(Package {
                name: control.package.clone(),
                version: control.version.clone(),
                architecture: control.architecture.clone(),
                distribution: package.distribution.clone(),
                from: package.from.clone(),
                sha256: package.sha256.clone(),
                file: path.clone(),
            });
            items.push(Item { name, draft, origin });
        }
    }
    Ok(items)
}

/// A writer that stores the same content under several names.
struct Copies(Vec<Draft>);

impl Write for Copies {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.iter_mut().try_for_each(|draft| draft.write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that reports its reading to a progress bar.
struct Counted<'a> {
    file: &'a File,
    progress: Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.add(read);
        Ok(read)
    }
}
