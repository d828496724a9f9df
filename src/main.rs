//! The `lanboot` program; see `lanboot::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lanboot::cli::run()
}
