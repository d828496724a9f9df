//! The `lanboot` program; see `lanboot::cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Returns memory to the system once it is free. The C library's allocator keeps what a replaced configuration used, so
/// that each reload of a large one made the server larger.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    lanboot::cli::run()
}
