//! Who is asking.
pub use crate::types::Stage;
/// to come
pub struct Identity;
