//! Parses and checks `config.yaml`.
//!
//! A file passes three steps: `syntax/` turns the text into a tree, `sections/` reads the tree into typed values
//! (`sections/written.rs`), and `check.rs` builds the settings that the core folders define. `lint/` finds mistakes
//! in a configuration that is valid. The CLI and the server call [`load_files`]. This folder never opens a file: its
//! input is text, its output settings or problems.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub use include::{FindFiles, Found};
pub use lint::mapped_files::clients_by_file;
pub use lint::missing_files::{
    MissingFile, hidden_file_notes, missing_file_problems, missing_files, missing_script,
    unreadable_file_problems,
};
pub use lint::nocloud::nocloud_notes;
pub use lint::unresolvable_urls::{dns_problems, target_dns_notes};
pub use lint::unserved_urls::unserved_problems;
pub use lint::wrong_files::{unstartable_reason, wrong_file_problems};
pub use problem::Problem;
pub use reference::reference;
pub use schema::schema;
pub use sections::options::{illegal_option_value, option_not_configurable};
pub use settings::{Config, Http, Interfaces, Log, LogFormat, LogLevel, Tftp, Tls, Uploads, Web};
pub use sources::{Source, Sources};
pub use state_key::state_folder;
pub use syntax::reader::suggestion;

pub mod changes;
mod check;
mod check_machines;
pub mod document;
mod include;
mod lint;
mod problem;
mod reference;
mod schema;
mod sections;
mod settings;
mod sources;
mod state_key;
mod syntax;

/// A configuration that was read, right or wrong.
#[derive(Debug)]
pub struct Loading {
    /// The settings. Incomplete if there are problems: then only `lanboot check` may look at them. `None` if nothing
    /// more can be found out about the configuration.
    pub config: Option<Config>,
    /// Every problem, sorted by file and position.
    pub problems: Vec<Problem>,
    pub sources: Sources,
}

/// Reads and checks a configuration of one file.
///
/// # Errors
/// Every problem of the file, sorted by position. A syntax error is the only problem of its file, because the text
/// after it cannot be read.
pub fn load(text: &str) -> Result<Config, Vec<Problem>> {
    let main = Source { name: String::new(), text: text.to_owned() };
    let none = |_: &str, _: &str, _| Ok(Vec::new());
    match load_files(main, "", &mut { none }) {
        Loading { config: Some(config), problems, .. } if problems.is_empty() => Ok(config),
        Loading { problems, .. } => Err(problems),
    }
}

/// Reads and checks a configuration with the files that it includes. `identity` identifies the file `main` like
/// [`Found::identity`], and `find` finds the other files.
pub fn load_files(main: Source, identity: &str, find: &mut FindFiles<'_>) -> Loading {
    let mut reader = syntax::reader::Reader::default();
    let include::Parsed { sources, documents, broken } =
        include::parse_all(main, identity, find, &mut reader);
    if !broken.is_empty() {
        let mut problems = sources.with_positions(&documents, reader.problems);
        problems.extend(broken);
        return Loading { config: None, problems, sources };
    }
    let roots: Vec<&syntax::tree::Node> = documents.iter().map(|document| &document.root).collect();
    let file = sections::file::read(&mut reader, &roots);
    let machines = file.machines.len();
    let config = check::check(&mut reader, file);
    let problems = sources.with_positions(&documents, reader.problems);
    let notes = sources.with_positions(&documents, reader.notes);
    // Entries with a problem may be left out. Then the numbers of the others are not those of the file.
    let is_whole = config.dhcp.as_ref().is_none_or(|dhcp| dhcp.machines.iter().count() == machines);
    let config = (problems.is_empty() || is_whole).then_some(Config { notes, ..config });
    Loading { config, problems, sources }
}
