//! The lease book: who holds which address until when. This folder never reads a clock or a disk.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
