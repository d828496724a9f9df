//! `lanboot images add`: adds boot files of packages, a local file, or a download to the images folder.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::arguments::AddArguments;
use super::output::{Failure, bytes, write_json};
use super::packages;
use crate::boot::name::BootName;
use crate::cli::output;
use crate::images::add::collection::{Collection, Item, Outcome};
use crate::images::add::fetch;
use crate::images::add::sets::{SETS, Set, SetTarget, set};
use crate::images::manifest::Origin;

/// The source of the files to add.
enum Source<'a> {
    /// Files of packages.
    Sets(Vec<&'static Set>),
    /// A local file.
    Path(&'a str),
    /// A download.
    Url(&'a str),
}

#[derive(Serialize)]
struct View {
    file: String,
    /// In bytes.
    size: u64,
    /// added, changed or unchanged.
    outcome: &'static str,
}

/// Adds the files that `arguments` name to the folder `root`, and prints the result.
pub(super) fn run(root: &Path, arguments: &AddArguments, json: bool) -> Result<(), Failure> {
    let what = source(arguments)?;
    let mut collection = Collection::open(root)?;
    let (items, notes) = match &what {
        Source::Sets(sets) => packages::items(sets, arguments, &mut collection)?,
        Source::Path(path) => (vec![file(&mut collection, arguments, path, Origin::Path)?], Vec::new()),
        Source::Url(url) => (vec![file(&mut collection, arguments, url, Origin::Url)?], Vec::new()),
    };
    let done = collection.put(items, arguments.force)?;
    for note in notes {
        output::print_error(format_args!("lanboot images: {note}"));
    }
    let view = |(name, size, outcome): (BootName, u64, Outcome)| View {
        file: name.as_str().to_owned(),
        size,
        outcome: match outcome {
            Outcome::Added => "added",
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
        },
    };
    let mut views: Vec<View> = done.into_iter().map(view).collect();
    views.sort_by(|a, b| a.file.cmp(&b.file));
    let mut out = io::stdout().lock();
    if json {
        return Ok(write_json(&views, &mut out)?);
    }
    for view in &views {
        writeln!(out, "{:<9}  {} ({})", view.outcome, root.join(&view.file).display(), bytes(view.size))?;
    }
    if let Source::Sets(sets) = &what {
        for set in sets {
            writeln!(out, "{}: {}", set.name, set.hint)?;
        }
        let is_there = |name: &str| views.iter().any(|view| view.file == name);
        let targets = sets.iter().flat_map(|set| set.targets).filter(|target| is_there(target.kernel));
        for (i, target) in targets.enumerate() {
            let SetTarget { name, kernel, initrd } = target;
            write!(out, "{}", if i == 0 { "targets:\n" } else { "" })?;
            writeln!(out, "  {name}: {{kernel: {kernel}, initrd: {initrd}}}")?;
        }
    }
    Ok(())
}

fn source(arguments: &AddArguments) -> Result<Source<'_>, Failure> {
    let sets: Vec<&'static Set> = arguments.what.iter().filter_map(|name| set(name)).collect();
    if sets.len() == arguments.what.len() {
        if arguments.name.is_some() || arguments.sha256.is_some() {
            let why =
                "--name and --sha256 are for one path or URL: packages say their names and sums themselves";
            return Err(Failure::Usage(why.to_owned()));
        }
        return Ok(Source::Sets(sets));
    }
    let [one] = &arguments.what[..] else {
        return Err(Failure::Usage(unknown_among(&arguments.what)));
    };
    if !arguments.arch.is_empty() || !arguments.deb.is_empty() {
        return Err(Failure::Usage(format!("--arch and --deb are for packages; {}", unknown(one))));
    }
    if fetch::is_url(one) {
        return Ok(Source::Url(one));
    }
    if one.contains("://") {
        return Err(Failure::Usage(format!(
            "{one}: only http:// and https:// are known; download it, and add the file"
        )));
    }
    if Path::new(one).exists() || one.contains('/') {
        return Ok(Source::Path(one));
    }
    Err(Failure::Usage(unknown(one)))
}

/// Error message for several names of which one is unknown, or for several paths.
fn unknown_among(names: &[String]) -> String {
    let is_path = |name: &&String| name.contains('/') || Path::new(name).exists();
    match names.iter().filter(|name| set(name).is_none()).find(|name| !is_path(name)) {
        Some(name) => unknown(name),
        None => "paths and URLs are added one at a time".to_owned(),
    }
}

fn unknown(name: &str) -> String {
    let names = SETS.iter().map(|set| set.name);
    let near = names.clone().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let guess =
        near.filter(|(distance, _)| *distance <= 2).map(|(_, known)| format!("; did you mean `{known}`?"));
    let all: Vec<&str> = names.collect();
    format!(
        "{name} is neither one of {} nor a file that is there{}",
        all.join(", "),
        guess.unwrap_or_default()
    )
}

/// Adds a local file or a URL, under the given name or its own.
fn file(
    collection: &mut Collection,
    arguments: &AddArguments,
    from: &str,
    origin: fn(String) -> Origin,
) -> Result<Item, Failure> {
    let last = if fetch::is_url(from) { last_component_of_url(from) } else { last_component_of_path(from) };
    let name = arguments.name.clone().or(last).ok_or_else(|| {
        Failure::Usage(format!("{from} does not say what the file is called: give it a name with --name"))
    })?;
    let name = BootName::parse(name.as_bytes()).map_err(|why| Failure::Usage(format!("{name:?}: {why}")))?;
    let mut draft = collection.draft()?;
    let origin = if fetch::is_url(from) {
        fetch::download(from, &mut draft)?;
        origin(fetch::without_secrets(from))
    } else {
        fetch::copy(Path::new(from), &mut draft)?;
        let path = Path::new(from).canonicalize().unwrap_or_else(|_| from.into());
        origin(path.display().to_string())
    };
    let (sum, _) = draft.digest();
    match &arguments.sha256 {
        Some(wanted) if *wanted != sum => {
            return Err(Failure::Message(format!(
                "{from} has the SHA-256 {sum} instead of {wanted}: it was not added"
            )));
        }
        None if from.starts_with("http://") => {
            output::print_error(format_args!(
                "lanboot images: {name} came without encryption, and nothing says that it is what its maker made; its \
                 SHA-256 is {sum} (compare it, or name it with --sha256)"
            ));
        }
        _ => {}
    }
    Ok(Item { name, draft, origin })
}

fn last_component_of_path(path: &str) -> Option<String> {
    Path::new(path).file_name()?.to_str().map(str::to_owned)
}

/// The last component of the URL's path, without query and fragment.
fn last_component_of_url(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split(['?', '#']).next()?.split_once('/')?;
    path.rsplit('/').next().filter(|last| !last.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_there() {
        for (url, name) in [
            ("http://x/y/z.efi", Some("z.efi")),
            ("https://x/z.efi?a=/b#c", Some("z.efi")),
            ("https://x/", None),
            ("https://x", None),
            ("https://x/y/", None),
        ] {
            assert_eq!(last_component_of_url(url).as_deref(), name, "{url}");
        }
        assert_eq!(last_component_of_path("/a/b.c").as_deref(), Some("b.c"));
        assert_eq!(last_component_of_path(".."), None);
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        let text = unknown("pxelinx");
        assert!(text.contains("debian-installer") && text.ends_with("did you mean `pxelinux`?"), "{text}");
        assert!(unknown("windows").ends_with("nor a file that is there"));
    }
}
