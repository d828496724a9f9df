//! Positions in the files of an import, for languages whose errors need a column.

use crate::import::failure::{Broken, Failed};
use crate::import::place::Place;
use crate::import::sources::Sources;

/// A position in a file: line and column from 1. Columns count bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub file: u32,
    pub line: u32,
    pub column: u32,
}

impl Position {
    pub fn start(file: u32) -> Position {
        Position { file, line: 1, column: 1 }
    }

    pub fn place(self) -> Place {
        Place { file: self.file, line: self.line }
    }

    pub fn fault(self, message: impl Into<String>) -> Fault {
        Fault { position: self, message: message.into() }
    }

    /// Advances over `byte`.
    pub fn step(&mut self, byte: u8) {
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
    }
}

/// An error that ends the import, at its position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub position: Position,
    pub message: String,
}

impl Fault {
    pub fn failed(self, sources: &Sources<'_>) -> Failed {
        let Position { file, line, column } = self.position;
        let file = sources.names().get(file as usize).cloned().unwrap_or_default();
        Failed::Broken(Broken { file, line, column, message: self.message })
    }
}
