//! The place of a statement in the files of an import.

/// A line of a file. Places sort in the order in which the files were opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    pub(super) file: u32,
    /// From 1.
    pub line: u32,
}
