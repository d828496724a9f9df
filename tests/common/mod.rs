//! What several test files need.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

/// Whether `program` can be run; `package` is Debian's name of what has it.
///
/// A test that needs a program and has not got it says so loudly and passes. Under `CI=true` it fails instead: there
/// everything must have been installed.
#[allow(dead_code)]
pub(crate) fn need(program: &str, package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| is_program(&folder.join(program))) {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: {program} is missing: install {package}");
    // Not eprintln!, which the test harness hides for a test that passes.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: install {package} (for {program})");
    false
}

#[allow(dead_code)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Says loudly that a test cannot do what it needs, and so passes; under `CI=true` it fails instead.
#[allow(dead_code)]
pub(crate) fn cannot(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: cannot {what}");
    let _ = writeln!(io::stderr(), "SKIPPED {test}: cannot {what}");
}

/// Copies the program to `to`, where other users can run it: the build folder may be closed to them. Not written by this
/// process, for a child that another test starts meanwhile would have it open for writing, and then it cannot be run.
#[allow(dead_code)]
pub(crate) fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_lanboot")).arg(to).status().unwrap();
    assert!(copied.success());
}
