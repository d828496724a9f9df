//! The reasons why nothing was translated.

use std::fmt;

use super::problems::Problem;

/// The reason why nothing was translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// A file that was named on the command line cannot be read.
    Unreadable(String),
    /// A file is not what it should be.
    Broken(Broken),
    /// The files have nothing that can be served. The message says what is missing.
    NothingToServe { message: String, problems: Vec<Problem> },
}

/// A place where a file stops being readable: a syntax error, binary content or the end of the file inside a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The expected syntax and the text found.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Unreadable(message) => f.write_str(message),
            Failed::NothingToServe { message, .. } => f.write_str(message),
            Failed::Broken(broken) => broken.fmt(f),
        }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Failed {
        Failed::Broken(broken)
    }
}
