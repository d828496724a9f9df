//! Parses and checks `config.yaml`.
//!
//! A file passes three steps: `syntax/` turns the text into a tree, `sections/` reads the tree into typed values
//! (`sections/written.rs`), and `check.rs` builds the settings that the core folders define. `lint/` finds mistakes
//! in a configuration that is valid. The CLI and the server call [`load`]. This folder never opens a file: its input
//! is text, its output settings or problems.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub use lint::mapped_files::clients_by_file;
pub use lint::missing_files::{
    MissingFile, hidden_file_notes, missing_file_problems, missing_files, missing_script,
    unreadable_file_problems,
};
pub use lint::unresolvable_urls::dns_problems;
pub use lint::unserved_urls::unserved_problems;
pub use lint::wrong_files::{unstartable_reason, wrong_file_problems};
pub use reference::reference;
pub use schema::schema;
pub use settings::{Config, Http, Interfaces, Log, LogFormat, LogLevel, Tftp, Uploads};
pub use syntax::place::Problem;
pub use syntax::reader::suggestion;

mod check;
mod check_machines;
mod lint;
mod reference;
mod schema;
mod sections;
mod settings;
mod syntax;

/// Reads and checks the text of a configuration file.
///
/// # Errors
/// Every problem of the file, sorted by position. A syntax error is the only problem of its file, because the text
/// after it cannot be read.
pub fn load(text: &str) -> Result<Config, Vec<Problem>> {
    let root = syntax::tree::parse(text).map_err(|problem| vec![problem])?;
    let mut reader = syntax::reader::Reader::default();
    let file = sections::file::read(&mut reader, &root);
    let config = check::check(&mut reader, file);
    if !reader.problems.is_empty() {
        return Err(syntax::place::with_positions(text, &root, reader.problems));
    }
    Ok(Config { notes: syntax::place::with_positions(text, &root, reader.notes), ..config })
}
