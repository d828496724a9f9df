//! `lanboot images list`: lists the files and the builds of the images folder.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::output::{Failure, age, bytes, write_json, write_table};
use super::remove;
use crate::boot::name::BootName;
use crate::config::{self, Config};
use crate::images::manifest::{Entry, Manifest, Origin};
use crate::images::signature::{Marks, read_marks};
use crate::images::{Catalog, builds, kind, list};

/// A file, for the table and for JSON. The field names are stable.
#[derive(Serialize)]
struct View {
    file: String,
    /// A short description, such as `EFI program`.
    kind: &'static str,
    /// Processor architecture, such as `x64`; `null` if the first bytes do not tell.
    architecture: Option<String>,
    /// In bytes.
    size: u64,
    /// Clients that get it according to the configuration: architectures, `ipxe`, `bootp`, machines, classes.
    clients: Vec<String>,
    /// Issuing authority of each signature; `null` for files that cannot be signed.
    signed_by: Option<Vec<String>>,
    /// Components and generations for revocation, such as `shim,4`.
    sbat: Vec<String>,
    /// Time and origin; `null` if lanboot did not add the file.
    added: Option<Entry>,
}

/// A build, for the table and for JSON. The field names are stable.
#[derive(Serialize)]
struct BuildView {
    /// Name and time, such as `compute@20261129T100000`.
    build: String,
    image: String,
    /// Whether the name of the image leads to this build.
    newest: bool,
    /// `live-boot` or `dracut`; `null` with the next four if image.json is damaged.
    kind: Option<&'static str>,
    /// Processor architecture of the kernel, such as `x64`.
    architecture: Option<String>,
    /// Version of the kernel.
    kernel: Option<String>,
    /// Memory in MiB that a machine needs.
    ram_mib: Option<u64>,
    /// Time of the build.
    built: Option<String>,
    /// In bytes, all files together.
    size: u64,
    /// Targets that use it.
    targets: Vec<String>,
    /// The reason why image.json cannot be read.
    problem: Option<String>,
}

/// A row of the JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    File(&'a View),
    Build(&'a BuildView),
}

/// Prints every file that clients can request, and the builds.
pub(super) fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let root = &config.images;
    let manifest = Manifest::load(root)?;
    let catalog = Catalog::open(root).map_err(|error| error.to_string())?;
    let clients = config::clients_by_file(config);
    let names = list::names(root)?;
    let views: Vec<View> =
        names.into_iter().filter_map(|name| view(&catalog, &manifest, &clients, name)).collect();
    let builds: Vec<BuildView> = builds::all(root)?.iter().map(|build| build_view(config, build)).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        let rows: Vec<Row<'_>> = views.iter().map(Row::File).chain(builds.iter().map(Row::Build)).collect();
        write_json(&rows, &mut out)?;
        return Ok(out.flush()?);
    }
    // The files of a build are one row of the second table.
    let folder_of = |file: &str| file.split_once('/').map(|(folder, _)| folder.to_owned());
    let is_of_build =
        |view: &&View| folder_of(&view.file).is_some_and(|folder| builds::image_of(&folder).is_some());
    let rows: Vec<[String; 7]> = views.iter().filter(|view| !is_of_build(view)).map(cells).collect();
    if rows.is_empty() && builds.is_empty() {
        writeln!(out, "no files in {}: lanboot images add ipxe", root.display())?;
    }
    if !rows.is_empty() {
        let titles = ["FILE", "KIND", "ARCH", "SIZE", "CLIENTS", "SIGNED BY", "FROM"];
        write_table(titles, 3, &rows, &mut out)?;
    }
    if !builds.is_empty() {
        write!(out, "{}", if rows.is_empty() { "" } else { "\n" })?;
        let titles = ["BUILD", "KIND", "ARCH", "SIZE", "AGE", "RAM", "TARGETS"];
        let rows: Vec<[String; 7]> = builds.iter().map(build_cells).collect();
        write_table(titles, 3, &rows, &mut out)?;
        writeln!(out, "* the newest build, which the name of the image leads to")?;
    }
    Ok(out.flush()?)
}

fn build_view(config: &Config, build: &builds::Build) -> BuildView {
    let known = build.description.as_ref().ok();
    BuildView {
        build: build.name.clone(),
        image: build.image.clone(),
        newest: build.is_newest,
        kind: known.map(|image| image.kind.name()),
        architecture: known.map(|image| image.arch.clone()),
        kernel: known.map(|image| image.kernel.clone()),
        ram_mib: known.map(|image| image.ram_mib),
        built: known.map(|image| image.built.clone()),
        size: build.size,
        targets: remove::targets_using(config, build),
        problem: build.description.as_ref().err().cloned(),
    }
}

fn build_cells(view: &BuildView) -> [String; 7] {
    let or_dash =
        |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let kind = if view.problem.is_some() { "image.json is damaged" } else { view.kind.unwrap_or("-") };
    let newest = if view.newest { " *" } else { "" };
    [
        format!("{}{newest}", view.build),
        kind.to_owned(),
        or_dash(view.architecture.clone()),
        bytes(view.size),
        or_dash(view.built.as_deref().and_then(age)),
        or_dash(view.ram_mib.map(|mib| format!("{mib} MiB"))),
        or_dash(Some(view.targets.join(", "))),
    ]
}

/// The entry for a file; `None` if clients cannot get it, as a link that leads outside or a socket.
fn view(catalog: &Catalog, manifest: &Manifest, clients: &[(String, String)], file: String) -> Option<View> {
    let name = BootName::parse(file.as_bytes()).ok()?;
    let open = catalog.open_file(&name).ok()?;
    let marks = read_marks(&open.file).ok().flatten();
    let (kind, architecture) = kind::words(catalog.kind(&name)?);
    let mut clients: Vec<String> = clients
        .iter()
        .filter(|(mapped, _)| BootName::parse(mapped.as_bytes()).is_ok_and(|mapped| mapped == name))
        .map(|(_, client)| client.clone())
        .collect();
    clients.dedup();
    let sbat = marks.iter().flat_map(|marks: &Marks| &marks.sbat);
    let sbat = sbat.map(|(component, generation)| format!("{component},{generation}")).collect();
    let added = manifest.files.get(&file).cloned();
    let signed_by = marks.map(|marks| marks.signed_by);
    Some(View { file, kind, architecture, size: open.size, clients, signed_by, sbat, added })
}

fn cells(view: &View) -> [String; 7] {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let signed_by = match &view.signed_by {
        None => "-".to_owned(),
        Some(by) if by.is_empty() => "not signed".to_owned(),
        Some(by) => by.join(" + "),
    };
    let from = match view.added.as_ref().map(|entry| &entry.origin) {
        None => "-".to_owned(),
        Some(Origin::Package(package)) => format!("{} {}", package.name, package.version),
        Some(Origin::Path(from) | Origin::Url(from)) => from.clone(),
    };
    [
        view.file.clone(),
        view.kind.to_owned(),
        or_dash(view.architecture.clone().unwrap_or_default()),
        bytes(view.size),
        or_dash(view.clients.join(", ")),
        signed_by,
        from,
    ]
}
