//! Rules about the sources and the pages, and the replay of what the fuzzers kept.

mod corpus;
mod layering;
