//! Translates dnsmasq's configuration.

use super::{Document, Failed, Imported, Problems, Sources};

/// Translates `files` as if they were one configuration.
///
/// # Errors
/// A file cannot be read, or has a line that dnsmasq refuses.
pub fn import(files: &[String], mut sources: Sources<'_>) -> Result<Imported, Failed> {
    let mut problems = Problems::default();
    for file in files {
        let source = sources.open(file, None)?;
        for (number, line) in (1..).zip(source.text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                problems.add(source.at(number), "not taken");
            }
        }
    }
    Ok(Imported { yaml: Document::default().write(), problems: problems.finish(sources.names()) })
}
