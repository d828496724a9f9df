//! `lanboot images build`: builds the root file system of machines without a disk.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

use super::arguments::BuildArguments;
use super::output::{Failure, bytes};
use crate::boot::loader::root::{RootImage, is_image_name};
use crate::images::build::interrupt::Cleanup;
use crate::images::build::recipe::{Built, Input, build};

/// Names that mean something else in the images folder.
const RESERVED: [&str; 3] = ["lanboot", "pxelinux.cfg", "manifest.json"];

#[derive(Serialize)]
struct View<'a> {
    build: &'a str,
    image: &'a str,
    #[serde(flatten)]
    description: &'a RootImage,
}

/// Builds the image that `arguments` name in the folder `root`, and prints the result.
pub(super) fn run(root: &Path, arguments: &BuildArguments, json: bool) -> Result<(), Failure> {
    let name = arguments.name.as_str();
    if !is_image_name(name) || RESERVED.contains(&name) {
        return Err(Failure::Usage(format!(
            "{name:?} cannot be the name of an image: use up to 64 letters, digits, `-`, `_` and `.`, none of the last \
             three first"
        )));
    }
    let input = input(&arguments.from)?;
    let cleanup = Cleanup::listen().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let Built { build, image } = build(root, name, &input, &cleanup)?;
    let mut out = io::stdout().lock();
    if json {
        let view = View { build: &build, image: name, description: &image };
        serde_json::to_writer(&mut out, &view).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    writeln!(out, "built      {}", root.join(&build).display())?;
    let signer = image.signer.as_deref().map(|by| format!(", signed by {by}")).unwrap_or_default();
    writeln!(out, "kernel     {} ({}{signer})", image.kernel, image.arch)?;
    writeln!(out, "root       {}, fetched by {}", bytes(image.root_bytes), image.kind.name())?;
    writeln!(out, "needs      {} MiB of memory", image.ram_mib)?;
    Ok(())
}

fn input(from: &Path) -> Result<Input, Failure> {
    if from == Path::new("-") {
        if io::stdin().is_terminal() {
            let why = "standard input is a terminal: pipe a tar archive into this command";
            return Err(Failure::Usage(why.to_owned()));
        }
        return Ok(Input::Stdin);
    }
    let meta = from
        .metadata()
        .map_err(|error| Failure::Message(format!("cannot read {}: {error}", from.display())))?;
    Ok(if meta.is_dir() { Input::Folder(from.to_owned()) } else { Input::Archive(from.to_owned()) })
}
