//! `lanboot images list`: lists the files of the images folder.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::output::{Failure, bytes, write_json, write_table};
use crate::boot::name::BootName;
use crate::config::{self, Config};
use crate::images::manifest::{Entry, Manifest, Origin};
use crate::images::signature::{Marks, read_marks};
use crate::images::{Catalog, kind, list};

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

/// Prints every file that clients can request.
pub(super) fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let root = &config.images;
    let manifest = Manifest::load(root)?;
    let catalog = Catalog::open(root).map_err(|error| error.to_string())?;
    let clients = config::clients_by_file(config);
    let names = list::names(root)?;
    let views: Vec<View> =
        names.into_iter().filter_map(|name| view(&catalog, &manifest, &clients, name)).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        write_json(&views, &mut out)?;
    } else if views.is_empty() {
        writeln!(out, "no files in {}: lanboot images add ipxe", root.display())?;
    } else {
        let titles = ["FILE", "KIND", "ARCH", "SIZE", "CLIENTS", "SIGNED BY", "FROM"];
        let rows: Vec<[String; 7]> = views.iter().map(cells).collect();
        write_table(titles, 3, &rows, &mut out)?;
    }
    Ok(out.flush()?)
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
