//! Journeys: what happened to each machine, and why its boot stopped.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod codes;
