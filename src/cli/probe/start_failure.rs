//! The reasons why a probe cannot start.

/// The reason why a probe cannot start.
#[derive(Debug)]
pub(super) enum StartFailure {
    /// The arguments are wrong or incomplete.
    Usage(String),
    /// This computer does not allow it.
    Start(String),
}
