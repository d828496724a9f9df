//! The `lanboot` program; see `lanboot::cli`.

fn main() {}
