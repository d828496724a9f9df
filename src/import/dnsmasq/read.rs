//! Reads dnsmasq's files with those that they include, and passes each statement to `statement.rs`.

use super::context::Context;
use super::keywords::{Meaning, Takes, keyword};
use super::lines::{self, Line, unhide};
use super::model::{Model, Origin};
use super::statement;
use super::values::fields;
use crate::import::failure::Failed;
use crate::import::problems::Problems;
use crate::import::sources::{Source, Sources};

/// Maximum depth of `conf-file` in `conf-file`.
const MAX_DEPTH: usize = 16;

/// The kind of a file without keywords.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// `dhcp-hostsfile`: values of `dhcp-host`.
    Hosts,
    /// `dhcp-optsfile`: values of `dhcp-option`.
    Options,
    /// `addn-hosts`: lines as in /etc/hosts.
    Names,
}

/// Reads `files` in order.
///
/// # Errors
/// One of `files` cannot be read, or some file has a line that dnsmasq refuses.
pub(super) fn read(
    files: &[String],
    sources: &mut Sources<'_>,
    problems: &mut Problems,
) -> Result<Model, Failed> {
    let mut reader = Reader { sources, problems, model: Model::default(), seen: Vec::new() };
    for file in files {
        let source = reader.sources.open(file, None)?;
        reader.configuration(&source, 0)?;
    }
    Ok(reader.model)
}

struct Reader<'r, 's> {
    sources: &'r mut Sources<'s>,
    problems: &'r mut Problems,
    model: Model,
    /// Configuration files that were read. dnsmasq reads each once.
    seen: Vec<String>,
}

impl Reader<'_, '_> {
    fn configuration(&mut self, source: &Source, depth: usize) -> Result<(), Failed> {
        if self.seen.contains(&source.name) {
            return Ok(());
        }
        self.seen.push(source.name.clone());
        let found = lines::read(source, false)?;
        if depth == 0 && self.model.header.is_empty() {
            self.model.header = found.header;
        }
        for line in found.lines {
            self.line(source, line, depth)?;
        }
        Ok(())
    }

    fn line(&mut self, source: &Source, mut line: Line, depth: usize) -> Result<(), Failed> {
        let name = line.keyword.clone();
        let broken = |column: u32, message: String| source.broken(line.place.line, column, message);
        let Some((takes, meaning)) = keyword(&name) else {
            return Err(
                broken(line.columns.0, format!("bad option {name:?}: dnsmasq has no such option")).into()
            );
        };
        match (takes, &line.value) {
            (Takes::Nothing, Some(_)) => {
                return Err(broken(line.columns.1, format!("extraneous parameter of {name}")).into());
            }
            (Takes::Value, None) => {
                return Err(broken(line.columns.0, format!("missing parameter of {name}")).into());
            }
            _ => {}
        }
        match meaning {
            Meaning::None => return Ok(()),
            Meaning::Dns => {
                let reason =
                    format!("{name} is not taken: it is a setting of the DNS server, and lanboot has none");
                self.problems.add_kind(line.place, reason);
                return Ok(());
            }
            Meaning::Ipv6 => {
                self.problems.add(line.place, format!("{name} is not taken: lanboot has no IPv6"));
                return Ok(());
            }
            Meaning::Unsupported(why) => {
                self.problems.add(line.place, format!("{name} is not taken: {why}"));
                return Ok(());
            }
            Meaning::Read => {}
        }
        let value = line.value.take().unwrap_or_default();
        match name.as_str() {
            "conf-file" => self.include(&value, source, &line, depth),
            "conf-dir" => self.folder(&value, source, &line, depth),
            "dhcp-hostsfile" | "dhcp-hostsdir" => self.values(&value, source, &line, Kind::Hosts),
            "dhcp-optsfile" | "dhcp-optsdir" => self.values(&value, source, &line, Kind::Options),
            "addn-hosts" => self.values(&value, source, &line, Kind::Names),
            _ => {
                let columns = line.columns;
                let origin = Origin { place: line.place, comments: line.comments };
                let mut context = Context { model: &mut self.model, problems: self.problems, origin };
                statement::read(&mut context, &name, &value)
                    .map_err(|message| source.broken(context.origin.place.line, columns.1, message).into())
            }
        }
    }

    fn include(&mut self, value: &str, source: &Source, line: &Line, depth: usize) -> Result<(), Failed> {
        let path = unhide(value);
        if path.is_empty() {
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            let message = format!("conf-file is nested more than {MAX_DEPTH} times");
            return Err(source.broken(line.place.line, line.columns.1, message).into());
        }
        match self.sources.open(&path, Some(source)) {
            Ok(included) => self.configuration(&included, depth + 1),
            Err(Failed::Unreadable(message)) => {
                self.problems.add(line.place, format!("not taken: {message}"));
                Ok(())
            }
            Err(broken) => Err(broken),
        }
    }

    /// Reads the files of a folder in the order of their names. Of the other fields, `*.conf` names endings that a file
    /// must have, and `.bak` those that it must not have.
    fn folder(&mut self, value: &str, source: &Source, line: &Line, depth: usize) -> Result<(), Failed> {
        let mut fields = fields(value).into_iter().map(unhide);
        let folder = fields.next().unwrap_or_default();
        if folder.is_empty() {
            return Ok(());
        }
        let (wanted, unwanted): (Vec<String>, Vec<String>) =
            fields.filter(|field| !field.is_empty()).partition(|field| field.starts_with('*'));
        let wanted: Vec<&str> =
            wanted.iter().filter_map(|field| field.get(1..)).filter(|it| !it.is_empty()).collect();
        let has_end = |name: &str, end: &str| name.len() > end.len() && name.ends_with(end);
        for name in self.names_in(&folder, source, line) {
            let is_wanted = wanted.is_empty() || wanted.iter().any(|end| has_end(&name, end));
            if is_wanted && !unwanted.iter().any(|end| has_end(&name, end)) {
                let path = format!("{}/{name}", folder.trim_end_matches('/'));
                self.include(&path, source, line, depth)?;
            }
        }
        Ok(())
    }

    /// Names of the files in a folder, without hidden files and those that editors leave.
    fn names_in(&mut self, folder: &str, source: &Source, line: &Line) -> Vec<String> {
        let names = self.sources.list(folder, Some(source)).unwrap_or_else(|message| {
            self.problems.add(line.place, format!("not taken: {message}"));
            Vec::new()
        });
        let is_backup = |name: &String| {
            name.starts_with('.') || name.ends_with('~') || name.starts_with('#') && name.ends_with('#')
        };
        names.into_iter().filter(|name| !is_backup(name)).collect()
    }

    /// Reads a file of values, or all files of a folder.
    fn values(&mut self, value: &str, source: &Source, line: &Line, kind: Kind) -> Result<(), Failed> {
        let path = unhide(value);
        if let Ok(names) = self.sources.list(&path, Some(source)) {
            drop(names);
            for name in self.names_in(&path, source, line) {
                self.value_file(&format!("{}/{name}", path.trim_end_matches('/')), source, line, kind)?;
            }
            return Ok(());
        }
        self.value_file(&path, source, line, kind)
    }

    fn value_file(&mut self, path: &str, source: &Source, line: &Line, kind: Kind) -> Result<(), Failed> {
        let file = match self.sources.open(path, Some(source)) {
            Ok(file) => file,
            Err(Failed::Unreadable(message)) => {
                self.problems.add(line.place, format!("not taken: {message}"));
                return Ok(());
            }
            Err(broken) => return Err(broken),
        };
        if kind == Kind::Names {
            statement::hosts_file(&mut self.model, &file.text);
            return Ok(());
        }
        for line in lines::read(&file, true)?.lines {
            let origin = Origin { place: line.place, comments: line.comments };
            let mut context = Context { model: &mut self.model, problems: self.problems, origin };
            let keyword = if kind == Kind::Hosts { "dhcp-host" } else { "dhcp-option" };
            let value = line.value.unwrap_or_default();
            // dnsmasq logs such lines and goes on.
            if let Err(message) = statement::read(&mut context, keyword, &value) {
                context.problems.add(line.place, format!("not taken, as dnsmasq ignores it: {message}"));
            }
        }
        Ok(())
    }
}
