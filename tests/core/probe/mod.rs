//! The probe, which boots as firmware does, against servers in memory.

mod choice;
mod download;
