//! Rules about the sources and the pages, and the replay of the fuzzers' inputs.

mod circles;
mod corpus;
mod docs;
mod english;
mod layering;
mod logging;
mod monitoring;
mod reasons;
mod rows;
mod sizes;
mod sources;
mod unfinished;
