//! `lanboot images remove`: removes builds of root file systems. Machines that run from a build have it in their memory.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::arguments::RemoveArguments;
use super::output::{Failure, bytes, write_json};
use crate::boot::loader::target::{Target, local_path};
use crate::config::Config;
use crate::images::builds::{self, Build, image_of};

#[derive(Serialize)]
struct View<'a> {
    removed: &'a str,
    /// In bytes.
    size: u64,
}

/// Removes the builds that `arguments` name, and prints them.
pub(super) fn run(config: &Config, arguments: &RemoveArguments, json: bool) -> Result<(), Failure> {
    let (root, name) = (&config.images, arguments.name.as_str());
    let all = builds::all(root)?;
    let is_named = |build: &&Build| build.name == name || build.image == name;
    let named: Vec<&Build> = all.iter().filter(is_named).collect();
    let Some(image) = named.first().map(|build| build.image.as_str()) else {
        return Err(Failure::Message(unknown(root, name, &all)));
    };
    let in_use: Vec<String> = named.iter().filter_map(|build| in_use(config, build)).collect();
    if !in_use.is_empty() && !arguments.force {
        return Err(Failure::Message(format!(
            "not removed: {}. Change these targets first, or remove it with --force",
            in_use.join("; ")
        )));
    }
    let others: Vec<&Build> = all.iter().filter(|build| build.image == image && !is_named(build)).collect();
    builds::remove(root, &named, &others)?;
    let mut out = io::stdout().lock();
    if json {
        let views: Vec<View<'_>> =
            named.iter().map(|build| View { removed: &build.name, size: build.size }).collect();
        return Ok(write_json(&views, &mut out)?);
    }
    for build in &named {
        writeln!(out, "removed    {} ({})", root.join(&build.name).display(), bytes(build.size))?;
    }
    if let Some(next) = others.last().filter(|_| named.iter().any(|build| build.is_newest)) {
        writeln!(out, "{image} now leads to {}", next.name)?;
    }
    Ok(())
}

fn in_use(config: &Config, build: &Build) -> Option<String> {
    let targets = targets_using(config, build);
    let one_or_more = if targets.len() == 1 { "the target" } else { "the targets" };
    (!targets.is_empty()).then(|| format!("{} is used by {one_or_more} {}", build.name, targets.join(", ")))
}

/// The names of the targets that use `build`: by its own name, or by that of its image if it is the newest.
pub(super) fn targets_using(config: &Config, build: &Build) -> Vec<String> {
    let served = config.file_server_ports();
    let uses = |file: &str| {
        let folder = local_path(file, served).and_then(|path| path.trim_start_matches('/').split_once('/'));
        folder.is_some_and(|(folder, _)| folder == build.name || build.is_newest && folder == build.image)
    };
    let uses_any =
        |target: &&Target| std::iter::once(&target.kernel).chain(&target.initrd).any(|file| uses(file));
    config.targets.list.iter().filter(uses_any).map(|target| target.name.to_string()).collect()
}

fn unknown(root: &Path, name: &str, all: &[Build]) -> String {
    let mut known: Vec<&str> = all.iter().map(|build| build.name.as_str()).collect();
    if image_of(name).is_none() {
        known = all.iter().map(|build| build.image.as_str()).collect();
        known.dedup();
    }
    let known =
        if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    format!("no build {name} in {}: {known}. Other files are removed with rm", root.display())
}
