//! Limits of the tags of a template, and the names of the filters that enforce the other limits.

/// Maximum number of tokens in one tag. The parser, the compiler and the release of the parsed tree recurse once for
/// each `not`, `.x` or `|x` of an expression. A stack of 64 MiB holds 50 times this depth in a debug build.
pub(super) const MAX_TOKENS: usize = 1000;

/// Maximum number of branches of one `if`. The parser nests each `elif` inside the previous branch.
pub(super) const MAX_BRANCHES: usize = 200;

/// The filter that is added behind an operand.
pub(super) const BOUNDED: &str = "lanboot_bounded";

/// The filter that is added behind an operand of `~` or `*`.
pub(super) const SINGLE: &str = "lanboot_single";

/// The reason why a template is not compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbounded {
    /// The line, starting at 1.
    pub line: usize,
    pub why: String,
}
